from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vec2vec.audit import LabelSet, Reference, Truth, read_labels
from vec2vec.audit.inputs import read_reference, read_truth
from vec2vec.errors import InputError


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"war": "soldiers and battles", "love": "love"}'),
        ("a.jsonl", '{"label": "war", "description": "soldiers and battles"}\n{"name": "love"}\n'),
        ("a.csv", "label,description\nwar,soldiers and battles\nlove,\n"),
        ("a.tsv", "name\tdescription\nwar\tsoldiers and battles\nlove\tlove\n"),
        ("a.txt", "war: soldiers and battles\n\nlove\n"),
        ("a.txt", "\ufeffwar: soldiers and battles\r\nlove\r\n"),
        ("a.csv", "\ufefflabel,description\r\nwar,soldiers and battles\r\nlove,love\r\n"),
        ("a.json", '\ufeff{"war": "soldiers and battles", "love": "love"}'),
        ("a.csv", " label , description\nwar, soldiers and battles\n\nlove,\n"),
        ("a.csv", "\nid,label,description\n1,war,soldiers and battles\n2,love,\n"),
        ("a.jsonl", '{"label": "war", "description": "soldiers and battles", "id": 1}\n{"label": "love", "id": 2}\n'),
    ],
)
def test_labels_of_every_format(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf8", newline="")
    assert dict(read_labels(path).descriptions) == {"war": "soldiers and battles", "love": "love"}


def test_what_is_no_end_of_a_line_stays_in_a_description(tmp_path):
    (tmp_path / "a.csv").write_text('label,description\nwar,"soldiers\nand battles"\nlove,love\n')
    assert read_labels(tmp_path / "a.csv").descriptions["war"] == "soldiers\nand battles"
    rows = '{"label": "war", "description": "soldiers\u2028and battles"}\n{"label": "love"}\n'
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf8")
    assert read_labels(tmp_path / "a.jsonl").descriptions["war"] == "soldiers\u2028and battles"


def test_a_description_with_commas_is_whole_between_quotes(tmp_path):
    (tmp_path / "a.csv").write_text('label, description\nsport,"football, tennis"\nwar,"a, b"\n')
    assert dict(read_labels(tmp_path / "a.csv").descriptions) == {"sport": "football, tennis", "war": "a, b"}


@pytest.mark.parametrize(("name", "content"), [("a.json", '["war", "love"]'), ("a.csv", "label\nwar\nlove\n")])
def test_names_alone_describe_themselves(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert dict(read_labels(path).descriptions) == {"war": "war", "love": "love"}


def test_the_nineteen_topics_are_packaged():
    topics = read_labels("tweet-topics")
    assert len(topics.names) == 19
    assert all(len(description) > 20 for description in topics.descriptions.values())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "cannot be read as labels"),
        ("a.json", "[" * 200_000, "cannot be read as labels"),
        ("a.json", '{"a": 1, "b": 2}', "an object of names and descriptions"),
        ("a.json", '["one"]', "has 1 labels; at least 2"),
        ("a.txt", "war\nlove\nwar\n", "has the label 'war' twice"),
        ("a.json", '{"war": "one", "love": "two", "war": "three"}', "has the label 'war' twice"),
        ("a.csv", "topic,text\na,b\n", r"a\.csv: line 2 has no 'label'"),
        (
            "a.csv",
            'label,description\nwar,"a\nb"\n\nsport,football, tennis\n',
            r"a\.csv: line 5: it has another number of fields \(3, the first line has 2\); put .* between quotes",
        ),
        (
            "a.tsv",
            "label\tdescription\nwar\ta\tb\n",
            r"a\.tsv: line 2: it has another number .*has 2\)$",
        ),
        ("a.csv", 'label,description\nwar,"a\nlove,b\n', "line 2: is broken CSV .unexpected end of data"),
        ("a.csv", "", "is empty"),
        ("a.csv", "label,desc\nwar,a\n", r"a\.csv: has no column 'description', and nothing reads 'desc'"),
        ("a.csv", "label,Description\nwar,a\n", "nothing reads 'Description': name the column of the descriptions"),
        ("a.jsonl", '{"label": "war", "text": "a"}\n{"label": "love"}\n', "nothing reads 'text': name the column"),
        ("a.xml", "<a/>", r"labels are read from \.json"),
        ("a.json", '{"a": " ", "b": "c"}', "'a' is blank"),
    ],
)
def test_bad_labels(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_labels(path)


def test_a_missing_file_of_labels_names_the_packaged_sets():
    with pytest.raises(InputError, match="no packaged set \\(tweet-topics\\)"):
        read_labels("tweet-topic")


def texts_file(folder: Path, rows: int) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {i}", "labels": [f"l{i % 3}"]}) + "\n" for i in range(rows)))
    return path


def test_a_reference_keeps_texts_and_labels_together(tmp_path):
    found = read_reference(texts_file(tmp_path, 90), rows=30, seed=1, on_bad_rows="error")
    assert len(found) == 30
    numbers = [int(text.split()[1]) for text in found.texts]
    assert numbers == sorted(set(numbers))
    assert found.labels == tuple((f"l{i % 3}",) for i in numbers)
    again = read_reference(texts_file(tmp_path, 90), rows=30, seed=1, on_bad_rows="error")
    assert again.texts == found.texts
    assert read_reference(texts_file(tmp_path, 90), rows=30, seed=2, on_bad_rows="error").texts != found.texts


def test_a_truth_of_texts_and_labels(tmp_path):
    found = read_truth(texts_file(tmp_path, 9), rows=9, leak="leak")
    assert found.texts[3] == "text 3"
    assert found.labels[4] == ("l1",)
    with pytest.raises(InputError, match=r"has 9 rows and the leak leak\.npy 10"):
        read_truth(texts_file(tmp_path, 9), rows=10, leak="leak.npy")


def test_a_truth_of_labels_alone(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,label\n1,a\n2,b\n3,\n")
    found = read_truth(path, rows=3, leak="leak")
    assert found.texts is None
    assert found.labels == (("a",), ("b",), ())


def test_parts_that_are_not_row_aligned():
    with pytest.raises(InputError, match="3 vectors, 2 texts"):
        Reference(np.ones((3, 2), np.float32), ("a", "b"))
    with pytest.raises(InputError, match="neither vectors nor texts"):
        Reference(labels=(("a",),))
    with pytest.raises(InputError, match="neither texts nor labels"):
        Truth()
    with pytest.raises(InputError, match="2 labels and 3 vectors"):
        LabelSet({"a": "a", "b": "b"}, vectors=np.ones((3, 2), np.float32))


def test_labels_that_are_numbers(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"label": 1, "description": "war"}\n{"label": 2}\n')
    assert dict(read_labels(tmp_path / "a.jsonl").descriptions) == {"1": "war", "2": "2"}


@pytest.mark.parametrize("name", ["id", "uid", "doc_id", "key"])
def test_ids_of_a_truth_are_no_texts(tmp_path, name):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({name: f"user {i}", "labels": ["a"]}) + "\n" for i in range(3)))
    truth = read_truth(path, rows=3, leak="leak.npy")
    assert truth.texts is None
    assert truth.labels == (("a",),) * 3


