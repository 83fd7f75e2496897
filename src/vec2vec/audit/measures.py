"""How well scores of labels agree with the truth: top-k, precision and recall at k, macro F1, average precision.

Definitions, for n rows with scores of L labels and the set of true labels of each row (never empty):

- **top-k**: the share of rows with a true label among the k labels of the highest score. Ties are broken by a fixed
  random order of the labels, so that constant scores are no better than chance.
- **precision, recall at k**: of the k highest labels the share that is true; of the true labels the share among them;
  both averaged over the rows.
- **macro F1**: each row is given its `assigned` highest labels, one where rows have one label each, else the rounded
  mean number of true labels; F1 of each label that is true of a row at least; their mean.
- **average precision** of a label: rows ordered by its score, ties in a fixed random order; the mean, over the rows
  where it is true, of the share of true rows down to that row. Chance is its mean over all orders, a little above the
  label's share. It is taken of labels that are true of ten rows or more, at most the `MOST_LABELS` most frequent.

Intervals are 95% percentile intervals of a bootstrap over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vec2vec.audit.intervals import exact, percentile, resample_weights
from vec2vec.errors import InputError
from vec2vec.evaluate.metrics import Estimate
from vec2vec.vectors import Float32, Int64

Truths = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]
TOP = 5
LEAST_POSITIVE = 10
MOST_LABELS = 50


@dataclass(frozen=True)
class Measures:
    """The measures of one set of scores; None where a measure does not apply (see `among`)."""

    top1: Estimate
    top5: Estimate
    precision: Estimate
    recall: Estimate
    macro_f1: Estimate | None = None
    mean_average_precision: Estimate | None = None


@dataclass(frozen=True)
class LabelMeasure:
    """A label by itself: how many rows have it, and its average precision."""

    label: str
    rows: int
    average_precision: Estimate


def truth_matrix(labels: Sequence[Sequence[str]], names: Sequence[str]) -> Truths:
    """(n, L) bool: which of the labels `names` each row has. A label that is not among the names counts for nothing."""
    index = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(labels), len(names)), bool)
    for row, own in enumerate(labels):
        for label in own:
            if label in index:
                out[row, index[label]] = True
    return out


def measure(
    scores: Float32, truth: Truths, *, k: int = TOP, resamples: int = 300, seed: int = 0, whole: bool = True
) -> Measures:
    """The measures of (n, L) scores against (n, L) truth, of which no row is empty.

    Parameters
    ----------
    k : of precision and recall
    whole : macro F1 and average precision, too

    Raises
    ------
    InputError : shapes that differ, a row without a true label, or fewer than two labels
    """
    _check(scores, truth)
    n, labels = scores.shape
    order = _ordered(scores, max(TOP, k, assigned_labels(truth)), seed)
    hits = np.take_along_axis(truth, order, axis=1)
    count = truth.sum(1)
    at_k = hits[:, :k].sum(1)
    columns = np.stack([hits[:, 0], hits[:, :TOP].any(1), at_k / min(k, labels), at_k / count], 1).astype(np.float64)
    assigned = np.zeros_like(truth)
    np.put_along_axis(assigned, order[:, : assigned_labels(truth)], True, axis=1)
    kept = np.flatnonzero(truth.any(0))
    pieces = [a[:, kept].astype(np.float64) for a in (assigned & truth, assigned, truth)] if whole else []
    means, f1s = [], []
    for weights in resample_weights(n, resamples, seed):
        means.append(weights @ columns / n)
        if whole:
            f1s.append(_macro_f1(*(weights @ piece for piece in pieces)))
    resampled = np.concatenate(means)
    top1, top5, precision, recall = (percentile(float(columns[:, i].mean()), resampled[:, i]) for i in range(4))
    if not whole:
        return Measures(top1, top5, precision, recall)
    ones = np.ones((1, n))
    f1 = percentile(float(_macro_f1(*(ones @ piece for piece in pieces))[0]), np.concatenate(f1s))
    return Measures(top1, top5, precision, recall, f1, _mean_average_precision(scores, truth, resamples, seed))


def label_measures(
    scores: Float32, truth: Truths, names: Sequence[str], *, resamples: int = 300, seed: int = 0
) -> tuple[LabelMeasure, ...]:
    """Average precision of the labels by themselves, the most frequent first."""
    chosen = _measurable(truth)
    value, resampled = _average_precisions(scores[:, chosen], truth[:, chosen], resamples, seed)
    return tuple(
        LabelMeasure(names[label], int(truth[:, label].sum()), percentile(float(value[i]), resampled[:, i]))
        for i, label in enumerate(chosen)
    )


def among(scores: Float32, truth: Truths, candidates: int, seed: int) -> tuple[Float32, Truths]:
    """For each row, its first true label and `candidates` - 1 drawn labels that are not true of it, in random order.

    Returns
    -------
    scores, truth : (n, candidates), for `measure` with ``whole=False``: a column is another label in each row, and
        none has more of the true ones, so that ties are broken by chance

    Raises
    ------
    InputError : fewer labels than candidates
    """
    check_candidates(truth, candidates)
    n = len(truth)
    rng = np.random.default_rng(seed)
    drawn = np.empty((n, candidates), np.int64)
    drawn[:, 0] = truth.argmax(1)
    for row in range(n):
        drawn[row, 1:] = rng.choice(np.flatnonzero(~truth[row]), candidates - 1, replace=False)
    drawn = rng.permuted(drawn, axis=1)
    rows = np.arange(n)[:, None]
    return scores[rows, drawn], truth[rows, drawn]


def check_candidates(truth: Truths, candidates: int) -> None:
    """Raises InputError unless (n, L) truth has so many labels, and each row all but one of them that are not true."""
    labels = truth.shape[1]
    if candidates > labels:
        raise InputError(f"candidates is {candidates}, and there are {labels:,} labels")
    others = labels - int(truth.sum(1).max())
    if others < candidates - 1:
        raise InputError(f"candidates is {candidates}, and a row has only {others} labels that are not true")


def chance(truth: Truths, *, k: int = TOP, whole: bool = True, seed: int = 0, draws: int = 10) -> Measures:
    """What scores that know nothing would get: expectations, exact but for macro F1, a mean over random scores."""
    n, labels = truth.shape
    count = truth.sum(1)
    rows = Measures(
        exact(float((count / labels).mean())),
        exact(float(np.mean([_any_among(labels, int(m), min(TOP, labels)) for m in count]))),
        exact(float((count / labels).mean())),
        exact(min(k, labels) / labels),
    )
    if not whole:
        return rows
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(truth.any(0))
    f1s = []
    for _ in range(draws):
        order = np.argsort(rng.random((n, labels)), axis=1)[:, : assigned_labels(truth)]
        given = np.zeros_like(truth)
        np.put_along_axis(given, order, True, axis=1)
        sums = [a[:, kept].sum(0, keepdims=True).astype(np.float64) for a in (given & truth, given, truth)]
        f1s.append(float(_macro_f1(*sums)[0]))
    chosen = _measurable(truth)
    precision = exact(float(_chance_precision(truth[:, chosen].sum(0), n).mean())) if len(chosen) else None
    return Measures(rows.top1, rows.top5, rows.precision, rows.recall, exact(float(np.mean(f1s))), precision)


def majority(truth: Truths, *, k: int = TOP, resamples: int = 300, seed: int = 0, whole: bool = True) -> Measures:
    """What the same answer for every row would get: labels by how many rows have them."""
    scores = np.broadcast_to(truth.sum(0).astype(np.float32), truth.shape)
    return measure(np.ascontiguousarray(scores), truth, k=k, resamples=resamples, seed=seed, whole=whole)


def shuffled_top1(
    scores: Float32, truth: Truths, candidates: int | None = None, *, seed: int = 0, draws: int = 10
) -> float:
    """Top-1 expected of the same (n, L) scores in a random order of the rows: what they get without looking.

    The agreement by chance of Cohen's kappa (Cohen 1960), by the marginals of guesses and truth; with `candidates`,
    where every row is ranked `among` its own, the mean over so many random orders.
    """
    if candidates is None:
        guessed = np.bincount(_ordered(scores, 1, seed)[:, 0], minlength=truth.shape[1])
        return float(guessed @ truth.sum(0)) / len(truth) ** 2
    rng, hits = np.random.default_rng([seed, 2]), []
    for _ in range(draws):
        of_others, own = among(scores[rng.permutation(len(scores))], truth, candidates, seed)
        hits.append(np.take_along_axis(own, _ordered(of_others, 1, seed), axis=1).mean())
    return float(np.mean(hits))


def assigned_labels(truth: Truths) -> int:
    """How many labels a row is given for F1: the rounded mean number of true ones."""
    return max(1, int(np.rint(truth.sum(1).mean())))


def confusion(scores: Float32, truth: Truths, names: Sequence[str], most: int = 20) -> tuple[list[str], Floats]:
    """Rows: the true label; columns: the highest label; shares of the rows of that true label.

    Of rows with one label only, and of the `most` most frequent labels; what goes to others is the last column.
    """
    single = truth.sum(1) == 1
    frequent = np.argsort(-truth[single].sum(0), kind="stable")[:most]
    frequent = np.sort(frequent[truth[single].any(0)[frequent]])
    guess = _ordered(scores[single], 1, 0)[:, 0]
    own = truth[single].argmax(1)
    table = np.zeros((len(frequent), len(frequent) + 1))
    place = {int(label): i for i, label in enumerate(frequent)}
    for mine, given in zip(own.tolist(), guess.tolist(), strict=True):
        if mine in place:
            table[place[mine], place.get(given, len(frequent))] += 1
    table /= np.maximum(table.sum(1, keepdims=True), 1)
    return [names[i] for i in frequent], table


def lift(value: float, chance: float, ceiling: float) -> float:
    """The share of the ceiling's lift over chance that is left: (value - chance) / (ceiling - chance).

    NaN where the ceiling is below three times chance and below the middle between chance and 1, or is no higher than
    chance: such a task says nothing.
    """
    if not ceiling - chance >= min(2 * chance, 0.5 * (1 - chance)) or ceiling <= chance:
        return float("nan")
    return (value - chance) / (ceiling - chance)


def _check(scores: Float32, truth: Truths) -> None:
    if scores.shape != truth.shape:
        raise InputError(f"scores have shape {scores.shape} and the truth {truth.shape}")
    if scores.shape[1] < 2:
        raise InputError(f"there is {scores.shape[1]} label: at least 2 are needed to tell apart")
    if not len(scores) or not truth.any(1).all():
        raise InputError("every row needs a true label to be measured")


def _ordered(scores: Float32, k: int, seed: int) -> npt.NDArray[np.int64]:
    """(n, k): the labels of the highest scores, ties in a fixed random order."""
    shuffled = np.random.default_rng([seed, 1]).permutation(scores.shape[1])
    order = np.argsort(-scores[:, shuffled], axis=1, kind="stable")[:, : min(k, scores.shape[1])]
    return np.asarray(shuffled[order], np.int64)


def _any_among(labels: int, true: int, k: int) -> float:
    """The chance that k of the labels, drawn at random, hold one of the true ones at least."""
    miss = 1.0
    for i in range(k):
        miss *= max(labels - true - i, 0) / (labels - i)
    return 1 - miss


def _macro_f1(both: Floats, given: Floats, true: Floats) -> Floats:
    """(b,) from (b, L) weighted counts; a label that a resample has no row of counts as 0 only if it was given."""
    total = given + true
    f1 = np.divide(2 * both, total, out=np.zeros_like(total), where=total > 0)
    present = np.maximum((true > 0).sum(1), 1)
    result: Floats = np.where(true > 0, f1, 0).sum(1) / present
    return result


def _measurable(truth: Truths) -> npt.NDArray[np.int64]:
    """Labels that are true of enough rows, and not of all, the most frequent first."""
    count = truth.sum(0)
    order = np.argsort(-count, kind="stable")
    return np.asarray([i for i in order if LEAST_POSITIVE <= count[i] < len(truth)][:MOST_LABELS], np.int64)


def _chance_precision(true: Int64, rows: int) -> Floats:
    """The mean average precision over all orders of the rows, of labels that are true of so many of them.

    A true row at place i has i - 1 rows above it, each true with probability q = (true - 1) / (rows - 1): the share of
    true rows down to it is (1 + (i - 1) q) / i on average, and every i is as likely.
    """
    q = (true - 1) / (rows - 1)
    harmonic = float((1 / np.arange(1, rows + 1)).mean())
    result: Floats = q + harmonic * (1 - q)
    return result


def _average_precisions(scores: Float32, truth: Truths, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """(L,) average precisions, and (b, L) of resamples."""
    n, labels = scores.shape
    rng = np.random.default_rng([seed, 2])
    shuffled = [rng.permutation(n) for _ in range(labels)]
    orders = [own[np.argsort(-scores[own, i], kind="stable")] for i, own in enumerate(shuffled)]
    true = [truth[order, i].astype(np.float64) for i, order in enumerate(orders)]

    def of(weights: Floats) -> Floats:
        out = np.empty((len(weights), labels))
        for i, order in enumerate(orders):
            own = weights[:, order]
            positive = own * true[i]
            reached = np.cumsum(positive, axis=1)
            precision = reached / np.maximum(np.cumsum(own, axis=1), 1)
            out[:, i] = (positive * precision).sum(1) / np.maximum(reached[:, -1], 1e-12)
        return out

    return of(np.ones((1, n)))[0], np.concatenate([of(w) for w in resample_weights(n, resamples, seed)])


def _mean_average_precision(scores: Float32, truth: Truths, resamples: int, seed: int) -> Estimate | None:
    chosen = _measurable(truth)
    if not len(chosen):
        return None
    value, resampled = _average_precisions(scores[:, chosen], truth[:, chosen], resamples, seed)
    return percentile(float(value.mean()), resampled.mean(1))
