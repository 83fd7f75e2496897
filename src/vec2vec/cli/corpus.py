"""``vec2vec corpus``: a corpus by name into files, as one or as two disjoint sets and a held-out one."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import result_console, say
from vec2vec.cli.progress import row_progress
from vec2vec.errors import ConfigError

if TYPE_CHECKING:
    from vec2vec.datasets import Export

EXAMPLES = """[bold]Examples[/bold]

vec2vec corpus --list

vec2vec corpus nq --split-unpaired --rows 1000000 --held-out-rows 65536 --out nq

vec2vec corpus mails.csv::body --split-unpaired --held-out 0.2 --out mails

vec2vec corpus enron:maildir --max-tokens 64 --tokenizer whitespace --out enron.parquet

vec2vec corpus hf:ag_news:test:text --out news.jsonl

A corpus is a name of --list, NAME:PATH for a local copy of it, hf:NAME:SPLIT:COLUMN:CONFIG for a dataset of the hub
(all but the name may be left out), or a file or file::column: .jsonl, .csv, .tsv, .parquet, .txt, each also as .gz."""


class BadTexts(str, Enum):
    """The choices of ``--on-bad-rows`` for texts."""

    error = "error"
    skip = "skip"


class Format(str, Enum):
    """The choices of ``--format``."""

    parquet = "parquet"
    jsonl = "jsonl"


def corpus(
    corpus: Annotated[str | None, typer.Argument(metavar="CORPUS", help="A name, a hub dataset, or a file.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file, .parquet or .jsonl; with --split-unpaired, the folder.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the corpora that are known by name, and exit.")] = False,
    split_unpaired: Annotated[
        bool, typer.Option("--split-unpaired", help="Write two disjoint sets, source and target, and a held-out one.")
    ] = False,
    held_out: Annotated[
        float | None, typer.Option(help="Share of the texts that is held out, 0.1 by default.", show_default=False)
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Write at most this many texts, of either side if split: a random sample.")
    ] = None,
    held_out_rows: Annotated[int | None, typer.Option(min=1, help="Hold out at most this many.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other sets and samples.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only the first so many texts.")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Cut texts by this tokenizer: whitespace, a tokenizer.json, a model's folder or name. "
            "Otherwise they stay whole, and the encoder cuts them by its own."
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Where to cut, with --tokenizer; 64 by default.", show_default=False)
    ] = None,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep texts that an earlier one equals, but for case and spacing.")
    ] = False,
    on_bad_rows: Annotated[
        BadTexts,
        typer.Option(
            help="Texts that are empty, null or not UTF-8, malformed rows, ids used twice: stop, or leave out."
        ),
    ] = BadTexts.error,
    column: Annotated[str | None, typer.Option(help="Column of the texts.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of the ids; empty for row numbers.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the labels.")] = None,
    split: Annotated[str | None, typer.Option(help="Read only this split of the corpus.")] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a hub dataset.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub dataset.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Read a hub dataset without storing it.")] = False,
    format: Annotated[
        Format | None, typer.Option(help="Of the files of --split-unpaired; parquet by default.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in --out.")] = False,
) -> None:
    """Write a corpus into a file, or into the sets that an unpaired fit and its evaluation need.

    The texts are deduplicated. With --split-unpaired, a keyed hash of each text alone tells its set, so that no text
    can come to both sides, in whatever order, file or run it comes. How it was made is written beside it, as JSON.
    """
    if show:
        print_list()
        return
    if corpus is None or out is None:
        raise typer.BadParameter("name a CORPUS, and where it goes: --out (see --list and --help)")
    if not split_unpaired and any(one is not None for one in (held_out, held_out_rows, format)):
        raise ConfigError("--held-out, --held-out-rows and --format go with --split-unpaired")
    if max_tokens is not None and tokenizer is None:
        raise ConfigError(
            "--max-tokens needs --tokenizer, since tokens differ from model to model: name the encoder's, or whitespace"
        )

    from vec2vec.datasets import MAX_TOKENS, Preparation, open_corpus, open_cutter, write_corpus, write_split

    started = time.perf_counter()
    preparation = Preparation(
        limit=limit,
        cutter=None if tokenizer is None else open_cutter(tokenizer, max_tokens or MAX_TOKENS),
        deduplicate=not keep_duplicates,
    )
    opened = open_corpus(
        corpus,
        column=column,
        id_column=id_column,
        label_column=label_column,
        split=split,
        config=config,
        revision=revision,
        stream=stream,
        on_bad_rows=on_bad_rows.value,
    )
    with row_progress("reading") as progress:
        if split_unpaired:
            done = write_split(
                opened,
                out,
                held_out=0.1 if held_out is None else held_out,
                rows=rows,
                held_out_rows=held_out_rows,
                seed=seed,
                preparation=preparation,
                format=(format or Format.parquet).value,
                force=force,
                progress=progress,
            )
        else:
            done = write_corpus(
                opened, out, rows=rows, seed=seed, preparation=preparation, force=force, progress=progress
            )
    say_done(done, time.perf_counter() - started)


def say_done(done: Export, seconds: float) -> None:
    """What was written and what was left out, in a few lines on stderr."""
    written = ", ".join(f"{count:,} {name}" for name, count in done.rows.items() if name != "all")
    say(f"{written or format(done.rows['all'], ',')} texts written to {done.path} in {seconds:.1f} s")
    tally = done.tally
    if tally.duplicates:
        say(f"{tally.duplicates:,} texts that an earlier one equals were left out")
    if tally.cut:
        say(f"{tally.cut:,} texts were cut")
    if tally.bad:
        say(tally.summary())


def print_list() -> None:
    """The corpora by name, on stdout."""
    from rich.table import Table

    from vec2vec.datasets import CORPORA

    table = Table("name", "what it is", "from")
    for known in CORPORA.values():
        place = "your own copy: mimic:FOLDER" if known.dataset is None else f"hub: {known.dataset}"
        table.add_row(known.name, known.summary, place)
    result_console().print(table)
