"""``vec2vec demo`` from the sample to the picture, with a paired rotation standing in for the fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import vec2vec.align
from vec2vec.cli import app
from vec2vec.data import Sample, load_sample

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
