"""Sinkhorn-Procrustes, the fast default: alternate optimal transport between samples and a rotation.

Read from top to bottom: `fit` prepares both sides; `Search` solves the problem from nothing on one half of the rows,
twice, roughly and in the strongest axes, and refines what it found; where the two are consistent, `bag` solves it again
on other halves, from what the two say of the strongest axes; `refine` improves the mean of all on all rows,
`vec2vec.align.judge` says how much to trust it, and `vec2vec.align.sharpen` adapts what was found to a plain search.

Each round of `refine` draws a sample of either side, transports the mapped source onto the target by entropic optimal
transport, and rotates the source onto the barycentres of its transport plan (Wasserstein-Procrustes: Grave et al. 2018,
arXiv 1805.11222; entropic: Alvarez-Melis et al. 2019, arXiv 1806.09277). The temperature is in units of the standard
deviation of the similarities, so that it means the same in spaces of any width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from vec2vec.align.anchors import first_guess
from vec2vec.align.base import FitConfig, Progress, ProgressCallback, SpaceFit
from vec2vec.align.cumulants import WHITENING, Cumulants
from vec2vec.align.cumulants import search as search_by_cumulants
from vec2vec.align.judge import ENOUGH_ROWS, agreement, consistency, gather_evidence, verdict_from
from vec2vec.align.sharpen import sharper_decode
from vec2vec.align.whitening import Axes, polar, thin_svd, unit
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Space
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

MIN_EXPONENT = -80.0  # exp of less is zero in float32
PROBE_ROWS = 2000  # of a side, to measure a similarity's spread and a candidate's score
PROBE_TEMPERATURE = 0.15  # of the transport that witnesses are compared by
ROUND_WORK, GUESS_WORK, CUMULANT_WORK, SHARPENING_WORK = (
    3.0,
    20.0,
    150.0,
    15.0,
)  # of any size, as `Schedule.work` counts
FAINT = 1e-4  # a random direction beside a known one of length 1, which it must not turn
TRIAL_SHARE = 0.1  # of a round's cost, of one in the strongest axes alone
ROWS_PER_AXIS, LEAST_AXES = 32, 32  # with fewer than ENOUGH_ROWS
CUMULANT_BONUS = 0.015  # to a score: balanced transport favours maps that find something for what has no counterpart
SAME = 0.97  # agreement of two candidates from which on the worse adds nothing
CONSENT = 0.1  # consistency of two witnesses on the probe from which on they are taken to be right together


class SinkhornConfig(FitConfig):
    """Settings of ``method="sinkhorn"``.

    Attributes
    ----------
    whitening : exponent of the partial whitening that the refinement ends with, 0 (none) to 0.5 (full)
    axes : principal axes of a space that take part, at most
    search_axes : the strongest, in which the search from nothing takes place, at most
    attempts : at either half, at most, while the best candidates of the two are not consistent
    guesses : first guesses of an attempt
    cumulant_axes : the strongest, along which cumulants are matched (`vec2vec.align.cumulants`)
    cumulant_starts, cumulant_generations : of that search
    generations, children : of further attempts; a child is the mean of two candidates, refined
    clusters : of the first guesses, one number after the other
    starts, cluster_rows : of a first guess
    temperature : of the transport within a half, first to last, in standard deviations of the similarities
    balancing : Sinkhorn iterations of a round
    trial_rounds, trial_rows : the refinement of a candidate; rows of the source, twice as many of the target
    early_axes, early_rounds, early_rows : the refinement of the best one
    half_rounds, half_rows : the refinement within a half that follows
    bags : further divisions into halves, either half giving one more map to the mean
    kept_axes : the strongest, of which such a map starts with what is known; of the others it starts with nothing
    rounds, round_rows : the refinement on all rows
    sharpening : steps by which, at last, the map of either direction is adapted to a plain search; 0 for none
    """

    whitening: float = Field(default=0.2, ge=0.0, le=0.5)
    axes: int = Field(default=512, ge=2)
    search_axes: int = Field(default=64, ge=2)
    attempts: int = Field(default=2, ge=1)
    guesses: int = Field(default=8, ge=1)
    cumulant_axes: int = Field(default=12, ge=2)
    cumulant_starts: int = Field(default=200, ge=1)
    cumulant_generations: int = Field(default=30, ge=0)
    generations: int = Field(default=5, ge=0)
    children: int = Field(default=12, ge=2)
    clusters: tuple[Annotated[int, Field(ge=4)], ...] = (20, 40, 80, 160)
    starts: int = Field(default=24, ge=1)
    cluster_rows: int = Field(default=6_000, ge=64)
    temperature: tuple[float, float] = (0.25, 0.1)
    balancing: int = Field(default=8, ge=1)
    trial_rounds: int = Field(default=25, ge=1)
    trial_rows: int = Field(default=700, ge=16)
    early_axes: int = Field(default=128, ge=2)
    early_rounds: int = Field(default=150, ge=1)
    early_rows: int = Field(default=1_000, ge=16)
    half_rounds: int = Field(default=24, ge=1)
    half_rows: int = Field(default=2_500, ge=16)
    bags: int = Field(default=1, ge=0)
    kept_axes: int = Field(default=30, ge=2)
    rounds: int = Field(default=30, ge=1)
    round_rows: int = Field(default=6_000, ge=16)
    sharpening: int = Field(default=60, ge=0)


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
        chosen = torch.from_numpy(rng.permutation(len(self.rows))[:count]).to(self.rows.device)
        return self.axes.whiten(self.rows[chosen], whitening)

    def strongest(self, count: int) -> Side:
        """The same rows along the strongest axes only."""
        axes = Axes(self.axes.directions[:, :count].contiguous(), self.axes.variance[:count])
        return Side(unit(self.rows[:, :count]), axes)

    def halves(self, rng: np.random.Generator) -> tuple[Side, Side]:
        """Two sides of disjoint rows."""
        order = torch.from_numpy(rng.permutation(len(self.rows))).to(self.rows.device)
        middle = len(order) // 2
        return Side(self.rows[order[:middle]], self.axes), Side(self.rows[order[middle:]], self.axes)


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


def fit(
    source: Float32,
    target: Float32,
    config: SinkhornConfig,
    *,
    seed: int,
    progress: ProgressCallback | None = None,
    device: torch.device | None = None,
) -> SpaceFit:
    """Align two unpaired sets of vectors.

    Parameters
    ----------
    source, target : (n, d_s) and (m, d_t) float32 arrays, finite, no row all zero
    config : the settings
    seed : the same seed gives the same map, with the same number of threads on the same machine
    progress : called after every round
    device : where the products are computed; the CPU if None
    """
    rng = np.random.default_rng(seed)
    native, (x, y) = prepare(source, target, config, device or torch.device("cpu"))
    axes = distinct_axes(x, y)
    x, y = x.strongest(axes), y.strongest(axes)
    work = 2 * witness_work(x, y, config) + bagging_work(x, y, config) + final_work(x, y, config)
    work += sharpening_work(config)
    report = Reporter(progress, work)
    witnesses = independent_witnesses(x, y, config, rng, report)
    start = consensus(witnesses, x, y, config, rng, report)
    rotation = refine(x, y, start, final_schedule(config), rng, report, "all rows")
    verdict = judge(rotation, witnesses, x, y, config.whitening, rng)
    spaces = finish(native, (x, y), rotation, verdict, config, rng, report)
    return SpaceFit(*spaces, report.history, verdict)


def finish(
    natives: list[Preprocessor],
    sides: tuple[Side, Side],
    rotation: torch.Tensor,
    verdict: Verdict,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> tuple[Space, Space]:
    """The spaces of a map; where it is not known to have failed, sharpened (`vec2vec.align.sharpen`)."""
    spaces = linear_spaces(natives, sides, rotation, config.whitening)
    if verdict.label == "not aligned" or not config.sharpening:
        report.expect(-sharpening_work(config))
        return spaces
    (x, y), (source, target) = sides, spaces
    forward = sharpened((source, target), (x, y), rotation, config, rng, report, "sharpening")
    backward = sharpened((target, source), (y, x), rotation.T, config, rng, report, "sharpening, back")
    return replace(source, decode=backward), replace(target, decode=forward)


def sharpened(
    spaces: tuple[Space, Space],
    sides: tuple[Side, Side],
    rotation: torch.Tensor,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
    stage: str,
) -> Float32:
    """The target's decode, adapted to the transport plans of a map (r, s) at the temperature that it was refined at."""
    mapped, natives = (side.axes.whiten(side.rows, config.whitening) for side in sides)
    mapped = mapped @ rotation
    temperature = final_schedule(config).temperature[1]

    def plan_of(queries: torch.Tensor, pool: torch.Tensor) -> torch.Tensor:
        kernel, u, v = balanced(mapped[queries], natives[pool], temperature, config.balancing)
        return kernel.mul_(v).mul_(len(queries) * u[:, None])

    def step(number: int, shared: float) -> None:
        report(stage, number, config.sharpening, shared, SHARPENING_WORK)

    return sharper_decode(spaces, sides, plan_of, config.sharpening, rng, step)


