"""Rounds of transport and rotation: what the fast fitter is made of.

Each round of `refine` draws a sample of either side, transports the mapped source onto the target by entropic optimal
transport, and rotates the source onto the barycentres of its transport plan (Wasserstein-Procrustes: Grave et al. 2018,
arXiv 1805.11222; entropic: Alvarez-Melis et al. 2019, arXiv 1806.09277). The temperature is in units of the standard
deviation of the similarities, so that it means the same in spaces of any width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from vec2vec.align.base import Progress, ProgressCallback
from vec2vec.align.whitening import Axes, polar, unit

LEAST_SPREAD = 1e-12  # of similarities: where all are the same, the plan is uniform
MIN_EXPONENT = -80.0  # exp of less is zero in float32
PROBE_ROWS = 2000  # of a side, to measure a similarity's spread and a candidate's score
PROBE_TEMPERATURE = 0.15  # of the transport that maps are compared by
ROUND_WORK = 3.0  # of any size, as `Schedule.work` counts
DIVISOR, FEW = 3, 256  # see `Schedule.within`: the part of the smaller side, and what a round may see in any case
FAINT = 1e-4  # a random direction beside a known one of length 1, which it must not turn

Numbers = tuple[torch.Tensor, torch.Tensor]  # of rows of either side (n,) and (m,)


@dataclass(frozen=True)
class Schedule:
    """Rounds of `refine`. A pair goes from its first value to its last, in a straight line.

    Attributes
    ----------
    rounds : their number
    rows : of the source drawn in each; twice as many of the target
    temperature : of the transport, in standard deviations of the similarities
    whitening : its exponent
    step : how far a round moves the map towards its own solution
    balancing : Sinkhorn iterations
    """

    rounds: int
    rows: int
    temperature: tuple[float, float]
    whitening: tuple[float, float]
    step: tuple[float, float]
    balancing: int

    def at(self, i: int) -> tuple[float, float, float]:
        """Temperature, whitening and step of round i."""
        t = i / max(1, self.rounds - 1)
        a, b, c = ((1 - t) * first + t * last for first, last in (self.temperature, self.whitening, self.step))
        return a, b, c

    def within(self, x: Side, y: Side) -> Schedule:
        """The same, a round with no more rows of the source than a third of the smaller side, or 256, in more rounds.

        Rounds that see all rows see the same rows each time, and stay where these hold the map. Those that leave rows
        out do not, and the last steps, smaller by as much, average over them.
        """
        smaller = min(len(x), len(y))
        most = max(smaller // DIVISOR, FEW)
        more = min(self.rows, smaller) / most
        if more <= 1.0:
            return self
        return replace(self, rows=most, rounds=round(self.rounds * more), step=(self.step[0], self.step[1] / more))

    def drawn(self, x: Side, y: Side, rng: np.random.Generator) -> list[Numbers]:
        """The rows of either side that every round is to see."""
        return [(x.numbers(self.rows, rng), y.numbers(2 * self.rows, rng)) for _ in range(self.rounds)]

    def work(self, x: Side, y: Side) -> float:
        """A round's cost, about, in millions of similarities; what does not grow with them counts as some."""
        return 1e-6 * min(self.rows, len(x)) * min(2 * self.rows, len(y)) + ROUND_WORK


@dataclass(frozen=True, eq=False)
class Side:
    """The rows of one space as they are compared.

    Attributes
    ----------
    rows : (n, r) tensor of unit rows along the principal axes
    axes : these axes
    """

    rows: torch.Tensor
    axes: Axes

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Of the rows."""
        return self.rows.shape[1]

    def draw(self, count: int, whitening: float, rng: np.random.Generator) -> torch.Tensor:
        """At most `count` different rows, in random order, whitened."""
        return self.whitened(self.numbers(count, rng), whitening)

    def numbers(self, count: int, rng: np.random.Generator) -> torch.Tensor:
        """Of at most `count` different rows, in random order."""
        return torch.from_numpy(rng.permutation(len(self.rows))[:count].copy())

    def whitened(self, numbers: torch.Tensor, whitening: float) -> torch.Tensor:
        """The rows of these numbers (n,), whitened."""
        return self.axes.whiten(self.rows[numbers.to(self.rows.device)], whitening)

    def strongest(self, count: int) -> Side:
        """The same rows along the strongest axes only."""
        axes = Axes(self.axes.directions[:, :count].contiguous(), self.axes.variance[:count])
        return Side(unit(self.rows[:, :count]), axes)

    def halves(self, rng: np.random.Generator) -> tuple[Side, Side]:
        """Two sides of disjoint rows."""
        order = torch.from_numpy(rng.permutation(len(self.rows))).to(self.rows.device)
        middle = len(order) // 2
        return Side(self.rows[order[:middle]], self.axes), Side(self.rows[order[middle:]], self.axes)

    def as_many_as_a_half(self) -> Side:
        """The first rows, to plan the work on a half by."""
        return Side(self.rows[: len(self.rows) // 2], self.axes)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Known pairs, for a fitter that is told them; the unpaired ones never make one.

    Attributes
    ----------
    x, y : (n, r) and (n, s) tensors of unit rows along the principal axes, row-aligned
    weight : of the pairs in every rotation, beside the transported rows, 0 to 1
    """

    x: torch.Tensor
    y: torch.Tensor
    weight: float


