"""The standard split: every method, both directions, with time, peak memory and verdict.

    python benchmarks/standard.py                                          # about an hour; goes on where it stopped
    python benchmarks/standard.py --methods sinkhorn --rows 8000 --seeds 0 1 2 3 4 5 6 7 8 9
    python benchmarks/standard.py --report                                 # tables (Markdown)

Fits and translations are commands of their own (``vec2vec fit``, ``vec2vec translate``), so time and memory are those
that a user sees; ``score.py`` scores the files. Each fit is scored in both of its directions, and each pair of encoders
is fitted both ways. "procrustes" sees pairs, which no other method does; it is here as the limit. A seed draws the rows
(where ``--rows`` is a number) and the pairs, and seeds the fit. A ratio of times compares fits that one run of this
program made.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from measure import (
    HERE,
    SHARED,
    Line,
    add_line,
    fit,
    machine,
    markdown,
    need_lines,
    read_lines,
    split,
    translate_and_score,
)

RESULTS = HERE / "results" / "standard.jsonl"
DIRECTIONS = (("minilm", "use"), ("use", "minilm"))
PAIRS = (None, 2000, 500)  # None: all that the source half has

Method = Literal["sinkhorn", "mini", "procrustes"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Task:
    """One fit. ``rows`` None is all; ``pairs`` 0 is none, and None all."""

    method: Method
    source: str
    target: str
    rows: int | None
    pairs: int | None
    seed: int

    @property
    def name(self) -> str:
        sees = "" if self.pairs == 0 else f", {self.pairs or 'all'} pairs"
        return f"{self.method}{sees}, {self.source}→{self.target}, {self.rows or 'all'} rows, seed {self.seed}"

    @property
    def key(self) -> Line:
        return dict(vars(self))


def tasks(methods: list[Method], rows: list[int | None], seeds: list[int], directions: int) -> Iterator[Task]:
    """Every fit; those whose times are compared follow each other."""
    for seed in seeds:
        for many in rows:
            for source, target in DIRECTIONS[:directions]:
                for method in methods:
                    if method != "procrustes":
                        yield Task(method, source, target, many, 0, seed)
                    elif many is None:
                        drawn = PAIRS if seed == seeds[0] else PAIRS[1:]  # all pairs are the same for every seed
                        yield from (Task(method, source, target, None, pairs, seed) for pairs in drawn)


def perform(task: Task, shared: Path, folder: Path) -> Line:
    """Split, fit, translate both ways, score."""
    options: list[object] = ["--source", task.source, "--target", task.target, "--seed", task.seed]
    if task.rows:
        options += ["--rows", task.rows]
    rows = split(shared, folder, *options, "--data", shared / "data")
    flags: list[object] = ["--method", task.method, "--seed", task.seed]
    if task.pairs != 0:
        flags += ["--pairs", write_pairs(task, shared / "data", folder)]
    translator, scorer = folder / "translator", shared / "check" / "score.py"
    fitted = fit(folder / "source.npy", folder / "target.npy", translator, *flags)
    left, right = folder / "source_eval.npy", folder / "target_eval.npy"
    return task.key | {
        "split": rows,
        "fit": fitted,
        "forward": translate_and_score(translator, left, right, scorer),
        "reverse": translate_and_score(translator, right, left, scorer, "--reverse"),
    }


def write_pairs(task: Task, data: Path, folder: Path) -> Path:
    """Write true pairs from the texts of the source side: all of them, or so many drawn by the seed."""
    half = len(np.load(folder / "source.npy", mmap_mode="r"))
    count = task.pairs or half
    chosen = np.sort(np.random.default_rng(task.seed).choice(half, count, replace=False))
    path = folder / "known_pairs.npz"
    sides = {"source": task.source, "target": task.target}
    np.savez(
        path,
        **{
            side: np.load(data / f"mix.{name}.npy", mmap_mode="r")[chosen].astype(np.float32)
            for side, name in sides.items()
        },
    )
    return path


def measure(todo: list[Task], shared: Path, results: Path) -> None:
    """Perform what is not in the results yet."""
    done = [{key: line[key] for key in Task.__dataclass_fields__} for line in read_lines(results)]
    todo = [task for task in todo if task.key not in done]
    about = {"run": time.strftime("%Y-%m-%dT%H:%M:%S"), "machine": machine()}
    for number, task in enumerate(todo, 1):
        with tempfile.TemporaryDirectory() as folder:
            line = perform(task, shared, Path(folder)) | about
        add_line(results, line)
        print(f"{number}/{len(todo)} {task.name}: {summary(line)}", flush=True)


def summary(line: Line) -> str:
    fitted = line["fit"]
    return (
        f"top-1 {line['forward']['top1']:.3f}, back {line['reverse']['top1']:.3f}, {fitted['seconds']:.0f} s, "
        f"{fitted['peak_mib']:,} MiB, {fitted['verdict']}"
    )


def report(lines: list[Line]) -> str:
    """The tables: one row for each method, direction and number of rows, over its seeds."""
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in sorted(lines, key=_order):
        sees = "none" if line["pairs"] == 0 else f"{line['pairs'] or 'all'}"
        way = f"{line['source']}→{line['target']}"
        groups.setdefault((line["method"], sees, way, str(line["rows"] or "all")), []).append(line)
    head = ["method", "pairs seen", "fit", "rows a side", "seeds", "top-1 (range)", "rank", "cosine"]
    head += ["back: top-1 (range)", "back: rank", "verdict", "fit, s (worst)", "peak, MiB"]
    parts = [markdown(head, [[*key, *_cells(group)] for key, group in groups.items()])]
    if ratio := ratios(lines):
        parts.append(ratio)
    parts.append("Measured on " + "; ".join(sorted({line["machine"] for line in lines})) + ".")
    return "\n\n".join(parts)


def ratios(lines: list[Line]) -> str:
    """Time of sinkhorn over that of mini: the same split and seed, in the same run of this program."""
    seconds = {
        (line["run"], line["rows"], line["source"], line["seed"], line["method"]): line["fit"]["seconds"]
        for line in lines
    }
    found: dict[str, list[float]] = {}
    for (*same, method), time_taken in seconds.items():
        other = seconds.get((*same, "mini"))
        if method == "sinkhorn" and other:
            found.setdefault(str(same[1] or "all"), []).append(time_taken / other)
    rows = [[many, str(len(x)), f"{statistics.mean(x):.2f}", f"{max(x):.2f}"] for many, x in found.items()]
    return markdown(["rows a side", "fits", "time of sinkhorn / mini, mean", "worst"], rows) if rows else ""


def _order(line: Line) -> tuple[object, ...]:
    pairs = line["pairs"]
    return (
        line["rows"] is not None,
        line["source"],
        METHODS.index(line["method"]),
        -(pairs if pairs is not None else 10**9),
        line["seed"],
    )


def _cells(group: list[Line]) -> list[str]:
    verdicts = [line["fit"]["verdict"] or "none" for line in group]
    seconds = [line["fit"]["seconds"] for line in group]
    return [
        str(len(group)),
        _spread([line["forward"]["top1"] for line in group]),
        f"{statistics.mean(line['forward']['rank'] for line in group):.1f}",
        f"{statistics.mean(line['forward']['cos'] for line in group):.3f}",
        _spread([line["reverse"]["top1"] for line in group]),
        f"{statistics.mean(line['reverse']['rank'] for line in group):.1f}",
        ", ".join(f"{verdicts.count(label)} {label}" for label in sorted(set(verdicts))),
        f"{statistics.mean(seconds):.0f} ({max(seconds):.0f})",
        f"{max(line['fit']['peak_mib'] for line in group):,}",
    ]


def _spread(values: list[float]) -> str:
    """The mean, with the standard deviation, and from the worst to the best."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def _rows(text: str) -> int | None:
    return None if text == "all" else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rows", nargs="+", type=_rows, default=[None, 8000], help="rows a side: a number, or all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--one-way", action="store_true", help="fit MiniLM to USE only; each fit is scored both ways")
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of data/ and check/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--list", action="store_true", help="name the fits, and stop")
    parser.add_argument("--report", action="store_true", help="print the tables; fit nothing")
    args = parser.parse_args()
    todo = list(tasks(args.methods, args.rows, args.seeds, 1 if args.one_way else 2))
    if args.list:
        print("\n".join(task.name for task in todo))
    elif args.report:
        print(report(need_lines(args.results)))
    else:
        measure(todo, args.data, args.results)


if __name__ == "__main__":
    main()
