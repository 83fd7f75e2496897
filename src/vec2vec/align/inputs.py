"""What a fit is given, in memory or in files, as checked arrays: samples of the two sides, and known pairs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vec2vec.errors import DimensionError, InputError
from vec2vec.stores import RowSource, draw_sample, open_source
from vec2vec.vectors import (
    SKIP_OR_REPAIR,
    BadRow,
    Float32,
    Gate,
    Int64,
    OnBadRows,
    VectorBatch,
    as_float32,
    check_vectors,
    first_rows,
    refuse_mask,
    row_keys,
)

Vectors = npt.ArrayLike | str | os.PathLike[str]
MIN_ROWS = 10
MANY_REPEATS = 0.01  # the share of rows that repeat an earlier one, from which on it matters
MIN_PAIRS = 10


@dataclass(frozen=True)
class Side:
    """The rows of one side that a fit uses.

    Attributes
    ----------
    name : what errors and warnings call it: the file, or "source"
    vectors : (k, d) float32, checked
    available : rows there are
    bad : the bad rows that were drawn and left out
    warning : a line about those, "" if there are none
    """

    name: str
    vectors: Float32
    available: int
    bad: tuple[BadRow, ...]
    warning: str

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    def counts(self) -> dict[str, int]:
        return {"used": len(self.vectors), "available": self.available, "skipped": len(self.bad)}


def once_each(side: Side) -> tuple[Side, str]:
    """The side without the rows that repeat an earlier one, if these are many, and a line that says so; else "".

    Two halves that share rows find the same of them, right or not, and the same vector cannot be told from its like.

    Raises
    ------
    InputError : too few rows are left
    """
    rows, kept = len(side.vectors), first_rows(side.vectors)
    repeats = rows - len(kept)
    if repeats < MANY_REPEATS * rows:
        return side, ""
    if len(kept) < MIN_ROWS:
        raise InputError(f"{side.name}: has {len(kept)} different rows: a fit needs {MIN_ROWS} at least")
    line = f"{side.name}: {repeats:,} of {rows:,} rows ({repeats / rows:.1%}) repeat an earlier row and were left out"
    return replace(side, vectors=side.vectors[kept]), line


@dataclass(frozen=True)
class Pairs:
    """Known pairs: row i of both sides is the same text.

    Attributes
    ----------
    source, target : (p, d_source) and (p, d_target) float32, checked; no pair is there twice
    bad : name of a side -> its bad rows, each of which took its pair with it; sides without any are not there
    warnings : a line about those, and one about repeated pairs, where there are any
    """

    source: Float32
    target: Float32
    bad: dict[str, tuple[BadRow, ...]]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)


class ArraySource:
    """An array in memory as a `RowSource`: only the rows that are taken are copied."""

    def __init__(self, x: npt.ArrayLike, name: str) -> None:
        refuse_mask(x, name)
        if not isinstance(x, np.ndarray):
            x = _as_array(x, name)
        check_vectors(x[:1] if x.ndim == 2 else x, name=name, on_bad_rows="keep")  # its shape and dtype
        self.array: npt.NDArray[Any] = x
        self.uri = name
        self.rows, self.width = x.shape

    def take_batch(self, indices: Int64, /) -> VectorBatch:
        whole = len(indices) == self.rows
        return VectorBatch(as_float32(self.array if whole else self.array[indices]), np.asarray(indices))


def open_side(x: Vectors, name: str) -> RowSource:
    """A file or an array as something to draw rows from."""
    return open_source(x) if isinstance(x, str | os.PathLike) else ArraySource(x, name)


def refuse_the_same(source: RowSource, target: RowSource) -> None:
    """Raises InputError where both sides are one file (and column), or one array."""
    if isinstance(source, ArraySource) or isinstance(target, ArraySource):
        same = (
            isinstance(source, ArraySource)
            and isinstance(target, ArraySource)
            and source.array.__array_interface__ == target.array.__array_interface__
        )
        if same:
            raise InputError("source and target are the same array: a fit needs vectors of two models")
        return
    one, other = source.uri.partition("::"), target.uri.partition("::")
    if one[2] == other[2] and os.path.samefile(Path(one[0]), Path(other[0])):
        raise InputError(f"{source.uri}: source and target are the same vectors: a fit needs those of two models")


def draw_side(source: RowSource, rows: int, seed: int, on_bad_rows: OnBadRows, remedy: str = SKIP_OR_REPAIR) -> Side:
    """At most `rows` rows of a side, drawn uniformly; `remedy` is what an error says to do.

    Raises
    ------
    InputError : bad rows under "error", or too few rows
    """
    sample = draw_sample(source, rows, seed, on_bad_rows, remedy)
    if len(sample.vectors) < MIN_ROWS:
        raise InputError(
            f"{source.uri}: has {len(sample.vectors):,} usable rows: a fit needs {MIN_ROWS} at least, and 1,000 to be "
            "worth it"
        )
    return Side(source.uri, sample.vectors, source.rows, sample.bad, sample.summary)


def load_pairs(pairs: object, widths: tuple[int, int], *, most: int, seed: int, on_bad_rows: OnBadRows) -> Pairs:
    """Known pairs, row-aligned and checked: row i of both is the same text.

    A pair that is given more than once is used once: the verdict compares maps by disjoint halves of the pairs.

    Parameters
    ----------
    pairs : a file with the arrays or columns `source` and `target`; `path::a,b` where they are called a and b; or a
        tuple of two arrays or files
    widths : of the two spaces
    most : pairs to use at most, drawn uniformly
    seed : of that draw
    on_bad_rows : "error" raises; otherwise a pair with a bad row on either side is left out

    Raises
    ------
    InputError : pairs of fewer than ten texts, sides of different lengths, bad rows, an unreadable file
    DimensionError : a width that is not the space's
    """
    sides = _pair_sources(pairs)
    for side, which, width in zip(sides, ("source", "target"), widths, strict=True):
        if side.width != width:
            hint = "; are the two sides swapped?" if (sides[1].width, sides[0].width) == widths else ""
            raise DimensionError(f"{side.uri}: has width {side.width}, expected {width} as the {which} has{hint}")
    count = sides[0].rows
    if count != sides[1].rows:
        raise InputError(
            f"{sides[0].uri} has {count:,} rows and {sides[1].uri} {sides[1].rows:,}: pairs are row by row"
        )
    indices: Int64 = np.arange(count, dtype=np.int64)
    if count > most:
        indices = np.sort(np.random.default_rng(seed).choice(count, most, replace=False).astype(np.int64))
    vectors: list[Float32] = []
    bad: dict[str, tuple[BadRow, ...]] = {}
    for side in sides:
        gate = Gate(side.uri, on_bad_rows="error" if on_bad_rows == "error" else "keep")
        vectors.append(gate.check(side.take_batch(indices)).vectors)
        if gate.bad:
            bad[side.uri] = tuple(gate.bad)
    good = ~np.isin(indices, [found.row for rows in bad.values() for found in rows])
    left, right = (side[good] for side in vectors)
    texts = min(len(set(row_keys(side))) for side in (left, right))
    if texts < MIN_PAIRS:
        found = f"{len(left):,} usable pairs" + (f" of {texts:,} different texts" if texts < len(left) else "")
        raise InputError(f"{sides[0].uri}: has {found}; at least {MIN_PAIRS} are needed")
    first = _first_of_each(left, right)
    repeats = len(left) - len(first)
    lines = []
    if lost := int((~good).sum()):
        lines.append(f"{', '.join(bad)}: {lost:,} of {len(good):,} pairs have a bad row and were left out")
    if repeats:
        lines.append(f"{sides[0].uri}: {repeats:,} of {len(left):,} pairs repeat an earlier pair and were left out")
    return Pairs(left[first], right[first], bad, tuple(lines))


def _first_of_each(x: Float32, y: Float32) -> Int64:
    """The numbers of the pairs that repeat no earlier one (equal bit for bit, found by hash), ascending."""
    first: dict[tuple[int, int], int] = {}
    for i, pair in enumerate(zip(row_keys(x), row_keys(y), strict=True)):
        first.setdefault(pair, i)
    return np.fromiter(first.values(), np.int64)


def _pair_sources(pairs: object) -> tuple[RowSource, RowSource]:
    if isinstance(pairs, str | os.PathLike):
        path, _, keys = os.fspath(pairs).partition("::")
        if Path(path).suffix.lower() == ".npy":
            raise InputError(f"{path}: holds one array; pairs need two, as in an .npz with source and target")
        names = [key.strip() for key in keys.split(",")] if keys else ["source", "target"]
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise InputError(f"{os.fspath(pairs)}: name the two columns of the pairs as in '{path}::source,target'")
        return open_source(f"{path}::{names[0]}"), open_source(f"{path}::{names[1]}")
    if isinstance(pairs, tuple | list) and len(pairs) == 2:
        return open_side(pairs[0], "pairs (source)"), open_side(pairs[1], "pairs (target)")
    raise InputError("pairs must be a file with source and target, or a tuple (source, target) of arrays")


def _as_array(x: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError):
        return check_vectors(x, name=name)  # says what is wrong
