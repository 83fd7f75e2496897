"""Texts that may be shown: every letter, digit and picture covered, lengths and punctuation left."""

from __future__ import annotations

import unicodedata

COVER = "\u2022"
COVERED = ("L", "M", "N", "So")  # categories of Unicode: letters, the marks on them (vowels, in many scripts),
# numbers, and pictures, among them letters in circles and squares


def mask(text: str) -> str:
    """The text with a bullet for each letter, mark, digit and picture."""
    return "".join(COVER if unicodedata.category(sign).startswith(COVERED) else sign for sign in text)
