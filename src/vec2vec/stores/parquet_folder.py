"""A folder of Parquet files, as `vec2vec embed` and most exports write them: one source, the files by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vec2vec.errors import InputError
from vec2vec.stores import parquet
from vec2vec.stores.base import BATCH_ROWS, VectorSource, check_indices, reading, take_rows
from vec2vec.vectors import VectorBatch

EMBEDDING = parquet.EMBEDDING
COMPLETE = "_complete.json"  # what it leaves when all parts are there


def source(path: Path, key: str | None) -> VectorSource:
    return Source(path, key)


class Source(parquet.Source):
    """A `VectorSource` over one column of several files, whose rows are counted through.

    Files whose names begin with a dot or an underscore are none of it, nor is what does not end in .parquet; files
    without rows are passed over.

    Raises
    ------
    InputError : no such file, no rows, files that differ in columns or width, or an embedding that is not finished
    """

    def __init__(self, path: Path, key: str | None) -> None:
        with reading(path):
            names = sorted(name.name for name in path.iterdir())
        files = [name for name in names if name.lower().endswith(".parquet") and name[0] not in "._"]
        if not files:
            raise InputError(f"{path}: is a folder without .parquet files; name a file in it")
        filled = [name for name in files if parquet.row_count(path / name)]
        if not filled:
            raise InputError(f"{path}: is empty: its .parquet files have no rows")
        first = parquet.Source(path / filled[0], key)
        if _is_part(first) and COMPLETE not in names:
            raise InputError(f"{path}: is an embedding that is not finished; give its command of vec2vec embed again")
        self.parts = [first, *(parquet.Source(path / name, first.key) for name in filled[1:])]
        for part in self.parts:
            if not part.schema.equals(first.schema) or part.width != first.width:
                raise InputError(f"{part.path}: differs from {filled[0]} in its columns or width; name one of them")
        self.path, self.key, self.uri = path, first.key, f"{path}::{first.key}"
        self.schema, self.dtype, self.width = first.schema, first.dtype, first.width
        self.layout, self.column_names, self.extra_arrays = first.layout, first.column_names, first.extra_arrays
        self.rows = sum(part.rows for part in self.parts)

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[VectorBatch]:
        start = 0
        for part in self.parts:
            yield from (_moved(batch, start) for batch in part.batches(batch_rows))
            start += part.rows

    def take_batch(self, indices: npt.ArrayLike) -> VectorBatch:
        wanted = check_indices(self.uri, indices, self.rows)
        return take_rows(self._taken(wanted), wanted, self.width)

    def _taken(self, wanted: npt.NDArray[np.int64]) -> Iterator[VectorBatch]:
        """What is wanted of each part that has any of it."""
        start = 0
        for part in self.parts:
            first, last = np.searchsorted(wanted, (start, start + part.rows))
            if last > first:
                yield _moved(part.take_batch(wanted[first:last] - start), start)
            start += part.rows


def _is_part(source: parquet.Source) -> bool:
    """Whether a file is a part of an embedding, which has its number in the metadata, as a finished file has not."""
    try:
        tree = json.loads((source.schema.metadata or {}).get(EMBEDDING, b"null"))
    except ValueError:
        return False
    return isinstance(tree, dict) and "part" in tree


def _moved(batch: VectorBatch, start: int) -> VectorBatch:
    """A batch whose rows are counted from another one on."""
    faults = {row + start: fault for row, fault in batch.faults.items()}
    return replace(batch, rows=batch.rows + start, faults=faults)