def judge(
    rotation: torch.Tensor,
    witnesses: tuple[torch.Tensor, torch.Tensor],
    x: Side,
    y: Side,
    whitening: float,
    rng: np.random.Generator,
) -> Verdict:
    """The verdict on a map between the sides, in the coordinates that they were refined in."""
    a, b = (side.axes.whiten(side.rows, whitening) for side in (x, y))
    return verdict_from(gather_evidence(rotation, witnesses, a, b, rng))


def prepare(
    source: Float32, target: Float32, config: SinkhornConfig, device: torch.device
) -> tuple[list[Preprocessor], list[Side]]:
    """The native geometry of both spaces, and both sides along their principal axes."""
    natives = [Preprocessor.fit(side) for side in (source, target)]
    sides = []
    for native, vectors in zip(natives, (source, target), strict=True):
        z = torch.from_numpy(native.apply(vectors)).to(device)
        axes = Axes.fit(z, config.axes)
        sides.append(Side(unit(z @ axes.directions), axes))
    return natives, sides


def linear_spaces(
    natives: list[Preprocessor], sides: tuple[Side, Side], rotation: torch.Tensor, whitening: float
) -> tuple[Space, Space]:
    """Both spaces, rotated into the common subspace of `rotation` (r, s), their latent.

    A translation is scaled to a root mean square of 1, that of z; whitening and colouring alone do not keep it.
    """
    u, _, vt = thin_svd(rotation)
    into, out_of, probes = [], [], []
    for side, turn in zip(sides, (u, vt.T), strict=True):
        scale = side.axes.scale(whitening)
        into.append((side.axes.directions / scale) @ turn)
        out_of.append(turn.T @ (side.axes.directions * scale).T)
        probes.append((side.rows[:PROBE_ROWS] / scale) @ turn)
    gains = [(probes[1 - i] @ out_of[i]).square().sum(dim=1).mean().rsqrt() for i in (0, 1)]
    first, second = (
        Space(natives[i], into[i].cpu().numpy(), (gains[i] * out_of[i]).contiguous().cpu().numpy()) for i in (0, 1)
    )
    return first, second


