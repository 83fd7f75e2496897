"""What a refinement cannot undo: strong axes that a map reflects, or exchanges.

Where encoders differ in kind, a map may be right but for a direction or two among the strongest. A refinement holds it
there, and along all axes the transport of a better one has hardly a better score. So every strong axis is reflected,
and every two are exchanged, with either sign; what each of these maps becomes along few axes, where a score tells more,
is compared: a local search by the reflections that generate all signed permutations of the axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vec2vec.align.halves import draw_probes, early_maps, transport_scores, two_way_score
from vec2vec.align.population import Candidate
from vec2vec.align.rounds import PROBE_ROWS, Memo, Reporter, Schedule, Side, refine, refine_on
from vec2vec.align.schedules import FINALISTS, SinkhornConfig, reflection_schedules, reflections_work
from vec2vec.align.threads import threads_for
from vec2vec.align.whitening import polar

FEW_ROWS = 600  # of a side, by which all reflections are compared
BETTER = 0.0006  # a score: what is less may be chance


def reflected_back(
    rotation: torch.Tensor, x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, report: Reporter
) -> torch.Tensor | None:
    """What reflections of its strongest axes make of a map (r, s), one after the other, or None if nothing better.

    Returns
    -------
    (q, p) tensor, of the strongest axes alone
    """
    current, found = polar(rotation[: config.reflection_axes, : config.reflection_axes]), None
    for step in range(1, config.reflections + 1):
        work = reflections_work(x, y, config)
        report.expect(work)
        better = better_reflection(current, x, y, config, rng)
        report("reflections", step, config.reflections, None, work)
        if better is None:
            break
        current = found = better
    return found


def better_reflection(
    rotation: torch.Tensor, x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator
) -> torch.Tensor | None:
    """The best that a reflection of a map of the strongest axes (q, p) becomes, or None if it is not clearly better.

    It is compared with what the map becomes in as many rounds on the same rows. A few axes alone are not to be
    trusted, where the strongest are those of what only one side has: along more, it has to be better, too.
    """
    low_x, low_y = x.strongest(config.reflection_axes), y.strongest(config.reflection_axes)
    brief, longer = reflection_schedules(config)
    settled = refine(low_x, low_y, rotation, longer, rng, Reporter(None, 1.0), "reflections")
    along = reflection_vectors(min(config.cumulant_axes, low_x.width), low_x.width).to(settled)
    reflected = [settled - 2.0 * torch.outer(u, u @ settled) for u in along]
    best = sorted(_compared(reflected, low_x, low_y, brief, FEW_ROWS, rng), key=lambda one: -one.score)[:FINALISTS]
    starts = [settled, *(one.rotation for one in best)]
    own, *others = _compared(starts, low_x, low_y, longer, PROBE_ROWS, rng)
    first = max(others, key=lambda one: one.score)
    if first.score - own.score < BETTER:
        return None
    seed = int(rng.integers(2**63))
    before, after = (_score_along_more_axes(one.rotation, x, y, config, seed) for one in (own, first))
    return first.rotation if after - before >= BETTER else None


def reflection_vectors(axes: int, width: int) -> torch.Tensor:
    """Unit vectors (n, width), to reflect along: the first axes, and the sums and differences of any two of these.

    To reflect along the difference of two axes is to exchange them.
    """
    single = torch.eye(axes, width)
    i, j = torch.combinations(torch.arange(axes)).T
    return torch.cat([single, (single[i] + single[j]) / 2**0.5, (single[i] - single[j]) / 2**0.5])


def _compared(
    starts: Sequence[torch.Tensor], x: Side, y: Side, schedule: Schedule, rows: int, rng: np.random.Generator
) -> list[Candidate]:
    """What becomes of maps (r, s), all on the same rows, and its score, by the same rows again, in both directions."""
    samples, probes = schedule.drawn(x, y, rng), draw_probes(x, y, rows, schedule.whitening[1], rng)

    def refined(start: torch.Tensor) -> Candidate:
        rotation = refine_on(samples, x, y, start, schedule, Memo(), "reflection")
        return Candidate(rotation, two_way_score(rotation, probes), rotation)

    with threads_for(len(starts), starts[0].device, 1) as submit:
        return [one.result() for one in [submit(refined, start) for start in starts]]


def _score_along_more_axes(start: torch.Tensor, x: Side, y: Side, config: SinkhornConfig, seed: int) -> float:
    """The mean score of what a half's refinement by small samples makes of a map of the strongest axes (q, p)."""
    rng = np.random.default_rng(seed)
    maps = early_maps(x, y, start, config, rng, Reporter(None, 1.0), "reflection")
    low_x, low_y = x.strongest(config.early_axes), y.strongest(config.early_axes)
    return float(np.mean(transport_scores(maps, low_x, low_y, config.whitening, rng)))
