"""What is particular to .parquet and .jsonl: columns, and rows that are no vectors."""

from __future__ import annotations

import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vec2vec.errors import InputError, Vec2VecWarning
from vec2vec.stores import open_sink, open_source
from vec2vec.stores.parquet import EMBEDDING
from vec2vec.vectors import Gate, OnBadRows, VectorBatch


def copy(uri: object, out: object, on_bad_rows: OnBadRows = "skip") -> Gate:
    """The rows of a file into another one, unchanged, a few at a time."""
    like = open_source(str(uri))
    gate = Gate(like.uri, on_bad_rows=on_bad_rows)
    with open_sink(str(out), width=like.width, like=like) as sink:
        for batch in like.batches(2):
            sink.write(gate.check(batch))
    return gate


def write_lines(path: Path, *records: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# parquet


@pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("make", [pa.list_, pa.large_list, lambda value: pa.list_(value, 3)])
def test_parquet_lists_of_every_kind(tmp_path: Path, value: pa.DataType, make: Any) -> None:
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(value.to_pandas_dtype())
    column = pa.array([list(row) for row in x], make(value))
    pq.write_table(pa.table({"id": range(10), "v": column, "z": range(10)}), tmp_path / "in.parquet", row_group_size=4)
    source = open_source(tmp_path / "in.parquet")
    assert source.dtype == value.to_pandas_dtype().__name__
    assert source.column_names == ("id", "z")
    np.testing.assert_array_equal(source.take([0, 4, 9]), x[[0, 4, 9]].astype(np.float32))
    copy(tmp_path / "in.parquet", tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.column_names == ["id", "v", "z"]
    assert written.schema.field("v").type == make(pa.float32())
    np.testing.assert_array_equal(np.array(written.column("v").to_pylist(), dtype=np.float32), x.astype(np.float32))


def test_parquet_keeps_all_other_columns(tmp_path: Path) -> None:
    columns = {
        "id": pa.array(["a", "b", "c", "d"]),
        "kind": pa.array(["x", "y", "x", "y"]).dictionary_encode(),
        "when": pa.array([datetime.datetime(2020, 1, i + 1) for i in range(4)], pa.timestamp("ms")),
        "v": pa.array([[1.0, 2.0], [0.0, 0.0], [5.0, 6.0], [7.0, 8.0]]),
        "tags": pa.array([["p"], [], None, ["q", "r"]]),
        "meta": pa.array([{"n": 1}, {"n": 2}, None, {"n": 4}]),
        "price": pa.array([Decimal("1.50")] * 4),
        "blob": pa.array([b"\x00", None, b"\x02", b""]),
    }
    table = pa.table(columns)
    table = table.replace_schema_metadata({"about": "a test", "huggingface": "stale"})
    pq.write_table(table, tmp_path / "in.parquet")
    gate = copy(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert [(bad.row, bad.id) for bad in gate.bad] == [(1, "b")]
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.column_names == list(columns)
    assert written.schema.metadata == {b"about": b"a test"}
    assert written.drop_columns("v").equals(table.drop_columns("v").take([0, 2, 3]))
    assert written.column("v").to_pylist() == [[1, 2], [5, 6], [7, 8]]


def test_parquet_of_an_embedding_does_not_pass_on_its_encoder(tmp_path: Path) -> None:
    about = {b"about": b"a test", EMBEDDING: b'{"identity": {"encoder": "gtr"}}'}
    table = pa.table({"id": ["a"], "v": [[1.0, 2.0]]}).replace_schema_metadata(about)
    pq.write_table(table, tmp_path / "in.parquet")
    copy(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_schema(tmp_path / "out.parquet").metadata == {b"about": b"a test"}
    with open_sink(tmp_path / "whole.parquet", width=2) as sink:
        sink.write(VectorBatch(np.ones((1, 2), np.float32), np.arange(1), table.drop_columns("v")))
    assert pq.read_schema(tmp_path / "whole.parquet").metadata == about


def test_parquet_renames_in_place(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "v": [[1.0, 2.0]], "z": [2]}), tmp_path / "in.parquet")
    copy(tmp_path / "in.parquet", f"{tmp_path}/out.parquet::w")
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["id", "w", "z"]
    with pytest.raises(InputError, match="another column named 'z'"):
        copy(tmp_path / "in.parquet", f"{tmp_path}/out2.parquet::z")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([["a", "b"]]), "holds list<.*string>, expected lists of numbers"),
        (pa.array([1.0]), "holds double, expected lists of numbers"),
        (pa.array(["[1, 2]"]), "holds string, expected lists of numbers"),
        (pa.array([[[1.0]]]), "expected lists of numbers"),
        (pa.array([[], None], pa.list_(pa.float32())), "lists are empty or null"),
        (pa.array([], pa.list_(pa.float32())), "is empty"),
    ],
)
def test_parquet_of_something_else(tmp_path: Path, column: pa.Array, message: str) -> None:
    pq.write_table(pa.table({"v": column}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        open_source(f"{tmp_path}/x.parquet::v")


def test_parquet_lists_of_integers_are_found_where_there_are_no_others(tmp_path: Path) -> None:
    integers = pa.array([[1, 2], [3, 4]], pa.list_(pa.int8()))
    pq.write_table(pa.table({"id": ["a", "b"], "v": integers}), tmp_path / "x.parquet")
    np.testing.assert_array_equal(open_source(tmp_path / "x.parquet").take([0, 1]), [[1, 2], [3, 4]])
    pq.write_table(pa.table({"tokens": integers, "v": [[0.5], [1.0]]}), tmp_path / "y.parquet")
    assert open_source(tmp_path / "y.parquet").key == "v"


def test_parquet_with_several_vector_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1.0]], "b": [[1.0]], "n": [[1]]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="2 columns could be the vectors: 'a', 'b'"):
        open_source(tmp_path / "x.parquet")
    assert open_source(f"{tmp_path}/x.parquet::n").dtype == "int64"


