"""Texts that may be shown: every letter and digit covered, lengths and punctuation left."""

from __future__ import annotations

import re

COVER = "\u2022"
SHOWN = re.compile(r"[^\W_]")


def mask(text: str) -> str:
    """The text with a bullet for each letter and digit."""
    return SHOWN.sub(COVER, text)
