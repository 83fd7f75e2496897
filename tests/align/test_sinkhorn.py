from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

import vec2vec
from vec2vec.align import judge
from vec2vec.align.anchors import first_guess, match_graphs
from vec2vec.align.base import Progress
from vec2vec.align.cumulants import Found
from vec2vec.align.halves import early_maps, mean_map, most_alike, refine_half, transport_scores
from vec2vec.align.judge import agreement, consistency
from vec2vec.align.population import Candidate, given
from vec2vec.align.rounds import Reporter, Schedule, Side, extend, refine, transport
from vec2vec.align.schedules import CONTEST_CALLS, RefinementConfig, SinkhornConfig, final_schedule
from vec2vec.align.search import RIVALS, Search
from vec2vec.align.sinkhorn import bag, consensus, final_lead, linear_spaces, prepare, scaled, with_weaker_axes
from vec2vec.align.whitening import Axes, polar, unit
from vec2vec.align.witnesses import independent_witnesses, least_lead
from vec2vec.errors import ConfigError, InputError
from vec2vec.preprocess import Preprocessor
from vec2vec.verdict import Verdict

SMALL = {
    "guesses": 10,
    "contest_whitenings": (),
    "cumulant_starts": 50,
    "cumulant_generations": 3,
    "clusters": (12,),
    "trial_rounds": 20,
    "early_rounds": 20,
    "early_rows": 500,
    "early_draws": 2,
    "kin": 4,
    "kin_rounds": 10,
    "kin_generations": 2,
    "half_rounds": 8,
    "half_rows": 700,
    "rounds": 6,
    "round_rows": 1500,
    "attempts": 1,
}
HASTY = SMALL | {  # for what decides, not for what is found
    "guesses": 2,
    "cumulant_starts": 10,
    "trial_rounds": 2,
    "early_rounds": 2,
    "kin": 2,
    "kin_rounds": 2,
    "half_rounds": 1,
    "rounds": 1,
}


def top1(queries: np.ndarray, truth: np.ndarray) -> float:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, truth))
    return float(((a @ b.T).argmax(1) == np.arange(len(a))).mean())


@pytest.fixture(scope="module")
def seen() -> list[Progress]:
    """What the fit of `found` reported."""
    return []


@pytest.fixture(scope="module")
def found(world, seen) -> vec2vec.Fit:
    return vec2vec.fit(world.source, world.target, seed=0, progress=seen.append, **SMALL)


def test_held_out_vectors_find_their_own_in_both_directions(world, found):
    assert top1(found.translator.translate(world.source_eval), world.target_eval) > 0.9
    assert top1(found.translator.translate(world.target_eval, reverse=True), world.source_eval) > 0.9


def test_it_beats_what_needs_no_alignment(world, found):
    padded = np.zeros_like(world.target_eval)
    padded[:, : world.source_eval.shape[1]] = world.source_eval
    mean = np.tile(world.target.mean(0), (len(world.target_eval), 1))
    reached = top1(found.translator.translate(world.source_eval), world.target_eval)
    assert reached > 10 * max(top1(padded, world.target_eval), top1(mean, world.target_eval))


def test_a_shuffled_truth_scores_at_chance(world, found):
    order = np.random.default_rng(1).permutation(len(world.target_eval))
    assert top1(found.translator.translate(world.source_eval), world.target_eval[order]) < 0.02


def test_the_latents_of_the_same_text_are_alike(world, found):
    a = found.translator.latent(world.source_eval, space="source")
    b = found.translator.latent(world.target_eval, space="target")
    assert a.shape[1] <= 24
    assert top1(a, b) > 0.9


def test_translations_have_the_mean_and_the_spread_of_the_target(world, found):
    out = found.translator.translate(world.source)
    assert np.allclose(out.mean(0), world.target.mean(0), atol=0.15)
    spread = [np.linalg.norm(x - x.mean(0), axis=1).mean() for x in (out, world.target)]
    assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_the_same_seed_gives_the_same_map(world, found):
    again = vec2vec.fit(world.source, world.target, seed=0, **SMALL)
    assert np.array_equal(again.translator.translate(world.source_eval), found.translator.translate(world.source_eval))


