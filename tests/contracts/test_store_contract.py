"""What every store must satisfy, whatever its format. Files are made, and outputs read, by other libraries."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vec2vec.errors import DimensionError, InputError, OutputError
from vec2vec.stores import SUFFIXES, open_sink, open_source, sample_rows
from vec2vec.vectors import Gate, VectorBatch


def make_parquet(path: Path, x: np.ndarray, group_rows: int = 100) -> None:
    pq.write_table(pa.table({"v": list(x)}), path, row_group_size=group_rows)


def make_fixed(path: Path, x: np.ndarray) -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    pq.write_table(pa.table({"v": lists}), path, row_group_size=100)


def make_jsonl(path: Path, x: np.ndarray) -> None:
    path.write_text("".join(json.dumps({"v": row.tolist()}) + "\n" for row in x))


MAKE: dict[str, Callable[[Path, np.ndarray], object]] = {
    "plain.npy": np.save,
    "fortran.npy": lambda path, x: np.save(path, np.asfortranarray(x)),
    "stored.npz": lambda path, x: np.savez(path, v=x),
    "fortran.npz": lambda path, x: np.savez(path, v=np.asfortranarray(x)),
    "packed.npz": lambda path, x: np.savez_compressed(path, v=x),
    "packed_fortran.npz": lambda path, x: np.savez_compressed(path, v=np.asfortranarray(x)),
    "variable.parquet": make_parquet,
    "fixed.parquet": make_fixed,
    "plain.safetensors": lambda path, x: safetensors.numpy.save_file({"v": x}, path),
    "plain.jsonl": make_jsonl,
}
# a column-major array in a compressed member has to be unpacked as a whole
STREAMED = [name for name in MAKE if name != "packed_fortran.npz"]


def read_back(path: Path, key: str) -> np.ndarray:
    match path.suffix:
        case ".npy":
            return np.load(path)
        case ".npz":
            with np.load(path) as arrays:
                return arrays[key]
        case ".parquet":
            return np.array(pq.read_table(path).column(key).to_pylist(), dtype=np.float32)
        case ".safetensors":
            return safetensors.numpy.load_file(path)[key]
        case _:
            return np.array([json.loads(line)[key] for line in path.read_text().splitlines()], dtype=np.float32)


def vectors(rows: int = 300, width: int = 5) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, width)).astype(np.float32)


def whole(x: np.ndarray) -> VectorBatch:
    return VectorBatch(x, np.arange(len(x)))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(params=list(MAKE))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    MAKE[request.param](path, vectors())
    return path


@pytest.fixture(params=SUFFIXES)
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"out{request.param}"


def test_shape_and_key(made: Path) -> None:
    source = open_source(made)
    assert (source.rows, source.width) == (300, 5)
    assert source.key == (None if made.suffix == ".npy" else "v")
    assert source.uri == (str(made) if made.suffix == ".npy" else f"{made}::v")
    assert source.column_names == ()
    assert source.dtype == ("float64" if made.suffix == ".jsonl" else "float32")


@pytest.mark.parametrize("batch_rows", [1, 7, 100, 8192])
def test_batches_give_every_row_in_order(made: Path, batch_rows: int) -> None:
    batches = list(open_source(made).batches(batch_rows))
    assert max(map(len, batches)) <= batch_rows
    assert all(b.vectors.dtype == np.float32 and b.vectors.flags.c_contiguous for b in batches)
    np.testing.assert_array_equal(np.concatenate([b.rows for b in batches]), np.arange(300))
    np.testing.assert_array_equal(np.concatenate([b.vectors for b in batches]), vectors())


def test_a_batch_is_the_callers_own(made: Path) -> None:
    source = open_source(made)
    for batch in source.batches(64):
        batch.vectors[:] = 0
    np.testing.assert_array_equal(next(source.batches(300)).vectors, vectors()[: len(next(source.batches(300)))])


@pytest.mark.parametrize("wanted", [[], [0], [299], [0, 1, 99, 100, 101, 250, 299], list(range(300))])
def test_take_gives_these_rows(made: Path, wanted: list[int]) -> None:
    np.testing.assert_array_equal(open_source(made).take(np.array(wanted, dtype=np.int64)), vectors()[wanted])


@pytest.mark.parametrize("wanted", [[-1], [300], [2, 1], [1, 1]])
def test_take_refuses_other_rows(made: Path, wanted: list[int]) -> None:
    with pytest.raises(InputError):
        open_source(made).take(wanted)


def test_a_sample_is_distinct_rows_of_the_file(made: Path) -> None:
    x, rows = sample_rows(open_source(made), 50, seed=3)
    assert len(set(rows.tolist())) == 50
    np.testing.assert_array_equal(x, vectors()[rows])
    np.testing.assert_array_equal(sample_rows(open_source(made), 50, seed=3)[1], rows)
    assert sample_rows(open_source(made), 50, seed=4)[1].tolist() != rows.tolist()


@pytest.mark.parametrize("name", STREAMED)
def test_reading_is_bounded_in_memory(name: str, tmp_path: Path) -> None:
    """2 MB of vectors, of which a few batches of 40 kB may be held. Arrow counts its memory apart."""
    x = vectors(8000, 64)
    MAKE[name](tmp_path / name, x)
    source = open_source(tmp_path / name)
    next(source.batches(160))  # imports and caches
    before = pa.total_allocated_bytes()
    arrow = 0
    tracemalloc.start()
    for batch in source.batches(160):
        arrow = max(arrow, pa.total_allocated_bytes() - before)
        del batch
    source.take(np.arange(0, 8000, 400))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    limit = 1_500_000 if name.endswith(".jsonl") else 1_000_000  # a Python float in a list takes 32 bytes
    assert peak < limit, f"{peak:,} bytes at once"
    assert arrow < 1_000_000, f"{arrow:,} bytes of Arrow at once"


def test_writing_in_batches_equals_writing_at_once(out: Path) -> None:
    x = vectors()
    with open_sink(out, width=5) as sink:
        for start in range(0, 300, 70):
            part = x[start : start + 70]
            sink.write(VectorBatch(part, np.arange(start, start + len(part))))
    assert sink.rows_written == 300
    source = open_source(out)
    np.testing.assert_array_equal(source.take(np.arange(300)), x)
    np.testing.assert_array_equal(read_back(out, source.key or ""), x)


def test_fewer_rows_than_announced(out: Path) -> None:
    x = vectors()
    with open_sink(out, width=5, rows=10_000) as sink:
        sink.write(VectorBatch(x[::2], np.arange(0, 300, 2)))
    np.testing.assert_array_equal(open_source(out).take(np.arange(150)), x[::2])


def test_the_key_is_kept_or_named(made: Path, out: Path) -> None:
    like = open_source(made)
    with open_sink(out, width=5, like=like) as sink:
        sink.write(next(like.batches(10)))
    named = {".npy": None, ".npz": "vectors", ".safetensors": "vectors"}.get(out.suffix, "vector")
    assert open_source(out).key == (None if out.suffix == ".npy" else like.key or named)
    if out.suffix != ".npy":
        with open_sink(f"{out}::mine", width=5, like=like, force=True) as sink:
            sink.write(next(like.batches(10)))
        assert open_source(out).key == "mine"


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_an_interrupted_write(out: Path, failure: type[BaseException]) -> None:
    def interrupted() -> None:
        with open_sink(out, width=5) as sink:
            sink.write(whole(vectors()))
            assert not out.exists()
            raise failure

    with pytest.raises(failure):
        interrupted()
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(out: Path) -> None:
    with open_sink(out, width=5) as sink:
        sink.write(whole(vectors()))
    old = out.read_bytes()
    with pytest.raises(OutputError, match=r"exists already.*--force"):
        open_sink(out, width=5)

    def interrupted() -> None:
        with open_sink(out, width=5, force=True) as sink:
            sink.write(whole(2 * vectors()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert out.read_bytes() == old
    with open_sink(out, width=5, force=True) as sink:
        sink.write(whole(2 * vectors()))
    np.testing.assert_array_equal(open_source(out).take([7]), 2 * vectors()[[7]])
    assert leftovers(out.parent) == []


def test_a_link_is_followed(out: Path) -> None:
    folder = out.parent / "elsewhere"
    folder.mkdir()
    target = folder / f"target{out.suffix}"
    out.symlink_to(target)
    for x in (vectors(), 2 * vectors()):
        with open_sink(out, width=5, force=True) as sink:
            sink.write(whole(x))
        assert out.is_symlink()
        np.testing.assert_array_equal(open_source(target).take(np.arange(300)), x)
    assert [path.name for path in folder.iterdir()] == [target.name]
    with pytest.raises(OutputError, match="exists already"):
        open_sink(out, width=5)
    target.unlink()
    folder.rmdir()
    with pytest.raises(OutputError, match="elsewhere does not exist"):
        open_sink(out, width=5)


def test_a_full_disk_is_one_line_and_leaves_nothing(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes the place of the hidden file: every flush to it fails with ENOSPC."""
    import builtins

    real = builtins.open

    def full(file: object, mode: str = "r", *args: object, **more: object) -> object:
        if mode != "x+b":
            return real(file, mode, *args, **more)  # type: ignore[call-overload]
        real(file, mode).close()  # type: ignore[call-overload]
        return real("/dev/full", "r+b")

    monkeypatch.setattr("builtins.open", full)

    def run() -> None:
        with open_sink(out, width=64) as sink:
            for start in range(0, 4000, 500):
                sink.write(VectorBatch(vectors(500, 64), np.arange(start, start + 500)))

    with pytest.raises(OutputError, match="cannot be written: No space left on device") as error:
        run()
    assert "\n" not in str(error.value)
    assert list(out.parent.iterdir()) == []


