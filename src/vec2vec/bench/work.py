"""What is done in a cell: fit, translate, score. Every figure is one line of `Line` per set, direction and pool."""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from vec2vec import __version__
from vec2vec.bench.grid import Cell
from vec2vec.bench.places import Places
from vec2vec.bench.prepare import DOCUMENTS, QUERIES
from vec2vec.bench.worlds import (
    SOURCE_DRAW,
    TARGET_DRAW,
    TRUTH_DRAW,
    Rows,
    Truth,
    Words,
    World,
    open_world,
)
from vec2vec.evaluate.metrics import Direction, Retrieval, Scores, evaluate, fit_width, score
from vec2vec.evaluate.retrieval import SearchScores, neighbour_overlap, plan_places, search, translate_words
from vec2vec.machine import peak_mib
from vec2vec.vectors import Float32

Line = dict[str, Any]
Map = Callable[[Float32], Float32]
RESAMPLES = 200  # of the bootstrap of a single fit; the spread over seeds is what tables show
PICTURE = 40  # rows and columns of the heat map's matrix
SHOWN = 6  # decimals that are kept
PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "POT", "pyarrow")


@dataclass(frozen=True)
class Maps:
    """A translation in both directions, and what the fit said and took."""

    forward: Map
    backward: Map
    about: Line