def independent_witnesses(
    x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, report: Reporter
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two maps, each found from nothing on its own half of the rows.

    While their beginnings are not consistent, either half searches on. What one half finds never reaches the other:
    their agreement is the evidence.
    """
    halves = list(zip(x.halves(rng), y.halves(rng), strict=True))
    searches = [Search(a, b, config, rng, f"half {i}") for i, (a, b) in enumerate(halves, 1)]
    for attempt in range(config.attempts):
        if attempt:
            report.expect(2 * further_work(x, y, config))
        for search in searches:
            search.go_on(report, generations=config.generations if attempt else 0)
        if searches[0].consistent_with(searches[1]):
            break
    one, other = (search.witness(report) for search in searches)
    return one, other


@dataclass(frozen=True, eq=False)
class Candidate:
    """A map between the strongest axes, (r, s), and the score of its transport, by which candidates compare.

    A witness is refined from `start`: of a guess by cumulants the guess itself, (q, q), in fewer axes. Its weaker axes
    are found better with all rows' help than in a trial.
    """

    rotation: torch.Tensor
    score: float
    start: torch.Tensor


class Search:
    """Solve the problem from nothing, roughly, in the strongest axes alone, where a round costs next to nothing.

    A guess by cumulants (`vec2vec.align.cumulants`), and guesses at several numbers of clusters, since none suits every
    corpus; each refined a little; the best by the score of their transport, which tells right from wrong where the
    energy of a clustering does not. Candidates get stuck where they are partly right, each in its own way: the mean of
    two, refined, is often better than either (`generations` of these, where the guesses alone were not enough).

    Attributes
    ----------
    x, y : the rows of the half
    low_x, low_y : these in the strongest axes
    found : the best candidates, in order
    """

    def __init__(self, x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, name: str) -> None:
        self.x, self.y, self.config, self.rng, self.name = x, y, config, rng, name
        axes = min(config.search_axes, distinct_axes(x, y))
        self.low_x, self.low_y = x.strongest(axes), y.strongest(axes)
        self.probes = self.low_x.draw(PROBE_ROWS, 0.0, rng), self.low_y.draw(2 * PROBE_ROWS, 0.0, rng)
        self.found: list[Candidate] = []

    def go_on(self, report: Reporter, generations: int) -> None:
        """Further guesses, then generations of mean maps."""
        effort = 1 + generations
        self._guess_by_cumulants(effort)
        report(f"cumulants, {self.name}", 1, 1, self.found[-1].score, effort * CUMULANT_WORK)
        total = self.config.guesses + generations * self.config.children
        for step in range(1, total + 1):
            guessing = step <= self.config.guesses
            start = self._guess(step) if guessing else self._mean_of_two()
            self.found.append(self._candidate(start))
            if step >= self.config.guesses and (step - self.config.guesses) % self.config.children == 0:
                self._select()
            work = trial_work(self.x, self.y, self.config) + (GUESS_WORK if guessing else 0.0)
            report(f"search, {self.name}", step, total, max(one.score for one in self.found), work)

    def consistent_with(self, other: Search) -> bool:
        """Whether the best of either search translate alike."""
        a, b = (unit(self.probes[0] @ one.found[0].rotation) for one in (self, other))
        return consistency(a, b) > CONSENT

    def witness(self, report: Reporter) -> torch.Tensor:
        """The best candidate, refined in as many axes as the rows can tell apart; (r, s), nothing of the others."""
        axes = max(self.low_x.width, self.low_y.width, distinct_axes(self.x, self.y))
        x, y = self.x.strongest(axes), self.y.strongest(axes)
        start = extend(self.found[0].start, (x.width, y.width), self.rng)
        refined = refine_half(x, y, start, self.config, self.rng, report, self.name)
        witness = refined.new_zeros(self.x.width, self.y.width)
        witness[: x.width, : y.width] = refined
        return witness

    def _guess_by_cumulants(self, effort: int) -> None:
        """A candidate from the greatest maximum of `vec2vec.align.cumulants`."""
        axes = min(self.config.cumulant_axes, self.low_x.width, self.low_y.width)
        one, other = (Cumulants.of(_evened(side, axes)) for side in (self.x, self.y))
        found = search_by_cumulants(
            one,
            other,
            starts=effort * self.config.cumulant_starts,
            generations=self.config.cumulant_generations,
            rng=self.rng,
        )
        guess = found.rotations[0].to(self.low_x.rows)
        tried = self._candidate(extend(guess, (self.low_x.width, self.low_y.width), self.rng))
        self.found.append(Candidate(tried.rotation, tried.score + CUMULANT_BONUS, guess))

    def _guess(self, step: int) -> torch.Tensor:
        clusters = self.config.clusters[step % len(self.config.clusters)]
        a, b = (side.draw(self.config.cluster_rows, 0.0, self.rng) for side in (self.low_x, self.low_y))
        return polar(first_guess(a, b, clusters=clusters, starts=self.config.starts, rng=self.rng).cross)

    def _mean_of_two(self) -> torch.Tensor:
        one, other = self.rng.choice(len(self.found), 2, replace=len(self.found) < 2)
        return polar(self.found[one].rotation + self.found[other].rotation)

    def _candidate(self, start: torch.Tensor) -> Candidate:
        silent = Reporter(None, 1.0)
        rotation = refine(self.low_x, self.low_y, start, trial_schedule(self.config), self.rng, silent, self.name)
        a, b = self.probes
        return Candidate(rotation, transport(a @ rotation, b, PROBE_TEMPERATURE, 20)[1], rotation)

    def _select(self) -> None:
        """Keep the best, but of those that are nearly the same only one."""
        best: list[Candidate] = []
        for one in sorted(self.found, key=lambda candidate: -candidate.score):
            if all(agreement(one.rotation, kept.rotation, self.probes[0], 500) < SAME for kept in best):
                best.append(one)
        self.found = best[: self.config.children]


def _evened(side: Side, axes: int) -> torch.Tensor:
    """Rows (n, axes) along the strongest axes, half whitened, for `vec2vec.align.cumulants`."""
    return (side.rows[:, :axes] / side.axes.scale(WHITENING)[:axes]).cpu()


def distinct_axes(x: Side, y: Side) -> int:
    """How many of the strongest axes the rows are enough for; more only blur what these say."""
    rows = min(len(x), len(y))
    return max(LEAST_AXES, rows // ROWS_PER_AXIS) if rows < ENOUGH_ROWS else max(x.width, y.width)


def extend(known: torch.Tensor, shape: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    """A map of the strongest axes as one (r, s) of more, at random on the others, which it must not turn."""
    start = FAINT * torch.from_numpy(rng.standard_normal(shape)).to(known)
    start[: known.shape[0], : known.shape[1]] = known
    return polar(start)


def best_transport(
    candidates: Sequence[torch.Tensor], x: Side, y: Side, whitening: float, rng: np.random.Generator
) -> torch.Tensor:
    """The candidate whose translations lie nearest to their barycentres among the targets."""
    a, b = x.draw(PROBE_ROWS, whitening, rng), y.draw(2 * PROBE_ROWS, whitening, rng)
    scores = [transport(a @ one, b, PROBE_TEMPERATURE, 20)[1] for one in candidates]
    return candidates[int(np.argmax(scores))]


def refine_half(
    x: Side,
    y: Side,
    start: torch.Tensor,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
    name: str,
    pairs: Pairs | None = None,
) -> torch.Tensor:
    """From a rough start (r, s): many rounds of small samples as they are, then fewer of larger ones, ever whiter.

    Small samples are too few for the weaker axes, which would blur the others; with known pairs they serve in all.
    """
    early, late = half_schedules(config)
    stage = f"small samples, {name}"
    if pairs is None:
        axes = min(config.early_axes, *start.shape)
        low = refine(x.strongest(axes), y.strongest(axes), polar(start[:axes, :axes]), early, rng, report, stage)
        start = extend(low, (start.shape[0], start.shape[1]), rng)
    else:
        start = refine(x, y, start, early, rng, report, stage, pairs)
    return refine(x, y, start, late, rng, report, name, pairs)


def trial_schedule(config: SinkhornConfig) -> Schedule:
    """The refinement of a first guess that shows what it is good for."""
    hot = config.temperature[0]
    return Schedule(config.trial_rounds, config.trial_rows, (hot, hot), (0.0, 0.0), (1.2, 1.2), config.balancing)


def half_schedules(config: SinkhornConfig) -> tuple[Schedule, Schedule]:
    """The refinement of a rough start."""
    hot, cold = config.temperature
    warm, ramp = (hot + cold) / 2, (0.0, config.whitening)
    return (
        Schedule(config.early_rounds, config.early_rows, (hot, warm), (0.0, 0.0), (1.2, 1.0), config.balancing),
        Schedule(config.half_rounds, config.half_rows, (warm, cold), ramp, (1.0, 0.5), config.balancing),
    )


def final_schedule(config: SinkhornConfig) -> Schedule:
    """The refinement on all rows: a step that shrinks, so that the last maps are averaged."""
    hot = config.temperature[0]
    fixed = (config.whitening, config.whitening)
    return Schedule(config.rounds, config.round_rows, (hot, 0.8 * hot), fixed, (0.6, 0.15), config.balancing)


def witness_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the first attempt at one half costs, as `Schedule.work` counts."""
    guesses = config.guesses * (GUESS_WORK + trial_work(x, y, config))
    return CUMULANT_WORK + guesses + half_work(x, y, config)


def further_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What a further attempt at one half costs, as `Schedule.work` counts."""
    candidates = config.guesses + config.generations * config.children
    by_cumulants = (1 + config.generations) * CUMULANT_WORK
    return by_cumulants + config.guesses * GUESS_WORK + candidates * trial_work(x, y, config)


def trial_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the refinement of a candidate costs, as `Schedule.work` counts."""
    trial = trial_schedule(config)
    return TRIAL_SHARE * trial.rounds * trial.work(x, y)


def half_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `refine_half` costs, as `Schedule.work` counts."""
    return sum(one.rounds * one.work(x, y) for one in half_schedules(config))


def bagging_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `bag` costs, as `Schedule.work` counts."""
    return 2 * config.bags * half_work(x, y, config)


def final_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the refinement on all rows costs, as `Schedule.work` counts."""
    return config.rounds * final_schedule(config).work(x, y)


def sharpening_work(config: SinkhornConfig) -> float:
    """What sharpening both directions costs, as `Schedule.work` counts."""
    return 2 * config.sharpening * SHARPENING_WORK


def consensus(
    witnesses: tuple[torch.Tensor, torch.Tensor],
    x: Side,
    y: Side,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> torch.Tensor:
    """The mean of two consistent witnesses and their bags, since errors are their own; else the better transport."""
    probe = x.draw(PROBE_ROWS, config.whitening, rng)
    if consistency(unit(probe @ witnesses[0]), unit(probe @ witnesses[1])) > CONSENT:
        return bag(witnesses, x, y, config, rng, report)
    report.expect(-bagging_work(x, y, config))
    return best_transport(witnesses, x, y, config.whitening, rng)


def bag(
    maps: Sequence[torch.Tensor],
    x: Side,
    y: Side,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
    pairs: Pairs | None = None,
) -> torch.Tensor:
    """The mean of maps that are about right and of more of their kind (bagging: Breiman 1996, "Bagging predictors").

    Each of these is refined on a half of the rows, from the mean's strongest axes alone: what a map says of the weaker
    ones depends on where it started, so that one that knew them would repeat the mean's errors.
    """
    known = polar(torch.stack(list(maps)).mean(dim=0))
    every = list(maps)
    for i in range(config.bags):
        for j, (half_x, half_y) in enumerate(zip(x.halves(rng), y.halves(rng), strict=True), 1):
            start = FAINT * torch.from_numpy(rng.standard_normal(known.shape)).to(known)
            start[: config.kept_axes] = known[: config.kept_axes]
            every.append(refine_half(half_x, half_y, polar(start), config, rng, report, f"bag {2 * i + j}", pairs))
    return polar(torch.stack(every).mean(dim=0))


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
    size = min(schedule.rows, len(x)), min(2 * schedule.rows, len(y))
    scratch = x.rows.new_empty(size)  # the rounds share it: to allocate it takes as long as to fill it
    for i in range(schedule.rounds):
        temperature, whitening, step = schedule.at(i)
        sample, targets = x.draw(schedule.rows, whitening, rng), y.draw(2 * schedule.rows, whitening, rng)
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


def balanced(
    mapped: torch.Tensor, targets: torch.Tensor, temperature: float, balancing: int, scratch: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The kernel (n, m) and the scalings u (n,) and v (m,) of the transport plan u_i K_ij v_j, see `transport`."""
    kernel = torch.mm(mapped, targets.T, out=scratch)
    epsilon = temperature * float(kernel[:PROBE_ROWS].std())
    kernel -= kernel.amax(dim=1, keepdim=True)  # every row has a 1: nothing overflows, and no row is lost
    kernel.mul_(1.0 / epsilon).clamp_min_(MIN_EXPONENT).exp_()
    n, m = kernel.shape
    u = torch.full((n,), 1.0 / n, device=kernel.device)
    for _ in range(balancing):
        v = (1.0 / m) / (u @ kernel).clamp_min_(1e-37)
        u = (1.0 / n) / (kernel @ v).clamp_min_(1e-37)
    return kernel, u, v


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
