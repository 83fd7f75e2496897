"""Vectors in batches, and the one gate that every vector passes: one width, finite, not all-zero."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vec2vec.errors import DimensionError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

OnBadRows = Literal["error", "skip", "keep"]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

REPAIR = "repair it, or remove the row (on both sides, where they are row by row)"
SKIP = "leave such rows out with --on-bad-rows skip (on_bad_rows='skip' in Python)"
SKIP_OR_REPAIR = f"repair it, or {SKIP}"
# marks a column that holds each value as JSON, null where the record lacks the key: what .jsonl gives, without loss
JSON_TEXT = {b"vec2vec": b"json"}
TOO_LONG = 2.0**-16  # times a row whose norm is beyond float32: a power of two rounds nothing
LEAST_NORM = 1e-15  # of a row in float32: of shorter ones the squares are not exact any more
ID_COLUMNS = ("id", "_id", "ids", "uid", "uuid", "doc_id", "key")


@dataclass(frozen=True)
class VectorBatch:
    """Some rows of a source, in order. A store gives them unchecked; `Gate.check` gives them checked.

    Attributes
    ----------
    vectors : (n, d) float32 array, C-contiguous
    rows : (n,) int64 array, the rows' numbers in their source, counted from 0
    columns : the source's other columns (ids included) as a row-aligned table, None where the format has none
    faults : row number -> what the store found there in place of a vector of the right width. Such a row of
        `vectors` is NaN, so that it cannot pass for a vector.
    """

    vectors: Float32
    rows: Int64
    columns: pa.Table | None = None
    faults: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors)

    def column(self, name: str) -> list[Any]:
        """A column's values as Python objects; a column of JSON texts (see `JSON_TEXT`) is decoded, None if absent.

        Raises
        ------
        InputError : there are no columns, or a value in this one cannot be read: a string that is not UTF-8, a time
            beyond what Python has
        """
        if self.columns is None:
            raise InputError(f"there is no column '{name}': the source has no columns")
        column = self.columns.column(name)
        column = without_nanoseconds(column)
        try:
            values: list[Any] = column.to_pylist()
        except (ValueError, OverflowError) as error:
            row = next(int(row) for row, value in zip(self.rows, column, strict=True) if not _is_readable(value))
            why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({one_line(error)})"
            raise InputError(f"row {row} (counted from 0): its '{name}' {why}; repair it") from error
        if is_json_text(self.columns.schema.field(name)):
            return [None if text is None else json.loads(text) for text in values]
        return values


@dataclass(frozen=True)
class BadRow:
    """A row that is no usable vector: its number counted from 0, the reason, and its id where one is known."""

    row: int
    reason: str
    id: Any = None

    def to_json(self, **more: Any) -> bytes:
        """A line of a sidecar file: a JSON object with `more`, the row, the reason, and the id where one is known."""
        unknown = self.id is None or self.id != self.id  # JSON has no NaN
        tree = more | {"row": self.row, "reason": self.reason} | ({} if unknown else {"id": self.id})
        return json.dumps(tree, default=str).encode() + b"\n"


class Gate:
    """The gate for a stream of batches. It keeps count, so it serves one stream only.

    Parameters
    ----------
    name : what errors call the vectors: a file, or "source"
    width : the width that is asked for; None takes that of the first batch
    on_bad_rows : what to do with a row that has a NaN or infinite value (float32 is what counts: 1e300 is infinite
        there), is all zero, or is malformed. "error" raises; "skip" drops it; "keep" lets it pass as it is (a row
        that could not be read is then NaN). Whatever the choice, `bad` lists it.
    remedy : what the error says to do

    Attributes
    ----------
    bad : the bad rows so far
    seen : the number of rows so far, bad ones included
    """

    def __init__(
        self,
        name: str,
        *,
        width: int | None = None,
        on_bad_rows: OnBadRows = "error",
        remedy: str = SKIP_OR_REPAIR,
    ) -> None:
        if on_bad_rows not in ("error", "skip", "keep"):
            raise InputError(f"on_bad_rows is {on_bad_rows!r}; it can be 'error', 'skip' or 'keep'")
        self.name = name
        self.width = width
        self.on_bad_rows = on_bad_rows
        self.remedy = remedy
        self.bad: list[BadRow] = []
        self.seen = 0

    def check(self, batch: VectorBatch) -> VectorBatch:
        """The batch, less its bad rows where they are skipped; the very same batch where all rows are good.

        Raises
        ------
        DimensionError : the width is not the one asked for
        InputError : a bad row under on_bad_rows="error"; it names the first one
        """
        got = batch.vectors.shape[1]
        if self.width is None:
            self.width = got
        if got != self.width:
            raise DimensionError(f"{self.name}: the vectors have width {got}, expected {self.width}")
        reasons = _bad_rows(batch)
        self.seen += len(batch)
        if not reasons:
            return batch
        ids = _ids(batch, list(reasons))
        found = [BadRow(int(batch.rows[i]), reason, ids.get(i)) for i, reason in reasons.items()]
        self.bad.extend(found)
        if self.on_bad_rows == "error":
            more = f" (and {len(found) - 1} more of the rows read so far)" if len(found) > 1 else ""
            raise InputError(
                f"{self.name}: row {found[0].row} (counted from 0) is no usable vector: {found[0].reason}{more}; "
                f"{self.remedy}"
            )
        return batch if self.on_bad_rows == "keep" else _drop(batch, reasons)

    def finish(self) -> None:
        """Call at the end of the stream: raises InputError if nothing came through."""
        if self.seen == 0:
            raise InputError(f"{self.name}: there are no vectors in it")
        if self.on_bad_rows != "keep" and len(self.bad) == self.seen:
            first = self.bad[0]
            raise InputError(
                f"{self.name}: none of its {self.seen:,} rows is a usable vector (row {first.row}: {first.reason})"
            )

    def summary(self) -> str:
        """One line that counts the bad rows and shows the first; "" if there are none."""
        if not self.bad:
            return ""
        done = {"error": "found", "skip": "skipped", "keep": "kept as they are"}[self.on_bad_rows]
        first = self.bad[0]
        return (
            f"{self.name}: {len(self.bad):,} of {self.seen:,} rows are no usable vectors and were {done} "
            f"(the first: row {first.row}, counted from 0, {first.reason})"
        )


def mend_norms(norms: npt.NDArray[np.floating[Any]], x: npt.NDArray[np.floating[Any]]) -> None:
    """Put the norms (n,) of rows x (n, d) right, in place, where float32 cannot hold the squares, or not exactly.

    Rows whose norms it cannot hold either are scaled down by `TOO_LONG`, in place as well; their norms are those then.
    """
    odd = np.flatnonzero(~((norms > LEAST_NORM) & np.isfinite(norms)))
    if len(odd):
        exact = np.linalg.norm(x[odd].astype(np.float64), axis=1)
        too_long = exact > np.finfo(norms.dtype).max
        x[odd[too_long]] *= TOO_LONG
        norms[odd] = np.where(too_long, TOO_LONG * exact, exact)


def refuse_mask(x: object, name: str) -> None:
    """Raises InputError for a masked array with masked values, which `np.asarray` would show again."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise InputError(
            f"{name}: {np.ma.getmaskarray(x).sum():,} values are masked; fill them, as with x.filled(np.nan), or leave "
            "their rows out"
        )


