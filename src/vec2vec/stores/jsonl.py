"""JSON lines: one object a line, the vector a list under one key; all other keys travel with it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vec2vec.errors import InputError
from vec2vec.stores.arrays import ArrayReader
from vec2vec.stores.atomic import AtomicSink
from vec2vec.stores.base import BATCH_ROWS, SinkSpec, VectorSource, check_indices, choose_key, column_index, reading
from vec2vec.vectors import JSON_TEXT, Float32, VectorBatch, is_json_text, one_line

DEFAULT_KEY = "vector"
LOOK_AHEAD = 100  # records that decide on the key, the width and the names of the columns, if one has a vector
NOT_JSON = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as Python's json writes and reads them


def source(path: Path, key: str | None) -> VectorSource:
    return Source(path, key)


def sink(spec: SinkSpec) -> Sink:
    return Sink(spec)


class Source:
    """A `VectorSource` over one key. Empty lines are no rows; opening counts the lines, without parsing them."""

    dtype = "float64"

    def __init__(self, path: Path, key: str | None) -> None:
        self.path = path
        self.extra_arrays: dict[str, ArrayReader] = {}
        self._schema: pa.Schema | None = None
        self.rows = sum(1 for _ in self._lines())
        if self.rows == 0:
            raise InputError(f"{path}: is empty: it has no lines")
        parsed = self._first_records(key)
        first = [record for _, record in parsed if isinstance(record, dict)]
        if not first:
            number, record = parsed[0]
            example = '{"id": 1, "vector": [0.5, 0.1]}'
            why = self._fault(record)
            raise InputError(f"{path}: line {number} is no JSON object: it {why}; each line is one, as in {example}")
        keys = list(dict.fromkeys(name for record in first for name in record))
        lists = [name for name in keys if any(_is_vector(record.get(name)) for record in first)]
        self.key = choose_key(path, key, lists, [name for name in keys if name not in lists], "key")
        self.uri = f"{path}::{self.key}"
        if self.key not in lists:
            held = next(record[self.key] for record in first if self.key in record)
            raise InputError(f"{self.uri}: holds {_describe(held)}, expected a list of numbers")
        lengths = Counter(len(r[self.key]) for r in first if _is_vector(r.get(self.key)))
        self.width = lengths.most_common(1)[0][0]
        self.layout = tuple(keys)
        self.column_names = tuple(name for name in keys if name != self.key)

    def _first_records(self, key: str | None) -> list[tuple[int, Any]]:
        """With their line numbers: `LOOK_AHEAD`, and, if none of these has a vector, the first one that has."""
        parsed: list[tuple[int, Any]] = []
        found = False
        for _, number, line in self._lines():
            if found and len(parsed) >= LOOK_AHEAD:
                break
            record = _parse(line)
            keys = () if not isinstance(record, dict) else record if key is None else (key,)
            has_vector = any(_is_vector(record.get(name)) for name in keys)
            if len(parsed) < LOOK_AHEAD or has_vector:
                parsed.append((number, record))
            found = found or has_vector
        return parsed

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[VectorBatch]:
        lines = self._lines()
        while chunk := list(islice(lines, batch_rows)):
            records = [_parse(line) for _, _, line in chunk]
            vectors, faults = self._vectors([(row, n, r) for (row, n, _), r in zip(chunk, records, strict=True)])
            rows = np.array([row for row, _, _ in chunk], dtype=np.int64)
            yield VectorBatch(vectors, rows, _columns(records, self.key), faults)

    def take(self, indices: npt.ArrayLike) -> Float32:
        return self.take_batch(indices).vectors

    def take_batch(self, indices: npt.ArrayLike) -> VectorBatch:
        wanted = check_indices(self.uri, indices, self.rows)
        out = np.empty((len(wanted), self.width), dtype=np.float32)
        faults: dict[int, str] = {}
        left = iter(wanted.tolist())
        following, i = next(left, None), 0
        for row, number, line in self._lines():
            if row == following:
                vectors, fault = self._vectors([(row, number, _parse(line))])
                out[i] = vectors[0]
                faults |= fault
                following, i = next(left, None), i + 1
            if following is None:
                break
        if i < len(wanted):
            raise InputError(f"{self.uri}: the file became shorter while it was read")
        return VectorBatch(out, wanted, faults=faults)

    def table_schema(self) -> pa.Schema:
        """The columns' types, from one pass over the file: scalars and lists of them; anything else is JSON text."""
        if self._schema is None:
            types: dict[str, Any] = {}
            large: set[str] = set()  # columns of integers, in one window at least, that a double may not hold
            lines = self._lines()
            while chunk := list(islice(lines, BATCH_ROWS)):
                records = [r for _, _, line in chunk if isinstance(r := _parse(line), dict)]
                for name in dict.fromkeys(name for record in records for name in record if name != self.key):
                    values = [record.get(name) for record in records]
                    kind = _infer(values)
                    types[name] = _merge(types[name], kind) if name in types else kind
                    if pa.types.is_integer(_item(kind)) and _has_large(values):
                        large.add(name)
            types |= {name: pa.string() for name in large if pa.types.is_floating(_item(types[name]))}
            self._schema = pa.schema([pa.field(name, kind, metadata=JSON_TEXT) for name, kind in types.items()])
        return self._schema

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Row number from 0, line number from 1, and the line, of each line that is not blank."""
        row = 0
        with reading(self.path), open(self.path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.isspace():
                    yield row, number, line
                    row += 1

    def _vectors(self, records: list[tuple[int, int, Any]]) -> tuple[Float32, dict[int, str]]:
        out = np.full((len(records), self.width), np.nan, dtype=np.float32)
        faults = {}
        for i, (row, number, record) in enumerate(records):
            fault = self._fault(record)
            if fault is None:
                try:
                    with np.errstate(over="ignore"):
                        out[i] = np.array(record[self.key], dtype=np.float64)
                except OverflowError:
                    fault = f"'{self.key}' holds an integer too large for a float"
            if fault:
                faults[row] = f"line {number}: {fault}"
        return out, faults

    def _fault(self, record: Any) -> str | None:
        if isinstance(record, UnicodeEncodeError):
            return f"has the key {record.object!r}, which holds half a character (a lone surrogate)"
        if isinstance(record, ValueError | RecursionError):
            return f"is not JSON ({one_line(record)})"
        if not isinstance(record, dict):
            return f"is {_describe(record)}, expected an object"
        if self.key not in record:
            return f"has no key '{self.key}'"
        vector = record[self.key]
        if type(vector) is not list:
            return f"'{self.key}' is {_describe(vector)}, expected a list of numbers"
        if len(vector) != self.width:
            return f"'{self.key}' has {len(vector)} values, the others {self.width}"
        for i, value in enumerate(vector) if set(map(type, vector)) - {int, float} else ():
            if type(value) not in (int, float):
                return f"value {i} of '{self.key}' is {_describe(value)}, expected a number"
        return None


class Sink(AtomicSink):
    """Numbers are written with the fewest digits that give the same float32 again."""

    carries_columns = True

    def __init__(self, spec: SinkSpec) -> None:
        super().__init__(spec)
        self.key = spec.key or (spec.like.key if spec.like else None) or DEFAULT_KEY
        self._refuse_another([] if spec.like is None else spec.like.column_names)

    def _refuse_another(self, names: Sequence[str]) -> None:
        if self.key in names:
            raise InputError(f"{self.path}: the input has another key named '{self.key}'; choose another key")

    def _write(self, stream: BinaryIO, batch: VectorBatch) -> None:
        like = self.spec.like
        names = [] if batch.columns is None else batch.columns.column_names
        self._refuse_another(names)  # one that only later lines have is not known before
        try:
            parts: list[Sequence[str | None]] = [_json_texts(batch, name) for name in names]
        except InputError as error:
            where = like.uri if like else self.path
            raise InputError(f"{where}: {error}, or write .parquet, which holds it as it is") from error
        place = min(column_index(like.layout, like.key, parts) if like else len(parts), len(parts))
        parts.insert(place, _vector_texts(self.encode(batch)))
        keys = [json.dumps(name) for name in [*names[:place], self.key, *names[place:]]]
        for texts in zip(*parts, strict=True):
            items = [f"{key}: {text}" for key, text in zip(keys, texts, strict=True) if text is not None]
            stream.write(("{" + ", ".join(items) + "}\n").encode("utf-8"))


def _parse(line: bytes) -> Any:
    """The line's value; the error itself, if it is not JSON, or an object with a key that no column can be named by."""
    try:
        value = json.loads(line)
        for key in value if isinstance(value, dict) else ():
            key.encode()
        return value
    except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError
        return error


