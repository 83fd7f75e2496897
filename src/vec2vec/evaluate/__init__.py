"""Evaluation where the truth is known: row-aligned vectors of the same texts, and pictures of the spaces."""

from __future__ import annotations

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
    "evaluate",
    "fit_width",
    "score",
]
