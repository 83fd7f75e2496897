"""Peak memory of a fit on 1,000,000 x 768 against 1,000,000 x 768 from disk, and of translating such a file.

    python benchmarks/memory.py                                     # about 9 GB of temporary files
    python benchmarks/memory.py --rows 100000 --method mini
    python benchmarks/memory.py --report                            # the table (Markdown)

Each text is a point of a mixture of clusters in 64 dimensions; each side is other points of the same mixture, seen
through a random isometry of its own and with noise of its own. The files are written in blocks into a temporary folder
and removed in the end. Top-1 is among 4,096 further points, whose pairs are known.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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
    translate_and_score,
    vec2vec,
)
from numpy.lib.format import write_array_header_1_0

RESULTS = HERE / "results" / "memory.jsonl"
BLOCK = 8192
HIDDEN = 64
CLUSTERS = 200
HELD_OUT = 4096
NOISE = 0.3  # of the length of a point, in all dimensions together


@dataclass(frozen=True)
class Mixture:
    """Points around random centres of unequal weights; what a text "means"."""

    centres: np.ndarray  # (CLUSTERS, HIDDEN)
    weights: np.ndarray  # (CLUSTERS,)

    @classmethod
    def draw(cls, seed: int) -> Mixture:
        rng = np.random.default_rng(seed)
        weights = rng.gamma(1.0, size=CLUSTERS)
        return cls(rng.standard_normal((CLUSTERS, HIDDEN)), weights / weights.sum())

    def points(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """(rows, HIDDEN)"""
        chosen = rng.choice(CLUSTERS, rows, p=self.weights)
        return self.centres[chosen] + 0.7 * rng.standard_normal((rows, HIDDEN))


def isometry(width: int, seed: int) -> np.ndarray:
    """(HIDDEN, width), orthonormal rows."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, HIDDEN)))[0].T


def see(points: np.ndarray, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a model makes of these points: (rows, width) float32, normalised."""
    spread = NOISE * np.sqrt(HIDDEN / view.shape[1])
    x = points @ view + spread * rng.standard_normal((len(points), view.shape[1]), dtype=np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def blocks(mixture: Mixture, rows: int, view: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, rows, BLOCK):
        yield see(mixture.points(min(BLOCK, rows - start), rng), view, rng)


def write_npy(path: Path, rows: int, width: int, content: Iterator[np.ndarray]) -> None:
    """Write a float32 ``.npy`` a block at a time, without a memory map, whose pages would count as resident."""
    with path.open("wb") as file:
        write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
        for block in content:
            file.write(block.astype("<f4", copy=False).tobytes())


def measure(rows: int, widths: tuple[int, int], method: str, seed: int, folder: Path, shared: Path) -> Line:
    """Write the files, fit, translate, score."""
    mixture = Mixture.draw(seed)
    views = [isometry(width, seed + 1 + side) for side, width in enumerate(widths)]
    held_out = mixture.points(HELD_OUT, np.random.default_rng(seed + 5))
    for side, (name, width) in enumerate(zip(("source", "target"), widths, strict=True)):
        write_npy(folder / f"{name}.npy", rows, width, blocks(mixture, rows, views[side], seed + 10 + side))
        np.save(folder / f"{name}_eval.npy", see(held_out, views[side], np.random.default_rng(seed + 20 + side)))
    translator, truth = folder / "translator", folder / "target_eval.npy"
    fitted = fit(folder / "source.npy", folder / "target.npy", translator, "--method", method, "--seed", seed)
    command = vec2vec("translate", translator, folder / "source.npy", "--out", folder / "translated.npy")
    return {
        "rows": rows,
        "widths": list(widths),
        "method": method,
        "seed": seed,
        "fit": fitted,
        "translate": {"seconds": round(command.seconds, 1), "peak_mib": round(command.peak_mib)},
        "forward": translate_and_score(translator, folder / "source_eval.npy", truth, shared / "check" / "score.py"),
        "machine": machine(),
    }


def report(lines: list[Line]) -> str:
    head = ["source", "target", "method", "fit: peak, MiB", "fit, s", "verdict", "top-1 among 4,096"]
    head += ["translate: peak, MiB", "translate, s"]
    return markdown(head, [_cells(line) for line in lines])


def _cells(line: Line) -> list[str]:
    return [
        *(f"{line['rows']:,} x {width}" for width in line["widths"]),
        line["method"],
        f"{line['fit']['peak_mib']:,}",
        f"{line['fit']['seconds']:.0f}",
        line["fit"]["verdict"] or "none",
        f"{line['forward']['top1']:.3f}",
        f"{line['translate']['peak_mib']:,}",
        f"{line['translate']['seconds']:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--widths", nargs=2, type=int, default=(768, 768), metavar=("SOURCE", "TARGET"))
    parser.add_argument("--method", choices=("sinkhorn", "mini"), default="sinkhorn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the temporary files go; the system's folder by default")
    parser.add_argument("--data", type=Path, default=SHARED, help="the folder of check/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table; fit nothing")
    args = parser.parse_args()
    if args.report:
        print(report(need_lines(args.results)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        line = measure(args.rows, tuple(args.widths), args.method, args.seed, Path(folder), args.data)
    add_line(args.results, line)
    print(report([line]))


if __name__ == "__main__":
    main()
