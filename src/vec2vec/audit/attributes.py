"""Attributes read off translated vectors: by descriptions of labels, or by a probe that was trained on the reference.

Either reader belongs to the known space, and has seen nothing of the leak. It is applied, unchanged, to the translated
vectors; for comparison to the untranslated ones (naive), and to the native vectors of the true texts (the ceiling).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vec2vec.audit.inputs import Labels
from vec2vec.audit.measures import (
    Floats,
    LabelMeasure,
    Measures,
    Truths,
    among,
    chance,
    check_candidates,
    confusion,
    label_measures,
    lift,
    majority,
    measure,
    shuffled_top1,
    truth_matrix,
)
from vec2vec.audit.settings import AuditSettings
from vec2vec.errors import InputError
from vec2vec.evaluate.metrics import fit_width
from vec2vec.stores.base import listed
from vec2vec.vectors import Float32

Kind = Literal["zero-shot", "few-shot"]
Reader = Callable[[Float32], Float32]
PROBE_STRENGTH = 0.01  # C of the logistic regression, on vectors scaled to a mean square of 1 per dimension


@dataclass(frozen=True, eq=False)
class Attributes:
    """What one reader got out of the vectors.

    Attributes
    ----------
    kind : "zero-shot" or "few-shot"
    task : what is read: the name of the label set
    names : of the labels
    rows : that were measured; where no truth is given, that were read
    left_out : rows of the truth without any of the labels
    candidates : a row's label was ranked among so many; None: among all
    translated, naive, native, chance, majority : None without truth, and `native` where no native vectors are known
    lift : of top-1, see `vec2vec.audit.measures.lift`; NaN where it cannot be said
    blind : top-1 that the translated vectors' guesses would have by chance, or on other rows (see
        `vec2vec.audit.measures.shuffled_top1`), whichever is more; None without truth
    per_label, per_label_native : average precision by label
    confusion : names of the true labels and their (n, n + 1) shares, of tasks with one label a row
    shares : how the rows are distributed over the labels, by the reader's first guess
    """

    kind: Kind
    task: str
    names: tuple[str, ...]
    rows: int
    shares: dict[str, float]
    left_out: int = 0
    candidates: int | None = None
    translated: Measures | None = None
    naive: Measures | None = None
    native: Measures | None = None
    chance: Measures | None = None
    majority: Measures | None = None
    lift: float = float("nan")
    blind: float | None = None
    per_label: tuple[LabelMeasure, ...] = ()
    per_label_native: tuple[LabelMeasure, ...] = ()
    confusion: tuple[list[str], Floats] | None = None

    @property
    def title(self) -> str:
        """The reader, and what it reads."""
        return f"{self.kind}, {self.task}"

    @property
    def telling(self) -> float:
        """The lift over `blind`, so that the same answer for every row is worth nothing; NaN without truth.

        Where there is no ceiling, or it is no higher to speak of, it is taken against perfect reading, which it is no
        less than.
        """
        if self.translated is None or self.blind is None:
            return float("nan")
        value = self.translated.top1.value
        share = float("nan") if self.native is None else lift(value, self.blind, self.native.top1.value)
        return share if math.isfinite(share) else lift(value, self.blind, 1.0)


@dataclass(frozen=True, eq=False)
class Views:
    """The same rows seen three ways.

    Attributes
    ----------
    translated : (n, d) float32 in the known space
    naive : (n, d) float32, the leaked vectors as they are, zero-padded or cut to the known width
    native : (n, d) float32 of the true texts by the known encoder, None where they are not known
    """

    translated: Float32
    naive: Float32
    native: Float32 | None = None

    @classmethod
    def of(cls, translated: Float32, leaked: Float32, native: Float32 | None) -> Views:
        """From the translated and the leaked vectors."""
        return cls(translated, np.asarray(fit_width(leaked, translated.shape[1]), np.float32), native)

    def take(self, rows: Any) -> Views:
        """These rows."""
        return Views(self.translated[rows], self.naive[rows], None if self.native is None else self.native[rows])


def zero_shot(label_vectors: Float32) -> Reader:
    """The reader that ranks labels by the cosine of their description with the vector, as the paper does."""
    labels = _unit(label_vectors)
    return lambda x: np.asarray(_unit(x) @ labels.T, np.float32)


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier of the known space.

    Attributes
    ----------
    names : of the labels that it knows
    centre, weight, bias : scores are ((x - centre) @ weight + bias)
    trained_on : rows
    """

    names: tuple[str, ...]
    centre: Float32
    weight: Float32
    bias: Float32
    trained_on: int

    def __call__(self, x: Float32) -> Float32:
        return np.asarray((x - self.centre) @ self.weight + self.bias, np.float32)


