"""Parquet: a column of lists (fixed-size or variable) holds the vectors; all other columns travel with them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vec2vec.errors import InputError
from vec2vec.stores.arrays import ArrayReader
from vec2vec.stores.atomic import AtomicSink
from vec2vec.stores.base import (
    BATCH_ROWS,
    SinkSpec,
    VectorSource,
    check_indices,
    check_repeated,
    choose_key,
    column_index,
    reading,
)
from vec2vec.stores.base import take_rows as take_from
from vec2vec.vectors import Float32, VectorBatch, as_float32, is_json_text, is_utf8, one_line

DEFAULT_KEY = "vector"
READ_BUFFER = 2**20  # without it a whole column chunk is read at once, often the whole file
DTYPES = {"halffloat": "float16", "float": "float32", "double": "float64"}
VIEWS = {"string_view": pa.string(), "binary_view": pa.binary()}
EMBEDDING = b"vec2vec.embedding"  # of a schema, if `vec2vec embed` wrote it: the encoder's identity, as JSON
# describes the columns for the `datasets` library, list lengths included, and would be wrong afterwards
STALE_METADATA = b"huggingface"


def source(path: Path, key: str | None) -> VectorSource:
    return Source(path, key)


def sink(spec: SinkSpec) -> Sink:
    return Sink(spec)


def row_count(path: Path) -> int:
    """How many rows a file has, by its footer."""
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


class Source:
    """A `VectorSource` over one column."""

    def __init__(self, path: Path, key: str | None) -> None:
        self.path = path
        self.extra_arrays: dict[str, ArrayReader] = {}
        with open_parquet(path) as file:
            read = file.schema_arrow
            self.schema = pa.schema([_without_views(field) for field in read], metadata=read.metadata)
            self.rows = int(file.metadata.num_rows)
            self._group_rows = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        names = self.schema.names
        check_repeated(path, names)
        held = [field for field in self.schema if _is_list(field.type)]
        lists = [field.name for field in held if pa.types.is_floating(field.type.value_type)]
        lists = lists or [field.name for field in held if pa.types.is_integer(field.type.value_type)]
        self.key = choose_key(path, key, lists, [name for name in names if name not in lists], "column")
        self.uri = f"{path}::{self.key}"
        kind = self.schema.field(self.key).type
        if not _is_list(kind) or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            raise InputError(f"{self.uri}: the column holds {kind}, expected lists of numbers")
        if self.rows == 0:
            raise InputError(f"{self.uri}: is empty: the file has no rows")
        self.dtype = DTYPES.get(str(kind.value_type), str(kind.value_type))
        self.layout = tuple(names)
        self.column_names = tuple(name for name in names if name != self.key)
        self.width = kind.list_size if pa.types.is_fixed_size_list(kind) else self._usual_length()
        if self.width == 0:
            raise InputError(f"{self.uri}: its {self.rows:,} lists are empty or null")

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[VectorBatch]:
        yield from self._batches(batch_rows, None, None)

    def take(self, indices: npt.ArrayLike) -> Float32:
        return self.take_batch(indices).vectors

    def take_batch(self, indices: npt.ArrayLike) -> VectorBatch:
        wanted = check_indices(self.uri, indices, self.rows)
        ends = np.cumsum(self._group_rows)
        groups = np.unique(np.searchsorted(ends, wanted, side="right")).tolist()
        return take_from(self._batches(BATCH_ROWS, [self.key], groups), wanted, self.width)

    def table_schema(self) -> pa.Schema:
        return self.schema.remove(self.schema.get_field_index(self.key))

    def _batches(self, batch_rows: int, columns: list[str] | None, groups: list[int] | None) -> Iterator[VectorBatch]:
        starts = np.cumsum([0, *self._group_rows])
        with open_parquet(self.path) as file:
            for group in range(len(self._group_rows)) if groups is None else groups:
                start = int(starts[group])
                for read in file.iter_batches(batch_rows, row_groups=[group], columns=columns):
                    table = pa.Table.from_batches([read])
                    vectors, faults = _to_vectors(read.column(self.key), self.width, start)
                    rest = table.remove_column(table.schema.get_field_index(self.key))
                    rows = np.arange(start, start + len(vectors), dtype=np.int64)
                    if rest.num_columns and rest.schema.types != self.table_schema().types:
                        rest = rest.cast(self.table_schema())
                    yield VectorBatch(vectors, rows, rest if rest.num_columns else None, faults)
                    start += len(vectors)

    def _usual_length(self) -> int:
        """The most frequent length of the first lists: what the others are measured by."""
        with open_parquet(self.path) as file:
            for read in file.iter_batches(1024, columns=[self.key]):
                lengths = Counter(n for n in pc.list_value_length(read.column(self.key)).to_pylist() if n)
                if lengths:
                    return int(lengths.most_common(1)[0][0])
        return 0


class Sink(AtomicSink):
    """The vectors take the place of the source's vector column, in the same kind of list."""

    carries_columns = True

    def __init__(self, spec: SinkSpec) -> None:
        super().__init__(spec)
        self.key = spec.key or (spec.like.key if spec.like else None) or DEFAULT_KEY
        self._writer: Any = None
        self._may_lack: set[str] = set()  # columns from .jsonl, where not every record has every key
        self._schema: Any = None if spec.like is None else self._output_schema(spec.like.table_schema())

    def _begin(self, stream: BinaryIO) -> None:
        if self._schema is not None:
            self._open_writer(stream)

    def _write(self, stream: BinaryIO, batch: VectorBatch) -> None:
        if self._schema is None:
            self._schema = self._output_schema(None if batch.columns is None else batch.columns.schema)
            self._open_writer(stream)
        values = self.encode(batch)
        for start in range(0, len(batch), BATCH_ROWS):
            lists = _to_lists(values[start : start + BATCH_ROWS], self._schema.field(self.key).type)
            columns = None if batch.columns is None else batch.columns.slice(start, len(lists))
            part = replace(batch, vectors=batch.vectors[start : start + BATCH_ROWS], columns=columns)
            arrays = [lists if f.name == self.key else self._column(f, part) for f in self._schema]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def _finish(self, stream: BinaryIO) -> None:
        if self._schema is None:
            self._schema = self._output_schema(None)
            self._open_writer(stream)
        writer, self._writer = self._writer, None
        writer.close()

    def _close(self) -> None:
        if self._writer is not None:  # interrupted; what this writes is removed, if it can be written at all
            with suppress(OSError, pa.ArrowException):
                self._writer.close()

    def _output_schema(self, others: Any) -> Any:
        """The schema of the output: the other columns, with the vectors in their place among them."""
        like = self.spec.like
        fields = [] if others is None else list(others)
        if self.key in [field.name for field in fields]:
            raise InputError(f"{self.path}: the input has another column named '{self.key}'; choose another key")
        self._may_lack = {field.name for field in fields if is_json_text(field)}
        fields = [field.with_metadata(None) if field.name in self._may_lack else field for field in fields]
        value = pa.from_numpy_dtype(np.dtype(self.spec.dtype))
        kind = like.schema.field(like.key).type if isinstance(like, Source) else None
        if kind is not None and pa.types.is_large_list(kind):
            lists = pa.large_list(value)
        elif kind is not None and pa.types.is_list(kind):
            lists = pa.list_(value)
        else:
            lists = pa.list_(value, self.spec.width)
        place = column_index(like.layout, like.key, fields) if like else len(fields)
        fields.insert(place, pa.field(self.key, lists))
        stale = {STALE_METADATA} if like is None else {STALE_METADATA, EMBEDDING}  # the vectors are others than like's
        metadata = {k: v for k, v in ((others and others.metadata) or {}).items() if k not in stale}
        return pa.schema(fields, metadata=metadata or None)

    def _open_writer(self, stream: BinaryIO) -> None:
        plain = [f.name for f in self._schema if f.name != self.key and not pa.types.is_nested(f.type)]
        self._writer = pq.ParquetWriter(  # vectors hardly compress: plainly written they take half the time
            stream,
            self._schema,
            use_dictionary=plain,
            write_statistics=plain,
            compression={name: "snappy" for name in plain},
        )

    def _column(self, field: Any, batch: VectorBatch) -> Any:
        """A column of the batch in the output's type."""
        if batch.columns is None or field.name not in batch.columns.column_names:
            if field.name in self._may_lack:
                return pa.nulls(len(batch), field.type)
            raise InputError(f"{self.path}: the batch lacks the column '{field.name}'")
        column = batch.columns.column(field.name)
        if not is_json_text(batch.columns.schema.field(field.name)):
            return column.cast(field.type)
        return pa.array([_fitted(value, field.type) for value in batch.column(field.name)], field.type)


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """The open file; what pyarrow finds wrong with it, here or while it is read, becomes an InputError."""
    try:
        with (
            reading(path),
            pa.OSFile(os.fsencode(path)) as stream,  # by name, pyarrow finds only what is UTF-8
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=READ_BUFFER) as file,
        ):
            yield file
    except (pa.ArrowException, UnicodeDecodeError) as error:  # names of columns are UTF-8
        raise InputError(f"{path}: is no parquet file, or a damaged one ({one_line(error)})") from error


