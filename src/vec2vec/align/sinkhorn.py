"""Sinkhorn-Procrustes, the fast default: alternate optimal transport between samples and a rotation.

Read from top to bottom: `fit` prepares both sides; `vec2vec.align.search` solves the problem from nothing on one half
of the rows, roughly and in the strongest axes, and refines what it found; `vec2vec.align.witnesses` has that done
twice; where the two are consistent, `bag` solves it again on other halves, from what the two say of the strongest axes,
and `vec2vec.align.rounds.refine` improves the mean of the last maps on all rows; else it improves either witness first,
of which the better one counts, and `vec2vec.align.reflections` mends what that has the wrong way round;
`vec2vec.align.judge` says how much to trust it, and `vec2vec.align.sharpen` adapts what was found to a plain search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import torch

from vec2vec.align.base import ProgressCallback, SpaceFit
from vec2vec.align.halves import consistent, distinct_axes, mean_map, refine_half, transport_scores
from vec2vec.align.judge import ENOUGH_ROWS, ROWS_TO_COMPARE, clearly_apart, gather_evidence, verdict_from
from vec2vec.align.reflections import reflected_back
from vec2vec.align.rounds import PROBE_ROWS, Pairs, Reporter, Side, balanced, extend, refine
from vec2vec.align.schedules import (
    SHARPENING_WORK,
    RefinementConfig,
    SinkhornConfig,
    bag_work,
    final_schedule,
    final_work,
    half_work,
    sharpening_work,
    weaker_work,
    witness_work,
)
from vec2vec.align.search import CONSENT, RIVALS, Search
from vec2vec.align.sharpen import sharper_decode
from vec2vec.align.whitening import Axes, thin_svd, unit
from vec2vec.align.witnesses import DIFFERENT, GAP_DRAWS, independent_witnesses
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Space
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

MORE_AXES = 2  # times as many, in the end, as a map is found in
SURE = 0.8  # consistency of two maps from which on more bags, or reflections, add nothing


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
    progress : called after every round, of what is computed at once after all of it
    device : where the products are computed; the CPU if None
    """
    rng = np.random.default_rng(seed)
    native, (wide_x, wide_y) = prepare(source, target, config, device or torch.device("cpu"))
    axes = distinct_axes(wide_x, wide_y)
    x, y = wide_x.strongest(axes), wide_y.strongest(axes)
    half = x.as_many_as_a_half(), y.as_many_as_a_half()
    work = 2 * witness_work(*half, config) + bag_work(*half, config) + final_work(x, y, config)
    work += weaker_work(wide_x, wide_y, axes, config) + sharpening_work(config)
    report = Reporter(progress, work)
    witnesses = independent_witnesses(x, y, config, rng, report)
    alike = consistent(witnesses.maps, x, config, rng)
    apart = rng.spawn(1)[0]  # for rivals of what comes of the witnesses, whatever that draws
    rotation, gap = consensus(witnesses.maps, alike, x, y, config, rng, report)
    verdict = judge(rotation, witnesses.maps, x, y, config.whitening, rng, witnesses.lead, gap)
    if verdict.label == "uncertain" and verdict.evidence["rows"] >= ROWS_TO_COMPARE:
        lead = final_lead(rotation, witnesses.searches, alike, x, y, config, apart, report)
        if lead is not None:
            verdict = verdict_from(verdict.evidence | {"final_lead": lead})
    sides, rotation = with_weaker_axes(rotation, wide_x, wide_y, config, rng, report)
    spaces = scaled(finish(native, sides, rotation, verdict, config, rng, report), source, target)
    return SpaceFit(*spaces, report.history, verdict)


