"""The command line: one module per command, and the only code of the library that prints or exits.

The commands import what they run when they run it, so that ``vec2vec --help`` and completion are quick.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from vec2vec import __version__
from vec2vec.cli import add_space, audit, bench, corpus, demo, embed, evaluate, fit, inspect, inverter, translate
from vec2vec.cli.common import ErrorsInOneLine

EXAMPLES = """[bold]Examples[/bold]

vec2vec demo

vec2vec fit unknown.npy known.npy --out translator

vec2vec translate translator new.npy --out translated.npy

A file with several columns or arrays is given as file::column. `vec2vec COMMAND --help` has more."""

app = typer.Typer(
    name="vec2vec",
    cls=ErrorsInOneLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("embed", no_args_is_help=True, epilog=embed.EXAMPLES)(embed.embed)
app.command("encoders", epilog=embed.LIST_EXAMPLES)(embed.encoders)
app.command("fit", no_args_is_help=True, epilog=fit.EXAMPLES)(fit.fit)
app.command("translate", no_args_is_help=True, epilog=translate.EXAMPLES)(translate.translate)
app.command("evaluate", no_args_is_help=True, epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("inspect", no_args_is_help=True, epilog=inspect.EXAMPLES)(inspect.inspect)
app.command("add-space", no_args_is_help=True, epilog=add_space.EXAMPLES)(add_space.add_space)
app.command("corpus", no_args_is_help=True, epilog=corpus.EXAMPLES)(corpus.corpus)
app.command("audit", no_args_is_help=True, epilog=audit.EXAMPLES)(audit.audit)
app.add_typer(inverter.app, name="inverter")
app.command("bench", no_args_is_help=True, epilog=bench.EXAMPLES)(bench.bench)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vec2vec {__version__}")
        raise typer.Exit


@app.callback(epilog=EXAMPLES)
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. May stand after the command, too.")
    ] = False,
) -> None:
    """Translate embeddings from one model's vector space into another's, without paired data.

    Exit codes: 0 done, 2 an error, 3 the fitted spaces are not aligned, 130 interrupted.
    """


def main() -> None:
    """Run the command line (the ``vec2vec`` script).

    What stdout cannot hold, such as the name of a file that is not UTF-8, is written with backslashes, as on stderr.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
