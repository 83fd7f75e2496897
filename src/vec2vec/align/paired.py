"""Alignment that sees pairs: orthogonal Procrustes, with or without partial whitening, and ridge regression.

These are the yardsticks of the unpaired fitters, which never see what these see. Everything works on centred,
normalised vectors (``vec2vec.preprocess``); row i of ``x`` and row i of ``y`` are the same text in two spaces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from vec2vec.align.base import FitConfig, LinearFit, Progress, ProgressCallback
from vec2vec.align.judge import gather_evidence, verdict_from
from vec2vec.align.whitening import thin_svd, unit
from vec2vec.errors import DimensionError, InputError
from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import row_keys

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating[Any]]
Pairs = tuple[Float32, Float32]


class ProcrustesConfig(FitConfig):
    """Settings of ``method="procrustes"``.

    Attributes
    ----------
    whitening : how much of each space's spread is evened out before the rotation and restored behind it: 0 (the
        default) is the plain rotation, 1 whitens fully. See `whitened_procrustes`.
    """

    whitening: float = Field(default=0.0, ge=0.0, le=1.0)


class RidgeConfig(FitConfig):
    """Settings of ``method="ridge"``.

    Attributes
    ----------
    penalty : the penalty, in units of the mean eigenvalue of the source's second moments. See `ridge`.
    """

    penalty: float = Field(default=0.01, gt=0.0)


def polar_factor(cross: FloatArray) -> FloatArray:
    """Return the (partial) isometry nearest to a matrix: U V^T of its thin singular value decomposition.

    Parameters
    ----------
    cross : (d_s, d_t) float array

    Returns
    -------
    (d_s, d_t) array of the same dtype. The rows are orthonormal where d_s <= d_t, the columns where d_s >= d_t.
    """
    u, _, vt = (one.numpy() for one in thin_svd(torch.from_numpy(cross)))
    return np.asarray(u @ vt, dtype=cross.dtype)


def procrustes(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the orthogonal W that makes |x W - y| least (Frobenius norm).

    W = U V^T with x^T y = U S V^T (Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem").
    Between spaces of two widths, W is the partial isometry that makes tr(W^T x^T y) greatest: it maps the narrower
    space onto a subspace of the wider one, and back.

    Parameters
    ----------
    x : (n, d_s) float array
    y : (n, d_t) float array, row-aligned with `x`

    Returns
    -------
    (d_s, d_t) array; float32 where both are float32, else float64

    Raises
    ------
    DimensionError
        The numbers of rows differ.
    """
    _check_aligned(x, y)
    return polar_factor(x.T @ y)


def partial_whitening(x: FloatArray, exponent: float) -> tuple[FloatArray, FloatArray]:
    """Return the symmetric matrices C^(-exponent/2) and C^(exponent/2), for C = x^T x / n.

    With exponent 1 the whitened vectors ``x @ first`` have the identity as their second moments; with 0 nothing
    changes. Directions in which `x` has next to no spread (1e-6 of the greatest eigenvalue) are treated as having that.

    Parameters
    ----------
    x : (n, d) float array
    exponent : between 0 and 1

    Returns
    -------
    whitening, dewhitening : (d, d) float64 arrays, inverses of each other
    """
    moments = x.T.astype(np.float64) @ x / len(x)
    values, axes = np.linalg.eigh(moments)
    values = np.maximum(values, 1e-6 * values[-1])
    return (axes * values ** (-exponent / 2)) @ axes.T, (axes * values ** (exponent / 2)) @ axes.T


def whitened_procrustes(x: FloatArray, y: FloatArray, exponent: float) -> tuple[FloatArray, FloatArray]:
    """Partially whiten both sides, rotate, and restore the spread of the side that is arrived at.

    W = C_x^(-a/2) Q C_y^(a/2), where Q is the Procrustes map between the whitened sides and a the exponent; backward
    C_y^(-a/2) Q^T C_x^(a/2). The scheme is that of Artetxe, Labaka & Agirre 2018 ("Generalizing and improving
    bilingual word embedding mappings with a multi-step framework of linear transformations", steps 1, 2 and 4), who
    whiten fully.

    Parameters
    ----------
    x : (n, d_s) float array
    y : (n, d_t) float array, row-aligned with `x`
    exponent : between 0 (`procrustes`) and 1

    Returns
    -------
    forward : (d_s, d_t) float64 array
    backward : (d_t, d_s) float64 array

    Raises
    ------
    DimensionError
        The numbers of rows differ.
    """
    _check_aligned(x, y)
    whiten_x, restore_x = partial_whitening(x, exponent)
    whiten_y, restore_y = partial_whitening(y, exponent)
    rotation = procrustes(x @ whiten_x, y @ whiten_y)
    return whiten_x @ rotation @ restore_y, whiten_y @ rotation.T @ restore_x


