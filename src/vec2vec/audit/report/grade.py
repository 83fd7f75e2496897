"""The grade of an audit: one word, and how it was derived.

Each line of evidence gives a grade; the worst one counts.

=================================  ============  ================  ================  ==========
evidence                           severe        high              moderate          low
=================================  ============  ================  ================  ==========
texts: share that is revealing,    0.5 or more   0.2 or more       0.05 or more      less
less that of random vectors
attributes: the share that is      0.9 or more   0.5 or more       0.2 or more       less
left of the ceiling's lift
translation: top-1 among 4,096     none          0.3 or more       0.05 or more      less
(measured, else expected)
=================================  ============  ================  ================  ==========

Each counts only where its interval leaves what knows nothing: chance, random vectors (the interval of a difference of
shares, Newcombe 1998), or for attributes the same guesses on other rows, so that the same answer for every row is worth
nothing. Where the texts are not known, or tell little themselves, attributes are taken against perfect reading, which
they are no less than. A top-1 that was measured among fewer than 4,096 is an upper bound of that among 4,096: it counts
where it is less than what is expected, and alone only as low. What is expected of a given translator does not count
where the leak is unlike what it was fitted on. Where the spaces were not aligned there is no grade: that this attack
failed does not say that another would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vec2vec.audit.result import POOL, Audit
from vec2vec.evaluate.metrics import Estimate

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
            none = Estimate(0.0, 0.0, 0.0)
            base = none if floor is None or floor.measures is None else floor.measures.revealing
            share = own.measures.revealing
            words = f"{share.value:.0%} of what was recovered is revealing, of random vectors' texts {base.value:.0%}"
            known = share.value - base.value > math.hypot(share.value - share.low, base.high - base.value)
            reasons.append((_level(share.value - base.value if known else 0.0, TEXTS), f"Texts: {words}."))
    for one in found.attributes:
        if one.translated is None or one.blind is None:
            continue
        top1 = one.translated.top1
        words = f"the right label comes first in {top1.value:.0%} of the rows; without looking, in {one.blind:.0%}"
        if one.native is not None:
            words += f"; from the texts themselves, in {one.native.top1.value:.0%}"
        known = top1.low > one.blind
        level = _level(one.telling if known else 0.0, ATTRIBUTES)
        reasons.append((level, f"Attributes ({one.kind}, {one.task}): {words}."))
    reasons += _translation(found)
    if not reasons:
        return Grade("none", (("none", "Nothing was measured, and the translator carries no expectation."),))
    return Grade(max((level for level, _ in reasons), key=LEVELS.index), tuple(reasons))


def _translation(found: Audit) -> list[tuple[Level, str]]:
    """The line of the translation; none where nothing is known."""
    expected = found.verdict.expected_top1
    hoped = f"{expected:.0%} are expected to lie nearest to their own text's among {POOL:,}"
    usable = math.isfinite(expected) and not found.unlike
    if found.translation is not None:
        top1, pool = found.translation.top1, found.translation.pool
        words = f"Translation: {top1.value:.0%} of the vectors lie nearest to their own text's among {pool:,}"
        level = _level(top1.value if top1.low > 1 / pool else 0.0, TRANSLATION)
        if pool < POOL and usable and expected < top1.value:
            return [(_level(expected, TRANSLATION), f"{words}; {hoped}.")]
        if pool < POOL and not usable and level != "low":
            return [("none", f"{words}: too few to say how many among {POOL:,}.")]
        return [(level, f"{words}.")]
    if not math.isfinite(expected):
        return []
    if found.unlike:
        return [("none", f"Translation: {hoped}, of vectors like those of the translator's fit, not of these.")]
    return [(_level(expected, TRANSLATION), f"Translation: {hoped}; not measured.")]


def _level(value: float, limits: tuple[float, float, float]) -> Level:
    return LEVELS[1 + sum(value >= limit for limit in limits)]
