"""Evaluation where the truth is known: row-aligned vectors of the same texts, and pictures of the spaces."""

from __future__ import annotations

from vec2vec.evaluate.figures import calibration_figure, save_figure, spaces_figure
from vec2vec.evaluate.metrics import (
    Direction,
    Estimate,
    Evaluation,
    PoolScores,
    Retrieval,
    Scores,
    SpaceMaps,
    Table,
    TableSection,
    evaluate,
    fit_width,
    score,
)

__all__ = [
    "Direction",
    "Estimate",
    "Evaluation",
    "PoolScores",
    "Retrieval",
    "Scores",
    "SpaceMaps",
    "Table",
    "TableSection",
    "calibration_figure",
    "evaluate",
    "fit_width",
    "save_figure",
    "score",
    "spaces_figure",
]