def perform(places: Places, cell: Cell, threads: int) -> Line:
    """Fit and score a cell.

    Parameters
    ----------
    places : of the run
    cell : what to do
    threads : of the fit

    Returns
    -------
    ``about`` (verdict, seconds of the fit and of scoring, memory, versions, warnings), ``lines``, and for the heat map
    ``picture``.
    """
    world = open_world(places, cell)
    picture: Line | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if cell.kind == "matching":
            about, lines = run_matching(world, cell)
        elif cell.kind == "baseline":
            about, lines = run_baseline(world, cell)
        else:
            maps = run_fit(world, cell, threads)
            about = maps.about
            started = time.perf_counter()
            lines = score_maps(world, cell, maps) + search_maps(places, cell, maps)
            about["score_seconds"] = round(time.perf_counter() - started, 3)
            if cell.score_on:
                picture = draw_picture(world, cell, maps.forward)
    about |= {
        "peak_mib": peak_mib(),
        "cpu_seconds": round(time.process_time(), 3),
        "warnings": list(dict.fromkeys(f"{one.category.__name__}: {one.message}"[:300] for one in said)),
        "versions": {"vec2vec": __version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }
    return {"about": about, "lines": lines, "picture": picture}


# --- the methods ------------------------------------------------------------------------------------------------------


def run_fit(world: World, cell: Cell, threads: int) -> Maps:
    """A fitter on the drawn rows and pairs."""
    from vec2vec.align import fit

    sides = [_draw(world.side("source"), cell, SOURCE_DRAW), _draw(world.side("target"), cell, TARGET_DRAW)]
    pairs = None
    if cell.pairs:
        first = np.arange(cell.pairs)  # more pairs hold the fewer ones, too
        pairs = tuple(side.take(first) for side in world.known(cell.seed))
    started, worked = time.perf_counter(), time.process_time()
    found = fit(sides[0], sides[1], cell.runs, seed=cell.seed, pairs=pairs, threads=threads, **dict(cell.settings))
    seconds = time.perf_counter() - started
    verdict = found.verdict
    about = {
        "fit_seconds": round(seconds, 3),
        "fit_cpu_seconds": round(time.process_time() - worked, 3),
        "fit_peak_mib": peak_mib(),
        "fitted_rows": [found.record["rows"][side]["used"] for side in ("source", "target")],
        "fitted_pairs": found.record["pairs"],
        "verdict": verdict.label,
        "expected_top1": _number(verdict.expected_top1),
        "expected_low": _number(verdict.interval[0]),
        "expected_high": _number(verdict.interval[1]),
        "device": found.record["device"],
        "config": found.record["config"],
    }
    translate = found.translator.translate
    return Maps(translate, lambda x: translate(x, reverse=True), about)


def _draw(rows: Rows, cell: Cell, stream: int) -> npt.NDArray[Any]:
    """All rows (of a whole file, the file itself: a fit reads what it needs), or so many as the cell asks for."""
    if not isinstance(cell.rows, int):
        return rows.array if rows.index is None else rows.take()
    return rows.draw(cell.rows, np.random.default_rng([cell.seed, stream]))


class _Untranslated:
    """Two spaces as they are, for the baselines of `evaluate`."""

    spaces = ("source", "target")

    def __init__(self, widths: tuple[int, int]) -> None:
        self.widths = widths

    def translate(self, x: Any, *, source: str, target: str) -> Any:
        return fit_width(x, self.widths[self.spaces.index(target)])

    def latent(self, x: Any, *, space: str) -> Any:
        return fit_width(x, min(self.widths))


def run_baseline(world: World, cell: Cell) -> tuple[Line, list[Line]]:
    """Identity, mean vector or chance, as `vec2vec evaluate` gives them."""
    started = time.perf_counter()
    lines = []
    for name in cell.score_on:
        truth = world.truth(name)
        assert isinstance(truth, Truth)
        x, y = truth.source.take(), truth.target.take()
        found = evaluate(
            _Untranslated((x.shape[1], y.shape[1])), x, y, pools=_pools(cell, len(x)), bootstrap=RESAMPLES, seed=0
        )
        for direction, way in ((found.forward, "forward"), (found.backward, "backward")):
            scores = _baseline(direction, cell.runs)
            more: Line = {}
            if cell.neighbours and cell.runs == "identity":
                queries, native = (x, y) if way == "forward" else (y, x)
                more = {"overlap10": neighbour_overlap(fit_width(queries, native.shape[1]), native)}
            lines += score_lines(scores, name, way, more)
    return {"score_seconds": round(time.perf_counter() - started, 3)}, lines


def _baseline(direction: Direction, name: str) -> Scores:
    found = {"identity": direction.identity, "mean-vector": direction.mean_vector, "chance": direction.chance}[name]
    assert found is not None
    return found


def run_matching(world: World, cell: Cell) -> tuple[Line, list[Line]]:
    """A transport baseline on the texts that it is scored on, drawn by the seed; by argmax and Hungarian matching."""
    from vec2vec.align.transport import MATCHINGS, assign, barycentres, match
    from vec2vec.settings import make_settings

    config = make_settings(MATCHINGS[cell.runs].config, cell.settings, owner=f"the method {cell.runs}")
    import_module("ot")  # its loading is no part of the time
    lines = []
    seconds = 0.0
    for name in cell.score_on:
        truth = world.truth(name)
        assert isinstance(truth, Truth)
        rows = np.random.default_rng([cell.seed, TRUTH_DRAW]).permutation(len(truth.source))[: config.sample]
        x, y = truth.source.take(rows), truth.target.take(rows)
        started = time.perf_counter()
        plan = match(cell.runs, x, y, config, seed=cell.seed)
        seconds += time.perf_counter() - started
        for way, native, one in (("forward", y, plan), ("backward", x, plan.T)):
            places = plan_places(one)
            common = {"scored_on": name, "direction": way, "pool": len(x), "whole": True}
            own = barycentres(one, native)
            lines.append(common | vars(places) | {"matching": "argmax", "cosine": _mean_cosine(own, native)})
            column = assign(one)
            lines.append(
                common
                | {
                    "matching": "Hungarian",
                    "top1": float(np.mean(column == np.arange(len(column)))),
                    "cosine": _mean_cosine(native[column], native),
                }
            )
    return {"fit_seconds": round(seconds, 3), "fit_peak_mib": peak_mib()}, [_rounded(line) for line in lines]


def _mean_cosine(x: Float32, y: Float32) -> float:
    norms = np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1), 1e-12)
    return float(np.mean(np.einsum("ij,ij->i", x, y) / norms))


# --- the measures -----------------------------------------------------------------------------------------------------


def score_maps(world: World, cell: Cell, maps: Maps) -> list[Line]:
    """A map on every set, in both directions; on words in the direction of the dictionary."""
    lines = []
    for name in cell.score_on:
        truth = world.truth(name)
        if isinstance(truth, Words):
            lines += word_lines(truth, name, maps.forward)
            continue
        x, y = truth.source.take(), truth.target.take()
        for way, native, translated in (("forward", y, maps.forward(x)), ("backward", x, maps.backward(y))):
            found = score(translated, native, pools=_pools(cell, len(native)), bootstrap=RESAMPLES, seed=0)
            more = {"overlap10": neighbour_overlap(translated, native)} if cell.neighbours else {}
            lines += score_lines(found, name, way, more)
    return lines


def _pools(cell: Cell, rows: int) -> tuple[int | None, ...]:
    """The pools that the set can fill, and all its rows where it can fill none."""
    pools = tuple(None if size == "all" else int(size) for size in cell.pools if size == "all" or int(size) <= rows)
    return pools or (None,)


