"""The verdict: its rule, and the second opinion on maps that other methods found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vec2vec.align import second_opinion as module
from vec2vec.align.judge import expected_top1, verdict_from
from vec2vec.align.paired import ProcrustesConfig, fit_procrustes
from vec2vec.align.schedules import SinkhornConfig
from vec2vec.align.second_opinion import second_opinion
from vec2vec.align.witnesses import Witnesses
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import linear_spaces
from vec2vec.verdict import Verdict


def test_the_expectation_grows_with_the_consistency_and_lies_in_its_interval() -> None:
    found = [expected_top1(c) for c in np.linspace(0, 1, 201)]
    assert all(0 <= low <= expected <= high <= 1 for expected, low, high in found)
    assert all(np.diff([expected for expected, *_ in found]) >= 0)


@pytest.mark.parametrize(("rows", "label"), [(999, "uncertain"), (1000, "aligned")])
def test_too_few_rows_are_never_aligned(rows: int, label: str) -> None:
    assert verdict_from({"consistency": 0.9, "rows": rows}).label == label
    assert verdict_from({"consistency": 0.001, "rows": rows}).label == "not aligned"


def test_the_same_consistency_says_less_of_fewer_rows() -> None:
    found = [expected_top1(0.3, rows) for rows in (1000, 2000, 4000, 8000)]
    assert all(0 <= low <= expected <= high <= 1 for expected, low, high in found)
    expected = [one for one, *_ in found]
    assert expected[0] < expected[1] < expected[2] == expected[3]
    assert verdict_from({"consistency": 0.5, "rows": 1000}).label == "uncertain"
    assert verdict_from({"consistency": 0.6, "rows": 8000}).label == "aligned"


@pytest.mark.parametrize(
    ("consistent", "lead", "label"),
    [
        (0.6, 0.02, "aligned"),
        (0.6, 0.005, "uncertain"),
        (0.6, -0.01, "uncertain"),
        (0.75, 0.007, "aligned"),
        (0.75, 0.005, "uncertain"),
        (0.89, 0.005, "uncertain"),
        (0.91, 0.005, "aligned"),
        (0.6, None, "aligned"),
        (0.001, -0.01, "not aligned"),
    ],
)
def test_a_map_in_doubt_is_aligned_only_with_a_clear_lead(consistent: float, lead: float | None, label: str) -> None:
    evidence = {"consistency": consistent, "rows": 8000.0} | ({} if lead is None else {"lead": lead})
    verdict = verdict_from(evidence)
    assert verdict.label == label
    assert ("other maps explain the rows nearly as well" in verdict.sentence) == (label == "uncertain")
    assert label != "uncertain" or verdict.interval[0] == 0.0  # it may be wrong altogether


@pytest.mark.parametrize(
    ("evidence", "rows", "label"),
    [
        ({"consistency": 0.05, "final_lead": 0.009}, 8000, "aligned"),
        ({"consistency": 0.05, "final_lead": 0.0075}, 8000, "uncertain"),
        ({"consistency": 0.05, "final_lead": 0.009}, 3999, "uncertain"),
        ({"consistency": 0.5, "lead": 0.004, "final_lead": 0.009}, 8000, "aligned"),
        ({"consistency": 0.5, "lead": 0.004, "final_lead": 0.0075}, 8000, "uncertain"),
        ({"consistency": 0.002, "gap": 0.01, "final_lead": 0.009}, 8000, "aligned"),
        ({"consistency": 0.05, "final_lead": 0.001}, 8000, "not aligned"),
        ({"consistency": 0.05, "final_lead": 0.002}, 8000, "uncertain"),
        ({"consistency": 0.05, "final_lead": 0.001}, 3000, "not aligned"),
        ({"consistency": 0.1, "final_lead": 0.001}, 2999, "uncertain"),
        ({"consistency": 0.5, "lead": 0.004, "final_lead": -0.001}, 8000, "not aligned"),
        ({"consistency": 0.002, "gap": 0.01, "final_lead": 0.0}, 8000, "not aligned"),
    ],
)
def test_what_no_other_map_comes_near_is_aligned_and_what_one_equals_is_not(
    evidence: dict[str, float], rows: int, label: str
) -> None:
    verdict = verdict_from(evidence | {"rows": float(rows)})
    assert verdict.label == label
    assert ("no other map explains the rows nearly as well" in verdict.sentence) == (label == "aligned")
    assert ("another map explains the rows as well" in verdict.sentence) == (label == "not aligned")
    low, high = verdict.interval
    assert low <= verdict.expected_top1 <= high
    assert label != "aligned" or low > 0


@pytest.mark.parametrize(
    ("gap", "rows", "label"),
    [
        (0.02, 8000, "uncertain"),
        (0.001, 8000, "not aligned"),
        (None, 8000, "not aligned"),
        (0.02, 1000, "not aligned"),
    ],
)
def test_where_witnesses_disagree_one_that_is_clearly_better_is_not_given_up(
    gap: float | None, rows: int, label: str
) -> None:
    verdict = verdict_from({"consistency": 0.001, "rows": float(rows)} | ({} if gap is None else {"gap": gap}))
    assert verdict.label == label
    assert ("one of them explains the rows clearly better" in verdict.sentence) == (label == "uncertain")
    low, high = verdict.interval
    assert low <= verdict.expected_top1 <= high


@pytest.mark.parametrize("right", [True, False])
def test_a_second_opinion_tells_a_right_map_from_a_wrong_one(
    world: Any, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    small = {
        "guesses": 10,
        "cumulant_starts": 50,
        "cumulant_generations": 3,
        "clusters": (12,),
        "trial_rounds": 20,
        "early_rounds": 10,
        "early_rows": 500,
        "early_draws": 2,
    }
    small |= {"half_rounds": 8, "half_rows": 700, "attempts": 1}
    monkeypatch.setattr(module, "SinkhornConfig", lambda: SinkhornConfig(**small))
    pairs = world.source_eval, world.target_eval if right else world.target_eval[::-1].copy()
    known = fit_procrustes(world.source, world.target, ProcrustesConfig(), seed=0, pairs=pairs)
    spaces = linear_spaces(known.source, known.target, known.weight)
    verdict = second_opinion(spaces, world.source, world.target, seed=0, device=torch.device("cpu"))
    assert isinstance(verdict, Verdict)
    assert verdict.label == ("aligned" if right else "not aligned")


def test_a_second_opinion_goes_by_the_witness_that_the_map_agrees_with_less(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = linear_spaces(*(Preprocessor.fit(x) for x in (world.source, world.target)), np.eye(24, 40))
    found = iter([0.9, 0.001])
    monkeypatch.setattr(module, "independent_witnesses", lambda *_: Witnesses((torch.eye(2), torch.eye(2)), None, ()))
    monkeypatch.setattr(module, "gather_evidence", lambda *_: {"consistency": next(found), "rows": 4000.0})
    verdict = second_opinion(spaces, world.source, world.target, seed=0, device=torch.device("cpu"))
    assert isinstance(verdict, Verdict)
    assert verdict.label == "not aligned"
