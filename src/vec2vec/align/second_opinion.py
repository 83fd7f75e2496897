"""The verdict on a map that another method found: is it consistent with what the fast fitter finds from nothing?"""

from __future__ import annotations

import numpy as np
import torch

from vec2vec.align.base import ProgressCallback
from vec2vec.align.halves import distinct_axes
from vec2vec.align.judge import Map, gather_evidence, verdict_from
from vec2vec.align.rounds import Reporter
from vec2vec.align.schedules import SinkhornConfig, witness_work
from vec2vec.align.sinkhorn import prepare
from vec2vec.align.whitening import Axes, polar, unit
from vec2vec.align.witnesses import independent_witnesses
from vec2vec.translator import NetworkSpace, Space
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

AnySpace = Space | NetworkSpace
LEAST_ROWS = 256  # of a side: halves of fewer have no clusters to speak of


def second_opinion(
    spaces: tuple[AnySpace, AnySpace],
    source: Float32,
    target: Float32,
    *,
    seed: int,
    device: torch.device,
    progress: ProgressCallback | None = None,
) -> Verdict | None:
    """Judge the map between two spaces by witnesses of its own (`vec2vec.align.sinkhorn`), without pairs.

    Its consistency counts as that with the witness it agrees with less, so that a map does not profit from two
    witnesses that fail alike.

    Parameters
    ----------
    spaces : of the source and of the target
    source, target : (n, d_s) and (m, d_t) float32 arrays, those that the map was fitted on
    seed : of the witnesses
    progress : called after every round of their search

    Returns
    -------
    None where there are too few rows for witnesses.
    """
    if min(len(source), len(target)) < LEAST_ROWS:
        return None
    config = SinkhornConfig()
    rng = np.random.default_rng(seed)
    _, (x, y) = prepare(source, target, config, device)
    axes = distinct_axes(x, y)
    x, y = x.strongest(axes), y.strongest(axes)
    report = Reporter(progress, 2 * witness_work(x.as_many_as_a_half(), y.as_many_as_a_half(), config))
    witnesses = independent_witnesses(x, y, config, rng, report)
    a, b = (side.axes.whiten(side.rows, config.whitening) for side in (x, y))
    judged = _in_their_axes(spaces, x.axes, y.axes, config.whitening)
    opinions = [gather_evidence(judged, (judged, one), a, b, rng, witnesses.lead) for one in witnesses.maps]
    return verdict_from(min(opinions, key=lambda one: one["consistency"]))


def _in_their_axes(spaces: tuple[AnySpace, AnySpace], left: Axes, right: Axes, whitening: float) -> Map:
    """The map between two spaces, as one between whitened rows along their axes."""
    source, target = spaces
    native = left.directions * left.scale(whitening)  # back from a whitened row, but for its length
    if isinstance(source, Space) and isinstance(target, Space):
        into, out_of = (torch.from_numpy(m).to(native) for m in (source.basis, target.decode))
        return polar(native.T @ into @ out_of @ right.directions / right.scale(whitening))
    assert isinstance(source, NetworkSpace)
    assert isinstance(target, NetworkSpace)
    network, pair = source.network, (source.index, target.index)

    def translated(rows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            z = network.translate(unit(rows @ native.T).cpu(), *pair)
        return z.clone().to(rows) @ right.directions / right.scale(whitening)

    return translated
