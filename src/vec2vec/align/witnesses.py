"""Two maps found independently, whose agreement is the evidence that a verdict rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vec2vec.align.halves import consistent, distinct_axes, transport_scores
from vec2vec.align.judge import clearly_apart
from vec2vec.align.rounds import Reporter, Side
from vec2vec.align.schedules import SinkhornConfig, contest_work, further_work, half_work, kin_work, late_work
from vec2vec.align.search import Search

DOUBT = (0.02, 0.5)  # consistency of two witnesses that have a start in common, but got stuck
DIFFERENT = 0.7  # consistency of two witnesses below which what they started from is questioned
GAP_DRAWS = 4  # of rows, by which witnesses that do not agree are compared: one alone errs by 0.001
CONTESTED = (0.3, 0.95)  # consistency of two witnesses, on the probe, that may be wrong in the same way


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Two maps that were found independently.

    Attributes
    ----------
    maps : (r, s) each
    lead : what the score of a witness's transport is above that of the best other map that its half knows, refined in
        the same way; of the half where that is less. None where nothing was compared
    searches : what they came of
    """

    maps: tuple[torch.Tensor, torch.Tensor]
    lead: float | None
    searches: tuple[Search, Search]


def independent_witnesses(
    x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, report: Reporter
) -> Witnesses:
    """Two maps, each found from nothing on its own half of the rows.

    While their beginnings are not consistent, either half searches on; where the witnesses that come of them differ,
    either half holds a contest among its candidates. Then, where they agree a little, they are bred; where they do not
    at all, but one is clearly better, that one is. What one half finds never reaches the other: their agreement is the
    evidence. Where they agree in part, both may have fallen for the same wrong map: then either is compared with a
    rival.
    """
    halves = list(zip(x.halves(rng), y.halves(rng), strict=True))
    axes, half = min(distinct_axes(*one) for one in halves), halves[0]
    searches = [Search(a, b, config, rng, f"half {i}", axes) for i, (a, b) in enumerate(halves, 1)]
    for attempt in range(config.attempts):
        if attempt:
            report.expect(2 * further_work(*half, config))
        for search in searches:
            search.go_on(report, generations=config.generations if attempt else 0)
        if searches[0].consistent_with(searches[1]):
            break
    witnesses = [search.witness(report) for search in searches]
    alike = consistent(witnesses, x, config, rng)
    if alike < DIFFERENT:
        apart = rng.spawn(1)[0]  # where nothing better is found, the fit goes on as without a contest
        report.expect(2 * contest_work(*half, config))
        lost = [search.contest(apart, report) for search in searches]
        if any(lost):
            report.expect(sum(lost) * late_work(*half, config))
            witnesses = [
                search.witness(report) if other else one
                for search, one, other in zip(searches, witnesses, lost, strict=True)
            ]
            alike = consistent(witnesses, x, config, apart)
    if DOUBT[0] < alike < DOUBT[1]:
        report.expect(2 * (kin_work(*half, config) + late_work(*half, config)))
        witnesses = [search.bred_witness(report) for search in searches]
    elif alike <= DOUBT[0]:
        scores = transport_scores(witnesses, x, y, config.whitening, rng.spawn(1)[0], GAP_DRAWS)
        if clearly_apart(max(scores) - min(scores), min(len(x), len(y))):
            report.expect(kin_work(*half, config) + late_work(*half, config))
            better = int(np.argmax(scores))
            witnesses[better] = searches[better].bred_witness(report)
    lead = least_lead(searches, witnesses, x, y, config, rng, report)
    return Witnesses((witnesses[0], witnesses[1]), lead, (searches[0], searches[1]))


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
    report.expect(sum(half_work(one.x, one.y, config) for one in searches))
    leads = [one.lead(witness, apart, report) for one, witness in zip(searches, witnesses, strict=True)]
    return min((lead for lead in leads if lead is not None), default=None)
