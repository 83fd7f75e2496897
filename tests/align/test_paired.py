from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from vec2vec.align.base import LinearFit, Progress, make_config
from vec2vec.align.paired import (
    ProcrustesConfig,
    RidgeConfig,
    fit_procrustes,
    fit_ridge,
    halves_of_pairs,
    partial_whitening,
    polar_factor,
    procrustes,
    ridge,
    whitened_procrustes,
)
from vec2vec.errors import ConfigError, DimensionError, InputError
from vec2vec.preprocess import Preprocessor

RNG_SEED = 7


def points(rows: int, width: int, seed: int = RNG_SEED) -> np.ndarray:
    """Rows with a falling spread over the dimensions."""
    x = np.random.default_rng(seed).standard_normal((rows, width))
    return np.asarray(x * np.linspace(2, 0.3, width), np.float32)


def isometry(rows: int, columns: int, seed: int = RNG_SEED) -> np.ndarray:
    """(rows, columns), orthonormal rows or columns."""
    return polar_factor(np.random.default_rng(seed).standard_normal((rows, columns)))


def mapped(fit: LinearFit, x: np.ndarray) -> np.ndarray:
    return fit.target.invert(fit.source.apply(x) @ fit.weight)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def test_procrustes_is_that_of_scipy_for_two_spaces_of_one_width() -> None:
    x, y = points(300, 24).astype(np.float64), points(300, 24, seed=8).astype(np.float64)
    np.testing.assert_allclose(procrustes(x, y), orthogonal_procrustes(x, y)[0], atol=1e-12)


@pytest.mark.parametrize(("source", "target"), [(24, 24), (24, 40), (40, 24)])
def test_procrustes_finds_a_known_isometry(source: int, target: int) -> None:
    rotation = isometry(source, target)
    y = points(200, min(source, target)).astype(np.float64)
    x = y if source <= target else y @ rotation.T
    y = x @ rotation
    np.testing.assert_allclose(procrustes(x, y), rotation, atol=1e-10)


@pytest.mark.parametrize(("source", "target"), [(24, 40), (40, 24), (24, 24)])
def test_the_map_is_a_partial_isometry(source: int, target: int) -> None:
    w = procrustes(points(200, source), points(200, target, seed=8))
    small = w @ w.T if source <= target else w.T @ w
    assert w.dtype == np.float32
    np.testing.assert_allclose(small, np.eye(min(source, target)), atol=1e-5)


def test_procrustes_is_better_than_any_rotation_near_it() -> None:
    x, y = points(200, 12).astype(np.float64), points(200, 12, seed=8).astype(np.float64)
    best = procrustes(x, y)
    rng = np.random.default_rng(1)
    for size in (0.01, 0.1, 1.0):
        other = polar_factor(best + size * rng.standard_normal(best.shape))
        assert np.linalg.norm(x @ best - y) < np.linalg.norm(x @ other - y)


def test_rows_that_are_not_aligned_are_refused() -> None:
    for solve in (procrustes, lambda x, y: ridge(x, y, 1.0), lambda x, y: whitened_procrustes(x, y, 0.5)):
        with pytest.raises(DimensionError, match=r"200 source rows and 199 target rows"):
            solve(points(200, 5), points(199, 5))


def test_whitening_fully_gives_the_identity_as_second_moments() -> None:
    x = points(500, 16) @ isometry(16, 16)
    whitening, restoring = partial_whitening(x, 1.0)
    white = x @ whitening
    np.testing.assert_allclose(white.T @ white / len(x), np.eye(16), atol=1e-5)
    np.testing.assert_allclose(whitening @ restoring, np.eye(16), atol=1e-9)


def test_whitening_in_part_takes_the_power_of_the_spread() -> None:
    x = points(500, 16)
    before, after = (np.linalg.eigvalsh(z.T @ z / len(x)) for z in (x, x @ partial_whitening(x, 0.5)[0]))
    np.testing.assert_allclose(after, np.sqrt(before), rtol=1e-4)


