"""What the README shows runs as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import vec2vec
from vec2vec.align import fit
from vec2vec.cli import app
from vec2vec.data import load_sample
from vec2vec.errors import Vec2VecWarning

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written, with paired Procrustes on fewer rows in place of the slower default."""
    sample = load_sample()

    def quick(source: Any, target: Any, **options: Any) -> Any:
        pairs = sample.source_eval, sample.target_eval
        return fit(source, target, "procrustes", pairs=pairs, rows=2000, **options)

    monkeypatch.setattr(vec2vec, "fit", quick)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    with pytest.warns(Vec2VecWarning, match="3 of 384 columns are constant"):
        exec(code, names)
    assert names["there"].shape == (2000, 512)
    assert names["back"].shape == (2000, 384)
    assert names["scores"].forward.scores.pool(1024).cosine.top1.value > 0.5
    assert (names["translator"].translate(sample.source_eval) == names["there"]).all()


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if "vec2vec" in line])
def test_the_commands_are_understood(line: str) -> None:
    name, *args = shlex.split(line)[1:]
    commands: Any = typer.main.get_command(app)
    commands.commands[name].make_context(name, args)  # raises on an unknown option, or an argument too few or too many


def test_its_links_lead_somewhere() -> None:
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    local = {path for path, _, _ in links if path}
    assert {
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "benchmarks",
        "benchmarks/tried.md",
        "docs/alignment.md",
        "docs/benchmarks.md",
        "docs/images/demo.png",
    } == local
    for path, _, anchor in links:
        page = Path(__file__).parents[1] / (path or "README.md")
        assert page.exists()
        assert not anchor or f"## {anchor.replace('-', ' ')}" in page.read_text().lower()
