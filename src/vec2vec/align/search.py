"""The fast fitter's search from nothing, on one half of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from vec2vec.align.anchors import first_guess
from vec2vec.align.cumulants import Cumulants
from vec2vec.align.cumulants import search as search_by_cumulants
from vec2vec.align.halves import MEAN_OF, distinct_axes, early_maps, late_map, transport_scores
from vec2vec.align.judge import consistency
from vec2vec.align.population import Candidate, Population, Start, given
from vec2vec.align.rounds import PROBE_ROWS, Reporter, Side, extend, probe_score, refine
from vec2vec.align.schedules import (
    CONTEST_CALLS,
    CONTESTANTS,
    CUMULANT_WORK,
    FURTHER_EFFORT,
    GUESS_WORK,
    KIN_EFFORT,
    SinkhornConfig,
    contest_work,
    early_work,
    half_schedules,
    half_work,
    kin_schedules,
    kin_work,
    late_work,
    trial_schedule,
    trial_work,
)
from vec2vec.align.whitening import polar, unit
from vec2vec.errors import InputError

SAME = 1e-6  # in coordinates of unit rows: what is less is rounding
CUMULANT_BONUS = 0.01  # to a score: balanced transport favours maps that find something for what has no counterpart
UNWHITENED = 0.0025  # less, where the axes are as they are: they favour what only one side has
RIVALS, RIVALRY = 4, 0.02  # maxima, or other maps, at most; energies so near that the greatest has to bear comparison
CLEARLY_WORSE = 0.005  # a score: a maximum that is so much behind a rival is not believed
CONFIRMED, CONFIRMING = 0.2, 2  # consistency of guesses by clusters with the best one; how many of them
KIN_MARGIN = 0.01  # the mean is of those kin whose score is so near to the best one's
CONSENT = 0.1  # consistency of two witnesses on the probe from which on they are taken to be right together
CLEARLY_BETTER = 0.0018  # a mean score: single refinements of one candidate differ by 0.001, wrong means by 0.0012


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
    early : of candidates that were refined further, what they became by small samples
    axes : how many the rows can tell apart; given where the halves of a fit, which may differ by a row, have to agree
    """

    def __init__(
        self, x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, name: str, axes: int | None = None
    ) -> None:
        for side, which in ((x, "source"), (y, "target")):
            if float((side.rows - side.rows[:1]).abs().max()) < SAME:
                raise InputError(f"half of the {which}'s rows are all the same: there is nothing to fit on")
        self.x, self.y, self.config, self.rng, self.name = x, y, config, rng, name
        self.axes = distinct_axes(x, y) if axes is None else axes
        axes = min(config.search_axes, self.axes)
        self.low = Population(x.strongest(axes), y.strongest(axes), rng)
        self.by_clusters: list[Candidate] = []
        self.by_cumulants: dict[float, tuple[Candidate, float]] = {}
        self.preferred: list[Candidate] = []  # what stands for them among the candidates
        self.early: dict[Candidate, list[torch.Tensor]] = {}

    def go_on(self, report: Reporter, generations: int) -> None:
        """Further guesses, then generations of mean maps."""
        config, children, tried = self.config, self.config.children, 0
        effort = FURTHER_EFFORT if generations else 1

        def one_more(more_work: float) -> None:
            nonlocal tried
            tried += 1
            best = max(one.score for one in self.low.found)
            work = trial_work(self.x, self.y, config) + more_work
            report(f"search, {self.name}", tried, config.guesses + generations * children, best, work)

        for guess in self._guesses(0.0, self.rng):
            self.by_clusters.append(guess)
            self.low.found.append(guess)
            one_more(GUESS_WORK)
        for step, whitening in enumerate(config.cumulant_whitenings, 1):
            self.by_cumulants[whitening] = self._guess_by_cumulants(whitening, effort)
            score = self.by_cumulants[whitening][0].score
            report(f"cumulants, {self.name}", step, len(config.cumulant_whitenings), score, effort * CUMULANT_WORK)
        self._prefer_cumulants()
        self.low.select(children)
        for _ in range(generations):
            for _ in self.low.children(children, trial_schedule(config)):
                one_more(0.0)
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
        first, and compared whitened, in both directions. Guesses in other geometries are among them, again and again
        while there are too few: where the axes differ much in strength, all of one geometry may be wrong alike.
        """
        low, config = self.low, self.config
        contestants: list[Candidate] = []
        for _ in range(CONTEST_CALLS):
            for whitening in config.contest_whitenings:
                low.found += self._guesses(whitening, rng)
            contestants = self._unlike(CONTESTANTS)
            if len(contestants) == CONTESTANTS:
                break
        for number, one in enumerate(contestants, 1):
            self._early(one, rng, Reporter(None, 1.0))
            work = contest_work(self.x, self.y, config) / len(contestants)
            report(f"contest, {self.name}", number, len(contestants), None, work)
        x, y = (side.strongest(config.early_axes) for side in self._distinct_sides())
        draws = zip(*(self.early[one] for one in contestants), strict=True)  # other rows for each: they matter as much
        scores = np.mean([transport_scores(maps, x, y, config.whitening, rng) for maps in draws], axis=0)
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
        early = self._early(self.low.found[0], self.rng, report)
        return self._whole(late_map(x, y, early, self.config, self.rng, report, self.name))

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
        known = best.start[: min(self.config.cumulant_axes, kin.shape[0]), : kin.shape[1]]
        for number, schedule in enumerate(kin_schedules(self.config), 1):
            if number == 1:
                starts = (given(extend(known, kin.shape, self.rng)) for _ in range(self.config.kin))
                kin.found += kin.refined(starts, self.config.kin, schedule)
            else:
                list(kin.children(self.config.kin, schedule))
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

        The rival is the best candidate that translates otherwise than the best of all, refined as a witness is, if not
        bred; of the best few, the first that does not become the same map. A map that is right leads: its mistakes are
        fewer. Where two explain the rows as well, neither is to be believed.
        """
        probe, best = self.low.probes[0], self.low.found[0]
        own = unit(probe @ best.rotation)
        others = [one for one in self.low.found if consistency(own, unit(probe @ one.rotation)) < CONSENT]
        x, y = self._distinct_sides()
        a, b = x.draw(PROBE_ROWS, self.config.whitening, rng), y.draw(2 * PROBE_ROWS, self.config.whitening, rng)
        mapped = a @ witness[: x.width, : y.width]
        report.expect(-half_work(self.x, self.y, self.config))
        for one in others[:RIVALS]:
            report.expect(late_work(self.x, self.y, self.config))
            if one not in self.early:
                report.expect(early_work(self.x, self.y, self.config))
            early = self._early(one, rng, report)
            other = a @ late_map(x, y, early, self.config, rng, report, f"rival, {self.name}")
            if consistency(unit(mapped), unit(other)) <= CONSENT:
                return probe_score(mapped, b) - probe_score(other, b)
        return None

    def starts_unlike(self, rotation: torch.Tensor) -> list[torch.Tensor]:
        """The starts of those that, by the strongest axes, translate otherwise than a map (r, s); the best first."""
        probe, (r, s) = self.low.probes[0], self.low.shape
        own = unit(probe @ rotation[:r, :s])
        return [one.start for one in self.low.found if consistency(own, unit(probe @ one.rotation)) < CONSENT]

    def _early(self, one: Candidate, rng: np.random.Generator, report: Reporter) -> list[torch.Tensor]:
        """What a candidate becomes by small samples, the beginning of `refine_half`; once only, as `early`."""
        if one not in self.early:
            known = one.start[: self.config.cumulant_axes]
            self.early[one] = early_maps(*self._distinct_sides(), known, self.config, rng, report, self.name)
        return self.early[one]

    def _distinct_sides(self) -> tuple[Side, Side]:
        """Both sides along as many axes as the rows can tell apart."""
        return self.x.strongest(self.axes), self.y.strongest(self.axes)

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
        maxima = list(zip(found.rotations[:RIVALS].to(self.x.rows), found.energies.tolist(), strict=False))
        near = [one for one in maxima if one[1] > maxima[0][1] - RIVALRY]
        starts = (given(extend(rotation, self.low.shape, self.rng)) for rotation, _ in near)
        tried = self.low.refined(starts, len(near), trial_schedule(self.config))
        guesses += [(replace(one, start=rotation), energy) for one, (rotation, energy) in zip(tried, near, strict=True)]
        least = max(guess.score for guess, _ in guesses) - CLEARLY_WORSE
        return max((one for one in guesses if one[0].score >= least), key=lambda one: one[1])

    def _guesses(self, whitening: float, rng: np.random.Generator) -> Iterator[Candidate]:
        """First guesses in a geometry, one for each number of clusters, again and again, refined a little."""
        starts = (self._guess(i, whitening, rng) for i in range(self.config.guesses))
        return self.low.refined(starts, self.config.guesses, trial_schedule(self.config), rng)

    def _guess(self, step: int, whitening: float, rng: np.random.Generator) -> Start:
        config, sides = self.config, (self.low.x, self.low.y)
        clusters = config.clusters[step % len(config.clusters)]
        numbers = [side.numbers(config.cluster_rows, rng) for side in sides]
        seeds = rng.integers(2**31, size=3).tolist()

        def guess() -> torch.Tensor:
            a, b = (side.whitened(drawn, whitening) for side, drawn in zip(sides, numbers, strict=True))
            return polar(first_guess(a, b, clusters=clusters, starts=config.starts, seeds=seeds))

        return guess


def _evened(side: Side, axes: int, whitening: float) -> torch.Tensor:
    """Rows (n, axes) along the strongest axes, whitened, for `vec2vec.align.cumulants`."""
    return (side.rows[:, :axes] / side.axes.scale(whitening)[:axes]).cpu()
