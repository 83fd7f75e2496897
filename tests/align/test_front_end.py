"""`vec2vec.fit`: what it takes, what it refuses, what it records. The fitters have tests of their own."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import Field

from vec2vec import align
from vec2vec.align import fit
from vec2vec.align.base import METHODS, FitConfig, LinearFit, Method, Progress, SpaceFit, make_config
from vec2vec.align.inputs import load_pairs
from vec2vec.errors import ConfigError, DimensionError, InputError, Vec2VecWarning
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import linear_spaces
from vec2vec.verdict import Verdict

ROWS = 1200
Array = np.ndarray


def vectors(width: int = 8, rows: int = ROWS, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


class DummyConfig(FitConfig):
    restarts: int = Field(default=3, ge=1)
    spread: float = 0.5


class Dummy:
    """A method that keeps what it was called with, and gives a random rotation by its seed."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.raises: BaseException | None = None
        self.verdict: Verdict | None = Verdict("aligned", 0.5, (0.4, 0.6), {}, "Fine.")
        self.as_spaces = False

    def __call__(self, source: Array, target: Array, config: DummyConfig, **options: Any) -> LinearFit | SpaceFit:
        threads = torch.get_num_threads()
        self.calls.append({"source": source, "target": target, "config": config, "threads": threads, **options})
        if options["progress"] is not None:
            options["progress"](Progress("working", 0, 1))
        if self.raises is not None:
            raise self.raises
        generator = torch.Generator().manual_seed(options["seed"])
        side = max(source.shape[1], target.shape[1])
        weight = torch.linalg.qr(torch.randn(side, side, generator=generator))[0].numpy()
        weight = weight[: source.shape[1], : target.shape[1]]
        sides = Preprocessor.fit(source), Preprocessor.fit(target)
        if self.as_spaces:
            return SpaceFit(*linear_spaces(*sides, weight), [{"step": 0}], self.verdict)
        return LinearFit(weight, [{"step": 0}], *sides, verdict=self.verdict)


@pytest.fixture
def dummy(monkeypatch: pytest.MonkeyPatch) -> Dummy:
    """The methods "dummy", and "dummy-pairs", which uses pairs."""
    module, method = ModuleType("dummy_method"), Dummy()
    module.__dict__.update(DummyConfig=DummyConfig, fit=method)
    monkeypatch.setitem(sys.modules, "dummy_method", module)
    monkeypatch.setitem(METHODS, "dummy", Method("dummy_method", "DummyConfig"))
    monkeypatch.setitem(METHODS, "dummy-pairs", Method("dummy_method", "DummyConfig", pairs=True))
    monkeypatch.setitem(METHODS, "sinkhorn", Method("dummy_method", "DummyConfig"))
    monkeypatch.setitem(METHODS, "few-pairs", Method("dummy_method", "DummyConfig", pairs=True))
    return method


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_the_record_and_the_names_go_into_the_translator(dummy: Dummy) -> None:
    found = fit(
        vectors(8), vectors(6, 1500, 1), "dummy", seed=5, source_name="a", target_name="b", device="cpu", restarts=7
    )
    assert found.translator.spaces == ("a", "b")
    assert (found.translator.width("a"), found.translator.width("b")) == (8, 6)
    assert found.verdict == found.translator.verdict == dummy.verdict
    assert found.record == found.translator.record
    assert found.history == [{"step": 0}]
    record = found.record
    assert (record["method"], record["seed"], record["pairs"], record["device"]) == ("dummy", 5, 0, "cpu")
    assert record["rows"] == {
        "source": {"used": 1200, "available": 1200, "skipped": 0},
        "target": {"used": 1500, "available": 1500, "skipped": 0},
    }
    assert record["config"] == {"max_rows": 65536, "restarts": 7, "spread": 0.5}
    assert record["names"] == {"source": "a", "target": "b"}
    assert set(record["versions"]) == {"vec2vec", "torch", "numpy", "python"}
    assert record["seconds"] >= 0
    assert record["threads"] == torch.get_num_threads()


