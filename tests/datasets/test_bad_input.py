"""Texts and files that are not as they should be: named where they stand, or left out and counted."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vec2vec.datasets import Tally, open_corpus
from vec2vec.errors import InputError


def jsonl(*lines: str | bytes) -> bytes:
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)


def parquet(texts: list[str | None]) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path)


def parquet_not_utf8(path: Path) -> None:
    bad = pa.StringArray.from_buffers(
        2, pa.array([0, 4, 6], pa.int32()).buffers()[1], pa.py_buffer(b"good\xff\xfe"), None
    )
    pq.write_table(pa.table({"text": bad}), path)


def parquet_of_a_name(path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"]), path)


Content = bytes | Callable[[Path], object]
GOOD = '{"id": 1, "text": "good"}'
# file, content, kind of fault, where it stands
ROWS: dict[str, tuple[str, Content, str, str]] = {
    "empty in jsonl": ("x.jsonl", jsonl(GOOD, '{"id": 2, "text": ""}'), "the text is empty", "line 2"),
    "blank in jsonl": ("x.jsonl", jsonl(GOOD, '{"id": 2, "text": " \\n\\t"}'), "the text is empty", "line 2"),
    "null in jsonl": ("x.jsonl", jsonl(GOOD, "", '{"id": 2, "text": null}'), "the text is null", "line 3"),
    "a number in jsonl": ("x.jsonl", jsonl(GOOD, '{"id": 2, "text": 5}'), "the text is no string", "line 2"),
    "no text in jsonl": ("x.jsonl", jsonl(GOOD, '{"id": 2}'), "it has no 'text'", "line 2"),
    "not UTF-8 in jsonl": ("x.jsonl", jsonl(GOOD, b'{"id": 2, "text": "\xff"}'), "it is not UTF-8", "line 2"),
    "half a character": (
        "x.jsonl",
        jsonl(GOOD, '{"id": 2, "text": "\\ud800"}'),
        "the text holds half a character",
        "line 2",
    ),
    "not JSON": ("x.jsonl", jsonl(GOOD, '{"id": 2, "text'), "it is not JSON", "line 2"),
    "no object": ("x.jsonl", jsonl(GOOD, "[1]"), "it is no JSON object", "line 2"),
    "id twice": ("x.jsonl", jsonl(GOOD, '{"id": 1, "text": "other"}'), "its id stands in an earlier row", "line 2"),
    "null id": ("x.jsonl", jsonl(GOOD, '{"id": null, "text": "other"}'), "its id is null", "line 2"),
    "half a character in an id": (
        "x.jsonl",
        jsonl(GOOD, '{"id": "\\ud800", "text": "other"}'),
        "its id holds half a character",
        "line 2",
    ),
    "half a character in a label": (
        "x.jsonl",
        jsonl('{"text": "good", "labels": []}', '{"text": "other", "labels": ["a", "\\ud800"]}'),
        "a label holds half a character",
        "line 2",
    ),
    "half a character in a split": (
        "x.jsonl",
        jsonl('{"text": "good", "split": "a"}', '{"text": "other", "split": "\\ud800"}'),
        "its split holds half a character",
        "line 2",
    ),
    "empty line in txt": ("x.txt", b"good\n\nfine\n", "the text is empty", "line 2"),
    "not UTF-8 in txt": ("x.txt", b"good\ncaf\xe9\n", "it is not UTF-8", "line 2"),
    "too few fields": ("x.csv", b"id,text\n1,good\n2\n", "it has another number of fields", "line 3"),
    "too many fields": ("x.csv", b"id,text\n1,good\n2,a,b\n", "it has another number of fields", "line 3"),
    "empty in csv": ("x.csv", b"id,text\n1,good\n2,\n", "the text is empty", "line 3"),
    "not UTF-8 in csv": ("x.csv", b'id,text\n1,"good\n"\n2,\xff\n', "it is not UTF-8", "line 4"),
    "null in parquet": ("x.parquet", parquet(["good", None]), "the text is null", "row 1"),
    "empty in parquet": ("x.parquet", parquet(["good", ""]), "the text is empty", "row 1"),
    "not UTF-8 in parquet": ("x.parquet", parquet_not_utf8, "it is not UTF-8", "row 1"),
}


def put(path: Path, content: Content) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_named_or_left_out_and_counted(tmp_path: Path, case: str, packed: bool) -> None:
    name, content, kind, where = ROWS[case]
    path = put(tmp_path / name, content)
    if packed:
        path = put(tmp_path / f"{name}.gz", gzip.compress(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        list(open_corpus(path).records())
    message = str(caught.value)
    assert message.startswith(f"{path}: {where}")
    assert kind in message
    assert "--on-bad-rows skip" in message
    assert "\n" not in message

    tally = Tally()
    texts = [record.text for record in open_corpus(path, on_bad_rows="skip").records(tally)]
    assert texts[0].strip() == "good"
    assert "other" not in texts
    assert (tally.bad, tally.records) == (1, len(texts))
    assert f"1 of {len(texts) + 1} rows were skipped: 1: {kind}" in tally.summary()
    assert f"the first: {where}" in tally.summary()


def test_bad_rows_are_counted_by_kind(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jsonl", jsonl(GOOD, *['{"text": "", "id": 5}'] * 3, "nonsense", '{"text": "t", "id": 2}'))
    tally = Tally()
    assert [record.id for record in open_corpus(path, on_bad_rows="skip").records(tally)] == ["1", "2"]
    assert tally.faults == {"the text is empty": 3, "it is not JSON": 1}
    assert tally.summary().startswith(
        "4 of 6 rows were skipped: 3: the text is empty (the first: line 2); 1: it is not"
    )


@pytest.mark.parametrize("name", ["enron", "nq"])
def test_a_copy_that_is_not_there_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="nowhere: there is no such file"):
        list(open_corpus(f"{name}:{tmp_path / 'nowhere'}").records())


# file, content, what the error says
FILES: dict[str, tuple[str, Content, str]] = {
    "no file": ("x.jsonl", lambda path: None, "no such file"),
    "a folder": ("x.jsonl", lambda path: path.mkdir(), "is a folder"),
    "an empty file": ("x.txt", b"", "is empty"),
    "unknown suffix": ("x.doc", b"text", "the suffix '.doc' is unknown; texts are read from .jsonl"),
    "no suffix": ("x", b"text", "there is no suffix; texts are read from"),
    "gz of nothing known": ("x.tar.gz", b"text", "the suffix '.tar' is unknown"),
    "no object at all": ("x.jsonl", b"1\n2\n", "holds no JSON object"),
    "header only": ("x.csv", b"id,text\n", "there are no texts in it"),
    "two columns of a name": ("x.csv", b"id,text,text\n1,a,b\n", "several columns are named 'text'"),
    "two columns of a name in parquet": ("x.parquet", parquet_of_a_name, "several columns are named 'text'"),
    "open quote": ("x.csv", b'id,text\n1,a\n2,"b\n3,c\n', "line 3: is broken CSV"),
    "text after a quote": ("x.csv", b'id,text\n1,"a"b\n', "line 2: is broken CSV"),
    "UTF-16": ("x.txt", "text\n".encode("utf-16"), "is UTF-16; convert it"),
    "no parquet": ("x.parquet", b"PAR1 but no more", "is no parquet file"),
    "no gz": ("x.txt.gz", b"not packed", "is no whole .gz"),
    "no gz of parquet": ("x.parquet.gz", b"not packed", "is no whole .gz"),
}


@pytest.mark.parametrize("on_bad_rows", ["error", "skip"])
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_an_error_under_any_setting(tmp_path: Path, case: str, on_bad_rows: str) -> None:
    name, content, message = FILES[case]
    path = put(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        list(open_corpus(path, on_bad_rows=on_bad_rows).records())  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["x.txt.gz", "x.jsonl.gz", "x.csv.gz", "x.parquet.gz"])
def test_a_truncated_gz_is_an_error_after_what_could_be_read(tmp_path: Path, name: str) -> None:
    plain = tmp_path / "plain.parquet"
    lines = [f"a text of some length, number {i * 7919 % 5000}" for i in range(5000)]
    pq.write_table(pa.table({"text": lines}), plain)
    whole = {
        "x.txt.gz": "\n".join(lines).encode(),
        "x.jsonl.gz": jsonl(*(f'{{"text": "{line}"}}' for line in lines)),
        "x.csv.gz": ("text\n" + "\n".join(f'"{line}"' for line in lines)).encode(),
        "x.parquet.gz": plain.read_bytes(),
    }[name]
    packed = gzip.compress(whole)
    path = put(tmp_path / name, packed[: len(packed) // 2])
    read: list[str] = []
    with pytest.raises(InputError, match=r"is no whole \.gz"):
        read.extend(record.text for record in open_corpus(path, on_bad_rows="skip").records())
    assert read == lines[: len(read)]


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    path = put(tmp_path / "x.txt", b"\n \n")
    with pytest.raises(InputError, match="none of its 2 rows is a usable text; 2 of 2 rows were skipped"):
        list(open_corpus(path, on_bad_rows="skip").records())


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.jsonl", "x.parquet"])
def test_a_text_of_a_megabyte_comes_whole(tmp_path: Path, name: str) -> None:
    text = "ten bytes " * 105_000
    content: dict[str, Content] = {
        "x.txt": text.encode() + b"\nshort\n",
        "x.csv": f'text\n"{text}"\nshort\n'.encode(),
        "x.jsonl": jsonl(f'{{"text": "{text}"}}', '{"text": "short"}'),
        "x.parquet": parquet([text, "short"]),
    }
    path = put(tmp_path / name, content[name])
    assert [record.text for record in open_corpus(path).records()] == [text, "short"]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vec2vec.datasets.files.MOST_LINE_BYTES", 2**20)
    path = put(tmp_path / "x.txt", b"short\n" + b"x" * (2**20 + 1))
    with pytest.raises(InputError, match="line 2 is longer than 1 MiB"):
        list(open_corpus(path).records())


def test_an_unknown_treatment(tmp_path: Path) -> None:
    path = put(tmp_path / "x.txt", b"good\n")
    with pytest.raises(InputError, match="on_bad_rows is 'keep'; for texts it can be 'error' or 'skip'"):
        open_corpus(path, on_bad_rows="keep")  # type: ignore[arg-type]
