"""Files that appear whole or not at all: their names and permissions."""

from __future__ import annotations

from pathlib import Path

import pytest

from vec2vec.errors import OutputError
from vec2vec.stores.atomic import LONGEST_NAME, AtomicFile, atomic_file, check_output
from vec2vec.streaming import sidecar_path


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    """Beside the file stands `.NAME.xxxxxxxx.tmp` until it takes its place: 14 bytes more."""
    longest = tmp_path / ("ä" + "x" * (LONGEST_NAME - 14 - 6) + ".npy")
    check_output(longest)
    with atomic_file(longest) as stream:
        stream.write(b"x")
    with pytest.raises(OutputError, match=r"xx\.npy: its name is too long; choose a shorter one$"):
        check_output(longest.with_name("x" + longest.name))
    with pytest.raises(OutputError, match=r"xx\.npy\.skipped\.jsonl: its name is too long; choose a shorter one$"):
        check_output(sidecar_path(longest))


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o400])
def test_a_file_that_is_replaced_hands_on_its_permissions(tmp_path: Path, mode: int, linked: bool) -> None:
    path = old = tmp_path / "x.npy"
    old.write_bytes(b"old")
    old.chmod(mode)
    if linked:
        path = tmp_path / "link.npy"
        path.symlink_to(old)
    file = AtomicFile(path, force=True)
    assert file.temporary.stat().st_mode & 0o777 == mode
    file.stream.write(b"new")
    file.commit()
    assert old.read_bytes() == b"new"
    assert old.stat().st_mode & 0o777 == mode


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "x.npy"):
        pass
    (tmp_path / "usual").touch()
    assert (tmp_path / "x.npy").stat().st_mode == (tmp_path / "usual").stat().st_mode
