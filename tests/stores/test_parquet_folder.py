"""A folder of Parquet files as one source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vec2vec.errors import InputError, OutputError
from vec2vec.stores import open_sink, open_source, read_vectors, sample_rows
from vec2vec.stores.parquet_folder import COMPLETE, EMBEDDING

SIZES = (70, 0, 130, 100)


def write(path, x, first=0, **columns):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    table = pa.table({"id": pa.array(range(first, first + len(x)), pa.int64()), **columns, "v": lists})
    pq.write_table(table, path, row_group_size=50)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((sum(SIZES), 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, vectors):
    folder = tmp_path / "export"
    folder.mkdir()
    ends = np.cumsum(SIZES)
    for number in (2, 0, 3, 1):  # the order is that of the names
        start = ends[number] - SIZES[number]
        write(folder / f"part-{number}.parquet", vectors[start : ends[number]], start)
    write(folder / "_hidden.parquet", vectors[:3])
    (folder / "_SUCCESS").touch()
    (folder / "notes.txt").write_text("not a part")
    return folder


def test_the_files_are_one_source(folder, vectors):
    source = open_source(folder)
    assert (source.rows, source.width, source.key, source.uri) == (300, 5, "v", f"{folder}::v")
    batches = list(source.batches(64))
    assert np.array_equal(np.concatenate([batch.vectors for batch in batches]), vectors)
    assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(300))
    assert [id for batch in batches for id in batch.column("id")] == list(range(300))
    assert np.array_equal(read_vectors(f"{folder}::v"), vectors)


@pytest.mark.parametrize("rows", [[], [0], [69, 70], [3, 199, 200, 299], list(range(300))])
def test_rows_are_taken_by_number_through_all_files(folder, vectors, rows):
    assert np.array_equal(open_source(folder).take(rows), vectors[rows])


def test_a_sample_is_that_of_one_file(folder, tmp_path, vectors):
    np.save(tmp_path / "whole.npy", vectors)
    of_parts, of_one = (sample_rows(open_source(path), 40, seed=3) for path in (folder, tmp_path / "whole.npy"))
    assert np.array_equal(of_parts[0], of_one[0])
    assert np.array_equal(of_parts[1], of_one[1])


def test_a_bad_row_is_named_by_its_number_in_all(folder, vectors):
    broken = vectors[200:].copy()
    broken[7] = np.nan
    write(folder / "part-3.parquet", broken, 200)
    with pytest.raises(InputError, match=r"export::v.*row 207"):
        read_vectors(folder)


def test_a_row_that_is_null_is_told_as_such_through_all_files(folder, vectors):
    rows = pa.array([*vectors[200:203], None, *vectors[204:]], pa.list_(pa.float32(), 5))
    pq.write_table(pa.table({"id": pa.array(range(200, 300), pa.int64()), "v": rows}), folder / "part-3.parquet")
    with pytest.raises(InputError, match=r"row 203.*it is null"):
        read_vectors(folder)


def test_what_comes_of_it_keeps_the_columns(folder, tmp_path, vectors):
    source = open_source(folder)
    with open_sink(tmp_path / "out.parquet", width=5, like=source, rows=source.rows) as sink:
        for batch in source.batches(90):
            sink.write(batch)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("id").to_pylist() == list(range(300))
    assert table.schema.field("v").type == pa.list_(pa.float32(), 5)


def test_an_output_never_becomes_a_part(folder, tmp_path):
    with pytest.raises(OutputError, match="is in the folder that is the input"):
        open_sink(folder / "part-4.parquet", width=5, like=open_source(folder))
    (tmp_path / "link.parquet").symlink_to(folder / "part-3.parquet")
    with pytest.raises(OutputError, match="is in the folder that is the input"):
        open_sink(tmp_path / "link.parquet", width=5, like=open_source(folder), force=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: write(folder / "part-9.parquet", np.ones((2, 6), np.float32)), "part-9.parquet: differs from"),
        (
            lambda folder: write(folder / "part-9.parquet", np.ones((2, 5), np.float32), more=pa.array([1, 2])),
            "part-9.parquet: differs from part-0.parquet in its columns",
        ),
        (lambda folder: (folder / "part-9.parquet").write_bytes(b"PAR1"), "part-9.parquet: is no parquet file"),
        (lambda folder: [path.unlink() for path in folder.glob("part*")], "is a folder without .parquet files"),
        (lambda folder: [(folder / f"part-{i}.parquet").unlink() for i in (0, 2, 3)], "is empty"),
    ],
)
def test_a_folder_that_is_no_source_says_why(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError, match=message):
        open_source(folder)


def test_an_embedding_under_way_is_refused_until_it_is_finished(folder):
    table = pq.read_table(folder / "part-0.parquet").replace_schema_metadata({EMBEDDING: b'{"part": 0}'})
    pq.write_table(table, folder / "part-0.parquet")
    with pytest.raises(InputError, match="is an embedding that is not finished"):
        open_source(folder)
    (folder / COMPLETE).write_text("{}")
    assert open_source(folder).rows == 300


def test_finished_embeddings_are_a_folder_like_any_other(folder):
    table = pq.read_table(folder / "part-0.parquet").replace_schema_metadata({EMBEDDING: b'{"identity": {}}'})
    pq.write_table(table, folder / "part-0.parquet")
    assert open_source(folder).rows == 300
