"""``translate``, ``evaluate`` and ``inspect`` on a translator whose maps are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import vec2vec
from vec2vec.cli import app
from vec2vec.cli.evaluate import parse_pools
from vec2vec.errors import ConfigError
from vec2vec.verdict import Verdict

runner = CliRunner()


@pytest.fixture
def truth(tmp_path: Path, translator: Path) -> tuple[Path, Path]:
    """Row-aligned vectors that the translator maps onto each other, up to a little noise."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 16)).astype(np.float32)
    y = vec2vec.Translator.from_pretrained(translator).translate(x)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y + 0.01 * rng.standard_normal(y.shape).astype(np.float32))
    return tmp_path / "x.npy", tmp_path / "y.npy"


def test_translate_writes_what_the_translator_gives(tmp_path: Path, translator: Path, truth: tuple[Path, Path]) -> None:
    out = tmp_path / "out.npy"
    result = runner.invoke(app, ["translate", str(translator), str(truth[0]), "--out", str(out)])
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    loaded = vec2vec.Translator.from_pretrained(translator)
    np.testing.assert_allclose(np.load(out), loaded.translate(np.load(truth[0])), rtol=1e-5, atol=1e-5)
    assert "300 rows" in result.stderr


@pytest.mark.parametrize("direction", [["--reverse"], ["--from", "right", "--to", "left"]])
def test_translate_the_other_way(
    tmp_path: Path, translator: Path, truth: tuple[Path, Path], direction: list[str]
) -> None:
    out = tmp_path / "out.npy"
    result = runner.invoke(app, ["translate", str(translator), str(truth[1]), "--out", str(out), *direction])
    assert result.exit_code == 0, result.output
    expected = vec2vec.Translator.from_pretrained(translator).translate(np.load(truth[1]), reverse=True)
    np.testing.assert_allclose(np.load(out), expected, rtol=1e-5, atol=1e-5)


def test_translate_tells_of_skipped_rows(tmp_path: Path, translator: Path, truth: tuple[Path, Path]) -> None:
    x = np.load(truth[0])
    x[[2, 9]] = np.nan
    np.save(truth[0], x)
    args = ["translate", str(translator), str(truth[0]), "--out", str(tmp_path / "out.npy"), "--on-bad-rows", "skip"]
    result = runner.invoke(app, args)
    assert result.exit_code == 0
    assert "bad rows skipped: 2, listed in" in result.stderr
    assert "out.npy.skipped.jsonl" in result.stderr
    assert len(np.load(tmp_path / "out.npy")) == 298


def test_translate_keeps_bad_rows_in_their_places(tmp_path: Path, translator: Path, truth: tuple[Path, Path]) -> None:
    x = np.load(truth[0])
    good = vec2vec.Translator.from_pretrained(translator).translate(x)
    x[2] = np.nan
    np.save(truth[0], x)
    args = ["translate", str(translator), str(truth[0]), "--out", str(tmp_path / "out.npy"), "--on-bad-rows", "keep"]
    result = runner.invoke(app, args)
    assert result.exit_code == 0, result.output
    out = np.load(tmp_path / "out.npy")
    assert np.isnan(out[2]).all()
    np.testing.assert_allclose(np.delete(out, 2, axis=0), np.delete(good, 2, axis=0), rtol=1e-5, atol=1e-5)
    assert "bad rows passed on as they were: 1" in result.stderr


def test_evaluate_as_a_table_and_as_json(translator: Path, truth: tuple[Path, Path]) -> None:
    args = ["evaluate", str(translator), str(truth[0]), str(truth[1]), "--pools", "100,all"]
    table = runner.invoke(app, args)
    assert table.exit_code == 0, table.output
    for words in ("left → right", "right → left", "top-1", "mean vector", "chance", " 300 "):
        assert words in table.stdout
    tree = json.loads(runner.invoke(app, [*args, "--json"]).stdout)
    assert tree["rows"] == 300
    assert tree["forward"]["scores"]["pools"][-1]["cosine"]["top1"]["value"] == 1.0
    assert tree["forward"]["chance"]["pools"][-1]["cosine"]["top1"]["value"] < 0.05


