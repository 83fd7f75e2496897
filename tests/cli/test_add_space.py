"""``vec2vec add-space``: what it refuses before it fits. The fit has tests of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import vec2vec
from vec2vec.cli import app

runner = CliRunner()


@pytest.fixture
def held(tmp_path: Path, translator: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A translator's folder; adding a space to it fails the test."""

    def add_space(*_: Any, **__: Any) -> None:
        pytest.fail("it was fitted")

    monkeypatch.setattr(vec2vec.Translator, "add_space", add_space)
    shutil.copytree(translator, tmp_path / "held")
    return tmp_path / "held"


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
