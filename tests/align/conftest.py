from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

CLUSTERS, HIDDEN, ROWS, HELD_OUT = 12, 10, 3000, 500


@dataclass(frozen=True)
class World:
    """Unpaired rows of two spaces, and held-out rows of both, row-aligned."""

    source: np.ndarray
    target: np.ndarray
    source_eval: np.ndarray
    target_eval: np.ndarray


@pytest.fixture(scope="session")
def world() -> World:
    """Clusters of unequal weights, seen through an isometry, a shift and noise of either space's own."""
    rng = np.random.default_rng(0)
    weights = np.linspace(1, 3, CLUSTERS)
    centres = 1.5 * rng.standard_normal((CLUSTERS, HIDDEN))

    def points(rows: int) -> np.ndarray:
        chosen = rng.choice(CLUSTERS, rows, p=weights / weights.sum())
        return centres[chosen] + 0.5 * rng.standard_normal((rows, HIDDEN))

    views = [(np.linalg.qr(rng.standard_normal((w, HIDDEN)))[0].T, rng.standard_normal(w)) for w in (24, 40)]

    def see(x: np.ndarray, side: int) -> np.ndarray:
        view, shift = views[side]
        return np.asarray(x @ view + shift + 0.02 * rng.standard_normal((len(x), view.shape[1])), np.float32)

    left, right, held_out = points(ROWS), points(ROWS), points(HELD_OUT)
    return World(see(left, 0), see(right, 1), see(held_out, 0), see(held_out, 1))
