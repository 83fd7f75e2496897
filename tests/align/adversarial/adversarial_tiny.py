"""Trainings so small that a test can afford many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Rows
from vec2vec.align.adversarial.trainer import Run, train
from vec2vec.networks import Network, NetworkConfig, seeded
from vec2vec.preprocess import Preprocessor

TINY: dict[str, Any] = {
    "init": "random",
    "preset": "paper",
    "width": 12,
    "adapter_depth": 2,
    "backbone_depth": 2,
    "critic_width": 10,
    "critic_depth": 2,
    "latent": 6,
    "batch": 32,
    "steps": 6,
    "check_every": 3,
    "held_rows": 40,
    "warmup": 2,
    "patience": 9,
    "restarts": 1,
}


def tiny(**settings: Any) -> Vec2VecConfig:
    return Vec2VecConfig(**(TINY | settings))


def sides(*widths: int, rows: int = 300) -> list[Rows]:
    """Rows of so many spaces, that share a latent of four dimensions."""
    rng = np.random.default_rng(0)
    found = []
    for width in widths:
        x = rng.exponential(size=(rows, 4)) @ rng.standard_normal((4, width)) + 0.1 * rng.standard_normal((rows, width))
        x = x.astype(np.float32)
        found.append(Rows.of(x, Preprocessor.fit(x)))
    return found


def networks(config: Vec2VecConfig, widths: Sequence[int], count: int = 1) -> list[Network]:
    found = []
    for k in range(count):
        with seeded(k):
            shape = NetworkConfig(latent=6, width=12, adapter_depth=2, backbone_depth=2, norm=config.norm)
            found.append(Network(shape, widths))
    return found


def train_tiny(widths: Sequence[int] = (5, 7), count: int = 1, **settings: Any) -> dict[int, Run]:
    config = tiny(**settings)
    return train(networks(config, widths, count), sides(*widths), config, seed=0, device=torch.device("cpu"))
