"""What a world reads: a damaged file is an error in one line; which rows are scored, and which a hash holds out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bench_data import CORPUS, FILES, experiment, toml

from vec2vec.bench.config import CorpusData, parse_config
from vec2vec.bench.grid import make_grid
from vec2vec.bench.places import Places, fingerprints
from vec2vec.bench.prepare import divide
from vec2vec.bench.worlds import Truth, open_rows, open_world, read_dictionary, read_word_vectors
from vec2vec.datasets import open_corpus
from vec2vec.errors import InputError
from vec2vec.settings import parse_toml


def truth_of(folder: Path, part: str, **settings: object) -> Truth:
    """The truth of the first cell of an experiment by the mean vector."""
    text = toml(folder, part, experiment(methods=["mean-vector"], **settings))
    config = parse_config(parse_toml(text, "test"), "test")
    places = Places(config, fingerprints(config), folder / "out")
    cell = next(iter(make_grid(config, places.inputs).cells.values()))
    found = open_world(places, cell).truth(cell.score_on[0])
    assert isinstance(found, Truth)
    return found


@pytest.mark.parametrize(("name", "part"), [("pairs", FILES), ("sample", "[data.sample]\nkind = 'sample'\n")])
def test_no_more_rows_are_scored_than_are_asked_for(data: Path, name: str, part: str) -> None:
    every, some = (truth_of(data, more + part, data=name) for more in ("", "score_rows = 30\n"))
    assert (len(every.source), len(some.source), len(some.target)) == (60 if name == "pairs" else 1000, 30, 30)
    x, y = every.source.take(), every.target.take()
    where = [int(np.flatnonzero((x == row).all(1))[0]) for row in some.source.take()]
    assert where == sorted(where) != list(range(30))
    np.testing.assert_array_equal(some.target.take(), y[where])
    if every.domains is not None and some.domains is not None:
        np.testing.assert_array_equal(some.domains, every.domains[where])


def test_the_last_rows_are_held_out_where_the_others_have_no_halves(data: Path) -> None:
    part = CORPUS.replace('domains = "domain"', "").replace("= 60", "= 61")
    found = truth_of(data, part, data="texts", spaces=[["left", "right"]])
    np.testing.assert_array_equal(found.source.take(), np.load(data / "left.npy")[-61:])


def test_a_hash_holds_out_as_many_as_are_asked_for(tmp_path: Path) -> None:
    lines = [json.dumps({"id": i, "text": f"The text number {i // 2 if i < 20 else i}."}) + "\n" for i in range(600)]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    corpus = open_corpus(tmp_path / "texts.jsonl")

    def sizes(held_out: int) -> dict[str, int]:
        divide(corpus, CorpusData(kind="corpus", split="hash", held_out=held_out), tmp_path / f"{held_out}")
        files = (tmp_path / f"{held_out}").glob("*.parquet")
        return {file.stem: pq.read_metadata(file).num_rows for file in files}

    few, many = sizes(20), sizes(400)
    assert (few["held_out"], many["held_out"]) == (20, 400)
    assert few["source"] + few["target"] == pytest.approx(0.9 * 590, abs=25)  # a share of a tenth, as it was
    assert min(many["source"], many["target"]) > 40
    for held_out in (580, 4096):
        with pytest.raises(InputError, match=f"has 590 texts, too few to hold out {held_out:,} and divide the others"):
            sizes(held_out)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.0 2.0\n", "is no .npy array"),
        (b"", "is empty"),
        (np.array([{}, None], object), "holds Python objects"),
        (np.empty((0, 4), np.float32), "is empty: it has no rows"),
        (np.zeros(4, np.float32), r"has shape \(4,\)"),
    ],
)
def test_a_file_that_is_no_array_of_vectors(tmp_path: Path, content: bytes | np.ndarray, message: str) -> None:
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(InputError, match=message) as caught:
        open_rows(path)
    assert "\n" not in str(caught.value)


VEC = "".join(f"word{i} {i}.5 {i * i}.25\n" for i in range(1, 2000)).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.vec", "caf\xe9 1.0 2.0\n".encode("latin-1"), "is not UTF-8"),
        ("x.vec.gz", gzip.compress(VEC)[:-2000], "cannot be read"),
        ("x.vec.gz", VEC, "cannot be read"),
        ("x.vec.gz", gzip.compress(VEC)[:20] + b"\xff" * 200, "cannot be read"),
    ],
)
def test_word_vectors_that_are_damaged(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_word_vectors(str(path), 5000)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        read_dictionary(str(path))


def test_word_vectors_are_read_from_gz(tmp_path: Path) -> None:
    (tmp_path / "x.vec.gz").write_bytes(gzip.compress(VEC))
    words, vectors = read_word_vectors(str(tmp_path / "x.vec.gz"), 5000)
    assert (len(words), vectors.shape) == (1999, (1999, 2))
