from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from vec2vec.audit.intervals import mean_estimate, share_estimate
from vec2vec.audit.measures import (
    among,
    chance,
    confusion,
    label_measures,
    lift,
    majority,
    measure,
    truth_matrix,
)
from vec2vec.errors import InputError


def world(rows: int = 400, labels: int = 8, *, multi: bool = False, noise: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = np.zeros((rows, labels), bool)
    truth[np.arange(rows), rng.integers(0, labels, rows)] = True
    if multi:
        truth |= rng.random((rows, labels)) < 0.15
    scores = (truth + noise * rng.standard_normal(truth.shape)).astype(np.float32)
    return scores, truth


def test_perfect_scores_are_perfect():
    _, truth = world()
    found = measure(truth.astype(np.float32), truth)
    assert found.top1.value == found.top5.value == found.recall.value == 1
    assert found.macro_f1.value == found.mean_average_precision.value == 1
    assert found.precision.value == pytest.approx(1 / 5)


@pytest.mark.parametrize("multi", [False, True])
def test_f1_and_average_precision_are_scikit_learns(multi):
    scores, truth = world(multi=multi)
    found = measure(scores, truth)
    k = max(1, round(truth.sum(1).mean()))
    given = np.zeros_like(truth)
    np.put_along_axis(given, np.argsort(-scores, axis=1)[:, :k], True, axis=1)
    assert found.macro_f1.value == pytest.approx(f1_score(truth, given, average="macro"))
    each = [average_precision_score(truth[:, i], scores[:, i]) for i in range(truth.shape[1])]
    assert found.mean_average_precision.value == pytest.approx(np.mean(each))
    by_label = {one.label: one for one in label_measures(scores, truth, list("abcdefgh"))}
    assert by_label["c"].average_precision.value == pytest.approx(each[2])
    assert by_label["c"].rows == truth[:, 2].sum()


def test_precision_and_recall_at_k_by_hand():
    scores = np.array([[4, 3, 2, 1, 0, -1], [0, 1, 2, 3, 4, 5]], np.float32)
    truth = np.array([[1, 0, 1, 0, 0, 1], [1, 0, 0, 0, 0, 0]], bool)
    found = measure(scores, truth, k=3, whole=False)
    assert found.top1.value == 0.5
    assert found.top5.value == 0.5
    assert found.precision.value == pytest.approx((2 / 3 + 0) / 2)
    assert found.recall.value == pytest.approx((2 / 3 + 0) / 2)


def test_the_interval_covers_what_another_sample_shows():
    values = [measure(*world(seed=seed), resamples=200).top1 for seed in range(40)]
    expected = np.mean([one.value for one in values])
    assert sum(one.low <= expected <= one.high for one in values) >= 33
    assert all(one.low < one.value < one.high for one in values)


@pytest.mark.parametrize("multi", [False, True])
def test_chance_is_what_random_scores_get(multi):
    rng = np.random.default_rng(3)
    _, truth = world(4000, multi=multi)
    found, due = measure(rng.random(truth.shape).astype(np.float32), truth), chance(truth)
    for name in ("top1", "top5", "precision", "recall", "macro_f1", "mean_average_precision"):
        assert getattr(found, name).value == pytest.approx(getattr(due, name).value, abs=0.03), name


def test_chance_in_average_precision_is_its_mean_over_all_orders():
    truth = truth_matrix([("a",)] * 11 + [("b",)] * 3, ["a", "b"])
    due = chance(truth).mean_average_precision.value
    each = [
        average_precision_score([i not in drawn for i in range(14)], np.arange(14)[::-1])
        for drawn in combinations(range(14), 3)
    ]
    assert due == pytest.approx(np.mean(each))


@pytest.mark.parametrize("seed", [0, 1])
def test_ties_in_average_precision_are_broken_fairly(seed):
    truth = truth_matrix([("a",)] * 300 + [("b",)] * 400 + [("c",)] * 300, ["a", "b", "c"])
    found = label_measures(np.zeros(truth.shape, np.float32), truth, ["a", "b", "c"], seed=seed)
    for one in found:
        assert one.average_precision.value == pytest.approx(one.rows / 1000, abs=0.05), one.label


def test_majority_is_the_most_frequent_label():
    truth = truth_matrix([("a",)] * 60 + [("b",)] * 40, ["a", "b"])
    assert majority(truth).top1.value == 0.6


def test_constant_scores_are_no_better_than_chance():
    truth = np.zeros((1000, 10), bool)
    truth[:, 0] = True  # the first label: where an argmax over ties would look
    hits = [measure(np.zeros((1000, 10), np.float32), truth, seed=seed, whole=False).top1.value for seed in range(30)]
    assert np.mean(hits) < 0.4


def test_constant_scores_are_no_better_than_chance_among_few():
    truth = np.eye(30, dtype=bool)[np.arange(2000) % 30]
    ranked, own = among(np.zeros((2000, 30), np.float32), truth, 5, seed=0)
    assert measure(ranked, own, whole=False).top1.value == pytest.approx(0.2, abs=0.05)


def test_among_draws_its_own_label_and_false_ones():
    scores, truth = world(200, 30, multi=True)
    drawn, own = among(scores, truth, 12, seed=1)
    assert drawn.shape == own.shape == (200, 12)
    assert (own.sum(1) == 1).all()
    assert own.any(0).all()
    flat = measure(np.random.default_rng(0).random((200, 12)).astype(np.float32), own, whole=False)
    assert flat.top1.value == pytest.approx(1 / 12, abs=0.07)
    with pytest.raises(InputError, match="31, and there are 30 labels"):
        among(scores, truth, 31, seed=1)


def test_confusion_rows_sum_to_one_and_the_diagonal_holds_the_hits():
    scores, truth = world()
    names, table = confusion(scores, truth, list("abcdefgh"))
    assert names == list("abcdefgh")
    np.testing.assert_allclose(table.sum(1), 1)
    hit = truth[np.arange(len(truth)), scores.argmax(1)]
    np.testing.assert_allclose(np.diag(table), [hit[truth[:, i]].mean() for i in range(8)])


def test_lift():
    assert lift(0.5, 0.1, 0.9) == pytest.approx(0.5)
    assert np.isnan(lift(0.25, 0.2, 0.5))  # the ceiling is below three times chance
    assert lift(0.75, 0.5, 1.0) == pytest.approx(0.5)  # of two labels, none is three times chance
    assert np.isnan(lift(0.6, 0.5, 0.7))


def test_what_cannot_be_measured_is_refused():
    scores, truth = world()
    with pytest.raises(InputError, match="every row needs a true label"):
        measure(scores, np.zeros_like(truth))
    with pytest.raises(InputError, match="at least 2"):
        measure(scores[:, :1], truth[:, :1])


def test_labels_that_are_not_known_count_for_nothing():
    assert truth_matrix([("a", "x"), ("x",)], ["a", "b"]).tolist() == [[True, False], [False, False]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 9), st.integers(5, 60))
def test_every_share_lies_within_its_interval_and_between_0_and_1(seed, labels, rows):
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, labels)) < 0.3
    truth[~truth.any(1), 0] = True
    found = measure(rng.standard_normal((rows, labels)).astype(np.float32), truth, resamples=100)
    shares = [found.top1, found.top5, found.precision, found.recall, found.macro_f1, found.mean_average_precision]
    for share in (one for one in shares if one is not None):
        assert 0 <= share.low <= share.value <= share.high <= 1
    assert found.top1.value <= found.top5.value


def test_wilson_has_a_width_at_nothing():
    found = share_estimate(0, 50)
    assert found.value == found.low == 0
    assert 0.03 < found.high < 0.1


def test_the_bootstrap_of_a_mean_is_about_normal():
    found = mean_estimate(np.random.default_rng(0).standard_normal(2000), resamples=1000, seed=0)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.15)
