"""Candidates for a map, refined, compared by their transport, and bred from one another.

Candidates get stuck where they are partly right, each in its own way. The mean of two of them, refined, is often better
than either: what they have in common is right more often than what they have not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from vec2vec.align.judge import agreement
from vec2vec.align.rounds import PROBE_ROWS, Memo, Numbers, Schedule, Side, probe_score, refine_on
from vec2vec.align.threads import threads_for
from vec2vec.align.whitening import polar

T = TypeVar("T")
Start = Callable[[], torch.Tensor]

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

    def refined(
        self, starts: Iterable[Start], count: int, schedule: Schedule, rng: np.random.Generator | None = None
    ) -> Iterator[Candidate]:
        """Candidates from so many starts, several at once; they are found when they are appended.

        All that is random is drawn beforehand, start by start, so that nothing of it depends on the threads.

        Parameters
        ----------
        starts : each draws what it needs as it is taken, and computes a start (r, s) when it is called, on a thread
        count : of them
        schedule : of the refinement
        rng : draws the rows in place of the population's own
        """
        with threads_for(count, self.x.rows.device, 1) as submit:
            coming = [
                submit(self._refined, start, schedule, schedule.drawn(self.x, self.y, rng or self.rng))
                for start in starts
            ]
            for one in coming:
                yield one.result()

    def children(self, count: int, schedule: Schedule) -> Iterator[Candidate]:
        """Means of two of those found, drawn, these children among them; each refined, and found."""
        every: list[Callable[[], Candidate]] = [given(one) for one in self.found]
        with threads_for(count, self.x.rows.device, 1) as submit:
            for _ in range(count):
                one, other = self.rng.choice(len(every), 2, replace=len(every) < 2)
                # a worker may wait here for a parent, which is under way: tasks are begun in order
                start = partial(_mean_of_two, every[one], every[other])
                child = submit(self._refined, start, schedule, schedule.drawn(self.x, self.y, self.rng))
                every.append(child.result)
            for result in every[len(self.found) :]:
                self.found.append(result())
                yield self.found[-1]

    def _refined(self, start: Start, schedule: Schedule, samples: Sequence[Numbers]) -> Candidate:
        rotation = refine_on(samples, self.x, self.y, start(), schedule, Memo(), "candidate")
        a, b = self.probes
        return Candidate(rotation, probe_score(a @ rotation, b), rotation)

    def select(self, count: int) -> None:
        """Keep the best, but of those that are nearly the same only one."""
        best: list[Candidate] = []
        for one in sorted(self.found, key=lambda candidate: -candidate.score):
            if all(agreement(one.rotation, kept.rotation, self.probes[0], 500) < SAME for kept in best):
                best.append(one)
        self.found = best[:count]


def given(one: T) -> Callable[[], T]:
    """What there is already, where something is to be computed."""
    return lambda: one


def _mean_of_two(one: Callable[[], Candidate], other: Callable[[], Candidate]) -> torch.Tensor:
    return polar(one().rotation + other().rotation)