@pytest.mark.parametrize("names", [["x", "x", "v"], ["x", "v", "v"]])
def test_parquet_with_two_columns_of_a_name(tmp_path: Path, names: list[str]) -> None:
    columns = [pa.array([[1.0]]) if name == "v" else pa.array([1]) for name in names]
    pq.write_table(pa.Table.from_arrays(columns, names), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=rf"in\.parquet: several columns are named '{names[1]}'; give each a name"):
        open_source(f"{tmp_path}/in.parquet::v")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64())])
def test_parquet_rows_that_are_no_vectors(tmp_path: Path, kind: pa.DataType) -> None:
    lists = [[1, 2], [3], None, [5, None], [7, 8], [9, 10, 11], [0, 0], [float("nan"), 1]]
    table = pa.table({"id": list("abcdefgh"), "v": pa.array(lists, kind)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=3)
    gate = copy(tmp_path / "x.parquet", tmp_path / "out.parquet")
    assert [(bad.row, bad.id, bad.reason) for bad in gate.bad] == [
        (1, "b", "it has 1 values, the others 2"),
        (2, "c", "it is null"),
        (3, "d", "it holds a null"),
        (5, "f", "it has 3 values, the others 2"),
        (6, "g", "all its values are zero"),
        (7, "h", "column 0 is NaN"),
    ]
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {"id": ["a", "e"], "v": [[1, 2], [7, 8]]}
    with pytest.raises(InputError, match=r"x.parquet::v: row 1 \(counted from 0\).*has 1 values, the others 2"):
        copy(tmp_path / "x.parquet", tmp_path / "none.parquet", "error")
    assert not (tmp_path / "none.parquet").exists()
    taken = open_source(tmp_path / "x.parquet").take_batch([0, 3, 5])
    assert taken.faults == {3: "it holds a null", 5: "it has 3 values, the others 2"}
    np.testing.assert_array_equal(taken.vectors, [[1, 2], [np.nan] * 2, [np.nan] * 2])


def test_parquet_fixed_lists_with_nulls(tmp_path: Path) -> None:
    column = pa.array([[1, 2], None, [None, 4], [5, 6]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"v": column}), tmp_path / "x.parquet")
    gate = copy(tmp_path / "x.parquet", tmp_path / "out.parquet", "keep")
    assert [(bad.row, bad.reason) for bad in gate.bad] == [(1, "it is null"), (2, "it holds a null")]
    written = np.array(pq.read_table(tmp_path / "out.parquet").column("v").to_pylist())
    np.testing.assert_array_equal(written, [[1, 2], [np.nan] * 2, [np.nan] * 2, [5, 6]])


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_columns_that_cannot_be_held_are_named_once(tmp_path: Path, suffix: str) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3], "v": [[1.0], [2.0], [3.0]], "text": ["a"] * 3}), tmp_path / "in.parquet")
    with pytest.warns(Vec2VecWarning, match="cannot hold 'id', 'text'") as warned:
        copy(tmp_path / "in.parquet", tmp_path / f"out.{suffix}")
    assert len(warned) == 1


