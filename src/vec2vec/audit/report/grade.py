"""The grade of an audit: one word, and how it was derived.

Each line of evidence gives a grade; the worst one counts.

=================================  ============  ================  ================  ==========
evidence                           severe        high              moderate          low
=================================  ============  ================  ================  ==========
texts: share that is revealing,    0.5 or more   0.2 or more       0.05 or more      less
less that of random vectors
attributes: lift, the share of     0.9 or more   0.5 or more       0.2 or more       less
the ceiling's lift over chance
translation: top-1 among 4,096     none          0.3 or more       0.05 or more      less
(measured, else expected)
=================================  ============  ================  ================  ==========

A lift, or a measured top-1, counts only where its interval leaves chance. Where there is no lift, since the texts are
not known or tell little themselves, it is taken against perfect reading, which it is no less than. Where the spaces
were not aligned there is no grade: that this attack failed does not say that another would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vec2vec.audit.measures import lift
from vec2vec.audit.result import Audit

Level = Literal["none", "low", "moderate", "high", "severe"]
LEVELS: tuple[Level, ...] = ("none", "low", "moderate", "high", "severe")
TEXTS = (0.05, 0.2, 0.5)
ATTRIBUTES = (0.2, 0.5, 0.9)
TRANSLATION = (0.05, 0.3, math.inf)


@dataclass(frozen=True)
class Grade:
    """The level, and a line for each piece of evidence: (its own level, words); whether the spaces were aligned."""

    level: Level
    reasons: tuple[tuple[Level, str], ...]
    concluded: bool = True

    @property
    def sentence(self) -> str:
        """For the head of the report."""
        if not self.concluded:
            return "Nothing can be concluded: the spaces could not be aligned."
        return {
            "none": "What was read is not graded.",
            "low": "Little was read from these vectors.",
            "moderate": "These vectors give part of their texts' content away.",
            "high": "These vectors give their texts' content away.",
            "severe": "These vectors are nearly as telling as their texts.",
        }[self.level]


def grade(found: Audit) -> Grade:
    """The grade, by the table of this module."""
    if not found.concluded:
        return Grade("none", (("none", "The translator's verdict is 'not aligned'."),), concluded=False)
    reasons: list[tuple[Level, str]] = []
    if found.inversion is not None:
        own, floor = found.inversion.find("translated"), found.inversion.find("floor")
        if own is not None and own.measures is not None:
            base = 0.0 if floor is None or floor.measures is None else floor.measures.revealing.value
            share = own.measures.revealing.value
            words = f"Texts: {share:.0%} of what was recovered is revealing, against {base:.0%} from random vectors."
            reasons.append((_level(share - base, TEXTS), words))
    for one in found.attributes:
        if one.translated is None or one.chance is None:
            continue
        top1, chance = one.translated.top1, one.chance.top1.value
        share, words = one.lift, f"{max(one.lift, 0):.0%} of what the texts themselves would give."
        if not math.isfinite(share):
            share = lift(top1.value, chance, 1.0)
            words = f"the right label comes first in {top1.value:.0%} of the rows, by chance in {chance:.0%}."
        known = top1.low > chance
        reasons.append((_level(share if known else 0.0, ATTRIBUTES), f"Attributes ({one.kind}, {one.task}): {words}"))
    if found.translation is not None:
        top1, pool = found.translation.top1, found.translation.pool
        words = f"Translation: {top1.value:.0%} of the vectors lie nearest to their own text's among {pool:,}."
        reasons.append((_level(top1.value if top1.low > 1 / pool else 0.0, TRANSLATION), words))
    elif math.isfinite(found.verdict.expected_top1):
        value = found.verdict.expected_top1
        words = f"Translation: {value:.0%} are expected to lie nearest to their own text's among 4,096; not measured."
        reasons.append((_level(value, TRANSLATION), words))
    if not reasons:
        return Grade("none", (("none", "Nothing was measured, and the translator carries no expectation."),))
    return Grade(max((level for level, _ in reasons), key=LEVELS.index), tuple(reasons))


def _level(value: float, limits: tuple[float, float, float]) -> Level:
    return LEVELS[1 + sum(value >= limit for limit in limits)]
