"""What the benchmarks share: commands run as a user runs them, with time and memory, and JSON lines to resume from.

Peak memory is the kernel's ``ru_maxrss`` of the command's process alone. A child's figure starts from its parent's, so
a benchmark holds no large arrays while it runs commands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vec2vec.machine import machine as machine

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
VEC2VEC = (sys.executable, "-c", "from vec2vec.cli import main; main()")  # what the script `vec2vec` runs
NOT_ALIGNED = 3  # the exit code of a fit that is complete, but not aligned

Line = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """What a command did: its exit code, output, wall-clock seconds, and peak resident memory in MiB."""

    code: int
    output: str
    seconds: float
    peak_mib: float


def run(*words: object, fine: Sequence[int] = (0,)) -> Command:
    """Run a command and measure it. Raises RuntimeError with its errors where the exit code is not one of `fine`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in words], stdout=out, stderr=err)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: leave no command running behind
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        code = process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if code not in fine:
            raise RuntimeError(f"exit code {code} of {' '.join(map(str, words))}\n{err.read()}")
        unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
        return Command(code, out.read(), seconds, usage.ru_maxrss / unit)


def vec2vec(*words: object, fine: Sequence[int] = (0,)) -> Command:
    """Run ``vec2vec WORDS``."""
    return run(*VEC2VEC, *words, fine=fine)


def fit(source: Path, target: Path, out: Path, *options: object) -> Line:
    """Run ``vec2vec fit`` and return its seconds, peak memory, exit code, and verdict."""
    command = vec2vec("fit", source, target, "--out", out, "--force", *options, fine=(0, NOT_ALIGNED))
    verdict = json.loads(vec2vec("inspect", out, "--json").output)["verdict"] or {}
    return {
        "seconds": round(command.seconds, 1),
        "peak_mib": round(command.peak_mib),
        "exit": command.code,
        "verdict": verdict.get("label"),
        "expected_top1": verdict.get("expected_top1"),
        "interval": verdict.get("interval"),
    }


def translate_and_score(translator: Path, given: Path, truth: Path, scorer: Path, *options: object) -> Line:
    """What ``score.py`` says of what ``vec2vec translate`` wrote, and the command's seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "translated.npy"
        command = vec2vec("translate", translator, given, "--out", written, *options)
        score: Line = json.loads(run(sys.executable, scorer, written, truth).output)
    return score | {"seconds": round(command.seconds, 1), "peak_mib": round(command.peak_mib)}


def split(shared: Path, out: Path, *options: object) -> Line:
    """Run ``split.py``; what it says it wrote."""
    said: Line = json.loads(run(sys.executable, shared / "check" / "split.py", out, *options).output)
    return said


def read_lines(path: Path) -> list[Line]:
    """The results so far, none if there is no file."""
    return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []


def add_line(path: Path, line: Line) -> None:
    """Append a result as soon as it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def need_lines(path: Path) -> list[Line]:
    """The results, or the end of the program where there are none."""
    lines = read_lines(path)
    if not lines:
        raise SystemExit(f"{path} has no results yet")
    return lines
