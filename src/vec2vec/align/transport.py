"""The optimal-transport baselines, by POT: they match two samples of the *same* texts, and give no map.

What they see is not what a fitter sees. A fitter is given vectors of different texts, and translates vectors that it
has not seen. A matching is given the vectors of the very texts that it is scored on, in both encoders, the second set
shuffled: no pair is told, but that every vector has its partner is (as in the oracle-aided baselines of the paper).

Both samples are centred and brought to norm 1 (`vec2vec.preprocess`). ``ot-emd`` and ``ot-sinkhorn`` compare vectors of
two spaces directly, zero-padded to one width, by the cosine distance; ``ot-gw`` compares the distances within each
space (Gromov-Wasserstein: Peyré, Cuturi & Solomon 2016), and ``ot-gw-low-rank`` does so by plans of low rank (Scetbon,
Peyré & Cuturi 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import Float32

Float64 = npt.NDArray[np.float64]


class TransportConfig(BaseModel):
    """The settings that all matchings have.

    Attributes
    ----------
    sample : texts that are matched
    iterations : of the solver, at most
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sample: int = Field(default=1024, ge=2)
    iterations: int = Field(default=1000, ge=1)


class EmdConfig(TransportConfig):
    """Settings of ``ot-emd``: exact transport by the network simplex."""

    iterations: int = Field(default=10_000_000, ge=1)


class SinkhornMatchConfig(TransportConfig):
    """Settings of ``ot-sinkhorn``: `epsilon` is the entropic regularisation, in units of the cosine distance."""

    epsilon: float = Field(default=0.02, gt=0.0)


class GromovConfig(TransportConfig):
    """Settings of ``ot-gw``: `epsilon` is the entropic regularisation of each projected gradient step."""

    iterations: int = Field(default=50, ge=1)
    epsilon: float = Field(default=0.002, gt=0.0)


class LowRankConfig(TransportConfig):
    """Settings of ``ot-gw-low-rank``: `rank` is that of the plan, `balancing` the Dykstra iterations of each step."""

    iterations: int = Field(default=50, ge=1)
    rank: int = Field(default=50, ge=2)
    balancing: int = Field(default=100, ge=1)


def emd_plan(x: Float64, y: Float64, config: EmdConfig, seed: int) -> Float64:
    """The plan (n, m) that moves x (n, d_s) onto y (m, d_t) at the least cost: a permutation where n = m."""
    import ot

    plan = ot.emd(uniform(x), uniform(y), cosine_distance(x, y), numItermax=config.iterations)
    return np.asarray(plan, np.float64)


def sinkhorn_plan(x: Float64, y: Float64, config: SinkhornMatchConfig, seed: int) -> Float64:
    """The entropic plan (n, m) (Cuturi 2013), computed in the log domain."""
    import ot

    cost = cosine_distance(x, y)
    plan = ot.sinkhorn(
        uniform(x), uniform(y), cost, config.epsilon, method="sinkhorn_log", numItermax=config.iterations
    )
    return np.asarray(plan, np.float64)


def gromov_plan(x: Float64, y: Float64, config: GromovConfig, seed: int) -> Float64:
    """The entropic Gromov-Wasserstein plan (n, m) of the two matrices of cosine distances, from the uniform plan."""
    import ot

    plan = ot.gromov.entropic_gromov_wasserstein(
        1 - x @ x.T,
        1 - y @ y.T,
        uniform(x),
        uniform(y),
        "square_loss",
        epsilon=config.epsilon,
        symmetric=True,
        max_iter=config.iterations,
    )
    return np.asarray(plan, np.float64)


def low_rank_plan(x: Float64, y: Float64, config: LowRankConfig, seed: int) -> Float64:
    """The low-rank Gromov-Wasserstein plan Q diag(1/g) R^T (n, m), of squared Euclidean distances."""
    import ot

    q, r, g = ot.gromov.lowrank_gromov_wasserstein_samples(
        x,
        y,
        uniform(x),
        uniform(y),
        rank=config.rank,
        numItermax=config.iterations,
        numItermax_dykstra=config.balancing,
        seed_init=seed,
        warn_dykstra=False,
    )[:3]
    return np.asarray(q / g @ r.T, np.float64)


@dataclass(frozen=True)
class Matching:
    """A baseline by its settings and its function ``(x, y, config, seed)``, which gives the plan."""

    config: type[TransportConfig]
    plan: Callable[[Float64, Float64, Any, int], Float64]


MATCHINGS: Mapping[str, Matching] = {
    "ot-emd": Matching(EmdConfig, emd_plan),
    "ot-sinkhorn": Matching(SinkhornMatchConfig, sinkhorn_plan),
    "ot-gw": Matching(GromovConfig, gromov_plan),
    "ot-gw-low-rank": Matching(LowRankConfig, low_rank_plan),
}


def match(name: str, source: Float32, target: Float32, config: TransportConfig, *, seed: int) -> Float64:
    """The plan between two samples of native vectors.

    The target rows are shuffled before the solver sees them, and the plan's columns put back in order, so that no
    solver can profit from the order of the rows.

    Parameters
    ----------
    name : of `MATCHINGS`
    source : (n, d_s) float32 array
    target : (m, d_t) float32 array
    config : the settings of this matching; its `sample` is the caller's business
    seed : of the order, and of a random start

    Returns
    -------
    (n, m) float64 array, which sums to 1, each row to about 1 / n
    """
    order = np.random.default_rng(seed).permutation(len(target))
    x, y = (Preprocessor.fit(side).apply(side).astype(np.float64) for side in (source, target))
    plan = np.empty((len(x), len(y)))
    plan[:, order] = MATCHINGS[name].plan(x, y[order], config, seed)
    return plan


def assign(plan: Float64) -> npt.NDArray[np.int64]:
    """The one-to-one matching that collects the most of a square plan (Hungarian method, Kuhn 1955): (n,) columns.

    The solver sees the columns shuffled. It breaks ties by their order, by which a plan that tells nothing would match
    every row to the column of its number.
    """
    from scipy.optimize import linear_sum_assignment

    order = np.random.default_rng(0).permutation(plan.shape[1])
    return np.asarray(order[linear_sum_assignment(plan[:, order], maximize=True)[1]], np.int64)


def barycentres(plan: Float64, target: Float32) -> Float32:
    """(n, d_t): for each row of the plan (n, m), the mean of the target vectors (m, d_t) weighted by it."""
    weight = plan / np.maximum(plan.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray(weight @ target, np.float32)


def uniform(x: Float64) -> Float64:
    """The same weight for each of the n rows."""
    return np.full(len(x), 1 / len(x))


def cosine_distance(x: Float64, y: Float64) -> Float64:
    """1 - cosine of unit rows (n, d_s) and (m, d_t), the narrower padded with zeros."""
    width = min(x.shape[1], y.shape[1])
    return np.asarray(1 - x[:, :width] @ y[:, :width].T)
