"""Shared neighbours, known-item search, plans and words: against definitions, scikit-learn, and chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from vec2vec.errors import DimensionError, InputError
from vec2vec.evaluate import score
from vec2vec.evaluate.retrieval import neighbour_overlap, plan_places, rank_documents, search, translate_words


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)


def test_the_vectors_themselves_share_all_neighbours_and_unrelated_ones_as_many_as_chance(vectors: np.ndarray) -> None:
    assert neighbour_overlap(2 * vectors, vectors) == 1.0
    others = np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32)
    assert neighbour_overlap(others, vectors) == pytest.approx(10 / 299, abs=0.015)


def test_neighbours_in_blocks_are_those_in_one(vectors: np.ndarray) -> None:
    noisy = vectors + np.random.default_rng(2).standard_normal(vectors.shape).astype(np.float32)
    whole = neighbour_overlap(noisy, vectors, batch_rows=1000)
    assert neighbour_overlap(noisy, vectors, batch_rows=7) == whole
    assert 0.1 < whole < 0.9


def test_the_own_vector_is_no_neighbour() -> None:
    native = np.eye(12, dtype=np.float32)
    assert neighbour_overlap(native, native, k=11) == 1.0
    with pytest.raises(InputError, match="no 12 neighbours"):
        neighbour_overlap(native, native, k=12)
    with pytest.raises(InputError, match="aligned"):
        neighbour_overlap(native[:5], native)


def test_ndcg_is_that_of_scikit_learn(vectors: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    queries, documents = vectors[:40], vectors[40:]
    gains = np.zeros((40, len(documents)))
    for row in gains:
        row[rng.choice(len(documents), 5, replace=False)] = rng.integers(1, 4, 5)
    near = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        documents / np.linalg.norm(documents, axis=1, keepdims=True)
    ).T
    relevant = [{int(i): float(row[i]) for i in np.flatnonzero(row)} for row in gains]
    found = search(queries, documents, relevant)
    assert found.ndcg10 == pytest.approx(ndcg_score(gains, near, k=10), abs=1e-6)
    first = np.argsort(-near, axis=1)
    np.testing.assert_array_equal(rank_documents(queries, documents, batch_rows=9), first[:, :10])
    hits = np.take_along_axis(gains > 0, first, axis=1)
    assert found.recall1 == pytest.approx(hits[:, 0].mean() / 5)
    assert found.recall10 == pytest.approx((hits[:, :10].sum(1) / 5).mean())


def test_known_items_found_first_score_one_and_fewer_documents_than_ten_will_do(vectors: np.ndarray) -> None:
    own = [{i: 1.0} for i in range(4)]
    found = search(vectors[:4], vectors[:4], own)
    assert (found.recall1, found.recall10, found.ndcg10) == (1, 1, 1)
    turned = search(vectors[:4], vectors[[1, 0, 2, 3]], own)
    assert turned.recall1 == 0.5
    assert turned.recall10 == 1.0
    assert turned.ndcg10 < 1


def test_searches_that_cannot_be_scored(vectors: np.ndarray) -> None:
    with pytest.raises(DimensionError, match="12 wide and the documents 5"):
        search(vectors, vectors[:, :5], [{0: 1.0}] * len(vectors))
    with pytest.raises(InputError, match="relevant"):
        search(vectors[:2], vectors, [{0: 1.0}, {}])


def test_a_plan_of_similarities_ranks_as_score_does(vectors: np.ndarray) -> None:
    noisy = vectors + np.random.default_rng(5).standard_normal(vectors.shape).astype(np.float32)
    q, c = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in (noisy, vectors))
    found = plan_places(q @ c.T)
    expected = score(noisy, vectors, pools=(None,), bootstrap=100).pool().cosine
    assert found.top1 == pytest.approx(expected.top1.value)
    assert found.mean_rank == pytest.approx(expected.mean_rank.value)


def test_a_plan_that_says_nothing_scores_at_chance() -> None:
    found = plan_places(np.full((50, 50), 1 / 2500))
    assert found.top1 == pytest.approx(1 / 50)
    assert found.mean_rank == pytest.approx(25.5)
    with pytest.raises(InputError, match="not square"):
        plan_places(np.ones((2, 3)))


def test_any_translation_of_a_word_counts_and_csls_finds_what_a_hub_hides() -> None:
    targets = np.array([[1, 0.2, 0], [0, 1, 0.2], [1, 1, 0.1]], np.float32)  # the last is near to everything
    vocabulary = np.array([[0.9, 0.5, 0], [0.5, 0.9, 0]], np.float32)
    found = translate_words(vocabulary, targets, [[0], [1]], vocabulary)
    assert found.nearest.top1 == 0.0
    assert found.csls.top1 == 1.0
    assert translate_words(vocabulary, targets, [[0, 2], [1]], vocabulary).nearest.top1 == 0.5


def test_words_that_tie_share_their_places_and_a_translation_listed_twice_is_one(vectors: np.ndarray) -> None:
    own = [[i] for i in range(len(vectors))]
    words = np.eye(12, dtype=np.float32)
    found = translate_words(words, np.concatenate([words, words]), own[:12], words)
    for one in (found.nearest, found.csls):
        assert (one.top1, one.top5, one.mean_rank, one.median_rank) == (0.5, 1.0, 1.5, 1.5)
    noisy = vectors + np.random.default_rng(5).standard_normal(vectors.shape).astype(np.float32)
    once = translate_words(noisy, vectors, own, vectors)
    assert translate_words(noisy, vectors, [[i, i] for i in range(len(vectors))], vectors) == once
    expected = score(noisy, vectors, pools=(None,), bootstrap=100).pool().cosine
    assert (once.nearest.top1, once.nearest.mean_rank) == (expected.top1.value, expected.mean_rank.value)
