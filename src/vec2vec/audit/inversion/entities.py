"""What matters to a person in a text: dates, times, amounts, phone numbers, addresses, and names.

Uncased encoders, BERT's among them, drop capitals and accents, so that a text comes back without them. All that is
compared here is therefore folded first (`fold`): Jürgen is the same as jurgen.

The first six kinds are found by the patterns below, and compared in a normal form: folded, no spaces or commas.

Names are found by a spaCy model where one is installed and asked for. Otherwise by a rule, which is no more than that:
a name is a run of capitalised words (``Jeff Skilling``, ``Enron Corp``) of two letters or more that are no function
words; a single word counts only where it does not begin a sentence, and stands capitalised more often than not in the
texts that the rule was made from. A hypothesis may come without capitals, as uncased encoders have it: there, names are
the words that are known as parts of names. Scripts without capitals have no names by this rule. Names are compared by
their single words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from vec2vec.audit.inversion.stopwords import STOPWORDS
from vec2vec.encoders.base import require
from vec2vec.errors import InputError

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
DAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
NUMBER = r"\d+(?:\s?,\s?\d{3})*(?:\s?\.\s?\d+)?"
SEP = r"\s*[-/.]\s*"
PATTERNS: dict[str, str] = {
    "dates": (
        rf"\b\d{{1,4}}{SEP}\d{{1,2}}{SEP}\d{{1,4}}\b|\b\d{{1,2}}\s*/\s*\d{{1,2}}\b|"
        rf"\b{MONTH}\b\.?\s+\d{{1,2}}(?:st|nd|rd|th)?\b(?:\s*,?\s*(?:19|20)\d\d\b)?|"
        rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{MONTH}\b(?:\s*,?\s*(?:19|20)\d\d\b)?|\b{DAY}\b|"
        rf"\b{MONTH}\b\s+(?:19|20)\d\d\b|\b(?:19|20)\d\d\b"
    ),
    "times": (
        r"\b\d{1,2}\s*:\s*\d{2}(?:\s*:\s*\d{2})?(?:\s*[ap]\s*\.?\s*m\b\.?)?|\b\d{1,2}\s*[ap]\.?\s?m\b\.?|"
        r"\bnoon\b|\bmidnight\b"
    ),
    "amounts": (
        rf"[$€£]\s*{NUMBER}(?:\s*(?:k|m|mm|bn|million|billion|thousand)\b)?|"
        rf"\b{NUMBER}\s*(?:dollars?|euros?|pounds?|usd|eur|gbp|%|percent)(?!\w)|"
        rf"\b{NUMBER}\s+(?:million|billion|thousand)\b"
    ),
    "phone numbers": (
        r"(?:\+\s?\d{1,3}[\s.-]{0,3})?(?:\(\s*\d{3}\s*\)|\b\d{3})\s*[-.\s]\s*\d{3}\s*[-.]\s*\d{4}\b|\b\d{3}\s*-\s*\d{4}\b"
    ),
    "e-mail addresses": r"\b[\w.+-]+\s?@\s?[\w-]+(?:\s?\.\s?[a-z]{2,})+\b",
    "web addresses": r"\bhttps?\s?:\s?/\s?/\s?\S+|\bwww\s?\.\s?[\w-]+(?:\s?\.\s?[\w-]+)+",
}
COMPILED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in PATTERNS.items()}
# in this order, each kind takes its part of the text: a phone number is no date, an address holds no time
ORDER = ("e-mail addresses", "web addresses", "phone numbers", "amounts", "times", "dates")
WORD = re.compile("[^\\W\\d_][\\w'\\u2019-]*")
SENTENCE_END = re.compile(r"[.!?:;\n\"“(\[>*-]\s*$")
DROPPED = ("Mn", "Me", "Cf")  # categories of Unicode: marks that take no place of their own, and signs of format
LEAST_IN_MIDDLE = 0.6  # of a word's places within sentences, those with a capital, for it to be part of a name
NAMES = "names"

NameFinder = Callable[[str], set[str]]


def bare(text: str) -> str:
    """A text in compatibility decomposition (NFKD of Unicode's annex 15), without marks above, below and in letters.

    BERT's BasicTokenizer drops the same of a text (Devlin et al. 2019, `tokenization.py`): nonspacing marks, such as
    accents and some vowel signs of Indic scripts, and signs of format, such as joiners and soft hyphens. What stays is
    the case, the vowel signs that take a place of their own (Mc), and symbols, such as the trade mark sign.
    """
    return text if text.isascii() else "".join(map(_bare, text))


def fold(text: str) -> str:
    """A bare text in small letters (Unicode's case folding): the form in which words and entities are compared."""
    return bare(text).casefold()


def find_patterns(text: str) -> dict[str, set[str]]:
    """The entities of a text by kind, in their normal forms; a kind without any has an empty set."""
    found: dict[str, set[str]] = {kind: set() for kind in PATTERNS}
    rest = fold(text)
    for kind in ORDER:
        for match in COMPILED[kind].finditer(rest):
            found[kind].add(_normal(match.group()))
        rest = COMPILED[kind].sub(lambda match: " \x00 ", rest)
    return found


@dataclass(frozen=True)
class CapitalRule:
    """Names by capitals: see the module.

    Attributes
    ----------
    known : words, folded, that stand capitalised within sentences more often than not
    """

    known: frozenset[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> CapitalRule:
        """The rule from cased texts: those of the reference, or the true ones."""
        capital: Counter[str] = Counter()
        small: Counter[str] = Counter()
        for text in map(bare, texts):
            for match in WORD.finditer(text):
                word = match.group()
                if _begins_sentence(text, match.start()) or word.isupper():
                    continue
                (capital if word[0].isupper() else small)[word.casefold()] += 1
        chosen = (w for w, n in capital.items() if n >= LEAST_IN_MIDDLE * (n + small[w]) and _may_be_name(w))
        return cls(frozenset(chosen))

    def __call__(self, text: str) -> set[str]:
        """The words of the names in a text, folded."""
        text = bare(text)
        if text == text.lower():
            return {word for word in map(str.casefold, WORD.findall(text)) if word in self.known}
        found: set[str] = set()
        run: list[tuple[str, bool]] = []
        last = 0
        for match in WORD.finditer(text):
            word, begins = match.group(), _begins_sentence(text, match.start())
            if run and (begins or text[last : match.start()].strip(" ")):
                found |= self._names_of(run)
                run = []
            if word[0].isupper():
                run.append((word.casefold(), begins))
            elif run:
                found |= self._names_of(run)
                run = []
            last = match.end()
        return found | self._names_of(run)

    def _names_of(self, run: Sequence[tuple[str, bool]]) -> set[str]:
        words = [(word, begins) for word, begins in run if _may_be_name(word)]
        if len(words) > 1:
            return {word for word, begins in words if not begins or word in self.known}
        return {word for word, begins in words if word in self.known}


def spacy_names(model: str) -> NameFinder:
    """People, organisations and places by a spaCy model that is installed; their single words, folded.

    Raises
    ------
    MissingExtraError : spaCy is not installed
    InputError : the model is not
    """
    spacy = require("spacy", "names", "names by a model")
    try:
        pipeline = spacy.load(model)
    except OSError as error:
        raise InputError(f"spaCy has no model '{model}' here: install it, or leave it out for the rule") from error

    def find(text: str) -> set[str]:
        ents = [ent.text for ent in pipeline(text).ents if ent.label_ in ("PERSON", "PER", "ORG", "GPE", "LOC", "FAC")]
        return {word for text in ents for word in WORD.findall(fold(text)) if _may_be_name(word)}

    return find


def find_entities(text: str, names: NameFinder) -> dict[str, set[str]]:
    """The entities of a text by kind, names among them."""
    return find_patterns(text) | {NAMES: names(text)}


@cache
def _bare(sign: str) -> str:
    if unicodedata.category(sign) == "So":  # a trade mark sign would become letters of the word before it
        return sign
    return "".join(c for c in unicodedata.normalize("NFKD", sign) if unicodedata.category(c) not in DROPPED)


def _normal(folded: str) -> str:
    return re.sub(r"[\s,]+", "", folded).rstrip(".")


def _begins_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 4) : start]
    return not before.strip() or bool(SENTENCE_END.search(before))


def _may_be_name(word: str) -> bool:
    return len(word) > 1 and word not in STOPWORDS
