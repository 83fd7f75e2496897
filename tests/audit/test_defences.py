from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from audit_world import QUICK, World

from vec2vec.align import Fit, fit
from vec2vec.audit import Audit, Truth, audit, run
from vec2vec.audit.defences import (
    DEFENCES,
    Defence,
    DefenceResult,
    Protected,
    choose_defences,
    recommend,
    search_recall,
)
from vec2vec.audit.intervals import exact
from vec2vec.audit.report import markdown, page
from vec2vec.errors import ConfigError, DivergenceError


@pytest.fixture(scope="module")
def store() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((20, 32))
    return (centres[rng.integers(0, 20, 600)] + 0.5 * rng.standard_normal((600, 32))).astype(np.float32)


def recall(store: np.ndarray, name: str) -> float:
    protected = DEFENCES[name].protect(store, np.random.default_rng(1))
    return search_recall(store, protected, resamples=100, seed=0).value


@pytest.mark.parametrize("name", ["none", "shuffle", "rotation"])
def test_what_keeps_angles_keeps_the_search(store, name):
    assert recall(store, name) == pytest.approx(1, abs=1e-3)


def test_a_secret_moves_every_vector_and_keeps_every_angle(store):
    for name in ("shuffle", "rotation"):
        stored = DEFENCES[name].protect(store, np.random.default_rng(1)).stored
        assert np.abs(stored - store).mean() > 0.5
        np.testing.assert_allclose(stored @ stored.T, store @ store.T, atol=1e-3)
        other = DEFENCES[name].protect(store, np.random.default_rng(2)).stored
        assert np.abs(stored - other).mean() > 0.5


def test_more_protection_costs_more_search(store):
    by_noise = [recall(store, name) for name in ("noise-0.1", "noise-0.3", "noise-1", "noise-2")]
    assert by_noise == sorted(by_noise, reverse=True)
    assert by_noise[0] > 0.8 > by_noise[2]
    assert recall(store, "int8") > 0.95
    assert recall(store, "int8") > recall(store, "binary") > 0.2
    assert recall(store, "half") > recall(store, "eighth")
    assert recall(store, "pca-quarter") > recall(store, "pca-16th")
    assert recall(store, "pca-quarter") > recall(store, "eighth")


def test_noise_is_of_the_size_that_it_is_called(store):
    stored = DEFENCES["noise-0.3"].protect(store, np.random.default_rng(1)).stored
    spread = np.linalg.norm(store - store.mean(0), axis=1).mean()
    assert np.linalg.norm(stored - store, axis=1).mean() / spread == pytest.approx(0.3, rel=0.05)


def test_a_tenants_leak_is_a_tenth(store):
    protected = DEFENCES["tenants"].protect(store, np.random.default_rng(1))
    assert protected.stored.shape == (60, 16)
    assert len(set(protected.rows.tolist())) == 60


def test_widths(store):
    widths = {n: DEFENCES[n].protect(store, np.random.default_rng(1)).stored.shape[1] for n in DEFENCES}
    assert (widths["half"], widths["eighth"], widths["pca-quarter"], widths["pca-16th"]) == (16, 4, 8, 2)


def test_names():
    assert [one.name for one in choose_defences("rotation,int8")] == ["none", "rotation", "int8"]
    assert choose_defences("none") == []
    assert len(choose_defences("all")) == len(DEFENCES)
    with pytest.raises(ConfigError, match="did you mean 'rotation'"):
        choose_defences(["rotations"])


def result(name: str, recall: float, lift: float, verdict: str = "aligned") -> DefenceResult:
    one = DEFENCES[name]
    return DefenceResult(name, one.title, one.family, 100, verdict, exact(recall), lift=lift)


def test_the_recommendation_says_what_the_figures_say():
    base = result("none", 1, 0.8)
    said = recommend([base, result("rotation", 1, 0.79), result("noise-1", 0.95, 0.1), result("binary", 0.5, 0.05)])
    assert "Gaussian noise, as wide as the spread does most at little cost" in said
    assert "No defence: secret rotation." in said
    assert "binary quantisation (leakage 0.05, recall 50%)" in said
    assert "Nothing that was measured" in recommend([base, result("rotation", 1, 0.8)])
    assert "attack failed without any defence" in recommend([result("none", 1, 0.0, "not aligned")])
    assert "cannot be compared" in recommend([result("none", 1, float("nan"))])


