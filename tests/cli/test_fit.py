"""``vec2vec fit``: its options, its exit codes, what it refuses. The fitters have tests of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import vec2vec.align
from vec2vec.cli import app
from vec2vec.cli.settings import parse_setting
from vec2vec.errors import ConfigError, OutputError

runner = CliRunner()


@dataclass
class Verdict:
    label: str
    sentence: str = "the sentence"


class Translator:
    def save_pretrained(self, folder: Path, *, force: bool = False) -> None:
        folder.mkdir(exist_ok=force)
        (folder / "saved").touch()


@dataclass
class Fit:
    verdict: Verdict
    translator: Translator
    skipped: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class Fitter:
    """Stands in for ``vec2vec.fit``: takes anything, gives the verdict that is asked for."""

    def __init__(self) -> None:
        self.label = "aligned"
        self.calls: list[dict[str, Any]] = []

    def __call__(self, source: str, target: str, **options: Any) -> Fit:
        self.calls.append({"source": source, "target": target, **options})
        return Fit(Verdict(self.label), Translator())


@pytest.fixture
def fitter(monkeypatch: pytest.MonkeyPatch) -> Fitter:
    stand_in = Fitter()
    monkeypatch.setattr(vec2vec.align, "fit", stand_in)
    return stand_in


@pytest.mark.parametrize(
    ("label", "strict", "code"),
    [
        ("aligned", False, 0),
        ("aligned", True, 0),
        ("uncertain", False, 0),
        ("uncertain", True, 3),
        ("not aligned", False, 3),
        ("not aligned", True, 3),
    ],
)
def test_exit_code_and_saved_in_every_case(tmp_path: Path, fitter: Fitter, label: str, strict: bool, code: int) -> None:
    fitter.label = label
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t"), *["--strict"] * strict])
    assert result.exit_code == code
    assert (tmp_path / "t" / "saved").exists()
    assert result.stdout.splitlines()[0] == "the sentence"
    assert ("warning:" in result.stderr) == (label == "uncertain")


def test_options_reach_the_fitter(tmp_path: Path, fitter: Fitter) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("restarts = 3\nrounds = 7\n")
    args = ["--pairs", "p.npz", "--rows", "500", "--seed", "4", "--on-bad-rows", "skip", "--threads", "1"]
    args += ["--device", "cpu", "--source-name", "x", "--target-name", "y", "--method", "mini"]
    args += ["--config", str(config), "--set", "rounds=9", "--set", "flag=true", "--set", "name=plain"]
    result = runner.invoke(app, ["fit", "a.npy", "b.parquet::v", "--out", str(tmp_path / "t"), *args])
    assert result.exit_code == 0, result.output
    (call,) = fitter.calls
    assert callable(call.pop("progress"))
    assert call == {
        "source": "a.npy",
        "target": "b.parquet::v",
        "pairs": "p.npz",
        "rows": 500,
        "seed": 4,
        "on_bad_rows": "skip",
        "threads": 1,
        "device": "cpu",
        "source_name": "x",
        "target_name": "y",
        "method": "mini",
        "restarts": 3,
        "rounds": 9,
        "flag": True,
        "name": "plain",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: (out.mkdir(), (out / "config.json").touch()), "--force"),
        (lambda out: out.touch(), "is a file"),
    ],
)
def test_an_existing_output_is_refused_before_the_fit(tmp_path: Path, fitter: Fitter, make: Any, message: str) -> None:
    make(tmp_path / "t")
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert fitter.calls == []


def test_a_missing_parent_is_refused_before_the_fit(tmp_path: Path, fitter: Fitter) -> None:
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "no" / "t")])
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    assert fitter.calls == []


def test_force_does_not_replace_what_is_no_translator_and_says_so_before_the_fit(
    tmp_path: Path, fitter: Fitter
) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "photo.jpg").touch()
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "keep"), "--force"])
    assert result.exit_code == 2
    assert "is a folder that holds something else" in result.stderr
    assert fitter.calls == []


def test_force_replaces(tmp_path: Path, fitter: Fitter) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "config.json").write_text('{"format": "vec2vec-translator"}')
    assert runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t"), "--force"]).exit_code == 0


@pytest.fixture
def with_bad_rows(tmp_path: Path) -> list[str]:
    """The arguments of a fit on known pairs, with bad rows in the source and among the pairs."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((1200, 12)).astype(np.float32) for _ in range(2))
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(np.float32)
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "pairs.npz", source=x[:40], target=np.where(np.arange(40)[:, None] == 5, np.inf, x[:40] @ turn))
    x[7], x[9] = np.nan, 0
    pq.write_table(pa.table({"v": list(x)}), tmp_path / "x.parquet")
    args = ["fit", str(tmp_path / "x.parquet"), str(tmp_path / "y.npy"), "--out", str(tmp_path / "t")]
    return [*args, "--pairs", str(tmp_path / "pairs.npz"), "--method", "procrustes"]


