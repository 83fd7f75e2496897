from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from vec2vec.errors import InputError, Vec2VecWarning
from vec2vec.stores import open_source, parse_uri, read_vectors, sample_rows
from vec2vec.stores.sampling import _draw


@pytest.fixture
def path(tmp_path: Path) -> Path:
    x = np.arange(1, 201, dtype=np.float32).reshape(100, 2)
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def spoil(path: Path, rows: list[int]) -> None:
    x = np.load(path)
    x[rows] = 0
    np.save(path, x)


@pytest.mark.parametrize("rows", [None, 100, 1000])
def test_all_rows(path: Path, rows: int | None) -> None:
    x, numbers = sample_rows(open_source(path), rows)
    np.testing.assert_array_equal(numbers, np.arange(100))
    np.testing.assert_array_equal(x, np.load(path))
    np.testing.assert_array_equal(read_vectors(path), x)


def test_a_bad_row_is_an_error_if_it_is_drawn(path: Path) -> None:
    spoil(path, [17])
    with pytest.raises(InputError, match="row 17"):
        sample_rows(open_source(path))
    assert 17 not in sample_rows(open_source(path), 10, seed=1)[1]


@pytest.mark.parametrize("choice", ["skip", "keep"])
def test_bad_rows_are_replaced_by_others(path: Path, choice: str) -> None:
    bad = list(range(0, 100, 2))
    spoil(path, bad)
    with pytest.warns(Vec2VecWarning, match=r"x\.npy: \d+ of \d+ rows are no usable vectors and were skipped"):
        x, numbers = sample_rows(open_source(path), 40, 0, choice)  # type: ignore[arg-type]
    assert len(set(numbers.tolist())) == 40
    assert not set(numbers.tolist()) & set(bad)
    assert (np.diff(numbers) > 0).all()
    np.testing.assert_array_equal(x, np.load(path)[numbers])
    with pytest.warns(Vec2VecWarning, match="50 of 100 rows"):
        assert sample_rows(open_source(path), 60, 0, "skip")[1].tolist() == list(range(1, 100, 2))


def test_an_unknown_choice(path: Path) -> None:
    with pytest.raises(InputError, match="on_bad_rows is 'skp'; it can be 'error', 'skip' or 'keep'"):
        sample_rows(open_source(path), 10, 0, "skp")  # type: ignore[arg-type]


def test_none_left(path: Path) -> None:
    spoil(path, list(range(100)))
    with pytest.raises(InputError, match="none of its 100 rows"):
        sample_rows(open_source(path), 5, 0, "skip")
    with pytest.raises(InputError, match="at least 1"):
        sample_rows(open_source(path), 0)


def test_the_sample_is_uniform_over_the_good_rows(path: Path) -> None:
    """2,000 draws of 10 of the 50 good rows: each is drawn 400 times, give or take 18 (one standard deviation)."""
    spoil(path, list(range(50)))
    x = open_source(path)
    counts = np.zeros(100, dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Vec2VecWarning)
        for seed in range(2000):
            counts[sample_rows(x, 10, seed, "skip")[1]] += 1
    assert counts[:50].sum() == 0
    assert np.abs(counts[50:] - 400).max() < 100


def test_draws_avoid_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([0, 1, 5, 9])
    seen = set()
    for _ in range(200):
        more = _draw(rng, 10, 2, drawn)
        assert len(set(more.tolist())) == 2
        seen |= set(more.tolist())
    assert seen == {2, 3, 4, 6, 7, 8}
    assert _draw(rng, 10, 99, drawn).tolist() == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("x.csv", "the suffix '.csv' is unknown; .*.npy, .npz, .parquet, .safetensors, .jsonl"),
        ("x", "there is no suffix"),
        ("x.pkl::v", "the suffix '.pkl' is unknown"),
        ("", "is no file name"),
        ("x.npz::", "is no file name"),
        ("::v", "is no file name"),
    ],
)
def test_names_that_are_none(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_uri(uri)


def test_names_in_parts() -> None:
    assert parse_uri("a/x.NPZ::v") == (Path("a/x.NPZ"), "v")
    assert parse_uri(Path("x.npy")) == (Path("x.npy"), None)
    assert parse_uri("x.parquet::a::b").key == "a::b"
    assert parse_uri("~/x.npy").path == Path.home() / "x.npy"
    assert str(parse_uri("x.npz::v")) == "x.npz::v"
