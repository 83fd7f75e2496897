"""Sinkhorn-Procrustes, the fast default: alternate optimal transport between samples and a rotation.

Read from top to bottom: `fit` prepares both sides; `Search` solves the problem from nothing on one half of the rows,
twice, roughly and in the strongest axes, and refines what it found; where the two are consistent, `bag` solves it again
on other halves, from what the two say of the strongest axes; `vec2vec.align.rounds.refine` improves the mean of all on
all rows, `vec2vec.align.judge` says how much to trust it, and `vec2vec.align.sharpen` adapts what was found to a plain
search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from vec2vec.align.anchors import first_guess
from vec2vec.align.base import FitConfig, ProgressCallback, SpaceFit
from vec2vec.align.cumulants import Cumulants
from vec2vec.align.cumulants import search as search_by_cumulants
from vec2vec.align.judge import ENOUGH_ROWS, agreement, clearly_apart, consistency, gather_evidence, verdict_from
from vec2vec.align.population import Candidate, Population
from vec2vec.align.rounds import (
    PROBE_ROWS,
    Pairs,
    Reporter,
    Schedule,
    Side,
    balanced,
    extend,
    probe_score,
    refine,
)
from vec2vec.align.sharpen import sharper_decode
from vec2vec.align.whitening import Axes, polar, thin_svd, unit
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Space
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

GUESS_WORK, CUMULANT_WORK, SHARPENING_WORK = 20.0, 60.0, 15.0  # of any size, as `Schedule.work` counts
TRIAL_SHARE = 0.1  # of a round's cost, of one in the strongest axes alone
KIN_SHARE, KIN_EFFORT = 0.7, 2  # the same, in the axes that kin are bred in; of the search for their start
FURTHER_EFFORT = 3  # of the searches by cumulants in a further attempt
ROWS_PER_AXIS, LEAST_AXES = 32, 32  # with fewer than ENOUGH_ROWS
CUMULANT_BONUS = 0.01  # to a score: balanced transport favours maps that find something for what has no counterpart
UNWHITENED = 0.0025  # less, where the axes are as they are: they favour what only one side has
RIVALS, RIVALRY = 4, 0.02  # maxima whose energies are so near that the greatest has to bear comparison
CLEARLY_WORSE = 0.005  # a score: a maximum that is so much behind a rival is not believed
CONFIRMED, CONFIRMING = 0.2, 2  # consistency of guesses by clusters with the best one; how many of them
CONSENT = 0.1  # consistency of two witnesses on the probe from which on they are taken to be right together
DOUBT = (0.02, 0.5)  # consistency of two witnesses that have a start in common, but got stuck
CONTESTED = (0.3, 0.8)  # consistency of two witnesses that may be wrong in the same way
CONTESTANTS, CONTEST_DRAWS = 6, 2  # candidates, and refinements of each, of which the better counts
CLEARLY_BETTER = 0.0015  # a score: refinements of one candidate differ by up to 0.002, the better of two by less
SURE = 0.8  # consistency of two bags from which on more of them add nothing
MEAN_OF, KIN_MARGIN = 4, 0.01  # maps; of kin, those whose score is so near to the best one's


class SinkhornConfig(FitConfig):
    """Settings of ``method="sinkhorn"``.

    Attributes
    ----------
    whitening : exponent of the partial whitening that the refinement ends with, 0 (none) to 0.5 (full)
    axes : principal axes of a space that take part, at most
    search_axes : the strongest, in which the search from nothing takes place, at most
    attempts : at either half, at most, while the best candidates of the two are not consistent
    guesses : first guesses of an attempt
    contest_whitenings : exponents of the geometries in which there are as many further guesses, where witnesses differ
    cumulant_axes : the strongest, along which cumulants are matched (`vec2vec.align.cumulants`)
    cumulant_whitenings : exponents of the axes' whitening there, of a guess each: encoders that differ more agree along
        the strongest axes only, unwhitened; corpora that differ agree on the weaker ones, too
    cumulant_starts, cumulant_generations : of that search
    generations, children : of further attempts; a child is the mean of two candidates, refined
    clusters : of the first guesses, one number after the other
    starts, cluster_rows : of a first guess
    temperature : of the transport within a half, first to last, in standard deviations of the similarities
    balancing : Sinkhorn iterations of a round
    trial_rounds, trial_rows : the refinement of a candidate; rows of the source, twice as many of the target
    early_axes, early_rounds, early_rows : the refinement of the best one
    early_draws : as many such refinements, each from other random values where the start says nothing; the mean of the
        most alike goes on
    kin, kin_rounds : where that got stuck: refinements of the best one in the early axes, of early rows
    kin_generations : as many mean maps of two of these, each refined in half of the rounds
    half_rounds, half_rows : the refinement within a half that follows
    bags : further divisions into halves, at most, while their maps are not consistent; either half gives one map
    kept_axes : the strongest, of which such a map starts with what is known; of the others it starts with nothing
    rounds, round_rows : the refinement on all rows
    sharpening : steps by which, at last, the map of either direction is adapted to a plain search; 0 for none
    """

    whitening: float = Field(default=0.2, ge=0.0, le=0.5)
    axes: int = Field(default=512, ge=2)
    search_axes: int = Field(default=64, ge=2)
    attempts: int = Field(default=2, ge=1)
    guesses: int = Field(default=8, ge=1)
    contest_whitenings: tuple[Annotated[float, Field(ge=0.0, le=0.5)], ...] = (0.2, 0.35)
    cumulant_axes: int = Field(default=12, ge=2)
    cumulant_whitenings: tuple[Annotated[float, Field(ge=0.0, le=0.5)], ...] = (0.0, 0.2)
    cumulant_starts: int = Field(default=1000, ge=1)
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
    early_rounds: int = Field(default=30, ge=1)
    early_rows: int = Field(default=1_000, ge=16)
    early_draws: int = Field(default=6, ge=1)
    kin: int = Field(default=8, ge=2)
    kin_rounds: int = Field(default=60, ge=2)
    kin_generations: int = Field(default=6, ge=0)
    half_rounds: int = Field(default=24, ge=1)
    half_rows: int = Field(default=2_500, ge=16)
    bags: int = Field(default=3, ge=0)
    kept_axes: int = Field(default=30, ge=2)
    rounds: int = Field(default=30, ge=1)
    round_rows: int = Field(default=6_000, ge=16)
    sharpening: int = Field(default=60, ge=0)


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
    work = 2 * witness_work(x, y, config) + bag_work(x, y, config) + final_work(x, y, config)
    work += sharpening_work(config)
    report = Reporter(progress, work)
    witnesses = independent_witnesses(x, y, config, rng, report)
    start, gap = consensus(witnesses.maps, x, y, config, rng, report)
    rotation = refine(x, y, start, final_schedule(config), rng, report, "all rows")
    verdict = judge(rotation, witnesses.maps, x, y, config.whitening, rng, witnesses.lead, gap)
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
    lead: float | None = None,
    gap: float | None = None,
) -> Verdict:
    """The verdict on a map between the sides, in the coordinates that they were refined in.

    The lead is that of `Witnesses`, the gap that of `consensus`.
    """
    a, b = (side.axes.whiten(side.rows, whitening) for side in (x, y))
    return verdict_from(gather_evidence(rotation, witnesses, a, b, rng, lead, gap))


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


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Two maps that were found independently.

    Attributes
    ----------
    maps : (r, s) each
    lead : what the score of a witness's transport is above that of the best other map that its half knows, refined in
        the same way; of the half where that is less. None where nothing was compared
    """

    maps: tuple[torch.Tensor, torch.Tensor]
    lead: float | None


