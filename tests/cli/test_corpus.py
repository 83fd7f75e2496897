"""``vec2vec corpus`` end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vec2vec.cli import app
from vec2vec.datasets import CORPORA, open_corpus

runner = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    lines = [f'{i},"text number {i // 2 if i < 20 else i}, of many words",{"ab"[i % 2]}' for i in range(300)]
    path.write_text("nr,body,label\n" + "\n".join(lines) + "\n")
    return path


def run(*args: object) -> Result:
    return runner.invoke(app, ["corpus", *map(str, args)])


def assert_one_line_error(result: Result, *parts: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(part in line for part in parts), line


def test_the_list() -> None:
    result = run("--list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in CORPORA)
    assert "jxm/nq_corpus_dpr" in result.stdout


def test_a_split_by_its_options(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [
        "--split-unpaired",
        "--held-out",
        0.3,
        "--rows",
        50,
        "--held-out-rows",
        40,
        "--seed",
        3,
        "--format",
        "jsonl",
    ]
    result = run(
        f"{file}::body", "--id-column", "nr", "--tokenizer", "whitespace", "--max-tokens", 4, *options, "--out", out
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "50 source, 50 target, 40 held_out texts written to" in result.stderr
    assert "10 texts that an earlier one equals were left out" in result.stderr
    assert "300 texts were cut" in result.stderr
    found = {name: list(open_corpus(out / f"{name}.jsonl").records()) for name in ("source", "target", "held_out")}
    assert [len(records) for records in found.values()] == [50, 50, 40]
    assert all(len(r.text.split()) == 4 and r.labels in {("a",), ("b",)} for records in found.values() for r in records)
    record = json.loads((out / "corpus.json").read_text())
    assert record["split_unpaired"]["seed"] == 3
    assert record["cut"] == {"tokenizer": "whitespace", "max_tokens": 4}


def test_one_file_with_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"one\n\ntwo\nTWO\n")
    out = tmp_path / "out.parquet"
    assert_one_line_error(run(tmp_path / "x.txt", "--out", out), "x.txt", "line 2", "empty", "--on-bad-rows skip")
    assert not out.exists()
    result = run(tmp_path / "x.txt", "--on-bad-rows", "skip", "--out", out)
    assert result.exit_code == 0, result.output
    assert "2 texts written to" in result.stderr
    assert "1 of 4 rows were skipped: 1: the text is empty (the first: line 2)" in result.stderr
    assert_one_line_error(run(tmp_path / "x.txt", "--on-bad-rows", "skip", "--out", out), "exists already", "--force")
    kept = run(tmp_path / "x.txt", "--on-bad-rows", "skip", "--keep-duplicates", "--force", "--out", out)
    assert "3 texts written to" in kept.stderr
    assert [r.text for r in open_corpus(out).records()] == ["one", "two", "TWO"]


def test_tokens_without_a_tokenizer(file: Path, tmp_path: Path) -> None:
    """Never a silent fallback: tokens differ from model to model."""
    result = run(f"{file}::body", "--max-tokens", 64, "--out", tmp_path / "out.jsonl")
    assert_one_line_error(result, "--max-tokens needs --tokenizer")


@pytest.mark.parametrize("options", [["--held-out", "0.2"], ["--held-out-rows", "5"], ["--format", "jsonl"]])
def test_options_of_a_split_without_one(file: Path, tmp_path: Path, options: list[str]) -> None:
    assert_one_line_error(run(file, *options, "--out", tmp_path / "out.jsonl"), "go with --split-unpaired")


def test_a_part_of_a_split_is_the_hubs(file: Path, tmp_path: Path) -> None:
    result = run(f"{file}::body", "--split", "train[:10]", "--out", tmp_path / "out.jsonl")
    assert_one_line_error(result, "which only a hub dataset has", "--limit")


def test_a_share_that_is_none(file: Path, tmp_path: Path) -> None:
    result = run(f"{file}::body", "--split-unpaired", "--held-out", "1.5", "--out", tmp_path / "out")
    assert_one_line_error(result, "held_out is 1.5")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("args", [["nq"], ["--out", "x.jsonl"], ["x.txt", "--out", "y.jsonl", "--on-bad-rows", "keep"]])
def test_usage(args: list[str]) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")


def test_mimic_tells_how_access_is_granted(tmp_path: Path) -> None:
    assert_one_line_error(run("mimic", "--out", tmp_path / "x.jsonl"), "PhysioNet", "mimic:FOLDER")


def test_offline_is_one_line_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    """In a process of its own, with an empty cache, as a user meets it."""
    code = "from vec2vec.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "corpus", "nq", "--out", tmp_path / "nq.parquet"],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: hf:jxm/nq_corpus_dpr:train: is neither in the cache nor reachable")
    assert "`hf download jxm/nq_corpus_dpr --repo-type dataset --local-dir nq_corpus_dpr`" in line
    assert not (tmp_path / "nq.parquet").exists()
