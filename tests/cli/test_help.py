"""What ``--help`` says: nothing is lost in it, and its examples are commands that exist."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
import typer
from rich.text import Text

from vec2vec.align.base import find_method, make_config
from vec2vec.cli import app
from vec2vec.cli.settings import parse_setting

ROOT = typer.main.get_command(app)


def commands(one: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands by their names."""
    yield path, one
    for name, inner in getattr(one, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(ROOT))


def examples(command: click.Command) -> list[list[str]]:
    lines = (command.epilog or "").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("vec2vec ")]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_square_brackets_are_not_taken_for_markup(path: tuple[str, ...]) -> None:
    for param in COMMANDS[path].params:
        text = getattr(param, "help", None) or ""
        assert Text.from_markup(text).plain == text


def test_examples_are_commands() -> None:
    seen = 0
    for command in COMMANDS.values():
        for args in examples(command):
            named = COMMANDS[tuple(args[:2])] if tuple(args[:2]) in COMMANDS else COMMANDS[tuple(args[:1])]
            rest = args[2:] if tuple(args[:2]) in COMMANDS else args[1:]
            with named.make_context(named.name, rest):  # raises for what is no option, or no value of one
                seen += 1
    assert seen >= 30


def test_settings_in_the_examples_of_fit_are_settings_of_its_method() -> None:
    seen = 0
    for args in examples(COMMANDS[("fit",)]):
        settings = dict(parse_setting(args[i + 1]) for i, arg in enumerate(args) if arg == "--set")
        method = args[args.index("--method") + 1] if "--method" in args else "sinkhorn"
        make_config(find_method(method).load()[0], settings, method=method)
        seen += len(settings)
    assert seen
