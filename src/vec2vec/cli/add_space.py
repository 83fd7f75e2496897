"""``vec2vec add-space``: one more space for a translator, from unpaired vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vec2vec.cli.common import A_STORE, Device, beside, check_beside, exit_code, refuse_existing
from vec2vec.cli.progress import fit_progress
from vec2vec.cli.settings import options_of, own_options
from vec2vec.errors import ConfigError, OutputError

EXAMPLES = """[bold]Examples[/bold]

vec2vec add-space translator third.npy --name third --reference target=known.npy

vec2vec add-space translator third.npy --name third --reference target=known.npy --steps 500 --out larger

Exit code: 0 aligned, or uncertain with a warning; 3 not aligned, and then nothing is written; 2 an error."""

OWN = own_options("name", "seed", "rows", "steps", "device", "threads") | {
    "self": "",
    "translator": "the argument DIR",
    "vectors": "the argument VECTORS",
    "references": "--reference",
    "frozen": "--unfreeze",
    "progress": "",
}


def add_space(
    translator: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a translator, or a hub id.")],
    vectors: Annotated[str, typer.Argument(metavar="VECTORS", help=f"Vectors of the new space: {A_STORE}.")],
    name: Annotated[str, typer.Option(help="Name of the new space.")],
    reference: Annotated[
        list[str],
        typer.Option(
            metavar="SPACE=FILE", help="Vectors of a space that the translator has; the first is aligned with."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the result; by default it takes the place of DIR.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Fit on this many random rows a side.")] = None,
    steps: Annotated[int, typer.Option(min=0, help="Train the adapters of a network for so many steps.")] = 0,
    unfreeze: Annotated[
        bool, typer.Option("--unfreeze", help="Train all of the network; needs references of every space.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same adapters.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    force: Annotated[bool, typer.Option("--force", help="Replace the translator that is in --out.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the training; may be repeated.")
    ] = None,
) -> None:
    """Fit a new encoder's adapters to the latent of a translator, with the rest as it is.

    Any two of its spaces are then translated, also those that were never fitted together.
    """
    if out is not None:
        refuse_existing(out, force=force)
    references = parse_references(reference)
    options = options_of(None, settings or [], OWN)

    from vec2vec.artifact import check_folder
    from vec2vec.stores.atomic import same_file
    from vec2vec.translator import Translator

    held = Translator.from_pretrained(translator)
    if out is None and not os.path.isdir(os.path.expanduser(translator)):
        raise OutputError(f"{translator}: comes from the hub, where nothing is written; say with --out where to save")
    goes_to, replaced = (translator, True) if out is None else (out, force)
    check_folder(goes_to, force=replaced)
    other = None if out is None or same_file(out, translator) else out
    if other is not None:
        check_beside(other, [vectors, *references.values()], force=force)
    with fit_progress() as progress:
        larger = held.add_space(
            vectors,
            name,
            references,
            seed=seed,
            rows=rows,
            steps=steps,
            frozen=not unfreeze,
            device=device.value,
            threads=threads,
            progress=progress,
            **options,
        )
    verdict = larger.record["added"][-1]["verdict"]
    typer.echo(verdict["sentence"])
    from vec2vec.verdict import Verdict

    code = exit_code(Verdict.from_dict(verdict))
    if not code:
        larger.save_pretrained(goes_to, force=replaced)
        for path in beside(other) if other is not None and force else ():  # they belong to what was replaced
            path.unlink(missing_ok=True)
        typer.echo(f"translator with the spaces {', '.join(larger.spaces)} written to {goes_to}")
    raise typer.Exit(code)


def parse_references(texts: Sequence[str]) -> dict[str, str]:
    """Split each ``space=file``."""
    found: dict[str, str] = {}
    for text in texts:
        space, equals, file = text.partition("=")
        if not equals or not space.strip() or not file:
            raise ConfigError(f"--reference {text}: write SPACE=FILE, such as --reference target=known.npy")
        if space.strip() in found:
            raise ConfigError(
                f"--reference {text}: the space '{space.strip()}' has one already: {found[space.strip()]}"
            )
        found[space.strip()] = file
    return found
