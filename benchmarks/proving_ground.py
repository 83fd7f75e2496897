"""How far an unpaired fit gets, by encoders, overlap of domains and sizes, beside what pairs can do.

    python benchmarks/encoders.py                          # once: the encoders beside the shared two
    python benchmarks/proving_ground.py                    # a JSON line per cell, way, seed; goes on where it stopped
    python benchmarks/proving_ground.py --way unpaired --pair minilm use --pair words chars
    python benchmarks/proving_ground.py --report           # the tables (Markdown)

A cell is an ordered pair of encoders, an overlap, a ratio of sizes and the rows of the leak, the source. The pairs of
`GRID` have every combination of them; the others change one at a time. Four ways, each scored as
`verdict_calibration.py` does:

=============  ======================================================================================
way            what
=============  ======================================================================================
all pairs      Procrustes on all texts of the source's half in domains that both sides have: the limit
30 pairs       ``method="few-pairs"``
unpaired       ``method="sinkhorn"``, and its verdict
first guesses  each before and after its refinement, see `first_guesses.py`; on one thread
=============  ======================================================================================

All of it takes days on two cores: take a part by `--pair`, `--factor`, `--seeds`. Compare seconds at equal `--threads`.
A line says when it was run; one from before 29 November, 23:00, when it was committed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import CACHE, DATA, HERE, Case, Kind
from first_guesses import GUESSES, first_guesses
from verdict_calibration import truth

import vec2vec
from vec2vec.align.judge import verdict_from
from vec2vec.verdict import Verdict

RESULTS = HERE / "results" / "proving_ground.jsonl"
ENCODERS = ("minilm", "use", "w2v", "ppmi", "words", "chars", "rectified", "transformer")
HELD_OUT = ("layer1", "layer3", "cls")  # no setting of a fitter was chosen by them; only run by `--pair`
GRID = (("minilm", "use"), ("words", "chars"))
Domains = tuple[str, ...]
OVERLAPS: dict[int, tuple[Domains, Domains]] = {  # about the share, in percent, of rows with a like on the other side
    100: ((), ()),
    75: (("movies", "brown", "tweets"), ("movies", "brown", "medquad")),
    50: (("movies", "tweets"), ("movies", "medquad")),
    25: (("medquad", "movies"), ("medquad", "brown")),
    0: (("tweets",), ("brown", "medquad")),
}
RATIOS = (1, 4)
ROWS = (10_000, 3000, 1000)
WAYS = ("all pairs", "30 pairs", "unpaired", "first guesses")
FACTORS = ("none", "overlap", "ratio", "rows", "several")
STARTS, WORKS = 0.3, 0.8  # a pair counts where 30 pairs give so much; an unpaired fit succeeds at that share of it


@dataclass(frozen=True)
class Cell:
    """One fit's setting, but for its way and its seed."""

    source: str
    target: str
    overlap: int = 100
    ratio: int = 1
    rows: int = ROWS[0]

    @property
    def name(self) -> str:
        """Such as ``minilm→use, overlap 50, 1:4, 3000 rows``."""
        return f"{self.source}→{self.target}, overlap {self.overlap}, 1:{self.ratio}, {self.rows} rows"

    @property
    def factor(self) -> str:
        """What is not as in the plainest cell, one of `FACTORS`."""
        changed = [
            name for name, value in (("overlap", 100), ("ratio", 1), ("rows", ROWS[0])) if getattr(self, name) != value
        ]
        return {0: "none", 1: changed[0] if changed else ""}.get(len(changed), "several")

    def case(self, seed: int) -> Case:
        """The arrays' recipe."""
        here, there = OVERLAPS[self.overlap]
        kind: Kind = "encoders" if here == there else "partial"
        return Case(kind, self.source, self.target, self.rows, seed, here, there, self.ratio)


