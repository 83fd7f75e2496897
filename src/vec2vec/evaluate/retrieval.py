"""Search with translated vectors, where the truth is known: shared neighbours, known items, matchings.

All by cosine in the target's native geometry, as in `vec2vec.evaluate.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vec2vec.errors import DimensionError, InputError
from vec2vec.evaluate.metrics import _TOP, Floats, _count, _neighbourhood, _Places, _unit

NEIGHBOURS = 10
DEPTH = 10  # of a search's list


def neighbour_overlap(translated: Floats, native: Floats, *, k: int = NEIGHBOURS, batch_rows: int = 1024) -> float:
    """Share of the k nearest that a translated vector has in common with its native counterpart.

    Parameters
    ----------
    translated, native : (n, d) row-aligned; neighbours are native vectors of other rows
    k : neighbours, fewer than n

    Raises
    ------
    InputError : different shapes, or too few rows
    """
    if translated.shape != native.shape:
        raise InputError(f"translated has shape {translated.shape} and native {native.shape}: rows are texts, aligned")
    if len(native) <= k:
        raise InputError(f"{len(native)} rows have no {k} neighbours other than themselves")
    q, c = _unit(translated), _unit(native)
    shared = 0
    for start in range(0, len(c), batch_rows):
        rows = np.arange(start, min(start + batch_rows, len(c)))
        found = [_nearest_others(side[rows] @ c.T, rows, k) for side in (q, c)]
        both = np.sort(np.concatenate(found, axis=1), axis=1)
        shared += int(np.count_nonzero(both[:, 1:] == both[:, :-1]))
    return shared / (len(c) * k)


def _nearest_others(sims: Floats, own: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    sims[np.arange(len(sims)), own] = -np.inf
    return np.argpartition(sims, -k, axis=1)[:, -k:]


@dataclass(frozen=True)
class Places:
    """Where the own candidates stand, as in `metrics.Retrieval` but without intervals; NaN where nothing is ranked."""

    top1: float
    top5: float
    top16: float
    mean_rank: float
    median_rank: float


def plan_places(plan: Floats) -> Places:
    """Rank the candidates of each row of an (n, n) plan or similarity matrix; the own one is on the diagonal.

    Ties count half each, so that a plan that says nothing scores at chance.
    """
    if plan.ndim != 2 or plan.shape[0] != plan.shape[1]:
        raise InputError(f"a plan of shape {plan.shape} is not square: row i and column i are one text")
    return _means(_Places(*_count(plan, np.arange(len(plan)))))


def _means(found: _Places) -> Places:
    rank = found.rank()
    top1, top5, top16 = (float(found.top(k).mean()) for k in _TOP)
    return Places(top1, top5, top16, float(rank.mean()), float(np.median(rank)))


@dataclass(frozen=True)
class WordScores:
    """Word translation: by cosine, by CSLS, and the mean cosine with the best of a word's translations."""

    nearest: Places
    csls: Places
    cosine: float


def translate_words(
    translated: Floats,
    targets: Floats,
    answers: Sequence[Sequence[int]],
    vocabulary: Floats,
    *,
    batch_rows: int = 512,
) -> WordScores:
    """Accuracy of word translation (Conneau et al. 2017): the first of a word's translations counts, ties half.

    Parameters
    ----------
    translated : (q, d) translated vectors of the dictionary's words
    targets : (n, d) native vectors of all target words, the candidates
    answers : for each query, the rows of its translations
    vocabulary : (m, d) translated vectors of all source words, for the neighbourhoods of CSLS
    """
    q, c = _unit(translated), _unit(targets)
    crowding = _neighbourhood(c, _unit(vocabulary), batch_rows)
    counts, cosines = np.empty((2, 2, len(q)), np.int64), np.empty(len(q))
    for start in range(0, len(q), batch_rows):
        sims = q[start : start + batch_rows] @ c.T
        for i, row in enumerate(sims, start):
            known = np.unique(answers[i])
            cosines[i] = row[known].max()
            counts[:, :, i] = _count_best(row, known), _count_best(2 * row - crowding, known)
    nearest, csls = (_means(_Places(greater, equal)) for greater, equal in counts)
    return WordScores(nearest, csls, float(cosines.mean()))


def _count_best(sims: Floats, known: NDArray[np.int64]) -> tuple[int, int]:
    """How many candidates are more similar than the best of those known, and how many others exactly as similar."""
    best = sims[known].max()
    ties = np.count_nonzero(sims == best) - np.count_nonzero(sims[known] == best)
    return int(np.count_nonzero(sims > best)), int(ties)


@dataclass(frozen=True)
class SearchScores:
    """Means over the queries: recall among the first and the first ten, and nDCG of the first ten."""

    recall1: float
    recall10: float
    ndcg10: float


def search(
    queries: Floats, documents: Floats, relevant: Sequence[Mapping[int, float]], *, batch_rows: int = 1024
) -> SearchScores:
    """Search for each query among the documents by cosine, and score what is found.

    Recall is the share of a query's relevant documents among the first k. nDCG is that of trec_eval: gains as they are,
    discounted by log2(rank + 1), over the best possible order (Järvelin & Kekäläinen 2002).

    Parameters
    ----------
    queries : (q, d)
    documents : (n, d)
    relevant : for each query, the rows of its relevant documents, and how relevant they are (above 0)

    Raises
    ------
    DimensionError : queries and documents of different widths
    InputError : no query, no document, or not one `relevant` for each query, none of them empty
    """
    if queries.shape[1] != documents.shape[1]:
        raise DimensionError(f"the queries are {queries.shape[1]} wide and the documents {documents.shape[1]}")
    if not len(queries) or not len(documents) or len(relevant) != len(queries) or not all(relevant):
        raise InputError("each query needs a relevant document, and there must be queries and documents")
    ranked = rank_documents(queries, documents, batch_rows=batch_rows)
    each = np.array([_score_list(row, gains) for row, gains in zip(ranked, relevant, strict=True)])
    recall1, recall10, ndcg10 = each.mean(axis=0)
    return SearchScores(float(recall1), float(recall10), float(ndcg10))


def rank_documents(queries: Floats, documents: Floats, *, batch_rows: int = 1024) -> NDArray[np.int64]:
    """(q, k) rows of the nearest documents, the nearest first; k is 10, or all if they are fewer."""
    q, c = _unit(queries), _unit(documents)
    k = min(DEPTH, len(c))
    parts = []
    for start in range(0, len(q), batch_rows):
        sims = q[start : start + batch_rows] @ c.T
        first = np.argpartition(-sims, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(sims, first, axis=1), axis=1, kind="stable")
        parts.append(np.take_along_axis(first, order, axis=1))
    return np.concatenate(parts)


def _score_list(ranked: NDArray[np.int64], gains: Mapping[int, float]) -> tuple[float, float, float]:
    found = [gains.get(int(row), 0.0) for row in ranked]
    best = sorted(gains.values(), reverse=True)[:DEPTH]
    hits = np.array(found) > 0
    return float(hits[0]) / len(gains), hits.sum() / len(gains), _discounted(found) / _discounted(best)


def _discounted(gains: Sequence[float]) -> float:
    return float(np.sum(np.array(gains) / np.log2(np.arange(2, len(gains) + 2))))
