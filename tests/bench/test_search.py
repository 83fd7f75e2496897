"""Encoders that run: a corpus divided by a hash, embedded, fitted, and searched across both spaces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bench_data import experiment
from model2vec import StaticModel
from tiny_encoders import WORDS, save_clip, save_images, word_tokenizer

from vec2vec.bench.config import parse_config
from vec2vec.bench.grid import make_grid
from vec2vec.bench.places import Places, fingerprints
from vec2vec.bench.prepare import perform_step, steps
from vec2vec.bench.report import flatten
from vec2vec.bench.tables import search_table
from vec2vec.bench.work import perform
from vec2vec.bench.worlds import check_sizes, open_world
from vec2vec.errors import ConfigError
from vec2vec.settings import parse_toml

CONFIG = """
[spaces.one]
encoder = "{folder}/one"
[spaces.two]
encoder = "{folder}/two"
[data.texts]
kind = "corpus"
texts = "{folder}/texts.jsonl"
split = "hash"
domains = "kind"
rows = 150
held_out = 40
[search.items]
kind = "known-item"
data = "texts"
[search.beir]
kind = "beir"
folder = "{folder}/beir"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two static encoders, the second a rotation of the first into a wider space; texts; a BEIR folder."""
    monkeypatch.setenv("VEC2VEC_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    tokenizer = word_tokenizer("", "", "[PAD]", "[UNK]")
    table = rng.standard_normal((tokenizer.get_vocab_size(), 8)).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((12, 8)))[0].T.astype(np.float32)
    for name, vectors in (("one", table), ("two", table @ rotation)):
        StaticModel(vectors, tokenizer, normalize=True).save_pretrained(tmp_path / name)
    words = WORDS[:-5]

    def sentence() -> str:
        return " ".join(rng.choice(words, 7)) + "."

    with (tmp_path / "texts.jsonl").open("w") as stream:
        for i in range(500):
            topic = sentence()
            text = f"The {topic} The {topic.removesuffix('.')} {sentence()}"
            stream.write(json.dumps({"id": i, "text": text, "kind": "odd" if i % 2 else "even"}) + "\n")
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    texts = [sentence() for _ in range(12)]
    for name in ("corpus", "queries"):
        lines = (json.dumps({"_id": f"{name[0]}{i}", "text": text}) + "\n" for i, text in enumerate(texts))
        (tmp_path / "beir" / f"{name}.jsonl").write_text("".join(lines))
    judged = "".join(f"q{i}\tc{i}\t1\n" for i in range(12))
    (tmp_path / "beir" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return tmp_path


def prepared(text: str, folder: Path) -> Places:
    """The places of a configuration, with all that its cells need."""
    config = parse_config(parse_toml(text, "test"), "test")
    places = Places(config, fingerprints(config), folder / "out")
    for step in steps(places):
        if not step.done:
            perform_step(places, step.job)
    return places


def test_a_rotation_found_by_pairs_searches_as_well_as_the_native_systems(folder: Path) -> None:
    settings = {"data": "texts", "spaces": [["one", "two"]], "methods": ["procrustes"], "pairs": [60], "rows": [100]}
    text = CONFIG.format(folder=folder)
    text += experiment(
        **settings, searches=["items", "beir"], measures=["retrieval", "search"], score_on=["texts", "texts:odd"]
    )
    config = parse_config(parse_toml(text, "test"), "test")
    places = Places(config, fingerprints(config), folder / "out")
    made = list(steps(places))
    for step in made:
        perform_step(places, step.job)
    assert all(step.done for step in made)
    grid = make_grid(config, places.inputs)
    check_sizes(places, grid.cells.values())
    (cell,) = grid.cells.values()
    result = perform(places, cell, 1)
    pools = {(line["scored_on"], line["pool"]) for line in result["lines"] if "top1" in line}
    assert {name for name, _ in pools} == {"texts", "texts:odd"}
    assert dict(pools)["texts:odd"] < dict(pools)["texts"] <= 40
    assert min(line["top1"] for line in result["lines"] if "top1" in line) > 0.9
    found = [line for line in result["lines"] if "system" in line]
    assert len(found) == 8  # two searches, two directions, two systems
    for line in found:
        assert line["target_recall1"] > 0.2  # chance is 1 of 39, or of 12
        assert line["ndcg10_to_target"] == pytest.approx(1, abs=0.1)
        assert line["ndcg10_to_source"] == pytest.approx(1, abs=0.1)
    assert {line["queries"] for line in found if line["scored_on"] == "search beir"} == {12}

    rows = list(flatten(config, grid, {cell.id: {"status": "done", "date": "2026", **result}}))
    table = search_table(rows, "t")
    assert table is not None
    first = table.table.sections[0]
    assert [row[0] for row in first.rows[:2]] == ["native two", "native one"]
    assert {row[3] for row in first.rows[2:]} == {"translated documents", "translated queries"}


def test_a_corpus_that_only_a_search_uses_is_divided(folder: Path) -> None:
    other = '[search.news]\nkind = "known-item"\ndata = "news"\n[data.news]\nkind = "corpus"\nsplit = "hash"\n'
    other += f'texts = "{folder}/texts.jsonl"\nheld_out = 30\n'
    settings = {"data": "texts", "spaces": [["one", "two"]], "methods": ["mini"], "rows": [100]}
    text = CONFIG.format(folder=folder) + other
    text += experiment(**settings, searches=["news"], measures=["search"])
    places = prepared(text, folder)
    assert pq.read_metadata(places.corpus("news") / "held_out.parquet").num_rows == 30
    assert 20 < len(np.load(places.search_vectors("news", "two", "queries"))) <= 30


@pytest.mark.parametrize("split", ["hash", "halves"])
def test_ids_that_repeat_are_none_of_a_benchmark_s_business(folder: Path, split: str) -> None:
    lines = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    repeated = (json.dumps(line | {"id": line["id"] // 2}) + "\n" for line in lines)
    (folder / "texts.jsonl").write_text("".join(repeated))
    settings = {"data": "texts", "spaces": [["one", "two"]], "methods": ["procrustes"], "pairs": [60], "rows": [100]}
    text = CONFIG.format(folder=folder).replace('"hash"', json.dumps(split)) + experiment(
        **settings, searches=["items"], measures=["retrieval", "search"]
    )
    places = prepared(text, folder)
    grid = make_grid(places.config, places.inputs)
    check_sizes(places, grid.cells.values())
    (cell,) = grid.cells.values()
    lines = perform(places, cell, 1)["lines"]
    assert min(line["top1"] for line in lines if "top1" in line) > 0.9
    assert min(line["ndcg10_to_target"] for line in lines if "system" in line) > 0.9


def test_a_folder_of_images_is_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEC2VEC_CACHE", str(tmp_path / "cache"))
    save_clip(tmp_path / "clip")
    save_images(tmp_path / "images", 6)
    text = "".join(f'[spaces.{name}]\nencoder = "{tmp_path}/clip"\n' for name in ("one", "two"))
    text += f'[data.pictures]\nkind = "corpus"\ntexts = "{tmp_path}/images"\n'
    text += experiment(data="pictures", spaces=[["one", "two"]], methods=["mini"])
    places = prepared(text, tmp_path)
    assert len(np.load(places.vectors("pictures", "two"))) == 6


def test_more_rows_than_a_divided_corpus_has_are_refused_before_the_first_cell(folder: Path) -> None:
    text = CONFIG.format(folder=folder)
    text += experiment(data="texts", spaces=[["one", "two"]], methods=["mini"], rows=[151])
    places = prepared(text, folder)
    with pytest.raises(ConfigError, match="has 150 rows on one side"):
        check_sizes(places, make_grid(places.config, places.inputs).cells.values())


def test_a_seed_draws_the_same_pairs_whatever_the_most_that_are_asked_for(folder: Path) -> None:
    drawn = {}
    for most in (60, 90):
        text = CONFIG.format(folder=folder)
        text += experiment(data="texts", spaces=[["one", "two"]], methods=["ridge"], pairs=[20, most], seeds=[0, 3])
        places = prepared(text, folder)
        grid = make_grid(places.config, places.inputs)
        check_sizes(places, grid.cells.values())
        drawn[most] = {
            (cell.seed, cell.pairs): open_world(places, cell).known(cell.seed)[1].take() for cell in grid.cells.values()
        }
    for seed in (0, 3):
        fewer, more = drawn[60][seed, 20], drawn[90][seed, 20]
        assert [len(fewer), len(more)] == [60, 90]
        np.testing.assert_array_equal(fewer, more[:60])
    assert not np.array_equal(drawn[60][0, 20][:20], drawn[60][3, 20][:20])
