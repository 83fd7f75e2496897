"""What is particular to .npy, .npz and .safetensors."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vec2vec.errors import InputError, OutputError, Vec2VecWarning
from vec2vec.stores import open_sink, open_source
from vec2vec.stores.arrays import npy_header
from vec2vec.stores.atomic import to_bfloat16
from vec2vec.vectors import Gate, VectorBatch


def vectors(rows: int = 30, width: int = 4) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, width)).astype(np.float32)


class Grenade:
    """Pickled as a call: whoever unpickles it sees AssertionError, not InputError."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return explode, ("it was unpickled",)


def explode(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "|i1", "|u1", "<i2", "<i8"])
@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
def test_dtypes(tmp_path: Path, dtype: str, save: object) -> None:
    x = np.arange(1, 13).reshape(4, 3).astype(dtype)
    path = tmp_path / ("x.npy" if save is np.save else "x.npz")
    save(path, x)  # type: ignore[operator]
    source = open_source(path)
    assert source.dtype == x.dtype.name
    np.testing.assert_array_equal(source.take([0, 3]), x[[0, 3]].astype(np.float32))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[1, "a"]], dtype=object), "Python objects, which are pickled and never loaded"),
        (np.array([[Grenade()]], dtype=object), "pickled and never loaded"),
        (np.array([["a", "b"]]), "holds <U1 values"),
        (np.zeros((2, 2), dtype=bool), "holds bool values"),
        (np.zeros((2, 2), dtype="V2"), r"holds \|V2 values"),
        (np.zeros((2, 2), dtype=[("a", "f4")]), "values, expected float16"),
        (np.ones(3), r"shape \(3,\), expected 2-D.*one row"),
        (np.ones((1, 2, 3)), "expected 2-D"),
        (np.float32(1), "expected 2-D"),
        (np.ones((0, 3)), "is empty"),
        (np.ones((3, 0)), "width 0"),
    ],
)
def test_npy_of_something_else(tmp_path: Path, x: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", v=x)
    with pytest.raises(InputError, match=message):
        open_source(f"{tmp_path / 'x.npz'}::v")


def test_a_pickle_by_another_name_is_not_loaded(tmp_path: Path) -> None:
    np.array([[Grenade()]], dtype=object).dump(tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"is no \.npy array"):
        open_source(tmp_path / "x.npy")


def test_npy_header_has_one_length_and_is_what_numpy_reads(tmp_path: Path) -> None:
    assert len(npy_header((0, 4), np.dtype("f4"))) == len(npy_header((10**15, 99_999), np.dtype("f8"))) == 128
    (tmp_path / "x.npy").write_bytes(npy_header((2, 3), np.dtype("f4")) + np.ones(6, "f4").tobytes())
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.ones((2, 3), "f4"))


def test_a_truncated_npy_says_by_how_much(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", vectors())
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"is truncated: it has 607 bytes of the 608 that shape \(30, 4\) takes"):
        open_source(tmp_path / "x.npy")


