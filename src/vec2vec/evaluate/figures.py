"""Pictures: two spaces before and after translation, and the verdict's score against the truth.

Every function gives a ``matplotlib.figure.Figure`` that belongs to nobody: no pyplot, no global state, no display.
matplotlib and scikit-learn are imported when a picture is made.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vec2vec.errors import DimensionError, InputError, OutputError
from vec2vec.evaluate.metrics import Floats, fit_width
from vec2vec.stores import atomic_file
from vec2vec.vectors import check_vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Projection = Literal["tsne", "pca"]

# Okabe and Ito's blue and vermilion for the encoders, Tol's "muted" scheme for the domains: told apart by all common
# forms of colour vision. More domains than colours: the rarest share the grey.
_ENCODER_COLOURS = ("#0072B2", "#E06A1B")
_DOMAIN_COLOURS = ("#332288", "#88CCEE", "#DDAA33", "#117733", "#CC6677", "#AA4499", "#44AA99", "#882255", "#999933")
_OTHER = "#BBBBBB"
_INK, _QUIET = "#222222", "#666666"
_MARKERS = "osD^vPX<>"
_COMPONENTS = 50  # t-SNE starts from so many principal components: the usual, and quick


# --- two spaces, apart and together -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Groups:
    """A colour for every point, and the legend's entries."""

    title: str
    colours: NDArray[np.str_]
    legend: tuple[tuple[str, str], ...]


def spaces_figure(
    source: ArrayLike,
    target: ArrayLike,
    latent_source: ArrayLike,
    latent_target: ArrayLike,
    *,
    domains: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    domain_names: Sequence[str] | None = None,
    source_name: str = "source",
    target_name: str = "target",
    seed: int = 0,
    max_points: int = 1500,
    projection: Projection = "tsne",
    title: str | None = None,
) -> Figure:
    """Draw two sets of vectors as they are (left) and in the shared latent (right), by encoder and, below, by domain.

    Each column is one projection of both encoders' vectors stacked: the projection does not know of the encoders or
    domains that the colours show. Under each column's heading stands the share of the drawn vectors whose nearest
    neighbour (Euclidean, in the space itself, not in the picture) is of the other encoder: 0% for separate spaces,
    50% where the encoders cannot be told apart.

    Parameters
    ----------
    source : array_like, shape (n, d_source)
    target : array_like, shape (m, d_target)
        The vectors as they are; the narrower ones are zero-padded.
    latent_source : array_like, shape (n, k)
    latent_target : array_like, shape (m, k)
        The same rows in the shared latent.
    domains : array_like of length n, or a tuple of two of lengths n and m, optional
        A label for each row; one array serves both sides where they are row-aligned. Without it there is no lower row.
    domain_names : sequence of str, optional
        The names, where ``domains`` are indices into them.
    source_name, target_name : str
        The encoders' names in the legend.
    seed : int
        For the sample, the order of drawing and the projection.
    max_points : int
        Vectors of each encoder that are drawn, at most. Where n = m, no row is drawn on both sides (at most n / 2
        each): the rows may be the same texts, and a text would lie on its own twin.
    projection : "tsne" or "pca"
        t-SNE (500 rounds, perplexity 30, single-threaded so that a seed decides the picture; about 5 s a column at the
        default ``max_points``) keeps neighbourhoods and bends distances; PCA is linear and quick, and shows the two
        widest directions.
    title : str, optional

    Raises
    ------
    InputError
        Rows that do not correspond, fewer than 10 rows, an unknown projection, a row without a label, an index without
        a name.
    DimensionError
        The two latents differ in width.
    """
    if projection not in ("tsne", "pca"):
        raise InputError(f"projection {projection!r} is unknown: 'tsne' or 'pca'")
    x, y = check_vectors(source, name=source_name, min_rows=10), check_vectors(target, name=target_name, min_rows=10)
    u = _latent(latent_source, len(x), source_name)
    v = _latent(latent_target, len(y), target_name)
    if u.shape[1] != v.shape[1]:
        raise DimensionError(f"the latent of {source_name} is {u.shape[1]} wide and that of {target_name} {v.shape[1]}")
    labels = None if domains is None else _labels(domains, len(x), len(y))
    rows = _sample(len(x), len(y), max_points, seed)
    width = max(x.shape[1], y.shape[1])
    columns = {
        "As they are": np.concatenate([fit_width(x[rows[0]], width), fit_width(y[rows[1]], width)]),
        "In the shared latent": np.concatenate([u[rows[0]], v[rows[1]]]),
    }
    groups = [_by_encoder(len(rows[0]), len(rows[1]), (source_name, x.shape[1]), (target_name, y.shape[1]))]
    if labels is not None:
        groups.append(_by_domain(np.concatenate([labels[0][rows[0]], labels[1][rows[1]]]), domain_names))
    counts = f"{len(rows[0]):,}" if len(rows[0]) == len(rows[1]) else f"{len(rows[0]):,} and {len(rows[1]):,}"
    caption = f"{counts} vectors of each encoder; left, zero-padded to {width} dimensions. " + (
        "PCA of each column's vectors, encoders unseen."
        if projection == "pca"
        else "t-SNE of each column's vectors, encoders unseen: neighbourhoods count, distances do not."
    )
    return _draw_spaces(columns, groups, len(rows[0]), projection, seed, title, caption)