def test_the_map_is_that_of_the_method(dummy: Dummy) -> None:
    x, y = vectors(8), vectors(6, seed=1)
    found = fit(x, y, "dummy", seed=5)
    dummy.as_spaces = True
    same = fit(x, y, "dummy", seed=5)
    other = fit(x, y, "dummy", seed=6)
    np.testing.assert_array_equal(found.translator.translate(x), same.translator.translate(x))
    assert not np.allclose(found.translator.translate(x), other.translator.translate(x))


def test_paired_procrustes_from_end_to_end() -> None:
    x = vectors(8, seed=1)
    turn = np.linalg.qr(vectors(8, 8, seed=2))[0]
    unseen = vectors(8, 50, seed=3)
    found = fit(x, 2 * x @ turn + 1, "procrustes", pairs=(x[:100], 2 * x[:100] @ turn + 1))
    z = found.translator.space("target").preprocessor.apply
    np.testing.assert_allclose(z(found.translator.translate(unseen)), z(2 * unseen @ turn + 1), atol=1e-3)
    assert found.record["pairs"] == 100


def test_too_few_rows_for_a_second_opinion_leave_the_verdict_open(dummy: Dummy) -> None:
    dummy.verdict = None
    with pytest.warns(Vec2VecWarning, match="200 rows are few"):
        verdict = fit(vectors(rows=200), vectors(rows=200, seed=1), "dummy").verdict
    assert (verdict.label, verdict.interval) == ("uncertain", (0.0, 1.0))
    assert "Not judged" in verdict.sentence


def test_the_default_methods(dummy: Dummy) -> None:
    x, y = vectors(), vectors(seed=1)
    assert fit(x, y).record["method"] == "sinkhorn"
    assert fit(x, y, pairs=(x, y)).record["method"] == "few-pairs"


def test_nothing_global_changes(dummy: Dummy) -> None:
    state, threads, precision = torch.get_rng_state(), torch.get_num_threads(), torch.get_float32_matmul_precision()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one is what must not change
    x = vectors()
    before = x.copy()
    fit(x, vectors(seed=1), "dummy", threads=1)
    assert dummy.calls[0]["threads"] == 1
    for error in (KeyboardInterrupt(), ValueError()):
        dummy.raises = error
        with pytest.raises(type(error)):
            fit(x, vectors(seed=1), "dummy", threads=1)
    assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == precision
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    np.testing.assert_array_equal(x, before)


def test_progress_reaches_the_caller_and_can_end_the_fit(dummy: Dummy) -> None:
    seen: list[Progress] = []
    fit(vectors(), vectors(seed=1), "dummy", progress=seen.append)
    assert [progress.stage for progress in seen] == ["working"]

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(vectors(), vectors(seed=1), "dummy", progress=interrupt)


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_drawn_by_the_seed_and_not_alike_on_both_sides(dummy: Dummy) -> None:
    x = vectors(rows=3000)
    y = x + 100  # row-aligned: the same draw on both sides would be pairs
    for seed in (0, 0, 1):
        fit(x, y, "dummy", rows=1000, seed=seed)
    first, again, other = dummy.calls
    np.testing.assert_array_equal(first["source"], again["source"])
    assert not np.array_equal(first["source"], other["source"])
    assert first["source"].shape == first["target"].shape == (1000, 8)
    assert not np.allclose(first["source"], first["target"] - 100, atol=1e-3)
    assert len(np.unique(first["source"], axis=0)) == 1000
    assert {row.tobytes() for row in first["source"]} <= {row.tobytes() for row in x}


@pytest.mark.parametrize("in_file", [False, True])
def test_max_rows_is_the_most_that_is_held(tmp_path: Path, dummy: Dummy, in_file: bool) -> None:
    x, y = vectors(rows=3000), vectors(rows=2500, seed=1)
    np.save(tmp_path / "x.npy", x)
    found = fit(tmp_path / "x.npy" if in_file else x, y, "dummy", max_rows=1100, rows=2000)
    assert found.record["rows"] == {
        "source": {"used": 1100, "available": 3000, "skipped": 0},
        "target": {"used": 1100, "available": 2500, "skipped": 0},
    }


