"""Scores against an independent brute force, hand-made cases, and what must be at chance."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from vec2vec.errors import DimensionError, InputError
from vec2vec.evaluate import Estimate, Evaluation, Scores, evaluate, fit_width, score
from vec2vec.evaluate import metrics as metrics_module


@dataclass
class Rotation:
    """Translates between widths p >= q by a (p, q) matrix of orthonormal columns; the latent is the narrower one."""

    matrix: np.ndarray
    spaces: tuple[str, ...] = ("a", "b")

    def translate(self, x: np.ndarray, *, source: str, target: str) -> np.ndarray:
        if x.shape[1] != self.matrix.shape[self.spaces.index(source)]:
            raise DimensionError("another width")
        return x @ (self.matrix if (source, target) == self.spaces else self.matrix.T)

    def latent(self, x: np.ndarray, *, space: str) -> np.ndarray:
        return x @ self.matrix if space == self.spaces[0] else x


def vectors(rows: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def orthonormal(p: int, q: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(7).standard_normal((p, p)))[0][:, :q].astype(np.float32)


def noisy(truth: np.ndarray, noise: float, seed: int = 1) -> np.ndarray:
    return truth + noise * vectors(*truth.shape, seed=seed)


def unit64(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def brute_force(similarity: np.ndarray) -> dict[str, float]:
    """Sort every row of an (n, n) similarity; no shared code, no shared idea of how to count."""
    order = np.argsort(-similarity, axis=1)
    rank = np.array([1 + int(np.flatnonzero(row == i)[0]) for i, row in enumerate(order)])
    return {
        "top1": float(np.mean(rank == 1)),
        "top5": float(np.mean(rank <= 5)),
        "top16": float(np.mean(rank <= 16)),
        "mean_rank": float(rank.mean()),
        "median_rank": float(np.median(rank)),
    }


def csls_64(queries: np.ndarray, candidates: np.ndarray, k: int = 10) -> np.ndarray:
    """The whole formula 2 cos - r(q) - r(c) of Conneau et al. (2017), in float64."""
    cosine = unit64(queries) @ unit64(candidates).T
    of_query = np.sort(cosine, axis=1)[:, -k:].mean(axis=1)
    of_candidate = np.sort(cosine, axis=0)[-k:].mean(axis=0)
    return 2 * cosine - of_query[:, None] - of_candidate[None, :]


def values(retrieval: object) -> dict[str, float]:
    return {name: estimate.value for name, estimate in vars(retrieval).items()}


def estimates(tree: object) -> list[Estimate]:
    """Every Estimate in a result."""
    if isinstance(tree, Estimate):
        return [tree]
    if isinstance(tree, tuple):
        return [found for item in tree for found in estimates(item)]
    return [found for item in vars(tree).values() for found in estimates(item)] if hasattr(tree, "__dict__") else []


# --- definitions ---


@pytest.mark.parametrize(("rows", "batch_rows"), [(300, 1024), (300, 64), (37, 10)])
def test_equals_brute_force(rows: int, batch_rows: int) -> None:
    truth = vectors(rows, 24) + 0.5  # a mean, as real encoders have
    translated = noisy(truth, 1.0)
    found = score(translated, truth, pools=(None,), batch_rows=batch_rows)
    cosine = unit64(translated) @ unit64(truth).T
    assert values(found.pool().cosine) == pytest.approx(brute_force(cosine))
    assert values(found.pool().csls) == pytest.approx(brute_force(csls_64(translated, truth)))
    assert found.cosine.value == pytest.approx(np.diag(cosine).mean(), abs=1e-6)
    centre = truth.mean(axis=0)
    centred = np.sum(unit64(translated - centre) * unit64(truth - centre), axis=1).mean()
    assert found.centred_cosine.value == pytest.approx(centred, abs=1e-6)
    assert found.centred_cosine.value < found.cosine.value


def test_equals_the_benchmark_definition_to_the_bit() -> None:
    """Benchmarks count ``sims > own`` in float32, 1,024 rows at a time: the same counts here."""
    truth = vectors(2500, 48)
    translated = noisy(truth, 1.4)
    t = translated / np.maximum(np.linalg.norm(translated, axis=1, keepdims=True), 1e-12)
    y = truth / np.maximum(np.linalg.norm(truth, axis=1, keepdims=True), 1e-12)
    ranks = []
    for i in range(0, len(t), 1024):
        sims = t[i : i + 1024] @ y.T
        mine = sims[np.arange(len(sims)), np.arange(i, i + len(sims))]
        ranks.append((sims > mine[:, None]).sum(1) + 1)
    rank = np.concatenate(ranks)
    found = score(translated, truth, pools=(None,)).pool().cosine
    assert 0.2 < found.top1.value < 0.95
    assert found.top1.value == (rank == 1).mean()
    assert found.mean_rank.value == rank.mean()


def test_by_hand() -> None:
    """Candidates at 0, 30, 90 degrees; queries at 5 (nearest: own), 10 (own is second), 10 (own is last)."""
    truth, translated = (np.stack([np.cos(a), np.sin(a)], 1) for a in np.deg2rad([[0.0, 30, 90], [5, 10, 10]]))
    found = score(translated, truth, pools=(None,))
    assert values(found.pool().cosine) == {
        "top1": pytest.approx(1 / 3),
        "top5": 1,
        "top16": 1,
        "mean_rank": pytest.approx((1 + 2 + 3) / 3),
        "median_rank": 2,
    }
    assert found.cosine.value == pytest.approx(np.cos(np.deg2rad([5, 20, 80])).mean())


def test_csls_demotes_a_hub() -> None:
    """Candidate 0 is near every query: by cosine it takes them all; CSLS subtracts its crowding."""
    rng = np.random.default_rng(3)
    truth = np.eye(40, dtype=np.float32) + 0.02 * rng.standard_normal((40, 40)).astype(np.float32)
    translated = truth.copy()
    truth[0] = 1.0
    translated[1:] += 0.3
    found = score(translated, truth, pools=(None,)).pool()
    assert found.cosine.top1.value < 0.1
    assert found.csls.top1.value > 0.9


# --- ties ---


@given(greater=st.integers(0, 30), equal=st.integers(0, 30), k=st.integers(1, 16))
def test_ties_are_broken_at_random_in_expectation(greater: int, equal: int, k: int) -> None:
    places = metrics_module._Places(np.array([greater]), np.array([equal]))
    possible = range(greater + 1, greater + equal + 2)  # the ranks that the own candidate may take, all as likely
    assert places.rank()[0] == pytest.approx(np.mean(possible))
    assert places.top(k)[0] == pytest.approx(np.mean([rank <= k for rank in possible]))


def test_constant_output_is_at_chance() -> None:
    truth = vectors(640, 16) + 0.3
    found = score(np.tile(truth.mean(axis=0), (640, 1)), truth, pools=(None,)).pool()
    for retrieval in (found.cosine, found.csls):
        assert retrieval.top1.value == pytest.approx(1 / 640, abs=2 / 640)
        assert retrieval.mean_rank.value == pytest.approx(641 / 2, rel=0.01)


def test_mean_vector_baseline_is_that_of_a_constant_output() -> None:
    truth = vectors(300, 16) + 0.3
    truth[7] = truth[8]
    constant = np.tile(truth.mean(axis=0, dtype=np.float64).astype(np.float32), (300, 1))
    identity = Rotation(np.eye(16, dtype=np.float32))
    baseline = evaluate(identity, truth, truth, pools=(64, None)).forward.mean_vector
    brute = brute_force(unit64(constant) @ unit64(truth).T)
    assert values(baseline.pool().cosine) == pytest.approx(brute, abs=2 / 300)
    assert baseline.pool().cosine.mean_rank.value == 301 / 2
    assert baseline.pool(64).csls.mean_rank.value == pytest.approx(65 / 2, rel=0.1)
    assert baseline.cosine.value == pytest.approx(score(constant, truth, pools=(None,)).cosine.value, abs=1e-6)


def test_zero_output_ties_everything_and_is_exactly_at_chance() -> None:
    found = score(np.zeros((64, 8)), vectors(64, 8), pools=(None,))
    assert values(found.pool().cosine) == {
        "top1": pytest.approx(1 / 64),
        "top5": pytest.approx(5 / 64),
        "top16": pytest.approx(16 / 64),
        "mean_rank": 32.5,
        "median_rank": 32.5,
    }
    assert found.cosine.value == 0


def test_collapsed_latent_is_at_chance() -> None:
    class Collapsed(Rotation):
        def latent(self, x: np.ndarray, *, space: str) -> np.ndarray:
            return np.ones((len(x), 3), np.float32)

    x = vectors(96, 8)
    latent = evaluate(Collapsed(np.eye(8, dtype=np.float32)), x, x, pools=(None,)).latent_forward.scores
    assert latent.cosine.value == pytest.approx(1)  # the cosine alone looks perfect ...
    assert latent.centred_cosine.value == pytest.approx(0, abs=1e-6)
    assert latent.pool().cosine.top1.value == pytest.approx(1 / 96)  # ... retrieval does not


def test_a_text_that_stands_twice_shares_its_place() -> None:
    truth = vectors(50, 8)
    truth[1] = truth[0]
    assert score(truth, truth, pools=(None,)).pool().cosine.top1.value == pytest.approx(49 / 50)


# --- the whole evaluation ---


@pytest.fixture(scope="module")
def perfect() -> Evaluation:
    x = fit_width(vectors(400, 12), 20) @ orthonormal(20, 20)  # 20 wide, but of rank 12
    basis = np.linalg.svd(x, full_matrices=False)[2][:12].T.astype(np.float32)
    return evaluate(Rotation(basis), x, x @ basis, pools=(128, 4096, None))


def test_perfect_translation(perfect: Evaluation) -> None:
    for direction in perfect.directions:
        assert direction.scores.cosine.value == pytest.approx(1, abs=1e-5)
        assert direction.scores.centred_cosine.value == pytest.approx(1, abs=1e-5)
        for pool in direction.scores.pools:
            for retrieval in (pool.cosine, pool.csls):
                assert values(retrieval) == dict.fromkeys(("top1", "top5", "top16", "mean_rank", "median_rank"), 1)


def test_directions_are_named_and_baselines_stand_beside(perfect: Evaluation) -> None:
    named = [(d.comparison, d.source, d.target) for d in perfect.directions]
    assert named == [("translation", *s) for s in ("ab", "ba")] + [("latent", *s) for s in ("ab", "ba")]
    for direction in (perfect.forward, perfect.backward):
        assert direction.identity is not None
        assert direction.identity.pool().cosine.top1.value < 0.05
    assert perfect.latent_forward.identity is None
    for direction in perfect.directions:
        assert direction.mean_vector.pool().cosine.top1.value < 0.01
        assert direction.mean_vector.centred_cosine.value == 0
        assert direction.chance.pool(128).cosine.top1.value == 1 / 128
        assert direction.chance.pool().csls.mean_rank.value == 401 / 2


def test_the_two_directions_differ_and_are_not_mixed_up() -> None:
    """Only the way back is spoilt."""

    class OneWay(Rotation):
        def translate(self, x: np.ndarray, *, source: str, target: str) -> np.ndarray:
            y = super().translate(x, source=source, target=target)
            return y if source == "a" else y[::-1]

    x, matrix = vectors(256, 16), orthonormal(16, 16)
    found = evaluate(OneWay(matrix), x, x @ matrix, pools=(None,))
    assert found.forward.scores.pool().cosine.top1.value == 1
    assert found.backward.scores.pool().cosine.top1.value < 0.05
    swapped = evaluate(OneWay(matrix), x @ matrix, x, source_space="b", pools=(None,))
    assert swapped.forward.scores == found.backward.scores
    assert swapped.latent_backward.scores == found.latent_forward.scores


def test_every_direction_scores_its_own_vectors() -> None:
    x, matrix = vectors(200, 12), orthonormal(12, 10)
    y = noisy(x @ matrix, 0.8)
    rotation = Rotation(matrix)
    found = evaluate(rotation, x, y, pools=(60, None))
    u, v = rotation.latent(x, space="a"), rotation.latent(y, space="b")
    expected = [(x @ matrix, y), (y @ matrix.T, x), (u, v), (v, u)]
    scores = [score(queries, truth, pools=(60, None)) for queries, truth in expected]
    assert [direction.scores for direction in found.directions] == scores
    assert scores[2] != scores[3]


def test_shuffled_truth_is_at_chance() -> None:
    x, matrix = vectors(2000, 32), orthonormal(32, 32)
    found = evaluate(Rotation(matrix), x, np.random.default_rng(5).permutation(x @ matrix), pools=(256,))
    for direction in found.directions:
        for retrieval in (direction.scores.pool(256).cosine, direction.scores.pool(256).csls):
            hits = retrieval.top1.value * 2000
            assert hits <= binom.ppf(1 - 1e-5, 2000, 1 / 256)
            assert abs(retrieval.mean_rank.value - 257 / 2) < 5 * np.sqrt(256**2 / 12 / 2000)
        assert abs(direction.scores.cosine.value - direction.chance.cosine.value) < 5 / np.sqrt(32 * 2000)


def test_chance_cosine_is_that_of_other_rows() -> None:
    truth = vectors(60, 8) + 1.0
    translated = noisy(truth, 0.5)
    cosine = unit64(translated) @ unit64(truth).T
    others = cosine[~np.eye(60, dtype=bool)].mean()
    chance = evaluate(Rotation(np.eye(8, dtype=np.float32)), translated, truth, pools=(None,)).forward.chance
    assert chance.cosine.value == pytest.approx(others, abs=1e-6)
    assert others > 0.4  # a mean in the vectors: a cosine means little without this line


# --- pools ---


def test_smaller_pools_are_easier_and_larger_ones_skipped() -> None:
    truth = vectors(1000, 16)
    translated = noisy(truth, 1.2)
    plan = score(translated, truth, pools=(50, 250, None, 5000))
    assert [(pool.size, pool.whole) for pool in plan.pools] == [(50, False), (250, False), (1000, True)]
    top1 = [pool.cosine.top1.value for pool in plan.pools]
    assert top1 == sorted(top1, reverse=True)
    assert top1[0] > top1[-1] + 0.1
    found = evaluate(Rotation(np.eye(16, dtype=np.float32)), translated, truth, pools=(50, 5000))
    assert found.skipped_pools == (5000,)
    assert found.forward.scores.pools[0] == plan.pools[0]


def test_a_pool_of_all_rows_is_the_same_as_none() -> None:
    truth = vectors(128, 8)
    found = score(noisy(truth, 1), truth, pools=(128, None))
    assert len(found.pools) == 1
    assert found.pool(128) is found.pool()


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(2, 200), size=st.integers(2, 200), seed=st.integers(0, 5))
def test_every_row_is_scored_once_among_exactly_size_candidates(rows: int, size: int, seed: int) -> None:
    size = min(size, rows)
    pools = list(metrics_module._partition(rows, size, seed))
    assert sorted(row for members, scored in pools for row in members[:scored]) == list(range(rows))
    assert all(len(set(members)) == len(members) == size for members, _ in pools)


def test_a_pool_is_scored_against_its_own_members_only() -> None:
    truth = vectors(75, 6)
    translated = noisy(truth, 1.5)
    found = score(translated, truth, pools=(30,), seed=4).pool(30)
    ranks = np.empty((2, 75))
    for members, scored in metrics_module._partition(75, 30, 4):
        plain = unit64(translated[members]) @ unit64(truth[members]).T
        for kind, sims in enumerate((plain, csls_64(translated[members], truth[members]))):
            for i in range(scored):
                ranks[kind, members[i]] = 1 + np.sum(sims[i] > sims[i, i])
    assert found.cosine.mean_rank.value == pytest.approx(ranks[0].mean())
    assert found.csls.mean_rank.value == pytest.approx(ranks[1].mean())


# --- intervals ---


def test_intervals_contain_the_point_and_shrink_with_rows() -> None:
    def found(rows: int) -> Scores:
        truth = vectors(rows, 16)
        return score(noisy(truth, 1.2), truth, pools=(100,))

    few, many = found(200), found(3200)
    for estimate in estimates(few) + estimates(many):
        assert estimate.low <= estimate.value <= estimate.high
    for small, large in zip(estimates(few), estimates(many), strict=True):
        assert large.high - large.low <= small.high - small.low
    ratio = [(e.high - e.low) for e in (few.pool(100).cosine.top1, many.pool(100).cosine.top1)]
    assert ratio[0] / ratio[1] == pytest.approx(4, rel=0.25)  # 1 / sqrt(n)


def test_interval_of_a_mean_has_the_width_of_its_standard_error() -> None:
    truth = vectors(1000, 16)
    top1 = score(noisy(truth, 1.2), truth, pools=(None,), bootstrap=2000).pool().cosine.top1
    expected = 2 * 1.96 * np.sqrt(top1.value * (1 - top1.value) / 1000)
    assert top1.high - top1.low == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("rows", [2, 3, 51, 400])
def test_interval_of_the_median_agrees_with_resampling(rows: int) -> None:
    data = np.random.default_rng(2).exponential(size=rows)
    found = metrics_module._median_estimate(data)
    draws = np.random.default_rng(3).choice(data, size=(20000, rows))
    resampled = np.sort(draws, axis=1)[:, (rows + 1) // 2 - 1]  # the median of odd, the lower one of even numbers
    assert found.value == np.median(data)
    position = np.searchsorted(np.sort(data), [*np.quantile(resampled, [0.025, 0.975]), found.low, found.high])
    assert np.all(np.abs(position[:2] - position[2:]) <= 1 + 0.005 * rows)


def test_seed_decides_all_and_nothing_else_does() -> None:
    truth = vectors(300, 8)
    translated = noisy(truth, 1)
    one, again, other = (score(translated, truth, pools=(64,), seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert one.cosine.value == other.cosine.value


# --- what is given out ---


def test_json_ready(perfect: Evaluation) -> None:
    tree = perfect.to_dict()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert tree["rows"] == 400
    assert tree["skipped_pools"] == [4096]
    assert tree["forward"]["scores"]["pools"][0]["csls"]["top1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert tree["latent_forward"]["identity"] is None


def test_table(perfect: Evaluation) -> None:
    table = perfect.table()
    titles = [section.title for section in table.sections]
    assert titles == ["a → b", "b → a", "a → b, in the latent", "b → a, in the latent"]
    assert all(len(row) == len(table.columns) for section in table.sections for row in section.rows)
    names = [row[0] for row in table.sections[0].rows]
    assert names == ["translation", "translation", "with CSLS", "with CSLS", "mean vector", "identity", "chance"]
    first = dict(zip(table.columns, table.sections[0].rows[0], strict=True))
    assert (first["pool"], first["top-1"], first["rank"]) == ("128", "1.000", "1.0")


# --- bad input ---


def test_bad_input() -> None:
    rotation, x = Rotation(np.eye(8, dtype=np.float32)), vectors(20, 8)
    with pytest.raises(InputError, match="source has 20 rows and target 19"):
        evaluate(rotation, x, x[:19])
    with pytest.raises(DimensionError, match="another width"):
        evaluate(rotation, x[:, :7], x)
    with pytest.raises(DimensionError, match="8 wide and the vectors given for b 7"):
        evaluate(rotation, x, x[:, :7])
    with pytest.raises(InputError, match="no space 'c', only a, b"):
        evaluate(rotation, x, x, source_space="c")
    with pytest.raises(InputError, match="both 'a'"):
        evaluate(rotation, x, x, source_space="a", target_space="a")
    with pytest.raises(InputError, match="3 spaces"):
        evaluate(Rotation(rotation.matrix, ("a", "b", "c")), x, x, source_space="a")
    with pytest.raises(InputError, match="at least 2"):
        evaluate(rotation, x[:1], x[:1])
    with pytest.raises(InputError, match="no pool of"):
        evaluate(rotation, x, x, pools=(1024,))
    with pytest.raises(InputError, match="at least 100"):
        evaluate(rotation, x, x, bootstrap=3)
    with pytest.raises(InputError, match="no pool of 7 was scored"):
        score(x, x).pool(7)
    with pytest.raises(DimensionError, match="5 wide and the truth 8"):
        score(x[:, :5], x)
    with pytest.raises(InputError):
        evaluate(rotation, np.full_like(x, np.nan), x)


def test_a_translation_that_is_not_finite_names_its_row() -> None:
    class Broken(Rotation):
        def translate(self, x: np.ndarray, *, source: str, target: str) -> np.ndarray:
            y = x.copy()
            y[3, 2] = np.nan
            return y

    x = vectors(20, 8)
    with pytest.raises(InputError, match="translation into b is not finite in row 3"):
        evaluate(Broken(np.eye(8, dtype=np.float32)), x, x)


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e36, 7e37])
def test_the_scale_of_vectors_does_not_matter(scale: float) -> None:
    x = np.random.default_rng(0).standard_normal((20, 60)).astype(np.float32)
    scaled = (scale * x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(metrics_module._unit(scaled), metrics_module._unit(x), atol=1e-6)
    assert not metrics_module._unit(0 * x).any()


@pytest.mark.parametrize("options", [{"pools": 1024}, {"pools": ("all",)}, {"pools": (50.7,)}, {"seed": -1}])
def test_options_that_are_none(options: dict[str, object]) -> None:
    x = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    with pytest.raises(InputError, match=next(iter(options))):
        score(x, x, **options)
