from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import vec2vec
from vec2vec.align import fast_products
from vec2vec.align.few_pairs import FewPairsConfig, clearly_less, held_out_ranks
from vec2vec.align.halves import refine_half
from vec2vec.align.rounds import Side
from vec2vec.align.whitening import Axes, polar, unit
from vec2vec.errors import ConfigError, Vec2VecWarning

HIDDEN, PAIRS = 12, 100
SMALL = {"early_rounds": 20, "early_rows": 500, "half_rounds": 8, "half_rows": 500, "rounds": 8, "round_rows": 1000}


@pytest.fixture(scope="module")
def views():
    """Two isometries, as functions of hidden rows."""
    rng = np.random.default_rng(7)
    turns = [np.linalg.qr(rng.standard_normal((width, HIDDEN)))[0].T for width in (24, 40)]
    return [lambda x, turn=turn: (x @ turn).astype(np.float32) for turn in turns]


def clusters(rng, rows, centres):
    return centres[rng.integers(len(centres), size=rows)] + 0.5 * rng.standard_normal((rows, HIDDEN))


def top1(translated, true):
    translated, true = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (translated, true))
    return float(((translated @ true.T).argmax(1) == np.arange(len(true))).mean())


def fit_on(views, rng, ours, theirs, count=PAIRS):
    """A fit of rows of some clusters to rows of others, with pairs of the former; its top-1, and itself."""
    see, see_too = views
    pairs, held_out = clusters(rng, count, ours), clusters(rng, 300, ours)
    left, right = see(clusters(rng, 3000, ours)), see_too(clusters(rng, 3000, theirs))
    seen = []
    fit = vec2vec.fit(left, right, pairs=(see(pairs), see_too(pairs)), seed=0, threads=1, progress=seen.append, **SMALL)
    assert seen[-1].remaining < 0.5
    return top1(fit.translator.translate(see(held_out)), see_too(held_out)), fit


def test_rows_of_other_kinds_are_left_aside_where_held_out_pairs_say_so(views):
    rng = np.random.default_rng(0)
    ours, theirs = (2 * (one - one.mean(0)) for one in rng.standard_normal((2, 12, HIDDEN)))
    with pytest.warns(Vec2VecWarning, match=r"pairs held out have a geometric mean rank of \d+ .* are left aside"):
        found, fit = fit_on(views, rng, ours, theirs)
    assert found > 0.9
    assert fit.record["method"] == "few-pairs"
    assert fit.history
    evidence = fit.verdict.evidence
    assert evidence["rank_by_pairs_alone"] < evidence["rank_with_rows"] / 2


def test_pairs_weigh_as_their_number_does(views, monkeypatch):
    rng = np.random.default_rng(0)
    ours = 2 * rng.standard_normal((12, HIDDEN))
    told = []

    def spied(*args):
        told.append(args[-1].weight)
        return refine_half(*args)

    monkeypatch.setattr("vec2vec.align.few_pairs.refine_half", spied)
    fit_on(views, rng, ours, ours)
    worth = FewPairsConfig().worth
    assert {round(one, 6) for one in told} <= {round(n / (n + worth), 6) for n in (PAIRS, PAIRS // 2)}
    assert told


def test_fewer_pairs_do_not_outvote_the_rows(views):
    """With half of a few a fit may fail for want of a start, which all of them give it."""
    rng = np.random.default_rng(0)
    ours, theirs = (2 * (one - one.mean(0)) for one in rng.standard_normal((2, 12, HIDDEN)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Vec2VecWarning)
        _, fit = fit_on(views, rng, ours, theirs, PAIRS - 1)
    assert fit.verdict.evidence["rank_by_pairs_alone"] < fit.verdict.evidence["rank_with_rows"]


def test_rows_of_the_same_kinds_serve(views):
    rng = np.random.default_rng(1)
    ours = 2 * rng.standard_normal((12, HIDDEN))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Vec2VecWarning)
        found, fit = fit_on(views, rng, ours, ours)
    assert found > 0.9
    assert fit.verdict.evidence["rank_with_rows"] <= fit.verdict.evidence["rank_by_pairs_alone"]
    assert fit.verdict.label == "aligned"


def test_each_map_is_tested_on_the_pairs_it_was_not_told():
    """Either witness knows its own pairs only: turned right for these, upside down for the others."""
    rows = unit(torch.randn(400, 8, generator=torch.Generator().manual_seed(0)))
    side = Side(rows, Axes(torch.eye(8), torch.ones(8)))
    pairs = rows[:20], rows[:20]
    told = torch.arange(0, 20, 2), torch.arange(1, 20, 2)
    right, wrong = torch.eye(8), -torch.eye(8)
    rng = np.random.default_rng(0)
    by_first_alone, _ = held_out_ranks([right, wrong], pairs, told, side, side, 0.0, rng)
    assert torch.equal(by_first_alone[:10], torch.zeros(10))  # of the odd ones, which the first was not told
    assert by_first_alone[10:].min() > np.log(300)
    _, alone = held_out_ranks([right, wrong], pairs, told, side, side, 0.0, rng)
    assert alone.exp().mean() < 2


def test_a_pair_of_the_store_is_not_beaten_by_itself():
    rng = np.random.default_rng(0)
    rows = unit(torch.from_numpy(rng.standard_normal((600, 256)).astype(np.float32)))
    turn = polar(torch.from_numpy(rng.standard_normal((256, 256)).astype(np.float32)))
    x, y = (Side(one, Axes(torch.eye(256), torch.ones(256))) for one in (rows, rows @ turn))
    told = torch.arange(0, 200, 2), torch.arange(1, 200, 2)
    with fast_products():
        found, _ = held_out_ranks([turn, turn], (x.rows[:200], y.rows[:200]), told, x, y, 0.0, rng)
    assert torch.equal(found, torch.zeros(200))


def test_what_is_less_by_chance_is_not_clearly_less():
    low, high = torch.zeros(10), torch.tensor([1.0, -1.0, 2.0, -1.5, 1.0, -1.0, 1.5, -1.0, 0.5, 0.0])
    assert not clearly_less(low, high)
    assert not clearly_less(high, low)
    assert clearly_less(low, 2 + high)
    assert not clearly_less(2 + high, low)
    assert not clearly_less(low, low)


def test_settings_of_the_search_from_nothing_are_refused(views):
    see, see_too = views
    rows = np.random.default_rng(0).standard_normal((100, HIDDEN))
    with pytest.raises(ConfigError, match="the method few-pairs has no setting 'guesses'"):
        vec2vec.fit(see(rows), see_too(rows), pairs=(see(rows[:30]), see_too(rows[:30])), guesses=20)
