"""``vec2vec demo`` from the sample to the picture, with a paired rotation standing in for the fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import vec2vec
import vec2vec.align
from vec2vec.audit.sample import sample_labels
from vec2vec.cli import app
from vec2vec.data import Sample, load_sample
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import linear_translator

runner = CliRunner()


class Verdict:
    label = "aligned"
    sentence = "the sentence"


class Rotation:
    """Procrustes on the held-out pairs: a translator that is good without a fit."""

    def __init__(self, sample: Sample) -> None:
        self.spaces = (sample.source_name, sample.target_name)
        self.means = (sample.source_eval.mean(axis=0), sample.target_eval.mean(axis=0))
        x, y = sample.source_eval - self.means[0], sample.target_eval - self.means[1]
        u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
        self.bases = (u, vt.T)

    def latent(self, x: np.ndarray, *, space: str) -> np.ndarray:
        i = self.spaces.index(space)
        return (x - self.means[i]) @ self.bases[i]

    def translate(self, x: np.ndarray, *, source: str, target: str) -> np.ndarray:
        j = self.spaces.index(target)
        return self.latent(x, space=source) @ self.bases[j].T + self.means[j]

    def save_pretrained(self, folder: Path, *, force: bool = False) -> None:
        folder.mkdir(exist_ok=force)
        (folder / "config.json").touch()


class Fit:
    def __init__(self, sample: Sample) -> None:
        self.translator = Rotation(sample)
        self.verdict = Verdict()


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fit(source: np.ndarray, target: np.ndarray, **options: Any) -> Fit:
        calls.append((source.shape, target.shape, options["seed"], options["rows"]))
        return Fit(load_sample())

    monkeypatch.setattr(vec2vec.align, "fit", fit)
    out = tmp_path / "demo"
    result = runner.invoke(app, ["demo", "--out", str(out), "--seed", "3", "--rows", "4000"])
    assert result.exit_code == 0, result.output
    assert calls == [((8000, 384), (8000, 512), 3, 4000)]
    assert {path.name for path in out.iterdir()} == {"translator", "scores.json", "spaces.png"}
    assert (out / "spaces.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    scores = json.loads((out / "scores.json").read_text())
    assert scores["rows"] == 2000
    assert scores["forward"]["scores"]["pools"][-1]["cosine"]["top1"]["value"] > 0.8
    assert "the sentence" in result.stdout
    assert "all-MiniLM-L6-v2 → universal-sentence-encoder-lite" in result.stdout

    again = runner.invoke(app, ["demo", "--out", str(out)])
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert len(calls) == 1


def test_what_cannot_be_replaced_is_told_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vec2vec.align, "fit", lambda *_, **__: pytest.fail("it fits"))
    (tmp_path / "translator").mkdir()
    (tmp_path / "translator" / "notes.txt").touch()
    result = runner.invoke(app, ["demo", "--out", str(tmp_path), "--force"])
    assert result.exit_code == 2, result.output
    assert "holds something else" in " ".join(result.stderr.split())


def test_demo_with_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = load_sample()
    names = (sample.source_name, sample.target_name)
    ends = Preprocessor.fit(sample.source), Preprocessor.fit(sample.target)
    x, y = (
        (v - p.mean) / np.linalg.norm(v - p.mean, axis=1, keepdims=True)
        for v, p in zip((sample.source_eval, sample.target_eval), ends, strict=True)
    )
    u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
    verdict = vec2vec.Verdict("aligned", 0.8, (0.6, 0.9), {}, "Aligned: the test says so.")
    translator = linear_translator(*ends, u @ vt, names=names, verdict=verdict)
    found = vec2vec.Fit(translator, verdict)
    monkeypatch.setattr(vec2vec.align, "fit", lambda *_, **__: found)
    out = tmp_path / "demo"
    result = runner.invoke(app, ["demo", "--audit", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert {"report.html", "report.json", "report.md", "translator", "spaces.png"} <= {p.name for p in out.iterdir()}
    tree = json.loads((out / "report.json").read_text())
    assert [one["kind"] for one in tree["attributes"]] == ["zero-shot", "few-shot"]
    for one in tree["attributes"]:
        assert one["translated"]["top1"]["low"] > one["naive"]["top1"]["high"] + 0.1
    assert tree["attributes"][1]["lift"] > 0.9
    assert tree["inversion"] is None


def test_the_packaged_descriptions_have_the_vectors_of_their_texts() -> None:
    labels = sample_labels()
    assert labels.names == load_sample().domain_names
    again = vec2vec.embed(list(labels.descriptions.values()), "minilm", cache=False)
    assert labels.vectors is not None
    np.testing.assert_allclose(again, labels.vectors, atol=2e-4)
