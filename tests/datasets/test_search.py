"""Sets to search in: known items made of passages, and BEIR folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vec2vec.datasets.search import first_sentence, known_items, read_beir
from vec2vec.errors import InputError


@pytest.mark.parametrize(
    ("passage", "query"),
    [
        ("The film is a silent drama. It stars nobody at all here.", "The film is a silent drama."),
        ('He said "we are going home now!" Then he went away alone.', 'He said "we are going home now!"'),
        ("Dr. Smith and J. Doe met again. They had a long talk.", "Dr. Smith and J. Doe met again."),
        ("Is this one really treated well? 70 people say that it is.", "Is this one really treated well?"),
    ],
)
def test_a_passage_is_divided_after_its_first_sentence(passage: str, query: str) -> None:
    assert first_sentence(passage) == (query, passage[len(query) :].strip())


@pytest.mark.parametrize("passage", ["One sentence only, with many words.", "Too short. It has four words here.", ""])
def test_what_cannot_be_divided_is_left_out(passage: str) -> None:
    assert first_sentence(passage) is None
    with pytest.raises(InputError, match="nothing to search"):
        known_items([passage])


def test_each_query_finds_the_rest_of_its_own_passage() -> None:
    found = known_items(["A cat sat down. Then it slept well.", "nothing here", "A dog came in. It did not sleep."])
    assert found.queries == ("A cat sat down.", "A dog came in.")
    assert found.documents == ("Then it slept well.", "It did not sleep.")
    assert found.relevant == ({0: 1.0}, {1: 1.0})


def write_beir(folder: Path, qrels: str) -> Path:
    documents = [{"_id": "d1", "title": "Rain", "text": "wet"}, {"_id": "d2", "title": "", "text": "dry"}]
    queries = [{"_id": "q1", "text": "water"}, {"_id": "q2", "text": "sand"}, {"_id": "q3", "text": "never judged"}]
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    return folder


def test_a_beir_folder(tmp_path: Path) -> None:
    found = read_beir(write_beir(tmp_path / "set", "q2\td2\t2\nq1\td1\t1\nq1\td2\t0\n"))
    assert found.queries == ("water", "sand")
    assert found.documents == ("Rain wet", "dry")
    assert found.relevant == ({0: 1.0}, {1: 2.0})


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("q9\td1\t1\n", r"test\.tsv: line 2: there is no text of the id 'q9'"),
        ("q1\td9\t1\n", "'d9'"),
        ("q1\td1\tmuch\n", "'much' is no number"),
        ("q1\td1\t0\n", "no query has a relevant document"),
    ],
)
def test_judgements_that_will_not_do(tmp_path: Path, qrels: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_beir(write_beir(tmp_path / "set", qrels))


@pytest.mark.parametrize(("name", "number"), [("corpus", 3), ("queries", 4)])
def test_an_id_that_stands_twice(tmp_path: Path, name: str, number: int) -> None:
    path = write_beir(tmp_path / "set", "q1\td1\t1\n") / f"{name}.jsonl"
    text = json.loads(path.read_text().splitlines()[0]) | {"text": "another"}
    with open(path, "a") as file:
        file.write(json.dumps(text) + "\n")
    with pytest.raises(InputError, match=rf"{name}\.jsonl: line {number}: its _id '{text['_id']}' stands in"):
        read_beir(tmp_path / "set")


def test_a_missing_file_of_a_beir_folder(tmp_path: Path) -> None:
    write_beir(tmp_path / "set", "q1\td1\t1\n")
    (tmp_path / "set" / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"queries\.jsonl"):
        read_beir(tmp_path / "set")
