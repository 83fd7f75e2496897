"""A few known pairs beside many unpaired rows.

The pairs do what is hardest without them, the first guess, and go on pulling at the map while the unpaired rows refine
it (`vec2vec.align.sinkhorn`). Their weight grows with their number: ten pairs are a start, with thousands the fit
becomes paired alignment.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from vec2vec.align.base import ProgressCallback, SpaceFit
from vec2vec.align.halves import refine_half
from vec2vec.align.rounds import Pairs, Reporter, Side, refine
from vec2vec.align.schedules import (
    SinkhornConfig,
    bag_work,
    final_schedule,
    final_work,
    half_work,
    sharpening_work,
)
from vec2vec.align.sinkhorn import bag, finish, judge, prepare
from vec2vec.align.whitening import Axes, polar, unit
from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import Float32


class FewPairsConfig(SinkhornConfig):
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
) -> SpaceFit:
    """Align two sets of vectors of which a few pairs are known.

    For the verdict, either of two witnesses has half of the pairs and half of the rows.

    Parameters
    ----------
    source, target : (n, d_s) and (m, d_t) float32 arrays, unpaired
    config : the settings
    seed : the same seed gives the same map
    pairs : (p, d_s) and (p, d_t) float32 arrays, row-aligned
    progress : called after every round
    device : where the products are computed; the CPU if None
    """
    rng = np.random.default_rng(seed)
    natives, (x, y) = prepare(source, target, config, device or torch.device("cpu"))
    work = 3 * half_work(x, y, config) + bag_work(x, y, config) + final_work(x, y, config)
    report = Reporter(progress, work + sharpening_work(config))
    a = _along(x.axes, natives[0], pairs[0])
    b = _along(y.axes, natives[1], pairs[1])
    order = torch.from_numpy(rng.permutation(len(a))).to(a.device)
    witnesses = [
        _from_pairs(half_x, half_y, a[order[i::2]], b[order[i::2]], config, rng, report, f"half {i + 1}")
        for i, (half_x, half_y) in enumerate(zip(x.halves(rng), y.halves(rng), strict=True))
    ]
    known = Pairs(a, b, _weight(len(a), config))
    first = _from_pairs(x, y, a, b, config, rng, report, "all pairs")
    start = bag([first], x, y, config, rng, report, known)
    rotation = refine(x, y, start, final_schedule(config), rng, report, "all rows", known)
    verdict = judge(rotation, (witnesses[0], witnesses[1]), x, y, config.whitening, rng)
    spaces = finish(natives, (x, y), rotation, verdict, config, rng, report)
    return SpaceFit(*spaces, report.history, verdict)


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