def train_probe(vectors: Float32, labels: Labels, names: Sequence[str] | None, settings: AuditSettings) -> Probe:
    """A logistic regression on the reference: multinomial where each text has one label, else one for each label.

    Parameters
    ----------
    vectors : (n, d) float32 of the known encoder
    labels : of each row, possibly none
    names : only these; None: all. In either case the `probe_labels` most frequent that have `probe_least` texts.

    Raises
    ------
    InputError : fewer than two labels with enough texts, or that some of the rows drawn have, and others have not
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    chosen = _probe_labels(labels, names, settings)
    truth = truth_matrix(labels, chosen)
    rows = np.flatnonzero(truth.any(1))
    rng = np.random.default_rng(settings.seed)
    if len(rows) > settings.probe_rows:
        rows = np.sort(rng.choice(rows, settings.probe_rows, replace=False))
    x, truth = vectors[rows], truth[rows]
    kept = np.flatnonzero(truth.any(0) & ~truth.all(0))
    if len(kept) < 2:
        raise InputError(
            f"of {len(chosen)} labels {len(kept)} tell some of {len(rows):,} texts from others: a probe needs two"
        )
    chosen, truth = tuple(chosen[i] for i in kept), truth[:, kept]
    centre = x.mean(0, dtype=np.float64).astype(np.float32)
    scale = np.float32(1 / max(float(np.sqrt(np.mean((x - centre) ** 2, dtype=np.float64))), 1e-12))
    z = (x - centre) * scale
    model: Any = LogisticRegression(C=PROBE_STRENGTH, max_iter=2000)
    if (truth.sum(1) == 1).all():
        model.fit(z, truth.argmax(1))
        weight, bias = model.coef_, model.intercept_
        if len(chosen) == 2:  # one score for both
            weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    else:
        fitted = OneVsRestClassifier(model).fit(z, truth.astype(np.int64))
        weight = np.concatenate([one.coef_ for one in fitted.estimators_])
        bias = np.concatenate([one.intercept_ for one in fitted.estimators_])
    return Probe(chosen, centre, (weight.T * scale).astype(np.float32), bias.astype(np.float32), len(rows))


@dataclass(frozen=True)
class Reading:
    """A reader with what it reads.

    Attributes
    ----------
    kind, task : see `Attributes`
    names : of the L labels that it scores
    reader : (n, d) vectors of the known space to (n, L) scores
    """

    kind: Kind
    task: str
    names: tuple[str, ...]
    reader: Reader

    @property
    def title(self) -> str:
        """As that of the `Attributes` that come of it."""
        return f"{self.kind}, {self.task}"


def read_attributes(reading: Reading, views: Views, truth: Labels | None, settings: AuditSettings) -> Attributes:
    """What a reader gets out of the vectors, measured where the truth is given.

    Parameters
    ----------
    truth : the labels of each row; rows with none of the reader's are left out and counted

    Raises
    ------
    InputError : no label of the truth is among the reader's
    """
    kind, task, names, reader = reading.kind, reading.task, reading.names, reading.reader
    if truth is None:
        return Attributes(kind, task, names, len(views.translated), _shares(reader(views.translated), names))
    matrix = truth_matrix(truth, names)
    rows = np.flatnonzero(matrix.any(1))
    if not len(rows):
        raise InputError(_match_nothing(task, names, truth))
    matrix, seen = matrix[rows], views.take(rows)
    options: dict[str, Any] = {"resamples": settings.resamples, "seed": settings.seed}
    whole = settings.candidates is None

    def measured(x: Float32) -> tuple[Float32, Truths, Measures]:
        scores = reader(x)
        few = settings.candidates
        ranked, own = (scores, matrix) if few is None else among(scores, matrix, few, settings.seed)
        return scores, own, measure(ranked, own, whole=whole, **options)

    def by_label(scores: Float32 | None) -> tuple[LabelMeasure, ...]:
        return () if scores is None or not whole else label_measures(scores, matrix, names, **options)

    scores, own, translated = measured(seen.translated)
    native_scores, _, native = (None, None, None) if seen.native is None else measured(seen.native)
    by_chance = chance(own, whole=whole, seed=settings.seed)
    unseen = shuffled_top1(scores, matrix, settings.candidates, seed=settings.seed)
    left = float("nan") if native is None else lift(translated.top1.value, by_chance.top1.value, native.top1.value)
    return Attributes(
        kind=kind,
        task=task,
        names=names,
        rows=len(rows),
        shares=_shares(reader(seen.translated), names),
        left_out=len(truth) - len(rows),
        candidates=settings.candidates,
        translated=translated,
        naive=measured(seen.naive)[2],
        native=native,
        chance=by_chance,
        majority=majority(matrix, **options) if whole else None,
        lift=left,
        blind=max(by_chance.top1.value, unseen),
        per_label=by_label(scores),
        per_label_native=by_label(native_scores),
        confusion=confusion(scores, matrix, names) if whole and (matrix.sum(1) == 1).all() else None,
    )


def check_labels(task: str, names: Sequence[str], truth: Labels, settings: AuditSettings) -> None:
    """Raises InputError where `read_attributes` could not measure these labels: before the work, not after it."""
    matrix = truth_matrix(truth, names)
    matrix = matrix[matrix.any(1)]
    if not len(matrix):
        raise InputError(_match_nothing(task, names, truth))
    if settings.candidates is not None:
        check_candidates(matrix, settings.candidates)


def _match_nothing(task: str, names: Sequence[str], truth: Labels) -> str:
    found = list(dict.fromkeys(label for own in truth for label in own))
    return (
        f"{task}: its labels match nothing: it has {listed(list(names)[:5])}, and the truth {listed(found[:5])}; "
        "write both alike"
    )


def _probe_labels(labels: Labels, names: Sequence[str] | None, settings: AuditSettings) -> tuple[str, ...]:
    count: dict[str, int] = {}
    for own in labels:
        for label in own:
            count[label] = count.get(label, 0) + 1
    asked = set(count) if names is None else set(names)
    enough = [label for label, rows in count.items() if label in asked and rows >= settings.probe_least]
    enough.sort(key=lambda label: (-count[label], label))
    if len(enough) < 2:
        of = "" if names is None else f" of the {len(asked):,} asked for"
        raise InputError(
            f"the reference has {len(enough)} labels{of} with {settings.probe_least} texts or more: a probe needs two"
        )
    return tuple(enough[: settings.probe_labels])


def _shares(scores: Float32, names: Sequence[str]) -> dict[str, float]:
    """The labels that come first in some row, and in which share of the rows, the most frequent first."""
    count = np.bincount(scores.argmax(1), minlength=len(names))
    order = np.argsort(-count, kind="stable")
    return {names[i]: float(count[i] / len(scores)) for i in order if count[i]}


def _unit(x: Float32) -> Float32:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
