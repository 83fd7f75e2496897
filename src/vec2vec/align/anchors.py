"""A first guess without pairs: cluster centroids of either space, matched through their own geometry.

The centroids of two samples of like texts stand in like relations to one another, whatever the encoder. Matching them
is a quadratic assignment; graduated assignment (Gold & Rangarajan 1996) solves it softly, from many starts in one
batch: a doubly stochastic match T, sharpened step by step, each time from the structure D_x T D_y that it implies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from vec2vec.align.whitening import unit

SHARPNESS = (1.0, 100.0)  # the inverse temperature of the match, from first to last step
STEPS = 60
MANY_CLUSTERS = 50  # with more, fewer starts
BALANCING = 10  # Sinkhorn iterations of a step
MIN_EXPONENT = -60.0  # of a match's kernel: what is less cannot be balanced in float32
PROFILE_WEIGHT = 3.0  # of the likeness of sorted similarity profiles, in a start


def first_guess(x: torch.Tensor, y: torch.Tensor, *, clusters: int, starts: int, seeds: Sequence[int]) -> torch.Tensor:
    """Cluster both sides, and match the centroids.

    The geometry is compared as it is given: whitened, the clusters blur, and the match is found less often.

    Parameters
    ----------
    x, y : (n, d_s) and (m, d_t) tensors of unit rows, unpaired
    clusters : centroids a side, fewer where there are few rows
    starts : matches begun at once; the one of the greatest energy counts
    seeds : of the clustering of either side, and of the starts

    Returns
    -------
    The cross-covariance k_x^T T k_y (d_s, d_t) of the matched centroids; its polar factor is the rotation.
    """
    clusters = max(4, min(clusters, min(len(x), len(y)) // 8))
    centres_x, centres_y = (_centroids(side, clusters, seed) for side, seed in zip((x, y), seeds[:2], strict=True))
    starts = max(1, min(starts, starts * MANY_CLUSTERS // clusters))  # the work grows with the square of the clusters
    similar_x, similar_y = unit(centres_x) @ unit(centres_x).T, unit(centres_y) @ unit(centres_y).T
    similar_y = _same_distribution(similar_y, similar_x)
    with threadpool_limits(1):  # small products: more threads wait for one another longer than they work
        match, _ = match_graphs(similar_x, similar_y, starts, torch.Generator().manual_seed(seeds[2]))
    return (centres_x.T @ match @ centres_y).to(x.device)


def match_graphs(
    similar_x: torch.Tensor, similar_y: torch.Tensor, starts: int, generator: torch.Generator
) -> tuple[torch.Tensor, float]:
    """Match the nodes of two weighted graphs by graduated assignment, from several random starts at once.

    Parameters
    ----------
    similar_x, similar_y : (k, k) symmetric similarities

    Returns
    -------
    (k, k) match with marginals 1 / k, and its energy sum_ij T_ij (D_x T D_y)_ij on standardised similarities
    """
    k = len(similar_x)
    profile = torch.cdist(similar_x.sort(dim=1).values, similar_y.sort(dim=1).values)
    profile = profile / profile.std().clamp_min(1e-12)
    noise = torch.randn(starts, k, k, generator=generator)
    trust = PROFILE_WEIGHT * torch.rand(starts, 1, 1, generator=generator)
    match = _balance(noise - trust * profile, 5 * BALANCING)
    left, right = _standardise(similar_x), _standardise(similar_y)
    for sharpness in torch.logspace(math.log10(SHARPNESS[0]), math.log10(SHARPNESS[1]), STEPS):
        match = _balance(sharpness * (left @ match @ right), BALANCING)
    energy = ((left @ match @ right) * match).sum(dim=(1, 2))
    best = int(energy.argmax())
    return match[best], float(energy[best])


def _centroids(side: torch.Tensor, clusters: int, seed: int) -> torch.Tensor:
    """k-means centroids (k, d), on one thread: more of them wait for one another longer than they work."""
    kmeans = KMeans(clusters, n_init=1, max_iter=50, random_state=seed)
    with threadpool_limits(1):
        centres = kmeans.fit(side.cpu().numpy()).cluster_centers_
    return torch.from_numpy(centres.astype(np.float32))


def _same_distribution(similar: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Off the diagonal, the values of `similar` replaced by those of `like` of the same rank."""
    off = ~torch.eye(len(similar), dtype=torch.bool)
    wanted, values = like[off].sort().values, similar[off]
    result = similar.clone()
    result[off] = wanted[values.argsort(stable=True).argsort(stable=True)]
    return result


def _standardise(similar: torch.Tensor) -> torch.Tensor:
    off = ~torch.eye(len(similar), dtype=torch.bool)
    values = similar[off]
    result = (similar - values.mean()) / values.std().clamp_min(1e-12)
    return result * off


def _balance(log_match: torch.Tensor, iterations: int) -> torch.Tensor:
    """Sinkhorn on a batch (b, k, k) of logarithms: rows and columns sum to about 1 / k, all to 1."""
    k = log_match.shape[1]
    kernel = (log_match - log_match.amax(dim=2, keepdim=True)).clamp_min(MIN_EXPONENT).exp()
    rows = torch.full_like(kernel[:, :, :1], 1.0 / k)
    for _ in range(iterations):
        columns = (1.0 / k) / (kernel.transpose(1, 2) @ rows)
        rows = (1.0 / k) / (kernel @ columns)
    match = rows * kernel * columns.transpose(1, 2)
    return match / match.sum(dim=(1, 2), keepdim=True)
