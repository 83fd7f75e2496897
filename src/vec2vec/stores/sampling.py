"""A uniform sample of a source, through the gate."""

from __future__ import annotations

import warnings
from typing import NamedTuple, Protocol

import numpy as np

from vec2vec.errors import InputError, Vec2VecWarning
from vec2vec.vectors import SKIP_OR_REPAIR, BadRow, Float32, Gate, Int64, OnBadRows, VectorBatch


class RowSource(Protocol):
    """What a sample is drawn from: any `VectorSource`, or an array in memory."""

    @property
    def uri(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def width(self) -> int: ...
    def take_batch(self, indices: Int64, /) -> VectorBatch: ...


class Sample(NamedTuple):
    """Rows drawn from a source.

    Attributes
    ----------
    vectors : (k, d) float32 array
    rows : (k,) int64 array, their numbers in the source, ascending
    bad : the bad rows that were drawn and left out, in the order of their numbers
    summary : a line about those, "" if there are none
    """

    vectors: Float32
    rows: Int64
    bad: tuple[BadRow, ...]
    summary: str


def sample_rows(
    source: RowSource, rows: int | None = None, seed: int = 0, on_bad_rows: OnBadRows = "error"
) -> tuple[Float32, Int64]:
    """Rows drawn uniformly without replacement, checked, without loading the file: only the sample is held.

    Parameters
    ----------
    source : where to draw from
    rows : how many; None, or more than there are, gives all
    seed : decides the draw, together with the source's number of rows
    on_bad_rows : "error" raises on a bad row among those drawn. "skip" leaves bad rows out and draws others in their
        place, so that the sample is uniform over the good rows, with a Vec2VecWarning that counts them. "keep" does
        the same here: a fit has no use for a bad row.

    Returns
    -------
    vectors : (k, d) float32 array
    row_numbers : (k,) int64 array, ascending, so that the sample is in the file's order: shuffle before taking parts

    Raises
    ------
    InputError : a bad row, or no good row at all; an unknown `on_bad_rows`
    """
    sample = draw_sample(source, rows, seed, on_bad_rows)
    if sample.summary:
        warnings.warn(sample.summary, Vec2VecWarning, stacklevel=2)
    return sample.vectors, sample.rows


def draw_sample(
    source: RowSource,
    rows: int | None = None,
    seed: int = 0,
    on_bad_rows: OnBadRows = "error",
    remedy: str = SKIP_OR_REPAIR,
) -> Sample:
    """Like `sample_rows`, without the warning, and with what it would say; `remedy`: what an error says to do."""
    if rows is not None and rows < 1:
        raise InputError(f"{source.uri}: cannot draw {rows} rows; at least 1 is needed")
    on_bad_rows = "skip" if on_bad_rows == "keep" else on_bad_rows
    gate = Gate(source.uri, width=source.width, on_bad_rows=on_bad_rows, remedy=remedy)
    due = source.rows if rows is None else min(rows, source.rows)
    rng = np.random.default_rng(seed)
    drawn = _draw(rng, source.rows, due, np.empty(0, dtype=np.int64))
    good = gate.check(source.take_batch(drawn))
    vectors, numbers = good.vectors, good.rows
    while len(numbers) < due and len(drawn) < source.rows:
        more = _draw(rng, source.rows, due - len(numbers), drawn)
        drawn = np.union1d(drawn, more)
        good = gate.check(source.take_batch(more))
        numbers = np.concatenate([numbers, good.rows])
        vectors = np.concatenate([vectors, good.vectors])
    gate.finish()
    if (np.diff(numbers) < 0).any():
        order = np.argsort(numbers)
        vectors, numbers = vectors[order], numbers[order]
    return Sample(vectors, numbers, tuple(sorted(gate.bad, key=lambda bad: bad.row)), gate.summary())


def _draw(rng: np.random.Generator, total: int, count: int, drawn: Int64) -> Int64:
    """`count` distinct row numbers below `total`, or as many as are left, none of them in `drawn`, ascending."""
    left = total - len(drawn)
    if count >= left:
        return np.setdiff1d(np.arange(total, dtype=np.int64), drawn)
    ranks = np.sort(rng.choice(left, count, replace=False).astype(np.int64))
    # the rank-th number that is not in `drawn`: it lies as many places further as drawn numbers come before it
    return ranks + np.searchsorted(drawn - np.arange(len(drawn)), ranks, side="right")