def test_files_columns_and_arrays_give_the_same(tmp_path: Path, dummy: Dummy) -> None:
    x, y = vectors(), vectors(6, seed=1)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "y.npz", y=y, z=vectors(seed=2))
    fit(str(tmp_path / "x.npy"), f"{tmp_path}/y.npz::y", "dummy", rows=1000)
    fit(x.tolist(), torch.from_numpy(y), "dummy", rows=1000)
    for side in ("source", "target"):
        np.testing.assert_array_equal(dummy.calls[0][side], dummy.calls[1][side])


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("choice", ["skip", "keep"])
def test_bad_rows_are_left_out_and_counted(tmp_path: Path, dummy: Dummy, choice: str, in_file: bool) -> None:
    x = vectors()
    x[7], x[9] = np.nan, 0
    np.save(tmp_path / "x.npy", x)
    source = tmp_path / "x.npy" if in_file else x
    with pytest.warns(Vec2VecWarning, match=r"2 of 1,200 rows.*row 7"):
        found = fit(source, vectors(seed=1), "dummy", on_bad_rows=choice)
    assert found.record["rows"]["source"] == {"used": 1198, "available": 1200, "skipped": 2}
    listed = {Path(name).name: [(bad.row, bad.reason) for bad in rows] for name, rows in found.skipped.items()}
    assert listed == {"x.npy" if in_file else "source": [(7, "column 0 is NaN"), (9, "all its values are zero")]}
    np.testing.assert_array_equal(dummy.calls[0]["source"], np.delete(x, [7, 9], axis=0))
    with pytest.raises(InputError, match=r"(x\.npy|source): row 7 "):
        fit(source, vectors(seed=1), "dummy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:900], "source: 900 rows are few"),
        (
            lambda x: np.concatenate([x[:1100], x[:100]]),
            r"100 of 1,200 rows \(8.3%\) repeat an earlier row and",
        ),
        (lambda x: x * (np.arange(8) != 3), r"1 of 8 columns are constant \(3\)"),
    ],
)
def test_oddities_are_warned_of(dummy: Dummy, change: Any, message: str) -> None:
    with pytest.warns(Vec2VecWarning, match=message) as caught:
        fit(change(vectors()), vectors(seed=1), "dummy")
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_good_vectors_are_not_warned_of(dummy: Dummy) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(vectors(), vectors(seed=1), "dummy")


# --- what is refused --------------------------------------------------------------------------------------------------


