"""The transport baselines: they agree with POT called directly, and see no order of the rows."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment

from vec2vec.align.transport import (
    MATCHINGS,
    EmdConfig,
    GromovConfig,
    LowRankConfig,
    SinkhornMatchConfig,
    assign,
    barycentres,
    match,
)

ROWS = 40
pytestmark = pytest.mark.filterwarnings("ignore:Sinkhorn did not converge", "ignore:Low Rank")


@pytest.fixture(scope="module")
def views() -> tuple[np.ndarray, np.ndarray]:
    """The same 40 points in two spaces: clusters, a rotation into a wider space, a shift, a little noise."""
    rng = np.random.default_rng(3)
    points = (2 * rng.standard_normal((6, 5)))[rng.integers(0, 6, ROWS)] + rng.standard_normal((ROWS, 5))
    rotation = np.linalg.qr(rng.standard_normal((8, 5)))[0].T
    seen = points @ rotation + rng.standard_normal(8) + 0.01 * rng.standard_normal((ROWS, 8))
    return points.astype(np.float32), seen.astype(np.float32)


def prepared(x: np.ndarray, y: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred unit rows, the target shuffled: what a solver is given, made apart from the library."""
    x, y = (side.astype(np.float64) - side.mean(0, dtype=np.float64) for side in (x, y))
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    return x, y[order]


def padded_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 1 - np.pad(x, ((0, 0), (0, y.shape[1] - x.shape[1]))) @ y.T


def direct(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    weights = ot.unif(ROWS), ot.unif(ROWS)
    if name == "ot-emd":
        return ot.emd(*weights, padded_distance(x, y))
    if name == "ot-sinkhorn":
        return ot.sinkhorn(*weights, padded_distance(x, y), 0.05, method="sinkhorn_log")
    if name == "ot-gw":
        inner = 1 - x @ x.T, 1 - y @ y.T
        return ot.gromov.entropic_gromov_wasserstein(*inner, *weights, epsilon=0.01, max_iter=30, symmetric=True)
    q, r, g = ot.gromov.lowrank_gromov_wasserstein_samples(
        x, y, *weights, rank=5, numItermax=20, numItermax_dykstra=50, seed_init=7, warn=False
    )
    return q @ np.diag(1 / g) @ r.T


CONFIGS = {
    "ot-emd": EmdConfig(),
    "ot-sinkhorn": SinkhornMatchConfig(epsilon=0.05),
    "ot-gw": GromovConfig(epsilon=0.01, iterations=30),
    "ot-gw-low-rank": LowRankConfig(rank=5, iterations=20, balancing=50),
}


@pytest.mark.parametrize("name", MATCHINGS)
def test_a_plan_is_that_of_pot_called_directly(name: str, views: tuple[np.ndarray, np.ndarray]) -> None:
    order = np.random.default_rng(7).permutation(ROWS)
    plan = match(name, *views, CONFIGS[name], seed=7)
    expected = direct(name, *prepared(*views, order))
    np.testing.assert_allclose(plan[:, order], expected, atol=2e-6)
    assert plan.sum() == pytest.approx(1, abs=1e-3)
    assert expected.std() > 0


def test_gromov_wasserstein_finds_what_distances_tell_and_direct_costs_do_not(
    views: tuple[np.ndarray, np.ndarray],
) -> None:
    own = np.arange(ROWS)
    found = {name: assign(match(name, *views, CONFIGS[name], seed=0)) for name in ("ot-gw", "ot-emd")}
    assert np.mean(found["ot-gw"] == own) > 0.8
    assert np.mean(found["ot-emd"] == own) < 0.3


def test_the_order_of_the_target_rows_tells_nothing(views: tuple[np.ndarray, np.ndarray]) -> None:
    source, target = views
    order = np.random.default_rng(1).permutation(ROWS)
    config = CONFIGS["ot-sinkhorn"]
    plan, moved = (
        match("ot-sinkhorn", source, target, config, seed=0),
        match("ot-sinkhorn", source, target[order], config, seed=0),
    )
    np.testing.assert_allclose(moved, plan[:, order], atol=1e-7)


def test_the_assignment_collects_the_most_of_the_plan() -> None:
    plan = np.random.default_rng(0).random((30, 30))
    found = assign(plan)
    assert sorted(found) == list(range(30))
    best = linear_sum_assignment(-plan)
    assert plan[np.arange(30), found].sum() == pytest.approx(plan[best].sum())
    assert plan[np.arange(30), found].sum() > plan.trace()


@pytest.mark.parametrize("blocks", [1, 8])
def test_ties_are_not_broken_by_the_order_of_the_columns(blocks: int) -> None:
    found = assign(np.kron(np.eye(blocks), np.ones((256 // blocks, 256 // blocks))))
    assert sorted(found) == list(range(256))
    assert np.mean(found == np.arange(256)) < 4 * blocks / 256


def test_barycentres_are_weighted_means() -> None:
    plan = np.array([[0.5, 0.0], [0.1, 0.3]])
    target = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    np.testing.assert_allclose(barycentres(plan, target), [[1, 0], [0.25, 1.5]], rtol=1e-6)
