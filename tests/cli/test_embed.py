"""``vec2vec embed`` and ``vec2vec encoders``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from local_endpoint import Reply, serve, vector_of
from tiny_encoders import models, sentences
from typer.testing import CliRunner, Result

from vec2vec.cli import app
from vec2vec.encoders import ENCODERS, encode, get_encoder

__all__ = ["models"]  # the fixture
TEXTS = sentences(30)
runner = CliRunner()


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEC2VEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return str(path)


def run(*args: object) -> Result:
    return runner.invoke(app, [str(arg) for arg in args])


def test_embed_writes_and_says_what(texts: str, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    result = run("embed", texts, "--encoder", models / "gtr", "--out", out, "--max-tokens", 20)
    assert (result.exit_code, result.stdout) == (0, "")
    first, second = result.stderr.splitlines()
    assert first.startswith("gtr: 24 dimensions, cut at 20 tokens, revision blake2b:")
    assert "30 rows written to" in second
    assert second.endswith("30 texts embedded")
    np.testing.assert_array_equal(np.load(out), encode(get_encoder(str(models / "gtr"), max_tokens=20), TEXTS))
    again = run("embed", texts, "--encoder", models / "gtr", "--out", tmp_path / "2.npy", "--max-tokens", 20)
    assert again.stderr.rstrip().endswith("0 texts embedded, 30 rows known before")


def test_options_reach_the_encoder(texts: str, models: Path, tmp_path: Path) -> None:
    more = "--dtype bfloat16 --device cpu --threads 1 --batch-tokens 64 --dimensions 8 --prompt query --no-cache"
    result = run("embed", texts, "--encoder", models / "mean", "--out", tmp_path / "o.parquet", *more.split())
    assert result.exit_code == 0, result.stderr
    identity = json.loads(pq.read_schema(tmp_path / "o.parquet").metadata[b"vec2vec.embedding"])["identity"]
    assert (identity["dtype"], identity["dimensions"], identity["prompt"]) == ("bfloat16", 8, "query")
    assert not (tmp_path / "cache").exists()


def test_an_endpoint(texts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    with serve() as endpoint:
        args = "embed", texts, "--encoder", "m", "--base-url", endpoint.url, "--key-variable", "MY_KEY"
        result = run(*args, "--out", tmp_path / "o.npy", "--batch-rows", 7, "--dimensions", 4)
        assert result.exit_code == 0, result.stderr
        assert set(endpoint.keys) == {"Bearer sk-0123456789"}
        endpoint.replies = [Reply(401, b'{"error": {"message": "wrong key sk-0123456789"}}')]
        refused = run(*args, "--out", tmp_path / "p.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), np.stack([vector_of(text, 4) for text in TEXTS]))
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: http://127.0.0.1")
    assert refused.stderr.endswith("HTTP 401: wrong key ***\n")


def test_skipped_rows_are_counted(models: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "old river"}\n{"text": null}\n{"text": ""}\n')
    args = "embed", tmp_path / "t.jsonl", "--encoder", models / "static", "--out", tmp_path / "o.npy"
    stopped = run(*args)
    assert stopped.exit_code == 2
    assert "line 2: the text is null; repair it, or leave such rows out with --on-bad-rows skip" in stopped.stderr
    result = run(*args, "--on-bad-rows", "skip")
    assert result.exit_code == 0
    assert "warning: 2 of 3 rows were skipped" in result.stderr


def test_the_column_of_ids_can_be_named(models: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1,old river\n1,new house\n")
    args = "embed", tmp_path / "t.csv", "--encoder", models / "static", "--out", tmp_path / "o.parquet"
    assert run(*args).exit_code == 2
    assert run(*args, "--id-column", "").exit_code == 0
    assert pq.read_table(tmp_path / "o.parquet").column("id").to_pylist() == ["0", "1"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--encoder", "minlm"], "there is no encoder 'minlm' (did you mean minilm?)"),
        (["--encoder", "minilm", "--max-tokens", "300"], "takes at most 256 tokens"),
        (["--encoder", "minilm", "--concurrency", "2"], "has no use for concurrency"),
        (["--encoder", "nomic", "--revision", "x", "--device", "tpu"], "--device"),
        (["--encoder", "openai:m", "--max-tokens", "5"], "has no use for max_tokens"),
    ],
)
def test_errors_are_one_line(texts: str, tmp_path: Path, args: list[str], message: str) -> None:
    result = run("embed", texts, "--out", tmp_path / "o.npy", *args)
    assert result.exit_code == 2
    assert message in result.stderr
    if "--device" not in args:
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "o.npy").exists()


def test_the_list_of_encoders() -> None:
    shown = run("encoders").stdout
    assert all(name in shown for name in ENCODERS)
    assert "passage: " in shown
    tree = json.loads(run("encoders", "--json").stdout)
    assert tree["granite"]["pooling"] == "cls"
    assert tree.keys() == ENCODERS.keys()
    assert all(entry["source"] for entry in tree.values())