def independent_witnesses(
    x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, report: Reporter
) -> Witnesses:
    """Two maps, each found from nothing on its own half of the rows.

    While their beginnings are not consistent, either half searches on; where the witnesses that come of them are not
    nearly the same, either half holds a contest among its candidates; where they agree a little, they are bred. What
    one half finds never reaches the other: their agreement is the evidence. Where they agree in part, both may have
    fallen for the same wrong map: then either is compared with a rival.
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
    witnesses = [search.witness(report) for search in searches]
    alike = consistent(witnesses, x, config, rng)
    if alike < CONTESTED[1]:
        apart = rng.spawn(1)[0]  # where nothing better is found, the fit goes on as without a contest
        report.expect(2 * contest_work(x, y, config))
        lost = [search.contest(apart, report) for search in searches]
        if any(lost):
            report.expect(sum(lost) * half_work(x, y, config))
            witnesses = [
                search.witness(report) if other else one
                for search, one, other in zip(searches, witnesses, lost, strict=True)
            ]
            alike = consistent(witnesses, x, config, apart)
    if DOUBT[0] < alike < DOUBT[1]:
        late = half_schedules(config)[1]
        report.expect(2 * (kin_work(x, y, config) + late.rounds * late.work(x, y)))
        witnesses = [search.bred_witness(report) for search in searches]
    return Witnesses((witnesses[0], witnesses[1]), least_lead(searches, witnesses, x, y, config, rng, report))


def least_lead(
    searches: Sequence[Search],
    witnesses: Sequence[torch.Tensor],
    x: Side,
    y: Side,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> float | None:
    """The least lead of two witnesses over their rivals, see `Witnesses`; random numbers of its own."""
    apart = rng.spawn(1)[0]
    if not CONTESTED[0] < consistent(witnesses, x, config, apart) < CONTESTED[1]:
        return None
    report.expect(2 * half_work(x, y, config))
    leads = [one.lead(witness, apart, report) for one, witness in zip(searches, witnesses, strict=True)]
    return min((lead for lead in leads if lead is not None), default=None)


class Search:
    """Solve the problem from nothing, roughly, in the strongest axes alone, where a round costs next to nothing.

    Guesses by cumulants (`vec2vec.align.cumulants`), and guesses at several numbers of clusters, since none suits every
    corpus; each refined a little; the best by the score of their transport, which tells right from wrong where the
    energy of a clustering does not; and generations of mean maps, where the guesses alone were not enough.

    Attributes
    ----------
    x, y : the rows of the half
    low : the candidates, in the strongest axes
    by_clusters : all guesses by clusters, refined a little
    by_cumulants : by their whitening, the guesses from the cumulants, the same, and their energies
    """

    def __init__(self, x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, name: str) -> None:
        self.x, self.y, self.config, self.rng, self.name = x, y, config, rng, name
        axes = min(config.search_axes, distinct_axes(x, y))
        self.low = Population(x.strongest(axes), y.strongest(axes), rng)
        self.by_clusters: list[Candidate] = []
        self.by_cumulants: dict[float, tuple[Candidate, float]] = {}
        self.preferred: list[Candidate] = []  # what stands for them among the candidates

    def go_on(self, report: Reporter, generations: int) -> None:
        """Further guesses, then generations of mean maps."""
        config, children, tried = self.config, self.config.children, 0
        effort, trial = FURTHER_EFFORT if generations else 1, trial_schedule(config)

        def add(start: torch.Tensor, more_work: float) -> Candidate:
            nonlocal tried
            tried += 1
            self.low.found.append(self.low.refined(start, trial))
            best = max(one.score for one in self.low.found)
            work = trial_work(self.x, self.y, config) + more_work
            report(f"search, {self.name}", tried, config.guesses + generations * children, best, work)
            return self.low.found[-1]

        self.by_clusters += [add(self._guess(i, 0.0, self.rng), GUESS_WORK) for i in range(config.guesses)]
        for step, whitening in enumerate(config.cumulant_whitenings, 1):
            self.by_cumulants[whitening] = self._guess_by_cumulants(whitening, effort)
            score = self.by_cumulants[whitening][0].score
            report(f"cumulants, {self.name}", step, len(config.cumulant_whitenings), score, effort * CUMULANT_WORK)
        self._prefer_cumulants()
        self.low.select(children)
        for _ in range(generations):
            for _ in range(children):
                add(self.low.mean_of_two(), 0.0)
            self.low.select(children)

    def _prefer_cumulants(self) -> None:
        """Put the guesses by cumulants among the candidates; preferred, unless those by clusters confirm one another.

        Wrong guesses by clusters are wrong in different ways, so that several which agree are right. Cumulants have no
        such second witness within a half: both halves may find the same wrong maximum.
        """
        bonus = 0.0 if self.confirmed() else CUMULANT_BONUS
        self.low.found = [one for one in self.low.found if one not in self.preferred]
        self.preferred = []
        for whitening, (guess, _) in self.by_cumulants.items():
            score = guess.score + bonus - (0.0 if whitening else UNWHITENED)
            self.preferred.append(replace(guess, score=score))
        self.low.found += self.preferred

    def confirmed(self) -> bool:
        """Whether others translate as the best guess by clusters does."""
        best = max(self.by_clusters, key=lambda one: one.score, default=None)
        if best is None:
            return False
        probe = self.low.probes[0]
        own = unit(probe @ best.rotation)
        alike = [consistency(own, unit(probe @ one.rotation)) for one in self.by_clusters if one is not best]
        return sum(one > CONFIRMED for one in alike) >= CONFIRMING

    def consistent_with(self, other: Search) -> bool:
        """Whether the best of either search translate alike."""
        a, b = (unit(self.low.probes[0] @ one.low.found[0].rotation) for one in (self, other))
        return consistency(a, b) > CONSENT

    def contest(self, rng: np.random.Generator, report: Reporter) -> bool:
        """Put the candidate first that explains the rows best once it is refined further; whether that changes which.

        In the strongest axes a wrong guess that is as far as it gets scores as well as a right one that is still
        blurred. So of those that translate otherwise than all better ones, the best few are refined as a witness is at
        first, and compared whitened, in both directions. Guesses in other geometries are among them: where the axes
        differ much in strength, all of one geometry may be wrong alike.
        """
        low, config = self.low, self.config
        for whitening in config.contest_whitenings:
            for i in range(config.guesses):
                low.found.append(low.refined(self._guess(i, whitening, rng), trial_schedule(config), rng))
        contestants = self._unlike(CONTESTANTS)
        x, y = (side.strongest(config.early_axes) for side in self._distinct_sides())
        early, shape, maps = half_schedules(config)[0], (x.width, y.width), []
        for number, one in enumerate(contestants, 1):
            for _ in range(CONTEST_DRAWS):
                start = extend(one.start[: config.cumulant_axes, : config.cumulant_axes], shape, rng)
                maps.append(refine(x, y, start, early, rng, Reporter(None, 1.0), "contestant"))
            work = contest_work(self.x, self.y, config) / len(contestants)
            report(f"contest, {self.name}", number, len(contestants), None, work)
        drawn = transport_scores(maps, x, y, config.whitening, rng)
        scores = np.reshape(drawn, (len(contestants), CONTEST_DRAWS)).max(axis=1)
        scores[0] += CLEARLY_BETTER
        low.found = [contestants[i] for i in np.argsort(-scores, kind="stable")]
        return low.found[0] is not contestants[0]

    def _unlike(self, count: int) -> list[Candidate]:
        """The best candidate, and the best of those that translate otherwise than all before them; at most so many."""
        first, *others = self.low.found
        unlike: list[Candidate] = []
        translated: list[torch.Tensor] = []
        for one in (first, *sorted(others, key=lambda one: -one.score)):
            own = unit(self.low.probes[0] @ one.rotation)
            if all(consistency(own, other) < CONSENT for other in translated):
                unlike.append(one)
                translated.append(own)
            if len(unlike) == count:
                break
        return unlike

    def witness(self, report: Reporter) -> torch.Tensor:
        """The best candidate, refined in as many axes as the rows can tell apart; (r, s), nothing of the others.

        It begins with what the candidate says of the axes that cumulants are matched along: of weaker ones it is wrong
        too often, and refinements that begin with nothing of them are not all wrong in the same way.
        """
        x, y = self._distinct_sides()
        start = self.low.found[0].start[: self.config.cumulant_axes]
        return self._whole(refine_half(x, y, start, self.config, self.rng, report, self.name))

    def bred_witness(self, report: Reporter) -> torch.Tensor:
        """As `witness`, but of many refinements of the best candidate, bred: for where one gets stuck.

        What becomes of the axes that the candidate leaves open is chance, and decides how far a refinement gets. The
        score of their transport tells which of them got further, if not which candidate is right. Beside that, to look
        for a greater maximum of the cumulants' energy costs little.
        """
        best = self.low.found[0]
        for whitening, preferred in zip(self.by_cumulants, self.preferred, strict=True):
            if best is preferred:
                best = self._guess_by_cumulants(whitening, KIN_EFFORT)[0]
        x, y = self._distinct_sides()
        axes = min(self.config.early_axes, x.width, y.width)
        kin = Population(x.strongest(axes), y.strongest(axes), self.rng)
        known = best.start[: self.config.cumulant_axes, : kin.shape[1]]
        for number, schedule in enumerate(kin_schedules(self.config), 1):
            for _ in range(self.config.kin):
                start = extend(known, kin.shape, self.rng) if number == 1 else kin.mean_of_two()
                kin.found.append(kin.refined(start, schedule))
            kin.select(self.config.kin)
            work = kin_work(self.x, self.y, self.config) / (1 + self.config.kin_generations)
            report(f"kin, {self.name}", number, 1 + self.config.kin_generations, kin.found[0].score, work)
        near = [one.rotation for one in kin.found[:MEAN_OF] if one.score > kin.found[0].score - KIN_MARGIN]
        mean = polar(torch.stack(near).mean(dim=0))
        late = half_schedules(self.config)[1]
        whole = extend(mean, (x.width, y.width), self.rng)
        return self._whole(refine(x, y, whole, late, self.rng, report, self.name))

    def lead(self, witness: torch.Tensor, rng: np.random.Generator, report: Reporter) -> float | None:
        """How much better the transport of the witness (r, s) is than that of a rival; None if there is none.

        The rival is the best candidate that translates otherwise than the best of all, refined as a witness is. A map
        that is right leads: its mistakes are fewer. Where two explain the rows as well, neither is to be believed.
        """
        probe, best = self.low.probes[0], self.low.found[0]
        own = unit(probe @ best.rotation)
        others = [one for one in self.low.found if consistency(own, unit(probe @ one.rotation)) < CONSENT]
        x, y = self._distinct_sides()
        if not others:
            report.expect(-half_work(self.x, self.y, self.config))
            return None
        start = others[0].start[: self.config.cumulant_axes]
        rival = refine_half(x, y, start, self.config, rng, report, f"rival, {self.name}")
        a, b = x.draw(PROBE_ROWS, self.config.whitening, rng), y.draw(2 * PROBE_ROWS, self.config.whitening, rng)
        own, other = (a @ one[: x.width, : y.width] for one in (witness, rival))
        if consistency(unit(own), unit(other)) > CONSENT:
            return None  # another start leads to the same map
        return probe_score(own, b) - probe_score(other, b)

    def _distinct_sides(self) -> tuple[Side, Side]:
        """Both sides along as many axes as the rows can tell apart."""
        axes = max(*self.low.shape, distinct_axes(self.x, self.y))
        return self.x.strongest(axes), self.y.strongest(axes)

    def _whole(self, refined: torch.Tensor) -> torch.Tensor:
        witness = refined.new_zeros(self.x.width, self.y.width)
        witness[: refined.shape[0], : refined.shape[1]] = refined
        return witness

    def _guess_by_cumulants(self, whitening: float, effort: int) -> tuple[Candidate, float]:
        """A candidate from a maximum of `vec2vec.align.cumulants`, of this search or of one before it; its energy.

        The energies of two samples differ by chance: of maxima that are about as great, none whose transport is clearly
        worse is believed. But the transport alone must not choose: it favours what is wrong in details.
        """
        axes = min(self.config.cumulant_axes, *self.low.shape)
        one, other = (Cumulants.of(_evened(side, axes, whitening)) for side in (self.x, self.y))
        found = search_by_cumulants(
            one,
            other,
            starts=effort * self.config.cumulant_starts,
            generations=self.config.cumulant_generations,
            rng=self.rng,
        )
        guesses = [self.by_cumulants[whitening]] if whitening in self.by_cumulants else []
        for rotation, energy in zip(found.rotations[:RIVALS].to(self.x.rows), found.energies.tolist(), strict=False):
            if energy > float(found.energies[0]) - RIVALRY:
                tried = self.low.refined(extend(rotation, self.low.shape, self.rng), trial_schedule(self.config))
                guesses.append((replace(tried, start=rotation), energy))
        least = max(guess.score for guess, _ in guesses) - CLEARLY_WORSE
        return max((one for one in guesses if one[0].score >= least), key=lambda one: one[1])

    def _guess(self, step: int, whitening: float, rng: np.random.Generator) -> torch.Tensor:
        clusters = self.config.clusters[step % len(self.config.clusters)]
        a, b = (side.draw(self.config.cluster_rows, whitening, rng) for side in (self.low.x, self.low.y))
        return polar(first_guess(a, b, clusters=clusters, starts=self.config.starts, rng=rng).cross)


def _evened(side: Side, axes: int, whitening: float) -> torch.Tensor:
    """Rows (n, axes) along the strongest axes, whitened, for `vec2vec.align.cumulants`."""
    return (side.rows[:, :axes] / side.axes.scale(whitening)[:axes]).cpu()


def distinct_axes(x: Side, y: Side) -> int:
    """How many of the strongest axes the rows are enough for; more only blur what these say."""
    rows = min(len(x), len(y))
    return max(LEAST_AXES, rows // ROWS_PER_AXIS) if rows < ENOUGH_ROWS else max(x.width, y.width)


def transport_scores(
    candidates: Sequence[torch.Tensor], x: Side, y: Side, whitening: float, rng: np.random.Generator
) -> list[float]:
    """How near the translations of each candidate lie to their barycentres, the mean of both directions."""
    ends = [(side.draw(PROBE_ROWS, whitening, rng), side.draw(2 * PROBE_ROWS, whitening, rng)) for side in (x, y)]
    (a, targets_x), (b, targets_y) = ends
    return [(probe_score(a @ one, targets_y) + probe_score(b @ one.T, targets_x)) / 2 for one in candidates]


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
    """From what is known of the strongest axes (q, p): rounds of small samples as they are, then larger, ever whiter.

    Small samples are too few for the weaker axes, which would blur the others; with known pairs they serve in all.
    Without, what becomes of the axes that nothing is known of is chance, and now and then a small topic ends in the
    place of another. So several refinements begin there: those that are most alike have not got stuck.
    """
    early, late = half_schedules(config)
    shape = x.width, y.width
    axes = config.early_axes if pairs is None else max(shape)
    low_x, low_y, known = x.strongest(axes), y.strongest(axes), start[:axes, :axes]
    found = []
    for _ in range(config.early_draws):
        drawn = extend(known, (low_x.width, low_y.width), rng)
        found.append(refine(low_x, low_y, drawn, early, rng, report, f"small samples, {name}", pairs))
    low = mean_map(most_alike(found, MEAN_OF, low_x.rows))
    return refine(x, y, extend(low, shape, rng), late, rng, report, name, pairs)


def trial_schedule(config: SinkhornConfig) -> Schedule:
    """The refinement of a first guess that shows what it is good for."""
    hot = config.temperature[0]
    return Schedule(config.trial_rounds, config.trial_rows, (hot, hot), (0.0, 0.0), (1.2, 1.2), config.balancing)


def kin_schedules(config: SinkhornConfig) -> list[Schedule]:
    """The refinement of the first kin, and of every generation of their children."""
    early, rounds = half_schedules(config)[0], config.kin_rounds
    return [replace(early, rounds=rounds), *[replace(early, rounds=rounds // 2)] * config.kin_generations]


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
    return len(config.cumulant_whitenings) * CUMULANT_WORK + guesses + half_work(x, y, config)


def further_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What a further attempt at one half costs, as `Schedule.work` counts."""
    candidates = config.guesses + config.generations * config.children
    by_cumulants = len(config.cumulant_whitenings) * FURTHER_EFFORT * CUMULANT_WORK
    return by_cumulants + config.guesses * GUESS_WORK + candidates * trial_work(x, y, config)