def check_vectors(
    x: npt.ArrayLike,
    *,
    name: str = "vectors",
    width: int | None = None,
    min_rows: int = 1,
    on_bad_rows: OnBadRows = "error",
) -> Float32:
    """Vectors in memory, through the gate. Not copied if they are a C-contiguous float32 array and all good.

    Parameters
    ----------
    x : (n, d) array of float16, float32, float64 or integers of any size, or anything with `__array__`
    name : what errors call it
    width : the width that is asked for, if any
    min_rows : the fewest rows that will do, counted after bad rows are skipped
    on_bad_rows : see `Gate`

    Returns
    -------
    (n, d) float32 array, C-contiguous; fewer rows than `x` under "skip"

    Raises
    ------
    InputError : not a 2-D array of numbers, a bad row, or too few rows
    DimensionError : another width than asked for
    """
    refuse_mask(x, name)
    try:
        array = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; torch tensors of bfloat16, or on a GPU
        raise InputError(f"{name}: cannot be read as an array of one width ({one_line(error)})") from error
    if array.ndim != 2:
        hint = "; for a single vector use x[None, :]" if array.ndim == 1 else ""
        raise InputError(f"{name}: has shape {array.shape}, expected 2-D (rows, width){hint}")
    if not is_numeric(array.dtype):
        raise InputError(f"{name}: holds {array.dtype} values, expected float16, float32, float64 or integers")
    if array.shape[1] == 0:
        raise InputError(f"{name}: its rows have width 0")
    gate = Gate(name, width=width, on_bad_rows=on_bad_rows, remedy=REPAIR)
    checked = gate.check(VectorBatch(as_float32(array), np.arange(len(array), dtype=np.int64))).vectors
    if len(checked):
        gate.finish()
    if len(checked) < max(min_rows, 1):
        skipped = f" (bad rows skipped: {len(gate.bad):,})" if on_bad_rows == "skip" and gate.bad else ""
        raise InputError(f"{name}: too few rows: {len(checked):,}{skipped}; {max(min_rows, 1):,} or more are needed")
    return checked


