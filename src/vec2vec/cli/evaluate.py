"""``vec2vec evaluate``: a translator against row-aligned truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import A_STORE, result_console
from vec2vec.errors import ConfigError

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

    found = score(
        Translator.from_pretrained(translator),
        read_vectors(source),
        read_vectors(target),
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
    """Print an evaluation on stdout, a section for each direction."""
    from rich.table import Table

    cells = found.table()
    shown = Table(box=None, pad_edge=False)
    for i, column in enumerate(cells.columns):
        shown.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for section in cells.sections:
        shown.add_row(f"[bold]{section.title}[/bold]")
        for row in section.rows:
            shown.add_row(*row)
    result_console().print(shown)
