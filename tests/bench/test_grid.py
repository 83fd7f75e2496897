"""The grid: what becomes a cell, and what a cell's id depends on."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from bench_data import CORPUS, FILES, WORDS, experiment, toml

from vec2vec.bench.config import parse_config
from vec2vec.bench.grid import Cell, Grid, make_grid
from vec2vec.bench.places import Places, fingerprints
from vec2vec.bench.prepare import corpus_uri
from vec2vec.bench.worlds import CorpusWorld, Truth
from vec2vec.errors import InputError
from vec2vec.settings import parse_toml


def grid(data: Path, *parts: str) -> Grid:
    config = parse_config(parse_toml(toml(data, *parts), "test"), "test")
    return make_grid(config, fingerprints(config))


def test_rows_count_for_unpaired_methods_and_pairs_for_those_that_see_them(data: Path) -> None:
    made = grid(
        data,
        FILES,
        experiment(
            data="pairs", methods=["mini", "procrustes", "identity", "ot-emd"], rows=[50, "all"], pairs=[10, 30],
            seeds=[3, 4, 5],
        ),
    )  # fmt: skip
    found = [(cell.method, cell.rows, cell.pairs, cell.seed) for cell in made.cells.values()]
    assert len([one for one in found if one[0] == "mini"]) == 6
    assert {one[1:3] for one in found if one[0] == "procrustes"} == {("all", 10), ("all", 30)}
    assert [one for one in found if one[0] == "identity"] == [("identity", None, 0, 3)]
    assert len([one for one in found if one[0] == "ot-emd"]) == 3
    assert [seed for *_, seed in found] == sorted(seed for *_, seed in found)  # the first seeds come first


def test_entries_set_bounds_to_their_method(data: Path) -> None:
    part = FILES + '[methods.mini]\nseeds = 1\nrows = [60]\n[methods.white]\nmethod = "procrustes"\npairs = [40]\n'
    part += "settings = { whitening = 0.5 }\n"
    settings = {"data": "pairs", "methods": ["mini", "white"], "rows": [50], "pairs": [10], "seeds": [0, 1]}
    found = [
        (cell.method, cell.rows, cell.pairs, cell.seed)
        for cell in grid(data, part, experiment(**settings)).cells.values()
    ]
    assert found == [("mini", 60, 0, 0), ("white", 50, 40, 0), ("white", 50, 40, 1)]


def test_experiments_share_cells_and_an_id_changes_with_all_that_decides(data: Path, tmp_path: Path) -> None:
    one = experiment(data="pairs", methods=["ridge"], pairs=[20])
    made = grid(data, FILES, one, experiment(name="f", data="pairs", methods=["ridge"], pairs=[20, 30]))
    assert len(made.cells) == 2
    assert set(made.experiments["e"]) < set(made.experiments["f"])
    cell = next(iter(made.cells.values()))
    for change in ({"seed": 9}, {"pairs": 11}, {"settings": {"penalty": 1.0}}, {"score_rows": 50}, {"pools": (10,)}):
        assert replace(cell, **change).id != cell.id
    assert Cell.from_dict(asdict(cell)).id == cell.id
    for name in ("left.npy", "right.npy"):  # the same content elsewhere is the same cell; other content is not
        (tmp_path / name).write_bytes((data / name).read_bytes())
        for more in ("eval", "pairs"):
            other = name.replace(".", f"-{more}.")
            (tmp_path / other).write_bytes((data / other).read_bytes())
    assert set(grid(tmp_path, FILES, one).cells) == {cell.id}
    np.save(tmp_path / "left.npy", np.load(data / "left.npy") + 1)
    assert set(grid(tmp_path, FILES, one).cells) != {cell.id}


def test_what_tables_call_the_spaces_does_not_change_an_id(data: Path) -> None:
    one = experiment(data="pairs", methods=["ridge"], pairs=[20])
    unnamed = FILES.replace('source_label = "Left"', "").replace('target_label = "Right"', "")
    found = {name for part in (FILES, FILES.replace("Left", "Old"), unnamed) for name in grid(data, part, one).cells}
    assert len(found) == 1
    words = experiment(data="words", methods=["ridge"], pairs=[20])
    assert set(grid(data, WORDS + 'source_label = "English"', words).cells) == set(grid(data, WORDS, words).cells)


@pytest.mark.parametrize(
    ("copy", "file"), [("enron:mails", "mails/a/1."), ("nq:copy.jsonl", "copy.jsonl"), ("enron:m.csv::b", "m.csv")]
)
def test_the_local_copy_of_a_listed_corpus_lies_in_the_root_and_an_id_changes_with_it(
    tmp_path: Path, copy: str, file: str
) -> None:
    part = f'[spaces.l]\nencoder = "minilm"\n[spaces.r]\nencoder = "e5"\n[data.c]\nkind = "corpus"\ntexts = "{copy}"\n'
    one = experiment(data="c", spaces=[["l", "r"]], methods=["mini"])
    with pytest.raises(InputError, match="there is no such file"):
        grid(tmp_path, part, one)
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one")
    before = set(grid(tmp_path, part, one).cells)
    path.write_text("another")
    assert set(grid(tmp_path, part, one).cells) != before
    config = parse_config(parse_toml(toml(tmp_path, part, one), "test"), "test")
    name, _, place = copy.partition(":")
    assert corpus_uri(config, copy) == f"{name}:{tmp_path}/{place}"
    for hub in ("nq", "nq::text", "hf:some/data:train"):
        assert corpus_uri(config, hub) == hub


def test_the_sets_of_a_corpus_are_disjoint_and_a_choice_of_domains_is_scored_on_those_of_both(
    data: Path, tmp_path: Path
) -> None:
    config = parse_config(
        parse_toml(
            toml(
                data, CORPUS,
                experiment(
                    data="texts", spaces=[["left", "right"]], methods=["procrustes"], pairs=[10],
                    source_domains=["d0", "d1"], target_domains=["d1", "d2"],
                ),
            ),
            "test",
        ),
        "test",
    )  # fmt: skip
    places = Places(config, fingerprints(config), tmp_path)
    from vec2vec.bench.prepare import perform_step, steps

    for step in steps(places):
        perform_step(places, step.job)
    (cell,) = make_grid(config, places.inputs).cells.values()
    world = CorpusWorld(places, cell)
    left, right = np.load(data / "left.npy"), np.load(data / "right.npy")
    found = {
        "source": world.side("source").take(), "target": world.side("target").take(), "known": world.known(0)[0].take(),
    }  # fmt: skip
    truth = world.truth("texts")
    assert isinstance(truth, Truth)
    rows = {
        "source": [int(np.flatnonzero((left == x).all(1))[0]) for x in found["source"]],
        "target": [int(np.flatnonzero((right == x).all(1))[0]) for x in found["target"]],
        "known": [int(np.flatnonzero((left == x).all(1))[0]) for x in found["known"]],
        "held out": [int(np.flatnonzero((left == x).all(1))[0]) for x in truth.source.take()],
    }
    assert max(rows["source"]) < 120 <= min(rows["target"])
    assert max(rows["target"]) < 240 <= min(rows["held out"])
    assert set(rows["known"]) < set(rows["source"])
    assert truth.domains is not None
    assert set(truth.domains) == {"d1"}
    np.testing.assert_array_equal(truth.target.take(), right[rows["held out"]])
