"""Make the packaged sample (src/vec2vec/data/sample.safetensors) from the shared vectors: vectors and numbers, no text.

    python benchmarks/make_sample.py [--data ../shared/data] [--out FILE] [--seed 0]

The sides are those of the standard split: source rows from the first half of the texts, target rows from the second
half, held-out pairs from the last 4,096. Prints the size and the cosine of the stored vectors with the originals.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from vec2vec.data import SAMPLE_FILE, dequantise, quantise

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = 4096
ROWS = 8000
PAIRS = 2000


def read_domains(path: Path) -> tuple[np.ndarray, list[str]]:
    """The domain of every text, as an index into the sorted names."""
    with gzip.open(path, "rt", encoding="utf8") as lines:
        names, indices = np.unique([json.loads(line)["domain"] for line in lines], return_inverse=True)
    return indices.astype(np.uint8), names.tolist()


def draw(rng: np.random.Generator, start: int, stop: int, count: int) -> np.ndarray:
    """``count`` row numbers of start..stop, without replacement, in order."""
    return np.sort(rng.choice(np.arange(start, stop), count, replace=False))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    found: np.ndarray = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "vec2vec" / "data" / SAMPLE_FILE)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    source = np.load(options.data / "mix.minilm.npy", mmap_mode="r")
    target = np.load(options.data / "mix.use.npy", mmap_mode="r")
    domains, domain_names = read_domains(options.data / "mix.jsonl.gz")
    half = (len(source) - HELD_OUT) // 2
    rng = np.random.default_rng(options.seed)
    source_rows = draw(rng, 0, half, ROWS)
    target_rows = draw(rng, half, 2 * half, ROWS)
    eval_rows = draw(rng, 2 * half, 2 * half + HELD_OUT, PAIRS)

    sides = {
        "source": source[source_rows],
        "target": target[target_rows],
        "source_eval": source[eval_rows],
        "target_eval": target[eval_rows],
    }
    arrays = {
        "source_domains": domains[source_rows],
        "target_domains": domains[target_rows],
        "eval_domains": domains[eval_rows],
    }
    kept = []
    for side, vectors in sides.items():
        arrays[side], arrays[f"{side}_scale"] = quantise(vectors)
        kept.append(cosines(vectors, dequantise(arrays[side], arrays[f"{side}_scale"])))
    about = {
        "domain_names": domain_names,
        "source_name": "all-MiniLM-L6-v2",
        "target_name": "universal-sentence-encoder-lite",
    }
    save_file(arrays, options.out, metadata={"sample": json.dumps(about)})
    cosine = np.concatenate(kept)
    print(f"{options.out.stat().st_size / 1e6:.2f} MB, cosine mean {cosine.mean():.6f} min {cosine.min():.6f}")


if __name__ == "__main__":
    main()
