"""What every store gives: a source of batches, a sink for batches, and the errors they share."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vec2vec.errors import InputError
from vec2vec.vectors import Float32, VectorBatch, one_line

if TYPE_CHECKING:
    import pyarrow as pa

    from vec2vec.stores.arrays import ArrayReader

BATCH_ROWS = 8192


class VectorSource(Protocol):
    """A file of vectors, or a folder of files, read in batches.

    It holds no open file between calls, and can be read more than once.

    Attributes
    ----------
    uri : the path, with `::key` where the format has keys; what errors call it
    key : the column, array or tensor that holds the vectors; None for .npy
    rows, width : the shape
    dtype : of the file's values: "float16", "float32", "float64", "bfloat16", "int8", ...
    column_names : the columns that come with the vectors in `VectorBatch.columns`
    layout : all columns in the file's order, `key` among them; () for formats without columns
    extra_arrays : the other arrays or tensors of the file by name, read by nobody but a sink that carries them over
    """

    @property
    def uri(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def key(self) -> str | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def column_names(self) -> tuple[str, ...]: ...
    @property
    def layout(self) -> tuple[str, ...]: ...
    @property
    def extra_arrays(self) -> Mapping[str, ArrayReader]: ...

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[VectorBatch]:
        """All rows in order, unchecked, at most `batch_rows` at a time and no more in memory than that."""
        ...

    def take(self, indices: npt.ArrayLike) -> Float32:
        """(k, d) float32, unchecked: the rows of these numbers (ascending, distinct). Only these are held."""
        ...

    def take_batch(self, indices: npt.ArrayLike) -> VectorBatch:
        """Like `take`, with row numbers and faults; without columns."""
        ...

    def table_schema(self) -> pa.Schema | None:
        """The schema of the other columns, for a sink with typed columns; None for formats without columns."""
        ...


class VectorSink(Protocol):
    """Where batches go. A context manager: the file appears, whole, when the block ends well, and never otherwise."""

    @property
    def path(self) -> Path: ...
    @property
    def rows_written(self) -> int: ...

    def __enter__(self) -> VectorSink: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def write(self, batch: VectorBatch) -> None:
        """Append the batch's vectors, with its columns; its row numbers must be those of `like`, ascending."""
        ...


@dataclass(frozen=True)
class SinkSpec:
    """What a sink is asked to write: see `vec2vec.stores.open_sink`."""

    path: Path
    key: str | None
    width: int
    like: VectorSource | None
    dtype: str
    force: bool


@contextmanager
def reading(name: object) -> Iterator[None]:
    """Turns an OSError of the block into an InputError in one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or one_line(error)}") from error


def check_input(path: Path) -> None:
    """Raises InputError if `path` is no file with something in it."""
    with reading(path):
        if not path.exists():
            raise InputError(f"{path}: there is no such file")
        if not path.is_file():
            raise InputError(f"{path}: is no regular file")
        with open(path, "rb") as stream:
            if not stream.read(1):
                raise InputError(f"{path}: is empty: it has 0 bytes")


def choose_key(name: object, wanted: str | None, candidates: Sequence[str], others: Sequence[str], what: str) -> str:
    """The key that holds the vectors: the one asked for, or the only candidate.

    Parameters
    ----------
    name : the file, for errors
    wanted : the key that was asked for, or None
    candidates : keys that can hold vectors
    others : the file's other keys; asking for one of them is left to the store, which knows what is wrong with it
    what : what a key is here: "column", "array", "tensor"

    Raises
    ------
    InputError : no such key, or none or several to choose from
    """
    known = [*candidates, *others]
    if wanted is not None:
        return check_key(name, wanted, known, what)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(f"{name}: no {what} holds vectors (2-D numbers); it has {listed(known)}")
    raise InputError(
        f"{name}: {len(candidates)} {what}s could be the vectors: {listed(candidates)}; "
        f"name one, as in '{name}::{candidates[0]}'"
    )


def check_key(name: object, wanted: str, known: Sequence[str], what: str) -> str:
    """`wanted`, if it is one of `known`; an InputError that lists them and names the nearest if not."""
    if wanted in known:
        return wanted
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise InputError(f"{name}: there is no {what} '{wanted}'; it has {listed(known)}{hint}")


def check_repeated(name: object, columns: Sequence[str]) -> None:
    """Raises InputError if several columns are of one name."""
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise InputError(f"{name}: several columns are named '{repeated[0]}'; give each a name of its own")


def take_rows(batches: Iterator[VectorBatch], indices: npt.NDArray[np.int64], width: int) -> VectorBatch:
    """The rows of these ascending numbers from a stream of batches that contains them."""
    vectors = np.empty((len(indices), width), dtype=np.float32)
    faults: dict[int, str] = {}
    done = 0
    for batch in batches:
        if done == len(indices):
            break
        upto = done + int(np.searchsorted(indices[done:], batch.rows[-1], side="right"))
        wanted = indices[done:upto]
        vectors[done:upto] = batch.vectors[np.searchsorted(batch.rows, wanted)]
        if batch.faults:
            faults |= {int(row): batch.faults[int(row)] for row in wanted if int(row) in batch.faults}
        done = upto
    if done < len(indices):
        raise InputError(f"the file ended before row {indices[done]}: it changed while it was read")
    return VectorBatch(vectors, indices, faults=faults)


def check_indices(name: str, indices: npt.ArrayLike, rows: int) -> npt.NDArray[np.int64]:
    """Row numbers as an int64 array, or an InputError if they are not ascending, distinct and within the file."""
    wanted = np.asarray(indices, dtype=np.int64)
    if wanted.ndim != 1 or (np.diff(wanted) <= 0).any():
        raise InputError(f"{name}: the row numbers to take must be one ascending list, each once")
    if len(wanted) and (wanted[0] < 0 or wanted[-1] >= rows):
        raise InputError(f"{name}: row {wanted[-1] if wanted[0] >= 0 else wanted[0]} is not among its {rows:,} rows")
    return wanted


def window_rows(row_bytes: int, most: int = BATCH_ROWS, window_bytes: int = 16 * 2**20) -> int:
    """How many rows of this size to hold at a time."""
    return max(1, min(most, window_bytes // max(row_bytes, 1)))


def column_index(layout: Sequence[str], key: str | None, columns: Sequence[Any]) -> int:
    """Where, among the other columns, the vectors stand; at the end if that is not known."""
    return list(layout).index(key) if key is not None and key in layout else len(columns)


def listed(names: Sequence[str]) -> str:
    """Names for a message: the first twelve, and how many more."""
    if not names:
        return "none"
    shown = ", ".join(f"'{name}'" for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
