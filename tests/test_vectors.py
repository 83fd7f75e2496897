from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vec2vec.errors import DimensionError, InputError
from vec2vec.vectors import JSON_TEXT, BadRow, Gate, VectorBatch, check_vectors, constant_columns, first_rows

NAN, INF = float("nan"), float("inf")


def batch(
    x: object, first: int = 0, columns: pa.Table | None = None, faults: dict[int, str] | None = None
) -> VectorBatch:
    vectors = np.array(x, dtype=np.float32)
    rows = np.arange(first, first + len(vectors), dtype=np.int64)
    return VectorBatch(vectors, rows, columns, faults or {})


GOOD = [1.0, 2.0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1, NAN], "column 1 is NaN"),
        ([INF, 1], "column 0 is infinite"),
        ([-INF, NAN], "column 0 is infinite"),
        ([0, 0], "all its values are zero"),
        ([-0.0, 0.0], "all its values are zero"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_what_to_do(row: list[float], reason: str) -> None:
    gate = Gate("a.npy")
    gate.check(batch([GOOD] * 5))
    with pytest.raises(InputError) as error:
        gate.check(batch([GOOD, row], first=5))
    message = str(error.value)
    assert message.startswith("a.npy: row 6 (counted from 0)")
    assert reason in message
    assert "--on-bad-rows skip" in message
    assert "\n" not in message


def test_further_bad_rows_are_counted() -> None:
    with pytest.raises(InputError, match="and 2 more"):
        Gate("a").check(batch([[0, 0], [NAN, 1], GOOD, [0, 0]]))


def test_values_whose_square_overflows_or_vanishes_are_good() -> None:
    x = np.array([[1e30, -1e30], [1e-30, 0], [3e38, 0]], dtype=np.float32)
    np.testing.assert_array_equal(check_vectors(x), x)


def test_what_is_infinite_as_float32_is_bad() -> None:
    with pytest.raises(InputError, match="column 1 is infinite"):
        check_vectors(np.array([[1.0, 1e300]]))


def test_skip_drops_rows_with_their_columns_and_lists_them() -> None:
    gate = Gate("a.parquet", on_bad_rows="skip")
    table = pa.table({"year": [1, 2, 3], "id": ["x", "y", "z"]})
    out = gate.check(batch([GOOD, [0, 0], [3, 4]], first=10, columns=table))
    np.testing.assert_array_equal(out.vectors, [GOOD, [3, 4]])
    assert out.rows.tolist() == [10, 12]
    assert out.columns is not None
    assert out.columns.to_pydict() == {"year": [1, 3], "id": ["x", "z"]}
    assert gate.bad == [BadRow(11, "all its values are zero", "y")]
    assert gate.seen == 3
    assert "1 of 3 rows" in gate.summary()
    assert "skipped" in gate.summary()


def test_the_id_of_a_json_column_is_decoded() -> None:
    gate = Gate("a.jsonl", on_bad_rows="skip")
    schema = pa.schema([pa.field("doc_id", pa.string(), metadata=JSON_TEXT)])
    table = pa.Table.from_arrays([pa.array(['"seven"', "8"])], schema=schema)
    gate.check(batch([[0, 0], [0, 0]], columns=table))
    assert [row.id for row in gate.bad] == ["seven", 8]


def test_an_id_is_found_beside_columns_of_which_no_rows_can_be_taken() -> None:
    gate = Gate("a", on_bad_rows="keep")
    table = pa.table({"text": pa.array(["p", "q"], pa.string_view()), "id": ["x", "y"]})
    gate.check(batch([GOOD, [0, 0]], columns=table))
    assert [row.id for row in gate.bad] == ["y"]


def test_keep_lets_rows_pass_and_counts_them() -> None:
    gate = Gate("a", on_bad_rows="keep")
    given = batch([[0, 0], [NAN, 1], GOOD])
    assert gate.check(given) is given
    assert [row.row for row in gate.bad] == [0, 1]
    gate.finish()


def test_good_batches_are_not_copied() -> None:
    given = batch([GOOD, GOOD])
    assert Gate("a").check(given) is given


def test_a_fault_of_the_store_is_the_reason() -> None:
    gate = Gate("a.jsonl", on_bad_rows="skip")
    gate.check(batch([GOOD, [NAN, NAN]], first=3, faults={4: "line 5: is not JSON"}))
    assert gate.bad == [BadRow(4, "line 5: is not JSON")]


def test_width_is_asked_for_or_that_of_the_first_batch() -> None:
    with pytest.raises(DimensionError, match="a: the vectors have width 2, expected 3"):
        Gate("a", width=3).check(batch([GOOD]))
    gate = Gate("a")
    gate.check(batch([GOOD]))
    with pytest.raises(DimensionError, match="width 3, expected 2"):
        gate.check(batch([[1, 2, 3]]))


def test_finish_complains_if_nothing_came_through() -> None:
    with pytest.raises(InputError, match="no vectors"):
        Gate("a").finish()
    gate = Gate("a", on_bad_rows="skip")
    gate.check(batch([[0, 0], [NAN, 1]]))
    with pytest.raises(InputError, match="none of its 2 rows"):
        gate.finish()


def test_an_unknown_choice_is_an_error() -> None:
    with pytest.raises(InputError, match="'error', 'skip' or 'keep'"):
        Gate("a", on_bad_rows="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "u1", "i4", "i8", "u8"])
def test_numeric_dtypes_become_float32(dtype: str) -> None:
    x = np.array([[1, 2], [3, 4]], dtype=dtype)
    out = check_vectors(x)
    assert out.dtype == np.float32
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, [[1, 2], [3, 4]])


def test_float32_is_not_copied_and_never_changed() -> None:
    x = np.ones((3, 2), dtype=np.float32)
    assert check_vectors(x) is x
    y = np.array([[1, 2], [0, 0]], dtype=np.float32)
    check_vectors(y, on_bad_rows="skip")
    np.testing.assert_array_equal(y, [[1, 2], [0, 0]])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\), expected 2-D.*x\[None, :\]"),
        (np.ones((2, 2, 2)), "expected 2-D"),
        (3.0, "expected 2-D"),
        ([[1.0, 2.0], [3.0]], "one width"),
        ([["1", "2"]], "holds <U1 values"),
        (np.array([[1, None]], dtype=object), "holds object values"),
        ([[True, False]], "holds bool values"),
        ([[1j, 2]], "holds complex128 values"),
        (np.ones((2, 0)), "width 0"),
        (np.ones((0, 4)), "too few rows: 0; 1 or more"),
        (torch.ones(2, 2, dtype=torch.bfloat16), "cannot be read as an array"),
        (torch.ones(2, 2, requires_grad=True), "cannot be read as an array"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_an_error(x: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^mine: .*{message}") as error:
        check_vectors(x, name="mine")  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_too_few_rows() -> None:
    with pytest.raises(InputError, match="too few rows: 2; 3 or more are needed"):
        check_vectors(np.ones((2, 2)), min_rows=3)
    with pytest.raises(InputError, match=r"too few rows: 1 \(bad rows skipped: 1\); 2 or more"):
        check_vectors([[1, 2], [0, 0]], min_rows=2, on_bad_rows="skip")
    with pytest.raises(InputError):
        check_vectors([[0, 0]], on_bad_rows="skip")


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.sampled_from([0.0, 1.0, -2.5, 1e-40, 3e38, NAN, INF, -INF]),
    )
)
def test_skip_leaves_exactly_the_good_rows(x: np.ndarray) -> None:
    good = np.isfinite(x).all(axis=1) & (x != 0).any(axis=1)
    gate = Gate("a", on_bad_rows="skip")
    out = gate.check(batch(x))
    np.testing.assert_array_equal(out.vectors, x[good])
    assert [row.row for row in gate.bad] == np.flatnonzero(~good).tolist()


