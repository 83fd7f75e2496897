from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from vec2vec.align import reflections, sinkhorn
from vec2vec.align.reflections import better_reflection, reflected_back, reflection_vectors
from vec2vec.align.rounds import Reporter, Side, refine
from vec2vec.align.schedules import SinkhornConfig, reflection_schedules, reflections_work
from vec2vec.align.sinkhorn import bag, consensus
from vec2vec.align.whitening import Axes, polar, unit

ROWS, WIDTH, AXES = 1000, 8, 6
CONFIG = SinkhornConfig(
    cumulant_axes=4,
    reflection_axes=AXES,
    early_rounds=4,
    early_rows=300,
    early_draws=2,
    half_rounds=2,
    bags=1,
    rounds=2,
)
QUIET = partial(Reporter, None, 1.0)


@pytest.fixture(scope="module")
def sides() -> tuple[Side, Side]:
    """Two samples of one skewed distribution: the true map is the identity."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy((rng.exponential(size=(2, ROWS, WIDTH)) * np.linspace(2, 1, WIDTH)).astype(np.float32))
    z -= z.mean(dim=1, keepdim=True)
    axes = Axes(torch.eye(WIDTH), torch.linspace(1, 0.25, WIDTH))
    return Side(unit(z[0]), axes), Side(unit(z[1]), axes)


@pytest.fixture(autouse=True)
def few_finalists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflections, "FINALISTS", 4)


def mistaken(which: str) -> torch.Tensor:
    """The true map with an axis reflected, or two exchanged."""
    truth = torch.eye(WIDTH)
    return (
        truth * torch.tensor([1, -1, *[1] * (WIDTH - 2)])
        if which == "reflected"
        else truth[[3, 1, 2, 0, *range(4, WIDTH)]]
    )


@pytest.mark.parametrize("which", ["reflected", "exchanged"])
def test_what_a_refinement_cannot_undo_is_undone(sides, which):
    x, y = sides
    stuck = refine(x, y, mistaken(which), reflection_schedules(CONFIG)[1], np.random.default_rng(1), QUIET(), "test")
    assert float(stuck.diagonal()[:AXES].min()) < 0.1  # rounds alone leave it so
    report = QUIET()
    found = reflected_back(stuck, x, y, CONFIG, np.random.default_rng(0), report)
    assert found is not None
    assert float(found.diagonal()[:AXES].min()) > 0.98
    assert found.shape == (AXES, AXES)
    assert [step["stage"] for step in report.history] == ["reflections"] * 2  # the second finds nothing better
    assert report.done == report.work - 1.0 == pytest.approx(2 * reflections_work(x, y, CONFIG))


def test_two_mistakes_are_undone_one_after_the_other(sides):
    x, y = sides
    wrong = mistaken("reflected") @ mistaken("exchanged")
    found = reflected_back(wrong, x, y, CONFIG, np.random.default_rng(0), QUIET())
    assert found is not None
    assert float(found.diagonal()[:AXES].min()) > 0.98
    once = CONFIG.model_copy(update={"reflections": 1})
    found = reflected_back(wrong, x, y, once, np.random.default_rng(0), QUIET())
    assert found is not None
    assert float(found.diagonal()[:AXES].min()) < 0.1


def test_a_map_that_is_right_is_left_alone(sides):
    assert reflected_back(torch.eye(WIDTH), *sides, CONFIG, np.random.default_rng(0), QUIET()) is None


def test_what_is_better_along_few_axes_only_is_not_taken(sides, monkeypatch):
    compared = iter([0.5, 0.5 + 0.9 * reflections.BETTER])
    monkeypatch.setattr(reflections, "_score_along_more_axes", lambda *_: next(compared))
    wrong = mistaken("reflected")[:AXES, :AXES]
    assert better_reflection(wrong, *sides, CONFIG, np.random.default_rng(0)) is None
    assert next(compared, None) is None


def test_the_number_of_threads_does_not_change_what_maps_become(sides):
    threads, found = torch.get_num_threads(), []
    starts = [mistaken("exchanged"), mistaken("reflected"), torch.eye(WIDTH)]
    for number in (1, 2):
        torch.set_num_threads(number)
        try:
            schedule = reflection_schedules(CONFIG)[0]
            found.append(reflections._compared(starts, *sides, schedule, 200, np.random.default_rng(0)))
        finally:
            torch.set_num_threads(threads)
    for one, same in zip(*found, strict=True):
        assert torch.equal(one.rotation, same.rotation)
        assert one.score == same.score


def test_reflections_are_those_that_make_all_signed_permutations():
    along = reflection_vectors(3, 5)
    assert len(along) == 9  # three changes of sign, and either exchange of any two
    torch.testing.assert_close(along.norm(dim=1), torch.ones(9))
    matrices = torch.eye(5) - 2 * along[:, :, None] * along[:, None, :]
    assert ((matrices.abs() < 1e-6) | ((matrices.abs() - 1).abs() < 1e-6)).all()
    made = {tuple(torch.eye(3).flatten().tolist())}
    while True:
        further = {
            tuple((m[:3, :3] @ torch.tensor(one).view(3, 3)).round().add(0.0).flatten().tolist())
            for m in matrices
            for one in made
        }
        if further <= made:
            break
        made |= further
    assert len(made) == 2**3 * 6


@pytest.mark.parametrize(
    ("agreeing", "rows", "asked"), [(0.79, ROWS, 1), (0.81, ROWS, 0), (0.4, ROWS, 1), (0.79, ROWS + 1, 0)]
)
def test_it_is_asked_where_witnesses_differ_and_rows_are_enough(sides, monkeypatch, agreeing, rows, asked):
    given, starts, better = [], [], torch.eye(AXES)
    monkeypatch.setattr(sinkhorn, "ROWS_TO_COMPARE", ROWS)
    monkeypatch.setattr(sinkhorn, "ENOUGH_ROWS", rows)
    monkeypatch.setattr(sinkhorn, "reflected_back", lambda one, *_: given.append(one) or better)
    monkeypatch.setattr(sinkhorn, "bag", lambda maps, *rest: starts.append(rest[-1]) or maps[0])
    witnesses = (torch.eye(WIDTH), mistaken("exchanged"))
    consensus(witnesses, agreeing, *sides, CONFIG, np.random.default_rng(0), QUIET())
    assert len(given) == asked
    assert starts == [better if asked else None]


def test_what_is_reflected_back_is_what_the_bags_begin_with(sides):
    x, y = sides
    config = CONFIG.model_copy(update={"early_rounds": 10, "half_rounds": 6})
    wrong = [mistaken("reflected")]
    start = torch.eye(AXES)
    spoilt, right = (bag(wrong, x, y, config, np.random.default_rng(0), QUIET(), None, one) for one in (None, start))
    assert float(spoilt[1, 1]) < -0.5
    assert float(right.diagonal()[:AXES].min()) > 0.9


def test_where_it_finds_nothing_the_fit_goes_on_as_without(sides, monkeypatch):
    witnesses, found = (torch.eye(WIDTH), polar(torch.eye(WIDTH) + 0.1)), []
    monkeypatch.setattr(sinkhorn, "ENOUGH_ROWS", ROWS)
    for steps in (0, 3):
        config, report = CONFIG.model_copy(update={"reflections": steps}), QUIET()
        found.append(consensus(witnesses, 0.4, *sides, config, np.random.default_rng(0), report))
        assert ("reflections" in {step["stage"] for step in report.history}) == bool(steps)
    assert torch.equal(found[0][0], found[1][0])
