"""``vec2vec evaluate``: a translator against row-aligned truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import A_STORE
from vec2vec.errors import ConfigError, InputError

if TYPE_CHECKING:
    from vec2vec.evaluate import Evaluation

EXAMPLES = """[bold]Examples[/bold]

vec2vec evaluate translator source_eval.npy target_eval.npy

vec2vec evaluate translator a.parquet::embedding b.npy --pools 1024,all --json"""


def evaluate(
    translator: Annotated[str, typer.Argument(metavar="TRANSLATOR", help="Folder of a translator, or a hub id.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"Vectors of the source space: {A_STORE}.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Vectors of the target space; row i is the text of row i of SOURCE.")
    ],
    source_name: Annotated[str | None, typer.Option("--from", help="Space of SOURCE.")] = None,
    target_name: Annotated[str | None, typer.Option("--to", help="Space of TARGET.")] = None,
    pools: Annotated[str, typer.Option(help="Numbers of candidates, separated by commas.")] = "1024,4096,all",
    seed: Annotated[int, typer.Option(min=0, help="For the pools and the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a translator where the truth is known: both directions and the latent, beside baselines."""
    sizes = parse_pools(pools)

    from vec2vec.evaluate import evaluate as score
    from vec2vec.stores import read_vectors
    from vec2vec.translator import Translator

    held, x, y = Translator.from_pretrained(translator), read_vectors(source), read_vectors(target)
    if len(x) != len(y):
        raise InputError(f"{source} has {len(x):,} rows and {target} {len(y):,}: row i of both must be the same text")
    found = score(
        held,
        x,
        y,
        source_space=source_name,
        target_space=target_name,
        pools=sizes,
        seed=seed,
    )
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        print_table(found)


def parse_pools(text: str) -> tuple[int | None, ...]:
    """Read ``1024,4096,all`` as (1024, 4096, None).

    Raises
    ------
    ConfigError
        A size that is neither a number of at least 2 nor ``all``.
    """
    sizes: list[int | None] = []
    for part in (part.strip() for part in text.split(",")):
        if part == "all":
            sizes.append(None)
        elif part.isdecimal() and int(part) >= 2:
            sizes.append(int(part))
        else:
            raise ConfigError(f"--pools {text}: {part!r} is neither a number of at least 2 nor 'all'")
    return tuple(sizes)


def print_table(found: Evaluation) -> None:
    """Print an evaluation on stdout: each section's title on a line of its own, then its rows.

    Titles hold the names of spaces, of any length and with any brackets: only the figures have columns.
    """
    cells = found.table()
    rows = [cells.columns, *(row for section in cells.sections for row in section.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return " ".join((row[0].ljust(widths[0]), *figures))

    typer.echo(line(cells.columns))
    for section in cells.sections:
        typer.secho(section.title, bold=True)
        for row in section.rows:
            typer.echo(line(row))
