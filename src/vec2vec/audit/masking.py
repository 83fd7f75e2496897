"""Texts that may be shown: every letter and digit covered, lengths and punctuation left."""

from __future__ import annotations

import unicodedata

COVER = "\u2022"
COVERED = "LMN"  # categories of Unicode: letters, the marks on them (vowels, in many scripts), numbers


def mask(text: str) -> str:
    """The text with a bullet for each letter, mark and digit."""
    return "".join(COVER if unicodedata.category(sign)[0] in COVERED else sign for sign in text)
