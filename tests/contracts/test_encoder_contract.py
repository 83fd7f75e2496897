"""What every encoder must satisfy, whatever runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from local_endpoint import serve
from tiny_encoders import models, sentences

from vec2vec.encoders import Encoder, encode, get_encoder
from vec2vec.errors import ConfigError, InputError

__all__ = ["models"]  # the fixture

NAMES = ["cls", "mean", "gtr", "clip", "static", "minilm", "endpoint"]
HERE = [name for name in NAMES if name != "endpoint"]
TEXTS = sentences(30)


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with serve() as endpoint:
        yield f"{endpoint.url}::model"


@pytest.fixture(scope="session")
def make(models: Path, url: str) -> Callable[..., Encoder]:
    """Makes the encoder of a name, with options."""

    def encoder(name: str, **options: object) -> Encoder:
        known = {"endpoint": url, "minilm": "minilm"}
        return get_encoder(known.get(name) or str(models / name), **options)

    return encoder


@pytest.fixture(scope="session")
def encoders(make: Callable[..., Encoder]) -> dict[str, Encoder]:
    return {name: make(name) for name in NAMES}


@pytest.fixture(params=NAMES)
def encoder(request: pytest.FixtureRequest, encoders: dict[str, Encoder]) -> Encoder:
    return encoders[request.param]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_every_position_comes_once(encoder: Encoder) -> None:
    batches = list(encoder.batches(TEXTS))
    assert sorted(np.concatenate([positions for positions, _ in batches])) == list(range(len(TEXTS)))
    for positions, vectors in batches:
        assert vectors.shape == (len(positions), encoder.width)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()


def test_texts_get_different_vectors(encoder: Encoder) -> None:
    assert len(np.unique(encode(encoder, TEXTS).round(5), axis=0)) == len(TEXTS)


def test_a_vector_does_not_depend_on_its_neighbours(encoder: Encoder) -> None:
    together = encode(encoder, TEXTS)
    alone = np.concatenate([encode(encoder, [text]) for text in TEXTS])
    assert cosines(together, alone).min() > 0.99999
    assert cosines(encode(encoder, TEXTS[::-1])[::-1], together).min() > 0.99999


def test_the_same_call_gives_the_same_bits(encoder: Encoder) -> None:
    np.testing.assert_array_equal(encode(encoder, TEXTS), encode(encoder, TEXTS))


def test_no_texts_no_batches(encoder: Encoder) -> None:
    assert list(encoder.batches([])) == []


def test_norm_one_is_what_the_identity_says(encoder: Encoder) -> None:
    norms = np.linalg.norm(encode(encoder, TEXTS), axis=1)
    assert (np.abs(norms - 1).max() < 1e-5) == encoder.identity.normalized


def test_the_identity_tells_all(encoder: Encoder) -> None:
    tree = json.loads(json.dumps(encoder.identity.to_dict()))
    assert tree["dimensions"] == encoder.width
    assert tree["encoder"]
    assert (tree["revision"] == "") == (tree["family"] == "http")
    assert (tree["max_tokens"] is None) == (tree["family"] == "http")


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_that_of_the_settings(name: str, make: Callable[..., Encoder]) -> None:
    first = make(name).identity
    assert make(name).identity.fingerprint() == first.fingerprint()
    other = make(name, dimensions=5) if name == "endpoint" else make(name, max_tokens=5)
    assert other.identity.fingerprint() != first.fingerprint()
    (difference,) = other.identity.differences(first.to_dict())
    assert difference.startswith("dimensions" if name == "endpoint" else "max_tokens 64 there, 5 now")


@pytest.mark.parametrize("name", HERE)
def test_max_tokens_cuts(name: str, make: Callable[..., Encoder]) -> None:
    words = ["river", "garden", "winter", "doctor", "story", "film", "music", "train", "river", "garden"]
    more = [*words, "old", "house", "teacher"]
    short = make(name, max_tokens=6)
    long, longer = encode(short, [" ".join(words), " ".join(more)])
    np.testing.assert_allclose(long, longer, atol=1e-6)
    whole, wholer = encode(make(name), [" ".join(words), " ".join(more)])
    assert np.abs(whole - wholer).max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_a_megabyte(name: str, encoders: dict[str, Encoder]) -> None:
    text = "old river " * 100_000
    x = encode(encoders[name], ["new house", text, text[: len(text) // 2]])
    assert np.isfinite(x).all()
    if name != "endpoint":
        np.testing.assert_allclose(x[1], x[2], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in HERE if name != "static"])
def test_any_characters(name: str, encoders: dict[str, Encoder]) -> None:
    x = encode(encoders[name], ["\U0001f600", "مرحبا", "x", "\t a \n", "a" * 3000, "�", "<|endoftext|>"])
    assert np.isfinite(x).all()
    assert x.any(1).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "clip"])
def test_images_are_refused_by_encoders_of_text(name: str, encoders: dict[str, Encoder], models: Path) -> None:
    with pytest.raises(InputError, match="not images"):
        list(encoders[name].batches(sorted((models / "images").iterdir())))


@pytest.mark.parametrize("name", NAMES)
def test_fewer_dimensions(name: str, make: Callable[..., Encoder], encoders: dict[str, Encoder]) -> None:
    if name == "minilm":  # its card knows of no shorter vectors
        with pytest.raises(InputError, match="384 dimensions may be cut not at all"):
            make(name, dimensions=5)
        return
    short = encode(make(name, dimensions=5), TEXTS)
    assert short.shape == (len(TEXTS), 5)
    if name != "endpoint":
        assert cosines(short, encode(encoders[name], TEXTS)[:, :5]).min() > 0.99999
        with pytest.raises(InputError, match="fewer than the 5000"):
            make(name, dimensions=5000)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_without_use_is_refused(name: str, make: Callable[..., Encoder]) -> None:
    with pytest.raises(ConfigError, match="has no use for"):
        make(name, **({"max_tokens": 5} if name == "endpoint" else {"concurrency": 5}))
    with pytest.raises(ConfigError, match="did you mean 'max_tokens'"):
        make(name, max_token=5)
