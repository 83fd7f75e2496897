"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vec2vec.errors import DimensionError, InputError, OutputError, Vec2VecWarning
from vec2vec.stores.base import SinkSpec
from vec2vec.vectors import VectorBatch, one_line

if sys.platform != "win32":
    import fcntl

LEFTOVER_SECONDS = 60.0
LONGEST_NAME = 255  # bytes, on the usual file systems


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError of the block into an OutputError in one line."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Symlink loop" not in str(error):  # as `Path.resolve` says it
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise OutputError(f"{path}: cannot be written: {why}; nothing there was changed") from error


def check_output(path: Path, *, force: bool = False) -> None:
    """Raises OutputError if a file could not be put at `path`: before the work, not after it."""
    with writing(path):
        _check_name(followed(path))
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is no regular file")
        if path.exists() and not force:
            raise OutputError(f"{path}: exists already; choose another name, or replace it with --force (force=True)")
        check_parent(followed(path))


def refuse_input(path: Path, given: str | os.PathLike[str]) -> None:
    """Raises OutputError if the file `path`, which is to be written, is the input: a path, path::key, or anything."""
    if same_file(path, os.path.expanduser(os.fspath(given).partition("::")[0])):
        raise OutputError(f"{path}: is the input itself; choose another name for the output")


def refuse_within(path: Path, folder: Path) -> None:
    """Raises OutputError if the file `path` would be in the folder that is the input, whose files are read as one."""
    if folder.is_dir() and same_file(followed(path).parent, folder):
        raise OutputError(f"{path}: is in the folder that is the input; choose another one for the output")


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether both are there, and are one file or folder."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them does not exist, or is no path
        return False


def followed(path: Path) -> Path:
    """Where a file at `path` is written: what it points to, if it is a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


class AtomicFile:
    """A file beside `path` that takes its place on `commit`, synced to disk, and is removed by `abort`.

    Nothing is visible at `path` before the commit, and what stood there stays until then. Where `path` is a link, this
    holds of the file that it points to, and the link stays. The permissions are those of the file that is replaced,
    from the start. `stream` is seekable and readable.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self.force = force
        self.target = followed(path)
        self.temporary = _beside(self.target, "tmp")
        with writing(path):
            check_output(path, force=force)
            remove_leftovers(self.target.parent, glob.escape(self.target.name))
            self.stream: BinaryIO = open(self.temporary, "x+b")  # noqa: SIM115 - closed by commit or abort
            lock(self.stream)
            if self.target.is_file():
                shutil.copymode(self.target, self.temporary)

    def sync(self) -> None:
        """Bring what was written to the disk: what a full one does not hold shows here, not in the commit."""
        with writing(self.path):
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def commit(self) -> None:
        self.sync()
        with writing(self.path):
            self.stream.close()
            check_output(self.path, force=self.force)  # it may have appeared meanwhile
            os.replace(self.temporary, self.target)

    def abort(self) -> None:
        with suppress(OSError):  # closing flushes, which fails again on a full disk
            self.stream.close()
        self.temporary.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """An `AtomicFile` for one block: committed if it ends well, removed otherwise, Ctrl-C included."""
    file = AtomicFile(path, force=force)
    try:
        with writing(path):
            yield file.stream
        file.commit()
    except BaseException:
        file.abort()
        raise


@contextmanager
def atomic_files(paths: Sequence[Path], *, force: bool = False) -> Iterator[list[AtomicFile]]:
    """An `AtomicFile` of each path for one block: all are on the disk before the first takes its place."""
    with ExitStack() as stack:
        files = []
        for path in paths:
            files.append(AtomicFile(path, force=force))
            stack.callback(files[-1].abort)  # after a commit there is nothing left to remove
        yield files
        for file in files:
            file.sync()
        for file in files:
            file.commit()


