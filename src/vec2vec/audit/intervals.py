"""Shares and means with 95% intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from vec2vec.evaluate.metrics import CONFIDENCE, Estimate

Floats = npt.NDArray[np.floating[Any]]
AT_ONCE = 32


def resample_weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn in each resample of a bootstrap: blocks of (b, rows) float64.

    The same seed and number of rows give the same resamples, so that figures of the same rows may be compared.
    """
    rng = np.random.default_rng([seed, rows])
    for start in range(0, resamples, AT_ONCE):
        drawn = rng.integers(0, rows, size=(min(AT_ONCE, resamples - start), rows))
        drawn += rows * np.arange(len(drawn))[:, None]
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def percentile(value: float, resampled: Floats) -> Estimate:
    """A figure with the percentile interval of its resamples; NaN among those is left out."""
    usable = resampled[np.isfinite(resampled)]
    if not len(usable):
        return Estimate(value, value, value)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def mean_estimate(values: npt.ArrayLike, *, resamples: int, seed: int) -> Estimate:
    """The mean of (n,) numbers, with a bootstrap interval over them."""
    x = np.asarray(values, np.float64)
    means = np.concatenate([weights @ x / len(x) for weights in resample_weights(len(x), resamples, seed)])
    return percentile(float(x.mean()), means)


def share_estimate(hits: int, total: int) -> Estimate:
    """A share with Wilson's interval (Wilson 1927), which has a width at 0 and 1, too."""
    from scipy.stats import binomtest

    if total == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    interval = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))


def exact(value: float) -> Estimate:
    """A figure that is known, as chance is."""
    return Estimate(value, value, value)