def row_keys(x: Float32) -> list[int]:
    """A hash of each row (n, d): rows that are equal bit for bit have the same one."""
    return [hash(row.tobytes()) for row in x]


def first_rows(x: Float32) -> Int64:
    """The numbers of the rows (n, d) that repeat no earlier one, ascending."""
    keys: dict[int, int] = {}
    for number, key in enumerate(row_keys(x)):
        keys.setdefault(key, number)
    return np.fromiter(keys.values(), np.int64, len(keys))


def constant_columns(x: Float32, *, name: str = "vectors") -> str:
    """A line on the columns of (n, d) vectors that are the same in all rows, for a fit to warn with; "" without any."""
    constant = np.flatnonzero(x.max(axis=0) == x.min(axis=0))
    if not len(constant):
        return ""
    shown = ", ".join(str(c) for c in constant[:5]) + (", …" if len(constant) > 5 else "")
    return f"{name}: {len(constant):,} of {x.shape[1]:,} columns are constant ({shown})"


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether vectors may have this dtype: float16, float32, float64, or integers of any size."""
    return dtype.kind in "fiu" and dtype.itemsize <= 8


def is_json_text(arrow_field: Any) -> bool:
    """Whether a column (its pyarrow.Field) is marked as `JSON_TEXT`."""
    return (arrow_field.metadata or {}).get(b"vec2vec") == b"json"


def as_float32(x: npt.NDArray[Any]) -> Float32:
    """`x` as a C-contiguous float32 array. What is too large becomes infinite, for the gate to find."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, dtype=np.float32)


def is_utf8(text: str) -> bool:
    """Whether a string can be written as UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def one_line(error: BaseException) -> str:
    """An error's message in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _bad_rows(batch: VectorBatch) -> dict[int, str]:
    """Position in the batch -> reason, for each row that is no usable vector, in order.

    One pass over the vectors finds the rows whose squared norm is not finite or is zero; only those are looked at
    closely, since a squared norm may also overflow or vanish where the row is fine.
    """
    x = batch.vectors
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        power = np.einsum("ij,ij->i", x, x)
    reasons = {}
    for i in np.flatnonzero(~np.isfinite(power) | (power == 0)).tolist():
        reason = batch.faults.get(int(batch.rows[i])) or _fault(x[i])
        if reason:
            reasons[i] = reason
    return reasons


def _fault(vector: Float32) -> str | None:
    wrong = np.flatnonzero(~np.isfinite(vector))
    if len(wrong):
        what = "NaN" if np.isnan(vector[wrong[0]]) else "infinite (as float32)"
        return f"column {wrong[0]} is {what}"
    return None if vector.any() else "all its values are zero"


def _drop(batch: VectorBatch, reasons: Mapping[int, str]) -> VectorBatch:
    good = np.ones(len(batch), dtype=bool)
    good[list(reasons)] = False
    columns = None if batch.columns is None else batch.columns.take(np.flatnonzero(good))
    return replace(batch, vectors=batch.vectors[good], rows=batch.rows[good], columns=columns, faults={})


def _ids(batch: VectorBatch, positions: list[int]) -> dict[int, Any]:
    """The ids at these positions, by the first column that is named like one; what Python cannot hold, as strings."""
    table = batch.columns
    if table is None:
        return {}
    names = [name for name in ID_COLUMNS if name in table.column_names]
    names += [name for name in table.column_names if name.endswith("_id")]
    if not names:
        return {}
    columns = table.select(names[:1]).take(positions)
    try:
        values = replace(batch, rows=batch.rows[positions], columns=columns).column(names[0])
    except InputError:
        values = _as_strings(columns.column(0))
    return dict(zip(positions, values, strict=True))


def _as_strings(column: Any) -> list[str | None]:
    """A column of pyarrow as strings, what is not UTF-8 shown as `\\xe9`; None for all where pyarrow has no strings."""
    import pyarrow as pa

    try:
        held = column.cast(pa.string()).cast(pa.binary()).to_pylist()
    except pa.ArrowException:
        return [None] * len(column)
    return [value and value.decode(errors="backslashreplace") for value in held]


def without_nanoseconds(column: Any) -> Any:
    """A column of pyarrow; times of nanoseconds, which Python lacks, as strings, and durations as their number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not pa.types.is_temporal(kind) or getattr(kind, "unit", None) != "ns":
        return column
    if pa.types.is_duration(kind):
        return column.cast(pa.int64())
    return pc.replace_substring(column.cast(pa.string()), " ", "T")


def _is_readable(value: Any) -> bool:
    """Whether Python can hold a value of pyarrow."""
    try:
        value.as_py()
    except (ValueError, OverflowError):  # a string that is not UTF-8; a time out of range
        return False
    return True