def _is_vector(value: Any) -> bool:
    return type(value) is list and bool(value) and set(map(type, value)) <= {int, float}


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", dict: "an object"}
    return names.get(type(value), "a list of something else")


def _columns(records: list[Any], key: str) -> pa.Table | None:
    """The other keys, each value as JSON text, null where a record lacks the key: so that nothing is lost."""
    names = dict.fromkeys(name for record in records if isinstance(record, dict) for name in record if name != key)
    if not names:
        return None
    fields = [pa.field(name, pa.string(), metadata=JSON_TEXT) for name in names]
    arrays = [
        pa.array([json.dumps(r[name]) if isinstance(r, dict) and name in r else None for r in records], pa.string())
        for name in names
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _infer(values: list[Any]) -> Any:
    try:
        kind = pa.array(values).type
    except (pa.ArrowException, ValueError, TypeError, OverflowError):  # mixed, too large, or half a character
        return pa.string()
    nested = pa.types.is_list(kind) and pa.types.is_nested(kind.value_type)
    return pa.string() if pa.types.is_struct(kind) or nested else kind


def _item(kind: Any) -> Any:
    """The type of the values, in lists or not."""
    return kind.value_type if pa.types.is_list(kind) else kind


def _has_large(values: list[Any]) -> bool:
    """Whether there are integers, in lists or not, beyond those that a double holds one by one."""
    numbers = (number for value in values for number in (value if isinstance(value, list) else [value]))
    return any(number is not None and abs(number) > 2**53 for number in numbers)


def _merge(one: Any, other: Any) -> Any:
    """The type that holds both, JSON text if none does."""
    try:
        schemas = [pa.schema([("x", one)]), pa.schema([("x", other)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()


def _vector_texts(x: npt.NDArray[Any]) -> list[str]:
    """Each row as a JSON list."""
    values = pc.cast(pa.array(x.astype(np.float32, copy=False).reshape(-1)), pa.string()).to_pylist()
    if not np.isfinite(x).all():
        values = [NOT_JSON.get(value, value) for value in values]
    width = x.shape[1]
    return ["[" + ", ".join(values[i : i + width]) + "]" for i in range(0, len(values), width)]


def _json_texts(batch: VectorBatch, name: str) -> list[str | None]:
    """Each value of a column as JSON; None leaves the key out."""
    if batch.columns is not None and is_json_text(batch.columns.schema.field(name)):
        texts: list[str | None] = batch.columns.column(name).to_pylist()
        return texts
    return [json.dumps(value, default=_plain) for value in batch.column(name)]


def _plain(value: Any) -> Any:
    """What JSON lacks: times in ISO 8601, durations in seconds, decimals as text, bytes in base 64."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Decimal):
        return str(value)
    return str(value)
