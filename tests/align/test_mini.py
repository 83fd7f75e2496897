from __future__ import annotations

import numpy as np
import pytest
import torch

from vec2vec.align.base import LinearFit, Progress, make_config
from vec2vec.align.mini import MiniConfig, fit, match_centroids
from vec2vec.errors import ConfigError

HIDDEN, ROWS, HELD_OUT = 8, 3000, 500
SMALL = MiniConfig(
    anchor_rounds=6,
    clusters=10,
    cluster_rows=1500,
    restarts=10,
    neighbours=10,
    rounds=20,
    round_rows=500,
    final_clusters=40,
)

Spaces = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def two_views(source: int = 24, target: int = 40, seed: int = 0) -> Spaces:
    """Unpaired rows of two spaces, and held-out rows of both, row-aligned.

    Ten clusters of unequal weights, seen through an isometry, a shift and some noise of either space's own.
    """
    rng = np.random.default_rng(seed)
    weights = np.linspace(1, 3, 10)
    centres = 1.5 * rng.standard_normal((10, HIDDEN))

    def points(rows: int) -> np.ndarray:
        chosen = rng.choice(10, rows, p=weights / weights.sum())
        return centres[chosen] + 0.4 * rng.standard_normal((rows, HIDDEN))

    views = [
        (np.linalg.qr(rng.standard_normal((width, HIDDEN)))[0].T, rng.standard_normal(width))
        for width in (source, target)
    ]

    def see(x: np.ndarray, side: int) -> np.ndarray:
        view, shift = views[side]
        return np.asarray(x @ view + shift + 0.02 * rng.standard_normal((len(x), view.shape[1])), np.float32)

    left, right, held_out = points(ROWS), points(ROWS), points(HELD_OUT)
    return see(left, 0), see(right, 1), see(held_out, 0), see(held_out, 1)


def translate(found: LinearFit, x: np.ndarray) -> np.ndarray:
    z = found.source.apply(x) @ found.weight
    return found.target.invert((z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32))


def top1(queries: np.ndarray, truth: np.ndarray) -> float:
    """Share of rows whose nearest native vector, centred on the native mean, is their own."""
    mean = truth.mean(0)
    a, b = ((x - mean) / np.linalg.norm(x - mean, axis=1, keepdims=True).clip(1e-9) for x in (queries, truth))
    return float(((a @ b.T).argmax(1) == np.arange(len(b))).mean())


@pytest.fixture(scope="module")
def views() -> Spaces:
    return two_views()


@pytest.fixture(scope="module")
def found(views: Spaces) -> LinearFit:
    return fit(views[0], views[1], SMALL, seed=1)


def test_it_aligns_what_can_be_aligned(views: Spaces, found: LinearFit) -> None:
    _, target, left, right = views
    translated = translate(found, left)
    identity = np.pad(left, ((0, 0), (0, right.shape[1] - left.shape[1])))
    mean = np.repeat(target.mean(0)[None], len(right), 0)
    assert found.weight.shape == (24, 40)
    assert found.weight.dtype == np.float32
    assert top1(translated, right) > 0.5
    assert top1(identity, right) < 0.05
    assert top1(mean, right) < 0.05


def test_a_shuffled_truth_scores_at_chance(views: Spaces, found: LinearFit) -> None:
    shuffled = views[3][np.random.default_rng(0).permutation(HELD_OUT)]
    assert top1(translate(found, views[2]), shuffled) < 0.03


def test_from_the_wider_space_to_the_narrower() -> None:
    source, target, left, right = two_views(40, 24)
    found = fit(source, target, SMALL, seed=1)
    assert found.weight.shape == (40, 24)
    assert top1(translate(found, left), right) > 0.5


def test_one_seed_gives_one_map_and_another_seed_another(views: Spaces, found: LinearFit) -> None:
    again = fit(views[0], views[1], SMALL, seed=1)
    other = fit(views[0], views[1], SMALL, seed=2)
    np.testing.assert_array_equal(again.weight, found.weight)
    assert not np.array_equal(other.weight, found.weight)


