"""Clusters with names, seen by two encoders: what an audit of vectors is tested with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vec2vec.audit import LabelSet, Reference, Truth
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Translator, linear_translator
from vec2vec.verdict import Verdict

KINDS, HIDDEN, ROWS, LEAKED = 16, 8, 4000, 2400
NAMES = tuple(f"kind {i}" for i in range(KINDS))
ALIGNED = Verdict("aligned", 0.9, (0.8, 0.95), {}, "Aligned: said by the test.")
# what a quick fit of the world below takes
QUICK = {
    "guesses": 5,
    "contest_whitenings": (),
    "cumulant_starts": 150,
    "cumulant_generations": 3,
    "clusters": (12,),
    "trial_rounds": 20,
    "early_rounds": 20,
    "early_rows": 500,
    "early_draws": 3,
    "kin": 4,
    "kin_rounds": 10,
    "kin_generations": 2,
    "half_rounds": 16,
    "half_rows": 700,
    "rounds": 6,
    "round_rows": 1500,
    "attempts": 2,
    "generations": 1,
    "sharpening": 0,
}


@dataclass(frozen=True)
class World:
    """Clusters with names, seen by an unknown and by a known encoder."""

    leak: np.ndarray  # of the unknown one
    reference: Reference  # other rows, of the known one, with labels
    truth: Truth  # the leak's rows, of the known one, with labels
    labels: LabelSet  # "described" by the clusters' centres in the known space
    translator: Translator  # from pairs


@pytest.fixture(scope="session")
def world() -> World:
    rng = np.random.default_rng(0)
    weights = np.linspace(1, 3, KINDS)
    centres = 1.5 * rng.standard_normal((KINDS, HIDDEN))
    views = [(np.linalg.qr(rng.standard_normal((w, HIDDEN)))[0].T, 0.3 * rng.standard_normal(w)) for w in (24, 40)]

    def see(x: np.ndarray, side: int) -> np.ndarray:
        view, shift = views[side]
        return np.asarray(x @ view + shift + 0.02 * rng.standard_normal((len(x), view.shape[1])), np.float32)

    def points(rows: int) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
        kinds = rng.choice(KINDS, rows, p=weights / weights.sum())
        return centres[kinds] + 0.5 * rng.standard_normal((rows, HIDDEN)), tuple((NAMES[k],) for k in kinds)

    hidden, own = points(LEAKED)
    other, labels = points(ROWS)
    leak, native, reference = see(hidden, 0), see(hidden, 1), see(other, 1)
    start, end = Preprocessor.fit(leak), Preprocessor.fit(native)
    x, y = ((v - p.mean) / np.linalg.norm(v - p.mean, axis=1)[:, None] for v, p in ((leak, start), (native, end)))
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    return World(
        leak,
        Reference(reference, labels=labels),
        Truth(labels=own, vectors=native),
        LabelSet({name: name for name in NAMES}, "kinds", see(centres, 1)),
        linear_translator(start, end, u @ vt, names=("unknown", "known"), verdict=ALIGNED),
    )