def test_npz_finds_the_only_matrix_of_floats(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, ids=np.arange(30), names=np.array(["a"] * 30), tokens=np.ones((30, 2), int), v=vectors())
    assert open_source(path).key == "v"
    np.savez(path, source=vectors(), target=vectors())
    with pytest.raises(
        InputError, match=r"2 arrays could be the vectors: 'source', 'target'; name one, as in '.*::source'"
    ):
        open_source(path)
    assert open_source(f"{path}::target").key == "target"
    np.savez(path, ids=np.arange(30))
    with pytest.raises(InputError, match="no array holds vectors"):
        open_source(path)
    np.savez(path, v=np.array([[None]]))
    with pytest.raises(InputError, match="pickled and never loaded"):
        open_source(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("skipped", [[], [3, 29]])
def test_npz_carries_its_other_arrays(tmp_path: Path, save: object, skipped: list[int]) -> None:
    x = vectors()
    x[skipped] = 0
    kept = [i for i in range(30) if i not in skipped]
    others = {
        "ids": np.arange(30),
        "names": np.array([f"n{i}" for i in range(30)]),
        "grid": np.asfortranarray(np.arange(60).reshape(30, 2)),
        "mean": np.arange(4.0),
        "scalar": np.float64(2.5),
        "none": np.empty((0, 3)),
    }
    save(tmp_path / "in.npz", v=x, **others)  # type: ignore[operator]
    copy(f"{tmp_path}/in.npz::v", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as written:
        assert set(written.files) == {"v", *others}
        np.testing.assert_array_equal(written["v"], x[kept])
        for name, array in others.items():
            expected = array[kept] if name in ("ids", "names", "grid") else array
            np.testing.assert_array_equal(written[name], expected)
            assert written[name].dtype == array.dtype


def test_object_arrays_beside_the_vectors_are_named_and_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", v=vectors(), bad=np.array([Grenade()] * 30, dtype=object))
    with pytest.warns(Vec2VecWarning, match="cannot hold 'bad'"):
        copy(tmp_path / "in.npz", tmp_path / "out.npz")
    assert open_source(tmp_path / "out.npz").rows == 30


def test_a_damaged_compressed_member_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, v=vectors(3000, 16))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged") as error:
        list(open_source(path).batches())
    assert "\n" not in str(error.value)


def test_a_member_that_is_too_short_is_one_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("v.npy", npy_header((10, 4), np.dtype("f4")) + bytes(100))
    with pytest.raises(InputError, match="is truncated"):
        open_source(tmp_path / "x.npz")


def test_safetensors_of_bfloat16(tmp_path: Path) -> None:
    x = torch.randn(30, 4).to(torch.bfloat16)
    safetensors.torch.save_file({"v": x}, tmp_path / "x.safetensors")
    source = open_source(tmp_path / "x.safetensors")
    assert source.dtype == "bfloat16"
    np.testing.assert_array_equal(source.take(np.arange(30)), x.float().numpy())
    np.testing.assert_array_equal(next(source.batches(10)).vectors, x[:10].float().numpy())


def test_writing_bfloat16(tmp_path: Path) -> None:
    x = vectors()
    with open_sink(tmp_path / "y.safetensors", width=4, dtype="bfloat16") as sink:
        sink.write(VectorBatch(x, np.arange(30)))
    written = safetensors.torch.load_file(tmp_path / "y.safetensors")["vectors"]
    assert torch.equal(written, torch.from_numpy(x).to(torch.bfloat16))
    with pytest.raises(InputError, match=r"to \.safetensors only"):
        open_sink(tmp_path / "y.npy", width=4, dtype="bfloat16")


@given(hnp.arrays(np.float32, 20, elements=st.floats(width=32)))
def test_bfloat16_rounds_as_torch_does(x: np.ndarray) -> None:
    ours = torch.from_numpy(to_bfloat16(x).view(np.int16)).view(torch.bfloat16).float()
    np.testing.assert_array_equal(ours.numpy(), torch.from_numpy(x).to(torch.bfloat16).float().numpy())


@pytest.mark.parametrize("skipped", [[], [0, 7]])
def test_safetensors_carries_tensors_and_metadata(tmp_path: Path, skipped: list[int]) -> None:
    x = torch.from_numpy(vectors(30, 3))
    x[skipped] = 0
    kept = [i for i in range(30) if i not in skipped]
    others = {
        "ids": torch.arange(30),
        "half": torch.randn(30, 2).to(torch.bfloat16)[:, 0].contiguous(),
        "flags": torch.arange(30) % 2 == 0,
        "mean": torch.ones(5, dtype=torch.float64),
        "scalar": torch.tensor(3.0),
    }
    path = tmp_path / "in.safetensors"
    safetensors.torch.save_file({"v": x, **others}, path, metadata={"made by": "a tést"})
    copy(path, tmp_path / "out.safetensors")
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert file.metadata() == {"made by": "a tést"}
        assert set(file.keys()) == {"v", *others}
        assert torch.equal(file.get_tensor("v"), x[kept])
        for name, tensor in others.items():
            aligned = name in ("ids", "half", "flags")
            assert torch.equal(file.get_tensor(name), tensor[kept] if aligned else tensor)


def test_safetensors_of_float8_is_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "in.safetensors"
    eight = torch.ones(30, 2).to(torch.float8_e4m3fn)
    safetensors.torch.save_file({"v": torch.ones(30, 3), "eight": eight}, path)
    with pytest.warns(Vec2VecWarning, match="cannot hold 'eight'"):
        copy(path, tmp_path / "out.safetensors")
    assert set(safetensors.numpy.load_file(tmp_path / "out.safetensors")) == {"v"}
    with pytest.raises(InputError, match="holds F8_E4M3 values"):
        open_source(f"{path}::eight")


def test_safetensors_of_booleans(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"v": np.ones((2, 3), dtype=bool)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="holds bool values, expected F16"):
        open_source(f"{tmp_path}/x.safetensors::v")


def test_safetensors_with_a_header_that_lies(tmp_path: Path) -> None:
    header = json.dumps({"v": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(InputError, match=r"is no \.safetensors file, or a damaged one"):
        open_source(tmp_path / "x.safetensors")


@pytest.mark.parametrize(("one", "other"), [("npz", "safetensors"), ("safetensors", "npz")])
def test_arrays_pass_between_the_formats(tmp_path: Path, one: str, other: str) -> None:
    arrays = {"v": vectors(), "ids": np.arange(30), "flags": np.arange(30) % 3 == 0}
    np.savez(tmp_path / "x.npz", **arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    out = tmp_path / f"out.{other}"
    copy(f"{tmp_path}/x.{one}::v", out)
    written = dict(np.load(out)) if other == "npz" else safetensors.numpy.load_file(out)
    assert set(written) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(written[name], array)


@pytest.mark.parametrize("suffix", ["npy", "parquet", "jsonl"])
def test_what_cannot_be_held_is_named(tmp_path: Path, suffix: str) -> None:
    np.savez(tmp_path / "in.npz", v=vectors(), ids=np.arange(30))
    with pytest.warns(Vec2VecWarning, match="cannot hold 'ids'"):
        copy(tmp_path / "in.npz", tmp_path / f"out.{suffix}")


def test_two_arrays_of_one_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", v=vectors(), ids=np.arange(30))
    for suffix in ("npz", "safetensors"):
        with pytest.raises(InputError, match="named 'ids'"):
            open_sink(f"{tmp_path}/out.{suffix}::ids", width=4, like=open_source(tmp_path / "in.npz"))


def copy(uri: object, out: Path) -> None:
    """The good rows of a file into another one, unchanged, a few at a time."""
    like = open_source(str(uri))
    gate = Gate(like.uri, on_bad_rows="skip")
    with open_sink(out, width=like.width, like=like) as sink:
        for batch in like.batches(8):
            sink.write(gate.check(batch))


def test_copy_warns_of_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", v=vectors(), ids=np.arange(30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy(tmp_path / "in.npz", tmp_path / "out.npz")


def test_a_header_that_is_no_literal(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 3), np.float32))
    content = (tmp_path / "x.npy").read_bytes()
    for at, byte in ((content.index(b","), b"("), (content.index(b"descr"), b"\n"), (content.index(b"("), b"1")):
        (tmp_path / "y.npy").write_bytes(content[:at] + byte + content[at + 1 :])
        with pytest.raises(InputError, match=r"y\.npy: "):
            open_source(tmp_path / "y.npy")


@pytest.mark.parametrize("uri", ["o.safetensors::__metadata__", "o.npz::k\udcff", "o.safetensors::k\udcff"])
def test_keys_that_no_file_can_have(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InputError, match="choose another key"):
        open_sink(f"{tmp_path}/{uri}", width=3)
    assert not list(tmp_path.iterdir())


def test_an_array_named_as_the_metadata_of_safetensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", v=vectors(), __metadata__=np.arange(30))
    out = tmp_path / "out.safetensors"
    with pytest.warns(Vec2VecWarning, match="cannot hold '__metadata__' of the input"):
        copy(f"{tmp_path}/in.npz::v", out)
    np.testing.assert_array_equal(safetensors.numpy.load_file(out)["v"], vectors())
    np.savez(tmp_path / "in.npz", __metadata__=vectors())
    with pytest.raises(
        InputError, match=r"none\.safetensors: nothing in it can be called '__metadata__'; choose another"
    ):
        copy(tmp_path / "in.npz", tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()


def test_npz_needs_room_for_its_vectors_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    open_sink(tmp_path / "x.npy", width=5, rows=50)
    open_sink(tmp_path / "x.npz", width=5, rows=25)
    with pytest.raises(OutputError, match="the disk has"):
        open_sink(tmp_path / "x.npz", width=5, rows=26)


def test_npz_collects_its_vectors_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "elsewhere" / "x.npz")
    folders = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: folders.append(dir) or real(dir=dir))
    with open_sink(tmp_path / "link.npz", width=4) as sink:
        sink.write(VectorBatch(vectors(), np.arange(30)))
    assert folders == [tmp_path / "elsewhere"]
