"""The command line as a whole: help, version, completion, errors, warnings, interruption."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import typer
from typer.testing import CliRunner

from vec2vec import __version__
from vec2vec.cli import app
from vec2vec.cli.common import ErrorsInOneLine
from vec2vec.errors import OutputError, Vec2VecWarning

COMMANDS = ["embed", "encoders", "fit", "translate", "evaluate", "inspect", "corpus", "demo"]
runner = CliRunner()


def raising(error: BaseException) -> typer.Typer:
    """A command line whose only command raises, or warns."""
    one = typer.Typer(cls=ErrorsInOneLine, pretty_exceptions_enable=False)

    @one.callback()
    def options(debug: bool = False) -> None: ...

    @one.command()
    def go() -> None:
        if isinstance(error, Warning):
            warnings.warn(error, stacklevel=2)
        else:
            raise error

    return one


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"vec2vec {__version__}\n")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_has_examples(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert " ".join(["vec2vec", *command]) in result.stdout


def test_help_lists_the_commands() -> None:
    shown = runner.invoke(app, ["--help"]).stdout
    assert all(name in shown for name in COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, vec2vec.cli\n"
        "try: vec2vec.cli.app(['fit', '--help'])\n"
        "except SystemExit: print('heavy:', *{'torch', 'numpy', 'pyarrow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_completion_script() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vec2vec.cli import app; app(prog_name='vec2vec')"],
        env=os.environ | {"_VEC2VEC_COMPLETE": "complete_bash", "COMP_WORDS": "vec2vec tr", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["translate"]


@pytest.mark.parametrize(
    "args",
    [
        ["unknown"],
        ["fit", "a.npy"],
        ["fit", "a.npy", "b.npy"],
        ["fit", "a.npy", "b.npy", "--out", "x", "--on-bad-rows", "maybe"],
        ["fit", "a.npy", "b.npy", "--out", "x", "--rows", "0"],
        ["translate", "t", "a.npy", "--out", "b.npy", "--batch-rows", "none"],
    ],
)
def test_usage_errors_exit_with_2(args: list[str]) -> None:
    result = runner.invoke(app, args)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_an_error_is_one_line_and_2() -> None:
    result = runner.invoke(raising(OutputError("the disk\nis  full")), ["go"])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "error: the disk is full\n")


def test_an_error_of_the_system_is_one_line_and_2() -> None:
    result = runner.invoke(raising(PermissionError(13, "Permission denied", "x.npy")), ["go"])
    assert result.exit_code == 2
    assert result.stderr == "error: [Errno 13] Permission denied: 'x.npy'\n"


@pytest.mark.parametrize("args", [["--debug", "go"], ["go", "--debug"]])
def test_debug_shows_the_traceback(args: list[str]) -> None:
    result = runner.invoke(raising(OutputError("full")), args)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "OutputError: full" in result.stderr


def test_a_fault_of_the_program_is_not_hidden() -> None:
    result = runner.invoke(raising(ZeroDivisionError("a bug")), ["go"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_interruption_is_130() -> None:
    result = runner.invoke(raising(KeyboardInterrupt()), ["go"])
    assert result.exit_code == 130
    assert result.stderr.count("\n") == 1
    assert "interrupted" in result.stderr


def test_a_warning_is_one_line() -> None:
    result = runner.invoke(raising(Vec2VecWarning("few\nrows")), ["go"])
    assert (result.exit_code, result.stderr) == (0, "warning: few rows\n")