def cells() -> Iterator[Cell]:
    """Every cell, the plainest ones first."""
    pairs = list(itertools.permutations(ENCODERS + HELD_OUT, 2))
    every = [
        Cell(*pair, overlap, ratio, rows)
        for pair, overlap, ratio, rows in itertools.product(pairs, OVERLAPS, RATIOS, ROWS)
    ]
    yield from (cell for factor in FACTORS[:-1] for cell in every if cell.factor == factor)
    yield from (cell for cell in every if cell.factor == "several" and (cell.source, cell.target) in GRID)


def seeds_of(cell: Cell) -> int:
    """Ten of the pairs with a full grid, three of the others."""
    return 10 if (cell.source, cell.target) in GRID else 3


def run(cell: Cell, way: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Fit and score one cell; what goes into the results file."""
    case = cell.case(seed)
    vectors = case.build(args.data, args.encoders)
    if way == "first guesses":
        torch.set_num_threads(1)
        guesses = first_guesses(vectors, seed)
        return {"cell": cell.name, "factor": cell.factor, "way": way, "seed": seed, "guesses": guesses}
    began = time.perf_counter()
    count = {"all pairs": None, "30 pairs": 30}
    pairs = case.pairs(args.data, args.encoders, count[way]) if way in count else None
    method = "procrustes" if way == "all pairs" else None
    fit = vec2vec.fit(vectors.source, vectors.target, method=method, pairs=pairs, seed=case.seed, threads=args.threads)
    seconds = time.perf_counter() - began
    scores = truth(fit.translator, vectors)
    line = {
        "cell": cell.name,
        "factor": cell.factor,
        "way": way,
        "seed": seed,
        "rows": [len(vectors.source), len(vectors.target)],
        "top1": scores["forward"]["top1"],
        "back": scores["reverse"]["top1"],
        "rank": scores["forward"]["rank"],
        "seconds": round(seconds, 1),
        "threads": args.threads,
        "run": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    if way == "unpaired":
        verdict = fit.verdict
        line |= {
            "verdict": verdict.label,
            "expected": round(verdict.expected_top1, 3),
            **{name: round(value, 5) for name, value in verdict.evidence.items() if name != "rows"},
        }
    return line


def read_results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure(args: argparse.Namespace, chosen: list[Cell]) -> None:
    """Run what the results do not have yet, a seed of all cells before the next; each line is kept as it comes."""
    done = {(line["cell"], line["way"], line["seed"]) for line in read_results(args.results)}
    args.results.parent.mkdir(parents=True, exist_ok=True)
    with args.results.open("a", encoding="utf8") as file:
        for seed, cell, way in itertools.product(args.seeds, chosen, args.way or WAYS):
            pointless = cell.overlap == 0 and way in ("all pairs", "30 pairs")
            if seed < seeds_of(cell) and not pointless and (cell.name, way, seed) not in done:
                line = run(cell, way, seed, args)
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                outcome = f"{line['top1']:.3f} {line.get('verdict', '')}" if "top1" in line else ""
                print(f"{way}, seed {seed}: {cell.name} {outcome}", flush=True)


def report(lines: list[dict[str, Any]]) -> str:
    """One row per cell: medians over its seeds, and whether the verdict was right."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[line["cell"]][line["way"]].append(line)
    rows = [
        "| cell | seeds | all pairs | 30 pairs | unpaired (worst) | back | seconds | verdicts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell, ways in found.items():
        unpaired = ways["unpaired"]
        top1 = [line["top1"] for line in unpaired]
        labels = [_verdict(line).label for line in unpaired]
        counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
        worst = f"{_median(unpaired, 'top1')} ({min(top1):.3f})" if top1 else ""
        rows.append(
            f"| {cell} | {len(unpaired)} | {_median(ways['all pairs'], 'top1')} | {_median(ways['30 pairs'], 'top1')} "
            f"| {worst} | {_median(unpaired, 'back')} | {_median(unpaired, 'seconds', '.0f')} | {counts} |"
        )
    return "\n".join([*rows, "", *_sums(found), "", *_guesses(found)])


def _guesses(found: dict[str, dict[str, list[dict[str, Any]]]]) -> Iterator[str]:
    """One row per cell: top-1 and mean rank of each first guess, before and after its refinement; medians."""
    yield "Top-1 (mean rank) of first guesses, before → after refinement:\n"
    yield "| cell | seeds | " + " | ".join(GUESSES) + " |"
    yield "|---|---|" + "---|" * len(GUESSES)
    for cell, ways in found.items():
        lines = ways["first guesses"]
        if lines:
            scores = ([line["guesses"][guess] for line in lines] for guess in GUESSES)
            shown = [" → ".join(_score([one[when] for one in each]) for when in ("before", "after")) for each in scores]
            yield f"| {cell} | {len(lines)} | {' | '.join(shown)} |"


def _score(scores: list[dict[str, float]]) -> str:
    return f"{_median(scores, 'top1')} ({_median(scores, 'rank', ',.0f')})"


def _sums(found: dict[str, dict[str, list[dict[str, Any]]]]) -> Iterator[str]:
    """How many fits succeed of those that 30 pairs can start, and how often the verdict is right."""
    tried = [
        (line["top1"], float(_median(ways["30 pairs"], "top1")))
        for ways in found.values()
        for line in ways["unpaired"]
        if ways["30 pairs"]
    ]
    counted = [(top1, start) for top1, start in tried if start >= STARTS]
    succeeded = sum(top1 >= WORKS * start for top1, start in counted)
    yield f"Of {len(counted)} fits where 30 pairs give {STARTS} or more, {succeeded} reach {WORKS} of that without any."
    judged = [(_verdict(line).label, line["top1"]) for ways in found.values() for line in ways["unpaired"]]
    decided = [(label, top1) for label, top1 in judged if label != "uncertain"]
    right = sum(top1 >= 0.3 if label == "aligned" else top1 < 0.05 for label, top1 in decided)
    false = sum(label == "aligned" and top1 < 0.3 for label, top1 in decided)
    yield (
        f"Of {len(judged)} verdicts, {len(judged) - len(decided)} are `uncertain`; of the others {right} are right, "
        f"{false} a false `aligned`."
    )
    lines = [line for ways in found.values() for line in ways["unpaired"]]
    within = sum(low <= line["top1"] <= high for line in lines for low, high in [_verdict(line).interval])
    yield f"The true top-1 lies in the interval in {within} of {len(lines)}."


def _verdict(line: dict[str, Any]) -> Verdict:
    """The verdict that a line's evidence supports as it is calibrated now; lines of older fits have less of it."""
    evidence = {name: line[name] for name in ("consistency", "lead", "gap", "final_lead") if name in line}
    return verdict_from(evidence | {"rows": float(min(line["rows"]))})


def _median(lines: Sequence[Mapping[str, Any]], key: str, digits: str = ".3f") -> str:
    return format(float(np.median([line[key] for line in lines])), digits) if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", metavar=("SOURCE", "TARGET"), help="may be repeated")
    parser.add_argument("--factor", action="append", choices=FACTORS, help="what differs from the plainest cell")
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoders", type=Path, default=CACHE, help="the folder of encoders.py's output")
    parser.add_argument("--list", action="store_true", help="name the cells that would run, and stop")
    parser.add_argument("--report", action="store_true", help="print the tables; fit nothing")
    args = parser.parse_args()
    pairs = {tuple(pair) for pair in args.pair or itertools.permutations(ENCODERS, 2)}
    chosen = [
        cell for cell in cells() if (cell.source, cell.target) in pairs and cell.factor in (args.factor or FACTORS)
    ]
    if args.list:
        print("\n".join(cell.name for cell in chosen))
    elif args.report:
        print(report(read_results(args.results)))
    else:
        measure(args, chosen)


if __name__ == "__main__":
    main()
