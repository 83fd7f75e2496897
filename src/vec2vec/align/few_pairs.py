"""A few known pairs beside many unpaired rows.

The pairs do what is hardest without them, the first guess, and go on pulling at the map while the unpaired rows refine
it (`vec2vec.align.sinkhorn`). Their weight grows with their number: ten pairs are a start, with thousands the fit
becomes paired alignment. Where neither side has rows like the other's, transport pulls the map away from the pairs: so,
where there are enough, either half of the pairs tests what was made of the other, and where the rows do harm, the pairs
alone serve.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from vec2vec.align.base import LinearFit, ProgressCallback, SpaceFit
from vec2vec.align.halves import refine_half
from vec2vec.align.paired import ProcrustesConfig, fit_procrustes, halves_of_pairs
from vec2vec.align.rounds import PROBE_ROWS, Pairs, Reporter, Side, refine
from vec2vec.align.schedules import (
    RefinementConfig,
    bag_work,
    final_schedule,
    final_work,
    half_work,
    sharpening_work,
)
from vec2vec.align.sinkhorn import bag, finish, judge, prepare, scaled
from vec2vec.align.whitening import Axes, polar, unit
from vec2vec.errors import Vec2VecWarning
from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

ENOUGH_PAIRS = 100  # half of them is a start for any fit: where it fails with as many, the rows are to blame
LIKELY_OWN, SAME = 0.99, 1e-4  # cosine of a vector and its like in a fast product; their difference in any coordinate
CLEAR_ERRORS = 2.0  # standard errors of a mean difference, from which on it is not taken for chance


class FewPairsConfig(RefinementConfig):
    """Settings of ``method="few-pairs"``: those of the refinement, and what a pair weighs.

    Attributes
    ----------
    worth : the number of pairs that weigh as much as all the unpaired rows together
    """

    worth: float = Field(default=1000.0, gt=0.0)
    early_rounds: int = Field(default=50, ge=1)  # in all axes, and from a better start
    early_draws: int = Field(default=1, ge=1)
    bags: int = Field(default=1, ge=0)


def fit(
    source: Float32,
    target: Float32,
    config: FewPairsConfig,
    *,
    seed: int,
    pairs: tuple[Float32, Float32],
    progress: ProgressCallback | None = None,
    device: torch.device | None = None,
) -> SpaceFit | LinearFit:
    """Align two sets of vectors of which a few pairs are known.

    For the verdict, either of two witnesses has half of the pairs and half of the rows. The other half of the pairs
    tests it: where, of 100 pairs or more, plain rotations by the same pairs do clearly better there, the fit is that by
    all pairs alone.

    Parameters
    ----------
    source, target : (n, d_s) and (m, d_t) float32 arrays, unpaired
    config : the settings
    seed : the same seed gives the same map
    pairs : (p, d_s) and (p, d_t) float32 arrays, row-aligned
    progress : called after every round
    device : where the products are computed; the CPU if None

    Returns
    -------
    Its verdict's evidence also has ``rank_with_rows`` and ``rank_by_pairs_alone``: the geometric means of the ranks,
    among 2,000 native rows at most, at which the witnesses and the rotations find the pairs that they were not told.

    Warns
    -----
    Vec2VecWarning : the unpaired rows do harm, and are left aside
    """
    rng = np.random.default_rng(seed)
    natives, (x, y) = prepare(source, target, config, device or torch.device("cpu"))
    half = x.as_many_as_a_half(), y.as_many_as_a_half()
    work = 2 * half_work(*half, config) + half_work(x, y, config) + bag_work(*half, config) + final_work(x, y, config)
    report = Reporter(progress, work + sharpening_work(config))
    a = _along(x.axes, natives[0], pairs[0])
    b = _along(y.axes, natives[1], pairs[1])
    first_half, second_half = (torch.from_numpy(half).to(a.device) for half in halves_of_pairs(*pairs, rng))
    told = first_half, second_half
    witnesses = [
        _from_pairs(half_x, half_y, a[told[i]], b[told[i]], config, rng, report, f"half {i + 1}")
        for i, (half_x, half_y) in enumerate(zip(x.halves(rng), y.halves(rng), strict=True))
    ]
    ranks, ranks_alone = held_out_ranks(witnesses, (a, b), told, x, y, config.whitening, rng.spawn(1)[0])
    tested = {"rank_with_rows": float(ranks.mean().exp()), "rank_by_pairs_alone": float(ranks_alone.mean().exp())}
    if len(a) >= ENOUGH_PAIRS and clearly_less(ranks_alone, ranks):
        warnings.warn(
            f"pairs held out have a geometric mean rank of {tested['rank_with_rows']:.0f} with the unpaired rows, of "
            f"{tested['rank_by_pairs_alone']:.0f} by the other pairs alone: these rows do harm, and are left aside",
            Vec2VecWarning,
            stacklevel=3,
        )
        found = fit_procrustes(source, target, ProcrustesConfig(), seed=seed, pairs=pairs)
        report.expect(report.done - report.work)
        report("pairs alone", 1, 1, None, 0.0)
        return replace(found, history=report.history, verdict=_tested(found.verdict, tested))
    known = Pairs(a, b, _weight(len(a), config))
    first = _from_pairs(x, y, a, b, config, rng, report, "all pairs")
    start = bag([first], x, y, config, rng, report, known)
    rotation = refine(x, y, start, final_schedule(config, x, y), rng, report, "all rows", known)
    verdict = judge(rotation, (witnesses[0], witnesses[1]), x, y, config.whitening, rng)
    spaces = scaled(finish(natives, (x, y), rotation, verdict, config, rng, report), source, target)
    return SpaceFit(*spaces, report.history, _tested(verdict, tested))


def held_out_ranks(
    witnesses: Sequence[torch.Tensor],
    pairs: tuple[torch.Tensor, torch.Tensor],
    told: tuple[torch.Tensor, torch.Tensor],
    x: Side,
    y: Side,
    whitening: float,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where pairs are found that a map was not told, by two witnesses, and by the rotations of the same pairs alone.

    Parameters
    ----------
    witnesses : two maps (r, s)
    pairs : (p, r) and (p, s) tensors of unit rows along the principal axes, row-aligned
    told : the numbers of the pairs that each witness was told; disjoint, together all of them
    x, y : the sides, whose exponent of whitening is that of the comparison

    Returns
    -------
    Two (p,) tensors in one order: the logarithm of 1 and the number of native rows, of 2,000 at most, that lie nearer
    to a pair's translation than its own vector does.
    """
    a, b = pairs
    queries, own = x.axes.whiten(a, whitening), y.axes.whiten(b, whitening)
    natives = y.draw(PROBE_ROWS, whitening, rng)
    others = ~_are_own(own, natives)

    def log_ranks(maps: Sequence[torch.Tensor]) -> torch.Tensor:
        ranks = []
        for one, tested in zip(maps, reversed(told), strict=True):
            translated = queries[tested] @ one
            nearness = (translated * own[tested]).sum(dim=1, keepdim=True)
            ranks.append(1 + ((translated @ natives.T > nearness) & others[tested]).sum(dim=1))
        return torch.cat(ranks).float().log()

    return log_ranks(witnesses), log_ranks([polar(a[one].T @ b[one]) for one in told])


