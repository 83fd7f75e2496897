"""Candidates for a map, refined, compared by their transport, and bred from one another.

Candidates get stuck where they are partly right, each in its own way. The mean of two of them, refined, is often better
than either: what they have in common is right more often than what they have not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vec2vec.align.judge import agreement
from vec2vec.align.rounds import PROBE_ROWS, Reporter, Schedule, Side, probe_score, refine
from vec2vec.align.whitening import polar

SAME = 0.97  # agreement of two candidates from which on the worse adds nothing


@dataclass(frozen=True, eq=False)
class Candidate:
    """A map (r, s), and the score of its transport, by which candidates compare.

    `start` is what is worth being refined further: the map, or, of a guess in fewer axes, that guess (q, q).
    """

    rotation: torch.Tensor
    score: float
    start: torch.Tensor


class Population:
    """Candidates between two sides.

    Attributes
    ----------
    x, y : the sides
    probes : rows of both, by which candidates are compared
    found : the candidates; in order, the best first, after `select`
    """

    def __init__(self, x: Side, y: Side, rng: np.random.Generator) -> None:
        self.x, self.y, self.rng = x, y, rng
        self.probes = x.draw(PROBE_ROWS, 0.0, rng), y.draw(2 * PROBE_ROWS, 0.0, rng)
        self.found: list[Candidate] = []

    @property
    def shape(self) -> tuple[int, int]:
        """Of a map."""
        return self.x.width, self.y.width

    def refined(self, start: torch.Tensor, schedule: Schedule, rng: np.random.Generator | None = None) -> Candidate:
        """A candidate from a start (r, s); it is not one of those found unless it is appended to them.

        `rng` draws the rows in place of the population's own.
        """
        rotation = refine(self.x, self.y, start, schedule, rng or self.rng, Reporter(None, 1.0), "candidate")
        a, b = self.probes
        return Candidate(rotation, probe_score(a @ rotation, b), rotation)

    def mean_of_two(self) -> torch.Tensor:
        """The mean of two of those found, drawn."""
        one, other = self.rng.choice(len(self.found), 2, replace=len(self.found) < 2)
        return polar(self.found[one].rotation + self.found[other].rotation)

    def select(self, count: int) -> None:
        """Keep the best, but of those that are nearly the same only one."""
        best: list[Candidate] = []
        for one in sorted(self.found, key=lambda candidate: -candidate.score):
            if all(agreement(one.rotation, kept.rotation, self.probes[0], 500) < SAME for kept in best):
                best.append(one)
        self.found = best[:count]
