"""The figures of a benchmark: top-1 against rows, pairs and time; cosines before and after a translation."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vec2vec.bench.runner import Bench
from vec2vec.bench.tables import at_most_candidates, groups, set_title
from vec2vec.evaluate.figures import _DOMAIN_COLOURS, _INK, _MARKERS, _QUIET, plain_text, save_figure
from vec2vec.stores import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 200  # bytes of a figure's name: file systems allow 255, and a number and suffixes are added
Line = dict[str, Any]
Panels = list[tuple[str, list[Line]]]


def write_figures(bench: Bench, rows: Sequence[Line], results: Mapping[str, Line], folder: Path) -> list[Path]:
    """Every figure that the results have enough for, as PNG, in reading order; those of an earlier report go.

    ``figures.txt`` beside the folder lists them.
    """
    drawn: list[tuple[str, Figure]] = []
    for experiment in bench.config.experiments:
        mine = [row for row in rows if experiment.name in row["experiments"].split(",")]
        title = experiment.title or experiment.name
        panels = _panels(mine)
        for name, draw in (("rows", against_rows), ("pairs", against_pairs), ("time", against_time)):
            figure = draw(panels, title)
            if figure is not None:
                drawn.append((f"{experiment.name}-{name}", figure))
        drawn += _heat_maps(experiment.name, results, mine)
    folder.mkdir(exist_ok=True)
    wanted = [folder / f"{name}.png" for name in _file_names([name for name, _ in drawn])]
    written = folder.with_suffix(".txt")
    earlier = written.read_text("utf8").splitlines() if written.exists() else []
    for old in set(folder.glob("*.png")) - set(wanted):
        if old.name in earlier:
            old.unlink()
    with atomic_file(written, force=True) as stream:
        stream.write("".join(f"{path.name}\n" for path in wanted).encode())
    return [save_figure(figure, path, force=True) for path, (_, figure) in zip(wanted, drawn, strict=True)]


def _file_names(names: Sequence[str]) -> list[str]:
    """Letters and digits of any script, and - for the rest, cut to `LONGEST` bytes; no two the same, by a number."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"(?:[^\w.-]|_)+", "-", name).encode()[:LONGEST].decode(errors="ignore")
        free = (f"{plain}-{i}" if i > 1 else plain for i in count(1))
        found.append(next(one for one in free if one not in found))
    return found


def _panels(rows: Sequence[Line]) -> Panels:
    """A panel for each pair of spaces and set: raw cosine among the most candidates that were measured."""
    plain = at_most_candidates([r for r in rows if r.get("matching") == "cosine" and r["direction"] == "forward"])
    return [(set_title(group[0]), group) for _, group in groups(plain, "source", "target", "scored_on", "pool")]


def against_rows(panels: Panels, title: str) -> Figure | None:
    """Top-1 of every unpaired method against the rows of a side: mean over seeds, and from the worst to the best."""
    chosen = [(name, [row for row in rows if row["kind"] == "unpaired"]) for name, rows in panels]
    if not any(len({row["rows_source"] for row in rows}) > 1 for _, rows in chosen):
        return None
    return _draw(chosen, lambda ax, rows: _curves(ax, rows, "rows_source"), "vectors a side", title)


def against_pairs(panels: Panels, title: str) -> Figure | None:
    """Top-1 against known pairs; the best of each unpaired method as a level."""
    if not any(len({row["pairs"] for row in rows if row["pairs"]}) > 1 for _, rows in panels):
        return None

    def draw(ax: Axes, rows: Sequence[Line]) -> None:
        _curves(ax, [row for row in rows if row["pairs"]], "pairs")
        unpaired = [row for row in rows if row["kind"] == "unpaired"]
        for i, (label, group) in enumerate(_by_label(unpaired).items()):
            most = max(row["rows_source"] for row in group)
            level = statistics.mean(row["top1"] for row in group if row["rows_source"] == most)
            style = ("--", ":", "-.")[i % 3]
            ax.axhline(level, color=_INK, linestyle=style, linewidth=1.1, label=f"{label}, no pairs, {most:,} rows")

    return _draw(panels, draw, "known pairs", title)


def against_time(panels: Panels, title: str) -> Figure | None:
    """Top-1 of every fit against its seconds."""
    chosen = [(name, [row for row in rows if row.get("fit_seconds")]) for name, rows in panels]
    if not any(len({row["label"] for row in rows}) > 1 for _, rows in chosen):
        return None

    def draw(ax: Axes, rows: Sequence[Line]) -> None:
        for i, (label, group) in enumerate(_by_label(rows).items()):
            x, y = [row["fit_seconds"] for row in group], [row["top1"] for row in group]
            colour, marker = _look(i)
            ax.scatter(x, y, s=30, color=colour, marker=marker, label=label, alpha=0.8, linewidths=0)

    return _draw(chosen, draw, "seconds of the fit", title)