def contest_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `Search.contest` costs, as `Schedule.work` counts."""
    guesses = len(config.contest_whitenings) * config.guesses * (GUESS_WORK + trial_work(x, y, config))
    early = half_schedules(config)[0]
    return guesses + CONTESTANTS * CONTEST_DRAWS * early.rounds * early.work(x, y)


def trial_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the refinement of a candidate costs, as `Schedule.work` counts."""
    trial = trial_schedule(config)
    return TRIAL_SHARE * trial.rounds * trial.work(x, y)


def kin_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `Search.bred_witness` costs, but for the refinement at its end, as `Schedule.work` counts."""
    rounds = config.kin_rounds * (1.0 + config.kin_generations / 2)
    a_round = KIN_SHARE * half_schedules(config)[0].work(x, y)
    return KIN_EFFORT * CUMULANT_WORK + config.kin * rounds * a_round


def half_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What `refine_half` costs, as `Schedule.work` counts."""
    early, late = half_schedules(config)
    return config.early_draws * early.rounds * early.work(x, y) + late.rounds * late.work(x, y)


def bag_work(x: Side, y: Side, config: SinkhornConfig) -> float:
    """What the first two maps of `bag` cost, as `Schedule.work` counts."""
    return 2 * half_work(x, y, config) if config.bags else 0.0


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
) -> tuple[torch.Tensor, float | None]:
    """What two witnesses say together, and how far apart they are in the score of their transport.

    Of consistent ones the mean of them and their bags, since errors are their own; they are not compared (None). Else
    the one of the better transport; and if that is clearly better, it is about right, and goes on with bags of its own.
    """
    if consistent(witnesses, x, config, rng) > CONSENT:
        return bag(witnesses, x, y, config, rng, report), None
    scores = transport_scores(witnesses, x, y, config.whitening, rng)
    best, gap = witnesses[int(np.argmax(scores))], max(scores) - min(scores)
    if clearly_apart(gap, min(len(x), len(y))):
        return bag([best], x, y, config, rng, report), gap
    report.expect(-bag_work(x, y, config))
    return best, gap


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

    Each of these is refined on a half of the rows, from the strongest axes alone of the mean so far: what a map says of
    the weaker ones depends on where it started, so that one that knew them would repeat the mean's errors.
    """
    every = list(maps)
    for i in range(config.bags):
        known = mean_map(every)[: config.kept_axes]
        fresh = []
        for j, (half_x, half_y) in enumerate(zip(x.halves(rng), y.halves(rng), strict=True), 1):
            fresh.append(refine_half(half_x, half_y, known, config, rng, report, f"bag {2 * i + j}", pairs))
        every += fresh
        if i + 1 == config.bags or consistent(fresh, x, config, rng) > SURE:
            break
        report.expect(bag_work(x, y, config))
    return mean_map(every)


def most_alike(maps: Sequence[torch.Tensor], count: int, x: torch.Tensor) -> list[torch.Tensor]:
    """So many of some maps (r, s): one, and those that translate rows (n, r) as it does, more than around any other."""
    alike = torch.tensor([[agreement(one, other, x) for other in maps] for one in maps])
    nearest, order = alike.sort(dim=1, descending=True)
    return [maps[i] for i in order[nearest[:, :count].sum(dim=1).argmax()].tolist()[:count]]


def mean_map(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """The rotation nearest to the mean of the last `MEAN_OF` of some."""
    return polar(torch.stack(list(maps[-MEAN_OF:])).mean(dim=0))


def consistent(maps: Sequence[torch.Tensor], x: Side, config: SinkhornConfig, rng: np.random.Generator) -> float:
    """How often two maps (r, s) find one another's translations, see `vec2vec.align.judge.consistency`."""
    probe = x.draw(PROBE_ROWS, config.whitening, rng)
    first, second = (unit(probe @ one) for one in maps)
    return consistency(first, second)
