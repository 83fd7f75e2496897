"""Bad input, end to end: one line on stderr that names the file, exit code 2, and nothing written or lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from vec2vec.cli import app

WIDTH = 16  # of the translator's source space
ROWS = 1200

COMMAND = [sys.executable, "-c", "from vec2vec.cli import main; main()"]  # what the script `vec2vec` runs
WITH_SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from vec2vec.cli import main; main()
"""
# Root passes by permissions, which others do not: it gives up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (by
# PR_CAPBSET_DROP, 24), then runs the command.
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
            sys.exit("prctl failed")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

runner = CliRunner()


def vectors(seed: int = 0, rows: int = ROWS, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def spoilt(value: float) -> np.ndarray:
    x = vectors()
    x[7] = value
    return x


def truncated(path: Path) -> None:
    np.save(path, vectors())
    path.write_bytes(path.read_bytes()[:-100])


def strings_in_a_list(path: Path) -> None:
    pq.write_table(pa.table({"vector": [["a", "b"]] * ROWS}), path)


def mixed_widths_parquet(path: Path) -> None:
    lists = [row.tolist() for row in vectors()]
    lists[7] = lists[7][:-1]
    pq.write_table(pa.table({"vector": lists}), path)


def mixed_widths_jsonl(path: Path) -> None:
    rows = [{"vector": row.tolist()} for row in vectors()]
    rows[7]["vector"] = rows[7]["vector"][:-1]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# name of the file, how it is made, what the error says beside the name
BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "wrong suffix": ("x.csv", lambda path: path.write_text("1,2\n"), "suffix"),
    "no file": ("x.npy", lambda path: None, "no such file"),
    "a folder": ("x.npy", lambda path: path.mkdir(), "folder"),
    "an empty file": ("x.npy", lambda path: path.touch(), "empty"),
    "no rows": ("x.npy", lambda path: np.save(path, vectors(rows=0)), ""),
    "not an npy": ("x.npy", lambda path: path.write_bytes(b"not an array" * 99), ""),
    "truncated npy": ("x.npy", truncated, ""),
    "object array": ("x.npy", lambda path: np.save(path, np.array([None] * 9), allow_pickle=True), ""),
    "one dimension": ("x.npy", lambda path: np.save(path, np.ones(ROWS, dtype=np.float32)), ""),
    "pickled npz member": ("x.npz", lambda path: np.savez(path, vector=np.array([{}] * 9)), ""),
    "no such array": ("x.npz::other", lambda path: np.savez(path, vector=vectors()), "other"),
    "two arrays": ("x.npz", lambda path: np.savez(path, a=vectors(), b=vectors()), "::a"),
    "NaN row": ("x.npy", lambda path: np.save(path, spoilt(np.nan)), "row 7"),
    "infinite row": ("x.npy", lambda path: np.save(path, spoilt(np.inf)), "row 7"),
    "zero row": ("x.npy", lambda path: np.save(path, spoilt(0)), "row 7"),
    "strings in a parquet list": ("x.parquet", strings_in_a_list, "vector"),
    "mixed widths in parquet": ("x.parquet", mixed_widths_parquet, "row 7"),
    "mixed widths in jsonl": ("x.jsonl", mixed_widths_jsonl, "row 7"),
}


