"""mini-vec2vec as published, for comparison (Dar 2025, arXiv 2510.02348).

Read from top to bottom: `find_anchors` (Algorithm 2), `match_by_anchors` (pseudo-pairs), `refine_by_neighbours`
(Refine-1, Algorithm 3), `refine_by_clusters` (Refine-2, Algorithm 4). What the paper leaves open is as in its
reference code (guy-dar/mini-vec2vec): the cluster counts, the centred Gram matrices that the quadratic assignment
matches, ten thousand vectors for each clustering, and averaging by one half.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.optimize import quadratic_assignment
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from vec2vec.align.base import FitConfig, LinearFit, Progress, ProgressCallback
from vec2vec.align.whitening import polar, unit
from vec2vec.preprocess import Preprocessor

Float32 = npt.NDArray[np.float32]
SHARES = {"anchors": 0.5, "pseudo-pairs": 0.2, "neighbours": 0.2, "clusters": 0.1}  # of the time, stage by stage
BLOCK = 1024  # source rows whose similarities to all targets are held at a time


class MiniConfig(FitConfig):
    """Settings of ``method="mini"``; the defaults are the published ones.

    Attributes
    ----------
    anchor_rounds : times that anchors are found; all of them together describe a vector
    clusters : k-means clusters on either side in each of these rounds, as many as there are rows at most
    cluster_rows : vectors of either side drawn for each of these clusterings
    restarts : random starts of the quadratic assignment
    neighbours : nearest targets whose mean is a pseudo-pair
    rounds, round_rows : Refine-1: rounds, and source vectors drawn in each
    final_clusters : Refine-2: k-means clusters on either side; 0 leaves it out
    averaging : weight of a new map in the average with the old one
    """

    anchor_rounds: int = Field(default=30, ge=1)
    clusters: int = Field(default=20, ge=2)
    cluster_rows: int = Field(default=10_000, ge=2)
    restarts: int = Field(default=30, ge=1)
    neighbours: int = Field(default=50, ge=1)
    rounds: int = Field(default=100, ge=0)
    round_rows: int = Field(default=1_000, ge=1)
    final_clusters: int = Field(default=500, ge=0)
    averaging: float = Field(default=0.5, gt=0.0, le=1.0)

    @property
    def judges(self) -> bool:
        """See `FitConfig.judges`."""
        return False


def fit(
    source: Float32,
    target: Float32,
    config: MiniConfig,
    *,
    seed: int,
    progress: ProgressCallback | None = None,
    device: torch.device | None = None,
) -> LinearFit:
    """Align two unpaired sets of vectors by mini-vec2vec.

    The score in the progress and the history needs no labels: the agreement of the matched similarities (a
    correlation) while anchors are found, then the mean cosine of mapped vectors to the targets they are matched with.

    Parameters
    ----------
    source : (n, d_s) float32 array
    target : (m, d_t) float32 array; no row needs to belong to a row of `source`
    config : the settings
    seed : the same seed gives the same map, with the same number of threads on the same machine
    progress : called after every round of every stage
    device : where the similarities are computed; the CPU if None

    Returns
    -------
    LinearFit whose weight, an average of orthogonal maps, is (d_s, d_t) float32 between centred, normalised vectors
    """
    device = device or torch.device("cpu")
    rng = np.random.default_rng(seed)
    left, right = Preprocessor.fit(source), Preprocessor.fit(target)
    x, y = left.apply(source), right.apply(target)
    report = Reporter(progress)

    anchors = find_anchors(x, y, config, rng, report)
    x_dev, y_dev = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    w = match_by_anchors(x_dev, y_dev, anchors, config.neighbours, report)
    w = refine_by_neighbours(x_dev, y_dev, w, config, rng, report)
    weight = w.cpu().numpy()
    if config.final_clusters:
        weight = refine_by_clusters(x, y, weight, config, rng, report)
    return LinearFit(weight=weight, history=report.history, source=left, target=right)


def find_anchors(
    x: Float32, y: Float32, config: MiniConfig, rng: np.random.Generator, report: Reporter
) -> tuple[Float32, Float32]:
    """Find points of either space that stand for one another, by the geometry within each space alone.

    In each round, both sides are clustered, and the centroids matched by the permutation P that makes
    tr(K_x P K_y P^T) greatest, where K is the centred Gram matrix of a side's centroids; the best of several runs of
    2-opt (Algorithm 2).

    Returns
    -------
    (anchors, d_s) and (anchors, d_t) float32 arrays, row-aligned guesses: ``clusters`` from each round
    """
    clusters = min(config.clusters, config.cluster_rows, len(x), len(y))
    found_x, found_y = [], []
    for step in range(config.anchor_rounds):
        centres_x, centres_y = (
            _cluster(_draw(side, config.cluster_rows, rng), clusters, seed=int(rng.integers(2**31))) for side in (x, y)
        )
        order, score = match_centroids(centres_x, centres_y, config.restarts, rng)
        found_x.append(centres_x)
        found_y.append(centres_y[order])
        report("anchors", step + 1, config.anchor_rounds, score)
    return np.concatenate(found_x), np.concatenate(found_y)


def match_centroids(
    x: Float32, y: Float32, restarts: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], float]:
    """Return the order in which the rows of ``y`` (k, d_t) answer to those of ``x`` (k, d_s), and how well they do.

    The second value is the cosine of the two centred Gram matrices, between -1 and 1.
    """
    gram_x, gram_y = _centred_gram(x), _centred_gram(y)
    runs = [
        quadratic_assignment(gram_x, gram_y, method="2opt", options={"maximize": True, "rng": rng})
        for _ in range(restarts)
    ]
    best = max(runs, key=lambda run: float(run.fun))
    scale = np.linalg.norm(gram_x) * np.linalg.norm(gram_y)
    return np.asarray(best.col_ind), float(best.fun / scale) if scale else 0.0


def match_by_anchors(
    x: torch.Tensor, y: torch.Tensor, anchors: tuple[Float32, Float32], neighbours: int, report: Reporter
) -> torch.Tensor:
    """Pair each source with the mean of the targets of like similarities to the anchors; Procrustes on these pairs.

    Parameters
    ----------
    x, y : (n, d_s) and (m, d_t) float32 tensors, unit rows
    anchors : row-aligned points of the two spaces
    neighbours : how many targets are averaged

    Returns
    -------
    (d_s, d_t) float32 tensor, the first map
    """
    profile_x, profile_y = (
        unit(side @ unit(torch.from_numpy(points).to(side)).T) for side, points in zip((x, y), anchors, strict=True)
    )
    cross = torch.zeros(x.shape[1], y.shape[1], device=x.device)
    blocks = range(0, len(x), BLOCK)
    for step, start in enumerate(blocks, 1):
        rows = slice(start, start + BLOCK)
        mean, _ = _mean_of_nearest(profile_x[rows], profile_y, y, neighbours)
        cross += x[rows].T @ mean
        report("pseudo-pairs", step, len(blocks), None)
    return polar(cross)


def refine_by_neighbours(
    x: torch.Tensor,
    y: torch.Tensor,
    w: torch.Tensor,
    config: MiniConfig,
    rng: np.random.Generator,
    report: Reporter,
) -> torch.Tensor:
    """Refine-1 (Algorithm 3): map a sample, pair it with the mean of its nearest targets, Procrustes, average."""
    for step in range(config.rounds):
        rows = rng.permutation(len(x))[: config.round_rows]
        sample = x[torch.from_numpy(rows).to(x.device)]
        mean, score = _mean_of_nearest(unit(sample @ w), y, y, config.neighbours)
        w = torch.lerp(w, polar(sample.T @ mean), config.averaging)
        report("neighbours", step + 1, config.rounds, score)
    return w


def refine_by_clusters(
    x: Float32, y: Float32, weight: Float32, config: MiniConfig, rng: np.random.Generator, report: Reporter
) -> Float32:
    """Refine-2 (Algorithm 4): cluster the targets from where the sources' centroids are mapped to; Procrustes, average.

    What k-means moves on the way is what the map got wrong on the large scale.
    """
    clusters = min(config.final_clusters, len(x), len(y))
    report("clusters", 0, 2, None)
    centres_x = _cluster(x, clusters, seed=int(rng.integers(2**31)))
    report("clusters", 1, 2, None)
    mapped = centres_x @ weight
    centres_y = _cluster(y, clusters, seed=0, start=mapped)  # the start leaves nothing to chance
    score = unit(torch.from_numpy(mapped)).mul(unit(torch.from_numpy(centres_y))).sum(1).mean()
    new = polar(torch.from_numpy(centres_x.T @ centres_y)).numpy()
    report("clusters", 2, 2, float(score))
    return np.asarray((1 - config.averaging) * weight + config.averaging * new, np.float32)


class Reporter:
    """Sends progress on and keeps the history; the estimate goes by the share of the time that each stage takes."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self.progress = progress
        self.start = time.perf_counter()
        self.history: list[dict[str, Any]] = []

    def __call__(self, stage: str, step: int, total: int, score: float | None) -> None:
        stages = list(SHARES)
        done = sum(SHARES[name] for name in stages[: stages.index(stage)]) + SHARES[stage] * step / total
        seconds = time.perf_counter() - self.start
        if score is not None:
            self.history.append({"stage": stage, "step": step, "score": score, "seconds": round(seconds, 3)})
        if self.progress is not None:
            remaining = seconds * (1 - done) / done if done else None
            self.progress(Progress(stage, step, total, score, remaining))


def _cluster(x: Float32, clusters: int, *, seed: int, start: Float32 | None = None) -> Float32:
    """Centroids (clusters, d) by k-means. Two threads at most: with more, scikit-learn sums in the order of the day."""
    kmeans = KMeans(clusters, init="k-means++" if start is None else start, n_init=1, random_state=seed)
    with threadpool_limits(min(2, torch.get_num_threads()), user_api="openmp"):
        return np.asarray(kmeans.fit(x).cluster_centers_, np.float32)


def _draw(x: Float32, rows: int, rng: np.random.Generator) -> Float32:
    return x[rng.permutation(len(x))[:rows]]


def _centred_gram(x: Float32) -> npt.NDArray[np.float64]:
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    return np.asarray(centred @ centred.T)


def _mean_of_nearest(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, neighbours: int
) -> tuple[torch.Tensor, float]:
    """Mean of the values (m, d) whose keys (m, p) are nearest to each query (b, p), and the mean similarity to them."""
    nearest = (queries @ keys.T).topk(min(neighbours, len(keys)), dim=1)
    return torch.nn.functional.embedding_bag(nearest.indices, values, mode="mean"), float(nearest.values.mean())
