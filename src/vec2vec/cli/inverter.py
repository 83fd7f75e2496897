"""``vec2vec inverter``: train a decoder from vectors of an encoder to text, and use it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import A_STORE, Device, say
from vec2vec.cli.corpus import BadTexts
from vec2vec.cli.settings import options_of, own_options
from vec2vec.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vec2vec.audit.inversion import Inverter, TrainingStep
    from vec2vec.datasets import Record
    from vec2vec.encoders import Encoder

EXAMPLES = """[bold]Examples[/bold]

vec2vec inverter train texts.jsonl --encoder minilm --out inverter --minutes 60

vec2vec inverter train texts.parquet --encoder gtr --out large --minutes 600 --set width=768 --set layers=12

vec2vec inverter invert inverter translated.npy --out texts.jsonl"""

app = typer.Typer(no_args_is_help=True, help="Train a decoder from vectors of an encoder to text, and use it.")
LINE_SECONDS = 30.0


@app.command("train", no_args_is_help=True, epilog=EXAMPLES)
def train(
    texts: Annotated[str, typer.Argument(metavar="TEXTS", help="Public texts: a corpus, or file::column.")],
    out: Annotated[Path, typer.Option(help="Folder for the inverter.")],
    encoder: Annotated[str, typer.Option(help="The known encoder: a name, a folder or a hub id.")] = "minilm",
    minutes: Annotated[float, typer.Option(min=0.0, help="How long to train.")] = 30.0,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps to train, whatever the time.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="For the start, the order and the noise.")] = 0,
    max_tokens: Annotated[int | None, typer.Option(min=0, help="Cut texts at so many tokens. [64]")] = None,
    on_bad_rows: Annotated[BadTexts, typer.Option(help="Rows without a usable text: stop, or skip.")] = BadTexts.error,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do not keep the texts' vectors.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    force: Annotated[bool, typer.Option("--force", help="Replace the inverter that is in --out.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the training.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings of the training, a TOML file.")] = None,
) -> None:
    """Train an inverter of an encoder on public texts. A run that was stopped goes on when it is given again."""
    options = options_of(config, settings or [], own_options("minutes", "steps", "seed"))

    from vec2vec.align import limited_threads
    from vec2vec.audit.inversion import InverterSettings, train_inverter
    from vec2vec.audit.inversion.inverter import check_inverter_folder
    from vec2vec.audit.inversion.training import check_training
    from vec2vec.audit.known import Known
    from vec2vec.datasets import open_corpus
    from vec2vec.encoders import get_encoder
    from vec2vec.settings import make_settings

    make_settings(InverterSettings, {"minutes": minutes, "steps": steps, "seed": seed} | options, owner="an inverter")
    out = out.expanduser().resolve()
    check_inverter_folder(out, force=force)
    numbers = _first_rows(open_corpus(texts, id_column="", on_bad_rows=on_bad_rows.value).records())
    found = list(numbers)
    given = {} if max_tokens is None else {"max_tokens": max_tokens}
    made = get_encoder(encoder, threads=threads, device=device.value, **given)
    check_training(made, found)
    say(f"embedding {len(found):,} texts with {made.identity.encoder}")
    known = Known(made.identity.encoder, made.width, made, cache=not no_cache)
    vectors, rows = known.embed(found, texts, list(numbers.values()), on_bad_rows.value)
    found = [found[i] for i in rows]
    checkpoint = out.with_name(f".{out.name}.training.safetensors")
    with limited_threads(threads), _kept_on_interruption():
        inverter = train_inverter(
            found,
            vectors,
            made,
            checkpoint=checkpoint,
            device=device.value,
            progress=_lines(),
            minutes=minutes,
            steps=steps,
            seed=seed,
            **options,
        )
        inverter.save_pretrained(out, force=force)
    record = inverter.record
    say(
        f"{record['parameters']:,} parameters, {record['steps']:,} steps in {record['seconds']:,.0f} s, held-out loss "
        f"{record['held_out_loss']:.3f} nats a token"
    )
    typer.echo(f"inverter written to {out}")


@app.command("invert", no_args_is_help=True, epilog=EXAMPLES)
def invert(
    inverter: Annotated[Path, typer.Argument(metavar="INVERTER", help="Folder of an inverter.")],
    vectors: Annotated[str, typer.Argument(metavar="VECTORS", help=f"Native or translated: {A_STORE}.")],
    out: Annotated[Path, typer.Option(help="Where the texts go: .jsonl.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="The encoder, for correction; by default the inverter's, unless that is a folder."),
    ] = None,
    beam: Annotated[int, typer.Option(min=1, help="Hypotheses for each vector.")] = 4,
    closeness: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="1 for native vectors, about 0.5 for translated ones.")
    ] = 0.5,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of correction, with the encoder.")] = 0,
    proposals: Annotated[int, typer.Option(min=1, help="Mutations of a vector's hypotheses in a round.")] = 24,
    lm: Annotated[str | None, typer.Option(help="A causal language model that rewrites in correction.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file.")] = False,
) -> None:
    """Write the likeliest texts of vectors, one line for each. For vectors that you are authorised to test."""
    if out.suffix != ".jsonl":
        raise InputError(f"{out}: texts are written to .jsonl")
    for option, value in (("--lm", lm), ("--encoder", encoder)):
        if value is not None and not rounds:
            raise ConfigError(f"{option} {value}: serves to correct; give --rounds, such as --rounds 8")

    from vec2vec.align import limited_threads
    from vec2vec.audit.inversion import Inverter
    from vec2vec.audit.inversion.correct import correct
    from vec2vec.audit.inversion.lm import LanguageModel
    from vec2vec.encoders import encode
    from vec2vec.stores import atomic_file, check_output, open_source, read_vectors
    from vec2vec.stores.atomic import refuse_input, refuse_within

    check_output(out, force=force)
    given = open_source(vectors).path
    refuse_input(out, given)
    refuse_within(out, given)
    loaded = Inverter.from_pretrained(inverter)
    made = _encoder_of(loaded, encoder, threads) if rounds else None
    x = read_vectors(vectors)
    proposer = None if lm is None else LanguageModel(lm)
    with limited_threads(threads):
        found = loaded.decode(x, beam=beam, closeness=closeness)
        if made is not None:
            found = correct(
                loaded,
                lambda texts: encode(made, list(texts)),
                x,
                [[one.text for one in own_texts] for own_texts in found],
                rounds=rounds,
                beam=beam,
                proposals=proposals,
                closeness=closeness,
                seed=seed,
                proposer=proposer,
                progress=lambda number, mean: say(f"round {number}: mean cosine {mean:.3f}"),
            )
    with atomic_file(out, force=force) as stream:
        for row, hypotheses in enumerate(found):
            tree = {"row": row, "text": hypotheses[0].text, "score": round(hypotheses[0].score, 4)}
            stream.write(json.dumps(tree, ensure_ascii=False).encode() + b"\n")
    say(f"{len(found):,} texts written to {out}")


def _first_rows(records: Iterable[Record]) -> dict[str, int]:
    """Each text once, with the number of the first row that has it, from 0.

    The rows of a hub dataset are numbered split by split: there it is the place among all texts read.
    """
    found: dict[str, int] = {}
    for place, record in enumerate(records):
        found.setdefault(record.text, int(record.id) if record.id.isdecimal() else place)
    return found


def _encoder_of(inverter: Inverter, given: str | None, threads: int | None) -> Encoder:
    """The encoder to correct with: the one given, or else the inverter's, where its name says which that is."""
    from vec2vec.audit.inversion.inverter import loaded_from_folder
    from vec2vec.encoders import get_encoder

    own = inverter.record["encoder"]
    if given is None and loaded_from_folder(own):
        raise ConfigError(
            f"the inverter was trained on an encoder in a folder called {own['encoder']}: say where it is, with "
            f"--encoder path/to/{own['encoder']}"
        )
    made = get_encoder(given or own["encoder"], threads=threads, max_tokens=own["max_tokens"])
    inverter.check_encoder(made.identity.to_dict())
    return made


@contextmanager
def _kept_on_interruption() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("what was trained so far is kept: the same command goes on from there")
        raise


def _lines() -> Callable[[TrainingStep], None]:
    last = 0.0

    def show(step: TrainingStep) -> None:
        nonlocal last
        if step.seconds - last >= LINE_SECONDS:
            last = step.seconds
            held_out = "" if step.held_out is None else f", held out {step.held_out:.3f}"
            say(f"step {step.step:,}, {step.part:.0%}: loss {step.loss:.3f}{held_out}")

    return show
