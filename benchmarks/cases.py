"""The cases on which the verdict is calibrated: real pairs of encoders, and honest negatives.

A ``Case`` is a recipe; ``build`` makes its arrays from the shared vectors and the encoders of ``encoders.py``. Rows are
drawn as ``../shared/check/split.py --rows N --seed S`` draws them: the source side from the first 27,232 texts, the
target side from the next 27,232, the truth from the last 4,096.

The truth of a case is top-1 by raw cosine **among 4,096 native vectors**, both directions. The queries are the held-out
texts of the domains that both sides have, or of the domains of either side if they share none. Where these are fewer
than 4,096, the pool is filled up, as far as there are any, with native vectors of other texts of the same domains,
which the fit has not seen in that encoder; top-1 among the held-out texts alone is kept beside it. Where the target
side is made up (*noise*, *shuffled*) nothing is right, and the true top-1 is that of chance, 1/4,096.

=========  =============================================================================================
kind       what
=========  =============================================================================================
real       MiniLM and USE, the same mixture of domains on both sides, 8,000 rows or all
encoders   the same with the encoders of ``encoders.py``
noise      the target replaced by Gaussian noise of its mean and covariance
shuffled   the target's principal coordinates, each permuted over the rows: its marginals, nothing joint
disjoint   tweets on one side, MedQuAD and Brown on the other
partial    movies and tweets on one side, movies and MedQuAD on the other
few        the standard pair from 300 to 4,000 rows a side
=========  =============================================================================================
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

Kind = Literal["real", "encoders", "noise", "shuffled", "disjoint", "partial", "few"]

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data"
CACHE = HERE / "cache"
POOL = 4096
CHANCE = 1 / POOL


@dataclass(frozen=True)
class Vectors:
    """The arrays of a case, all float32. ``*_eval`` are row-aligned; ``*_extra`` fill their pool up to 4,096.

    ``target_eval`` is None where no truth exists.
    """

    source: np.ndarray
    target: np.ndarray
    source_eval: np.ndarray
    target_eval: np.ndarray | None
    source_extra: np.ndarray
    target_extra: np.ndarray


@dataclass(frozen=True)
class Case:
    """One fit: two encoders, the rows of each side, and what was done to the target.

    ``seed`` draws the rows and seeds the fit. ``rows`` is the most rows of a side, None for all; the target may have
    ``ratio`` times as many.
    """

    kind: Kind
    source: str
    target: str
    rows: int | None
    seed: int
    source_domains: tuple[str, ...] = ()
    target_domains: tuple[str, ...] = ()
    ratio: int = 1

    @property
    def name(self) -> str:
        """Without the seed, such as ``noise: minilm→use, 8000 rows``."""
        return f"{self.kind}: {self.source}→{self.target}, {self.rows or 'all'} rows"

    def build(self, data: Path = DATA, encoders: Path = CACHE) -> Vectors:
        """Draw the rows and make the arrays."""
        source, target = (load_vectors(name, data, encoders) for name in (self.source, self.target))
        domain = _domains(data)
        half = (len(domain) - POOL) // 2
        texts = np.arange(len(domain))
        first, second, held_out = texts[:half], texts[half : 2 * half], texts[2 * half :]
        here, there = (set(names) or set(domain) for names in (self.source_domains, self.target_domains))
        judged = here & there or here | there

        def of(rows: np.ndarray, names: set[str]) -> np.ndarray:
            return rows[np.isin(domain[rows], sorted(names))]

        left, right, queries = of(first, here), of(second, there), of(held_out, judged)
        rng = np.random.default_rng(self.seed)
        both = of(left, here & there)
        rng.choice(both, min(1000, len(both)), replace=False)  # split.py draws its pairs first: the same rows as there
        if self.rows:
            left, right = (
                np.sort(rng.choice(side, min(most, len(side)), replace=False))
                for side, most in ((left, self.rows), (right, self.ratio * self.rows))
            )
        others = [of(side, judged) for side in (first, second)]
        missing = min(POOL - len(queries), *map(len, others))  # MedQuAD alone does not fill the pool
        unseen_target, unseen_source = (rng.choice(side, missing, replace=False) for side in others)

        target_rows = _float32(target, right)
        made_up = self.kind in ("noise", "shuffled")
        if made_up:
            target_rows = {"noise": gaussian_like, "shuffled": shuffled_like}[self.kind](target_rows, rng)
        return Vectors(
            source=_float32(source, left),
            target=target_rows,
            source_eval=_float32(source, queries),
            target_eval=None if made_up else _float32(target, queries),
            source_extra=_float32(source, unseen_source),
            target_extra=_float32(target, unseen_target),
        )

    def pairs(
        self, data: Path = DATA, encoders: Path = CACHE, count: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Known pairs (count, d_s) and (count, d_t): texts of the source's half, of domains that both sides have."""
        domain = _domains(data)
        half = np.arange((len(domain) - POOL) // 2)
        here, there = (set(names) or set(domain) for names in (self.source_domains, self.target_domains))
        both = half[np.isin(domain[half], sorted(here & there))]
        if count is not None:
            both = np.sort(np.random.default_rng(self.seed).choice(both, count, replace=False))
        source, target = (load_vectors(name, data, encoders) for name in (self.source, self.target))
        return _float32(source, both), _float32(target, both)


def all_cases() -> list[Case]:
    """Every case, the first seed of each before the second of any."""
    return sorted(_families(), key=lambda case: case.seed)


def _families() -> Iterator[Case]:
    standard = (("minilm", "use"), ("use", "minilm"))
    for source, target in standard:
        yield from (Case("real", source, target, 8000, seed) for seed in range(10))
        yield from (Case("real", source, target, None, seed) for seed in range(3))
    for source, target in ENCODER_PAIRS:
        yield from (Case("encoders", source, target, 8000, seed) for seed in range(2))
        yield Case("encoders", source, target, None, 0)
    for source, target, seeds in (("minilm", "use", 10), ("use", "minilm", 5), ("ppmi", "w2v", 5)):
        for seed in range(seeds):
            yield Case("noise", source, target, 8000, seed)
            yield Case("shuffled", source, target, 8000, seed)
    for source, target, seeds in (("minilm", "use", 10), ("use", "minilm", 5)):
        for seed in range(seeds):
            yield Case("disjoint", source, target, 8000, seed, ("tweets",), ("brown", "medquad"))
            yield Case("partial", source, target, 8000, seed, ("movies", "tweets"), ("medquad", "movies"))
    for rows in (300, 1000, 2000, 4000):
        yield from (Case("few", "minilm", "use", rows, seed) for seed in range(10))


ENCODER_PAIRS = (
    ("ppmi", "w2v"),
    ("w2v", "ppmi"),
    ("tfidf", "ppmi"),
    ("chargram", "tfidf"),
    ("w2v", "tfidf"),
    ("minilm", "ppmi"),
    ("ppmi", "use"),
    ("minilm", "chargram"),
    ("chargram", "use"),
    ("tfidf", "minilm"),
    ("minilm", "w2v"),
    ("w2v", "use"),
)


def gaussian_like(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with the mean and covariance of ``x`` (n, d), as many rows, float32."""
    mean = x.mean(0, dtype=np.float64)
    values, axes = np.linalg.eigh(np.cov(x.astype(np.float64), rowvar=False))
    spread = np.sqrt(np.maximum(values, 0))
    return np.asarray(mean + (rng.standard_normal(x.shape) * spread) @ axes.T, np.float32)


def shuffled_like(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``x`` (n, d) with each principal coordinate permuted over the rows: the marginals stay, what is joint goes."""
    mean = x.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(np.cov(x.astype(np.float64), rowvar=False))[1]
    return np.asarray(mean + rng.permuted((x - mean) @ axes, axis=0) @ axes.T, np.float32)


@cache
def _domains(data: Path) -> np.ndarray:
    with gzip.open(data / "mix.jsonl.gz", "rt", encoding="utf8") as lines:
        return np.array([json.loads(line)["domain"] for line in lines])


def load_vectors(name: str, data: Path, encoders: Path) -> np.ndarray:
    """All vectors of an encoder (n, d), mapped from the disk: of a shared one, or of one of ``encoders.py``."""
    file = f"mix.{name}.npy"
    path = data / file if (data / file).exists() else encoders / file
    if not path.exists():
        raise SystemExit(f"{path} is missing: make it with `python benchmarks/encoders.py {name}`")
    return np.asanyarray(np.load(path, mmap_mode="r"))


def _float32(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(x[rows], np.float32)
