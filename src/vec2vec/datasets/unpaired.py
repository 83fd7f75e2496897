"""The paper's protocol: two disjoint sets of texts and a held-out one, by a keyed hash of each text alone.

Which set a text is in depends on nothing but its normalised form, the seed and the held-out share: not on other texts,
their order, the file or the run. So a text cannot come to both sides, from wherever it comes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from vec2vec.datasets.base import HashSet, Record, Tally
from vec2vec.errors import InputError

SOURCE, TARGET, HELD_OUT = "source", "target", "held_out"
SETS = (SOURCE, TARGET, HELD_OUT)
NORMAL_FORM = "NFKC, case folded, white space collapsed"
HASH = "BLAKE2b of 24 bytes, keyed by the seed: 8 bytes for held out or not, 8 for the side, 8 for the rank"
ONE = 2**64


def normalise(text: str) -> str:
    """The form by which texts count as the same: NFKC, case folded, white space collapsed and stripped."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def deduplicate(records: Iterable[Record], tally: Tally) -> Iterator[Record]:
    """The records whose normalised text is new, so the first of each; `tally.duplicates` counts the others."""
    seen = HashSet()
    for record in records:
        if seen.add(normalise(record.text)):
            yield record
        else:
            tally.duplicates += 1


class Place(NamedTuple):
    """Where a text belongs, and its rank there: the lowest of a set are a uniform sample of it."""

    set: str
    rank: int


class Splitter:
    """Puts each text into one of three sets.

    The side of a text, source or target, does not depend on `held_out`: with another share, texts move between a side
    and the held-out set, and never from one side to the other.

    Parameters
    ----------
    seed : another seed gives other sets
    held_out : the share of texts that is held out, from 0 up to but not including 1
    """

    def __init__(self, seed: int = 0, held_out: float = 0.1) -> None:
        if not 0 <= held_out < 1:
            raise InputError(f"held_out is {held_out}; it is a share, from 0 to less than 1")
        if not 0 <= seed < ONE:
            raise InputError(f"seed is {seed}; it is a number from 0 to less than 2^64")
        self.seed = seed
        self.held_out = held_out
        self._bound = int(held_out * ONE)
        self._hash = blake2b(digest_size=24, key=f"vec2vec split, seed {seed}".encode())

    def place(self, text: str) -> Place:
        """The set of a text, and its rank within it."""
        hasher = self._hash.copy()
        hasher.update(normalise(text).encode())
        digest = hasher.digest()
        held, side, rank = (int.from_bytes(digest[i : i + 8], "big") for i in (0, 8, 16))
        if held < self._bound:
            return Place(HELD_OUT, rank)
        return Place(TARGET if side & 1 else SOURCE, rank)