def refine(
    x: Side,
    y: Side,
    rotation: torch.Tensor,
    schedule: Schedule,
    rng: np.random.Generator,
    report: Reporter,
    stage: str,
    pairs: Pairs | None = None,
) -> torch.Tensor:
    """Alternate transport and rotation (module docstring) from a start (r, s); every round draws new samples."""
    return refine_on(schedule.drawn(x, y, rng), x, y, rotation, schedule, report, stage, pairs)


def refine_on(
    samples: Sequence[Numbers],
    x: Side,
    y: Side,
    rotation: torch.Tensor,
    schedule: Schedule,
    report: Reporter | Memo,
    stage: str,
    pairs: Pairs | None = None,
) -> torch.Tensor:
    """The same on samples that have been drawn, so that nothing of it is random."""
    size = min(schedule.rows, len(x)), min(2 * schedule.rows, len(y))
    scratch = x.rows.new_empty(size)  # the rounds share it: to allocate it takes as long as to fill it
    for i, (drawn_x, drawn_y) in enumerate(samples):
        temperature, whitening, step = schedule.at(i)
        sample, targets = x.whitened(drawn_x, whitening), y.whitened(drawn_y, whitening)
        barycentres, score = transport(sample @ rotation, targets, temperature, schedule.balancing, scratch)
        cross = sample.T @ unit(barycentres) / len(sample)
        if pairs is not None:
            known = x.axes.whiten(pairs.x, whitening).T @ y.axes.whiten(pairs.y, whitening) / len(pairs.x)
            cross = torch.lerp(cross, known, pairs.weight)
        rotation = polar(torch.lerp(rotation, polar(cross), step))
        report(stage, i + 1, schedule.rounds, score, schedule.work(x, y))
    return rotation


def transport(
    mapped: torch.Tensor, targets: torch.Tensor, temperature: float, balancing: int, scratch: torch.Tensor | None = None
) -> tuple[torch.Tensor, float]:
    """Entropic optimal transport with uniform marginals (Cuturi 2013), by its barycentres.

    Parameters
    ----------
    mapped, targets : (n, s) and (m, s) tensors of (about) unit rows
    temperature : epsilon of exp(similarity / epsilon), in standard deviations of the similarities
    balancing : Sinkhorn iterations
    scratch : (n, m) tensor to work in; what it holds is lost

    Returns
    -------
    (n, s) tensor, row i the mean of the targets by row i of the plan; and the mean cosine of rows to their barycentres
    """
    kernel, u, v = balanced(mapped, targets, temperature, balancing, scratch)
    barycentres = (kernel @ (v[:, None] * targets)).mul_(len(kernel) * u[:, None])
    return barycentres, float((unit(mapped) * unit(barycentres)).sum(dim=1).mean())


def probe_score(mapped: torch.Tensor, targets: torch.Tensor) -> float:
    """The score by which maps are compared: of the `transport` of mapped rows (n, s) to targets (m, s)."""
    return transport(mapped, targets, PROBE_TEMPERATURE, 20)[1]


def balanced(
    mapped: torch.Tensor, targets: torch.Tensor, temperature: float, balancing: int, scratch: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The kernel (n, m) and the scalings u (n,) and v (m,) of the transport plan u_i K_ij v_j, see `transport`."""
    kernel = torch.mm(mapped, targets.T, out=scratch)
    epsilon = temperature * max(float(kernel[:PROBE_ROWS].std()), LEAST_SPREAD)
    kernel -= kernel.amax(dim=1, keepdim=True)  # every row has a 1: nothing overflows, and no row is lost
    kernel.mul_(1.0 / epsilon).clamp_min_(MIN_EXPONENT).exp_()
    n, m = kernel.shape
    u = torch.full((n,), 1.0 / n, device=kernel.device)
    for _ in range(balancing):
        v = (1.0 / m) / (u @ kernel).clamp_min_(1e-37)
        u = (1.0 / n) / (kernel @ v).clamp_min_(1e-37)
    return kernel, u, v


def extend(known: torch.Tensor, shape: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    """A map of the strongest axes as one (r, s) of more, at random on the others, which it must not turn."""
    start = FAINT * torch.from_numpy(rng.standard_normal(shape)).to(known)
    start[: known.shape[0], : known.shape[1]] = known
    return polar(start)


class Reporter:
    """Sends progress on and keeps the history; the estimate goes by the work that is left, by `Schedule.work`."""

    def __init__(self, progress: ProgressCallback | None, work: float) -> None:
        self.progress = progress
        self.start = time.perf_counter()
        self.history: list[dict[str, Any]] = []
        self.work, self.done = work, 0.0

    def expect(self, work: float) -> None:
        """There is more to do than was thought."""
        self.work += work

    def __call__(self, stage: str, step: int, total: int, score: float | None, work: float) -> None:
        seconds = time.perf_counter() - self.start
        self.done += work
        self.history.append({"stage": stage, "step": step, "score": score, "seconds": round(seconds, 3)})
        if self.progress is not None:
            remaining = seconds * max(0.0, self.work - self.done) / self.done
            self.progress(Progress(stage, step, total, score, remaining))


class Memo:
    """What would be reported from a thread, to be passed on from the one that the fit was called in."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int, int, float | None, float]] = []

    def __call__(self, stage: str, step: int, total: int, score: float | None, work: float) -> None:
        self.reports.append((stage, step, total, score, work))

    def pass_on(self, report: Reporter) -> None:
        """Report it."""
        for one in self.reports:
            report(*one)