def test_the_same_vectors_on_both_sides(tmp_path: Path, dummy: Dummy) -> None:
    x = vectors()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "copy.npy", x)
    np.savez(tmp_path / "two.npz", a=x, b=vectors(seed=1))
    (tmp_path / "link.npy").symlink_to(tmp_path / "x.npy")
    same: list[tuple[Any, Any]] = [
        (x, x),
        (x, x[:]),
        (x, x.copy()),
        (tmp_path / "x.npy", tmp_path / "x.npy"),
        (tmp_path / "x.npy", tmp_path / "link.npy"),
        (tmp_path / "x.npy", tmp_path / "copy.npy"),
        (f"{tmp_path}/two.npz::a", f"{tmp_path}/two.npz::a"),
    ]
    for source, target in same:
        with pytest.raises(InputError, match="same"):
            fit(source, target, "dummy")
    assert dummy.calls == []
    fit(f"{tmp_path}/two.npz::a", f"{tmp_path}/two.npz::b", "dummy")
    halves = vectors(rows=2400)
    fit(halves[:1200], halves[1200:], "dummy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sinkhron"}, "no method 'sinkhron' .*did you mean sinkhorn.*mini"),
        ({"method": "dummy", "restart": 3}, "no setting 'restart'; did you mean 'restarts'"),
        ({"method": "dummy", "unheard_of": 3}, "no setting 'unheard_of'; it has max_rows, restarts"),
        ({"method": "dummy", "restarts": 0}, "restarts = 0 will not do"),
        ({"method": "dummy", "restarts": "many"}, "restarts = 'many' will not do"),
        ({"method": "dummy", "spread": float("nan")}, "spread = nan will not do"),
        ({"method": "dummy", "seed": -1}, "seed is -1"),
        ({"method": "dummy", "seed": None}, "seed is None"),
        ({"method": "dummy", "seed": 1.5}, "seed is 1.5"),
        ({"method": "dummy", "rows": 0}, "rows is 0"),
        ({"method": "dummy", "threads": 0}, "threads is 0"),
        ({"method": "dummy", "device": "tpu"}, "no device 'tpu'; it can be auto"),
        ({"method": "dummy-pairs"}, "needs known pairs"),
        ({"method": "dummy", "pairs": (1, 2)}, "uses no pairs"),
    ],
)
def test_bad_options(dummy: Dummy, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        fit(vectors(), vectors(seed=1), **options)
    assert "\n" not in str(caught.value)
    assert dummy.calls == []


@pytest.mark.parametrize("names", [("a", "a"), ("", "b"), ("a", "  ")])
def test_bad_names(dummy: Dummy, names: tuple[str, str]) -> None:
    with pytest.raises(InputError):
        fit(vectors(), vectors(seed=1), "dummy", source_name=names[0], target_name=names[1])


@pytest.mark.parametrize("bad", [vectors(rows=1), vectors(rows=0), vectors()[0], np.array([["a"] * 8] * 99), [[1], []]])
def test_bad_vectors_say_which_side(dummy: Dummy, bad: Any) -> None:
    with pytest.raises(InputError, match="target: "):
        fit(vectors(), bad, "dummy")


def test_devices(dummy: Dummy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert align.find_device("auto") == align.find_device("cpu") == torch.device("cpu")
    for absent in ("cuda", "mps"):
        with pytest.raises(ConfigError, match=f"device {absent}: "):
            fit(vectors(), vectors(seed=1), "dummy", device=absent)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert align.find_device("auto") == torch.device("cuda")


def test_every_method_of_the_table_has_its_own_settings() -> None:
    for name in ("mini", "procrustes", "ridge"):
        config, function = METHODS[name].load()
        assert issubclass(config, FitConfig)
        assert callable(function)
        assert make_config(config, {}, method=name) == config()


# --- pairs ------------------------------------------------------------------------------------------------------------


def as_file(folder: Path, suffix: str, names: tuple[str, str], a: Array, b: Array) -> Path:
    path = folder / f"pairs{suffix}"
    if suffix == ".npz":
        np.savez(path, **dict(zip(names, (a, b), strict=True)))
    else:
        pq.write_table(pa.table(dict(zip(names, (list(a), list(b)), strict=True))), path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_pairs_from_a_file(tmp_path: Path, dummy: Dummy, suffix: str) -> None:
    a, b = vectors(8, 40, 3), vectors(6, 40, 4)
    path = as_file(tmp_path, suffix, ("source", "target"), a, b)
    found = fit(vectors(8), vectors(6, seed=1), pairs=path)
    np.testing.assert_array_equal(dummy.calls[0]["pairs"][0], a)
    np.testing.assert_array_equal(dummy.calls[0]["pairs"][1], b)
    assert found.record["pairs"] == 40
    path = as_file(tmp_path, suffix, ("left", "right"), a, b)
    fit(vectors(8), vectors(6, seed=1), pairs=f"{path}::left, right")
    np.testing.assert_array_equal(dummy.calls[1]["pairs"][1], b)
    with pytest.raises(InputError, match="source"):
        fit(vectors(8), vectors(6, seed=1), pairs=path)


def test_too_many_pairs_are_drawn_from_together() -> None:
    a = np.arange(1, 101, dtype=np.float32)[:, None] * np.ones((1, 4), dtype=np.float32)
    pairs = load_pairs((a, 2 * a), (4, 4), most=30, seed=0, on_bad_rows="error")
    assert pairs.source.shape == (30, 4)
    np.testing.assert_array_equal(2 * pairs.source, pairs.target)


def test_a_bad_row_of_a_pair_takes_the_pair_with_it(dummy: Dummy) -> None:
    a, b = vectors(8, 40, 3), vectors(6, 40, 4)
    a[3], b[5] = np.nan, 0
    with pytest.raises(InputError, match=r"pairs \(source\): row 3 "):
        fit(vectors(8), vectors(6, seed=1), pairs=(a, b))
    with pytest.warns(Vec2VecWarning, match=r"pairs \(source\), pairs \(target\): 2 of 40 pairs"):
        found = fit(vectors(8), vectors(6, seed=1), pairs=(a, b), on_bad_rows="skip")
    assert {name: [bad.row for bad in rows] for name, rows in found.skipped.items()} == {
        "pairs (source)": [3],
        "pairs (target)": [5],
    }
    assert found.record["pairs"] == 38
    for got, given in zip(dummy.calls[0]["pairs"], (a, b), strict=True):
        np.testing.assert_array_equal(got, np.delete(given, [3, 5], axis=0))


def test_rows_that_repeat_others_are_used_once(dummy: Dummy) -> None:
    x, y = vectors(8), vectors(6, seed=1)
    some = np.concatenate([x, x[ROWS // 2 :], x[:3]])
    with pytest.warns(Vec2VecWarning, match=rf"source: {ROWS // 2 + 3:,} of .* rows .* repeat an earlier row"):
        found = fit(some, y)
    np.testing.assert_array_equal(dummy.calls[0]["source"], x)
    assert found.record["rows"]["source"] == {"used": ROWS, "available": len(some), "skipped": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(np.concatenate([x, x[:3]]), y)
    assert len(dummy.calls[1]["source"]) == ROWS + 3  # a few do no harm


@pytest.mark.filterwarnings("ignore::vec2vec.errors.Vec2VecWarning")
def test_too_few_different_rows(dummy: Dummy) -> None:
    with pytest.raises(InputError, match="target: has 8 different rows: a fit needs 10 at least"):
        fit(vectors(8), np.repeat(vectors(6, 8), 200, axis=0))


def test_repeated_pairs_are_used_once(dummy: Dummy) -> None:
    a, b = vectors(8, 40, 3), vectors(6, 40, 4)
    b[1] = b[0]  # another text with the same partner is another pair
    again = np.r_[0:40, 5:0:-1, 5:15]
    with pytest.warns(Vec2VecWarning, match=r"pairs \(source\): 15 of 55 pairs repeat an earlier pair") as caught:
        found = fit(vectors(8), vectors(6, seed=1), pairs=(a[again], b[again]))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert found.record["pairs"] == 40
    for got, given in zip(dummy.calls[0]["pairs"], (a, b), strict=True):
        np.testing.assert_array_equal(got, given)


def test_pairs_that_will_not_do(tmp_path: Path, dummy: Dummy) -> None:
    a, b = vectors(8, 40, 3), vectors(6, 40, 4)
    np.save(tmp_path / "a.npy", a)
    bad: list[tuple[Any, type[Exception], str]] = [
        ((a[:9], b[:9]), InputError, "9 usable pairs; at least 10"),
        ((np.tile(a[:9], (2, 1)), np.tile(b[:9], (2, 1))), InputError, "18 usable pairs of 9 different texts"),
        ((a, np.tile(b[:4], (10, 1))), InputError, "40 usable pairs of 4 different texts; at least 10"),
        ((a, b[:39]), InputError, "40 rows and .* 39"),
        ((b, a), DimensionError, "width 6, expected 8 .*swapped"),
        ((a, vectors(7, 40)), DimensionError, "width 7, expected 6 as the target has$"),
        (tmp_path / "a.npy", InputError, "holds one array"),
        (tmp_path / "no.npz", InputError, "no such file"),
        (f"{tmp_path}/no.npz::a,a", InputError, "name the two columns"),
        (a, InputError, "must be a file"),
        ((a,), InputError, "must be a file"),
    ]
    for pairs, kind, message in bad:
        with pytest.raises(kind, match=message):
            fit(vectors(8), vectors(6, seed=1), pairs=pairs)
    assert dummy.calls == []


def test_what_cannot_be_solved_is_one_clear_line(dummy: Dummy) -> None:
    for error in (np.linalg.LinAlgError("Singular matrix"), torch.linalg.LinAlgError("did not converge")):
        dummy.raises = error
        with pytest.raises(InputError, match="leave nothing to solve for"):
            fit(vectors(), vectors(seed=1), "dummy")


def test_a_fit_has_the_usual_tensors_whatever_a_program_has_chosen_for_its_own(dummy: Dummy) -> None:
    made: list[torch.Tensor] = []
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_default_device("meta")
        fit(vectors(), vectors(seed=1), "dummy", progress=lambda _: made.append(torch.ones(1)))
        assert torch.get_default_dtype() == torch.bfloat16
        assert torch.ones(1).device.type == "meta"
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)
    assert {(one.dtype, one.device.type) for one in made} == {(torch.float32, "cpu")}