def test_the_input_is_left_as_it_was(views: Spaces) -> None:
    source, target = views[0].copy(), views[1].copy()
    fit(source, target, SMALL.model_copy(update={"rounds": 1, "anchor_rounds": 1}), seed=0)
    np.testing.assert_array_equal(source, views[0])
    np.testing.assert_array_equal(target, views[1])


def test_the_weight_is_near_an_isometry(found: LinearFit) -> None:
    strengths = np.linalg.svd(found.weight, compute_uv=False)
    assert strengths.max() <= 1 + 1e-5  # an average of isometries is never longer than they are


def test_every_stage_reports_its_progress_and_the_estimate_ends_at_nothing(views: Spaces) -> None:
    seen: list[Progress] = []
    found = fit(views[0], views[1], SMALL, seed=1, progress=seen.append, device=torch.device("cpu"))
    assert list(dict.fromkeys(p.stage for p in seen)) == ["anchors", "pseudo-pairs", "neighbours", "clusters"]
    for stage, total in (("anchors", 6), ("pseudo-pairs", 3), ("neighbours", 20), ("clusters", 2)):
        steps = [(p.step, p.total) for p in seen if p.stage == stage]
        assert steps[-1] == (total, total)
        assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    assert seen[-1].remaining == pytest.approx(0, abs=1e-6)
    assert all(-1 <= line["score"] <= 1 + 1e-6 for line in found.history)
    refined = [line["score"] for line in found.history if line["stage"] == "neighbours"]
    assert len(refined) == 20
    assert refined[-1] > refined[0]


def test_refinement_can_be_left_out(views: Spaces) -> None:
    seen: list[Progress] = []
    config = SMALL.model_copy(update={"rounds": 0, "final_clusters": 0})
    found = fit(views[0], views[1], config, seed=1, progress=seen.append)
    assert {p.stage for p in seen} == {"anchors", "pseudo-pairs"}
    np.testing.assert_allclose(found.weight @ found.weight.T, np.eye(24), atol=1e-5)


def test_fewer_rows_than_clusters_or_neighbours() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((rows, 6)).astype(np.float32) for rows in (15, 12))
    found = fit(x, y, MiniConfig(anchor_rounds=2, restarts=2, rounds=2), seed=0)
    assert np.isfinite(found.weight).all()


def test_fewer_rows_are_drawn_than_there_are_clusters(views: Spaces) -> None:
    config = MiniConfig(anchor_rounds=1, restarts=1, rounds=1, clusters=20, cluster_rows=15, final_clusters=0)
    assert np.isfinite(fit(views[0], views[1], config, seed=0).weight).all()


def test_centroids_are_matched_by_their_geometry_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 12)).astype(np.float32)
    order = rng.permutation(8)
    rotation = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    y = (x[order] @ rotation + 3).astype(np.float32)
    matched, score = match_centroids(x, y, 40, np.random.default_rng(1))
    np.testing.assert_array_equal(order[matched], np.arange(8))
    assert score == pytest.approx(1, abs=1e-5)


def test_the_defaults_are_the_published_settings() -> None:
    published = {
        "anchor_rounds": 30,
        "clusters": 20,
        "cluster_rows": 10_000,
        "restarts": 30,
        "neighbours": 50,
        "rounds": 100,
        "round_rows": 1_000,
        "final_clusters": 500,
        "averaging": 0.5,
    }
    config = MiniConfig().model_dump()
    assert {key: config[key] for key in published} == published


@pytest.mark.parametrize(
    "setting", [{"clusters": 1}, {"averaging": 0.0}, {"averaging": 1.5}, {"neighbours": 0}, {"rounds": -1}]
)
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        make_config(MiniConfig, setting, method="mini")