@pytest.fixture(scope="module")
def found(world: World) -> Audit:
    options: dict[str, Any] = {"picture_rows": 60, "resamples": 100, "method": QUICK | {"rounds": 3}}
    return audit(
        world.leak,
        None,
        world.reference,
        scope="a test",
        labels=world.labels,
        truth=world.truth,
        translator=world.translator,
        defences="rotation,noise-2",
        **options,
    )


def test_a_rotation_is_no_defence_and_drowning_in_noise_is_one(found):
    none, rotation, drowned = found.defences
    assert none.verdict == rotation.verdict == "aligned"
    assert rotation.recall.value > 0.99
    assert rotation.leakage > 0.9 * none.leakage > 0.7
    assert rotation.top1.value > 10 / 2400
    assert drowned.leakage < 0.8 * none.leakage
    assert drowned.recall.value < 0.3
    assert len({one.reader for one in found.defences}) == 1
    assert none.reader in {one.title for one in found.attributes}
    assert none.reader in page(found)
    assert none.reader in markdown(found)


def test_they_are_in_the_tree(found):
    tree = found.to_dict()
    assert [one["name"] for one in tree["defences"]] == ["none", "rotation", "noise-2"]
    assert "No defence: secret rotation" in tree["recommendation"]


def test_a_tenant_has_the_rows_that_a_fit_needs_while_there_are_any(store):
    for rows, due in ((600, 60), (60, 10), (8, 8)):
        protected = DEFENCES["tenants"].protect(store[:rows], np.random.default_rng(1))
        assert len(protected.stored) == due


def test_a_defence_that_cannot_be_tried_is_noted_and_the_others_are(world, monkeypatch):
    def protect(x: np.ndarray, rng: np.random.Generator) -> Protected:
        return Protected(x[:3], np.arange(3), x[:3])

    def by_pairs(source: np.ndarray, target: np.ndarray, **options: object) -> Fit:
        return fit(source, target, method="procrustes", pairs=(source, target[: len(source)]))

    monkeypatch.setattr(run, "fit", by_pairs)
    monkeypatch.setitem(DEFENCES, "int8", Defence("int8", "too few", "quantisation", protect))
    found = audit(
        world.leak[:60],
        None,
        world.reference,
        scope="a test",
        translator=world.translator,
        defences="int8,tenants",
        picture_rows=60,
        resamples=100,
    )
    assert [one.name for one in found.defences] == ["none", "tenants"]
    assert "too few: could not be tried: source: has 3 usable rows" in found.notes[-1]


def test_a_defence_whose_fit_diverges_is_noted_and_the_others_are_tried(world, monkeypatch):
    calls: list[int] = []

    def diverging(source: np.ndarray, target: np.ndarray, **options: object) -> Fit:
        calls.append(len(source))
        if len(calls) == 2:
            raise DivergenceError("the loss is nan at step 7")
        return fit(source, target, method="procrustes", pairs=(source, target[: len(source)]))

    monkeypatch.setattr(run, "fit", diverging)
    found = audit(
        world.leak[:60],
        None,
        world.reference,
        scope="a test",
        translator=world.translator,
        defences="int8,rotation",
        picture_rows=60,
        resamples=100,
    )
    assert [one.name for one in found.defences] == ["none", "rotation"]
    assert found.notes[-1] == "int8 quantisation: could not be tried: the loss is nan at step 7"


def test_labels_alone_are_enough_to_compare_by(world, monkeypatch):
    def by_pairs(source: np.ndarray, target: np.ndarray, **options: object) -> Fit:
        return fit(source, target, method="procrustes", pairs=(source, world.truth.vectors[: len(source)]))

    monkeypatch.setattr(run, "fit", by_pairs)
    found = audit(
        world.leak,
        None,
        world.reference,
        scope="a test",
        labels=world.labels,
        truth=Truth(labels=world.truth.labels),
        translator=world.translator,
        defences="rotation",
        picture_rows=60,
        resamples=100,
    )
    none, rotation = found.defences
    assert none.leakage > 0.8
    assert rotation.leakage > 0.8
    assert "No defence: secret rotation" in found.to_dict()["recommendation"]


def test_without_the_undefended_store_nothing_is_recommended():
    assert "without a defence could not be attacked" in recommend([result("binary", 1, 0.3)])
