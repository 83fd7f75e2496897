"""The throughput of `Translator.translate` in memory, beside a bare float32 `torch.mm` of the same shape.

    python benchmarks/throughput.py [--rows 200000] [--repeats 7] [--threads 2]

Both are timed in turn in the same run, and both make their output anew each time. The ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from vec2vec.preprocess import Preprocessor
from vec2vec.translator import linear_translator

SHAPES = ((384, 512), (512, 384), (768, 768), (1536, 1024))


def unit_rows(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    x: np.ndarray = rng.standard_normal((rows, width), dtype=np.float32) + 1
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(rows: int, d_source: int, d_target: int, repeats: int) -> tuple[float, float]:
    """Median seconds of `translate`, and of the bare product."""
    rng = np.random.default_rng(0)
    x = unit_rows(rng, rows, d_source)
    target = Preprocessor.fit(unit_rows(rng, 2000, d_target))
    weight = np.linalg.qr(rng.standard_normal((max(d_source, d_target),) * 2))[0][:d_source, :d_target]
    translator = linear_translator(Preprocessor.fit(x[:2000]), target, weight)
    matrix = torch.from_numpy(np.ascontiguousarray(weight, dtype=np.float32))
    tensor = torch.from_numpy(x)
    seconds = [
        (timed(lambda: translator.translate(x)), timed(lambda: torch.mm(tensor, matrix))) for _ in range(repeats + 1)
    ][1:]  # the first warms up
    return statistics.median(a for a, _ in seconds), statistics.median(b for _, b in seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.rows:,} rows, {options.threads} threads, medians of {options.repeats}, rows a second")
    for d_source, d_target in SHAPES:
        ours, bare = measure(options.rows, d_source, d_target, options.repeats)
        print(
            f"{d_source:>5} -> {d_target:<5} translate {options.rows / ours:>10,.0f}   torch.mm "
            f"{options.rows / bare:>10,.0f}   ratio {bare / ours:.2f}"
        )


if __name__ == "__main__":
    main()