@pytest.mark.parametrize("choice", ["skip", "keep"])
def test_skipped_rows_are_listed(tmp_path: Path, with_bad_rows: list[str], choice: str) -> None:
    result = runner.invoke(app, [*with_bad_rows, "--on-bad-rows", choice])
    assert result.exit_code == 0, result.output
    sidecar = tmp_path / "t.skipped.jsonl"
    assert f"bad rows skipped: 3, listed in {sidecar}" in result.stderr
    listed = [json.loads(line) for line in sidecar.read_text().splitlines()]
    assert [(Path(line["input"]).name, line["row"], line["reason"]) for line in listed] == [
        ("x.parquet::v", 7, "column 0 is NaN"),
        ("x.parquet::v", 9, "all its values are zero"),
        ("pairs.npz::target", 5, "column 0 is infinite (as float32)"),
    ]


def test_the_list_of_skipped_rows_is_not_replaced_unasked(tmp_path: Path, with_bad_rows: list[str]) -> None:
    sidecar = tmp_path / "t.skipped.jsonl"
    sidecar.write_text("precious")
    result = runner.invoke(app, [*with_bad_rows, "--on-bad-rows", "skip"])
    assert result.exit_code == 2
    assert "t.skipped.jsonl: exists already" in result.stderr
    assert sidecar.read_text() == "precious"
    assert not (tmp_path / "t").exists()
    assert runner.invoke(app, [*with_bad_rows, "--on-bad-rows", "skip", "--force"]).exit_code == 0
    assert len(sidecar.read_text().splitlines()) == 3


def test_an_old_list_of_skipped_rows_goes_with_its_translator(tmp_path: Path, fitter: Fitter) -> None:
    (tmp_path / "t.skipped.jsonl").write_text("old")
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t")])
    assert "t.skipped.jsonl: exists already" in result.stderr
    assert not (tmp_path / "t").exists()
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t"), "--force"])
    assert result.exit_code == 0
    assert not (tmp_path / "t.skipped.jsonl").exists()


def test_nothing_is_listed_where_the_translator_cannot_be_saved(
    tmp_path: Path, with_bad_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_pretrained(*_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(vec2vec.Translator, "save_pretrained", save_pretrained)
    result = runner.invoke(app, [*with_bad_rows, "--on-bad-rows", "skip"])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "error: the disk is full")
    assert {path.name for path in tmp_path.iterdir()} == {"x.parquet", "y.npy", "pairs.npz"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--set", "rounds"], "KEY=VALUE"),
        (["--set", "=3"], "KEY=VALUE"),
        (["--set", "seed=3"], "use --seed"),
        (["--set", "on_bad_rows=skip"], "use --on-bad-rows"),
        (["--set", "source=x.npy"], "use the argument SOURCE"),
        (["--set", "progress=1"], "progress is not a setting"),
        (["--config", "missing.toml"], "cannot be read"),
        (["--config", __file__], "not a TOML file"),
    ],
)
def test_bad_settings(tmp_path: Path, fitter: Fitter, args: list[str], message: str) -> None:
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t"), *args])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert fitter.calls == []


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("rounds=3", ("rounds", 3)),
        ("epsilon=0.02", ("epsilon", 0.02)),
        ("csls=false", ("csls", False)),
        ("grid=[1, 2]", ("grid", [1, 2])),
        ("name=a=b", ("name", "a=b")),
        ("start-epsilon=1", ("start_epsilon", 1)),
    ],
)
def test_parse_setting(text: str, setting: tuple[str, Any]) -> None:
    assert parse_setting(text) == setting


def test_parse_setting_needs_a_value() -> None:
    with pytest.raises(ConfigError):
        parse_setting("rounds")


def test_known_pairs_are_not_replaced_by_the_list_of_skipped_rows(tmp_path: Path, fitter: Fitter) -> None:
    pairs = tmp_path / "t.skipped.jsonl"
    pairs.write_text("precious")
    args = ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t"), "--force", "--pairs", str(pairs)]
    result = runner.invoke(app, args)
    assert result.exit_code == 2
    assert "is the input itself" in result.stderr
    assert pairs.read_text() == "precious"
    assert not fitter.calls


def test_the_history_of_a_network_goes_with_it(tmp_path: Path, fitter: Fitter) -> None:
    old = [tmp_path / f"t.training.{suffix}" for suffix in ("png", "jsonl")]
    for path in old:
        path.write_text("old")
    assert runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t"), "--force"]).exit_code == 0
    assert not any(path.exists() for path in old)


def test_the_history_of_another_translator_is_not_kept_beside_a_new_one(tmp_path: Path, fitter: Fitter) -> None:
    (tmp_path / "t.training.jsonl").write_text("old")
    result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / "t")])
    assert result.exit_code == 2
    assert "t.training.jsonl: exists already" in result.stderr
    assert not fitter.calls


def test_an_output_that_is_a_link_to_nothing(tmp_path: Path, fitter: Fitter) -> None:
    (tmp_path / "t").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("t", "loop"):
        result = runner.invoke(app, ["fit", "a.npy", "b.npy", "--out", str(tmp_path / name)])
        assert result.exit_code == 2
        assert "is a link to nothing" in result.stderr
    assert not fitter.calls
