from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vec2vec.data import SAMPLE_FILE, Sample, dequantise, load_sample, quantise


@pytest.fixture(scope="module")
def sample() -> Sample:
    return load_sample()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_shapes_and_types(sample: Sample) -> None:
    shapes = {"source": (8000, 384), "target": (8000, 512), "source_eval": (2000, 384), "target_eval": (2000, 512)}
    for name, shape in shapes.items():
        x = getattr(sample, name)
        assert x.shape == shape
        assert x.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, atol=2e-3)
    assert (sample.source_name, sample.target_name) == ("all-MiniLM-L6-v2", "universal-sentence-encoder-lite")


def test_domains_index_the_names(sample: Sample) -> None:
    assert sample.domain_names == ("brown", "medquad", "movies", "reviews", "tweets")
    for name, rows in (("source", 8000), ("target", 8000), ("eval", 2000)):
        domains = getattr(sample, f"{name}_domains")
        assert domains.shape == (rows,)
        assert set(np.unique(domains)) == set(range(len(sample.domain_names)))


def test_fits_the_package() -> None:
    data = files("vec2vec.data") / SAMPLE_FILE
    assert len(data.read_bytes()) <= 10_000_000


def test_held_out_rows_are_pairs_and_training_rows_are_not(sample: Sample) -> None:
    """A map fitted on half of the held-out pairs retrieves the other half; on 'paired' training rows it does not."""

    def top1(source: np.ndarray, target: np.ndarray) -> float:
        W = np.linalg.lstsq(source[:1000], target[:1000], rcond=None)[0]
        sims = unit(source[1000:2000] @ W) @ unit(target[1000:2000]).T
        return float((sims.argmax(axis=1) == np.arange(1000)).mean())

    assert top1(sample.source_eval, sample.target_eval) > 0.5
    assert top1(sample.source, sample.target) < 0.02


def test_no_vector_stands_on_both_sides(sample: Sample) -> None:
    """Held-out texts are not among the training texts (seen through each encoder)."""
    for side in ("source", "target"):
        sims = unit(getattr(sample, f"{side}_eval")) @ unit(getattr(sample, side)).T
        assert (sims > 0.9999).mean(axis=1).sum() == 0


@given(arrays(np.float32, (3, 7), elements=st.floats(-1e3, 1e3, width=32)))
def test_quantise_is_within_half_a_step(x: np.ndarray) -> None:
    codes, scale = quantise(x)
    assert codes.dtype == np.int8
    assert scale.shape == (3, 1)
    assert np.all(np.abs(dequantise(codes, scale) - x) <= 0.501 * scale)
