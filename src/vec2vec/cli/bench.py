"""``vec2vec bench``: methods, data, sizes and seeds from a TOML file, into tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import ERROR, say
from vec2vec.cli.progress import LINE_SECONDS, Every

if TYPE_CHECKING:
    from vec2vec.bench import BenchProgress

EXAMPLES = """[bold]Examples[/bold]

vec2vec bench demo --out demo-bench

vec2vec bench run.toml --out results --workers 2

vec2vec bench run.toml --out results --list

vec2vec bench run.toml --out results --report

Shipped configurations: demo (the packaged sample, minutes), shared, search, paper and word; `--show` prints one.
A relative path in a configuration is relative to its root, and that to the working directory."""


def bench(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A TOML file, or the name of a shipped one.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results: a new one, or one that was begun.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each cell; by default the cores shared out.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Run this cell alone (the beginning of its id will do).")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run cells that failed again.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write tables and figures of what is there; run nothing.")
    ] = (False),
    show_list: Annotated[bool, typer.Option("--list", help="List the cells and what there is of them.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the configuration.")] = False,
) -> None:
    """Run a benchmark: every method on every pair of spaces, size and seed of a configuration.

    Each cell runs in a process of its own and is kept as it ends: a run that was stopped or killed goes on where it was
    when the same command is given again. Writes results.parquet, tables (.md, .tex, .html) and figures to --out.
    """
    from vec2vec.bench import Bench, load_config, write_report

    if show:
        typer.echo(load_config(config)[1].rstrip())
        return
    if out is None:
        raise typer.BadParameter("name the folder of the results: --out (see --help)")
    made = Bench(config, out)
    if show_list:
        for name in made.grid.cells:
            found = made.result(name)
            typer.echo(f"{'missing' if found is None else found['status']:<8} {name}")
        return
    if not report:
        with bench_progress() as progress:
            made.run(workers=workers, threads=threads, only=only or (), retry=retry, progress=progress)
    results = made.results()
    if not results:
        say("there are no results yet")
        raise typer.Exit(ERROR)
    write_report(made)
    failed = [name for name, result in results.items() if result["status"] == "failed"]
    done = len(results) - len(failed)
    typer.echo(f"{done:,} of {len(made.grid.cells):,} cells are done; tables and figures are in {out}")
    if failed:
        say(f"{len(failed):,} cells failed ({failed[0]}: {results[failed[0]]['error']}); --retry runs them again")
        raise typer.Exit(ERROR)


@contextmanager
def bench_progress() -> Iterator[Callable[[BenchProgress], None]]:
    """A bar over the grid on a terminal, with a line for each cell that ends; elsewhere those lines alone."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Bars(*columns, TextColumn("{task.description}", markup=False), console=console, transient=True) as bars:
        task = bars.add_task("", total=None, left="")

        def show(progress: BenchProgress) -> None:
            if progress.news:
                bars.console.print(progress.news, highlight=False, markup=False)
            bars.update(
                task,
                completed=progress.done,
                total=progress.total,
                left=_left(progress),
                description="; ".join(progress.running),
            )

        yield show


def _lines() -> Callable[[BenchProgress], None]:
    due = Every(LINE_SECONDS)

    def show(progress: BenchProgress) -> None:
        if progress.news:
            say(f"{progress.done:,}/{progress.total:,} {progress.news}")
        elif due():
            say(f"{progress.done:,}/{progress.total:,} {'; '.join(progress.running)} {_left(progress)}".rstrip())

    return show


def _left(progress: BenchProgress) -> str:
    return "" if progress.remaining is None else f"about {progress.remaining / 60:,.0f} min left"
