"""The history of a training beside its translator: every loss and the label-free score, as a chart and as lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vec2vec.stores.atomic import atomic_file

NOT_LOSSES = {"stage", "run", "step", "seconds"}


def history_paths(folder: Path) -> tuple[Path, Path]:
    """Where `save_history` writes for a translator: FOLDER.training.png and FOLDER.training.jsonl."""
    return Path(f"{folder}.training.png"), Path(f"{folder}.training.jsonl")


def save_history(history: Sequence[Mapping[str, Any]], folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write the history of a `Fit` beside the folder of its translator.

    Returns
    -------
    The two files, see `history_paths`.

    Raises
    ------
    OutputError : one of them exists (without `force`), or cannot be written
    """
    chart, lines = history_paths(folder)
    figure = draw_history(history)
    with atomic_file(chart, force=force) as stream:
        figure.savefig(stream, format="png", dpi=110)
    with atomic_file(lines, force=force) as stream:
        stream.writelines((json.dumps(entry) + "\n").encode() for entry in history)
    return chart, lines


def draw_history(history: Sequence[Mapping[str, Any]]) -> Any:
    """A matplotlib figure: the losses against the steps, and below them the label-free score, one line a restart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    losses, score = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    training = [entry for entry in history if entry.get("stage") == "training"]
    names = dict.fromkeys(name for entry in training for name in entry if name not in NOT_LOSSES)
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    for run in sorted({entry["run"] for entry in training}):
        rows = [entry for entry in training if entry["run"] == run]
        for name in names:
            label = name if run == training[0]["run"] else None
            steps = [entry["step"] for entry in rows if name in entry]
            losses.plot(steps, [entry[name] for entry in rows if name in entry], colours[name], lw=0.9, label=label)
        checks = [entry for entry in history if entry.get("stage") == "check" and entry["run"] == run]
        score.plot(
            [c["step"] for c in checks], [c["score"] for c in checks], "o-", ms=3, lw=0.9, label=f"restart {run}"
        )
    losses.set(yscale="log", ylabel="loss")
    losses.legend(fontsize="small", ncols=2)
    score.set(xlabel="step", ylabel="label-free score")
    score.legend(fontsize="small", ncols=4)
    return figure
