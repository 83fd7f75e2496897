"""How much of a text a hypothesis recovers.

Texts are compared without capitals and accents (`vec2vec.audit.inversion.entities.fold`), which uncased encoders drop.
A word is a run of letters, vowel signs and digits; of the scripts that are written without spaces (`UNSPACED`), it is
each character, as BERT's BasicTokenizer has it for Chinese (Devlin et al. 2019).

- **token F1**: of the words and numbers, each as often as it stands.
- **BLEU**: sacrebleu's sentence BLEU with its defaults, of texts with those characters apart, 0 to 1; the mean over the
  texts.
- **ROUGE-L**: F1 of the longest common subsequence of the words (Lin 2004, with equal weights).
- **exact**: equal with spaces made alike.
- **cosine**: of the hypothesis, embedded again, with the native vector of the true text.
- **entities**: precision and recall of each kind (`vec2vec.audit.inversion.entities`), over all texts together.
- **revealing**: the share of texts of which a reader would learn something, by a rule: a name, number or other entity
  of the true text stands in the hypothesis, or `CONTENT_SHARE` of its content words, and `CONTENT_LEAST` at least.
  Which words carry content is known of English only: a text with letters beyond ASCII counts, too, if the hypothesis
  has the same words in the same order.
  A judge (`vec2vec.audit.inversion.judge`) may take the rule's place.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vec2vec.audit.intervals import mean_estimate, share_estimate
from vec2vec.audit.inversion.entities import NAMES, PATTERNS, NameFinder, find_entities, fold
from vec2vec.audit.inversion.stopwords import STOPWORDS
from vec2vec.encoders.base import require
from vec2vec.errors import InputError
from vec2vec.evaluate.metrics import Estimate

# Thai and Lao, Myanmar, Khmer, Japanese (with the marks of repetition), Chinese; without their digits
UNSPACED = (
    r"(?:(?!\d)[\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff\u19e0-\u19ff"
    r"\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)
CHARACTER, RUN = re.compile(UNSPACED), re.compile(rf"{UNSPACED}(?:\s*{UNSPACED})*")
CONTENT_SHARE, CONTENT_LEAST, CONTENT_LETTERS = 0.3, 3, 3
KINDS = (*PATTERNS, NAMES)


@dataclass(frozen=True)
class EntityMeasure:
    """Entities of a kind: how many the true texts and the hypotheses hold, and how many of them are the same."""

    kind: str
    true: int
    given: int
    both: int

    @property
    def precision(self) -> float:
        return self.both / self.given if self.given else float("nan")

    @property
    def recall(self) -> float:
        return self.both / self.true if self.true else float("nan")


@dataclass(frozen=True)
class TextMeasures:
    """The measures of hypotheses against true texts; `cosine` is None where the hypotheses were not embedded."""

    rows: int
    token_f1: Estimate
    bleu: Estimate
    rouge_l: Estimate
    exact: Estimate
    cosine: Estimate | None
    revealing: Estimate
    entities: tuple[EntityMeasure, ...]


def measure_texts(
    hypotheses: Sequence[str],
    truths: Sequence[str],
    names: NameFinder,
    *,
    cosines: Sequence[float] | None = None,
    revealing: Sequence[bool | None] | None = None,
    resamples: int = 300,
    seed: int = 0,
) -> TextMeasures:
    """The measures of row-aligned texts.

    Parameters
    ----------
    names : finds the names of a text
    cosines : of the hypotheses' vectors with the true ones
    revealing : what a judge said; None, and for a text that it says nothing of, takes the rule

    Raises
    ------
    InputError : no texts, or different numbers of them
    MissingExtraError : sacrebleu is not installed
    """
    if not truths or len(hypotheses) != len(truths):
        raise InputError(f"there are {len(hypotheses)} hypotheses and {len(truths)} true texts")
    options = {"resamples": resamples, "seed": seed}
    pairs = list(zip(hypotheses, truths, strict=True))
    found = [(find_entities(a, names), find_entities(b, names)) for a, b in pairs]
    judged = [
        _reveals(*pair, *entities) if said is None else said
        for pair, entities, said in zip(pairs, found, revealing or [None] * len(pairs), strict=True)
    ]
    exact = [_plain(a) == _plain(b) for a, b in pairs]
    return TextMeasures(
        rows=len(pairs),
        token_f1=mean_estimate([token_f1(a, b) for a, b in pairs], **options),
        bleu=mean_estimate(sentence_bleu(hypotheses, truths), **options),
        rouge_l=mean_estimate([rouge_l(a, b) for a, b in pairs], **options),
        exact=share_estimate(sum(exact), len(exact)),
        cosine=None if cosines is None else mean_estimate(np.asarray(cosines), **options),
        revealing=share_estimate(sum(judged), len(judged)),
        entities=tuple(
            EntityMeasure(
                kind,
                true=sum(len(true[kind]) for _, true in found),
                given=sum(len(own[kind]) for own, _ in found),
                both=sum(len(own[kind] & true[kind]) for own, true in found),
            )
            for kind in KINDS
        ),
    )


def words_of(text: str) -> list[str]:
    """The words and numbers of a text, folded."""
    return "".join(map(_in_word, _apart(text))).split()


def token_f1(hypothesis: str, truth: str) -> float:
    """F1 of the words, each as often as it stands; 1 if neither has any."""
    a, b = Counter(words_of(hypothesis)), Counter(words_of(truth))
    both = sum((a & b).values())
    total = sum(a.values()) + sum(b.values())
    return 2 * both / total if total else 1.0


def rouge_l(hypothesis: str, truth: str) -> float:
    """F1 of the longest common subsequence of the words; 1 if neither has any."""
    a, b = words_of(hypothesis), words_of(truth)
    return 2 * common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, by bits: a step for each word of `a`, for all words of `b` at once.

    Bit j of `row` is 0 where the row of the usual table rises at word j of `b` (Crochemore et al. 2001, "A fast and
    practical bit-vector algorithm for the longest common subsequence problem", in the form of Hyyrö 2004).
    """
    places: dict[str, int] = {}
    for j, word in enumerate(b):
        places[word] = places.get(word, 0) | 1 << j
    every = (1 << len(b)) - 1
    row = every
    for word in a:
        same = row & places.get(word, 0)
        row = (row + same | row - same) & every
    return len(b) - row.bit_count()


