"""Safetensors: named tensors behind a JSON header; one holds the vectors (bfloat16 too), the others are carried over.

The layout is read and written here, so that neither torch nor the whole file is needed; the library checks the header.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from vec2vec.errors import InputError
from vec2vec.stores.arrays import ArrayReader, ArraySource, MappedArray, as_bytes, is_aligned, kept_windows
from vec2vec.stores.atomic import AtomicSink
from vec2vec.stores.base import SinkSpec, VectorSource, choose_key, reading
from vec2vec.vectors import VectorBatch, is_numeric, one_line

DEFAULT_KEY = "vectors"
METADATA = "__metadata__"  # its place in the header; no tensor can have this name
NUMPY_DTYPES = {
    **{f"F{8 * n}": f"<f{n}" for n in (2, 4, 8)},
    **{f"I{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)},
    "BOOL": "|b1",
    "BF16": "<u2",  # its bits
}
DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "bfloat16": "BF16"}


@dataclass(frozen=True)
class _Opaque:
    """A tensor of a dtype that numpy cannot hold (float8 and the like): known by name, carried nowhere."""

    shape: tuple[int, ...]
    kind: str
    dtype: np.dtype[Any]

    def windows(self, rows: int) -> Any:
        raise InputError(f"tensors of {self.kind} cannot be read")


def source(path: Path, key: str | None) -> VectorSource:
    readers, metadata = _readers(path)
    numeric = {name: r for name, r in readers.items() if len(r.shape) == 2 and is_numeric(r.dtype)}
    floats = [name for name, r in numeric.items() if r.dtype.kind == "f" or r.kind == "BF16"]
    candidates = floats or list(numeric)
    key = choose_key(path, key, candidates, [name for name in readers if name not in candidates], "tensor")
    reader = readers[key]
    if not isinstance(reader, MappedArray) or not is_numeric(reader.dtype):
        held = reader.kind or reader.dtype
        raise InputError(f"{path}::{key}: holds {held} values, expected F16, BF16, F32, F64 or integers")
    extra = {name: r for name, r in readers.items() if name != key}
    return ArraySource(path, key, reader, extra, metadata)


def sink(spec: SinkSpec) -> Sink:
    return Sink(spec)


class Sink(AtomicSink):
    """Room for the header is left at the start, and filled at the end, when the number of rows is known."""

    carries_arrays = True

    def __init__(self, spec: SinkSpec) -> None:
        super().__init__(spec)
        like = spec.like
        self.key = spec.key or (like.key if like else None) or DEFAULT_KEY
        if self.key == METADATA:
            raise InputError(f"{self.path}: nothing in it can be called {METADATA!r}; choose another key")
        self._kept = np.zeros(like.rows if like else 0, dtype=bool)
        self._extra: dict[str, tuple[str, ArrayReader]] = {}
        kinds = {np.dtype(numpy): kind for kind, numpy in NUMPY_DTYPES.items() if kind != "BF16"}
        for name, reader in (like.extra_arrays if like else {}).items():
            kind = reader.kind if reader.kind in NUMPY_DTYPES else kinds.get(reader.dtype)
            if kind is None or name == METADATA:
                self.leave_out([name])
            else:
                self._extra[name] = (kind, reader)
        if self.key in self._extra:
            raise InputError(f"{self.path}: the input has another tensor named '{self.key}'; choose another key")
        self._metadata = dict(like.metadata) if isinstance(like, ArraySource) else {}

    def _begin(self, stream: BinaryIO) -> None:
        longest = self._header(10**15)
        self._room = len(longest) + -len(longest) % 8
        stream.write(bytes(8 + self._room))

    def _write(self, stream: BinaryIO, batch: VectorBatch) -> None:
        stream.write(as_bytes(self.encode(batch)))
        if self._extra:
            self._kept[batch.rows] = True

    def _finish(self, stream: BinaryIO) -> None:
        for _, reader in self._extra.values():
            for window in kept_windows(reader, self._kept if is_aligned(reader, len(self._kept)) else None):
                stream.write(as_bytes(window))
        stream.seek(0)
        stream.write(self._room.to_bytes(8, "little"))
        stream.write(self._header(self.rows_written).ljust(self._room))

    def _header(self, rows: int) -> bytes:
        header: dict[str, Any] = {METADATA: self._metadata} if self._metadata else {}
        end = 0
        value_bytes = np.dtype(NUMPY_DTYPES[DTYPES[self.spec.dtype]]).itemsize
        tensors: list[tuple[str, str, tuple[int, ...], int]] = [
            (self.key, DTYPES[self.spec.dtype], (rows, self.spec.width), value_bytes)
        ]
        for name, (kind, reader) in self._extra.items():
            aligned = is_aligned(reader, len(self._kept))
            shape = (rows, *reader.shape[1:]) if aligned else reader.shape
            tensors.append((name, kind, shape, reader.dtype.itemsize))
        for name, kind, shape, item in tensors:
            start, end = end, end + item * int(np.prod(shape, dtype=object))
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
        return json.dumps(header, ensure_ascii=False).encode()


def _readers(path: Path) -> tuple[dict[str, MappedArray | _Opaque], dict[str, str]]:
    """A reader for each tensor, and the file's metadata."""
    try:
        with reading(path):
            with safe_open(path, framework="numpy"):  # checks lengths, offsets and the JSON
                pass
            with open(path, "rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header = json.loads(stream.read(length))
    except SafetensorError as error:
        raise InputError(f"{path}: is no .safetensors file, or a damaged one ({one_line(error)})") from error
    metadata = header.pop(METADATA, None) or {}
    readers: dict[str, MappedArray | _Opaque] = {}
    for key, entry in header.items():
        kind, shape = entry["dtype"], tuple(entry["shape"])
        if kind not in NUMPY_DTYPES:
            readers[key] = _Opaque(shape, kind, np.dtype(np.void))
            continue
        offset = 8 + length + entry["data_offsets"][0]
        own = kind if kind == "BF16" else ""
        readers[key] = MappedArray(f"{path}::{key}", path, offset, shape, np.dtype(NUMPY_DTYPES[kind]), kind=own)
    return readers, metadata