def test_a_direction_without_spread_is_whitened_to_something_finite() -> None:
    x = points(100, 8)
    x[:, 3] = 0
    assert np.isfinite(partial_whitening(x, 1.0)[0]).all()


def test_without_whitening_it_is_procrustes() -> None:
    x, y = points(200, 12), points(200, 20, seed=8)
    forward, backward = whitened_procrustes(x, y, 0.0)
    np.testing.assert_allclose(forward, procrustes(x, y), atol=1e-5)
    np.testing.assert_allclose(backward, forward.T, atol=1e-9)


def test_whitening_undoes_a_stretch_that_a_rotation_cannot() -> None:
    x = points(2000, 12).astype(np.float64)
    stretch = isometry(12, 12, seed=1) @ np.diag(np.linspace(0.3, 3, 12)) @ isometry(12, 12, seed=2)
    y = x @ stretch
    forward, backward = whitened_procrustes(x, y, 1.0)
    assert np.linalg.norm(x @ forward - y) < 0.1 * np.linalg.norm(x @ procrustes(x, y) - y)
    np.testing.assert_allclose(forward @ backward, np.eye(12), atol=1e-8)


def test_ridge_solves_its_normal_equations() -> None:
    x, y = points(300, 10).astype(np.float64), points(300, 6, seed=8).astype(np.float64)
    strength = 0.5 * np.trace(x.T @ x) / 10
    w = ridge(x, y, 0.5)
    np.testing.assert_allclose(x.T @ (x @ w - y) + strength * w, 0, atol=1e-8)


def test_ridge_shrinks_as_the_penalty_grows_and_is_least_squares_without_one() -> None:
    x, y = points(300, 10), points(300, 6, seed=8)
    sizes = [np.linalg.norm(ridge(x, y, penalty)) for penalty in (1e-6, 1.0, 100.0)]
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_allclose(ridge(x, y, 1e-9), np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-4)


@pytest.mark.parametrize(("source", "target"), [(24, 40), (40, 24)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_fit_recovers_a_rotation_scale_and_shift(source: int, target: int, scale: float) -> None:
    rng = np.random.default_rng(3)
    hidden = points(1200, min(source, target))
    x = (hidden @ isometry(hidden.shape[1], source, seed=1) + rng.standard_normal(source)).astype(np.float32)
    y = (scale * hidden @ isometry(hidden.shape[1], target, seed=2) + rng.standard_normal(target)).astype(np.float32)
    fit = fit_procrustes(x[:1000], y[:1000], ProcrustesConfig(), seed=0, pairs=(x[:100], y[:100]))
    assert fit.weight.shape == (source, target)
    assert fit.backward is not None
    assert fit.backward.shape == (target, source)
    np.testing.assert_allclose(
        fit.source.apply(x[1000:]) @ fit.weight, fit.target.apply(y[1000:]), atol=2e-4, err_msg="held-out rows"
    )
    np.testing.assert_allclose(fit.target.apply(y[1000:]) @ fit.backward, fit.source.apply(x[1000:]), atol=2e-4)


def test_the_space_is_that_of_the_unpaired_rows_not_of_the_pairs() -> None:
    x, y = points(1000, 16), points(1000, 16, seed=8)
    fit = fit_procrustes(x, y, ProcrustesConfig(), seed=0, pairs=(x[:50] + 5, y[:50]))
    np.testing.assert_array_equal(fit.source.mean, Preprocessor.fit(x).mean)


def test_ridge_fit_predicts_where_the_map_is_no_rotation() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3000, 12)).astype(np.float32)
    y = (x @ (rng.standard_normal((12, 20)) * np.linspace(0.1, 2, 12)[:, None])).astype(np.float32)
    pairs = (x[:2000], y[:2000])
    regressed = fit_ridge(x, y, RidgeConfig(penalty=1e-4), seed=0, pairs=pairs)
    rotated = fit_procrustes(x, y, ProcrustesConfig(), seed=0, pairs=pairs)
    by_ridge, by_rotation = (cosine(mapped(fit, x[2000:]), y[2000:]).mean() for fit in (regressed, rotated))
    assert by_ridge > 0.99
    assert by_ridge > by_rotation + 0.02


