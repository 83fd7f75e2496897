"""Files of vectors by suffix: .npy, .npz, .parquet, .safetensors, .jsonl. Sources and sinks of batches.

A folder of .parquet files is a source, too.
"""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vec2vec.errors import InputError, OutputError
from vec2vec.stores.atomic import atomic_file, check_output, followed, refuse_input, refuse_within
from vec2vec.stores.base import BATCH_ROWS, SinkSpec, VectorSink, VectorSource, check_input, reading
from vec2vec.stores.sampling import RowSource, Sample, draw_sample, sample_rows
from vec2vec.vectors import REPAIR, Float32, is_utf8

__all__ = [
    "BATCH_ROWS",
    "SUFFIXES",
    "OutputDtype",
    "RowSource",
    "Sample",
    "Uri",
    "VectorSink",
    "VectorSource",
    "atomic_file",
    "check_output",
    "draw_sample",
    "open_sink",
    "open_source",
    "parse_uri",
    "read_vectors",
    "sample_rows",
]

OutputDtype = Literal["float16", "float32", "float64", "bfloat16"]
SUFFIXES = (".npy", ".npz", ".parquet", ".safetensors", ".jsonl")
DTYPE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


class Uri(NamedTuple):
    """A file, and the column, array or tensor in it (None: the only one)."""

    path: Path
    key: str | None

    def __str__(self) -> str:
        return str(self.path) if self.key is None else f"{self.path}::{self.key}"


def parse_uri(uri: str | os.PathLike[str]) -> Uri:
    """`path` or `path::key` in its parts; `~` is expanded.

    Raises
    ------
    InputError : no path or no key where one is due, or a suffix that no store has
    """
    path, key = _split(uri)
    if path.suffix.lower() not in SUFFIXES:
        what = f"the suffix '{path.suffix}' is unknown" if path.suffix else "there is no suffix"
        raise InputError(f"{path}: {what}; vectors are read from and written to {', '.join(SUFFIXES)}")
    return Uri(path, key)


def _split(uri: str | os.PathLike[str]) -> Uri:
    text, mark, key = os.fspath(uri).partition("::")
    if not text or (mark and not key):
        raise InputError(f"{os.fspath(uri)!r}: is no file name; write it as path or path::column")
    return Uri(Path(os.path.expanduser(text)), key or None)


def open_source(uri: str | os.PathLike[str]) -> VectorSource:
    """The vectors in a file, or in a folder of Parquet files in the order of their names, to be read in batches.

    Parameters
    ----------
    uri : the path, with `::key` for the column, array or tensor that holds the vectors where there are several

    Returns
    -------
    An open source; nothing but headers has been read (of .jsonl, the lines are counted).

    Raises
    ------
    InputError : a file that is missing, unreadable, damaged or empty, or that holds no such vectors
    """
    path, key = _split(uri)
    with reading(path):
        folder = path.is_dir()
    if not folder:
        parse_uri(uri)
        check_input(path)
    source: VectorSource = _store("parquet_folder" if folder else _format(path)).source(path, key)
    return source


def read_vectors(uri: str | os.PathLike[str]) -> Float32:
    """All vectors of a file, checked, as one (n, d) float32 array; a bad row raises InputError."""
    return draw_sample(open_source(uri), remedy=REPAIR).vectors


def open_sink(
    uri: str | os.PathLike[str],
    *,
    width: int,
    like: VectorSource | None = None,
    rows: int | None = None,
    force: bool = False,
    dtype: OutputDtype = "float32",
) -> VectorSink:
    """Where to write vectors, in the format of the suffix. Use it in a `with` block.

    The file appears at its path, synced to disk, when the block ends well. Until then there is only a hidden file
    beside it, which an error or Ctrl-C removes. Where the path is a link, all this holds of the file it points to.

    Parameters
    ----------
    uri : the path, with `::key` to name the column, array or tensor; otherwise it is named as in `like`, or "vector"
        (.parquet, .jsonl) or "vectors" (.npz, .safetensors)
    width : of the vectors to come
    like : the source that the batches stem from. Its other columns (.parquet, .jsonl) come with the batches, its
        other arrays (.npz, .safetensors) are copied, only the rows written if they are row-aligned. What it says of
        its encoder (.parquet) is left out, since the vectors written are of another space.
        What the format cannot hold is named in a Vec2VecWarning.
    rows : how many are expected at most, if known: a disk that is too small is then noticed before the work
    force : replace a file that exists
    dtype : of the values in the file; bfloat16 in .safetensors only

    Raises
    ------
    OutputError : the file exists, is the file of `like`, cannot be written, or the disk is too small or full
    InputError : an unknown suffix, key or dtype
    """
    path, key = parse_uri(uri)
    if key is not None and not is_utf8(key):
        raise InputError(f"{path}: nothing in it can be called {key!r}; choose another key")
    if dtype not in DTYPE_BYTES:
        raise InputError(f"{path}: cannot write {dtype}; choose among {', '.join(DTYPE_BYTES)}")
    if dtype == "bfloat16" and path.suffix.lower() != ".safetensors":
        raise InputError(f"{path}: bfloat16 can be written to .safetensors only; choose float16 or float32")
    if like is not None:
        refuse_input(path, like.path)
        refuse_within(path, like.path)
    check_output(path, force=force)
    if rows is not None:
        _check_room(path, rows * width * DTYPE_BYTES[dtype])
    sink: VectorSink = _store(_format(path)).sink(SinkSpec(path, key, width, like, dtype, force))
    return sink


def _store(name: str) -> Any:
    return importlib.import_module(f"vec2vec.stores.{name}")


def _format(path: Path) -> str:
    return path.suffix.lower()[1:]


def _check_room(path: Path, due: int) -> None:
    """Raises OutputError if the disk lacks room for `due` bytes of vectors; .npz collects them before it packs them."""
    if _format(path) == "npz":
        due *= 2
    free = shutil.disk_usage(followed(path).parent).free
    if due > free:
        raise OutputError(f"{path}: takes {due / 1e9:,.1f} GB, and the disk has {free / 1e9:,.1f} GB free")
