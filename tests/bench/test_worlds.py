"""What a world reads: a damaged file is an error in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from vec2vec.bench.worlds import open_rows, read_dictionary, read_word_vectors
from vec2vec.errors import InputError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.0 2.0\n", "is no .npy array"),
        (b"", "is empty"),
        (np.array([{}, None], object), "holds Python objects"),
        (np.empty((0, 4), np.float32), "is empty: it has no rows"),
        (np.zeros(4, np.float32), r"has shape \(4,\)"),
    ],
)
def test_a_file_that_is_no_array_of_vectors(tmp_path: Path, content: bytes | np.ndarray, message: str) -> None:
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(InputError, match=message) as caught:
        open_rows(path)
    assert "\n" not in str(caught.value)


VEC = "".join(f"word{i} {i}.5 {i * i}.25\n" for i in range(1, 2000)).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.vec", "caf\xe9 1.0 2.0\n".encode("latin-1"), "is not UTF-8"),
        ("x.vec.gz", gzip.compress(VEC)[:-2000], "cannot be read"),
        ("x.vec.gz", VEC, "cannot be read"),
        ("x.vec.gz", gzip.compress(VEC)[:20] + b"\xff" * 200, "cannot be read"),
    ],
)
def test_word_vectors_that_are_damaged(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_word_vectors(str(path), 5000)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        read_dictionary(str(path))


def test_word_vectors_are_read_from_gz(tmp_path: Path) -> None:
    (tmp_path / "x.vec.gz").write_bytes(gzip.compress(VEC))
    words, vectors = read_word_vectors(str(tmp_path / "x.vec.gz"), 5000)
    assert (len(words), vectors.shape) == (1999, (1999, 2))