def final_lead(
    rotation: torch.Tensor,
    searches: Sequence[Search],
    alike: float,
    x: Side,
    y: Side,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> float | None:
    """How much better the transport of the final map (r, s) is than that of others; None if there is none.

    The others are, of either half, the best candidate that translates otherwise, refined on all rows; where these
    become the final map, too, the next ones. A map that is right gains more by that than one that is wrong, so that it
    is further ahead than its witnesses were.
    """

    def unlike(one: torch.Tensor) -> bool:
        return consistent((rotation, one), x, config, rng) <= CONSENT

    def refined(start: torch.Tensor, name: str) -> torch.Tensor | None:
        report.expect(half_work(x, y, config))
        rough = refine_half(x, y, start[: config.cumulant_axes], config, rng, report, name)
        if not unlike(rough):
            return None
        report.expect(final_work(x, y, config))
        schedule = final_schedule(config, x, y, far=alike < DIFFERENT)
        whole = refine(x, y, rough, schedule, rng, report, f"all rows, {name}")
        return whole if unlike(whole) else None

    for starts in zip_longest(*(search.starts_unlike(rotation)[:RIVALS] for search in searches)):
        rivals = [refined(one, f"rival {i}") for i, one in enumerate(starts, 1) if one is not None]
        others = [one for one in rivals if one is not None]
        if others:
            own, *scores = transport_scores([rotation, *others], x, y, config.whitening, rng, GAP_DRAWS)
            return own - max(scores)
    return None


def with_weaker_axes(
    rotation: torch.Tensor, x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator, report: Reporter
) -> tuple[tuple[Side, Side], torch.Tensor]:
    """A map (r, s) of the strongest axes, refined in twice as many, if there are more; and the sides along these.

    Rows that are too few to find a map in so many axes are enough to go on to the next ones from what is found.
    """
    known = max(rotation.shape)
    sides = x.strongest(MORE_AXES * known), y.strongest(MORE_AXES * known)
    shape = sides[0].width, sides[1].width
    if shape == rotation.shape:
        return sides, rotation
    start = extend(rotation, shape, rng)
    return sides, refine(*sides, start, final_schedule(config, *sides), rng, report, "weaker axes")


def finish(
    natives: list[Preprocessor],
    sides: tuple[Side, Side],
    rotation: torch.Tensor,
    verdict: Verdict,
    config: RefinementConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> tuple[Space, Space]:
    """The spaces of a map, not yet `scaled`: sharpened (`vec2vec.align.sharpen`), if it is not known to have failed."""
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
    config: RefinementConfig,
    rng: np.random.Generator,
    report: Reporter,
    stage: str,
) -> Float32:
    """The target's decode, adapted to the transport plans of a map (r, s) at the temperature that it was refined at."""
    mapped, natives = (side.axes.whiten(side.rows, config.whitening) for side in sides)
    mapped = mapped @ rotation
    temperature = final_schedule(config, *sides).temperature[1]

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
    source: Float32, target: Float32, config: RefinementConfig, device: torch.device
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
    """Both spaces, rotated into the common subspace of `rotation` (r, s), their latent; not yet `scaled`."""
    u, _, vt = thin_svd(rotation)
    into, out_of = [], []
    for side, turn in zip(sides, (u, vt.T), strict=True):
        scale = side.axes.scale(whitening)
        into.append((side.axes.directions / scale) @ turn)
        out_of.append(turn.T @ (side.axes.directions * scale).T)
    first, second = (
        Space(native, basis.cpu().numpy(), decode.contiguous().cpu().numpy())
        for native, basis, decode in zip(natives, into, out_of, strict=True)
    )
    return first, second


def scaled(spaces: tuple[Space, Space], source: Float32, target: Float32) -> tuple[Space, Space]:
    """Both spaces, their translations with a root mean square of 1, as z has.

    Whitening and colouring do not keep it, nor do the axes, where these do not span the space.
    """
    first, second = spaces
    lengths = []
    for here, there, x in ((second, first, target), (first, second, source)):
        z = here.preprocessor.apply(x[:: max(1, len(x) // PROBE_ROWS)])
        lengths.append(np.sqrt(np.square(z @ here.basis @ there.decode).sum(axis=1).mean()))
    first, second = (
        replace(space, decode=space.decode / length) for space, length in zip(spaces, lengths, strict=True)
    )
    return first, second


def consensus(
    witnesses: tuple[torch.Tensor, torch.Tensor],
    alike: float,
    x: Side,
    y: Side,
    config: SinkhornConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> tuple[torch.Tensor, float | None]:
    """The map of all rows that two witnesses lead to, and how far apart they are in the score of their transport.

    What comes of consistent ones (`alike` is their consistency) is what `bag` makes of them, since errors are their
    own; they are not compared (None). Else one may be right, and spoilt by the other. So either is refined on all rows,
    and where they agree in part their mean is, too: a right map gets further ahead of a wrong one by that. The one of
    the best transport counts; if it is about right, because they agree in part or because it is clearly better, it goes
    on with bags of its own. Of few rows this score says too little to leave a witness out that agrees in part. What the
    bags begin with is rid of reflected axes first (`vec2vec.align.reflections`), unless the witnesses agree well or the
    rows are few.
    """
    rows = min(len(x), len(y))

    def on_all_rows(start: torch.Tensor) -> torch.Tensor:
        return refine(x, y, start, final_schedule(config, x, y, far=alike < DIFFERENT), rng, report, "all rows")

    def bagged(maps: Sequence[torch.Tensor]) -> torch.Tensor:
        better: torch.Tensor | None = None
        if config.bags and alike < SURE and rows >= ENOUGH_ROWS:
            apart = rng.spawn(1)[0]  # where nothing is to be reflected, the fit goes on as without
            better = reflected_back(mean_map(maps), x, y, config, apart, report)
        return on_all_rows(bag(maps, x, y, config, rng, report, None, better))

    if alike >= DIFFERENT or (alike > CONSENT and rows < ROWS_TO_COMPARE):
        return bagged(witnesses), None
    starts = [*witnesses, mean_map(witnesses)] if alike > CONSENT else witnesses
    report.expect(len(starts) * final_work(x, y, config))
    refined = [on_all_rows(one) for one in starts]
    scores = transport_scores(refined, x, y, config.whitening, rng, GAP_DRAWS)
    best, gap = refined[int(np.argmax(scores))], abs(scores[0] - scores[1])
    if alike > CONSENT or clearly_apart(gap, rows):
        return bagged([best]), gap
    report.expect(-bag_work(x.as_many_as_a_half(), y.as_many_as_a_half(), config) - final_work(x, y, config))
    return best, gap


def bag(
    maps: Sequence[torch.Tensor],
    x: Side,
    y: Side,
    config: RefinementConfig,
    rng: np.random.Generator,
    report: Reporter,
    pairs: Pairs | None = None,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of the last of maps that are about right and more of their kind (Breiman 1996, "Bagging predictors").

    Each of these is refined on a half of the rows, from the strongest axes alone of the mean so far: what a map says of
    the weaker ones depends on where it started, so that one that knew them would repeat the mean's errors. A `start`
    (q, p) is what is known of the strongest axes in place of any maps.
    """
    every = list(maps) if start is None else []
    for i in range(config.bags):
        known = start if start is not None and not every else mean_map(every)[: config.kept_axes]
        fresh = []
        for j, (half_x, half_y) in enumerate(zip(x.halves(rng), y.halves(rng), strict=True), 1):
            fresh.append(refine_half(half_x, half_y, known, config, rng, report, f"bag {2 * i + j}", pairs))
        every += fresh
        if i + 1 == config.bags or consistent(fresh, x, config, rng) > SURE:
            break
        report.expect(bag_work(half_x, half_y, config))
    return mean_map(every)
