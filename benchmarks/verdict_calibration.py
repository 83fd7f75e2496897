"""Fit every case of ``cases.py`` and set the verdict beside the truth.

    python benchmarks/encoders.py                          # once: the encoders
    python benchmarks/verdict_calibration.py               # one JSON line per case and seed; goes on where it stopped
    python benchmarks/verdict_calibration.py --only noise --only few
    python benchmarks/verdict_calibration.py --report      # the table (Markdown) and the scatter (PNG)

The truth is top-1 among 4,096 of what ``Translator.translate`` gives, by raw cosine, as ``../shared/check/score.py``.
After a change to the fitter, start a new ``--results`` file. Compare seconds at ``--jobs 1`` only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, get_args

import numpy as np
from cases import CACHE, CHANCE, DATA, HERE, Case, Kind, Vectors, all_cases

import vec2vec
from vec2vec.align.judge import verdict_from
from vec2vec.evaluate.figures import calibration_figure, save_figure

RESULTS = HERE / "results" / "verdict_calibration.jsonl"
FIGURE = HERE / "results" / "verdict_calibration.png"
ALIGNED = 0.3
LABELS = ("aligned", "uncertain", "not aligned")


def retrieval(translated: np.ndarray, native: np.ndarray, extra: np.ndarray) -> dict[str, float]:
    """Top-1 and mean rank of ``translated`` (n, d) among ``native`` (n, d) and ``extra`` (4,096 - n, d), raw cosine.

    ``held_out_top1`` is top-1 among ``native`` alone.
    """
    queries, pool = _unit(translated), _unit(np.concatenate([native, extra]))
    better, better_held_out = [], []
    for start in range(0, len(queries), 1024):
        sims = queries[start : start + 1024] @ pool.T
        rows = np.arange(len(sims))
        above = sims > sims[rows, start + rows][:, None]  # own and others from one product: the same rounding
        better.append(above.sum(1))
        better_held_out.append(above[:, : len(queries)].sum(1))
    rank, rank_held_out = np.concatenate(better) + 1, np.concatenate(better_held_out) + 1
    return {
        "top1": float((rank == 1).mean()),
        "rank": float(rank.mean()),
        "held_out": len(queries),
        "held_out_top1": float((rank_held_out == 1).mean()),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def truth(translator: vec2vec.Translator, vectors: Vectors) -> dict[str, dict[str, float]]:
    """Both directions; chance where the target is made up."""
    if vectors.target_eval is None:
        return {"forward": {"top1": CHANCE}, "reverse": {"top1": CHANCE}}
    forward = translator.translate(vectors.source_eval)
    reverse = translator.translate(vectors.target_eval, reverse=True)
    return {
        "forward": retrieval(forward, vectors.target_eval, vectors.target_extra),
        "reverse": retrieval(reverse, vectors.source_eval, vectors.source_extra),
    }


def run(case: Case, data: Path, encoders: Path, threads: int) -> dict[str, Any]:
    """Fit one case; what goes into the results file."""
    vectors = case.build(data, encoders)
    start = time.perf_counter()
    fit = vec2vec.fit(vectors.source, vectors.target, seed=case.seed, threads=threads)
    seconds = time.perf_counter() - start
    return {
        "name": case.name,
        "kind": case.kind,
        "seed": case.seed,
        "rows": [len(vectors.source), len(vectors.target)],
        "label": fit.verdict.label,
        "expected_top1": float(fit.verdict.expected_top1),
        "interval": [float(bound) for bound in fit.verdict.interval],
        "evidence": {key: float(value) for key, value in fit.verdict.evidence.items()},
        "truth": truth(fit.translator, vectors),
        "seconds": round(seconds, 1),
        "threads": threads,
    }


def read_results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def judged_now(line: dict[str, Any]) -> dict[str, Any]:
    """A result with the verdict that its evidence gets today: a new calibration needs no new fits."""
    verdict = verdict_from(line["evidence"])
    return line | {"label": verdict.label, "expected_top1": verdict.expected_top1, "interval": list(verdict.interval)}


def calibrate(cases: Iterable[Case], results: Path, data: Path, encoders: Path, jobs: int) -> None:
    """Run what ``results`` does not have yet; every result is appended as soon as it is there."""
    done = {(line["name"], line["seed"]) for line in read_results(results)}
    todo = [case for case in cases if (case.name, case.seed) not in done]
    results.parent.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool, results.open("a") as file:
        futures = [pool.submit(run, case, data, encoders, threads) for case in todo]
        try:
            for number, future in enumerate(as_completed(futures), 1):
                line = future.result()
                file.write(json.dumps(line) + "\n")
                file.flush()
                print(f"{number}/{len(todo)} {summary(line)}", flush=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def summary(line: dict[str, Any]) -> str:
    low, high = line["interval"]
    return (
        f"{line['name']}, seed {line['seed']}: {line['label']}, expected {line['expected_top1']:.2f} "
        f"({low:.2f}–{high:.2f}), true {true_top1(line):.3f}, {line['seconds']:.0f} s"
    )


def true_top1(line: dict[str, Any]) -> float:
    """The truth a verdict is held against: source to target."""
    return float(line["truth"]["forward"]["top1"])


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown, one row per kind and one for all."""
    rows = [
        f"| kind | fits | {' | '.join(LABELS)} | `aligned` but true < {ALIGNED} | `not aligned` but true ≥ {ALIGNED} "
        "| truth in the interval | true top-1, median (range) | seconds, median |",
        "|---|" + "---|" * (len(LABELS) + 6),
    ]
    kinds = [(kind, [line for line in lines if line["kind"] == kind]) for kind in get_args(Kind)]
    for kind, group in [*kinds, ("all", lines)]:
        if group:
            rows.append(f"| {kind} | " + " | ".join(_cells(group)) + " |")
    return "\n".join(rows)


