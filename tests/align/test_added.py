"""A further space, joined to a translator at one of its spaces: what does not need a fit from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vec2vec
from vec2vec.align import added, fit
from vec2vec.translator import Translator
from vec2vec.verdict import Verdict

HIDDEN, WIDTHS = 16, (30, 24, 28)


def views(rows: int, shift: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The same points in three spaces."""
    fixed = np.random.default_rng(0)
    matrices = [fixed.standard_normal((HIDDEN, width)) for width in WIDTHS]
    offsets = [2 * fixed.standard_normal(width) for width in WIDTHS]
    points = rng.standard_normal((rows, HIDDEN)) * np.linspace(1.5, 0.5, HIDDEN) + shift * fixed.standard_normal(HIDDEN)
    return [
        np.asarray(points @ matrix + offset + 0.1 * rng.standard_normal((rows, width)), np.float32)
        for matrix, offset, width in zip(matrices, offsets, WIDTHS, strict=True)
    ]


@pytest.fixture
def base() -> Translator:
    a, b, _ = views(1000, 0.0, np.random.default_rng(1))
    return fit(a, b, "procrustes", pairs=(a, b), source_name="a", target_name="b").translator


def by_pairs(monkeypatch: pytest.MonkeyPatch, c: np.ndarray, b: np.ndarray) -> None:
    """Has the new space aligned by pairs, in no time; how it is joined is what is tested."""

    def paired(vectors: Any, reference: Any, method: str, *, progress: Any, **options: Any) -> vec2vec.Fit:
        return fit(vectors, reference, "procrustes", pairs=(c, b), **options)

    monkeypatch.setattr(added, "fit", paired)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_references_of_other_texts_than_the_translators_do_not_move_a_space(
    base: Translator, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    rng = np.random.default_rng(2)
    _, b, c = views(1000, shift, rng)
    by_pairs(monkeypatch, c, b)
    larger = base.add_space(c, "c", {"b": b})
    _, b, c = views(500, shift, rng)
    scores = vec2vec.evaluate(larger, c, b, source_space="c", target_space="b", pools=(None,), bootstrap=100)
    for side in (scores.forward, scores.backward):
        assert side.scores.pool(None).cosine.top1.value > 0.8


def test_a_new_space_that_is_not_aligned_is_told_beside_one_that_was_not_judged() -> None:
    good, bad = (Verdict(label, 0.0, (0.0, 1.0), {}, "Said.") for label in ("aligned", "not aligned"))
    assert added._worse(None, good, "c") is None
    found = added._worse(None, bad, "c")
    assert found is not None
    assert (found.label, found.sentence) == ("not aligned", "Of the space 'c': Said.")
    assert added._worse(good, bad, "c") == found
    assert added._worse(bad, good, "c") is bad
