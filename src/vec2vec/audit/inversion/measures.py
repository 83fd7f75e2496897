"""How much of a text a hypothesis recovers.

- **token F1**: of the words and numbers in small letters (``[^\\W_]+``), each as often as it stands.
- **BLEU**: sacrebleu's sentence BLEU with its defaults, in small letters, 0 to 1; the mean over the texts.
- **ROUGE-L**: F1 of the longest common subsequence of the words (Lin 2004, with equal weights).
- **exact**: equal in small letters and with spaces made alike.
- **cosine**: of the hypothesis, embedded again, with the native vector of the true text.
- **entities**: precision and recall of each kind (`vec2vec.audit.inversion.entities`), over all texts together.
- **revealing**: the share of texts of which a reader would learn something, by a rule: a name, number or other entity
  of the true text stands in the hypothesis, or `CONTENT_SHARE` of its content words, and `CONTENT_LEAST` at least.
  A judge (`vec2vec.audit.inversion.judge`) may take the rule's place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vec2vec.audit.intervals import mean_estimate, share_estimate
from vec2vec.audit.inversion.entities import NAMES, PATTERNS, NameFinder, find_entities
from vec2vec.audit.inversion.stopwords import STOPWORDS
from vec2vec.encoders.base import require
from vec2vec.errors import InputError
from vec2vec.evaluate.metrics import Estimate

TOKEN = re.compile(r"[^\W_]+")
CONTENT_SHARE, CONTENT_LEAST = 0.3, 3
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
    """The words and numbers of a text, in small letters."""
    return TOKEN.findall(text.lower())


def token_f1(hypothesis: str, truth: str) -> float:
    """F1 of the words, each as often as it stands; 1 if neither has any."""
    a, b = Counter(words_of(hypothesis)), Counter(words_of(truth))
    both = sum((a & b).values())
    total = sum(a.values()) + sum(b.values())
    return 2 * both / total if total else 1.0


def rouge_l(hypothesis: str, truth: str) -> float:
    """F1 of the longest common subsequence of the words; 1 if neither has any."""
    a, b = words_of(hypothesis), words_of(truth)
    if not a and not b:
        return 1.0
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, start=1):
            kept = row[j]
            row[j] = before + 1 if word == other else max(row[j], row[j - 1])
            before = kept
    return 2 * row[-1] / (len(a) + len(b))


def sentence_bleu(hypotheses: Sequence[str], truths: Sequence[str]) -> list[float]:
    """sacrebleu's sentence BLEU of each, 0 to 1."""
    metric = require("sacrebleu.metrics", "inversion", "a measure of texts").BLEU(lowercase=True, effective_order=True)
    return [metric.sentence_score(a, [b]).score / 100 for a, b in zip(hypotheses, truths, strict=True)]


def content_words(text: str) -> set[str]:
    """The words of three letters or more that are no function words."""
    return {word for word in words_of(text) if len(word) > 2 and word not in STOPWORDS}


def reveals(hypothesis: str, truth: str, names: NameFinder) -> bool:
    """Whether a hypothesis reveals something of a text, by the rule of this module."""
    return _reveals(hypothesis, truth, find_entities(hypothesis, names), find_entities(truth, names))


def _reveals(hypothesis: str, truth: str, own: dict[str, set[str]], true: dict[str, set[str]]) -> bool:
    if any(own[kind] & true[kind] for kind in KINDS):
        return True
    due = content_words(truth)
    got = len(due & content_words(hypothesis))
    return got >= CONTENT_LEAST and got >= CONTENT_SHARE * len(due)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
