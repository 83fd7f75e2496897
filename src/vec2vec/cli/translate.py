"""``vec2vec translate``: a file of vectors through a translator, streamed, into another file."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from vec2vec.cli.common import A_STORE, BadRows, say
from vec2vec.cli.progress import row_progress

EXAMPLES = """[bold]Examples[/bold]

vec2vec translate translator new.npy --out translated.npy

vec2vec translate translator dump.parquet::embedding --out translated.parquet::embedding --on-bad-rows skip

vec2vec translate translator native.npy --out back.npy --reverse"""


class Dtype(str, Enum):
    """The choices of ``--dtype``."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"
    float64 = "float64"


def translate(
    translator: Annotated[str, typer.Argument(metavar="TRANSLATOR", help="Folder of a translator, or a hub id.")],
    input: Annotated[str, typer.Argument(metavar="INPUT", help=f"The vectors: {A_STORE}.")],
    out: Annotated[str, typer.Option(help="Where the translated vectors go: a file, or file::column.")],
    source: Annotated[str | None, typer.Option("--from", help="Space of the input.")] = None,
    target: Annotated[str | None, typer.Option("--to", help="Space of the output.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="From the second space to the first.")] = False,
    on_bad_rows: Annotated[
        BadRows,
        typer.Option(help="Rows that are not finite or all-zero: stop, leave out and list in a sidecar, or pass on."),
    ] = BadRows.error,
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows held in memory at once.")] = 8192,
    dtype: Annotated[
        Dtype, typer.Option(help="Of the numbers in the output; bfloat16 in .safetensors only.")
    ] = Dtype.float32,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file.")] = False,
) -> None:
    """Translate a file of vectors. Memory stays constant.

    Row order is kept, and so are ids and the other columns where the format of --out can hold them.
    """
    from vec2vec.streaming import translate_file
    from vec2vec.translator import Translator

    with row_progress("translating") as progress:
        report = translate_file(
            Translator.from_pretrained(translator),
            input,
            out,
            source=source,
            target=target,
            reverse=reverse,
            on_bad_rows=on_bad_rows.value,
            batch_rows=batch_rows,
            dtype=dtype.value,
            force=force,
            progress=progress,
        )
    say(f"{report.rows:,} rows translated to {out} in {report.seconds:.1f} s")
    if report.kept_bad:
        say(f"bad rows passed on as they were: {report.kept_bad:,}")
    if report.skipped:
        say(f"bad rows skipped: {report.skipped:,}, listed in {report.sidecar}")
