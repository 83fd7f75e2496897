"""``vec2vec embed``: texts or images to vectors; ``vec2vec encoders``: what encoders there are by name."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated, Any

import typer

from vec2vec.cli.common import Device, result_console, say, warn
from vec2vec.cli.corpus import BadTexts
from vec2vec.cli.progress import embed_progress

EXAMPLES = """[bold]Examples[/bold]

vec2vec embed texts.jsonl --encoder minilm --out minilm.parquet

vec2vec embed passages.csv::body --encoder e5 --out passages-e5 --max-tokens 128

vec2vec embed photos/ --encoder clip --out photos.npy

vec2vec embed texts.txt.gz --encoder openai:text-embedding-3-small --dimensions 512 --out openai.parquet

vec2vec embed texts.txt --encoder http://localhost:8000/v1::bge-m3 --out bge.parquet

A run that was stopped goes on where it was when the same command is given again."""

LIST_EXAMPLES = """[bold]Examples[/bold]

vec2vec encoders

vec2vec encoders --json"""


class Prompts(str, Enum):
    """The choices of ``--prompt``."""

    document = "document"
    query = "query"
    none = "none"


class Dtype(str, Enum):
    """The choices of ``--dtype``."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Backend(str, Enum):
    """The choices of ``--backend``."""

    torch = "torch"
    onnx = "onnx"


HERE = "An encoder that runs here"
THERE = "An encoder behind an endpoint"


def embed(
    texts: Annotated[
        str,
        typer.Argument(
            metavar="TEXTS",
            help="A file of texts (.jsonl, .csv, .tsv, .parquet, .txt, each also .gz), or file::column; an image, or a "
            "folder of images.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            help="Where the vectors go: .parquet or .jsonl (with ids and labels), .npy, .npz, .safetensors, or a "
            "folder of Parquet parts."
        ),
    ],
    encoder: Annotated[
        str,
        typer.Option(
            help="A name (see `vec2vec encoders`), a folder, a hub id, openai:MODEL, or the URL of an "
            "OpenAI-compatible endpoint, URL::MODEL."
        ),
    ] = "minilm",
    max_tokens: Annotated[
        int | None,
        typer.Option(min=0, help="Cut texts at this many tokens; 0: at the model's own maximum; by default at 64."),
    ] = None,
    prompt: Annotated[Prompts, typer.Option(help="Whose prefix stands before a text.")] = Prompts.document,
    dimensions: Annotated[int | None, typer.Option(min=1, help="Shorten vectors to their first dimensions.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of the ids; empty for row numbers.")] = None,
    on_bad_rows: Annotated[
        BadTexts, typer.Option(help="Rows whose text is null, empty, or not UTF-8: stop, or leave out and count.")
    ] = BadTexts.error,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither keep vectors nor use those kept.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output; start over what was begun otherwise.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit on the hub.", rich_help_panel=HERE)
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.", rich_help_panel=HERE)] = Device.auto,
    dtype: Annotated[
        Dtype, typer.Option(help="auto: bfloat16 on a GPU, else float32.", rich_help_panel=HERE)
    ] = Dtype.auto,
    backend: Annotated[Backend, typer.Option(help="Of sentence-transformers.", rich_help_panel=HERE)] = Backend.torch,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in a batch, padding included.", rich_help_panel=HERE)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.", rich_help_panel=HERE)] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run Python code that comes with a model.", rich_help_panel=HERE),
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Of the endpoint, with /v1; --encoder is the model.", rich_help_panel=THERE)
    ] = None,
    key_variable: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable that holds the key. [OpenAI: OPENAI_API_KEY]",
            rich_help_panel=THERE,
        ),
    ] = None,
    batch_rows: Annotated[
        int | None, typer.Option(min=1, max=2048, help="Texts in a request.", rich_help_panel=THERE)
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=64, help="Requests at a time.", rich_help_panel=THERE)
    ] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="At most.", rich_help_panel=THERE)] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for a request.", rich_help_panel=THERE)] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="Of a failed request.", rich_help_panel=THERE)] = None,
) -> None:
    """Embed texts, or images, by the name of an encoder, with the conventions of its card.

    Each text is embedded once, and its vector kept in a cache. Rows keep the order of the input.
    """
    from vec2vec.encoders import embed_file

    given: dict[str, Any] = {
        "max_tokens": max_tokens,
        "dimensions": dimensions,
        "revision": revision,
        "batch_tokens": batch_tokens,
        "threads": threads,
        "base_url": base_url,
        "key_variable": key_variable,
        "batch_rows": batch_rows,
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "timeout": timeout,
        "retries": retries,
    }
    options = {name: value for name, value in given.items() if value is not None}
    with embed_progress() as progress:
        try:
            report = embed_file(
                texts,
                out,
                encoder,
                id_column=id_column,
                on_bad_rows=on_bad_rows.value,
                cache=not no_cache,
                force=force,
                progress=progress,
                prompt=prompt.value,
                device=device.value,
                dtype=dtype.value,
                backend=backend.value,
                trust_remote_code=trust_remote_code,
                **options,
            )
        except KeyboardInterrupt:
            say("what was embedded so far is kept: the same command goes on from there")
            raise
    identity = report.identity
    cut = "" if identity.max_tokens is None else f", cut at {identity.max_tokens} tokens"
    say(f"{identity.encoder}: {identity.dimensions} dimensions{cut}, revision {identity.revision or 'unknown'}")
    say(f"{report.rows:,} rows written to {report.out} in {report.seconds:.1f} s: {_sources(report)}")
    if report.skipped:
        warn(report.summary)


def _sources(report: Any) -> str:
    parts = [f"{report.embedded:,} texts embedded"]
    if report.cached:
        parts.append(f"{report.cached:,} rows known before")
    if report.resumed:
        parts.append(f"{report.resumed:,} rows of an earlier run")
    return ", ".join(parts)


def encoders(
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """List the encoders that are known by name, with their conventions; with --json, where these were taken from."""
    from vec2vec.encoders.registry import ENCODERS

    if as_json:
        tree = {
            name: {
                "id": card.id,
                "family": card.family,
                "dimensions": card.dimensions,
                "pooling": card.pooling,
                "normalize": card.normalize,
                "max_tokens": card.max_tokens,
                "prompts": dict(card.prompts),
                "licence": card.licence,
                "source": card.source,
            }
            for name, card in ENCODERS.items()
        }
        typer.echo(json.dumps(tree, indent=2))
        return
    from rich.table import Table

    table = Table("name", "dimensions", "pooling", "tokens", "prefixes (query; document)", "licence")
    table.add_column("id", overflow="fold")
    for name, card in ENCODERS.items():
        prefixes = "; ".join(repr(card.prefix(kind)) for kind in ("query", "document")) if card.prompts else ""
        pooling = f"{card.pooling}, norm 1" if card.normalize else card.pooling
        table.add_row(name, str(card.dimensions), pooling, f"{card.max_tokens:,}", prefixes, card.licence, card.id)
    result_console().print(table)
