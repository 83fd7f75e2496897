"""What the commands share: errors and warnings in one line, output folders, the progress display."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer
from typer.core import TyperGroup

from vec2vec.errors import OutputError, Vec2VecError, Vec2VecWarning

if TYPE_CHECKING:
    from rich.console import Console

    from vec2vec.verdict import Verdict

ERROR = 2
NOT_ALIGNED = 3
INTERRUPTED = 130
PLAIN_WIDTH = 140  # columns of a table that is not shown on a terminal
A_STORE = "a file, file::column, or a folder of .parquet files"


class BadRows(str, Enum):
    """The choices of ``--on-bad-rows``."""

    error = "error"
    skip = "skip"
    keep = "keep"


class Device(str, Enum):
    """The choices of ``--device``."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def one_line(message: object) -> str:
    return " ".join(str(message).split())


def say(message: str) -> None:
    """Print a line on stderr, where everything goes that is not the result."""
    typer.echo(message, err=True)


def warn(message: object) -> None:
    say(f"warning: {one_line(message)}")


class ErrorsInOneLine(TyperGroup):
    """The command group, with the errors of the library as one line on stderr and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let ``--debug`` stand after the command as well."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        debug = bool(ctx.params.get("debug"))
        try:
            with _warnings_in_one_line():
                return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (Vec2VecError, OSError) as error:
            if debug:
                traceback.print_exc()
            else:
                say(f"error: {one_line(error)}")
            raise typer.Exit(ERROR) from None
        except KeyboardInterrupt:
            if debug:
                traceback.print_exc()
            say("interrupted: nothing was left half-written")
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", Vec2VecWarning)
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, Vec2VecWarning):
                warn(message)
            else:
                show_others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def refuse_existing(out: Path, *, force: bool) -> None:
    """Fail before a long computation rather than after it, where its output cannot be written.

    Raises
    ------
    OutputError
        ``out`` is a file, or a folder that is not empty (without ``force``), or its parent is missing or closed.
    """
    if out.is_file():
        raise OutputError(f"{out} is a file: --out needs the name of a folder")
    if out.is_symlink() and not out.exists():
        raise OutputError(f"{out} is a link to nothing: --out needs the name of a folder")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} exists already: choose another --out, or replace it with --force")
    if not out.parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist: create it first, or choose another --out")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {out.parent} cannot be written to: choose another --out")


def beside(out: Path) -> tuple[Path, Path, Path]:
    """What can lie beside a translator's folder: the list of skipped rows, and the chart and lines of its training."""
    from vec2vec.align.adversarial.chart import history_paths

    return Path(f"{out}.skipped.jsonl"), *history_paths(out)


def check_beside(out: Path, inputs: Sequence[str], *, force: bool) -> None:
    """Fail before the work where a file beside ``out`` tells of another translator, or is an input.

    Raises
    ------
    OutputError
        One of them exists (without ``force``), cannot be written, or is one of ``inputs``.
    """
    from vec2vec.stores import check_output
    from vec2vec.stores.atomic import refuse_input

    for path in beside(out):
        for given in inputs:
            refuse_input(path, given)
        check_output(path, force=force)


def result_console() -> Console:
    """The console for tables on stdout, wide enough for them where stdout is not a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def exit_code(verdict: Verdict, *, strict: bool = False) -> int:
    """Translate a verdict into an exit code, with a warning where it is neither success nor failure."""
    if verdict.label == "not aligned":
        return NOT_ALIGNED
    if verdict.label == "uncertain":
        warn("the verdict is uncertain: check the translations before you rely on them")
        return NOT_ALIGNED if strict else 0
    return 0
