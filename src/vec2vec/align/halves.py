"""What the fast fitter does on a half of the rows: from a start to a map, and how maps of two halves compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vec2vec.align.judge import ENOUGH_ROWS, agreement, consistency
from vec2vec.align.rounds import (
    PROBE_ROWS,
    Memo,
    Numbers,
    Pairs,
    Reporter,
    Side,
    extend,
    probe_score,
    refine,
    refine_on,
)
from vec2vec.align.schedules import RefinementConfig, half_schedules
from vec2vec.align.threads import in_turn, threads_for
from vec2vec.align.whitening import polar, unit

ROWS_PER_AXIS, LEAST_AXES = 32, 32  # with fewer than ENOUGH_ROWS
MEAN_OF = 4  # maps

Probes = tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # of either side: rows, targets


def distinct_axes(x: Side, y: Side) -> int:
    """How many of the strongest axes the rows are enough for; more only blur what these say."""
    rows = min(len(x), len(y))
    return max(LEAST_AXES, rows // ROWS_PER_AXIS) if rows < ENOUGH_ROWS else max(x.width, y.width)


def refine_half(
    x: Side,
    y: Side,
    start: torch.Tensor,
    config: RefinementConfig,
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
    early = early_maps(x, y, start, config, rng, report, name, pairs)
    return late_map(x, y, early, config, rng, report, name, pairs)


def early_maps(
    x: Side,
    y: Side,
    start: torch.Tensor,
    config: RefinementConfig,
    rng: np.random.Generator,
    report: Reporter,
    name: str,
    pairs: Pairs | None = None,
) -> list[torch.Tensor]:
    """The refinements by small samples that `refine_half` begins with, at once; in the axes that they are of."""
    early = half_schedules(config)[0]
    axes = config.early_axes if pairs is None else max(x.width, y.width)
    low_x, low_y, known = x.strongest(axes), y.strongest(axes), start[:axes, :axes]

    def refined(start: torch.Tensor, samples: Sequence[Numbers], told: Reporter | Memo) -> torch.Tensor:
        return refine_on(samples, low_x, low_y, start, early, told, f"small samples, {name}", pairs)

    found = []
    with threads_for(config.early_draws, known.device) as submit:
        coming = []
        for _ in range(config.early_draws):
            drawn, told = extend(known, (low_x.width, low_y.width), rng), report if submit is in_turn else Memo()
            coming.append((submit(refined, drawn, early.drawn(low_x, low_y, rng), told), told))
        for one, told in coming:
            found.append(one.result())
            if isinstance(told, Memo):
                told.pass_on(report)
    return found


def late_map(
    x: Side,
    y: Side,
    early: Sequence[torch.Tensor],
    config: RefinementConfig,
    rng: np.random.Generator,
    report: Reporter,
    name: str,
    pairs: Pairs | None = None,
) -> torch.Tensor:
    """What `refine_half` makes of these: the mean of the most alike, refined by larger samples in all axes."""
    low = mean_map(most_alike(early, MEAN_OF, x.strongest(early[0].shape[0]).rows))
    late = half_schedules(config)[1]
    return refine(x, y, extend(low, (x.width, y.width), rng), late, rng, report, name, pairs)


def most_alike(maps: Sequence[torch.Tensor], count: int, x: torch.Tensor) -> list[torch.Tensor]:
    """So many of some maps (r, s): one, and those that translate rows (n, r) as it does, more than around any other."""
    alike = torch.tensor([[agreement(one, other, x) for other in maps] for one in maps])
    nearest, order = alike.sort(dim=1, descending=True)
    return [maps[i] for i in order[nearest[:, :count].sum(dim=1).argmax()].tolist()[:count]]


def mean_map(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """The rotation nearest to the mean of the last `MEAN_OF` of some."""
    return polar(torch.stack(list(maps[-MEAN_OF:])).mean(dim=0))


def consistent(maps: Sequence[torch.Tensor], x: Side, config: RefinementConfig, rng: np.random.Generator) -> float:
    """How often two maps (r, s) find one another's translations, see `vec2vec.align.judge.consistency`."""
    probe = x.draw(PROBE_ROWS, config.whitening, rng)
    first, second = (unit(probe @ one) for one in maps)
    return consistency(first, second)


def transport_scores(
    candidates: Sequence[torch.Tensor], x: Side, y: Side, whitening: float, rng: np.random.Generator, draws: int = 1
) -> list[float]:
    """How near each candidate's translations lie to their barycentres: the mean of both directions and of draws."""
    scores = []
    for _ in range(draws):
        probes = draw_probes(x, y, PROBE_ROWS, whitening, rng)
        scores.append([two_way_score(one, probes) for one in candidates])
    return [sum(own) / draws for own in zip(*scores, strict=True)]


def draw_probes(x: Side, y: Side, rows: int, whitening: float, rng: np.random.Generator) -> Probes:
    """So many rows of either side, and twice as many of it to transport the other's to; whitened."""
    first, second = ((side.draw(rows, whitening, rng), side.draw(2 * rows, whitening, rng)) for side in (x, y))
    return first, second


def two_way_score(one: torch.Tensor, probes: Probes) -> float:
    """The score of a map (r, s), the mean of both directions."""
    (x, targets_x), (y, targets_y) = probes
    return (probe_score(x @ one, targets_y) + probe_score(y @ one.T, targets_x)) / 2