def _without_views(field: Any) -> Any:
    """The field with plain strings and bytes in place of views, nested ones too: of views pyarrow can take no rows."""
    kind = field.type
    if str(kind) in VIEWS:
        kind = VIEWS[str(kind)]
    elif pa.types.is_struct(kind):
        kind = pa.struct([_without_views(part) for part in kind])
    elif pa.types.is_map(kind):
        kind = pa.map_(_without_views(kind.key_field), _without_views(kind.item_field), kind.keys_sorted)
    elif pa.types.is_fixed_size_list(kind):
        kind = pa.list_(_without_views(kind.value_field), kind.list_size)
    elif pa.types.is_list(kind):
        kind = pa.list_(_without_views(kind.value_field))
    elif pa.types.is_large_list(kind):
        kind = pa.large_list(_without_views(kind.value_field))
    return field.with_type(kind)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _to_vectors(column: Any, width: int, start: int) -> tuple[Float32, dict[int, str]]:
    """(n, width) float32 from an array of lists; rows that are no list of `width` numbers are NaN, with the fault."""
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    good = lengths == width
    well_formed = column if good.all() else column.filter(pa.array(good))
    values = well_formed.flatten()
    x = as_float32(values.to_numpy(zero_copy_only=False, writable=True).reshape(-1, width))
    faults: dict[int, str] = {}
    if not good.all():
        whole = np.full((len(column), width), np.nan, dtype=np.float32)
        whole[good] = x
        x = whole
        for i in np.flatnonzero(~good).tolist():
            faults[start + i] = "it is null" if lengths[i] < 0 else f"it has {lengths[i]} values, the others {width}"
    if values.null_count:  # read as NaN above
        missing = np.flatnonzero(good)[np.unique(np.flatnonzero(values.is_null().to_numpy(False)) // width)]
        faults |= {start + i: "it holds a null" for i in missing.tolist()}
        x[missing] = np.nan
    return x, faults


def _to_lists(x: npt.NDArray[Any], kind: Any) -> Any:
    """An array of lists of this type, one for each row of `x`."""
    values = pa.array(x.reshape(-1))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind)
    offsets = np.arange(0, x.size + 1, x.shape[1])
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, type=kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=kind)


def _fitted(value: Any, kind: Any) -> Any:
    """A JSON value for a column of this type: in a column of strings, what is no string, or no UTF-8, stays JSON."""
    if value is None or not pa.types.is_string(kind):
        return value
    return value if isinstance(value, str) and is_utf8(value) else json.dumps(value)