def ridge(x: FloatArray, y: FloatArray, penalty: float) -> FloatArray:
    """Return the W that makes |x W - y|^2 + lambda |W|^2 least: W = (x^T x + lambda I)^-1 x^T y.

    (Hoerl & Kennard 1970, "Ridge regression".) lambda is `penalty` times the mean eigenvalue of x^T x, so that one
    value of `penalty` means the same for any width and any number of rows.

    Parameters
    ----------
    x : (n, d_s) float array
    y : (n, d_t) float array, row-aligned with `x`
    penalty : positive

    Returns
    -------
    (d_s, d_t) float64 array

    Raises
    ------
    DimensionError
        The numbers of rows differ.
    """
    _check_aligned(x, y)
    gram = x.T.astype(np.float64) @ x
    strength = penalty * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram + strength * np.eye(len(gram)), x.T.astype(np.float64) @ y))


def halves_of_pairs(x: Float32, y: Float32, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """The numbers of some pairs, drawn into two halves, in neither of which a text of the other is known.

    The pairs of one text with several partners are all in one half; a text here is a row of the side that has fewer
    different ones (equal bit for bit, found by hash).

    Parameters
    ----------
    x, y : (p, d_s) and (p, d_t) float32 arrays, row-aligned
    """
    order = rng.permutation(len(x))
    rows = min((row_keys(side[order]) for side in (x, y)), key=lambda keys: len(set(keys)))
    place = {row: i for i, row in enumerate(dict.fromkeys(rows))}
    second = np.array([place[row] % 2 for row in rows], bool)
    return order[~second], order[second]


def fit_procrustes(
    source: Float32,
    target: Float32,
    config: ProcrustesConfig,
    *,
    seed: int,
    progress: ProgressCallback | None = None,
    device: torch.device | None = None,
    pairs: Pairs | None = None,
) -> LinearFit:
    """Rotate by known pairs: ``method="procrustes"``.

    The unpaired rows serve for the mean and the scale of each space only. The verdict compares the maps by either half
    of the pairs.

    Parameters
    ----------
    source : (n, d_s) float32 array, vectors of the source space
    target : (m, d_t) float32 array, vectors of the target space; rows are not aligned with `source`
    config : the settings
    seed : of the halves of the pairs that the verdict compares
    progress : called when the work begins and when it ends
    device : not used: the work is one small decomposition
    pairs : (p, d_s) and (p, d_t) float32 arrays, row-aligned

    Raises
    ------
    InputError
        There are no pairs.
    DimensionError
        The pairs have other widths than the spaces, or differ in their numbers of rows.
    """
    solve = partial(whitened_procrustes, exponent=config.whitening)
    return _fit("procrustes", source, target, pairs, seed, progress, solve)


def fit_ridge(
    source: Float32,
    target: Float32,
    config: RidgeConfig,
    *,
    seed: int,
    progress: ProgressCallback | None = None,
    device: torch.device | None = None,
    pairs: Pairs | None = None,
) -> LinearFit:
    """Regress either space on the other by known pairs: ``method="ridge"``. As `fit_procrustes` otherwise."""

    def solve(x: Float32, y: Float32) -> tuple[FloatArray, FloatArray]:
        return ridge(x, y, config.penalty), ridge(y, x, config.penalty)

    return _fit("ridge", source, target, pairs, seed, progress, solve)


def _fit(
    method: str,
    source: Float32,
    target: Float32,
    pairs: Pairs | None,
    seed: int,
    progress: ProgressCallback | None,
    solve: Callable[[Float32, Float32], tuple[FloatArray, FloatArray]],
) -> LinearFit:
    if pairs is None or not len(pairs[0]):
        raise InputError(f"the method {method} needs pairs: pairs=(source, target), row-aligned, or --pairs FILE")
    for side, rows, pair in (("source", source, pairs[0]), ("target", target, pairs[1])):
        if rows.shape[1] != pair.shape[1]:
            raise DimensionError(f"pairs: the {side} side is {pair.shape[1]} wide, the {side} space {rows.shape[1]}")
    report = progress or (lambda _: None)
    report(Progress(stage=method, step=0, total=1))
    left, right = Preprocessor.fit(source), Preprocessor.fit(target)
    x, y = left.apply(pairs[0]), right.apply(pairs[1])
    forward, backward = solve(x, y)
    rng = np.random.default_rng(seed)
    witnesses = [_tensor(solve(x[half], y[half])[0]) for half in halves_of_pairs(*pairs, rng)]
    a, b = (unit(_tensor(side.apply(rows))) for side, rows in ((left, source), (right, target)))
    evidence = gather_evidence(_tensor(forward), (witnesses[0], witnesses[1]), a, b, rng)
    report(Progress(stage=method, step=1, total=1, remaining=0.0))
    return LinearFit(
        weight=forward.astype(np.float32),
        backward=backward.astype(np.float32),
        history=[],
        source=left,
        target=right,
        verdict=verdict_from(evidence),
    )


def _tensor(x: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x, np.float32))


def _check_aligned(x: FloatArray, y: FloatArray) -> None:
    if len(x) != len(y):
        raise DimensionError(f"pairs must be row-aligned: {len(x):,} source rows and {len(y):,} target rows")
