from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vec2vec


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a translator between "left" (16 wide) and "right" (12 wide), fitted on known pairs.

    The right space is a rotation of the left one's first 12 coordinates, so the translator loses nothing of them.
    """
    rng = np.random.default_rng(5)
    left = rng.standard_normal((2000, 16)).astype(np.float32)
    left[:, 12:] *= 0.1
    rotation = np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(np.float32)
    right = left[:, :12] @ rotation
    found = vec2vec.fit(left, right, pairs=(left, right), source_name="left", target_name="right", threads=1)
    folder = tmp_path_factory.mktemp("translator") / "t"
    found.translator.save_pretrained(folder)
    return folder
