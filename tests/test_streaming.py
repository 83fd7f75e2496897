from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vec2vec.errors import DimensionError, InputError, OutputError, Vec2VecWarning
from vec2vec.streaming import sidecar_path, translate_file


class Verdict:
    def __init__(self, label: str) -> None:
        self.label = label
        self.sentence = f"so it is {label}"


class Doubling:
    """A translator from width 4 ("a") to width 3 ("b"), whose arithmetic is exact."""

    spaces = ("a", "b")

    def __init__(self, label: str | None = "aligned") -> None:
        self.verdict = None if label is None else Verdict(label)
        self.largest = 0

    def width(self, space: str) -> int:
        return {"a": 4, "b": 3}[space]

    def direction(self, source: str | None, target: str | None, reverse: bool) -> tuple[str, str]:
        return ("b", "a") if reverse else ("a", "b")

    def translate(self, x: np.ndarray, *, source: str, target: str) -> np.ndarray:
        self.largest = max(self.largest, len(x))
        out = np.zeros((len(x), self.width(target)), dtype=np.float32)
        out[:, :3] = 2 * x[:, :3]
        return out


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path, x: np.ndarray) -> Path:
    np.save(tmp_path / "in.npy", x)
    return tmp_path / "in.npy"


def test_every_row_in_order_whatever_the_batch(tmp_path: Path, source: Path, x: np.ndarray) -> None:
    for batch_rows in (1, 7, 100, 1000):
        out = tmp_path / f"out{batch_rows}.npy"
        translator = Doubling()
        report = translate_file(translator, source, out, batch_rows=batch_rows)
        np.testing.assert_array_equal(np.load(out), 2 * x[:, :3])
        assert (report.rows, report.skipped, report.kept_bad, report.sidecar) == (100, 0, 0, None)
        assert translator.largest <= batch_rows


@pytest.mark.parametrize("batch_rows", [0, -1])
@pytest.mark.parametrize("name", ["in.npy", "in.jsonl"])
def test_a_batch_has_rows(tmp_path: Path, source: Path, name: str, batch_rows: int) -> None:
    (tmp_path / "in.jsonl").write_text('{"vector": [1, 2, 3, 4]}\n')
    with pytest.raises(InputError, match=f"batch_rows is {batch_rows}; at least 1 is needed"):
        translate_file(Doubling(), tmp_path / name, tmp_path / "out.npy", batch_rows=batch_rows)


def test_reverse(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((2, 3), dtype=np.float32))
    translate_file(Doubling(), tmp_path / "b.npy", tmp_path / "a.npy", reverse=True)
    assert np.load(tmp_path / "a.npy").shape == (2, 4)


def test_ids_and_columns_survive_a_skip(tmp_path: Path, x: np.ndarray) -> None:
    x[3], x[50] = np.nan, 0
    table = pa.table({"id": [f"n{i}" for i in range(100)], "vector": list(x), "year": list(range(100))})
    pq.write_table(table, tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    report = translate_file(Doubling(), f"{tmp_path}/in.parquet::vector", out, on_bad_rows="skip", batch_rows=16)
    good = [i for i in range(100) if i not in (3, 50)]
    written = pq.read_table(out)
    assert written.column("id").to_pylist() == [f"n{i}" for i in good]
    assert written.column("year").to_pylist() == good
    np.testing.assert_array_equal(np.stack(written.column("vector").to_numpy()), 2 * x[good, :3])
    assert (report.rows, report.skipped) == (98, 2)
    assert report.sidecar == tmp_path / "out.parquet.skipped.jsonl"
    listed = [json.loads(line) for line in report.sidecar.read_text().splitlines()]
    assert [(bad["row"], bad["id"]) for bad in listed] == [(3, "n3"), (50, "n50")]
    assert all(bad["reason"] for bad in listed)


def test_kept_rows_stay_in_their_places(tmp_path: Path, source: Path, x: np.ndarray) -> None:
    x[3], x[50] = np.nan, 0
    np.save(source, x)
    report = translate_file(Doubling(), source, tmp_path / "out.npy", on_bad_rows="keep")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), 2 * x[:, :3])
    assert (report.rows, report.skipped, report.kept_bad) == (100, 0, 2)
    assert not sidecar_path(tmp_path / "out.npy").exists()