def test_a_column_that_may_be_texts_beside_labels_has_to_be_named(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"note": f"a text {i}", "labels": ["a"]}) + "\n" for i in range(3)))
    with pytest.raises(InputError, match=r"has labels in 'labels'.*own\.jsonl::note"):
        read_truth(path, rows=3, leak="leak.npy")
    truth = read_truth(f"{path}::note", rows=3, leak="leak.npy")
    assert truth.texts == ("a text 0", "a text 1", "a text 2")
    assert truth.labels == (("a",),) * 3


def test_ids_that_repeat_are_no_matter(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"id": "one customer", "text": f"text {i}"}) + "\n" for i in range(3)))
    assert len(read_truth(path, rows=3, leak="leak.npy")) == 3
    assert len(read_reference(path, rows=3, seed=0, on_bad_rows="error")) == 3


def test_a_bad_row_of_the_truth_cannot_be_left_out(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"text": "one"}\n{"text": " "}\n{"text": "three"}\n')
    with pytest.raises(InputError) as found:
        read_truth(path, rows=3, leak="leak.npy")
    assert "line 2: the text is empty; repair it" in str(found.value)
    assert "skip" not in str(found.value)


def test_rows_keep_their_numbers(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(50)))
    reference = read_reference(path, rows=10, seed=1, on_bad_rows="error")
    assert [f"text {i}" for i in reference.numbers] == list(reference.texts)
    some = reference.take(np.array([2, 5]))
    assert [f"text {i}" for i in some.numbers] == list(some.texts)
