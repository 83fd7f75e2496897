"""NumPy .npz: several arrays in a zip file; one of them holds the vectors, the others are carried over."""

from __future__ import annotations

import math
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vec2vec.errors import InputError
from vec2vec.stores.arrays import (
    ArrayReader,
    ArraySource,
    MappedArray,
    ZippedArray,
    as_bytes,
    is_aligned,
    kept_windows,
    npy_header,
    read_npy_header,
)
from vec2vec.stores.atomic import AtomicSink, followed
from vec2vec.stores.base import SinkSpec, VectorSource, choose_key, reading
from vec2vec.vectors import VectorBatch, is_numeric, one_line

DEFAULT_KEY = "vectors"
COPY_BYTES = 2**22


def source(path: Path, key: str | None) -> VectorSource:
    readers = _readers(path)
    numeric = {name: r for name, r in readers.items() if len(r.shape) == 2 and is_numeric(r.dtype)}
    floats = [name for name, r in numeric.items() if r.dtype.kind == "f"]
    candidates = floats or list(numeric)
    if not candidates and key is None and any(r.dtype.hasobject for r in readers.values()):
        raise InputError(f"{path}: holds Python objects, which are pickled and never loaded; save float32 arrays")
    key = choose_key(path, key, candidates, [name for name in readers if name not in candidates], "array")
    reader = readers[key]
    if reader.dtype.hasobject:
        raise InputError(f"{path}::{key}: holds Python objects, which are pickled and never loaded; save float32")
    if not is_numeric(reader.dtype):
        raise InputError(f"{path}::{key}: holds {reader.dtype} values, expected float16, float32, float64 or integers")
    extra: dict[str, ArrayReader] = {name: r for name, r in readers.items() if name != key}
    return ArraySource(path, key, reader, extra)


def sink(spec: SinkSpec) -> Sink:
    return Sink(spec)


class Sink(AtomicSink):
    """A zip member's checksum covers its header, which holds the number of rows; so vectors are collected in a
    nameless file beside the output, and packed when their number is known."""

    carries_arrays = True

    def __init__(self, spec: SinkSpec) -> None:
        super().__init__(spec)
        like = spec.like
        self.key = spec.key or (like.key if like else None) or DEFAULT_KEY
        self._kept = np.zeros(like.rows if like else 0, dtype=bool)
        self._extra: dict[str, ArrayReader] = {}
        for name, reader in (like.extra_arrays if like else {}).items():
            if reader.dtype.hasobject or reader.kind:
                self.leave_out([name])
            else:
                self._extra[name] = reader
        if self.key in self._extra:
            raise InputError(f"{self.path}: the input has another array named '{self.key}'; choose another key")

    def _begin(self, stream: BinaryIO) -> None:
        self._collected = tempfile.TemporaryFile(dir=followed(self.path).parent)  # noqa: SIM115 - closed by _close

    def _write(self, stream: BinaryIO, batch: VectorBatch) -> None:
        self._collected.write(as_bytes(self.encode(batch)))
        if self._extra:
            self._kept[batch.rows] = True

    def _finish(self, stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(f"{self.key}.npy", "w", force_zip64=True) as member:
                member.write(npy_header((self.rows_written, self.spec.width), np.dtype(self.spec.dtype)))
                self._collected.seek(0)
                while block := self._collected.read(COPY_BYTES):
                    member.write(block)
            for name, reader in self._extra.items():
                aligned = is_aligned(reader, len(self._kept))
                shape = (self.rows_written, *reader.shape[1:]) if aligned else reader.shape
                header = {"descr": np.lib.format.dtype_to_descr(reader.dtype), "fortran_order": False, "shape": shape}
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_2_0(member, header)
                    for window in kept_windows(reader, self._kept if aligned else None):
                        member.write(as_bytes(window))

    def _close(self) -> None:
        if hasattr(self, "_collected"):
            self._collected.close()


def _readers(path: Path) -> dict[str, MappedArray | ZippedArray]:
    """A reader for each array of the file, by its name without ".npy"."""
    readers: dict[str, MappedArray | ZippedArray] = {}
    try:
        with reading(path), zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    key = info.filename.removesuffix(".npy")
                    readers[key] = _reader(path, key, archive, info, raw)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: encrypted
        raise InputError(f"{path}: is no .npz file, or a damaged one ({one_line(error)})") from error
    return readers


def _reader(
    path: Path, key: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, raw: BinaryIO
) -> MappedArray | ZippedArray:
    name = f"{path}::{key}"
    with archive.open(info) as stream:
        shape, fortran, dtype, offset = read_npy_header(stream, name)
    if not dtype.hasobject and info.file_size < offset + math.prod(shape) * dtype.itemsize:
        raise InputError(f"{name}: is truncated: shape {shape} takes more than its {info.file_size:,} bytes")
    if info.compress_type != zipfile.ZIP_STORED:
        return ZippedArray(name, path, info.filename, offset, shape, dtype, fortran)
    return MappedArray(name, path, _data_offset(raw, info) + offset, shape, dtype, fortran)


def _data_offset(raw: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header of 30 bytes, its name and its extra field.

    The lengths of both stand at 26 and 28 of the local header (APPNOTE 4.3.7); the central directory's may differ.
    """
    raw.seek(info.header_offset + 26)
    lengths = raw.read(4)
    return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