def assert_one_line_error(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def bad(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The uri of a bad file, and what the error has to say."""
    uri, make, message = BAD[request.param]
    make(tmp_path / uri.partition("::")[0])
    return f"{tmp_path}/{uri}", message


@pytest.mark.parametrize("bad", BAD, indirect=True)
@pytest.mark.parametrize("side", ["source", "target"])
def test_fit(tmp_path: Path, bad: tuple[str, str], side: str) -> None:
    uri, message = bad
    np.save(tmp_path / "good.npy", vectors(seed=1))
    before = everything(tmp_path)
    good = str(tmp_path / "good.npy")
    sides = [uri, good] if side == "source" else [good, uri]
    result = runner.invoke(app, ["fit", *sides, "--out", str(tmp_path / "out")])
    assert_one_line_error(result, uri.partition("::")[0], message)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("bad", BAD, indirect=True)
def test_translate(tmp_path: Path, bad: tuple[str, str], translator: Path) -> None:
    uri, message = bad
    before = everything(tmp_path)
    result = runner.invoke(app, ["translate", str(translator), uri, "--out", str(tmp_path / "out.npy")])
    assert_one_line_error(result, uri.partition("::")[0], message)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("bad", BAD, indirect=True)
def test_evaluate(tmp_path: Path, bad: tuple[str, str], translator: Path) -> None:
    uri, message = bad
    np.save(tmp_path / "good.npy", vectors(seed=1))
    result = runner.invoke(app, ["evaluate", str(translator), uri, str(tmp_path / "good.npy")])
    assert_one_line_error(result, uri.partition("::")[0], message)
    assert "--on-bad-rows" not in result.stderr  # there is no such option here


def test_fit_on_one_row(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", vectors(rows=1))
    np.save(tmp_path / "good.npy", vectors(seed=1))
    result = runner.invoke(
        app, ["fit", str(tmp_path / "one.npy"), str(tmp_path / "good.npy"), "--out", str(tmp_path / "t")]
    )
    assert_one_line_error(result, "one.npy")


def test_fit_on_the_same_file_twice(tmp_path: Path) -> None:
    np.save(tmp_path / "same.npy", vectors())
    (tmp_path / "link.npy").symlink_to(tmp_path / "same.npy")
    for other in ("same.npy", "link.npy"):
        result = runner.invoke(
            app, ["fit", str(tmp_path / "same.npy"), str(tmp_path / other), "--out", str(tmp_path / "t")]
        )
        assert_one_line_error(result, "same")


def test_translate_another_width(tmp_path: Path, translator: Path) -> None:
    np.save(tmp_path / "wide.npy", vectors(width=WIDTH + 1))
    result = runner.invoke(
        app, ["translate", str(translator), str(tmp_path / "wide.npy"), "--out", str(tmp_path / "out.npy")]
    )
    assert_one_line_error(result, "wide.npy", str(WIDTH), str(WIDTH + 1))


def test_translate_onto_itself(tmp_path: Path, translator: Path) -> None:
    np.save(tmp_path / "x.npy", vectors())
    before = (tmp_path / "x.npy").read_bytes()
    result = runner.invoke(
        app, ["translate", str(translator), str(tmp_path / "x.npy"), "--out", str(tmp_path / "x.npy"), "--force"]
    )
    assert_one_line_error(result, "x.npy")
    assert (tmp_path / "x.npy").read_bytes() == before


def test_translate_to_an_output_that_exists(tmp_path: Path, translator: Path) -> None:
    np.save(tmp_path / "x.npy", vectors())
    (tmp_path / "out.npy").write_bytes(b"precious")
    args = ["translate", str(translator), str(tmp_path / "x.npy"), "--out", str(tmp_path / "out.npy")]
    assert_one_line_error(runner.invoke(app, args), "out.npy", "--force")
    assert (tmp_path / "out.npy").read_bytes() == b"precious"
    assert runner.invoke(app, [*args, "--force"]).exit_code == 0
    assert len(np.load(tmp_path / "out.npy")) == ROWS


@pytest.mark.parametrize("name", ["missing/out.npy", "x.npy/out.npy", "out.csv", "out"])
def test_translate_to_an_impossible_output(tmp_path: Path, translator: Path, name: str) -> None:
    np.save(tmp_path / "x.npy", vectors())
    result = runner.invoke(app, ["translate", str(translator), str(tmp_path / "x.npy"), "--out", str(tmp_path / name)])
    assert_one_line_error(result, Path(name).name)
    assert everything(tmp_path) == {"x.npy"}


def test_a_full_disk(tmp_path: Path, translator: Path) -> None:
    """A limit on the size of files stands in for the disk: the write fails in the same place."""
    np.save(tmp_path / "x.npy", vectors(rows=20_000))
    args = ["translate", str(translator), str(tmp_path / "x.npy"), "--out", str(tmp_path / "out.npy")]
    done = subprocess.run([sys.executable, "-c", WITH_SMALL_FILES, *args], capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "out.npy" in line
    assert everything(tmp_path) == {"x.npy"}


@pytest.mark.parametrize(
    ("mode", "args"),
    [
        (0o000, ["fit", "HERE/closed/x.npy", "HERE/x.npy", "--out", "HERE/t"]),
        (0o000, ["fit", "HERE/x.npy", "HERE/closed/x.npy", "--out", "HERE/t"]),
        (0o000, ["fit", "HERE/x.npy", "HERE/y.npy", "--out", "HERE/closed/t"]),
        (0o500, ["fit", "HERE/x.npy", "HERE/y.npy", "--out", "HERE/closed/t"]),
        (0o000, ["translate", "TRANSLATOR", "HERE/closed/x.npy", "--out", "HERE/out.npy"]),
        (0o000, ["translate", "TRANSLATOR", "HERE/x.npy", "--out", "HERE/closed/out.npy"]),
        (0o500, ["translate", "TRANSLATOR", "HERE/x.npy", "--out", "HERE/closed/out.npy"]),
        (0o000, ["evaluate", "TRANSLATOR", "HERE/x.npy", "HERE/closed/x.npy"]),
        (0o000, ["inspect", "HERE/closed"]),
        (
            0o500,
            ["audit", "HERE/x.npy", "--encoder=e", "--reference=HERE/y.npy", "--scope=s", "--out", "HERE/closed/r"],
        ),
    ],
)
def test_a_closed_folder(tmp_path: Path, translator: Path, mode: int, args: list[str]) -> None:
    """Neither entered nor listed (000), or not written to (500)."""
    np.save(tmp_path / "x.npy", vectors())
    np.save(tmp_path / "y.npy", vectors(seed=1))
    closed = tmp_path / "closed"
    closed.mkdir()
    np.save(closed / "x.npy", vectors(seed=2))
    before = everything(tmp_path)
    words = [arg.replace("HERE", str(tmp_path)).replace("TRANSLATOR", str(translator)) for arg in args]
    closed.chmod(mode)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_PRIVILEGE, *COMMAND[1:], *words], capture_output=True, text=True
        )
    finally:
        closed.chmod(0o700)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "closed" in line
    assert everything(tmp_path) == before


def heed_ctrl_c() -> None:
    """A shell lets its background jobs ignore Ctrl-C, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_in_a_fit_leaves_nothing(tmp_path: Path) -> None:
    x = vectors(rows=4000)
    np.save(tmp_path / "x.npy", x[:2000])
    np.save(tmp_path / "y.npy", x[2000:] @ np.linalg.qr(vectors(rows=WIDTH))[0])
    before = everything(tmp_path)
    args = ["fit", str(tmp_path / "x.npy"), str(tmp_path / "y.npy"), "--out", str(tmp_path / "t")]
    with subprocess.Popen([*COMMAND, *args], stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as child:
        deadline = threading.Timer(120, child.kill)
        deadline.start()
        assert child.stderr is not None
        stage = child.stderr.readline()  # the first stage has begun
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
        deadline.cancel()
    assert child.returncode == 130, stage + rest
    assert not stage.startswith(("error:", "warning:"))
    assert rest.splitlines()[-1] == "interrupted: nothing was left half-written"
    assert "Traceback" not in rest
    assert everything(tmp_path) == before


def repeated(x: np.ndarray) -> None:
    x[ROWS // 2 :] = x[: ROWS // 2]


def constant(x: np.ndarray) -> None:
    x[:, 3] = 0.5


@pytest.mark.parametrize(
    ("spoil", "message"), [(repeated, "600 of 1,200 rows (50.0%) repeat an earlier row"), (constant, "constant (3)")]
)
def test_what_is_odd_is_warned_of_and_fitted(tmp_path: Path, spoil: Callable[[np.ndarray], None], message: str) -> None:
    x = vectors()
    np.savez(tmp_path / "pairs.npz", source=x[:50], target=2 * x[:50])
    spoil(x)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", 2 * vectors(seed=1))
    args = ["--pairs", str(tmp_path / "pairs.npz"), "--method", "procrustes", "--out", str(tmp_path / "t")]
    result = runner.invoke(app, ["fit", str(tmp_path / "x.npy"), str(tmp_path / "y.npy"), *args])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if message in line]
    assert line.startswith("warning: ")
    assert "x.npy" in line
    assert (tmp_path / "t" / "model.safetensors").exists()


@pytest.mark.parametrize("command", ["translate", "evaluate", "inspect"])
def test_no_such_translator(tmp_path: Path, command: str) -> None:
    np.save(tmp_path / "x.npy", vectors())
    x = str(tmp_path / "x.npy")
    rest = {"translate": [x, "--out", str(tmp_path / "out.npy")], "evaluate": [x, x], "inspect": []}[command]
    result = runner.invoke(app, [command, str(tmp_path / "nowhere"), *rest])
    assert_one_line_error(result, "nowhere")


def test_unknown_method_and_setting(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", vectors(seed=1))
    np.save(tmp_path / "b.npy", vectors(seed=2))
    args = ["fit", str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--out", str(tmp_path / "t")]
    assert_one_line_error(runner.invoke(app, [*args, "--method", "sinkhron"]), "sinkhorn")
    assert_one_line_error(runner.invoke(app, [*args, "--set", "unheard_of=3"]), "unheard_of")
    assert not (tmp_path / "t").exists()


def test_a_traceback_with_debug(tmp_path: Path) -> None:
    result = runner.invoke(app, ["fit", "no.npy", "no.npy", "--out", str(tmp_path / "t"), "--debug"])
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
