"""Wide spaces: 4,096 against 1,024 dimensions at 20,000 rows, with time, memory and top-1.

    python benchmarks/wide.py
    python benchmarks/wide.py --report        # the table (Markdown)

The wide spaces are made from real ones: the vectors of the standard split go through a random layer (a tanh of random
projections, unnormalised, with a mean of its own), MiniLM to 4,096 dimensions and USE to 1,024. "procrustes" sees
1,000 true pairs, which no other method does, and says what can be expected.
"""

from __future__ import annotations

import argparse
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

RESULTS = HERE / "results" / "wide.jsonl"
KEY = ("method", "widths", "rows", "seed")
BLOCK = 4096


def widen(x: np.ndarray, width: int, seed: int) -> np.ndarray:
    """A random layer: 3 tanh(x A + b) + c of x (n, d) to (n, width), float32.

    Where rows of ``x`` have norm 1, the tanh is given values of standard deviation 1.6: it bends well.
    """
    rng = np.random.default_rng(seed)
    weight = 1.5 * rng.standard_normal((x.shape[1], width), dtype=np.float32)
    bias = 0.5 * rng.standard_normal(width, dtype=np.float32)
    offset = 0.5 * rng.standard_normal(width, dtype=np.float32)
    wide = [3 * np.tanh(x[start : start + BLOCK] @ weight + bias) + offset for start in range(0, len(x), BLOCK)]
    return np.concatenate(wide).astype(np.float32, copy=False)


def write_wide(folder: Path, widths: tuple[int, int], seed: int) -> None:
    """Replace the files of a split by what the random layers make of them."""
    for side, (name, width) in enumerate(zip(("source", "target"), widths, strict=True)):
        for path in (folder / f"{name}.npy", folder / f"{name}_eval.npy"):
            np.save(path, widen(np.load(path), width, seed + side))
    with np.load(folder / "pairs.npz") as pairs:
        left, right = widen(pairs["source"], widths[0], seed), widen(pairs["target"], widths[1], seed + 1)
    np.savez(folder / "pairs.npz", source=left, target=right)


def perform(task: Line, folder: Path, shared: Path) -> Line:
    """Fit, translate both ways, score."""
    translator, scorer = folder / "translator", shared / "check" / "score.py"
    flags: list[object] = ["--method", task["method"], "--seed", task["seed"]]
    if task["method"] == "procrustes":
        flags += ["--pairs", folder / "pairs.npz"]
    fitted = fit(folder / "source.npy", folder / "target.npy", translator, *flags)
    left, right = folder / "source_eval.npy", folder / "target_eval.npy"
    return task | {
        "fit": fitted,
        "forward": translate_and_score(translator, left, right, scorer),
        "reverse": translate_and_score(translator, right, left, scorer, "--reverse"),
        "machine": machine(),
    }


def report(lines: list[Line]) -> str:
    head = ["source", "target", "method", "seed", "fit, s", "peak, MiB", "verdict", "top-1", "rank", "back: top-1"]
    return markdown(head, [_cells(line) for line in lines])


def _cells(line: Line) -> list[str]:
    return [
        *(f"{line['rows']:,} x {width:,}" for width in line["widths"]),
        line["method"],
        str(line["seed"]),
        f"{line['fit']['seconds']:.0f}",
        f"{line['fit']['peak_mib']:,}",
        line["fit"]["verdict"] or "none",
        f"{line['forward']['top1']:.3f}",
        f"{line['forward']['rank']:.1f}",
        f"{line['reverse']['top1']:.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs=2, type=int, default=(4096, 1024), metavar=("SOURCE", "TARGET"))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--methods", nargs="+", choices=("sinkhorn", "mini", "procrustes"), default=None)
    parser.add_argument("--seed", type=int, default=0, help="of the rows, the random layers and the fit")
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of data/ and check/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table; fit nothing")
    args = parser.parse_args()
    if args.report:
        print(report(need_lines(args.results)))
        return
    done = [{key: line[key] for key in KEY} for line in read_lines(args.results)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split(args.data, folder, "--rows", args.rows, "--seed", args.seed, "--data", args.data / "data")
        write_wide(folder, tuple(args.widths), args.seed)
        for method in args.methods or ("sinkhorn", "procrustes"):
            task = {"method": method, "widths": list(args.widths), "rows": args.rows, "seed": args.seed}
            if task not in done:
                line = perform(task, folder, args.data)
                add_line(args.results, line)
                print(report([line]), flush=True)


if __name__ == "__main__":
    main()
