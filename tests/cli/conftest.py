from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vec2vec.preprocess import Preprocessor
from vec2vec.translator import linear_translator


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a translator between "left" (16 wide) and "right" (12 wide), made from its map.

    The right space is a rotation of the left one's first 12 coordinates, so the translator loses nothing of them.
    """
    rng = np.random.default_rng(5)
    left = rng.standard_normal((2000, 16)).astype(np.float32)
    left[:, 12:] *= 0.1
    rotation = np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(np.float32)
    right = left[:, :12] @ rotation
    weight = np.concatenate([rotation, np.zeros((4, 12))])
    made = linear_translator(Preprocessor.fit(left), Preprocessor.fit(right), weight, names=("left", "right"))
    folder = tmp_path_factory.mktemp("translator") / "t"
    made.save_pretrained(folder)
    return folder