def _latent(x: ArrayLike, rows: int, name: str) -> Floats:
    latent = np.asarray(x, np.float32)
    if latent.ndim != 2 or len(latent) != rows:
        raise InputError(f"the latent of {name} has shape {latent.shape}: it should have {rows:,} rows, one per vector")
    if not np.isfinite(latent).all():
        raise InputError(f"the latent of {name} is not finite: it cannot be drawn")
    return latent


def _labels(domains: ArrayLike | tuple[ArrayLike, ArrayLike], n: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
    pair = domains if isinstance(domains, tuple) and len(domains) == 2 else (domains, domains)
    left, right = np.asarray(pair[0]), np.asarray(pair[1])
    if left.shape != (n,) or right.shape != (m,):
        raise InputError(f"domains have shapes {left.shape} and {right.shape}: give {n:,} and {m:,} labels")
    for side in (left, right):
        for row, label in enumerate(side.tolist()):
            if label is None or label != label:  # NaN
                raise InputError(f"domains: row {row:,} has the label {label}: give every row one")
    return left, right


def _sample(n: int, m: int, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if most < 10:
        raise InputError(f"max_points={most}: at least 10")
    rng = np.random.default_rng(seed)
    if n == m:  # row-aligned, for all that is known here: no row on both sides, or every point would hide its twin
        left, right = np.array_split(rng.permutation(n)[: 2 * most], 2)
    else:
        left, right = rng.permutation(n)[:most], rng.permutation(m)[:most]
    return np.sort(left), np.sort(right)


def _by_encoder(n: int, m: int, source: tuple[str, int], target: tuple[str, int]) -> _Groups:
    entries = tuple(
        (f"{name} ({width})", colour) for (name, width), colour in zip((source, target), _ENCODER_COLOURS, strict=True)
    )
    return _Groups("Encoder", np.repeat(np.array(_ENCODER_COLOURS), [n, m]), entries)


def _by_domain(labels: NDArray[Any], names: Sequence[str] | None) -> _Groups:
    values, index, count = np.unique(labels, return_inverse=True, return_counts=True)
    if names is not None and (values.dtype.kind not in "iu" or values[0] < 0 or values[-1] >= len(names)):
        raise InputError(f"domains should be indices into {len(names)} names: found {values[0]} to {values[-1]}")
    coloured = np.sort(np.argsort(-count, kind="stable")[: len(_DOMAIN_COLOURS)])  # the most frequent, in label order
    colours = np.full(len(values), _OTHER)
    colours[coloured] = _DOMAIN_COLOURS[: len(coloured)]
    entries = [(str(values[i]) if names is None else names[int(values[i])], str(colours[i])) for i in coloured]
    if len(values) > len(coloured):
        entries.append((f"{len(values) - len(coloured)} others", _OTHER))
    return _Groups("Domain", colours[index], tuple(entries))


def project(x: Floats, projection: Projection, seed: int) -> Floats:
    """Project the rows of (n, d) to (n, 2); see `spaces_figure`."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if x.shape[1] < 2:
        x = np.pad(x, ((0, 0), (0, 2 - x.shape[1])))
    components = 2 if projection == "pca" else min(_COMPONENTS, *x.shape)
    reduced: Floats = PCA(components, random_state=seed).fit_transform(x)
    if projection == "pca":
        return reduced
    # One thread: bit-equal for a seed, and, on a busy machine, faster than threads that wait for each other.
    with threadpool_limits(1):
        perplexity = min(30.0, (len(x) - 1) / 3)
        tsne = TSNE(2, init="pca", perplexity=perplexity, angle=0.7, max_iter=500, random_state=seed)
        points: Floats = tsne.fit_transform(reduced)
    return points


def _other_encoder_nearest(x: Floats, n: int) -> float:
    """Share of the rows of (n + m, d) whose nearest other row comes from the other side."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(x).kneighbors(return_distance=False)[:, 0]
    return float(np.mean((np.arange(len(x)) < n) != (nearest < n)))


def _draw_spaces(
    columns: dict[str, Floats],
    groups: Sequence[_Groups],
    n: int,
    projection: Projection,
    seed: int,
    title: str | None,
    caption: str,
) -> Figure:
    from matplotlib.figure import Figure

    panel, legend, top, bottom = 3.9, 1.75, 0.95 if title else 0.6, 0.4  # inches
    height = top + panel * len(groups) + bottom
    fig = Figure(figsize=(2 * panel + legend, height), dpi=150, facecolor="white")
    axes = fig.subplots(len(groups), 2, squeeze=False)
    fig.subplots_adjust(
        left=0.015,
        right=2 * panel / (2 * panel + legend),
        top=1 - top / height,
        bottom=bottom / height,
        wspace=0.03,
        hspace=0.03,
    )
    for column, (heading, vectors) in enumerate(columns.items()):
        points = project(vectors, projection, seed)
        order = np.random.default_rng(seed).permutation(len(points))  # so that no group lies on top of another
        for row, group in enumerate(groups):
            _cloud(axes[row, column], points[order], group.colours[order])
        _heading(axes[0, column], heading, _other_encoder_nearest(vectors, n))
    for row, group in enumerate(groups):
        _legend(axes[row, 1], group)
    if title:
        fig.text(0.02, 1 - 0.12 / height, plain_text(title), fontsize=14, fontweight="bold", color=_INK, va="top")
    fig.text(0.02, 0.14 / height, caption, fontsize=7.5, color=_QUIET, va="bottom")
    return fig


def _cloud(ax: Axes, points: Floats, colours: NDArray[np.str_]) -> None:
    size = float(np.clip(16000 / len(points), 4, 24))
    ax.scatter(points[:, 0], points[:, 1], s=size, c=colours.tolist(), alpha=0.7, linewidths=0, rasterized=True)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = 0.53 * float(np.ptp(points, axis=0).max())
    ax.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach), aspect="equal")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color="#DDDDDD", linewidth=0.8)