def test_constant_columns_are_named() -> None:
    x = np.random.default_rng(0).standard_normal((200, 9), dtype=np.float32)
    assert constant_columns(x) == ""
    x[:, 2] = 0.5
    assert constant_columns(x, name="s.npy") == "s.npy: 1 of 9 columns are constant (2)"
    x[:, 3:] = 0.5
    assert constant_columns(x).endswith("7 of 9 columns are constant (2, 3, 4, 5, 6, …)")


def test_rows_that_repeat_an_earlier_one() -> None:
    x = np.random.default_rng(0).standard_normal((6, 4), dtype=np.float32)
    x[[2, 5]] = x[[0, 4]]
    assert first_rows(x).tolist() == [0, 1, 3, 4]
    assert first_rows(x[:0]).tolist() == []


def test_masked_values_are_not_shown() -> None:
    hidden = np.ma.masked_array(np.ones((4, 3), np.float32))
    assert check_vectors(hidden).shape == (4, 3)
    hidden[2] = np.ma.masked
    with pytest.raises(InputError, match="vectors: 3 values are masked"):
        check_vectors(hidden)


def test_an_id_that_is_no_number_is_no_id() -> None:
    assert json.loads(BadRow(3, "it is null", float("nan")).to_json()) == {"row": 3, "reason": "it is null"}
    assert json.loads(BadRow(3, "it is null", 7.5).to_json())["id"] == 7.5
