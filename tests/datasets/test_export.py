"""Corpora written to files: what is in them, how they came to be, and that they appear whole or not at all."""

from __future__ import annotations

import json
import os
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vec2vec.datasets import Corpus, Preparation, Record, open_corpus, open_cutter, write_corpus, write_split
from vec2vec.errors import InputError, OutputError

LINES = 400


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Texts with ids, one or two labels and a split, every tenth a repetition of the one before."""
    path = tmp_path / "texts.jsonl"
    with open(path, "w", encoding="utf8") as stream:
        for i in range(LINES):
            number = i - 1 if i % 10 == 9 else i
            tree = {"id": f"t{i}", "text": f"This is text number {number}, “in quotes”.", "labels": ["a", "b"][: i % 3]}
            stream.write(json.dumps(tree | {"split": "train" if i % 2 else None}) + "\n")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def records(path: Path) -> list[Record]:
    return list(open_corpus(path).records())


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_corpus_as_one_file(file: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    done = write_corpus(open_corpus(file), out)
    assert records(out) == [r for i, r in enumerate(records(file)) if i % 10 != 9]
    assert names(tmp_path) == [out.name, f"{out.name}.json", file.name]
    record = json.loads((tmp_path / f"{out.name}.json").read_text())
    assert record == done.record
    assert record["counts"] == {"read": 400, "left_out": {}, "cut": 0, "duplicates": 40, "written": {"all": 360}}
    assert done.rows == {"all": 360}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_split(file: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "out"
    done = write_split(open_corpus(file), out, held_out=0.25, format=suffix)  # type: ignore[arg-type]
    assert names(out) == ["corpus.json", f"held_out.{suffix}", f"source.{suffix}", f"target.{suffix}"]
    sets = {name: records(out / f"{name}.{suffix}") for name in ("source", "target", "held_out")}
    kept = [r for i, r in enumerate(records(file)) if i % 10 != 9]
    assert sorted(chain(*sets.values()), key=lambda r: int(r.id[1:])) == kept
    for found in sets.values():
        numbers = [int(r.id[1:]) for r in found]
        assert numbers == sorted(numbers)
    assert done.rows == {name: len(found) for name, found in sets.items()}
    assert min(done.rows.values()) > 50
    record = json.loads((out / "corpus.json").read_text())
    assert record == done.record
    assert record["format"] == "vec2vec-corpus"
    assert record["split_unpaired"]["seed"] == 0
    assert record["split_unpaired"]["held_out"] == 0.25
    assert record["counts"]["written"] == done.rows
    assert record["columns"] == {"text": "text", "id": "id", "labels": "labels", "split": "split"}


def test_a_split_without_a_held_out_set(file: Path, tmp_path: Path) -> None:
    done = write_split(open_corpus(file), tmp_path / "out", held_out=0)
    assert names(tmp_path / "out") == ["corpus.json", "source.parquet", "target.parquet"]
    assert set(done.rows) == {"source", "target"}
    assert sum(done.rows.values()) == 360
    with pytest.raises(InputError, match="held_out_rows is 5, and nothing is held out"):
        write_split(open_corpus(file), tmp_path / "other", held_out=0, held_out_rows=5)
    assert not (tmp_path / "other").exists()


def test_the_parquet_has_typed_columns(file: Path, tmp_path: Path) -> None:
    write_corpus(open_corpus(file), tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("id", "string"),
        ("text", "large_string"),
        ("labels", "list<element: string>"),
        ("split", "string"),
    ]


def test_samples_are_of_the_size_asked_for_and_nested(file: Path, tmp_path: Path) -> None:
    few = write_split(open_corpus(file), tmp_path / "few", rows=20, held_out_rows=5)
    more = write_split(open_corpus(file), tmp_path / "more", rows=40)
    assert few.rows == {"source": 20, "target": 20, "held_out": 5}
    assert (more.rows["source"], more.rows["target"]) == (40, 40)
    for name in few.rows:
        assert {r.id for r in records(tmp_path / "few" / f"{name}.parquet")} <= {
            r.id for r in records(tmp_path / "more" / f"{name}.parquet")
        }
    one = write_corpus(open_corpus(file), tmp_path / "one.jsonl", rows=30, seed=1)
    two = write_corpus(open_corpus(file), tmp_path / "two.jsonl", rows=30, seed=2)
    assert one.rows == two.rows == {"all": 30}
    drawn = [{r.id for r in records(tmp_path / f"{name}.jsonl")} for name in ("one", "two")]
    assert drawn[0] != drawn[1]
    assert max(int(i[1:]) for i in drawn[0]) > LINES // 2  # not just the first


def test_a_sample_with_duplicates_has_no_more_rows(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("\n".join(["same"] * 50) + "\n")
    preparation = Preparation(deduplicate=False)
    done = write_corpus(open_corpus(tmp_path / "x.txt"), tmp_path / "out.jsonl", rows=7, preparation=preparation)
    assert done.rows == {"all": 7}


def test_a_cut_comes_before_the_comparison(tmp_path: Path) -> None:
    """Texts that are the same in their first words are the same once they are cut."""
    (tmp_path / "x.txt").write_text("one two three four\nOne two three five\nsix\n")
    preparation = Preparation(cutter=open_cutter("whitespace", 3))
    done = write_corpus(open_corpus(tmp_path / "x.txt"), tmp_path / "out.jsonl", preparation=preparation)
    assert [r.text for r in records(tmp_path / "out.jsonl")] == ["one two three", "six"]
    assert (done.tally.cut, done.tally.duplicates) == (2, 1)
    assert done.record["cut"] == {"tokenizer": "whitespace", "max_tokens": 3}


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"one\ntwo\n\xff\n")
    write_corpus(open_corpus(tmp_path / "x.txt"), tmp_path / "out.jsonl", preparation=Preparation(limit=2))
    assert [r.text for r in records(tmp_path / "out.jsonl")] == ["one", "two"]


def test_bad_rows_are_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"one\n\n\xff\ntwo\n")
    done = write_corpus(open_corpus(tmp_path / "x.txt", on_bad_rows="skip"), tmp_path / "out.jsonl", rows=1)
    assert done.record["counts"]["left_out"] == {"the text is empty": 1, "it is not UTF-8": 1}
    assert done.record["counts"]["read"] == 4


def broken(corpus: Corpus, error: BaseException) -> Corpus:
    """The corpus, ended by an error after 100 rows."""
    rows = corpus.source.rows

    def failing(columns: list[str]) -> object:
        for row in rows(columns):
            if row.number == 100:
                raise error
            yield row

    corpus.source.rows = failing  # type: ignore[method-assign,assignment]
    return corpus


@pytest.mark.parametrize("error", [InputError("damaged"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_is_left_of_what_was_interrupted(file: Path, tmp_path: Path, error: BaseException) -> None:
    before = names(tmp_path)
    for write, name in ((write_split, "out"), (write_corpus, "out.parquet")):
        with pytest.raises(
            type(error) if not isinstance(error, OSError) or isinstance(error, InputError) else OutputError
        ):
            write(broken(open_corpus(file), error), tmp_path / name)  # type: ignore[operator]
        assert names(tmp_path) == before


def test_what_is_there_stays_without_force(file: Path, tmp_path: Path) -> None:
    write_split(open_corpus(file), tmp_path / "out")
    write_corpus(open_corpus(file), tmp_path / "out.jsonl")
    held = (tmp_path / "out" / "corpus.json").read_bytes(), (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(OutputError, match="exists already; choose another name, or replace it with --force"):
        write_split(open_corpus(file), tmp_path / "out", seed=1)
    with pytest.raises(OutputError, match="exists already"):
        write_corpus(open_corpus(file), tmp_path / "out.jsonl", rows=3)
    with pytest.raises(InputError, match="damaged"):
        write_split(broken(open_corpus(file), InputError("damaged")), tmp_path / "out", force=True)
    assert held == ((tmp_path / "out" / "corpus.json").read_bytes(), (tmp_path / "out.jsonl").read_bytes())
    write_split(open_corpus(file), tmp_path / "out", seed=1, format="jsonl", force=True)
    write_corpus(open_corpus(file), tmp_path / "out.jsonl", rows=3, force=True)
    assert names(tmp_path / "out") == ["corpus.json", "held_out.jsonl", "source.jsonl", "target.jsonl"]
    assert len(records(tmp_path / "out.jsonl")) == 3


def test_other_folders_and_the_input_are_not_replaced(file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep me")
    with pytest.raises(OutputError, match="is a folder that holds something else"):
        write_split(open_corpus(file), tmp_path / "mine", force=True)
    with pytest.raises(OutputError, match="is a file; a split needs a folder"):
        write_split(open_corpus(file), tmp_path / "mine" / "notes", force=True)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        write_split(open_corpus(file), tmp_path / "a" / "b")
    with pytest.raises(OutputError, match="is the input itself"):
        write_corpus(open_corpus(file), file, force=True)
    with pytest.raises(OutputError, match=r"is written to one file, \.parquet or \.jsonl"):
        write_corpus(open_corpus(file), tmp_path / "out.csv")
    with pytest.raises(OutputError, match="a split is written to a folder; name one without a suffix"):
        write_split(open_corpus(file), tmp_path / "out.parquet")
    assert (tmp_path / "mine" / "notes").read_text() == "keep me"
    assert len(records(file)) == LINES


@pytest.mark.parametrize("uri", ["{}/source.parquet", "hf:{}", "nq:{}"])
def test_a_split_does_not_replace_its_own_input(file: Path, tmp_path: Path, uri: str) -> None:
    write_split(open_corpus(file), tmp_path / "out")
    held = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for place in (tmp_path / "out", tmp_path / "link"):
        with pytest.raises(OutputError, match="out: is where the input is"):
            write_split(open_corpus(uri.format(place)), tmp_path / "out", seed=1, force=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == held


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_path_that_is_not_utf8(file: Path, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_corpus(open_corpus(file), folder / f"x.{suffix}")
    done = write_corpus(open_corpus(folder / f"x.{suffix}"), tmp_path / "out.jsonl")
    assert done.rows == {"all": 360}
    assert json.loads((tmp_path / "out.jsonl.json").read_text())["corpus"] == str(folder / f"x.{suffix}")