def score_lines(scores: Scores, name: str, way: str, more: Line) -> list[Line]:
    """A line for each pool, by cosine and by CSLS."""
    lines = []
    for pool in scores.pools:
        for matching, found in (("cosine", pool.cosine), ("CSLS", pool.csls)):
            line = {"scored_on": name, "direction": way, "pool": pool.size, "whole": pool.whole, "matching": matching}
            line |= {"cosine": scores.cosine.value, "centred_cosine": scores.centred_cosine.value}
            lines.append(_rounded(line | _retrieval(found) | more))
    return lines


def _retrieval(found: Retrieval) -> Line:
    return {
        "top1": found.top1.value,
        "top1_low": found.top1.low,
        "top1_high": found.top1.high,
        "top5": found.top5.value,
        "top16": found.top16.value,
        "mean_rank": found.mean_rank.value,
        "median_rank": found.median_rank.value,
    }


def word_lines(truth: Words, name: str, forward: Map) -> list[Line]:
    """Accuracy of word translation among all target words, by cosine and by CSLS."""
    targets = truth.target.take()
    found = translate_words(
        forward(truth.source.take(truth.queries)), targets, truth.answers, forward(truth.source.take())
    )
    common = {"scored_on": name, "direction": "forward", "pool": len(targets), "whole": True, "cosine": found.cosine}
    both = (("cosine", found.nearest), ("CSLS", found.csls))
    return [_rounded(common | {"matching": matching} | vars(places)) for matching, places in both]


def search_maps(places: Places, cell: Cell, maps: Maps) -> list[Line]:
    """Searches across the two spaces, beside both native systems."""
    lines = []
    for name in cell.searches:
        texts = json.loads((places.search(name) / "relevant.json").read_text())
        relevant = [{int(row): float(gain) for row, gain in gains} for gains in texts]
        vectors = {
            (space, part): np.load(places.search_vectors(name, space, part))
            for space in (cell.source, cell.target)
            for part in (QUERIES, DOCUMENTS)
        }
        native = {
            space: search(vectors[space, QUERIES], vectors[space, DOCUMENTS], relevant)
            for space in (cell.source, cell.target)
        }
        for way, near, far, translate in (
            ("forward", cell.source, cell.target, maps.forward),
            ("backward", cell.target, cell.source, maps.backward),
        ):
            found = {
                "translated documents": search(vectors[far, QUERIES], translate(vectors[near, DOCUMENTS]), relevant),
                "translated queries": search(translate(vectors[near, QUERIES]), vectors[far, DOCUMENTS], relevant),
            }
            for system, scores in found.items():
                line: Line = {"scored_on": f"search {name}", "direction": way, "system": system}
                line |= {"pool": len(vectors[far, DOCUMENTS]), "queries": len(relevant)}
                line |= vars(scores) | _ratios(scores, native[far], "target") | _ratios(scores, native[near], "source")
                lines.append(_rounded(line))
    return lines


def _ratios(found: SearchScores, native: SearchScores, side: str) -> Line:
    """The native scores, and the ratios to them; None where the native system finds nothing."""
    line: Line = {}
    for name, value in vars(native).items():
        line[f"{side}_{name}"] = value
        line[f"{name}_to_{side}"] = getattr(found, name) / value if value else None
    return line


def draw_picture(world: World, cell: Cell, forward: Map) -> Line | None:
    """Cosines of a few source vectors with native target vectors of the same texts, before and after."""
    truth = world.truth(cell.score_on[0])
    if isinstance(truth, Words):
        return None
    rows = np.sort(np.random.default_rng(0).permutation(len(truth.source))[:PICTURE])
    if truth.domains is not None:
        rows = rows[np.argsort(truth.domains[rows], kind="stable")]
    x, y = truth.source.take(rows), truth.target.take(rows)
    native = y / np.linalg.norm(y, axis=1, keepdims=True)

    def cosines(queries: Float32) -> list[list[float]]:
        unit = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
        matrix: list[list[float]] = np.round((unit @ native.T).astype(np.float64), 3).tolist()
        return matrix

    domains = None if truth.domains is None else truth.domains[rows].tolist()
    return {"before": cosines(fit_width(x, y.shape[1])), "after": cosines(forward(x)), "domains": domains}


# --- the record -------------------------------------------------------------------------------------------------------


def _rounded(line: Line) -> Line:
    return {key: round(value, SHOWN) if isinstance(value, float) else value for key, value in line.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
