"""``vec2vec fit``: two unpaired sets of vectors in, a translator and a verdict out."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import A_STORE, BadRows, Device, beside, check_beside, exit_code, refuse_existing, say
from vec2vec.cli.progress import fit_progress
from vec2vec.cli.settings import options_of, own_options

if TYPE_CHECKING:
    from vec2vec.align import Fit

EXAMPLES = """[bold]Examples[/bold]

vec2vec fit unknown.npy known.npy --out translator

vec2vec fit dump.parquet::embedding known.npz::vectors --out translator --rows 8000 --seed 1

vec2vec fit a.npy b.npy --out translator --pairs pairs.npz

vec2vec fit a.npy b.npy --out translator --method vec2vec --restarts 4

vec2vec fit a.npy b.npy --out translator --config settings.toml --set rounds=60

Exit code: 0 aligned, or uncertain with a warning; 3 not aligned, or uncertain with --strict; 2 an error."""

OWN = own_options(
    "method", "pairs", "rows", "seed", "on_bad_rows", "source_name", "target_name", "threads", "device"
) | {
    "source": "the argument SOURCE",
    "target": "the argument TARGET",
    "progress": "",
}


def fit(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"Vectors of the one model: {A_STORE}.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Vectors of the other model, of other texts of the same kind.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the translator.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="sinkhorn (default), vec2vec (a network trained from there), or mini (mini-vec2vec as published); "
            "with --pairs few-pairs (default), procrustes or ridge."
        ),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="Known pairs, 10 or more: an .npz with source and target, or a parquet with these two columns."
        ),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Start of vec2vec: sinkhorn (default), or random, the paper's setting.")
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(min=1, help="Trainings of vec2vec, side by side; the best is kept.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Fit on this many random rows a side.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same translator.")] = 0,
    on_bad_rows: Annotated[
        BadRows,
        typer.Option(
            help="Rows that are not finite or all-zero: stop, or leave out and list in a sidecar (skip, keep)."
        ),
    ] = BadRows.error,
    source_name: Annotated[str, typer.Option(help="Name of the source space.")] = "source",
    target_name: Annotated[str, typer.Option(help="Name of the target space.")] = "target",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 when the verdict is uncertain, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the translator that is in --out.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the method; may be repeated.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings of the method, a TOML file; --set wins over it.")
    ] = None,
) -> None:
    """Fit a translator between two vector spaces from unpaired vectors, and say whether it worked.

    SOURCE and TARGET are .npy, .npz, .parquet, .safetensors or .jsonl files of vectors, one row a text.
    No row of one needs to belong to a row of the other.
    """
    refuse_existing(out, force=force)

    options = options_of(config, settings or [], OWN)
    own = {"method": method, "init": init, "restarts": restarts}
    options |= {key: value for key, value in own.items() if value is not None}

    from vec2vec.align import fit as fit_spaces
    from vec2vec.artifact import check_folder

    check_folder(out, force=force)
    check_beside(out, [source, target, *filter(None, [pairs])], force=force)
    with fit_progress() as progress:
        found = fit_spaces(
            source,
            target,
            seed=seed,
            pairs=pairs,
            rows=rows,
            source_name=source_name,
            target_name=target_name,
            on_bad_rows=on_bad_rows.value,
            threads=threads,
            device=device.value,
            progress=progress,
            **options,
        )
    if (
        os.environ.get("RANK", "0") != "0"
    ):  # one of several processes (torchrun, accelerate launch): the first one writes
        raise typer.Exit(exit_code(found.verdict, strict=strict))
    save(found, out, force=force)
    typer.echo(found.verdict.sentence)
    typer.echo(f"translator written to {out}")
    if found.skipped:
        say(f"bad rows skipped: {sum(map(len, found.skipped.values())):,}, listed in {beside(out)[0]}")
    raise typer.Exit(exit_code(found.verdict, strict=strict))


def save(found: Fit, out: Path, *, force: bool) -> None:
    """Write the translator and, where rows were skipped, the list of them: a JSON object a line, with the ``input``.

    The history of a training goes beside it, see `vec2vec.align.adversarial.chart.save_history`.

    The list takes its place after the translator does, and only if that goes well.

    Raises
    ------
    OutputError
        One of them exists (without ``force``), or cannot be written.
    """
    from vec2vec.align.adversarial.chart import save_history
    from vec2vec.stores import atomic_file

    sidecar, *history = beside(out)
    with ExitStack() as after:
        if found.skipped:
            stream = after.enter_context(atomic_file(sidecar, force=force))
            stream.writelines(bad.to_json(input=name) for name, rows in found.skipped.items() for bad in rows)
            stream.flush()  # a full disk shows now, before the translator takes its place
        found.translator.save_pretrained(out, force=force)
    trained = any(entry.get("stage") == "training" for entry in found.history)
    if trained:
        save_history(found.history, out, force=force)
    replaced = [] if trained else history
    if not found.skipped:
        replaced.append(sidecar)
    for path in replaced if force else ():  # they belong to the translator that was replaced
        path.unlink(missing_ok=True)