@pytest.mark.parametrize("name", ["sentence-transformers/all-MiniLM-L6-v2", "old[/v1]", "[red]"])
def test_the_names_of_spaces_take_no_room_from_the_figures_and_are_no_markup(
    tmp_path: Path, translator: Path, truth: tuple[Path, Path], name: str
) -> None:
    held = vec2vec.Translator.from_pretrained(translator)
    named = vec2vec.Translator({f"{name}, {own}": held.space(own) for own in held.spaces})
    named.save_pretrained(tmp_path / "named")
    result = runner.invoke(app, ["evaluate", str(tmp_path / "named"), *map(str, truth)])
    assert result.exit_code == 0, result.output
    head, title, *figures = result.stdout.splitlines()
    assert head.split() == ["pool", "top-1", "95%", "top-5", "top-16", "rank", "median", "cosine", "centred"]
    assert title == f"{name}, left → {name}, right"
    for line in (head, *figures[:5]):
        assert len(line) == len(head) < 80
    assert figures[0].split()[:3] == ["translation", "300", "1.000"]


def test_evaluate_a_shuffled_truth_scores_at_chance(translator: Path, truth: tuple[Path, Path]) -> None:
    np.save(truth[1], np.roll(np.load(truth[1]), 1, axis=0))
    result = runner.invoke(app, ["evaluate", str(translator), str(truth[0]), str(truth[1]), "--json"])
    assert json.loads(result.stdout)["forward"]["scores"]["pools"][-1]["cosine"]["top1"]["value"] < 0.05


@pytest.mark.parametrize("text", ["", "1", "some", "100,,all", "-3"])
def test_bad_pools(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_pools(text)


def test_pools() -> None:
    assert parse_pools("1024, 4096,all") == (1024, 4096, None)


def test_inspect(translator: Path) -> None:
    result = runner.invoke(app, ["inspect", str(translator)])
    assert result.exit_code == 0, result.output
    assert "space left: 16 dimensions" in result.stdout
    assert "space right: 12 dimensions" in result.stdout
    tree = json.loads(runner.invoke(app, ["inspect", str(translator), "--json"]).stdout)
    assert tree["spaces"] == {"left": 16, "right": 12}
    assert set(tree) == {"spaces", "verdict", "record"}


def test_inspect_of_a_fit_that_was_not_judged_is_json(tmp_path: Path, translator: Path) -> None:
    held = vec2vec.Translator.from_pretrained(translator)
    verdict = Verdict("uncertain", float("nan"), (0.0, 1.0), {"rows": float("inf")}, "not judged")
    vec2vec.Translator({name: held.space(name) for name in held.spaces}, verdict=verdict).save_pretrained(
        tmp_path / "t"
    )
    result = runner.invoke(app, ["inspect", str(tmp_path / "t"), "--json"])

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    assert json.loads(result.stdout, parse_constant=refuse)["verdict"]["expected_top1"] is None


def test_the_script_runs(translator: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vec2vec.cli import main; main()", "inspect", str(translator), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["spaces"] == {"left": 16, "right": 12}


def test_a_name_that_is_not_utf8_is_shown_with_backslashes(tmp_path: Path, translator: Path) -> None:
    held = vec2vec.Translator.from_pretrained(translator)
    held.record["source"] = os.fsdecode(b"caf\xe9.npy")
    held.save_pretrained(tmp_path / "t")
    done = subprocess.run(
        [sys.executable, "-c", "from vec2vec.cli import main; main()", "inspect", str(tmp_path / "t")],
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "source: caf\\udce9.npy" in done.stdout


def test_evaluate_names_the_files_of_unequal_length(translator: Path, truth: tuple[Path, Path]) -> None:
    np.save(truth[1], np.load(truth[1])[:40])
    result = runner.invoke(app, ["evaluate", str(translator), *map(str, truth)])
    assert result.exit_code == 2
    assert f"error: {truth[0]} has 300 rows and {truth[1]} 40: row i of both must be the same text" in result.stderr
