"""``vec2vec inspect``: what a translator is, and how it came about."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

EXAMPLES = """[bold]Examples[/bold]

vec2vec inspect translator

vec2vec inspect translator --json"""


def inspect(
    translator: Annotated[str, typer.Argument(metavar="TRANSLATOR", help="Folder of a translator, or a hub id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the spaces of a translator, its verdict, and the record of its fit."""
    from vec2vec.artifact import json_ready
    from vec2vec.translator import Translator

    loaded = Translator.from_pretrained(translator)
    about: dict[str, Any] = {
        "spaces": {name: loaded.width(name) for name in loaded.spaces},
        "verdict": None if loaded.verdict is None else asdict(loaded.verdict),
        "record": loaded.record,
    }
    if as_json:
        typer.echo(json.dumps(json_ready(about), indent=2, allow_nan=False))
        return
    for name, width in about["spaces"].items():
        typer.echo(f"space {name}: {width} dimensions")
    typer.echo(f"verdict: {'none' if loaded.verdict is None else loaded.verdict.sentence}")
    for key, value in _flatten(about["record"]):
        typer.echo(f"{key}: {value}")


def _flatten(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += _flatten(value, f"{prefix}{key}.")
        else:
            lines.append((f"{prefix}{key}", value))
    return lines
