from __future__ import annotations

import numpy as np
import pytest
import torch

from vec2vec.align.rounds import Reporter
from vec2vec.align.schedules import SinkhornConfig
from vec2vec.align.sharpen import coverage
from vec2vec.align.sinkhorn import finish, prepare
from vec2vec.align.whitening import polar, unit
from vec2vec.translator import Translator
from vec2vec.verdict import Verdict

ROWS, HELD_OUT = 4000, 1000
WIDTHS = 80, 72


def top1(queries: np.ndarray, truth: np.ndarray) -> float:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, truth))
    return float(((a @ b.T).argmax(1) == np.arange(len(a))).mean())


def two_views(hidden: int, clusters: int, noise: float, stretch: float, decay: float) -> list[np.ndarray]:
    """Source and target, unpaired, and the same held-out points in both; `stretch` is what no rotation can undo."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, hidden + 1.0) ** -decay
    centres = rng.standard_normal((clusters, hidden))
    turns = [np.linalg.qr(rng.standard_normal((width, hidden)))[0].T for width in WIDTHS]
    scales = [np.ones(hidden), np.exp(stretch * rng.standard_normal(hidden))]
    offsets = [0.5 * rng.standard_normal(width) for width in WIDTHS]

    def points(count: int) -> np.ndarray:
        return (centres[rng.integers(0, clusters, count)] + rng.standard_normal((count, hidden))) * spectrum

    def seen(x: np.ndarray, i: int) -> np.ndarray:
        blurred = x + noise * spectrum * rng.standard_normal(x.shape)
        return (blurred * scales[i] @ turns[i] + offsets[i]).astype(np.float32)

    held = points(HELD_OUT)
    return [seen(points(ROWS), 0), seen(points(ROWS), 1), seen(held, 0), seen(held, 1)]


def scores(sets: list[np.ndarray], sharpening: int, label: str = "aligned") -> tuple[float, float]:
    """Top-1 in both directions after `finish`, from the map that the held-out pairs give: its end alone is tested."""
    config = SinkhornConfig(sharpening=sharpening)
    natives, (x, y) = prepare(sets[0], sets[1], config, torch.device("cpu"))
    known = [
        side.axes.whiten(unit(torch.from_numpy(native.apply(held)) @ side.axes.directions), config.whitening)
        for side, native, held in zip((x, y), natives, sets[2:], strict=True)
    ]
    verdict = Verdict(label, 0.8, (0.5, 0.9), {}, "For a test.")
    rng, report = np.random.default_rng(0), Reporter(None, 1.0)
    spaces = finish(natives, (x, y), polar(known[0].T @ known[1]), verdict, config, rng, report)
    translator = Translator({"a": spaces[0], "b": spaces[1]})
    there, back = translator.translate(sets[2]), translator.translate(sets[3], reverse=True)
    return top1(there, sets[3]), top1(back, sets[2])


def test_a_search_with_hubs_finds_more_in_both_directions():
    sets = two_views(hidden=60, clusters=40, noise=1.0, stretch=0.5, decay=0.5)
    before, after = scores(sets, 0), scores(sets, 40)
    assert after[0] > before[0] + 0.05
    assert after[1] > before[1] + 0.03


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_few_dimensions_without_hubs_lose_nothing_to_speak_of(noise):
    sets = two_views(hidden=10, clusters=12, noise=noise, stretch=0.0, decay=0.0)
    before, after = scores(sets, 0), scores(sets, 40)
    assert min(after[0] - before[0], after[1] - before[1]) > -0.03


def test_a_map_that_failed_is_not_sharpened():
    sets = two_views(hidden=60, clusters=40, noise=1.0, stretch=0.5, decay=0.5)
    assert scores(sets, 40, label="not aligned") == scores(sets, 0)


def test_a_map_that_a_search_does_not_profit_from_is_left_as_it_was(monkeypatch):
    sets = two_views(hidden=60, clusters=40, noise=1.0, stretch=0.5, decay=0.5)
    seen = []
    monkeypatch.setattr("vec2vec.align.sharpen.coverage", lambda _: seen.append(1) or -float(len(seen)))
    assert scores(sets, 5) == scores(sets, 0)
    assert seen


def test_coverage_is_the_share_that_is_found():
    assert coverage(torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0]])) == pytest.approx(1 / 3)
    assert coverage(torch.eye(3)) == 1.0