def _are_own(own: torch.Tensor, natives: torch.Tensor) -> torch.Tensor:
    """(p, m): which native rows (m, s) are a pair's own vector (p, s), but for rounding: pairs may be of the store."""
    found = own @ natives.T > LIKELY_OWN
    i, j = found.nonzero(as_tuple=True)
    found[i, j] = (own[i] - natives[j]).abs().amax(dim=1) < SAME
    return found


def clearly_less(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether the mean of one sample (p,) is below that of another, row by row, by more than chance."""
    difference = second - first
    return bool(difference.mean() > CLEAR_ERRORS * difference.std() / len(difference) ** 0.5)


def _tested(verdict: Verdict | None, ranks: dict[str, float]) -> Verdict:
    """The verdict, and how held-out pairs were found."""
    assert verdict is not None
    return replace(verdict, evidence=verdict.evidence | ranks)


def _from_pairs(
    x: Side,
    y: Side,
    a: torch.Tensor,
    b: torch.Tensor,
    config: FewPairsConfig,
    rng: np.random.Generator,
    report: Reporter,
    name: str,
) -> torch.Tensor:
    known = Pairs(a, b, _weight(len(a), config))
    return refine_half(x, y, polar(a.T @ b), config, rng, report, name, known)


def _weight(pairs: int, config: FewPairsConfig) -> float:
    return pairs / (pairs + config.worth)


def _along(axes: Axes, native: Preprocessor, vectors: Float32) -> torch.Tensor:
    """Native vectors (p, d) as unit rows (p, r) along the principal axes."""
    z = torch.from_numpy(native.apply(vectors)).to(axes.directions)
    return unit(z @ axes.directions)
