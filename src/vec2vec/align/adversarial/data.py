"""Mini-batches of rows that may lie on disk: which rows a step sees follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from vec2vec.align.rounds import Reporter, Side
from vec2vec.align.schedules import SinkhornConfig
from vec2vec.align.search import Search
from vec2vec.align.whitening import Axes, unit
from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import Float32

RELATED_ROWS = 1024  # that a row's relations are told by
RELATIONS_WEIGHT = 2.0  # beside the row itself, whose norm is 1
ANCHOR_ROWS = 12_000  # of a side, of a first guess
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


def draw(side: Rows, rows: int, step: int, key: Sequence[int]) -> torch.Tensor:
    """z of the rows of this step, see `order_of`."""
    return side.take(order_of(side, rows, step, key))


def order_of(
    side: Rows, rows: int, step: int, key: Sequence[int], part: tuple[int, int] = (0, 1)
) -> npt.NDArray[np.int64]:
    """Which rows are those of this step: epoch by epoch, each in an order of its own, all rows once.

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
    return chosen


@dataclass(frozen=True, eq=False)
class Relations:
    """Where a row stands among those of its space: quantiles of its similarities to a sample of them.

    No isometry changes them, so that the same text has about the same in every space (VecMap finds its start by them:
    Artetxe et al. 2018). They are brought to the same mean and variance in every space.

    Attributes
    ----------
    sample : (m, d) tensor, z
    levels : (q,) tensor, of the quantiles
    mean, deviation : (q,) tensors, of the sample's own
    kept : (n, q) tensor, of all rows of the side where it lies in memory
    """

    sample: torch.Tensor
    levels: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor
    kept: torch.Tensor | None = None

    @classmethod
    def of(cls, side: Rows, count: int, device: torch.device) -> Relations:
        """So many quantiles of similarities to a sample of a side."""
        sample = draw(side, RELATED_ROWS, 0, (3,)).to(device)
        levels = torch.linspace(0.02, 0.98, count, device=device)
        raw = torch.quantile(sample @ sample.T, levels, dim=1).T
        bare = cls(sample, levels, raw.mean(dim=0), raw.std(dim=0).clamp_min(1e-6))
        if side.kept is None:
            return bare
        every = side.take(np.arange(len(side))).to(device)
        return replace(bare, kept=torch.cat([bare(z) for z in torch.split(every, RELATED_ROWS)]))

    def of_rows(self, chosen: npt.NDArray[np.int64], z: torch.Tensor) -> torch.Tensor:
        """Of these rows of the side, whose z they are."""
        return self(z) if self.kept is None else self.kept[torch.from_numpy(chosen).to(self.kept.device)]

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """(n, d) to (n, q), whose rows have a root mean square length of `RELATIONS_WEIGHT`."""
        raw: torch.Tensor = torch.quantile(z @ self.sample.T, self.levels, dim=1).T
        scale: torch.Tensor = RELATIONS_WEIGHT * len(self.levels) ** -0.5 / self.deviation
        return (raw - self.mean) * scale


def guess_maps(sides: Sequence[Rows], guesses: int, key: Sequence[int], device: torch.device) -> list[torch.Tensor]:
    """A first guess of where the rows of every space lie in the first one, as the fast fitter's search has it.

    Parameters
    ----------
    sides : of every space
    guesses : by clusters, of which the one with the best transport is refined
    key : of the random draws

    Returns
    -------
    Of each space a map (d_i, d_0) tensor; that of the first is the identity.
    """
    config = SinkhornConfig(guesses=guesses)
    first = _along_axes(draw(sides[0], ANCHOR_ROWS, 0, (*key, 21)).to(device), config)
    maps = [torch.eye(len(sides[0].preprocessor.mean), device=device)]
    for i, side in enumerate(sides[1:], 1):
        here = _along_axes(draw(side, ANCHOR_ROWS, 0, (*key, 21, i)).to(device), config)
        silent, rng = Reporter(None, 1.0), np.random.default_rng([*key, 22, i])
        search = Search(here, first, config, rng, "first guess")
        search.go_on(silent, generations=0)
        maps.append(here.axes.directions @ search.witness(silent) @ first.axes.directions.T)
    return maps


def _along_axes(z: torch.Tensor, config: SinkhornConfig) -> Side:
    axes = Axes.fit(z, config.axes)
    return Side(unit(z @ axes.directions), axes)


@lru_cache(maxsize=64)
def _order(rows: int, key: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """An order of so many rows: the same key gives the same."""
    return np.random.default_rng(list(key)).permutation(rows)