def test_too_small_a_disk_is_noticed_before_the_work(out: Path) -> None:
    with pytest.raises(OutputError, match="the disk has"):
        open_sink(out, width=4096, rows=10**12)


def test_the_input_is_never_the_output(made: Path) -> None:
    like = open_source(made)
    with pytest.raises(OutputError, match="is the input itself"):
        open_sink(made, width=5, like=like, force=True)
    link = made.with_name("link" + made.suffix)
    link.symlink_to(made)
    with pytest.raises(OutputError, match="is the input itself"):
        open_sink(link, width=5, like=like, force=True)


def test_an_output_in_no_folder(out: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        open_sink(out.parent / "none" / out.name, width=5)
    out.mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        open_sink(out, width=5, force=True)


def test_a_sink_refuses_what_does_not_follow(out: Path) -> None:
    with pytest.raises(OutputError, match="not open"):
        open_sink(out, width=5).write(whole(vectors()))
    with open_sink(out, width=5) as sink:
        sink.write(whole(vectors()))
        with pytest.raises(InputError, match="follow"):
            sink.write(whole(vectors()))
        with pytest.raises(DimensionError, match="expected width 5"):
            sink.write(VectorBatch(vectors(3, 4), np.arange(300, 303)))
    assert open_source(out).rows == 300


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_output_dtypes(out: Path, dtype: str) -> None:
    with open_sink(out, width=5, dtype=dtype) as sink:  # type: ignore[arg-type]
        sink.write(whole(vectors()))
    source = open_source(out)
    assert source.dtype == ("float64" if out.suffix == ".jsonl" else dtype)
    np.testing.assert_array_equal(source.take(np.arange(300)), vectors().astype(dtype).astype(np.float32))


def test_float16_does_not_overflow_silently(out: Path) -> None:
    def run() -> None:
        with open_sink(out, width=1, dtype="float16") as sink:
            sink.write(whole(np.array([[1e6]], dtype=np.float32)))

    with pytest.raises(OutputError, match="do not fit float16"):
        run()
    assert not out.exists()


def test_unknown_dtypes_are_refused(out: Path) -> None:
    with pytest.raises(InputError, match="cannot write int8"):
        open_sink(out, width=1, dtype="int8")  # type: ignore[arg-type]


def test_bad_rows_are_kept_as_they_are(out: Path) -> None:
    x = np.array([[1, 2], [np.nan, np.inf], [-np.inf, 0], [0, 0]], dtype=np.float32)
    with open_sink(out, width=2) as sink:
        sink.write(whole(x))
    np.testing.assert_array_equal(open_source(out).take(np.arange(4)), x)


def test_a_missing_key_lists_what_there_is(made: Path) -> None:
    if made.suffix == ".npy":
        with pytest.raises(InputError, match="leave out '::w'"):
            open_source(f"{made}::w")
    else:
        with pytest.raises(InputError, match=r"there is no \w+ 'vv'; it has 'v'; did you mean 'v'\?"):
            open_source(f"{made}::vv")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_truncated_file_is_one_line(made: Path, share: float) -> None:
    if made.suffix == ".jsonl" and share > 0:
        made.write_bytes(made.read_bytes()[:-20])  # cut within the last line
        (batch,) = open_source(made).batches()
        with pytest.raises(InputError, match=r"row 299 .*line 300: is not JSON"):
            Gate(str(made)).check(batch)
        return
    data = made.read_bytes()
    made.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError) as error:
        open_source(made)
    assert str(error.value).startswith(str(made))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\x00" * 300, b"hello\n" * 50, b"PK\x03\x04" + b"\x01" * 200, b"\xff\xfe" * 100])
