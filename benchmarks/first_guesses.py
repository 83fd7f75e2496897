"""Each unpaired first guess, before and after refinement, for `proving_ground.py`.

======================  ===========================================================================================
guess                   how, and what refines it
======================  ===========================================================================================
quadratic assignment    as published by mini-vec2vec, on all rows; its own two refinements
clusters                `vec2vec.align.anchors`, the best of as many as a fit makes; the fitter's rounds on that half
cumulants, half white   `vec2vec.align.cumulants`, along axes a little whitened; the same
cumulants, as they are  the same along axes as they are; the same
======================  ===========================================================================================

The last three are made as a fit makes them on the first half of the rows, in a draw of their own, and refined as a
witness is. No contest is held, nothing is bred, no second half is asked: that is what a fit adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from cases import Vectors
from verdict_calibration import truth

from vec2vec.align import mini
from vec2vec.align.anchors import first_guess
from vec2vec.align.halves import distinct_axes, refine_half
from vec2vec.align.mini import MiniConfig
from vec2vec.align.population import Population, given
from vec2vec.align.rounds import Reporter, Side
from vec2vec.align.schedules import SinkhornConfig, trial_schedule
from vec2vec.align.search import Search
from vec2vec.align.sinkhorn import linear_spaces, prepare, scaled
from vec2vec.align.whitening import polar
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Translator, linear_translator

Score = dict[str, float]
GUESSES = ("quadratic assignment", "clusters", "cumulants, half white", "cumulants, as they are")


def first_guesses(vectors: Vectors, seed: int) -> dict[str, dict[str, Score]]:
    """By guess: the top-1, the mean rank among 4,096, and the seconds, ``before`` and ``after`` its refinement."""
    return dict(zip(GUESSES, (_published(vectors, seed), *_of_the_fitter(vectors, seed)), strict=True))


def _published(vectors: Vectors, seed: int) -> dict[str, Score]:
    """The first of `GUESSES`: `vec2vec.align.mini.fit`, scored in the middle, too."""
    config, rng = MiniConfig(), np.random.default_rng(seed)
    began = time.perf_counter()
    natives = source, target = Preprocessor.fit(vectors.source), Preprocessor.fit(vectors.target)
    x, y = source.apply(vectors.source), target.apply(vectors.target)
    rows_x, rows_y = torch.from_numpy(x), torch.from_numpy(y)
    anchors = mini.find_anchors(x, y, config, rng, mini.Reporter(None))
    guess = mini.match_by_anchors(rows_x, rows_y, anchors, config.neighbours, mini.Reporter(None))
    before = _score(linear_translator(*natives, guess.numpy()), vectors, began)
    began = time.perf_counter()
    refined = mini.refine_by_neighbours(rows_x, rows_y, guess, config, rng, mini.Reporter(None)).numpy()
    refined = mini.refine_by_clusters(x, y, refined, config, rng, mini.Reporter(None))
    return {"before": before, "after": _score(linear_translator(*natives, refined), vectors, began)}


def _of_the_fitter(vectors: Vectors, seed: int) -> list[dict[str, Score]]:
    """The last three of `GUESSES`."""
    config, rng = SinkhornConfig(), np.random.default_rng(seed)
    natives, whole = prepare(vectors.source, vectors.target, config, torch.device("cpu"))
    axes = distinct_axes(*whole)
    x, y = (side.strongest(axes).halves(rng)[0] for side in whole)
    axes = distinct_axes(x, y)
    x, y = x.strongest(axes), y.strongest(axes)

    def scored(rotation: torch.Tensor, whitening: float, began: float) -> Score:
        sides = x.strongest(rotation.shape[0]), y.strongest(rotation.shape[1])
        source, target = scaled(linear_spaces(natives, sides, rotation, whitening), vectors.source, vectors.target)
        return _score(Translator({"source": source, "target": target}), vectors, began)

    def measured(guess: Callable[[], tuple[torch.Tensor, torch.Tensor]], whitening: float = 0.0) -> dict[str, Score]:
        began = time.perf_counter()
        start, known = guess()
        before = scored(start, whitening, began)
        began = time.perf_counter()
        refined = refine_half(x, y, known[: config.cumulant_axes], config, rng, Reporter(None, 1.0), "half")
        return {"before": before, "after": scored(refined, config.whitening, began)}

    def by_cumulants(whitening: float) -> tuple[torch.Tensor, torch.Tensor]:
        settings = config.model_copy(update={"guesses": 1, "cumulant_whitenings": (whitening,)})
        search = Search(x, y, settings, rng, "half", axes)
        search.go_on(Reporter(None, 1.0), generations=0)
        start = search.by_cumulants[whitening][0].start
        return start, start

    white, plain = max(config.cumulant_whitenings), min(config.cumulant_whitenings)
    return [
        measured(lambda: _by_clusters(x, y, config, rng)),
        measured(lambda: by_cumulants(white), white),
        measured(lambda: by_cumulants(plain), plain),
    ]


def _by_clusters(
    x: Side, y: Side, config: SinkhornConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The guess whose little refinement has the best transport, and that refinement."""
    low = Population(x.strongest(config.search_axes), y.strongest(config.search_axes), rng)
    tried = []
    for step in range(config.guesses):
        clusters = config.clusters[step % len(config.clusters)]
        a, b = (side.draw(config.cluster_rows, 0.0, rng) for side in (low.x, low.y))
        seeds = rng.integers(2**31, size=3).tolist()
        guess = polar(first_guess(a, b, clusters=clusters, starts=config.starts, seeds=seeds))
        (refined,) = low.refined([given(guess)], 1, trial_schedule(config))
        tried.append((refined, guess))
    best, guess = max(tried, key=lambda one: one[0].score)
    return guess, best.start


def _score(translator: Translator, vectors: Vectors, began: float) -> Score:
    seconds = time.perf_counter() - began
    forward = truth(translator, vectors)["forward"]
    return {"top1": forward["top1"], "rank": forward["rank"], "seconds": round(seconds, 1)}