def test_the_order_of_the_rows_does_not_pair_them(world):
    """Row-aligned input is no help: a fitter that read pairs off row numbers would be perfect here."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((1500, 16)).astype(np.float32)
    turned = noise @ ortho_group.rvs(16, random_state=0).astype(np.float32)
    fit = vec2vec.fit(noise, turned, seed=0, **SMALL)
    assert top1(fit.translator.translate(noise), turned) < 0.1


def test_noise_with_the_targets_moments_is_not_called_aligned(world):
    rng = np.random.default_rng(2)
    noise = rng.multivariate_normal(world.target.mean(0), np.cov(world.target.T), size=1500).astype(np.float32)
    verdict = vec2vec.fit(world.source[:1500], noise, seed=0, **SMALL).verdict
    assert verdict.label == "not aligned"
    assert verdict.expected_top1 < 0.05


def test_the_verdict_on_what_worked(found):
    assert found.verdict.label == "aligned"
    assert found.verdict.interval[0] <= found.verdict.expected_top1 <= found.verdict.interval[1]


def test_progress_ends_with_nothing_left(found, seen):
    assert len(seen) == len(found.history)
    assert seen[-1].step == seen[-1].total
    assert seen[-1].remaining == pytest.approx(0.0, abs=1e-6)
    assert all(one.score is not None for one in seen)


def test_progress_plans_with_the_rows_of_a_half(world):
    """Rounds on a half cannot draw as many rows as the settings allow: its work is less than that of as many rounds."""
    seen = []
    vec2vec.fit(world.source[:2000], world.target, seed=0, progress=seen.append, **HASTY | {"half_rows": 1900})
    assert seen[-1].remaining == pytest.approx(0.0, abs=1e-3)


def test_a_few_pairs_are_enough_where_the_rows_alone_say_nothing():
    """A Gaussian has no clusters to match: only the pairs can tell where its axes go."""
    rng = np.random.default_rng(4)
    draw = [rng.standard_normal((rows, 12)) * np.linspace(1, 2, 12) for rows in (2000, 2000, 300, 40)]
    turn = np.linalg.qr(rng.standard_normal((20, 12)))[0].T
    source, target = draw[0].astype(np.float32), (draw[1] @ turn).astype(np.float32)
    pairs = draw[3].astype(np.float32), (draw[3] @ turn).astype(np.float32)
    small = {name: value for name, value in SMALL.items() if name in RefinementConfig.model_fields}
    fit = vec2vec.fit(source, target, pairs=pairs, seed=0, **small)
    assert top1(fit.translator.translate(draw[2].astype(np.float32)), (draw[2] @ turn).astype(np.float32)) > 0.9
    assert fit.record["pairs"] == 40


def test_bagging_finds_again_what_it_was_not_told(world):
    config = SinkhornConfig(**{**SMALL, "kept_axes": 2})
    native, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    left, right = (
        unit(torch.from_numpy(one.apply(rows)) @ side.axes.directions)
        for one, rows, side in zip(native, (world.source_eval, world.target_eval), (x, y), strict=True)
    )
    known = polar(left.T @ right)
    partly = torch.zeros_like(known)
    partly[:2] = known[:2]
    rng, report = np.random.default_rng(0), Reporter(None, 1.0)
    bagged = bag([polar(partly)], x, y, config, rng, report)
    assert agreement(polar(partly), known, left) < 0.8
    assert agreement(bagged, known, left) > 0.9
    assert {step["stage"] for step in report.history} >= {"bag 1", "bag 2"}
    assert "bag 3" not in {step["stage"] for step in report.history}
    none = config.model_copy(update={"bags": 0})
    torch.testing.assert_close(bag([known], x, y, none, rng, report), known)


def test_of_several_maps_the_most_alike_are_those_around_one_of_them():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(unit_rows(rng.standard_normal((300, 12)))).float()
    right, wrong = (polar(torch.from_numpy(rng.standard_normal((12, 12))).float()) for _ in range(2))
    near = [polar(right + 0.1 * torch.from_numpy(rng.standard_normal((12, 12))).float()) for _ in range(3)]
    stuck = [polar(wrong + 0.1 * torch.from_numpy(rng.standard_normal((12, 12))).float()) for _ in range(2)]
    found = most_alike([stuck[0], *near, stuck[1]], 3, x)
    assert {id(one) for one in found} == {id(one) for one in near}
    assert agreement(mean_map(found), right, x) > max(agreement(one, right, x) for one in near)
    assert len(most_alike(near, 9, x)) == 3


def test_a_start_is_refined_as_often_as_asked_and_what_it_knows_is_kept(world):
    config = SinkhornConfig(**{**SMALL, "early_draws": 3})
    native, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    left, right = (
        unit(torch.from_numpy(one.apply(rows)) @ side.axes.directions)
        for one, rows, side in zip(native, (world.source_eval, world.target_eval), (x, y), strict=True)
    )
    known = polar(left.T @ right)
    report = Reporter(None, 1.0)
    refined = refine_half(x, y, known[:4, :4], config, np.random.default_rng(0), report, "half")
    stages = [step["stage"] for step in report.history]
    assert stages.count("small samples, half") == 3 * SMALL["early_rounds"]
    assert stages.count("half") == SMALL["half_rounds"]
    assert refined.shape == (x.width, y.width)
    assert agreement(refined, known, left) > 0.9


def test_a_map_that_is_far_comes_nearer_by_longer_steps(world):
    config = SinkhornConfig(**{**SMALL, "rounds": 4, "round_rows": 1000})
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    truth = known_map(world, x, y)
    start = polar(truth + 0.3 * torch.from_numpy(np.random.default_rng(1).normal(size=truth.shape)).float())
    near = {}
    for far in (False, True):
        schedule, rng = final_schedule(config, x, y, far=far), np.random.default_rng(0)
        near[far] = agreement(refine(x, y, start, schedule, rng, Reporter(None, 1.0), "all rows"), truth, x.rows)
    assert near[True] > near[False] > agreement(start, truth, x.rows)


def test_a_round_leaves_rows_out_and_the_last_steps_make_up_for_it():
    schedule = Schedule(30, 6000, (0.25, 0.2), (0.2, 0.2), (0.6, 0.15), 8)
    sides = {
        rows: Side(torch.ones(rows, 2), Axes(torch.eye(2), torch.ones(2))) for rows in (200, 300, 3000, 12_000, 18_000)
    }
    few = schedule.within(sides[3000], sides[12_000])
    assert (few.rows, few.rounds) == (1000, 90)
    assert few.step == (0.6, pytest.approx(0.05))
    assert few == schedule.within(sides[12_000], sides[3000])
    assert schedule.within(sides[300], sides[300]).rows == 256
    for enough in (sides[18_000], sides[200]):
        assert schedule.within(enough, enough) == schedule


def test_a_map_of_the_strongest_axes_goes_on_in_twice_as_many(world):
    config = SinkhornConfig(**{**SMALL, "rounds": 20})
    _, wide = prepare(world.source, world.target, config, torch.device("cpu"))
    truth, rng, report = known_map(world, *wide), np.random.default_rng(0), Reporter(None, 1.0)
    known = polar(truth[:5, :5])
    sides, rotation = with_weaker_axes(known, *wide, config, rng, report)
    assert rotation.shape == (10, 10)
    assert [side.width for side in sides] == [10, 10]
    assert agreement(rotation, truth[:10, :10], sides[0].rows) > 0.92
    assert agreement(extend(known, (10, 10), rng), truth[:10, :10], sides[0].rows) < 0.9
    assert {step["stage"] for step in report.history} == {"weaker axes"}


def test_a_fit_in_the_strongest_axes_ends_in_twice_as_many(world, monkeypatch):
    monkeypatch.setattr("vec2vec.align.sinkhorn.distinct_axes", lambda *_: 5)
    seen = []
    fit = vec2vec.fit(world.source, world.target, seed=0, progress=seen.append, **HASTY | {"sharpening": 0})
    assert fit.translator.latent(world.source_eval, space="source").shape[1] == 10
    assert seen[-3].stage.startswith("all rows")
    assert [one.stage for one in seen[-2:]] == ["weaker axes", "weaker axes"]
    assert seen[-3].remaining > 0.0
    assert seen[-1].remaining == pytest.approx(0.0, abs=1e-3)


def test_a_map_of_all_axes_stays_as_it_is(world):
    config = SinkhornConfig(**SMALL)
    _, wide = prepare(world.source, world.target, config, torch.device("cpu"))
    truth, report = known_map(world, *wide), Reporter(None, 1.0)
    sides, rotation = with_weaker_axes(truth, *wide, config, np.random.default_rng(0), report)
    assert rotation is truth
    assert [side.width for side in sides] == [side.width for side in wide]
    assert not report.history


@pytest.mark.parametrize(("agreeing", "longer"), [(0.5, [True] * 4), (0.9, [False])])
def test_the_last_steps_are_longer_where_the_witnesses_differ(world, monkeypatch, agreeing, longer):
    asked = []
    monkeypatch.setattr("vec2vec.align.sinkhorn.consistent", lambda *_: agreeing)
    monkeypatch.setattr(
        "vec2vec.align.sinkhorn.final_schedule",
        lambda config, x, y, far=False: asked.append(far) or final_schedule(config, x, y, far),
    )
    vec2vec.fit(world.source, world.target, seed=0, **{**SMALL, "bags": 0, "sharpening": 0})
    assert asked == longer  # of either witness, of their mean, and of what the best of these became


@pytest.mark.parametrize(("agreeing", "last"), [(0.95, "bag 2"), (0.5, "bag 6")])
def test_bags_are_repeated_while_their_maps_disagree(world, monkeypatch, agreeing, last):
    config = SinkhornConfig(**{**SMALL, "early_rounds": 2, "half_rounds": 2})
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    monkeypatch.setattr("vec2vec.align.sinkhorn.consistent", lambda *_: agreeing)
    report = Reporter(None, 1.0)
    bag([torch.eye(x.width, y.width)], x, y, config, np.random.default_rng(0), report)
    assert report.history[-1]["stage"] == last


def test_graphs_that_are_alike_but_for_their_order_are_matched():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(unit_rows(rng.standard_normal((20, 5))))
    order = torch.from_numpy(rng.permutation(20))
    match, energy = match_graphs(
        points @ points.T, points[order] @ points[order].T, 16, torch.Generator().manual_seed(0)
    )
    assert match.sum() == pytest.approx(1.0, abs=1e-4)
    assert (order[match.argmax(dim=1)] == torch.arange(20)).all()
    assert energy > 0.8


def test_among_a_few_first_guesses_one_points_the_right_way(world):
    x, y = (torch.from_numpy(unit_rows(side - side.mean(0))) for side in (world.source, world.target))
    rng = np.random.default_rng(0)
    seeds = rng.integers(2**31, size=(6, 3)).tolist()
    rotations = [polar(first_guess(x, y, clusters=12, starts=16, seeds=each)).numpy() for each in seeds]
    a, b = (unit_rows(e - s.mean(0)) for e, s in ((world.source_eval, world.source), (world.target_eval, world.target)))
    assert max(float((a @ rotation * b).sum(1).mean()) for rotation in rotations) > 0.9


def test_where_all_are_the_same_the_plan_is_uniform():
    y = torch.ones(6, 3)
    barycentres, score = transport(torch.ones(4, 3), y, 0.1, 5)
    torch.testing.assert_close(barycentres, torch.ones(4, 3))
    assert score == pytest.approx(1.0)


def test_transport_is_balanced_and_follows_the_temperature():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(unit_rows(rng.standard_normal((200, 8))))
    order = torch.from_numpy(rng.permutation(200))
    sharp, score = transport(x, x[order], 0.02, 20)
    assert score > 0.99  # every row goes to itself
    blurred, _ = transport(x, x[order], 100.0, 20)
    assert torch.allclose(blurred, x.mean(0).expand_as(blurred), atol=0.05)
    assert torch.allclose(sharp.mean(0), x.mean(0), atol=1e-3)  # uniform marginals


def gives_up(matrix, **kwargs):
    raise torch.linalg.LinAlgError("did not converge")


def gives_nan(matrix, **kwargs):
    return matrix * torch.nan, matrix.diagonal(), matrix * torch.nan


@pytest.mark.parametrize("lapack", [gives_up, gives_nan])
def test_the_nearest_isometry_is_found_where_lapack_fails(lapack, monkeypatch):
    cross = torch.from_numpy(ortho_group.rvs(20, random_state=0)).float()
    expected = polar(cross)
    monkeypatch.setattr(torch.linalg, "svd", lapack)
    torch.testing.assert_close(polar(cross), expected)


def test_axes_whiten_by_their_exponent():
    rng = np.random.default_rng(0)
    z = torch.from_numpy((rng.standard_normal((4000, 6)) * [4, 2, 1, 1, 0.5, 0]).astype(np.float32))
    axes = Axes.fit(z, 4)
    assert axes.directions.shape == (6, 4)
    along = z @ axes.directions
    assert torch.equal(axes.whiten(along, 0.0), along)
    white = along / axes.scale(0.5)
    assert white.var(dim=0).max() / white.var(dim=0).min() < 1.1
    assert torch.allclose(axes.whiten(along, 0.2).norm(dim=1), torch.ones(4000), atol=1e-5)


@pytest.fixture(scope="module")
def search(world) -> Search:
    """From nothing, on all rows of `world`: first guesses and a generation of their children."""
    config = SinkhornConfig(**{**SMALL, "clusters": (6, 12), "children": 4})
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    started = Search(x, y, config, np.random.default_rng(0), "test")
    started.go_on(Reporter(None, 1.0), generations=1)
    return started


def known_map(world, x: Side, y: Side) -> torch.Tensor:
    """The rotation by the held-out pairs, which no search has seen, along the axes of both sides."""
    sides = []
    for side, rows, held_out in ((x, world.source, world.source_eval), (y, world.target, world.target_eval)):
        native = Preprocessor.fit(rows)
        sides.append(unit(torch.from_numpy(native.apply(held_out)) @ side.axes.directions))
    return polar(sides[0].T @ sides[1])


def test_a_search_finds_the_map_and_ranks_it_first(world, search):
    best = search.low.found[0]
    assert agreement(best.rotation, known_map(world, search.low.x, search.low.y), search.low.x.rows) > 0.9
    assert [one.score for one in search.low.found] == sorted((one.score for one in search.low.found), reverse=True)


def test_a_search_keeps_no_candidate_twice(search):
    rotations = [one.rotation for one in search.low.found]
    assert 1 <= len(rotations) <= search.config.children
    alike = [agreement(a, b, search.low.probes[0], 500) for i, a in enumerate(rotations) for b in rotations[:i]]
    assert max(alike, default=0.0) < 0.97


def test_a_bred_witness_is_right_and_no_worse_than_its_kin(world, search):
    report = Reporter(None, 1.0)
    witness = search.bred_witness(report)
    assert agreement(witness, known_map(world, search.x, search.y), search.x.rows) > 0.9
    kin = [step for step in report.history if step["stage"].startswith("kin")]
    assert [step["step"] for step in kin] == [1, 2, 3]
    scores = [step["score"] for step in kin]
    assert scores == sorted(scores)  # the best are kept from one generation to the next


def test_a_witness_is_bred_where_the_source_has_more_axes_than_the_target():
    config = SinkhornConfig(**HASTY)
    rows = [np.random.default_rng(i).standard_normal((100, width)).astype(np.float32) for i, width in ((0, 8), (1, 3))]
    _, (x, y) = prepare(*rows, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    guess = torch.eye(8, 3)
    searching.low.found = [Candidate(guess, 0.5, guess)]
    assert searching.bred_witness(Reporter(None, 1.0)).shape == (8, 3)


def test_translations_have_a_length_of_one_where_the_axes_do_not_span_the_space(world):
    natives, sides = prepare(world.source, world.target, SinkhornConfig(axes=5), torch.device("cpu"))
    rotation = known_map(world, *sides)
    first, second = scaled(linear_spaces(natives, sides, rotation, 0.2), world.source, world.target)
    there = natives[0].apply(world.source_eval) @ first.basis @ second.decode
    back = natives[1].apply(world.target_eval) @ second.basis @ first.decode
    for z in (there, back):
        assert np.sqrt(np.square(z).sum(axis=1).mean()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    "setting", [{"clusters": ()}, {"clusters": (3,)}, {"temperature": (0.25, 0.0)}, {"temperature": (-0.1, 0.1)}]
)
def test_settings_that_cannot_be_fitted_with_are_refused(world, setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        vec2vec.fit(world.source, world.target, **setting)


def test_halves_that_differ_by_a_row_are_searched_in_as_many_axes():
    """Of 2,111 rows one half has 1,055, enough for 32 axes, the other 1,056, enough for 33."""
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((2, 2111, 80)).astype(np.float32)
    fit = vec2vec.fit(source, target, seed=0, **HASTY)
    assert fit.verdict.label == "not aligned"


@pytest.mark.parametrize(("agreeing", "bred"), [(0.01, False), (0.03, True), (0.49, True), (0.51, False)])
def test_witnesses_are_bred_where_they_are_in_doubt(world, monkeypatch, agreeing, bred):
    config = SinkhornConfig(**HASTY)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    monkeypatch.setattr("vec2vec.align.witnesses.consistent", lambda *_: agreeing)
    report = Reporter(None, 1.0)
    independent_witnesses(x, y, config, np.random.default_rng(0), report)
    stages = {step["stage"] for step in report.history}
    assert ({"kin, half 1", "kin, half 2"} <= stages) == bred


@pytest.mark.parametrize(("gap", "rows", "bred"), [(0.01, 2000, ["half 2"]), (0.001, 2000, []), (0.01, 9999, [])])
def test_of_witnesses_that_do_not_agree_a_clearly_better_one_is_bred(world, monkeypatch, gap, rows, bred):
    config = SinkhornConfig(**HASTY)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    monkeypatch.setattr(judge, "ENOUGH_ROWS", rows)
    monkeypatch.setattr("vec2vec.align.witnesses.consistent", lambda *_: 0.001)
    monkeypatch.setattr("vec2vec.align.witnesses.transport_scores", lambda *_: [0.5, 0.5 + gap])
    asked = []
    monkeypatch.setattr(Search, "bred_witness", lambda search, _: asked.append(search.name) or torch.eye(2))
    found = independent_witnesses(x, y, config, np.random.default_rng(0), Reporter(None, 1.0))
    assert asked == bred
    assert [len(one) == 2 for one in found.maps] == [False, bool(bred)]


def test_scores_of_several_draws_differ_less(world, monkeypatch):
    monkeypatch.setattr("vec2vec.align.halves.PROBE_ROWS", 200)
    _, sides = prepare(world.source, world.target, SinkhornConfig(**SMALL), torch.device("cpu"))
    few, rng = [side.strongest(8) for side in sides], np.random.default_rng(0)

    def spread(draws):
        return np.std([transport_scores([torch.eye(8)], *few, 0.2, rng, draws)[0] for _ in range(12)])

    assert spread(16) < spread(1)


@pytest.mark.parametrize(("agreeing", "held"), [(0.01, True), (0.69, True), (0.71, False)])
def test_witnesses_that_differ_hold_a_contest_and_only_its_losers_are_found_anew(world, monkeypatch, agreeing, held):
    config = SinkhornConfig(**HASTY)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    monkeypatch.setattr("vec2vec.align.witnesses.consistent", lambda *_: agreeing)
    monkeypatch.setattr("vec2vec.align.witnesses.least_lead", lambda *_: None)
    monkeypatch.setattr("vec2vec.align.witnesses.transport_scores", lambda *_: [0.5, 0.5])
    monkeypatch.setattr(Search, "contest", lambda search, *_: asked.append(search.name) or search.name == "half 2")
    monkeypatch.setattr(Search, "witness", lambda search, _: found.append(search.name) or torch.eye(2))
    asked, found = [], []
    independent_witnesses(x, y, config, np.random.default_rng(0), Reporter(None, 1.0))
    assert asked == (["half 1", "half 2"] if held else [])
    assert found == ["half 1", "half 2", *(["half 2"] if held else [])]


@pytest.mark.parametrize(("before", "after", "bred"), [(0.01, 0.3, True), (0.3, 0.9, False), (0.3, 0.01, False)])
def test_witnesses_found_anew_decide_whether_they_are_bred(world, monkeypatch, before, after, bred):
    config = SinkhornConfig(**HASTY)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    alike = iter([before, after])
    monkeypatch.setattr("vec2vec.align.witnesses.consistent", lambda *_: next(alike))
    monkeypatch.setattr("vec2vec.align.witnesses.least_lead", lambda *_: None)
    monkeypatch.setattr("vec2vec.align.witnesses.transport_scores", lambda *_: [0.5, 0.5])
    monkeypatch.setattr(Search, "contest", lambda *_: True)
    monkeypatch.setattr(Search, "witness", lambda *_: torch.eye(2))
    asked = []
    monkeypatch.setattr(Search, "bred_witness", lambda search, _: asked.append(search.name) or torch.eye(2))
    independent_witnesses(x, y, config, np.random.default_rng(0), Reporter(None, 1.0))
    assert bool(asked) == bred


def test_contestants_translate_otherwise_than_all_better_ones(world):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    draws = [torch.from_numpy(np.random.default_rng(i).normal(size=searching.low.shape)).float() for i in range(4)]
    first, twin, second, third = (polar(one) for one in (draws[0], draws[0] + 0.01 * draws[3], draws[1], draws[2]))
    searching.low.found = [
        Candidate(one, score, one)
        for one, score in zip((first, third, twin, second), (0.5, 0.4, 0.9, 0.8), strict=True)
    ]
    best, *others = searching.low.found
    assert searching._unlike(6) == [best, others[2], others[0]]  # the first as it is, the others by score, no twin
    assert searching._unlike(2) == [best, others[2]]


def test_a_contest_asks_again_while_its_contestants_are_few(world, monkeypatch):
    config = SinkhornConfig(**{**SMALL, "guesses": 1, "contest_whitenings": (0.2,), "early_draws": 1})
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    start = torch.eye(*searching.low.shape)
    searching.low.found = [Candidate(start, 0.6, start)]
    asked = []
    monkeypatch.setattr(Search, "_guess", lambda *_: asked.append(1) or given(start))  # never another
    assert not searching.contest(np.random.default_rng(2), Reporter(None, 1.0))
    assert len(asked) == CONTEST_CALLS


@pytest.mark.parametrize("right_first", [True, False])
def test_a_contest_is_won_by_what_explains_the_rows_best_once_it_is_refined(world, right_first):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    truth = known_map(world, searching.low.x, searching.low.y)
    other = polar(torch.from_numpy(np.random.default_rng(1).normal(size=truth.shape)).float())
    right, wrong = Candidate(truth, 0.5, truth), Candidate(other, 0.6, other)
    searching.low.found = [right, wrong] if right_first else [wrong, right]
    before, report = searching.rng.bit_generator.state, Reporter(None, 1.0)
    assert searching.contest(np.random.default_rng(2), report) == (not right_first)
    assert searching.low.found == [right, wrong]
    assert searching.rng.bit_generator.state == before  # a contest that changes nothing leaves the fit as it was
    assert [step["step"] for step in report.history] == [1, 2]


@pytest.mark.parametrize(("better", "wins"), [(0.0015, False), (0.0021, True)])
def test_a_contest_is_won_by_a_mean_that_is_better_by_more_than_chance(world, monkeypatch, better, wins):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    maps = [
        polar(torch.from_numpy(rng.normal(size=searching.low.shape)).float())
        for rng in map(np.random.default_rng, (1, 2))
    ]
    searching.low.found = [Candidate(one, 0.6, one) for one in maps]
    draws = iter([[0.3, 0.4 + better], [0.5, 0.4 + better]])  # the worse candidate has the best single refinement
    monkeypatch.setattr("vec2vec.align.search.transport_scores", lambda *_: next(draws))
    assert searching.contest(np.random.default_rng(2), Reporter(None, 1.0)) == wins


def test_what_a_contest_refines_is_what_a_witness_goes_on_from(world, monkeypatch):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    truth = known_map(world, searching.low.x, searching.low.y)
    other = polar(torch.from_numpy(np.random.default_rng(1).normal(size=truth.shape)).float())
    searching.low.found = [Candidate(other, 0.6, other), Candidate(truth, 0.5, truth)]
    searching.witness(Reporter(None, 1.0))
    started = []

    def counted(*given):
        started.append(given[2])
        return early_maps(*given)

    monkeypatch.setattr("vec2vec.align.search.early_maps", counted)
    assert searching.contest(np.random.default_rng(2), Reporter(None, 1.0))
    report = Reporter(None, 1.0)
    witness = searching.witness(report)
    assert len(started) == 1  # of the one that had no witness
    assert {step["stage"] for step in report.history} == {"test"}  # by large samples only
    assert agreement(witness[: truth.shape[0], : truth.shape[1]], truth, searching.low.x.rows) > 0.9


def test_guesses_in_other_geometries_take_part_in_a_contest(world):
    config = SinkhornConfig(**{**SMALL, "contest_whitenings": (0.2,)})
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    truth = known_map(world, searching.low.x, searching.low.y)
    wrong = polar(torch.from_numpy(np.random.default_rng(1).normal(size=truth.shape)).float())
    searching.low.found = [Candidate(wrong, 0.6, wrong)]
    assert searching.contest(np.random.default_rng(2), Reporter(None, 1.0))
    assert agreement(searching.low.found[0].rotation, truth, searching.low.x.rows) > 0.9


@pytest.mark.parametrize(("agreeing", "compared"), [(0.2, False), (0.7, True), (0.94, True), (0.96, False)])
def test_witnesses_that_agree_in_part_are_compared_with_rivals(world, monkeypatch, agreeing, compared):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    monkeypatch.setattr("vec2vec.align.witnesses.consistent", lambda *_: agreeing)
    asked = []
    monkeypatch.setattr(Search, "lead", lambda search, *_: asked.append(search.name) or 1 / len(asked))
    rng = np.random.default_rng(0)
    searches = [Search(x, y, config, rng, f"half {i}") for i in (1, 2)]
    before = rng.bit_generator.state
    lead = least_lead(searches, (torch.eye(2), torch.eye(2)), x, y, config, rng, Reporter(None, 1.0))
    assert asked == (["half 1", "half 2"] if compared else [])
    assert lead == (0.5 if compared else None)
    assert rng.bit_generator.state == before  # whether they are compared does not change what is fitted next


@pytest.mark.parametrize(("leads", "least"), [((0.01, 0.02), 0.01), ((None, 0.02), 0.02), ((None, None), None)])
def test_a_half_that_knows_no_rival_leaves_the_lead_to_the_other(world, monkeypatch, leads, least):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    monkeypatch.setattr("vec2vec.align.witnesses.consistent", lambda *_: 0.5)
    found = iter(leads)
    monkeypatch.setattr(Search, "lead", lambda *_: next(found))
    searches = [Search(x, y, config, np.random.default_rng(0), f"half {i}") for i in (1, 2)]
    maps = (torch.eye(2), torch.eye(2))
    assert least_lead(searches, maps, x, y, config, np.random.default_rng(0), Reporter(None, 1.0)) == least


@pytest.mark.parametrize(("known", "enough"), [(True, True), (True, False), (False, True)])
def test_of_two_witnesses_that_disagree_only_a_clearly_better_one_goes_on(world, monkeypatch, known, enough):
    config = SinkhornConfig(**SMALL)
    monkeypatch.setattr(judge, "ENOUGH_ROWS", len(world.source) + (0 if enough else 1))
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    truth, report = known_map(world, x, y), Reporter(None, 1.0)
    wrong = [polar(torch.from_numpy(np.random.default_rng(i).normal(size=truth.shape)).float()) for i in (1, 2)]
    if not known:  # as of two that were refined, and are wrong
        monkeypatch.setattr("vec2vec.align.sinkhorn.transport_scores", lambda *_: [0.5, 0.501])
    second = polar(truth + 0.1 * wrong[1]) if known else wrong[1]
    start, gap = consensus((wrong[0], second), 0.0, x, y, config, np.random.default_rng(0), report)
    stages = [step["stage"] for step in report.history]
    ends = final_schedule(config, x, y).rounds  # of each witness; then of what comes of the better one
    assert (gap >= judge.CLEAR_GAP) == known
    assert ("bag 1" in stages) == (known and enough)
    assert stages.count("all rows") == (3 if known and enough else 2) * ends
    assert (agreement(start, truth, x.rows) > 0.9) == known


def test_witnesses_that_disagree_are_compared_as_they_are_when_refined(world, monkeypatch):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    witnesses = tuple(polar(torch.from_numpy(np.random.default_rng(i).normal(size=(24, 40))).float()) for i in (1, 2))
    monkeypatch.setattr("vec2vec.align.sinkhorn.refine", lambda x, y, start, *_: -start)
    compared = []

    def scores(maps, *_):
        compared.extend(maps)
        return [0.5, 0.501]

    monkeypatch.setattr("vec2vec.align.sinkhorn.transport_scores", scores)
    found, _ = consensus(witnesses, 0.0, x, y, config, np.random.default_rng(0), Reporter(None, 1.0))
    assert [torch.equal(one, -other) for one, other in zip(compared, witnesses, strict=True)] == [True, True]
    assert torch.equal(found, -witnesses[1])


def test_few_rows_leave_no_witness_out_that_agrees_in_part(world, monkeypatch):
    config = SinkhornConfig(**SMALL)
    monkeypatch.setattr("vec2vec.align.sinkhorn.ROWS_TO_COMPARE", len(world.source) + 1)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    witnesses = (torch.eye(24, 40), -torch.eye(24, 40))
    bagged = []
    monkeypatch.setattr("vec2vec.align.sinkhorn.refine", lambda x, y, start, *_: start)
    monkeypatch.setattr("vec2vec.align.sinkhorn.bag", lambda maps, *_: bagged.append(maps) or maps[0])
    assert consensus(witnesses, 0.4, x, y, config, np.random.default_rng(0), Reporter(None, 1.0))[1] is None
    assert bagged == [witnesses]


@pytest.mark.parametrize("best", [0, 1, 2])
def test_of_witnesses_that_agree_in_part_either_or_both_go_on(world, monkeypatch, best):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    witnesses = tuple(polar(torch.from_numpy(np.random.default_rng(i).normal(size=(24, 40))).float()) for i in (1, 2))
    monkeypatch.setattr("vec2vec.align.sinkhorn.refine", lambda x, y, start, *_: -start)
    monkeypatch.setattr("vec2vec.align.sinkhorn.bag", lambda maps, *_: maps[0] if len(maps) == 1 else None)
    scores = [0.5, 0.501, 0.5]
    scores[best] = 0.51
    monkeypatch.setattr("vec2vec.align.sinkhorn.transport_scores", lambda maps, *_: scores)
    found, gap = consensus(witnesses, 0.4, x, y, config, np.random.default_rng(0), Reporter(None, 1.0))
    torch.testing.assert_close(found, (*witnesses, mean_map(witnesses))[best])  # refined, and refined once more
    assert gap == pytest.approx(abs(scores[0] - scores[1]))  # the mean is none of the witnesses


@pytest.mark.parametrize("right", [0, 1])
def test_a_right_witness_is_not_spoilt_by_one_that_agrees_in_part(world, right):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    truth, report = known_map(world, x, y), Reporter(None, 1.0)
    wrong = truth.clone()
    wrong[:8] *= -1  # of which the mean with the truth says nothing
    witnesses = (truth, wrong) if right == 0 else (wrong, truth)
    bagged = bag(witnesses, x, y, config, np.random.default_rng(0), report)
    assert agreement(bagged, truth, x.rows) < 0.8
    found, _ = consensus(witnesses, 0.4, x, y, config, np.random.default_rng(0), report)
    assert agreement(found, truth, x.rows) > 0.9


def test_a_right_witness_leads_and_a_wrong_one_does_not(world):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    report, truth = Reporter(None, 1.0), known_map(world, x, y)
    other = polar(torch.from_numpy(np.random.default_rng(1).normal(size=truth.shape)).float())
    right, wrong = Candidate(truth, 0.6, truth), Candidate(other, 0.5, other)
    leads = {}
    for name, found in (("right", [right, wrong]), ("wrong", [wrong, right]), ("alone", [right])):
        searching.low.found = found
        leads[name] = searching.lead(found[0].rotation, np.random.default_rng(2), report)
    assert leads["right"] > 0.01
    assert leads["wrong"] < -0.01
    assert leads["alone"] is None


def test_a_start_that_leads_to_the_same_map_is_no_rival(world, monkeypatch):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    truth = known_map(world, x, y)
    other = polar(torch.from_numpy(np.random.default_rng(1).normal(size=truth.shape)).float())
    searching.low.found = [Candidate(truth, 0.6, truth), Candidate(other, 0.5, other)]
    monkeypatch.setattr("vec2vec.align.search.late_map", lambda *_: truth)
    assert searching.lead(truth, np.random.default_rng(2), Reporter(None, 1.0)) is None


def test_where_the_best_other_start_leads_to_the_same_map_the_next_is_the_rival(world, monkeypatch):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    truth, rng = known_map(world, x, y), np.random.default_rng(1)
    first, second = (polar(torch.from_numpy(rng.normal(size=truth.shape)).float()) for _ in range(2))
    searching.low.found = [Candidate(one, 0.5, one) for one in (truth, first, second)]
    refined = iter([truth, second])
    monkeypatch.setattr("vec2vec.align.search.late_map", lambda *_: next(refined))
    assert searching.lead(truth, np.random.default_rng(2), Reporter(None, 1.0)) > 0.01


def test_a_right_map_is_further_ahead_than_others_and_a_wrong_one_is_not(world):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    truth, rng = known_map(world, x, y), np.random.default_rng(1)
    wrong, other = (polar(torch.from_numpy(rng.normal(size=truth.shape)).float()) for _ in range(2))
    searches = [Search(x, y, config, np.random.default_rng(i), f"half {i}") for i in (1, 2)]
    leads = {}
    for name, final, known in (("right", truth, (wrong, other)), ("wrong", wrong, (truth, other))):
        for search, start in zip(searches, known, strict=True):
            search.low.found = [Candidate(one, 0.5, one) for one in (final, start)]
        report = Reporter(None, 1.0)
        leads[name] = final_lead(final, searches, 0.5, x, y, config, np.random.default_rng(2), report)
    assert leads["right"] > 0.01
    assert leads["wrong"] < -0.01
    searches[0].low.found, searches[1].low.found = ([Candidate(truth, 0.5, truth)] for _ in range(2))
    assert final_lead(truth, searches, 0.5, x, y, config, np.random.default_rng(2), Reporter(None, 1.0)) is None


@pytest.mark.parametrize(
    ("alike", "begun", "refined"),
    [  # of either rival when it is rough, and then of all rows, if it goes on to these
        ((0.0, 0.0, 0.0, 0.0), 2, 2),
        ((0.5, 0.0, 0.0), 2, 1),
        ((0.5, 0.0, 0.5, 0.0, 0.0), 3, 2),
        ((0.5,) * (RIVALS + 1), RIVALS + 1, 0),
    ],
)
def test_where_rivals_become_the_final_map_the_next_ones_take_their_place(world, monkeypatch, alike, begun, refined):
    config = SinkhornConfig(**HASTY)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    truth = known_map(world, x, y)
    others = [polar(torch.from_numpy(np.random.default_rng(i).normal(size=truth.shape)).float()) for i in range(6)]
    searches = [Search(x, y, config, np.random.default_rng(i), f"half {i}") for i in (1, 2)]
    for search, known in zip(searches, ([truth, *others[:5]], [truth, others[5]]), strict=True):
        search.low.found = [Candidate(one, 0.5, one) for one in known]
    consistencies, report = iter(alike), Reporter(None, 1.0)
    monkeypatch.setattr("vec2vec.align.sinkhorn.consistent", lambda *_: next(consistencies))
    lead = final_lead(truth, searches, 0.5, x, y, config, np.random.default_rng(2), report)
    assert (lead is None) == (alike[-1] > 0.1)
    first = [step["stage"].split(",")[0] for step in report.history if step["step"] == 1]
    assert first.count("rival 1") + first.count("rival 2") == begun
    assert first.count("all rows") == refined
    assert next(consistencies, None) is None


@pytest.mark.parametrize(
    ("label", "enough", "asked"), [("uncertain", True, 1), ("uncertain", False, 0), ("aligned", True, 0)]
)
def test_only_an_uncertain_fit_of_enough_rows_is_compared_with_rivals(world, monkeypatch, label, enough, asked):
    rows = float(judge.ROWS_TO_COMPARE - (0 if enough else 1))
    held = Verdict(label, 0.2, (0.0, 0.9), {"consistency": 0.2, "rows": rows})
    monkeypatch.setattr("vec2vec.align.sinkhorn.judge", lambda *_: held)
    calls = []
    monkeypatch.setattr("vec2vec.align.sinkhorn.final_lead", lambda *_: calls.append(1) or -0.01)
    fit = vec2vec.fit(world.source, world.target, **HASTY)
    assert len(calls) == asked
    assert fit.verdict.label == ("not aligned" if asked else label)
    assert fit.verdict.evidence.get("final_lead") == (-0.01 if asked else None)


def test_a_second_search_by_cumulants_ends_lower_only_where_the_transport_is_better(world):
    config = SinkhornConfig(**{**SMALL, "cumulant_starts": 2, "cumulant_generations": 0, "guesses": 1})
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(2), "test")
    found = []
    for _ in range(5):
        searching.go_on(Reporter(None, 1.0), generations=0)
        found.append(list(searching.by_cumulants.values()))
    each = list(zip(*found, strict=True))
    for of_one in each:
        for (before, lower), (after, energy) in pairwise(of_one):
            assert energy >= lower or after.score > before.score
    assert any(of_one[-1] != of_one[0] for of_one in each)


@pytest.mark.parametrize(("behind", "right"), [(0.01, True), (0.1, False)])
def test_a_maximum_whose_transport_is_clearly_worse_than_a_rivals_is_not_believed(world, monkeypatch, behind, right):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    truth = known_map(world, searching.low.x, searching.low.y)
    axes = min(config.cumulant_axes, *truth.shape)
    wrong = torch.eye(axes).flip(0)
    found = Found(torch.stack([wrong, polar(truth[:axes, :axes])]), torch.tensor([1.0, 1.0 - behind]))
    monkeypatch.setattr("vec2vec.align.search.search_by_cumulants", lambda *_, **__: found)
    searching.go_on(Reporter(None, 1.0), generations=0)
    for guess, _ in searching.by_cumulants.values():
        assert (agreement(guess.rotation, truth, searching.low.x.rows) > 0.9) == right


@pytest.mark.parametrize("alike", [True, False])
def test_guesses_by_cumulants_are_preferred_unless_those_by_clusters_confirm_one_another(world, alike):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    shape = searching.low.shape
    truth = known_map(world, searching.low.x, searching.low.y)
    others = [polar(torch.from_numpy(np.random.default_rng(i).standard_normal(shape)).float()) for i in range(4)]
    near = [polar(truth + 0.02 * one) for one in others[:3]]
    searching.by_clusters = [Candidate(one, 0.6 - 0.01 * i, one) for i, one in enumerate(near if alike else others)]
    searching.low.found = list(searching.by_clusters)
    found = Candidate(others[3], 0.595, others[3][:2, :2])
    for _ in range(2):  # a second time they take the place of those of the first
        searching.by_cumulants = {0.2: (found, 1.0)}
        searching._prefer_cumulants()
        assert searching.confirmed() == alike
        assert len(searching.low.found) == len(searching.by_clusters) + 1
        best = max(searching.low.found, key=lambda one: one.score)
        assert (best.rotation is near[0]) if alike else (best.rotation is found.rotation)


def test_one_guess_alone_confirms_nothing(world):
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(world.source, world.target, config, torch.device("cpu"))
    searching = Search(x, y, config, np.random.default_rng(0), "test")
    assert not searching.confirmed()
    one = known_map(world, searching.low.x, searching.low.y)
    searching.by_clusters = [Candidate(one, 0.6, one)] * 2
    assert not searching.confirmed()


def test_a_witness_says_nothing_of_axes_that_its_rows_cannot_tell_apart():
    """128 rows are enough for no more than 32 axes."""
    rng = np.random.default_rng(0)
    source, target = (rng.standard_normal((128, width)).astype(np.float32) for width in (40, 50))
    config = SinkhornConfig(**SMALL)
    _, (x, y) = prepare(source, target, config, torch.device("cpu"))
    search, report = Search(x, y, config, rng, "test"), Reporter(None, 1.0)
    search.go_on(report, generations=0)
    witness = search.witness(report)
    assert witness.shape == (40, 50)
    assert not witness[32:].any()
    assert not witness[:, 32:].any()
    torch.testing.assert_close(witness[:32, :32] @ witness[:32, :32].T, torch.eye(32), atol=1e-4, rtol=0)


def test_an_extended_map_keeps_what_was_known():
    known = torch.from_numpy(ortho_group.rvs(5, random_state=0)).float()
    extended = extend(known, (8, 12), np.random.default_rng(0))
    torch.testing.assert_close(extended[:5, :5], known, atol=1e-2, rtol=0)
    torch.testing.assert_close(extended @ extended.T, torch.eye(8), atol=1e-4, rtol=0)


def test_consistency_is_one_for_equal_maps_and_chance_for_unrelated_ones():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(unit_rows(rng.standard_normal((1000, 16))))
    turn = torch.from_numpy(ortho_group.rvs(16, random_state=0).astype(np.float32))
    assert consistency(x, x) == 1.0
    assert consistency(x, x @ turn) < 0.02


def unit_rows(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def test_rows_that_are_nearly_all_the_same() -> None:
    rng = np.random.default_rng(0)
    same = (1e-12 * rng.standard_normal((1200, 12))).astype(np.float32)
    same[70] = rng.standard_normal(12)
    other = rng.standard_normal((1200, 10)).astype(np.float32)
    for sides, which in (((same, other), "source"), ((other, same), "target")):
        with pytest.raises(InputError, match=f"half of the {which}'s rows are all the same"):
            vec2vec.fit(*sides)