@contextmanager
def atomic_folder(path: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """A folder beside `path` to fill in one block, which then takes its place; removed if the block does not end well.

    Parameters
    ----------
    path : absolute; an old folder there goes only once the new one stands
    check : raises OutputError if no folder may be put at `path`; called before the block, and after it once more
    """
    temporary = _beside(path, "tmp")
    try:
        with writing(path):
            check(path)
            temporary.mkdir()
            yield temporary
            check(path)  # something may have appeared meanwhile
            take_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_parent(path: Path) -> None:
    """Raises OutputError if nothing can be put into the folder of `path`."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: its folder {path.parent} cannot be written to")


def check_replaceable(path: Path) -> None:
    """Raises OutputError if no folder could take the place of `path` (absolute): before the work, not after it."""
    check_parent(path)
    _check_name(path)
    if os.path.ismount(path):
        raise OutputError(f"{path}: is where a file system is mounted, and cannot be replaced; name a folder in it")
    if same_file(path, os.curdir):
        raise OutputError(f"{path}: is the folder that this runs in, and cannot be replaced; name another one")


def _check_name(path: Path) -> None:
    """Raises OutputError if what is written beside `path`, until it takes its place, would have too long a name."""
    if len(os.fsencode(_beside(path, "tmp").name)) > LONGEST_NAME:
        raise OutputError(f"{path}: its name is too long; choose a shorter one")


def take_place(temporary: Path, path: Path) -> None:
    """Move a folder to `path` (absolute); an old one there goes only once it stands."""
    if not path.exists():
        os.rename(temporary, path)
        return
    old = _beside(path, "old")
    try:
        os.rename(path, old)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(path, old, symlinks=True)  # of the lower layer of an overlay, whose folders cannot be renamed
        shutil.rmtree(path)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{suffix}")


def lock(stream: BinaryIO) -> bool:
    """Take a file for this process, until it is closed or the process ends; whether that went well."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or the file system has no locks
        return False
    return True


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """No other process is in such a block for this folder; whether that is sure: some file systems have no locks.

    Raises
    ------
    OutputError : another one is, or the folder has just been moved or removed by one
    """
    if sys.platform == "win32":
        yield False
        return
    busy = OutputError(f"{folder}: another run is at work there; wait for it, or choose another output")
    with writing(folder):
        try:
            number = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            raise busy from None
    try:
        sure = True
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        except OSError:  # the file system has no locks
            sure = False
        if not folder.exists() or not os.path.samestat(os.fstat(number), folder.stat()):
            raise busy
        yield sure
    finally:
        os.close(number)


def remove_leftovers(folder: Path, names: str, age: float = LEFTOVER_SECONDS) -> None:
    """Remove what a process that was killed began for files of these names (a pattern), not what another one writes.

    What was written to in the last `age` seconds stays: it may just have been made, and not be locked yet.
    """
    for left in folder.glob(f".{names}.????????.tmp"):
        with suppress(OSError):
            if left.is_file() and time.time() - left.stat().st_mtime > age:
                with open(left, "rb") as stream:
                    if lock(stream):
                        left.unlink()


class AtomicSink:
    """The part of a sink that all formats share; a format fills in `_begin`, `_write` and `_finish`.

    Attributes
    ----------
    carries_columns, carries_arrays : whether the format can hold a source's other columns, other arrays
    rows_written : so far
    """

    carries_columns = False
    carries_arrays = False

    def __init__(self, spec: SinkSpec) -> None:
        self.spec = spec
        self.path = spec.path
        self.rows_written = 0
        self._last_row = -1
        self._told: set[str] = set()
        self._file: AtomicFile | None = None
        like = spec.like
        if like is not None:
            if not self.carries_columns:
                self.leave_out(like.column_names)
            if not self.carries_arrays:
                self.leave_out(tuple(like.extra_arrays))

    def __enter__(self) -> AtomicSink:
        self._file = AtomicFile(self.path, force=self.spec.force)
        try:
            with writing(self.path):
                self._begin(self._file.stream)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            if kind is None:
                with writing(self.path):
                    self._finish(self._file.stream)
                self._file.commit()
        finally:
            self._stop()

    def write(self, batch: VectorBatch) -> None:
        if self._file is None:
            raise OutputError(f"{self.path}: the sink is not open; write within its `with` block")
        if batch.vectors.ndim != 2 or batch.vectors.shape[1] != self.spec.width:
            shape = batch.vectors.shape
            raise DimensionError(f"{self.path}: got vectors of shape {shape}, expected width {self.spec.width}")
        if len(batch) == 0:
            return
        if len(batch.rows) != len(batch) or batch.rows[0] <= self._last_row:
            raise InputError(f"{self.path}: the rows of a batch must be numbered, and follow those written before")
        if batch.columns is not None and not self.carries_columns:
            self.leave_out(batch.columns.column_names)
        with writing(self.path):
            self._write(self._file.stream, batch)
        self._last_row = int(batch.rows[-1])
        self.rows_written += len(batch)

    def leave_out(self, names: Sequence[str]) -> None:
        """Warn, once for each, that these columns or arrays are not carried over."""
        new = [name for name in names if name not in self._told]
        self._told.update(new)
        if new:
            listed = ", ".join(f"'{name}'" for name in new)
            message = f"{self.path}: this format cannot hold {listed} of the input; only the vectors are written"
            if self.carries_arrays or self.carries_columns:
                message = f"{self.path}: cannot hold {listed} of the input, which is left out"
            warnings.warn(message, Vec2VecWarning, stacklevel=4)

    def encode(self, batch: VectorBatch) -> npt.NDArray[np.generic]:
        """The batch's vectors in the output's dtype (bfloat16 as its bits, uint16)."""
        x = np.ascontiguousarray(batch.vectors, dtype=np.float32)
        if self.spec.dtype == "bfloat16":
            return to_bfloat16(x)
        with np.errstate(over="ignore"):
            out = x.astype(self.spec.dtype, copy=False)
        if self.spec.dtype == "float16" and (np.isinf(out) & ~np.isinf(x)).any():
            raise OutputError(f"{self.path}: values beyond 65,504 do not fit float16; write float32")
        if self.spec.dtype == "float16" and (x.any(axis=1) & ~out.any(axis=1)).any():
            raise OutputError(f"{self.path}: vectors whose values are all below 6e-8 do not fit float16; write float32")
        return out

    def _begin(self, stream: BinaryIO) -> None:
        """Write what comes before the first batch."""

    def _write(self, stream: BinaryIO, batch: VectorBatch) -> None:
        raise NotImplementedError

    def _finish(self, stream: BinaryIO) -> None:
        """Write what comes after the last batch, and correct what `_begin` could not know."""

    def _close(self) -> None:
        """Let go of what writes to the stream; called once, whether it ended well or not."""

    def _stop(self) -> None:
        try:
            self._close()
        finally:
            if self._file is not None:
                self._file.abort()  # after a commit there is nothing left to remove
                self._file = None


def to_bfloat16(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """float32 to the bits of the nearest bfloat16 (ties to even); a NaN stays a NaN."""
    bits = x.view(np.uint32)
    with np.errstate(over="ignore"):
        rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
            np.uint16
        )
    rounded[np.isnan(x)] = 0x7FC0
    return rounded