@pytest.mark.parametrize("choice", ["error", "skip"])
def test_nothing_is_left_after_an_error(tmp_path: Path, source: Path, x: np.ndarray, choice: str) -> None:
    np.save(source, np.full_like(x, np.nan))
    with pytest.raises(InputError):
        translate_file(Doubling(), source, tmp_path / "out.npy", on_bad_rows=choice)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_nothing_is_left_after_an_interruption(tmp_path: Path, source: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_file(Doubling(), source, tmp_path / "out.npy", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_an_existing_output_stays_without_force(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out.npy"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        translate_file(Doubling(), source, out)
    assert out.read_bytes() == b"precious"
    translate_file(Doubling(), source, out, force=True)
    assert np.load(out).shape == (100, 3)


def test_an_existing_sidecar_stays_without_force_and_goes_with_its_output(tmp_path: Path, source: Path) -> None:
    sidecar = sidecar_path(tmp_path / "out.npy")
    sidecar.write_text("precious")
    with pytest.raises(OutputError, match="skipped"):
        translate_file(Doubling(), source, tmp_path / "out.npy", on_bad_rows="skip")
    assert sidecar.read_text() == "precious"
    translate_file(Doubling(), source, tmp_path / "out.npy", on_bad_rows="skip", force=True)
    assert not sidecar.exists()


def test_what_is_said_of_an_output_that_is_gone_is_not_left_beside_another(tmp_path: Path, source: Path) -> None:
    said = {sidecar_path(tmp_path / "out.npy"): "{}", tmp_path / "out.npy.json": '{"identity": {"encoder": "minilm"}}'}
    for path, text in said.items():
        path.write_text(text)
        with pytest.raises(OutputError, match=rf"{path.name}: exists already.*--force"):
            translate_file(Doubling(), source, tmp_path / "out.npy")
        assert path.read_text() == text
        translate_file(Doubling(), source, tmp_path / "out.npy", force=True)
        assert not path.exists()
        (tmp_path / "out.npy").unlink()
    (tmp_path / "out.npy.json").write_text('{"mine": 1}')  # of another kind: it is not touched
    translate_file(Doubling(), source, tmp_path / "out.npy")
    assert (tmp_path / "out.npy.json").exists()


def test_another_width_names_both(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.ones((2, 9), dtype=np.float32))
    with pytest.raises(DimensionError, match=r"wide.npy: the vectors have width 9, expected 4 for the space 'a'$"):
        translate_file(Doubling(), tmp_path / "wide.npy", tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


def test_the_width_of_the_other_direction_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((2, 3), dtype=np.float32))
    with pytest.raises(DimensionError, match=r"b.npy: .* 3, expected 4 .*'b' has that width: is it the other direct"):
        translate_file(Doubling(), tmp_path / "b.npy", tmp_path / "out.npy")


@pytest.mark.parametrize("label", ["uncertain", "not aligned"])
def test_warns_unless_aligned(tmp_path: Path, source: Path, label: str) -> None:
    with pytest.warns(Vec2VecWarning, match=label):
        translate_file(Doubling(label), source, tmp_path / "out.npy")


@pytest.mark.parametrize("label", ["aligned", None])
def test_does_not_warn_when_aligned_or_unknown(tmp_path: Path, source: Path, label: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translate_file(Doubling(label), source, tmp_path / "out.npy")


def test_progress_counts_rows(tmp_path: Path, source: Path) -> None:
    seen: list[tuple[int, int]] = []
    translate_file(
        Doubling(), source, tmp_path / "out.npy", batch_rows=40, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(40, 100), (80, 100), (100, 100)]


@pytest.mark.parametrize(("dtype", "due"), [("float16", np.float16), ("float64", np.float64)])
def test_the_numbers_can_be_of_another_kind(tmp_path: Path, source: Path, x: np.ndarray, dtype: Any, due: type) -> None:
    translate_file(Doubling(), source, tmp_path / "out.npy", dtype=dtype)
    out = np.load(tmp_path / "out.npy")
    assert out.dtype == due
    np.testing.assert_allclose(out, 2 * x[:, :3], rtol=1e-3)


def test_what_was_said_of_the_encoder_goes_with_the_vectors_that_are_replaced(tmp_path: Path, source: Path) -> None:
    out, beside = tmp_path / "out.npy", tmp_path / "out.npy.json"
    for content, stays in (('{"identity": {}, "rows": 3}', False), ('{"mine": 1}', True), ("no json", True)):
        out.write_text("old")
        beside.write_text(content)
        translate_file(Doubling(), source, out, force=True)
        assert beside.exists() is stays


def test_hidden_files_of_a_killed_run_are_removed(tmp_path: Path, source: Path) -> None:
    old, new, other = (tmp_path / name for name in (".out.npy.0123abcd.tmp", ".out.npy.abcd0123.tmp", ".out.npy.x.tmp"))
    for path in (old, new, other):
        path.write_bytes(b"x" * 100)
    for path in (old, other):
        os.utime(path, (0, 0))
    translate_file(Doubling(), source, tmp_path / "out.npy")
    assert not old.exists()
    assert new.exists()  # another process may be about to write it
    assert other.exists()
    held = tmp_path / ".out.npy.00000000.tmp"
    with open(held, "wb") as stream:
        fcntl = pytest.importorskip("fcntl")
        fcntl.flock(stream, fcntl.LOCK_EX)
        os.utime(held, (0, 0))
        translate_file(Doubling(), source, tmp_path / "out.npy", force=True)
        assert held.exists()


def test_the_input_is_no_sidecar_of_the_output(tmp_path: Path, x: np.ndarray) -> None:
    source = sidecar_path(tmp_path / "out.npy")
    source.write_text("".join(json.dumps({"vector": row.tolist()}) + "\n" for row in x))
    before = source.read_bytes()
    for choice in ("error", "skip"):
        with pytest.raises(OutputError, match="is the input itself"):
            translate_file(Doubling(), source, tmp_path / "out.npy", on_bad_rows=choice, force=True)
    assert source.read_bytes() == before


def test_vectors_too_small_for_16_bits(tmp_path: Path, x: np.ndarray) -> None:
    np.save(tmp_path / "small.npy", 1e-9 * x)
    with pytest.raises(OutputError, match="below 6e-8 do not fit float16; write float32"):
        translate_file(Doubling(), tmp_path / "small.npy", tmp_path / "out.npy", dtype="float16")
    assert not (tmp_path / "out.npy").exists()
