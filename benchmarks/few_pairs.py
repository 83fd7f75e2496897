"""A few known pairs, where the domains overlap only in part: how far do 10, 30, 100 or 1,000 of them lead?

    python benchmarks/few_pairs.py              # goes on where it stopped
    python benchmarks/few_pairs.py --report     # the table (Markdown)

The split is ``split.py --source-domains movies,tweets --target-domains movies,medquad``: half of either side has no
counterpart. Each draw takes its pairs from those of ``split.py`` by its seed, and is scored on the held-out movies, the
domain that both sides have. "procrustes" sees the same pairs, but no unpaired rows beside them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

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

RESULTS = HERE / "results" / "few_pairs.jsonl"
DOMAINS = ("--source-domains", "movies,tweets", "--target-domains", "movies,medquad")
KEY = ("method", "source", "target", "pairs", "seed")


def draw_pairs(drawn_from: Path, count: int, seed: int, path: Path) -> None:
    """Write ``count`` of the pairs of an ``.npz``, drawn by the seed."""
    with np.load(drawn_from) as known:
        chosen = np.sort(np.random.default_rng(seed).choice(len(known["source"]), count, replace=False))
        np.savez(path, source=known["source"][chosen], target=known["target"][chosen])


def perform(task: Line, shared: Path, folder: Path) -> Line:
    """Split, draw the pairs, fit, translate both ways, score."""
    options = ("--source", task["source"], "--target", task["target"], "--seed", task["seed"])
    rows = split(shared, folder, *options, *DOMAINS, "--data", shared / "data")
    pairs, translator, scorer = folder / "few.npz", folder / "translator", shared / "check" / "score.py"
    draw_pairs(folder / "pairs.npz", task["pairs"], task["seed"], pairs)
    flags = ("--method", task["method"], "--pairs", pairs, "--seed", task["seed"])
    fitted = fit(folder / "source.npy", folder / "target.npy", translator, *flags)
    left, right = folder / "source_eval.npy", folder / "target_eval.npy"
    return task | {
        "split": rows,
        "fit": fitted,
        "forward": translate_and_score(translator, left, right, scorer),
        "reverse": translate_and_score(translator, right, left, scorer, "--reverse"),
        "machine": machine(),
    }


def measure(todo: list[Line], shared: Path, results: Path) -> None:
    """Perform what is not in the results yet."""
    done = [{key: line[key] for key in KEY} for line in read_lines(results)]
    todo = [task for task in todo if task not in done]
    for number, task in enumerate(todo, 1):
        with tempfile.TemporaryDirectory() as folder:
            line = perform(task, shared, Path(folder))
        add_line(results, line)
        name = f"{task['method']}, {task['pairs']} pairs, {task['source']}→{task['target']}, draw {task['seed']}"
        print(f"{number}/{len(todo)} {name}: top-1 {line['forward']['top1']:.3f}", flush=True)


def report(lines: list[Line]) -> str:
    """One row for each method, direction and number of pairs, over its draws."""
    groups: dict[tuple[str, str, int], list[Line]] = {}
    for line in lines:
        groups.setdefault((f"{line['source']}→{line['target']}", line["method"], line["pairs"]), []).append(line)
    head = ["fit", "method", "pairs", "draws", "top-1, median (range)", "back: top-1, median (range)", "rank, median"]
    head += ["verdict", "fit, s, median", "peak, MiB"]
    rows = [[way, method, str(pairs), *_cells(group)] for (way, method, pairs), group in sorted(groups.items())]
    return markdown(head, rows)


def _cells(group: list[Line]) -> list[str]:
    verdicts = [line["fit"]["verdict"] or "none" for line in group]
    return [
        str(len(group)),
        _median([line["forward"]["top1"] for line in group]),
        _median([line["reverse"]["top1"] for line in group]),
        f"{statistics.median(line['forward']['rank'] for line in group):.1f}",
        ", ".join(f"{verdicts.count(label)} {label}" for label in sorted(set(verdicts))),
        f"{statistics.median(line['fit']['seconds'] for line in group):.0f}",
        f"{max(line['fit']['peak_mib'] for line in group):,}",
    ]


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", type=int, default=[30, 10, 100, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="the draws")
    parser.add_argument("--methods", nargs="+", choices=("few-pairs", "procrustes"), default=["few-pairs"])
    parser.add_argument("--source", default="minilm")
    parser.add_argument("--target", default="use")
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of data/ and check/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table; fit nothing")
    args = parser.parse_args()
    if args.report:
        print(report(need_lines(args.results)))
        return
    todo = [
        {"method": method, "source": args.source, "target": args.target, "pairs": pairs, "seed": seed}
        for pairs in args.pairs
        for method in args.methods
        for seed in args.seeds
    ]
    measure(todo, args.data, args.results)


if __name__ == "__main__":
    main()