def _heading(ax: Axes, heading: str, crossing: float) -> None:
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    ax.annotate(heading, (0, 1), (2, 20), fontsize=12, color=_INK, **style)
    note = f"nearest neighbour from the other encoder: {crossing:.0%}"
    ax.annotate(note, (0, 1), (2, 6), fontsize=8.5, color=_QUIET, **style)


def _legend(ax: Axes, group: _Groups) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=7,
            markeredgewidth=0,
            color=colour,
            label=plain_text(textwrap.fill(name, 18)),
        )
        for name, colour in group.legend
    ]
    legend = ax.legend(
        handles=handles,
        title=group.title,
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=9.5,
        title_fontsize=9.5,
        labelcolor=_INK,
        handletextpad=0.3,
        alignment="left",
    )
    legend.get_title().set_color(_QUIET)


def plain_text(text: str) -> str:
    """Text in which matplotlib reads no formula."""
    return text.replace("$", r"\$")


# --- the verdict against the truth ------------------------------------------------------------------------------------


def calibration_figure(
    scores: ArrayLike,
    truths: ArrayLike,
    kinds: Sequence[str],
    *,
    intervals: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    aligned: float = 0.3,
    not_aligned: float = 0.05,
    title: str | None = None,
) -> Figure:
    """Draw the top-1 that verdicts expected, without labels, against the top-1 that pairs then showed.

    Both axes are square-root scaled, since the verdict has to be right near 0. The shaded bands are what a score means;
    the same limits on the true top-1 are dashed; a perfect score lies on the diagonal.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Expected top-1 among 4,096, in [0, 1].
    truths : array_like, shape (n,)
        True top-1 among 4,096, in [0, 1].
    kinds : sequence of n str
        What sort of case each is ("real pair", "noise", ...): its colour and marker.
    intervals : array_like, shape (n, 2), optional
        The verdict's interval.
    labels : sequence of n str, optional
        The verdicts. Those that are "uncertain" are drawn hollow.
    aligned, not_aligned : float
        Limits of the bands.
    title : str, optional

    Raises
    ------
    InputError
        Lengths that differ, no case at all, or shares outside [0, 1].
    """
    y, x = np.asarray(scores, np.float64), np.asarray(truths, np.float64)
    bounds = np.stack([y, y], axis=-1) if intervals is None else np.asarray(intervals, np.float64)
    kind = np.asarray(kinds, np.str_)
    hollow = np.zeros(y.shape, bool) if labels is None else np.asarray(labels, np.str_) == "uncertain"
    same = x.shape == kind.shape == hollow.shape == y.shape and bounds.shape == (*y.shape, 2)
    if y.ndim != 1 or len(y) == 0 or not same:
        raise InputError(
            f"one truth, kind, interval and label for each of at least one score: found shapes {y.shape}, {x.shape}, "
            f"{kind.shape}, {bounds.shape}, {hollow.shape}"
        )
    for name, values in (("scores", y), ("truths", x), ("intervals", bounds)):
        if not np.all((values >= 0) & (values <= 1)):
            raise InputError(f"{name} should be shares in [0, 1]: found {values.min():g} to {values.max():g}")
    return _draw_calibration(x, y, bounds, kind, hollow, (not_aligned, aligned), title)


