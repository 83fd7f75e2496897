"""Each step of mini-vec2vec against its published description (arXiv 2510.02348), written out in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.cluster import KMeans

from vec2vec.align.mini import MiniConfig, Reporter, match_by_anchors, refine_by_clusters, refine_by_neighbours

ROWS, WIDTH, NEAREST = 200, 6, 7


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def mean_of_nearest(queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    nearest = np.argsort(-(queries @ keys.T), axis=1)[:, :NEAREST]
    return values[nearest].mean(axis=1)


@pytest.fixture
def sides() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    x, y = (unit(rng.standard_normal((ROWS, WIDTH)) * np.linspace(1, 2, WIDTH)).astype(np.float32) for _ in range(2))
    return x, y, np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)


def test_pseudo_pairs_are_means_of_the_targets_of_like_similarities_to_the_anchors(
    sides: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, y, _ = sides
    anchors = x[:9] * 3, y[20:29] * 0.5
    found = match_by_anchors(torch.from_numpy(x), torch.from_numpy(y), anchors, NEAREST, Reporter(None))
    profiles = [unit(side @ unit(points).T) for side, points in zip((x, y), anchors, strict=True)]
    expected = orthogonal_procrustes(x, mean_of_nearest(*profiles, y))[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_a_round_of_refine_1_averages_procrustes_on_the_nearest_into_the_map(
    sides: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, y, start = sides
    config = MiniConfig(rounds=1, round_rows=ROWS, neighbours=NEAREST, averaging=0.5)
    found = refine_by_neighbours(
        torch.from_numpy(x),
        torch.from_numpy(y),
        torch.from_numpy(start),
        config,
        np.random.default_rng(0),
        Reporter(None),
    )
    new = orthogonal_procrustes(x, mean_of_nearest(unit(x @ start), y, y))[0]
    np.testing.assert_allclose(found.numpy(), 0.5 * start + 0.5 * new, atol=1e-4)


def test_refine_2_clusters_the_targets_from_the_mapped_centroids(
    sides: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, y, start = sides
    config = MiniConfig(final_clusters=12, averaging=0.5)
    found = refine_by_clusters(x, y, start, config, np.random.default_rng(4), Reporter(None))
    seed = int(np.random.default_rng(4).integers(2**31))
    centres_x = KMeans(12, n_init=1, random_state=seed).fit(x).cluster_centers_.astype(np.float32)
    centres_y = KMeans(12, init=centres_x @ start, n_init=1).fit(y).cluster_centers_.astype(np.float32)
    new = orthogonal_procrustes(centres_x, centres_y)[0]
    np.testing.assert_allclose(found, 0.5 * start + 0.5 * new, atol=1e-4)
