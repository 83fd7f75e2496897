"""``vec2vec add-space``: what it refuses before it fits, and what it replaces. The fit has tests of its own."""

from __future__ import annotations

import inspect
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import vec2vec
import vec2vec.align.added
from vec2vec import align
from vec2vec.audit import audit as run_audit
from vec2vec.cli import add_space, app, audit, fit
from vec2vec.verdict import Verdict

BESIDE = ["skipped.jsonl", "training.png", "training.jsonl"]
runner = CliRunner()


@pytest.fixture
def held(tmp_path: Path, translator: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A translator's folder; adding a space to it fails the test."""

    def add_space(*_: Any, **__: Any) -> None:
        pytest.fail("it was fitted")

    monkeypatch.setattr(vec2vec.Translator, "add_space", add_space)
    shutil.copytree(translator, tmp_path / "held")
    return tmp_path / "held"


@pytest.fixture
def fitted(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding a space gives the translator as it is, with a verdict."""
    larger = vec2vec.Translator.from_pretrained(held)
    larger.record["added"] = [{"verdict": Verdict("aligned", 0.9, (0.8, 1.0), {}, "fine").to_dict()}]
    monkeypatch.setattr(vec2vec.Translator, "add_space", lambda *_, **__: larger)


def call(held: Path, *more: str) -> Result:
    return runner.invoke(app, ["add-space", str(held), "c.npy", "--name", "c", "--reference", "right=b.npy", *more])


@pytest.mark.parametrize("out", [[], ["--out", "other", "--force"]])
def test_a_folder_that_cannot_be_replaced_is_refused_before_the_fit(
    held: Path, out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(held.parent)
    (held / "notes.txt").touch()
    shutil.copytree(held, held.with_name("other"))
    result = call(held, *out)
    assert result.exit_code == 2
    assert "also holds notes.txt, which would be lost" in result.stderr


@pytest.mark.parametrize("name", BESIDE)
def test_what_tells_of_another_translator_is_refused_before_the_fit(held: Path, name: str) -> None:
    old = held.with_name(f"other.{name}")
    old.write_text("old")
    result = call(held, "--out", str(held.with_name("other")))
    assert result.exit_code == 2
    assert f"other.{name}: exists already" in result.stderr
    result = call(held, "--out", str(held.with_name("other")), "--force", "--reference", f"left={old}")
    assert f"other.{name}: is the input itself" in result.stderr
    assert old.read_text() == "old"


@pytest.mark.usefixtures("fitted")
def test_what_tells_of_the_translator_that_is_replaced_goes_with_it(held: Path) -> None:
    other = held.with_name("other")
    shutil.copytree(held, other)
    for folder, name in itertools.product((held, other), BESIDE):
        folder.with_name(f"{folder.name}.{name}").write_text("old")
    assert call(held, "--out", str(other), "--force").exit_code == 0
    assert not any(other.with_name(f"other.{name}").exists() for name in BESIDE)
    assert call(held).exit_code == 0  # it is enlarged in its place: its own history stays
    assert all(held.with_name(f"held.{name}").exists() for name in BESIDE)


def test_a_translator_of_the_hub_is_not_replaced(held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = vec2vec.Translator.from_pretrained(held)
    monkeypatch.setattr(vec2vec.Translator, "from_pretrained", lambda *_: loaded)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    result = call(Path("user/name"))
    assert result.exit_code == 2
    assert "error: user/name: comes from the hub, where nothing is written; say with --out" in result.stderr


def test_a_space_has_one_reference(held: Path) -> None:
    result = call(held, "--reference", "right=other.npy")
    assert result.exit_code == 2
    assert "--reference right=other.npy: the space 'right' has one already: b.npy" in result.stderr


@pytest.mark.parametrize(
    ("setting", "advice"),
    [("seed=3", "use --seed"), ("rows=100", "use --rows"), ("frozen=false", "use --unfreeze"), ("progress=1", "")],
)
def test_what_has_an_option_is_no_setting(held: Path, setting: str, advice: str) -> None:
    result = call(held, "--set", setting)
    assert result.exit_code == 2
    assert "is not a setting" in result.stderr
    assert advice in result.stderr


@pytest.mark.parametrize(
    ("own", "functions"),
    [
        (add_space.OWN, (vec2vec.Translator.add_space, align.added.add_space)),
        (fit.OWN, (align.fit,)),
        (audit.OWN, (run_audit,)),
    ],
)
def test_no_parameter_can_be_given_twice(own: dict[str, str], functions: tuple[Callable[..., Any], ...]) -> None:
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        assert {one.name for one in parameters if one.kind != one.VAR_KEYWORD} <= own.keys()