# jsonl


def test_jsonl_keeps_all_other_keys_as_they_are(tmp_path: Path) -> None:
    records = [
        {"id": 1, "text": "für ☃ \u2028", "v": [1, 2.5], "meta": {"a": [1, None]}, "x": None},
        {"id": "two", "v": [3.0, 4.0], "late": 12345678901234567890},
        {"v": [5, 6], "id": 3.5, "x": True, "odd": "\ud800"},
    ]
    write_lines(tmp_path / "in.jsonl", *records)
    copy(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert read_lines(tmp_path / "out.jsonl") == records
    assert list(read_lines(tmp_path / "out.jsonl")[0]) == list(records[0])


def test_jsonl_rows_that_are_no_vectors(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "x.jsonl",
        {"id": "a", "v": [1, 2]},
        "",
        {"id": "b", "v": [1]},
        {"id": "c", "v": [1, "2"]},
        {"id": "d", "v": [None, 2]},
        {"id": "e", "v": "1, 2"},
        {"id": "f"},
        "{broken",
        "[1, 2]",
        {"id": "g", "v": [True, 2]},
        '{"id": "h", "v": [1, 1' + "0" * 400 + "]}",
        {"id": "i", "v": [float("nan"), 2]},
        {"id": "j", "v": [3, 4]},
    )
    gate = copy(tmp_path / "x.jsonl", tmp_path / "out.jsonl")
    assert [(bad.row, bad.id, bad.reason) for bad in gate.bad][:7] == [
        (1, "b", "line 3: 'v' has 1 values, the others 2"),
        (2, "c", "line 4: value 1 of 'v' is a string, expected a number"),
        (3, "d", "line 5: value 0 of 'v' is null, expected a number"),
        (4, "e", "line 6: 'v' is a string, expected a list of numbers"),
        (5, "f", "line 7: has no key 'v'"),
        (6, None, gate.bad[5].reason),
        (7, None, "line 9: is a list of something else, expected an object"),
    ]
    assert gate.bad[5].reason.startswith("line 8: is not JSON")
    assert [(bad.row, bad.id, bad.reason) for bad in gate.bad][7:] == [
        (8, "g", "line 10: value 0 of 'v' is a boolean, expected a number"),
        (9, "h", "line 11: 'v' holds an integer too large for a float"),
        (10, "i", "column 0 is NaN"),
    ]
    assert read_lines(tmp_path / "out.jsonl") == [{"id": "a", "v": [1, 2]}, {"id": "j", "v": [3, 4]}]
    taken = open_source(tmp_path / "x.jsonl").take_batch([0, 2, 11])
    assert list(taken.faults) == [2]
    np.testing.assert_array_equal(taken.vectors, [[1, 2], [np.nan] * 2, [3, 4]])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"a": [1.0], "b": [2.0]}], "2 keys could be the vectors: 'a', 'b'"),
        ([{"a": "x"}], "no key holds vectors"),
        (["[1, 2]"], "line 1 is no JSON object"),
        (["\n\n  "], "is empty: it has no lines"),
        (["", {"\ud800": 1, "v": [1.0]}], r"line 2 is no JSON object: it has the key '\\ud800', which holds half"),
    ],
)
def test_jsonl_of_something_else(tmp_path: Path, records: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(write_lines(tmp_path / "x.jsonl", *records))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_jsonl_key_that_is_not_utf8(tmp_path: Path, suffix: str) -> None:
    write_lines(tmp_path / "x.jsonl", {"id": "a", "v": [1.0]}, {"id": "b", "v": [2.0], "odd\ud800": 1})
    with pytest.raises(InputError, match=r"row 1 .*line 2: has the key 'odd\\ud800', which holds half a character"):
        copy(tmp_path / "x.jsonl", tmp_path / f"out.{suffix}", "error")
    assert copy(tmp_path / "x.jsonl", tmp_path / f"out.{suffix}").seen == 2
    assert open_source(tmp_path / f"out.{suffix}").rows == 1


def test_jsonl_whose_first_vectors_are_missing(tmp_path: Path) -> None:
    rows = [{"id": i, "v": None} for i in range(250)] + [{"id": 250, "v": [1.0, 2.0]}, {"id": 251, "v": [3.0, 4.0]}]
    write_lines(tmp_path / "x.jsonl", *rows)
    for uri in ("x.jsonl", "x.jsonl::v"):
        source = open_source(f"{tmp_path}/{uri}")
        assert (source.key, source.width, source.rows) == ("v", 2, 252)
        np.testing.assert_array_equal(source.take([250, 251]), [[1, 2], [3, 4]])
    assert len(copy(tmp_path / "x.jsonl", tmp_path / "out.jsonl").bad) == 250


def test_jsonl_key_of_something_else(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.jsonl", {"text": "a", "v": [1.0]})
    with pytest.raises(InputError, match="holds a string, expected a list of numbers"):
        open_source(f"{tmp_path}/x.jsonl::text")


def test_jsonl_with_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"v": [1, 2]}\r\n\r\n{"v": [3, 4]}')
    np.testing.assert_array_equal(open_source(tmp_path / "x.jsonl").take([0, 1]), [[1, 2], [3, 4]])


# from one to the other


def test_parquet_to_jsonl(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([1, 2]),
        "when": pa.array([datetime.date(2020, 1, 2), None]),
        "v": pa.array([[1.5, 2.0], [3.0, 4.0]]),
        "blob": pa.array([b"\x00\x01", None]),
        "price": pa.array([Decimal("1.50")] * 2),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    copy(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert read_lines(tmp_path / "out.jsonl") == [
        {"id": 1, "when": "2020-01-02", "v": [1.5, 2], "blob": "AAE=", "price": "1.50"},
        {"id": 2, "when": None, "v": [3, 4], "blob": None, "price": "1.50"},
    ]


def test_parquet_times_to_jsonl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # pyarrow would make times of nanoseconds with it
    columns = {
        "at": pa.array([123, None], pa.timestamp("ns")),
        "clock": pa.array([123_456_789, 0], pa.time64("ns")),
        "took": pa.array([5, 6], pa.duration("ns")),
        "day": pa.array([0, 1_600_000_000], pa.timestamp("s")),
        "v": [[1.0], [2.0]],
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    copy(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    first, second = read_lines(tmp_path / "out.jsonl")
    assert first["at"] == "1970-01-01T00:00:00.000000123"
    assert second["at"] is None
    assert first["clock"] == "00:00:00.123456789"
    assert (first["took"], second["took"]) == (5, 6)
    assert second["day"] == "2020-09-13T12:26:40"


def test_parquet_time_beyond_python(tmp_path: Path) -> None:
    infinity = pa.array([0, 9_223_371_331_200_000_000], pa.timestamp("us"))
    pq.write_table(pa.table({"at": infinity, "v": [[1.0], [2.0]]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in\.parquet::v: row 1 \(counted from 0\): its 'at' cannot be read \(date"):
        copy(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    copy(tmp_path / "in.parquet", tmp_path / "out.parquet")


@pytest.mark.parametrize("encoded", [False, True])
def test_parquet_strings_that_are_not_utf8(tmp_path: Path, encoded: bool) -> None:
    buffers = pa.array([b"ok", b"caf\xe9", b"\xff"]).buffers()
    text = pa.StringArray.from_buffers(3, buffers[1], buffers[2])
    column = text.dictionary_encode() if encoded else text
    pq.write_table(pa.table({"id": column, "v": [[1.0], [0.0], [1.0]]}), tmp_path / "in.parquet")
    gate = copy(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert [(bad.row, bad.id) for bad in gate.bad] == [(1, r"caf\xe9")]
    with pytest.raises(InputError, match=r"in\.parquet::v: row 2 \(counted from 0\): its 'id' is not UTF-8; rep"):
        copy(tmp_path / "in.parquet", tmp_path / "out.jsonl")


def test_parquet_of_views(tmp_path: Path) -> None:
    """Strings and bytes in a layout of which pyarrow can take no rows, alone and nested."""
    plain = {
        "id": pa.array(["a", None, "c"]),
        "blob": pa.array([b"\x00", b"", None]),
        "tags": pa.array([["p"], [], None]),
        "pair": pa.array([["p"], ["q"], None], pa.list_(pa.string(), 1)),
        "long": pa.array([["p"], [], None], pa.large_list(pa.string())),
        "meta": pa.array([{"x": "p"}, None, {"x": None}]),
        "map": pa.array([[("p", b"q")], None, []], pa.map_(pa.string(), pa.binary())),
    }
    views = {
        "id": pa.string_view(),
        "blob": pa.binary_view(),
        "tags": pa.list_(pa.string_view()),
        "pair": pa.list_(pa.string_view(), 1),
        "long": pa.large_list(pa.string_view()),
        "meta": pa.struct([("x", pa.string_view())]),
        "map": pa.map_(pa.string_view(), pa.binary_view()),
    }
    viewed = pa.table({name: pa.array(column.to_pylist(), views[name]) for name, column in plain.items()})
    viewed = viewed.replace_schema_metadata({"about": "a test"})
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    pq.write_table(viewed.append_column("v", vectors), tmp_path / "in.parquet")
    gate = copy(f"{tmp_path}/in.parquet::v", tmp_path / "out.parquet")
    assert [(bad.row, bad.id) for bad in gate.bad] == [(2, "c")]
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.drop_columns("v").equals(pa.table(plain).slice(0, 2))
    assert written.schema.metadata == {b"about": b"a test"}


LATE = pa.array([0, 9_223_371_331_200_000_000], pa.timestamp("us"))


@pytest.mark.parametrize(
    ("ids", "shown"),
    [(LATE, "<value out of range: 9223371331200000000>"), (pa.ListArray.from_arrays(pa.array([0, 1, 2]), LATE), None)],
)
def test_parquet_id_beyond_python(tmp_path: Path, ids: pa.Array, shown: str | None) -> None:
    pq.write_table(pa.table({"id": ids, "v": [[1.0], [0.0]]}), tmp_path / "in.parquet")
    gate = copy(f"{tmp_path}/in.parquet::v", tmp_path / "out.parquet")
    assert [(bad.row, bad.id) for bad in gate.bad] == [(1, shown)]


def test_jsonl_to_parquet(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "in.jsonl",
        {"id": "a", "n": 1, "v": [1, 2], "tags": ["p"], "mixed": 1},
        {"id": "b", "n": 2, "v": [3, 4], "tags": [], "mixed": "x"},
        {"id": "c", "n": 2.5, "v": [5, 6], "meta": {"a": 1}, "big": 10**30},
    )
    copy(tmp_path / "in.jsonl", tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.column_names == ["id", "n", "v", "tags", "mixed", "meta", "big"]
    assert written.schema.field("n").type == pa.float64()
    assert written.schema.field("tags").type == pa.list_(pa.string())
    assert all(field.metadata is None or b"vec2vec" not in field.metadata for field in written.schema)
    assert written.to_pydict() == {
        "id": ["a", "b", "c"],
        "n": [1, 2, 2.5],
        "v": [[1, 2], [3, 4], [5, 6]],
        "tags": [["p"], [], None],
        "mixed": ["1", "x", None],
        "meta": [None, None, '{"a": 1}'],
        "big": [None, None, str(10**30)],
    }


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("order", [1, -1])
def test_jsonl_of_large_integers_and_floats_to_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, order: int
) -> None:
    """JSON text unless a double holds them all, whether they are met with in one look at the types or in two."""
    monkeypatch.setattr("vec2vec.stores.jsonl.BATCH_ROWS", window)
    records = [
        {"v": [1], "small": 2**53, "large": 2**53 + 1, "lists": [None, 2**60]},
        {"v": [2], "small": 0.5, "large": 0.5, "lists": [0.5]},
    ]
    write_lines(tmp_path / "in.jsonl", *records[::order])
    copy(f"{tmp_path}/in.jsonl::v", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist()[::order] == [
        {"v": [1], "small": float(2**53), "large": str(2**53 + 1), "lists": f"[null, {2**60}]"},
        {"v": [2], "small": 0.5, "large": "0.5", "lists": "[0.5]"},
    ]


def test_jsonl_with_half_a_character_to_parquet(tmp_path: Path) -> None:
    write_lines(tmp_path / "in.jsonl", {"v": [1], "a": "x", "b": ["y"]}, {"v": [2], "a": "\ud800", "b": ["\ud800"]})
    copy(tmp_path / "in.jsonl", tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert written == {"v": [[1], [2]], "a": ["x", '"\\ud800"'], "b": ['["y"]', '["\\ud800"]']}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values), min_size=1, max_size=5))
def test_any_record_survives(tmp_path: Path, others: list[dict[str, Any]]) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    records = [{"vec": [i + 0.5, 1.0], **other} for i, other in enumerate(others)]
    write_lines(tmp_path / "in.jsonl", *records)
    copy(f"{tmp_path}/in.jsonl::vec", tmp_path / "out.jsonl")
    assert read_lines(tmp_path / "out.jsonl") == records
    copy(f"{tmp_path}/in.jsonl::vec", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("vec").to_pylist() == [r["vec"] for r in records]


def test_a_key_that_only_later_lines_have_is_not_lost(tmp_path: Path) -> None:
    lines = [{"vector": [1.0, 2.0]} for _ in range(150)] + [{"vector": [1.0, 2.0], "extra": "kept"}]
    source = write_lines(tmp_path / "in.jsonl", *lines)
    with pytest.raises(InputError, match="another key named 'extra'; choose another key"):
        copy(source, f"{tmp_path / 'out.jsonl'}::extra")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_parquet_whose_names_are_not_utf8(tmp_path: Path) -> None:
    pq.write_table(pa.table({"vectors": pa.array([[1.0, 2.0]])}), tmp_path / "in.parquet")
    content = (tmp_path / "in.parquet").read_bytes()
    (tmp_path / "odd.parquet").write_bytes(content.replace(b"vectors", b"vect\xberrs"))
    with pytest.raises(InputError, match=r"odd\.parquet: "):
        open_source(tmp_path / "odd.parquet")
