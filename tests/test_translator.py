from __future__ import annotations

import numpy as np
import pytest
import torch

from vec2vec import translator as module
from vec2vec.errors import DimensionError, InputError
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Space, Translator, linear_translator
from vec2vec.verdict import Verdict

ROWS = 500


def rotation(d_source: int, d_target: int, seed: int = 0) -> np.ndarray:
    """An orthogonal matrix, or as many of its rows or columns as the narrower space has."""
    square = np.random.default_rng(seed).standard_normal((max(d_source, d_target),) * 2)
    return np.linalg.qr(square)[0][:d_source, :d_target]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sphere(width: int, rows: int = ROWS, seed: int = 1) -> np.ndarray:
    """Rows on a sphere about a mean: what a translation gives back exactly."""
    directions = unit(np.random.default_rng(seed).standard_normal((rows // 2, width)))
    return (5 + 3 * np.concatenate([directions, -directions])).astype(np.float32)


def spaces(d_source: int, d_target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, the target that is the source turned, moved and scaled, and the rotation."""
    x, weight = sphere(d_source), rotation(d_source, d_target)
    return x, (2 * (x - 5) @ weight - 1).astype(np.float32), weight


def made(x: np.ndarray, y: np.ndarray, weight: np.ndarray, **options: object) -> Translator:
    return linear_translator(Preprocessor.fit(x), Preprocessor.fit(y), weight, **options)


@pytest.mark.parametrize(("d_source", "d_target"), [(12, 12), (12, 20)])
def test_a_known_rotation_is_recovered(d_source: int, d_target: int) -> None:
    x, y, weight = spaces(d_source, d_target)
    translator = made(x, y, weight)
    np.testing.assert_allclose(translator.translate(x), y, atol=1e-4)
    np.testing.assert_allclose(translator.translate(y, reverse=True), x, atol=1e-4)


def test_there_and_back_is_the_identity_on_the_common_subspace() -> None:
    x, y, weight = spaces(20, 12)
    translator = made(x, y, weight)
    z = translator.space("source").preprocessor.apply
    there_and_back = z(translator.translate(translator.translate(x), reverse=True))
    projected = unit(z(x) @ weight @ weight.T)
    np.testing.assert_allclose(there_and_back, projected, atol=1e-4)


def test_the_wider_space_first_has_the_same_maps() -> None:
    x, y, weight = spaces(12, 20)
    one, other = made(x, y, weight), made(y, x, weight.T)
    np.testing.assert_allclose(one.translate(x), other.translate(x, reverse=True), atol=1e-5)


def test_the_output_lies_where_the_native_vectors_lie() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((4000, 16)).astype(np.float32)
    y = (unit(rng.standard_normal((4000, 16)) + 0.5) * 7).astype(np.float32)
    out = made(x, y, rotation(16, 16)).translate(x)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 7, rtol=1e-5)
    np.testing.assert_allclose(out.mean(axis=0), y.mean(axis=0), atol=0.25)
    assert not np.allclose(x.mean(axis=0), y.mean(axis=0), atol=0.25)


def test_without_a_shared_norm_the_output_has_the_native_spread() -> None:
    x, y, weight = spaces(16, 16)
    y[::3] = (y[::3] + 1) * 2 - 1
    out = made(x, y, weight).translate(x)
    native = np.sqrt(((y - y.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert np.sqrt(((out - out.mean(axis=0)) ** 2).sum(axis=1).mean()) == pytest.approx(native, rel=1e-3)


def test_a_text_has_one_latent_from_either_space() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    left, right = translator.latent(x, space="source"), translator.latent(y, space="target")
    assert left.shape == (ROWS, 12)
    np.testing.assert_allclose(left, right, atol=1e-4)


@pytest.mark.parametrize(("d_source", "d_target"), [(10, 14), (14, 10), (12, 12)])
def test_two_maps_that_are_not_each_others_transpose_are_both_exact(d_source: int, d_target: int) -> None:
    rng = np.random.default_rng(3)
    x, y = sphere(d_source), sphere(d_target, seed=2)
    forward, backward = rng.standard_normal((d_source, d_target)), rng.standard_normal((d_target, d_source))
    translator = made(x, y, forward, backward=backward)
    source, target = (translator.space(name) for name in translator.spaces)
    np.testing.assert_allclose(source.basis @ target.decode, forward, atol=1e-5)
    np.testing.assert_allclose(target.basis @ source.decode, backward, atol=1e-5)
    expected = target.preprocessor.invert((source.preprocessor.apply(x) @ forward).astype(np.float32))
    np.testing.assert_allclose(translator.translate(x), expected, rtol=1e-4, atol=1e-3)


def test_any_linear_map_is_exact_and_its_rank_is_that_of_the_latent() -> None:
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((12, 5)) @ rng.standard_normal((5, 14))
    translator = made(sphere(12), sphere(14, seed=2), weight)
    assert translator.latent_width == 5
    source, target = (translator.space(name) for name in translator.spaces)
    np.testing.assert_allclose(source.basis @ target.decode, weight, atol=1e-4)
    np.testing.assert_allclose(target.basis @ source.decode, weight.T, atol=1e-4)


def test_bad_rows_are_nan_and_the_others_are_as_ever() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    expected = translator.translate(x)
    x[3], x[5], x[7], x[9, 2] = np.nan, np.inf, 0, -np.inf
    out = translator.translate(x)
    assert np.isnan(out[[3, 5, 9]]).all()
    assert np.isfinite(out[7]).all()
    good = np.delete(np.arange(ROWS), [3, 5, 7, 9])
    np.testing.assert_allclose(out[good], expected[good], atol=1e-5)


def test_values_whose_squares_overflow_still_have_a_direction() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    far = np.random.default_rng(0).standard_normal((4, 12)).astype(np.float32)
    np.testing.assert_allclose(translator.translate(far * 1e25), translator.translate(far * 1e6), atol=1e-4)


def test_a_row_at_the_mean_goes_to_the_mean() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    mean = translator.space("source").preprocessor.mean
    np.testing.assert_allclose(translator.translate(mean[None])[0], y.mean(axis=0), atol=1e-4)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    whole = translator.translate(x), translator.latent(x, space="source")
    monkeypatch.setattr(module, "BLOCK_VALUES", 12 * 7)
    monkeypatch.setattr(module, "PART_ROWS", 3)
    np.testing.assert_allclose(translator.translate(x), whole[0], atol=1e-5)
    np.testing.assert_allclose(translator.latent(x, space="source"), whole[1], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64])
def test_other_numbers_and_layouts(dtype: type) -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    given = (10 * x).astype(dtype)
    expected = translator.translate(given.astype(np.float32))
    np.testing.assert_allclose(translator.translate(given), expected, atol=1e-4)
    np.testing.assert_allclose(translator.translate(np.asfortranarray(given)), expected, atol=1e-4)
    np.testing.assert_allclose(translator.translate(given[::2]), expected[::2], atol=1e-4)


def test_tensors_lists_and_read_only_arrays() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    expected = translator.translate(x)
    np.testing.assert_allclose(translator.translate(torch.from_numpy(x)), expected, atol=1e-5)
    np.testing.assert_allclose(translator.translate(x.tolist()), expected, atol=1e-4)
    x.flags.writeable = False
    np.testing.assert_array_equal(translator.translate(x), expected)
    assert translator.translate(x[:0]).shape == (0, 20)


def test_the_input_is_left_alone() -> None:
    x, y, weight = spaces(12, 20)
    before = x.copy()
    translator = made(x, y, weight)
    translator.translate(x)
    translator.latent(x, space="source")
    np.testing.assert_array_equal(x, before)


def test_another_width_names_both_and_the_space() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    with pytest.raises(DimensionError, match=r"width 13, expected 12 for the space 'source'$"):
        translator.translate(np.ones((2, 13)))
    with pytest.raises(DimensionError, match=r"width 20, expected 12.*'target'.*other direction"):
        translator.translate(y)
    with pytest.raises(DimensionError, match="width 12, expected 20"):
        translator.latent(x, space="target")


@pytest.mark.parametrize("bad", [np.ones(12), np.array([["a"] * 12]), [[1.0], [1.0, 2.0]], np.ones((2, 2, 12))])
def test_what_are_no_vectors(bad: object) -> None:
    with pytest.raises(InputError):
        made(*spaces(12, 20)).translate(bad)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("a", "b")),
        ({"reverse": True}, ("b", "a")),
        ({"source": "b"}, ("b", "a")),
        ({"source": "a"}, ("a", "b")),
        ({"target": "a"}, ("b", "a")),
        ({"source": "b", "target": "a"}, ("b", "a")),
    ],
)
def test_direction_of_two(options: dict[str, object], expected: tuple[str, str]) -> None:
    translator = made(*spaces(12, 20), names=("a", "b"))
    assert translator.direction(**options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "sorce"}, "did you mean 'source'"),
        ({"target": "x"}, "'source', 'target'"),
        ({"source": "target", "target": "target"}, "same space"),
        ({"source": "target", "reverse": True}, "not both"),
    ],
)
def test_directions_that_there_are_not(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(*spaces(12, 20)).direction(**options)


def three() -> Translator:
    """Three spaces that are each a rotation of the latent."""
    held = {}
    for i, name in enumerate("abc"):
        turn = rotation(12, 12, seed=i).astype(np.float32)
        held[name] = Space(Preprocessor.fit(sphere(12) @ turn), turn.T.copy(), turn)
    return Translator(held)


def test_three_spaces() -> None:
    translator = three()
    x = sphere(12)
    native = {name: x @ translator.space(name).decode for name in "abc"}
    for source in "abc":
        for target in "abc".replace(source, ""):
            out = translator.translate(native[source], source=source, target=target)
            np.testing.assert_allclose(out, native[target], atol=1e-4)
    with pytest.raises(InputError, match="name the source and the target"):
        translator.translate(x)
    with pytest.raises(InputError, match="name the source and the target"):
        translator.direction(reverse=True)


@pytest.mark.parametrize("names", [("a", "a"), ("", "b"), (" ", "b"), ("a\n", "b")])
def test_names_that_will_not_do(names: tuple[str, str]) -> None:
    with pytest.raises(InputError):
        made(*spaces(12, 20), names=names)


def test_maps_that_will_not_do() -> None:
    x, y, weight = spaces(12, 20)
    with pytest.raises(DimensionError):
        made(x, y, weight.T)
    with pytest.raises(DimensionError):
        made(x, y, weight, backward=weight)
    for bad in (0 * weight, np.nan * weight):
        with pytest.raises(InputError):
            made(x, y, bad)


def test_spaces_that_do_not_fit_together() -> None:
    x, y, weight = spaces(12, 20)
    held = made(x, y, weight)
    source, target = held.space("source"), held.space("target")
    narrow = Space(target.preprocessor, target.basis[:, :5], target.decode[:5])
    wrong = Space(target.preprocessor, target.basis[:-1], target.decode)
    for bad in ({"source": source}, {"source": source, "target": narrow}, {"source": source, "target": wrong}):
        with pytest.raises(InputError):
            Translator(bad)


def test_repr() -> None:
    verdict = Verdict("aligned", 0.8, (0.7, 0.9), {}, "Fine.")
    text = repr(made(*spaces(12, 20), names=("mini", "use"), verdict=verdict))
    assert text == "Translator({'mini': 12, 'use': 20}, latent=12, verdict='aligned')"


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e36])
def test_the_scale_of_a_space_does_not_matter(scale: float) -> None:
    x, y, weight = spaces(12, 20)
    far = (scale * x.astype(np.float64)).astype(np.float32)
    plain, scaled = made(x, y, weight), made(far, y, weight)
    np.testing.assert_allclose(scaled.translate(far), plain.translate(x), atol=1e-3)
    np.testing.assert_allclose(scaled.translate(y, reverse=True) / scale, plain.translate(y, reverse=True), rtol=1e-3)
    np.testing.assert_allclose(scaled.latent(far, space="source"), plain.latent(x, space="source"), atol=1e-4)


def test_what_a_program_has_chosen_for_its_own_tensors_is_no_matter() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    there, shared = translator.translate(x), translator.latent(x, space="source")
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        np.testing.assert_array_equal(made(x, y, weight).translate(x), there)
        np.testing.assert_array_equal(translator.latent(x, space="source"), shared)
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)


def test_masked_values_are_not_shown() -> None:
    x, y, weight = spaces(12, 20)
    translator = made(x, y, weight)
    hidden = np.ma.masked_array(x)
    np.testing.assert_array_equal(translator.translate(hidden), translator.translate(x))
    hidden[3, 1] = np.ma.masked
    with pytest.raises(InputError, match=r"1 values are masked; fill them"):
        translator.translate(hidden)
