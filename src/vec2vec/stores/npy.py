"""NumPy .npy: one array, memory-mapped on reading, streamed on writing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vec2vec.errors import InputError
from vec2vec.stores.arrays import ArraySource, MappedArray, as_bytes, npy_header, read_npy_header
from vec2vec.stores.atomic import AtomicSink
from vec2vec.stores.base import SinkSpec, VectorSource, reading
from vec2vec.vectors import VectorBatch, is_numeric


def source(path: Path, key: str | None) -> VectorSource:
    name = str(path)
    if key is not None:
        raise InputError(f"{path}: a .npy file is one array; leave out '::{key}'")
    with reading(name), open(path, "rb") as stream:
        shape, fortran, dtype, offset = read_npy_header(stream, name)
        size = path.stat().st_size
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects, which are pickled and never loaded; save a float32 array")
    if not is_numeric(dtype):
        raise InputError(f"{name}: holds {dtype} values, expected float16, float32, float64 or integers")
    due = offset + math.prod(shape) * dtype.itemsize
    if size < due:
        raise InputError(f"{name}: is truncated: it has {size:,} bytes of the {due:,} that shape {shape} takes")
    return ArraySource(path, None, MappedArray(name, path, offset, shape, dtype, fortran))


def sink(spec: SinkSpec) -> Sink:
    if spec.key is not None:
        raise InputError(f"{spec.path}: a .npy file is one array; leave out '::{spec.key}'")
    return Sink(spec)


class Sink(AtomicSink):
    """The header is written first for no rows, and again at the end, when their number is known."""

    def _begin(self, stream: BinaryIO) -> None:
        self._write_header(stream)

    def _write(self, stream: BinaryIO, batch: VectorBatch) -> None:
        stream.write(as_bytes(self.encode(batch)))

    def _finish(self, stream: BinaryIO) -> None:
        self._write_header(stream)

    def _write_header(self, stream: BinaryIO) -> None:
        stream.seek(0)
        stream.write(npy_header((self.rows_written, self.spec.width), np.dtype(self.spec.dtype)))
