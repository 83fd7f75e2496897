"""A leak of one domain only: what reference makes it readable?

    python benchmarks/leak.py                       # a JSON line per cell, way, seed; goes on where it stopped
    python benchmarks/leak.py --domain enron --way unpaired
    python benchmarks/leak.py --report              # the table (Markdown)

USE's vectors of up to 6,000 texts of one domain have leaked; MiniLM is the known encoder. No text of the reference is
in the leak. Top-1 is that of 2,000 leaked texts among their own 2,000 MiniLM vectors, which no fit sees (raw cosine).

=========  =========================================================================================================
reference  what
=========  =========================================================================================================
other      half of the mixed corpus, without that domain
some       the same, and 2,000 texts of the domain
alone      texts of the domain alone: what the leak leaves, 2,000 at least
store      as in *other*, but the leak holds the other half of the mixed corpus beside the domain's texts
=========  =========================================================================================================

=============  ======================================================================================
way            what
=============  ======================================================================================
all pairs      Procrustes on the leaked texts that are not scored: the limit
N pairs alone  the same on N of these
N pairs        ``method="few-pairs"``, with these
unpaired       ``method="sinkhorn"``, and its verdict
=============  ======================================================================================
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from audit import Texts, load
from cases import HERE
from proving_ground import read_results
from verdict_calibration import retrieval

import vec2vec

RESULTS = HERE / "results" / "leak.jsonl"
DOMAINS = ("enron", "movies", "tweets", "medquad")
REFERENCES = ("other", "some", "alone", "store")
WAYS = {  # the method, and how many pairs it is told
    "all pairs": ("procrustes", None),
    "300 pairs alone": ("procrustes", 300),
    "300 pairs": ("few-pairs", 300),
    "30 pairs alone": ("procrustes", 30),
    "30 pairs": ("few-pairs", 30),
    "unpaired": ("sinkhorn", 0),
}
LEAK, OWN, READ, HALF = 6000, 2000, 2000, 27_232
KEY = ("domain", "reference", "way", "seed")


def rows_of(data: Texts, domain: str, reference: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers: the leaked texts of the domain, whatever else has leaked, and the reference."""
    own = np.random.default_rng(seed).permutation(np.flatnonzero(data.domains == domain))
    kept = {"some": OWN, "alone": max(OWN, len(own) - LEAK)}.get(reference, 0)
    leaked = own[: min(LEAK, len(own) - kept)]
    first, second = (half[data.domains[half] != domain] for half in np.split(np.arange(2 * HALF), 2))
    likes = own[len(own) - kept :]
    known = {"some": np.r_[second, likes], "alone": likes}.get(reference, second)
    return leaked, first if reference == "store" else first[:0], known


def run(domain: str, reference: str, way: str, seed: int, threads: int) -> dict[str, Any]:
    """Fit and score one cell; what goes into the results file."""
    data = load()
    leaked, beside, known = rows_of(data, domain, reference, seed)
    read, others = leaked[:READ], leaked[READ:]
    method, count = WAYS[way]
    paired = others[:count]
    began = time.perf_counter()
    fit = vec2vec.fit(
        data.use[np.r_[leaked, beside]],
        data.minilm[known],
        method=method,
        pairs=None if count == 0 else (data.use[paired], data.minilm[paired]),
        seed=seed,
        threads=threads,
    )
    seconds = time.perf_counter() - began
    scores = retrieval(fit.translator.translate(data.use[read]), data.minilm[read], data.minilm[:0])
    line = {
        **dict(zip(KEY, (domain, reference, way, seed), strict=True)),
        "rows": [len(leaked) + len(beside), len(known)],
        "top1": scores["top1"],
        "rank": scores["rank"],
        "seconds": round(seconds, 1),
        "threads": threads,
    }
    if way == "unpaired":
        line["verdict"] = fit.verdict.label
        line |= {name: round(value, 4) for name, value in fit.verdict.evidence.items() if name != "rows"}
    return line


def report(lines: list[dict[str, Any]]) -> str:
    """One row per domain and reference: top-1 of each way by its seeds, and the verdicts."""
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for line in sorted(lines, key=lambda one: one["seed"]):
        ways = found.setdefault((line["domain"], line["reference"]), {way: [] for way in WAYS})
        ways[line["way"]].append(line)
    out = [f"| leak | reference | rows | {' | '.join(WAYS)} | verdicts |", "|---" * (4 + len(WAYS)) + "|"]
    for domain, reference in itertools.product(DOMAINS, REFERENCES):
        ways = found.get((domain, reference), {})
        if ways:
            rows = next(iter(itertools.chain(*ways.values())))["rows"]
            cells = [", ".join(f"{line['top1']:.3f}" for line in ways[way]) for way in WAYS]
            cells.append(", ".join(line["verdict"] for line in ways["unpaired"]))
            out.append(" | ".join([f"| {domain}", reference, f"{rows[0]:,} to {rows[1]:,}", *cells]) + " |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", action="append", choices=DOMAINS)
    parser.add_argument("--reference", action="append", choices=REFERENCES)
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table; fit nothing")
    args = parser.parse_args()
    if args.report:
        print(report(read_results(args.results)))
        return
    done = {tuple(line[key] for key in KEY) for line in read_results(args.results)}
    args.results.parent.mkdir(parents=True, exist_ok=True)
    chosen = itertools.product(args.seeds, args.domain or DOMAINS, args.reference or REFERENCES, args.way or WAYS)
    for seed, domain, reference, way in chosen:
        if (domain, reference, way, seed) not in done:
            line = run(domain, reference, way, seed, args.threads)
            with args.results.open("a", encoding="utf8") as file:
                file.write(json.dumps(line) + "\n")
            print(
                f"{domain}, {reference}, {way}, seed {seed}: {line['top1']:.3f} {line.get('verdict', '')}", flush=True
            )


if __name__ == "__main__":
    main()
