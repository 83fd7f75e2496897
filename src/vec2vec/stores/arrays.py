"""Arrays inside files (.npy, .npz, .safetensors), read a window of rows at a time."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vec2vec.errors import InputError
from vec2vec.stores.base import BATCH_ROWS, check_indices, reading, take_rows, window_rows
from vec2vec.vectors import Float32, VectorBatch, as_float32, one_line

if TYPE_CHECKING:
    import pyarrow as pa

TAKE_ROWS = 1024  # rows picked per mapping: each may bring in 64 KiB of neighbours, so 64 MiB at most
READ_BYTES = 2**16
NPY_HEADER_BYTES = 128


class ArrayReader(Protocol):
    """An array in a file. `dtype` is numpy's; `kind` is the file's name for it where numpy has none ("BF16")."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def kind(self) -> str: ...

    def windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        """The array in order, `rows` of its first axis at a time, each a fresh C-contiguous array.

        An array without axes comes as one window of shape (1,).
        """
        ...


@dataclass(frozen=True)
class MappedArray:
    """An array that lies in its file as it would in memory, at `offset`.

    Each window is read through a memory map of its own, which ends with it: resident memory is bounded by a window,
    however large the file, whereas pages of one long-lived map would add up.
    """

    name: str
    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False
    kind: str = ""

    def windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        count = self.shape[0] if self.shape else 1
        for start in range(0, count, rows):
            yield self._copy(slice(start, min(start + rows, count)))

    def take(self, indices: npt.NDArray[np.int64]) -> Float32:
        out = np.empty((len(indices), *self.shape[1:]), dtype=np.float32)
        for start in range(0, len(indices), TAKE_ROWS):
            part = slice(start, start + TAKE_ROWS)
            out[part] = to_vectors(self._copy(indices[part]), self.kind)
        return out

    def _copy(self, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        shape = self.shape or (1,)
        if math.prod(shape) == 0:
            return np.empty(shape, self.dtype)[rows]
        try:
            with reading(self.name):
                mapped = np.memmap(
                    self.path, self.dtype, "r", self.offset, shape=shape, order="F" if self.fortran else "C"
                )
        except ValueError as error:
            raise InputError(f"{self.name}: the file became shorter while it was read") from error
        return np.array(mapped[rows], order="C", subok=False)


@dataclass(frozen=True)
class ZippedArray:
    """An array in a compressed member of a zip file, unpacked as a stream (column-major ones in whole)."""

    name: str
    path: Path
    member: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False
    kind: str = ""

    def windows(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        try:
            with reading(self.name), zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                stream.read(self.offset)
                if self.fortran:
                    whole = _read_array(stream, self.shape[::-1], self.dtype).T
                    for start in range(0, len(whole), rows):
                        yield np.array(whole[start : start + rows], order="C")
                    return
                count, rest = (self.shape[0], self.shape[1:]) if self.shape else (1, ())
                for start in range(0, count, rows):
                    yield _read_array(stream, (min(rows, count - start), *rest), self.dtype)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(f"{self.name}: is damaged ({one_line(error)})") from error


class ArraySource:
    """A `VectorSource` over one array of a file."""

    column_names: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path,
        key: str | None,
        reader: MappedArray | ZippedArray,
        extra_arrays: Mapping[str, ArrayReader] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.key = key
        self.uri = reader.name
        _check_shape(reader)
        self.rows, self.width = reader.shape
        self.dtype = "bfloat16" if reader.kind == "BF16" else reader.dtype.name
        self.extra_arrays: Mapping[str, ArrayReader] = extra_arrays or {}
        self.metadata = dict(metadata or {})
        self._reader = reader

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[VectorBatch]:
        start = 0
        for window in self._reader.windows(batch_rows):
            rows = np.arange(start, start + len(window), dtype=np.int64)
            yield VectorBatch(to_vectors(window, self._reader.kind), rows)
            start += len(window)

    def take(self, indices: npt.ArrayLike) -> Float32:
        return self.take_batch(indices).vectors

    def take_batch(self, indices: npt.ArrayLike) -> VectorBatch:
        wanted = check_indices(self.uri, indices, self.rows)
        if isinstance(self._reader, MappedArray):
            return VectorBatch(self._reader.take(wanted), wanted)
        return take_rows(self.batches(TAKE_ROWS), wanted, self.width)

    def table_schema(self) -> pa.Schema | None:
        return None


def to_vectors(window: npt.NDArray[Any], kind: str) -> Float32:
    """A window's values as float32; the bits of bfloat16 (uint16) are the upper half of a float32's."""
    if kind == "BF16":
        return (window.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return as_float32(window)


def read_npy_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, column-major or not, dtype, and the offset of the data, of the .npy that begins here.

    The data is not touched, so that nothing of an object array is unpickled. Format:
    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"its format version is {version[0]}.{version[1]}, known are 1.0 and 2.0")
    except (ValueError, EOFError, SyntaxError, TypeError, tokenize.TokenError) as error:  # of the header's literal
        raise InputError(f"{name}: is no .npy array, or a damaged one ({one_line(error)})") from error
    return shape, fortran, dtype, stream.tell()


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a C-ordered .npy, of the same length whatever the number of rows (so it can be rewritten)."""
    text = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    length = NPY_HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode("latin1").ljust(length - 1) + b"\n"


def kept_windows(reader: ArrayReader, kept: npt.NDArray[np.bool_] | None) -> Iterator[npt.NDArray[Any]]:
    """The array window by window, only the rows that are `kept` if it is row-aligned with the vectors."""
    rows = window_rows(reader.dtype.itemsize * math.prod(reader.shape[1:]))
    start = 0
    for window in reader.windows(rows):
        stop = start + len(window)
        yield window if kept is None else window[kept[start:stop]]
        start = stop


def is_aligned(reader: ArrayReader, rows: int) -> bool:
    """Whether the array has one entry for each vector."""
    return bool(reader.shape) and reader.shape[0] == rows


def as_bytes(x: npt.NDArray[Any]) -> memoryview:
    """The bytes of a C-contiguous array of any dtype, not copied."""
    flat: Any = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    return memoryview(flat)


def _check_shape(reader: MappedArray | ZippedArray) -> None:
    shape = reader.shape
    if len(shape) != 2:
        hint = " (one vector? store it as one row)" if len(shape) == 1 else ""
        raise InputError(f"{reader.name}: has shape {shape}, expected 2-D (rows, width){hint}")
    if shape[0] <= 0:
        raise InputError(f"{reader.name}: is empty: it has no rows of width {shape[1]}")
    if shape[1] <= 0:
        raise InputError(f"{reader.name}: its {shape[0]:,} rows have width 0")


def _read_array(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    out = np.empty(shape, dtype)
    view = as_bytes(out)
    done = 0
    while done < len(view):
        got = stream.readinto(view[done : done + READ_BYTES])  # zipfile makes a copy of each piece
        if not got:
            raise EOFError(f"it ends {len(view) - done:,} bytes early")
        done += got
    return out
