"""CLIP, as in the paper and beyond it: its text vectors against a text encoder's, its images against its texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import save_images, sentences

import vec2vec
from vec2vec.errors import Vec2VecWarning


@pytest.fixture(scope="module")
def towers(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of 150 images and of 150 texts, by the same CLIP."""
    folder = tmp_path_factory.mktemp("pictures") / "images"
    save_images(folder, 150)
    clip = vec2vec.get_encoder(str(models / "clip"))
    images = vec2vec.embed(folder, clip, cache=False)
    return images, vec2vec.embed(sentences(150), clip, cache=False)


def unit(x: np.ndarray) -> np.ndarray:
    out: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return out


def test_images_against_texts_cross_the_gap_and_get_a_verdict(
    towers: tuple[np.ndarray, np.ndarray],
) -> None:
    """The two towers lie in different cones. A fit takes each mean away and gives back the other's.

    The pictures are noise and have nothing to do with the texts. So few rows of so few dimensions do not show that
    surely, but the verdict must not say the contrary.
    """
    images, texts = towers
    gap = unit(images.mean(0)) @ unit(texts.mean(0))
    assert gap < 0.6  # the modality gap
    quick = {"guesses": 4, "cumulant_starts": 50, "cumulant_generations": 2, "attempts": 1, "rounds": 6}
    with pytest.warns(Vec2VecWarning):
        fit = vec2vec.fit(images, texts, seed=0, source_name="images", target_name="texts", **quick)
    translated = fit.translator.translate(images)
    assert unit(translated.mean(0)) @ unit(texts.mean(0)) > 0.95
    assert fit.verdict.label != "aligned"


def test_its_texts_against_a_text_encoders(models: Path) -> None:
    """512 against 768 dimensions in the paper; here 16 against 24, judged on texts that the fit has not seen."""
    texts = sentences(1300)
    a, b = (vec2vec.embed(texts, str(models / name), cache=False) for name in ("clip", "gtr"))
    fit = vec2vec.fit(a[:1000], b[:1000], "procrustes", pairs=(a[:1000], b[:1000]))
    scores = vec2vec.evaluate(fit.translator, a[1000:], b[1000:], bootstrap=100)
    assert (fit.translator.width("source"), fit.translator.width("target")) == (16, 24)
    assert scores.forward.scores.pool(300).cosine.top1.value > 5 / 300
