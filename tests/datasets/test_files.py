"""Local files of texts: every format, plain and packed, gives the same records; what is wrong in them is named."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vec2vec.datasets import Corpus, Record, Tally, open_corpus
from vec2vec.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"id": "a1", "text": "The kettle boils, and tea is near.", "labels": ["kitchen"], "split": "train"},
    {"id": "a2", "text": "Grüße aus Köln — 早安", "labels": ["travel"], "split": "train"},
    {"id": "a3", "text": 'She said "no, thanks"\nand left.', "labels": ["people"], "split": "test"},
]
RECORDS = [Record(r["id"], r["text"], tuple(r["labels"]), r["split"]) for r in ROWS]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf8")


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> None:
    with open(path, "w", encoding="utf8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(rows[0])
        writer.writerows([v[0] if isinstance(v, list) else v for v in row.values()] for row in rows)


def write_tsv(path: Path, rows: list[dict[str, Any]]) -> None:
    write_csv(path, rows, "\t")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "jsonl": write_jsonl,
    "csv": write_csv,
    "tsv": write_tsv,
    "parquet": write_parquet,
}


def pack(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def texts(corpus: Corpus) -> list[str]:
    return [record.text for record in corpus.records()]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_records_as_often_as_asked(tmp_path: Path, kind: str, packed: bool) -> None:
    path = tmp_path / f"x.{kind}"
    WRITERS[kind](path, ROWS)
    corpus = open_corpus(pack(path) if packed else path)
    tally = Tally()
    assert list(corpus.records(tally)) == RECORDS
    assert list(corpus.records()) == RECORDS
    assert (tally.seen, tally.records, tally.bad, tally.summary()) == (3, 3, 0, "")


@pytest.mark.parametrize("packed", [False, True])
def test_txt_is_a_line_a_text_numbered_from_0(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("\ufefffirst\r\nsecond, ü\n third".encode())
    corpus = open_corpus(pack(path) if packed else path)
    assert list(corpus.records()) == [Record("0", "first"), Record("1", "second, ü"), Record("2", " third")]


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_by_name(tmp_path: Path, kind: str) -> None:
    rows = [{"key": 7, "question": "Where?", "answer": "There.", "topic": "place", "part": "dev"}]
    WRITERS[kind](tmp_path / f"x.{kind}", rows)
    path = str(tmp_path / f"x.{kind}")
    wanted = Record("7", "There.", ("place",), "dev")
    named = {"id_column": "key", "label_column": "topic", "split_column": "part"}
    assert list(open_corpus(f"{path}::answer", **named).records()) == [wanted]
    assert list(open_corpus(path, column="answer", **named).records()) == [wanted]
    with pytest.raises(InputError, match=r"could be the text: .*'question', 'answer'.*name one, as in '.*::"):
        open_corpus(path)
    with pytest.raises(InputError, match=r"no column 'answr'; it has .*; did you mean 'answer'"):
        open_corpus(path, column="answr")
    with pytest.raises(InputError, match="no column 'name'"):
        open_corpus(path, column="answer", id_column="name")
    with pytest.raises(InputError, match="names the column 'answer', and 'question' is asked for"):
        open_corpus(f"{path}::answer", column="question")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(["title", "text", "body"], "text"), (["title", "body"], "body"), (["whatever"], "whatever")],
)
def test_the_text_is_found_by_its_name_or_where_there_is_no_other(
    tmp_path: Path, names: list[str], chosen: str
) -> None:
    write_jsonl(tmp_path / "x.jsonl", [{name: f"the {name}" for name in names} | {"n": 3}])
    assert texts(open_corpus(tmp_path / "x.jsonl")) == [f"the {chosen}"]


def test_one_split_of_a_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", ROWS)
    tally = Tally()
    assert list(open_corpus(tmp_path / "x.jsonl", split="test").records(tally)) == RECORDS[2:]
    assert (tally.seen, tally.bad) == (1, 0)
    with pytest.raises(InputError, match="there are no texts of the split 'dev' in it"):
        list(open_corpus(tmp_path / "x.jsonl", split="dev").records())


def test_columns_that_are_not_wanted(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", [{"id": 1, "text": "a", "label": "x"}, {"id": 1, "text": "b", "label": "y"}])
    corpus = open_corpus(tmp_path / "x.jsonl", id_column="", label_column="")
    assert list(corpus.records()) == [Record("0", "a"), Record("1", "b")]


@pytest.mark.parametrize("name", ["tweettopics", "tweettopics:folder"])
def test_a_name_that_nothing_has(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: is no file and no known corpus \(nq, .* did you mean 'tweettopic'"):
        open_corpus(name)


def test_no_column_with_texts(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [{"n": 3, "x": 0.5}])
    with pytest.raises(InputError, match="no column holds texts; it has 'n', 'x'"):
        open_corpus(tmp_path / "x.parquet")


def test_labels_single_several_numeric_and_none(tmp_path: Path) -> None:
    labels = [["a", None, "b"], "c", 4, None, "", []]
    write_jsonl(tmp_path / "x.jsonl", [{"text": f"t{i}", "label": label} for i, label in enumerate(labels)])
    found = [record.labels for record in open_corpus(tmp_path / "x.jsonl").records()]
    assert found == [("a", "b"), ("c",), ("4",), (), (), ()]


def test_one_text_of_many_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """100 texts of 1 MB, of which a pass holds a few at a time; each comes whole."""
    long = "a word " * 150_000
    pq.write_table(
        pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), [long]).cast(pa.string())}),
        tmp_path / "x.parquet",
        use_dictionary=False,
        row_group_size=10,
    )
    with gzip.open(tmp_path / "x.jsonl.gz", "wt", compresslevel=1) as stream:
        for i in range(100):
            stream.write(json.dumps({"id": i, "text": long}) + "\n")
    for name in ("x.parquet", "x.jsonl.gz"):
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        lengths = []
        peak = 0
        for record in open_corpus(tmp_path / name).records():
            lengths.append(len(record.text))
            peak = max(peak, pa.total_allocated_bytes() - before)
        peak += tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert lengths == [len(long)] * 100
        assert peak < 60e6, (name, peak)


def test_a_pass_may_stop_early(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl", ROWS)
    assert [r.id for r in islice(open_corpus(tmp_path / "x.jsonl").records(), 1)] == ["a1"]