def sentence_bleu(hypotheses: Sequence[str], truths: Sequence[str]) -> list[float]:
    """sacrebleu's sentence BLEU of each, 0 to 1."""
    metric = require("sacrebleu.metrics", "inversion", "a measure of texts").BLEU(lowercase=True, effective_order=True)
    pairs = zip(map(_apart, hypotheses), map(_apart, truths), strict=True)
    return [metric.sentence_score(a, [b]).score / 100 for a, b in pairs]


def content_words(text: str) -> set[str]:
    """The words of three letters or more that are no function words; without spaces, any three characters in a row.

    Single characters would not do: of Thai, any two sentences share most of them.
    """
    words = {word for word in words_of(text) if len(word) >= CONTENT_LETTERS and word not in STOPWORDS}
    runs = ["".join(run.split()) for run in RUN.findall(fold(text))]  # a tokenizer may have set spaces
    return words | {run[i : i + CONTENT_LETTERS] for run in runs for i in range(len(run) - CONTENT_LETTERS + 1)}


def reveals(hypothesis: str, truth: str, names: NameFinder) -> bool:
    """Whether a hypothesis reveals something of a text, by the rule of this module."""
    return _reveals(hypothesis, truth, find_entities(hypothesis, names), find_entities(truth, names))


def _reveals(hypothesis: str, truth: str, own: dict[str, set[str]], true: dict[str, set[str]]) -> bool:
    if any(own[kind] & true[kind] for kind in KINDS):
        return True
    if _is_foreign(truth) and words_of(hypothesis) == words_of(truth) != []:
        return True
    due = content_words(truth)
    got = len(due & content_words(hypothesis))
    return got >= CONTENT_LEAST and got >= CONTENT_SHARE * len(due)


def _is_foreign(text: str) -> bool:
    return any(sign.isalpha() and not sign.isascii() for sign in text)


def _apart(text: str) -> str:
    """The folded text, with spaces around the characters of the scripts that have none."""
    return CHARACTER.sub(r" \g<0> ", fold(text))


@cache
def _in_word(sign: str) -> str:
    """The sign, or a space for one that stands between words."""
    return sign if sign.isalnum() or unicodedata.category(sign) == "Mc" else " "


def _plain(text: str) -> str:
    return " ".join(_apart(text).split())