def _cells(group: list[dict[str, Any]]) -> list[str]:
    true = np.array([true_top1(line) for line in group])
    label = np.array([line["label"] for line in group])
    low, high = np.array([line["interval"] for line in group]).T
    return [
        str(len(group)),
        *(str((label == name).sum()) for name in LABELS),
        str(((label == "aligned") & (true < ALIGNED)).sum()),
        str(((label == "not aligned") & (true >= ALIGNED)).sum()),
        f"{((low <= true) & (true <= high)).mean():.0%}",
        f"{np.median(true):.3f} ({true.min():.3f}–{true.max():.3f})",
        f"{np.median([line['seconds'] for line in group]):.0f}",
    ]


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """The scatter of expected against true top-1, as PNG."""
    figure = calibration_figure(
        [line["expected_top1"] for line in lines],
        [true_top1(line) for line in lines],
        [line["kind"] for line in lines],
        intervals=[line["interval"] for line in lines],
        labels=[line["label"] for line in lines],
        aligned=ALIGNED,
        title="The verdict, without pairs, against the truth",
    )
    save_figure(figure, path, force=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=get_args(Kind), help="a kind to run; may be repeated")
    parser.add_argument("--seeds", type=int, default=10, help="the most seeds of a case")
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time; the cores are shared out among them")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoders", type=Path, default=CACHE, help="the folder of encoders.py's output")
    parser.add_argument("--list", action="store_true", help="name the cases that would run, and stop")
    parser.add_argument("--report", action="store_true", help="print the table and write the figure; fit nothing")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    args = parser.parse_args()
    cases = [case for case in all_cases() if case.kind in (args.only or get_args(Kind)) and case.seed < args.seeds]
    if args.list:
        print("\n".join(f"{case.name}, seed {case.seed}" for case in cases))
    elif args.report:
        lines = [judged_now(line) for line in read_results(args.results)]
        if not lines:
            raise SystemExit(f"{args.results} has no results yet")
        print(table(lines))
        draw(lines, args.figure)
    else:
        calibrate(cases, args.results, args.data, args.encoders, args.jobs)


if __name__ == "__main__":
    main()
