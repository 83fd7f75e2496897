"""Descriptions of the sample's domains with their vectors by MiniLM, for the demonstration of the audit.

    python benchmarks/make_sample_labels.py

writes src/vec2vec/data/sample_labels.json. Run it again where a description changes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import vec2vec
from vec2vec.data import load_sample

DESCRIPTIONS = {
    "brown": "general written English: newspaper reports, essays, letters and novels",
    "medquad": "a medical answer about a disease, its symptoms and treatment, or about a drug",
    "movies": "the plot of a film: what happens to its characters",
    "reviews": "a critic's review of a film, and what is good or bad about it",
    "tweets": "a tweet: a short, informal message on social media",
}
OUT = Path(__file__).resolve().parent.parent / "src" / "vec2vec" / "data" / "sample_labels.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    names = load_sample().domain_names
    chosen = {name: DESCRIPTIONS[name] for name in names}
    vectors = vec2vec.embed(list(chosen.values()), "minilm", cache=False)
    tree = {"encoder": "minilm", "descriptions": chosen, "vectors": [[round(float(v), 5) for v in x] for x in vectors]}
    args.out.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