def _curves(ax: Axes, rows: Sequence[Line], key: str) -> None:
    for i, (label, group) in enumerate(_by_label(rows).items()):
        points = {x: [row["top1"] for row in group if row[key] == x] for x in sorted({row[key] for row in group})}
        colour, marker = _look(i)
        means = [statistics.mean(values) for values in points.values()]
        ax.plot(list(points), means, color=colour, marker=marker, markersize=5, linewidth=1.6, label=label)
        low, high = [min(values) for values in points.values()], [max(values) for values in points.values()]
        ax.fill_between(list(points), low, high, color=colour, alpha=0.18, linewidth=0)


def _by_label(rows: Sequence[Line]) -> dict[str, list[Line]]:
    return {plain_text(label): group for (label,), group in groups(rows, "label")}


def _look(i: int) -> tuple[str, str]:
    return _DOMAIN_COLOURS[i % len(_DOMAIN_COLOURS)], _MARKERS[i % len(_MARKERS)]


def _draw(
    panels: Sequence[tuple[str, list[Line]]], draw: Callable[[Axes, Sequence[Line]], None], axis: str, title: str
) -> Figure:
    """A row of panels of top-1 over a logarithmic axis, with one legend."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    panels = [(name, rows) for name, rows in panels if rows]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    fig = Figure(figsize=(4.1 * columns + 2.6, 3.3 * lines + 0.5), dpi=130, facecolor="white", layout="constrained")
    axes = fig.subplots(lines, columns, squeeze=False, sharey=True)
    entries: dict[str, Any] = {}
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, (name, rows) in zip(axes.flat, panels, strict=False):
        ax.set_xscale("log")
        draw(ax, rows)
        ax.set(ylim=(0, 1), xlabel=axis)
        ax.set_title(plain_text(name), fontsize=10, loc="left", color=_INK)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(colors=_QUIET, labelsize=8.5)
        ax.grid(color="#EEEEEE", linewidth=0.8)
        ax.set_axisbelow(True)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    for ax in axes[:, 0]:
        ax.set_ylabel("top-1", color=_INK)
    fig.legend(list(entries.values()), list(entries), loc="outside right upper", frameon=False, fontsize=9)
    fig.suptitle(plain_text(title), x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    return fig


def _heat_maps(experiment: str, results: Mapping[str, Line], rows: Sequence[Line]) -> list[tuple[str, Figure]]:
    """A figure for each pair of spaces: of its first unpaired method, or else its first, at its most rows and pairs."""
    order = list(dict.fromkeys(row["label"] for row in rows))

    def place(row: Line) -> tuple[Any, ...]:
        return row["kind"] != "unpaired", order.index(row["label"]), -row["rows_source"], -row["pairs"], row["seed"]

    fits = [row for row in rows if row["rows_source"] is not None and results[row["cell"]].get("picture")]
    found = []
    for (source, target), group in groups(fits, "source", "target"):
        best = min(group, key=place)
        figure = heat_map(results[best["cell"]]["picture"], source, target, best["label"])
        found.append((f"{experiment}-cosines-{source}-{target}", figure))
    return found


def heat_map(picture: Line, source: str, target: str, label: str) -> Figure:
    """Cosines of the same texts in two spaces, before and after: on the diagonal a text with itself.

    Parameters
    ----------
    picture : ``before`` and ``after``, (n, n) lists, rows source and columns target, and ``domains``, n names or None
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9.4, 4.6), dpi=130, facecolor="white", layout="constrained")
    axes = fig.subplots(1, 2)
    most = max(float(np.abs(np.array(picture[key])).max()) for key in ("before", "after"))
    for ax, key, heading in zip(axes, ("before", "after"), ("as they are, zero-padded", f"after {label}"), strict=True):
        image = ax.imshow(np.array(picture[key]), vmin=-most, vmax=most, cmap="RdBu_r", interpolation="nearest")
        ax.set_title(plain_text(heading), fontsize=10, loc="left", color=_INK)
        ax.set(xticks=[], yticks=[], xlabel=plain_text(f"{target}, native"))
        _mark_domains(ax, picture["domains"])
    axes[0].set_ylabel(plain_text(source))
    fig.colorbar(image, ax=axes, shrink=0.85, label="cosine")
    title = f"{source} → {target}, {len(picture['after'])} held-out texts"
    fig.suptitle(plain_text(title), x=0.01, ha="left", fontsize=12, color=_INK)
    return fig


def _mark_domains(ax: Axes, domains: Sequence[str] | None) -> None:
    """Lines between the domains, and their names beside the rows."""
    if domains is None:
        return
    starts = [i for i, name in enumerate(domains) if i == 0 or domains[i - 1] != name]
    for start in starts[1:]:
        ax.axhline(start - 0.5, color=_QUIET, linewidth=0.6)
        ax.axvline(start - 0.5, color=_QUIET, linewidth=0.6)
    ends = [*starts[1:], len(domains)]
    names = [plain_text(domains[start]) for start in starts]
    ax.set_yticks([(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)], names, fontsize=7.5)
    ax.tick_params(length=0, colors=_QUIET)