def _draw_calibration(
    x: Floats,
    y: Floats,
    bounds: Floats,
    kind: NDArray[np.str_],
    hollow: NDArray[np.bool_],
    limits: tuple[float, float],
    title: str | None,
) -> Figure:
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.6, 5.6), dpi=150, facecolor="white", layout="constrained")
    ax = fig.subplots()
    _bands(ax, limits)
    for i, name in enumerate(dict.fromkeys(kind.tolist())):
        here = kind == name
        colour, marker = _DOMAIN_COLOURS[i % len(_DOMAIN_COLOURS)], _MARKERS[i % len(_MARKERS)]
        ax.vlines(x[here], bounds[here, 0], bounds[here, 1], color=colour, linewidth=1, alpha=0.45, zorder=2)
        faces = [("white" if empty else colour) for empty in hollow[here]]
        ax.scatter(x[here], y[here], s=34, marker=marker, c=faces, edgecolors=colour, linewidths=1.1, zorder=3)
        ax.plot([], [], marker, color=colour, markersize=6, label=f"{plain_text(name)} ({np.count_nonzero(here)})")
    if hollow.any():
        ax.plot([], [], "o", markerfacecolor="white", markeredgecolor=_QUIET, markersize=6, label="hollow: uncertain")
    ax.set_xlabel("true top-1 among 4,096 (pairs, for scoring only)", color=_INK)
    ax.set_ylabel("expected top-1 (verdict, without pairs)", color=_INK)
    ax.legend(loc="upper left", bbox_to_anchor=(1.06, 1), borderaxespad=0, frameon=False, fontsize=9, labelcolor=_INK)
    if title:
        ax.set_title(plain_text(title), loc="left", fontsize=12, fontweight="bold", color=_INK)
    return fig


def _bands(ax: Axes, limits: tuple[float, float]) -> None:
    def root(values: Floats) -> Floats:
        return np.sign(values) * np.sqrt(np.abs(values))

    def square(values: Floats) -> Floats:
        return np.sign(values) * np.square(values)

    ticks = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1]
    least, most = -0.0006, 1.05  # room for whole markers at 0 and 1
    ax.set_xscale("function", functions=(root, square))
    ax.set_yscale("function", functions=(root, square))
    ax.set(xlim=(least, most), ylim=(least, most), xticks=ticks, yticks=ticks, aspect="equal")
    ax.set_xticklabels([f"{tick:g}" for tick in ticks])
    ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    ax.tick_params(colors=_QUIET, labelsize=8.5, length=3)
    edges = (least, *limits, most)
    names, colours = ("not aligned", "uncertain", "aligned"), ("#F6E3E1", "#F4F4F4", "#E2EFE6")
    for low, high, name, colour in zip(edges[:-1], edges[1:], names, colours, strict=True):
        ax.axhspan(low, high, color=colour, linewidth=0, zorder=0)
        middle = float(square((root(np.array(low)) + root(np.array(high))) / 2))
        beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(name, (1, middle), (5, 0), rotation=-90, va="center", fontsize=9, color=_QUIET, **beside)
    for limit in limits:
        ax.axvline(limit, color=_QUIET, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1)
    ax.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.8, zorder=1)
    for spine in ax.spines.values():
        spine.set(color="#DDDDDD", linewidth=0.8)


# --- on disk ----------------------------------------------------------------------------------------------------------


def save_figure(fig: Figure, path: str | os.PathLike[str], force: bool = False) -> Path:
    """Write a PNG whole or not at all (`vec2vec.stores.atomic.AtomicFile`). Give the path.

    Raises
    ------
    OutputError
        Another suffix than .png, a missing folder, a file that exists (without ``force``), or a disk that refuses.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path}: figures are written as .png")
    with atomic_file(path, force=force) as stream:
        fig.savefig(stream, format="png", metadata={"Software": "vec2vec"})
    return path