def test_shuffled_pairs_align_nothing() -> None:
    x = points(2000, 16)
    y = (x @ isometry(16, 16)).astype(np.float32)
    order = np.random.default_rng(0).permutation(1000)
    right = fit_procrustes(x, y, ProcrustesConfig(), seed=0, pairs=(x[:1000], y[:1000]))
    wrong = fit_procrustes(x, y, ProcrustesConfig(), seed=0, pairs=(x[:1000], y[:1000][order]))
    assert cosine(mapped(right, x[1000:]), y[1000:]).mean() > 0.999
    assert abs(cosine(mapped(wrong, x[1000:]), y[1000:]).mean()) < 0.3
    assert [fit.verdict.label for fit in (right, wrong) if fit.verdict] == ["aligned", "not aligned"]


def test_a_text_with_several_partners_is_known_to_one_half_only() -> None:
    texts, partners = np.repeat(points(20, 8), 5, axis=0), points(100, 6)
    for x, y in ((texts, partners), (partners, texts)):
        halves = halves_of_pairs(x, y, np.random.default_rng(0))
        assert sorted(np.concatenate(halves).tolist()) == list(range(100))
        first, second = ({int(pair) // 5 for pair in half} for half in halves)
        assert len(first) == len(second) == 10


def test_pairs_that_share_nothing_are_dealt_in_turn() -> None:
    halves = halves_of_pairs(points(25, 8), points(25, 6), np.random.default_rng(0))
    order = np.random.default_rng(0).permutation(25)
    np.testing.assert_array_equal(halves[0], order[::2])
    np.testing.assert_array_equal(halves[1], order[1::2])


def test_few_texts_with_many_partners_align_nothing() -> None:
    rng = np.random.default_rng(0)
    x, y = points(2000, 40), points(2000, 30, seed=8)
    partners = np.repeat(y[:12], 10, axis=0) + 0.01 * rng.standard_normal((120, 30)).astype(np.float32)
    fit = fit_ridge(x, y, RidgeConfig(), seed=0, pairs=(np.repeat(x[:12], 10, axis=0), partners))
    assert fit.verdict is not None
    assert fit.verdict.label == "not aligned"


@pytest.mark.parametrize("fit", [fit_procrustes, fit_ridge])
def test_pairs_that_will_not_do(fit: object) -> None:
    assert callable(fit)
    config = ProcrustesConfig() if fit is fit_procrustes else RidgeConfig()
    x, y = points(100, 8), points(100, 6)
    with pytest.raises(InputError, match="needs pairs"):
        fit(x, y, config, seed=0)
    with pytest.raises(InputError, match="needs pairs"):
        fit(x, y, config, seed=0, pairs=(x[:0], y[:0]))
    with pytest.raises(DimensionError, match="the target side is 8 wide, the target space 6"):
        fit(x, y, config, seed=0, pairs=(x, x))
    with pytest.raises(DimensionError, match="20 source rows and 10 target rows"):
        fit(x, y, config, seed=0, pairs=(x[:20], y[:10]))


def test_progress_begins_and_ends() -> None:
    x, seen = points(100, 8), list[Progress]()
    fit_ridge(x, x, RidgeConfig(), seed=0, progress=seen.append, pairs=(x, x))
    assert [(p.stage, p.step, p.total) for p in seen] == [("ridge", 0, 1), ("ridge", 1, 1)]


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="whitening"):
        make_config(ProcrustesConfig, {"whitening": 1.5}, method="procrustes")
    with pytest.raises(ConfigError, match="penalty"):
        make_config(RidgeConfig, {"penalty": 0}, method="ridge")
