"""Mini-batches of rows that may lie on disk: which rows a step sees follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import Float32

MEMORY_ROWS = 2**18  # of an array in memory, at most, that are preprocessed once and kept


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one space.

    Attributes
    ----------
    native : (n, d) array or memory map
    preprocessor : of the space
    indices : the rows that take part
    kept : all of `native` as z, where they are few enough to be kept
    """

    native: npt.NDArray[np.floating]
    preprocessor: Preprocessor
    indices: npt.NDArray[np.int64]
    kept: Float32 | None

    @classmethod
    def of(cls, native: npt.NDArray[np.floating], preprocessor: Preprocessor) -> Rows:
        """All rows of an array."""
        small = len(native) <= MEMORY_ROWS and not isinstance(native, np.memmap)
        kept = preprocessor.apply(native) if small else None
        return cls(native, preprocessor, np.arange(len(native)), kept)

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, chosen: npt.NDArray[np.int64]) -> Rows:
        """Some of these rows."""
        return Rows(self.native, self.preprocessor, self.indices[chosen], self.kept)

    def take(self, chosen: npt.NDArray[np.int64]) -> torch.Tensor:
        """z of these of the rows, (len(chosen), d) float32, in this order."""
        found = self.indices[chosen]
        if self.kept is not None:
            return torch.from_numpy(self.kept[found])
        order = np.argsort(found, kind="stable")  # a disk is read in order
        z = np.empty((len(found), self.native.shape[1]), np.float32)
        z[order] = self.preprocessor.apply(np.asarray(self.native[found[order]], np.float32))
        return torch.from_numpy(z)


def hold_back(sides: Sequence[Rows], rows: int, seed: int) -> tuple[list[Rows], list[Rows]]:
    """Rows to train on, and those to be checked by: at most `rows` of each side, and at most a fifth of it."""
    training, held = [], []
    for i, side in enumerate(sides):
        order = np.random.default_rng([seed, 101, i]).permutation(len(side))
        count = min(rows, len(side) // 5)
        held.append(side.part(order[:count]))
        training.append(side.part(order[count:]))
    return training, held


def draw(side: Rows, rows: int, step: int, key: Sequence[int], part: tuple[int, int] = (0, 1)) -> torch.Tensor:
    """The rows of this step: epoch by epoch, each in an order of its own, all rows once.

    Parameters
    ----------
    rows : of a step, over all processes
    step : counted from 0
    key : of the random order
    part : which of so many equal parts of the step is taken
    """
    rows = min(rows, len(side))
    first, (index, parts) = step * rows, part
    wanted = np.arange(first, first + rows)[index::parts]
    epochs = wanted // len(side)
    chosen = np.empty(len(wanted), np.int64)
    for epoch in np.unique(epochs):
        order = _order(len(side), (*key, int(epoch)))
        chosen[epochs == epoch] = order[wanted[epochs == epoch] % len(side)]
    return side.take(chosen)


@lru_cache(maxsize=64)
def _order(rows: int, key: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """An order of so many rows: the same key gives the same."""
    return np.random.default_rng(list(key)).permutation(rows)