def test_a_foreign_file_is_one_line(out: Path, content: bytes) -> None:
    out.write_bytes(content)
    with pytest.raises(InputError) as error:
        open_source(out)
    assert str(error.value).startswith(str(out))
    assert "\n" not in str(error.value)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(made: Path) -> None:
    source = open_source(made)
    made.write_bytes(made.read_bytes()[:100])
    with pytest.raises(InputError):
        source.take(np.arange(300))


def test_a_path_that_is_not_utf8(made: Path) -> None:
    place = made.with_name(os.fsdecode(b"caf\xe9" + os.fsencode(made.suffix)))
    made.rename(place)
    np.testing.assert_array_equal(open_source(place).take(np.arange(300)), vectors())


def test_files_that_are_none(out: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        open_source(out)
    out.mkdir()
    with pytest.raises(InputError, match="is a folder"):
        open_source(out)


def test_an_unreadable_file(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> object:
        raise PermissionError(13, "Permission denied", str(made))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied") as error:
        open_source(made)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    cuts=st.sets(st.integers(1, 7)),
    batch_rows=st.integers(1, 9),
)
def test_round_trips_are_exact(suffix: str, tmp_path: Path, x: np.ndarray, cuts: set[int], batch_rows: int) -> None:
    path = tmp_path / f"x{suffix}"
    with open_sink(path, width=x.shape[1], force=True) as sink:
        for part in np.split(np.arange(len(x)), sorted(cut for cut in cuts if cut < len(x))):
            sink.write(VectorBatch(x[part], part))
    read = np.concatenate([batch.vectors for batch in open_source(path).batches(batch_rows)])
    np.testing.assert_array_equal(read, x)
    assert leftovers(tmp_path) == []
