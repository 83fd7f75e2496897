from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

ROWS, TEXTS = 120, 300


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two spaces of the same 300 points in clusters: corpora of texts with domains, files of vectors, words."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 6, TEXTS)
    points = (3 * rng.standard_normal((6, 5)))[cluster] + rng.standard_normal((TEXTS, 5))
    rotation = np.linalg.qr(rng.standard_normal((9, 5)))[0].T
    left = (points @ np.linalg.qr(rng.standard_normal((7, 5)))[0].T).astype(np.float32)
    right = (points @ rotation + 0.02 * rng.standard_normal((TEXTS, 9)) + rng.standard_normal(9)).astype(np.float32)
    for name, x in (("left", left), ("right", right)):
        np.save(folder / f"{name}.npy", x)
        np.save(folder / f"{name}-eval.npy", x[:60])
        np.save(folder / f"{name}-pairs.npy", x[60:120])
    with (folder / "texts.jsonl").open("w") as stream:
        for i in range(TEXTS):
            text = f"The text number {i} is here. It speaks of cluster {cluster[i]} and goes on."
            stream.write(json.dumps({"id": i, "text": text, "domain": f"d{cluster[i] % 3}"}) + "\n")
    for name, x, words in (("a", left, "w"), ("b", right, "v")):
        lines = [f"{words}{i} " + " ".join(f"{value:.5f}" for value in row) for i, row in enumerate(x)]
        (folder / f"{name}.vec").write_text(f"{TEXTS} {x.shape[1]}\n" + "\n".join(lines) + "\n")
    (folder / "test.txt").write_text("".join(f"w{i} v{i}\n" for i in range(60)))
    (folder / "train.txt").write_text("".join(f"w{i}\tv{i}\n" for i in range(60, TEXTS)))
    return folder


def toml(data: Path, *parts: str) -> str:
    """A configuration whose paths begin in the folder of the data."""
    return "\n".join([f'root = "{data}"', *parts])


FILES = """
[data.pairs]
kind = "files"
source = "left.npy"
target = "right.npy"
held_out = ["left-eval.npy", "right-eval.npy"]
pairs = ["left-pairs.npy", "right-pairs.npy"]
source_label = "Left"
target_label = "Right"
"""
UNPAIRED = """
[data.unpaired]
kind = "files"
source = "left.npy"
target = "right.npy"
"""
CORPUS = """
[spaces.left]
vectors = { texts = "left.npy" }
[spaces.right]
label = "Right"
vectors = { texts = "right.npy" }
[data.texts]
kind = "corpus"
texts = "texts.jsonl"
domains = "domain"
held_out = 60
"""
WORDS = """
[data.words]
kind = "words"
source = "a.vec"
target = "b.vec"
dictionary = "test.txt"
pairs = "train.txt"
fit_words = 250
"""


def experiment(**settings: object) -> str:
    """An experiment; JSON's strings, numbers and lists are TOML's, too."""
    named = {"name": "e"} | settings
    return "[[experiments]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in named.items())
