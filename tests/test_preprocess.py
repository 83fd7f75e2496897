from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vec2vec.errors import DimensionError, InputError
from vec2vec.preprocess import Preprocessor


def cloud(rows: int = 400, width: int = 12, scale: float = 3.0, shift: float = 2.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (scale * rng.standard_normal((rows, width)) + shift).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_mean_radius_and_norm_are_those_of_the_vectors() -> None:
    x = cloud()
    fitted = Preprocessor.fit(x)
    np.testing.assert_allclose(fitted.mean, x.mean(axis=0), rtol=1e-5)
    assert fitted.radius == pytest.approx(np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()), rel=1e-5)
    assert fitted.norm is None
    assert fitted.mean.dtype == np.float32


def test_a_norm_that_all_rows_share_is_known() -> None:
    assert Preprocessor.fit(7 * unit(cloud())).norm == pytest.approx(7, rel=1e-5)
    rows = 7 * unit(cloud())
    rows[::2] *= 1.05
    assert Preprocessor.fit(rows).norm is None


@given(st.floats(1e-3, 1e3), st.floats(-10, 10), st.integers(2, 40))
def test_apply_gives_directions_from_the_mean_whatever_the_scale(scale: float, shift: float, width: int) -> None:
    base = cloud(60, width, 1.0, shift)
    z = Preprocessor.fit(base).apply(base)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-4)
    scaled = np.float32(scale) * base
    np.testing.assert_allclose(Preprocessor.fit(scaled).apply(scaled), z, atol=1e-3)


def test_invert_undoes_apply_up_to_the_distance_from_the_mean() -> None:
    x = cloud()
    fitted = Preprocessor.fit(x)
    back = fitted.invert(fitted.apply(x))
    np.testing.assert_allclose(fitted.apply(back), fitted.apply(x), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(back - fitted.mean, axis=1), fitted.radius, rtol=1e-5)


def test_invert_gives_the_shared_norm() -> None:
    x = 7 * unit(cloud())
    fitted = Preprocessor.fit(x)
    np.testing.assert_allclose(np.linalg.norm(fitted.invert(fitted.apply(x)), axis=1), 7, rtol=1e-5)


@pytest.mark.parametrize("norm", [1e-20, 1e20])
def test_invert_gives_a_norm_whose_square_float32_cannot_hold(norm: float) -> None:
    x = np.float32(norm) * unit(cloud())
    fitted = Preprocessor.fit(x)
    back = fitted.invert(fitted.apply(x)).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), norm, rtol=1e-5)


def test_a_row_at_the_mean_is_zero_not_an_error() -> None:
    fitted = Preprocessor.fit(cloud())
    np.testing.assert_array_equal(fitted.apply(fitted.mean[None]), 0)


def test_apply_leaves_its_input_alone() -> None:
    x = cloud()
    before = x.copy()
    Preprocessor.fit(x).apply(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("bad", [np.ones((5, 3)), np.ones((1, 3)), np.full((5, 3), np.nan), np.ones(3)])
def test_what_cannot_be_fitted(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        Preprocessor.fit(bad)


def test_another_width() -> None:
    with pytest.raises(DimensionError, match=r"13.*12"):
        Preprocessor.fit(cloud()).apply(cloud(width=13))


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e36])
def test_rows_whose_squares_float32_cannot_hold(scale: float) -> None:
    base = cloud()
    scaled = (scale * base.astype(np.float64)).astype(np.float32)
    z = Preprocessor.fit(base).apply(base)
    np.testing.assert_allclose(Preprocessor.fit(scaled).apply(scaled), z, atol=1e-4)


def test_a_row_whose_norm_float32_cannot_hold() -> None:
    x = cloud()
    x[3] = 3e38
    z = Preprocessor.fit(x).apply(x)
    np.testing.assert_allclose(z[3], 1 / np.sqrt(x.shape[1]), rtol=1e-4)


def test_vectors_whose_norm_float32_cannot_hold() -> None:
    x = np.where(cloud() > 0, np.float32(3e38), np.float32(-3e38))
    with pytest.raises(InputError, match="too long for float32"):
        Preprocessor.fit(x)
