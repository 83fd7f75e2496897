"""``vec2vec audit``: what a leaked set of vectors tells, as a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vec2vec.cli.common import A_STORE, exit_code, say, warn
from vec2vec.cli.corpus import BadTexts
from vec2vec.cli.progress import fit_progress
from vec2vec.cli.settings import options_of, own_options
from vec2vec.errors import ConfigError

if TYPE_CHECKING:
    from vec2vec.audit import Audit
    from vec2vec.translator import Translator

EXAMPLES = """[bold]Examples[/bold]

vec2vec audit leak.npy --encoder minilm --reference public.jsonl --out report --scope "our own store, ticket 17"

vec2vec audit leak.npy --encoder minilm --reference public.jsonl --labels tweet-topics --truth own.jsonl --out report

vec2vec audit leak.npy --encoder minilm --reference public.jsonl --translator t --inverter i --defences all --out report

Exit code: 0 aligned, or uncertain with a warning; 3 not aligned: nothing can be concluded; 2 an error."""

ASK = "What is audited, and on whose authority? (It stands in the report.)"
WORDS, DEFENCE, FIT = "Words", "Defences", "Translator"
OWN = own_options(
    "encoder", "reference", "scope", "labels", "truth", "seed", "on_bad_rows", "threads", "translator", "inverter",
    "invert_rows", "lm", "names", "judge", "defences",
) | {
    "leak": "the argument LEAK",
    "cache": "--no-cache",
    "source_space": "--from",
    "target_space": "--to",
    "fit_rows": "--rows",
    "method": "--set-fit",
    "inverter_minutes": "--minutes",
    "progress": "",
    "say": "",
}  # fmt: skip
OWN_OF_THE_FIT = own_options("seed", "rows", "on_bad_rows") | {
    "source": "the argument LEAK",
    "target": "--reference",
    "source_name": "",
    "target_name": "",
    "progress": "",
}


def audit(
    leak: Annotated[str, typer.Argument(metavar="LEAK", help=f"Vectors of an unknown model: {A_STORE}.")],
    encoder: Annotated[str, typer.Option(help="The known encoder: a name, a folder or a hub id.")],
    reference: Annotated[str, typer.Option(help="Public texts of the same kind and language: a corpus.")],
    out: Annotated[Path, typer.Option(help="Folder for the report.")],
    scope: Annotated[
        str | None, typer.Option(help="What is audited, and on whose authority; asked for on a terminal.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels with descriptions: a file, or tweet-topics (packaged).")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(help="Texts, labels or both of the leak's rows, in order: for measuring only.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show recovered and true texts, not masked.")] = False,
    on_bad_rows: Annotated[BadTexts, typer.Option(help="Rows that cannot be used: stop, or skip.")] = BadTexts.error,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do not keep the texts' vectors.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 when the verdict is uncertain, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the report that is in --out.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the audit; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings of the audit, a TOML file; --set wins over it.")] = None,
    translator: Annotated[
        str | None, typer.Option(help="A fitted one; otherwise one is fitted.", rich_help_panel=FIT)
    ] = None,
    source_name: Annotated[
        str | None, typer.Option("--from", help="Its space of the leak.", rich_help_panel=FIT)
    ] = None,
    target_name: Annotated[
        str | None, typer.Option("--to", help="Its space of the encoder.", rich_help_panel=FIT)
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=2, help="Fit on this many random rows a side.", rich_help_panel=FIT)
    ] = None,
    fit_settings: Annotated[
        list[str] | None,
        typer.Option("--set-fit", metavar="KEY=VALUE", help="A setting of the fit, or method=.", rich_help_panel=FIT),
    ] = None,
    inverter: Annotated[
        str,
        typer.Option(
            help="A trained one; train, nearest (no model), vec2text:NAME (a published one), or none (no texts).",
            rich_help_panel=WORDS,
        ),
    ] = "train",
    minutes: Annotated[float, typer.Option(help="To train an inverter.", rich_help_panel=WORDS)] = 20.0,
    invert_rows: Annotated[int, typer.Option(min=1, help="Rows turned into text.", rich_help_panel=WORDS)] = 200,
    lm: Annotated[
        str | None, typer.Option(help="A causal language model that rewrites.", rich_help_panel=WORDS)
    ] = None,
    names: Annotated[
        str | None, typer.Option(help="A spaCy model that finds names; by default a rule does.", rich_help_panel=WORDS)
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="URL::MODEL",
            help="An endpoint that says what is revealing, in place of a rule; the true texts go there. Its key is in "
            "VEC2VEC_JUDGE_KEY.",
            rich_help_panel=WORDS,
        ),
    ] = None,
    defences: Annotated[
        str, typer.Option(help="all, none, or names with commas; each costs a fit.", rich_help_panel=DEFENCE)
    ] = "none",
) -> None:
    """Show what a leaked vector database would tell: attributes and words, read from vectors alone.

    For the owner of the vectors, or whoever is authorised to test them. Nothing leaves this machine, unless
    --encoder or --judge is an endpoint: the latter is sent the true texts.
    Writes out/report.html, out/report.json and out/report.md.
    """
    from vec2vec.audit import audit as run
    from vec2vec.audit.report import check_folder, check_report

    check_folder(out, force=force)
    options = options_of(config, settings or [], OWN)
    authority = _scope(scope)
    check_report()
    if judge is not None:
        warn(f"the true texts will be sent to {_judge_url(judge)}")
    with fit_progress() as progress:
        found = run(
            leak,
            encoder,
            reference,
            scope=authority,
            labels=labels,
            truth=truth,
            translator=translator,
            method=options_of(None, fit_settings or [], OWN_OF_THE_FIT),
            inverter=inverter,
            lm=lm,
            names=names,
            judge=judge,
            defences=defences,
            source_space=source_name,
            target_space=target_name,
            on_bad_rows=on_bad_rows.value,
            cache=not no_cache,
            threads=threads,
            progress=progress,
            say=say,
            seed=seed,
            fit_rows=rows,
            invert_rows=invert_rows,
            inverter_minutes=minutes,
            **options,
        )
    finish(found, out, reveal=reveal, force=force)
    raise typer.Exit(exit_code(found.verdict, strict=strict))


def finish(found: Audit, out: Path, *, reveal: bool = False, force: bool = False) -> None:
    """Say what was found, and write the report."""
    from vec2vec.audit.report import grade, write_report

    for note in found.notes:
        warn(note)
    given = grade(found)
    typer.echo(f"verdict: {found.verdict.label}. {found.verdict.sentence}")
    typer.echo(f"grade: {'none' if given.level == 'none' else given.level}. {given.sentence}")
    for _, words in given.reasons:
        typer.echo(f"  {words}")
    paths = write_report(found, out, reveal=reveal, force=force)
    typer.echo(f"report: {paths[0]}")


def _judge_url(endpoint: str) -> str:
    """Where a judge is asked; ConfigError for one that cannot be, which never repeats a password."""
    from vec2vec.audit.inversion.judge import KEY_VARIABLE, EndpointJudge

    if "@" in endpoint.partition("::")[0]:
        raise ConfigError(
            f"the URL of --judge has an '@' in it, as after a user or password: leave them out, and give a key in "
            f"{KEY_VARIABLE}; in a path, write it as %40"
        )
    return EndpointJudge(endpoint).url


def _scope(scope: str | None) -> str:
    if scope is None and sys.stdin.isatty():
        scope = typer.prompt(ASK, err=True)
    if scope is None or not scope.strip():
        raise ConfigError('an audit needs its scope: --scope "what is audited, and on whose authority"')
    return scope


def demo_audit(
    translator: Translator, spaces: tuple[str, str], out: Path, *, seed: int, threads: int | None, force: bool
) -> None:
    """The audit of the packaged sample, which has no texts: attributes from vectors alone."""
    from vec2vec.audit import audit as run
    from vec2vec.audit.sample import sample_audit_inputs

    given = sample_audit_inputs()
    leak, reference = given.pop("leak"), given.pop("reference")
    found = run(
        leak,
        None,
        reference,
        translator=translator,
        source_space=spaces[0],
        target_space=spaces[1],
        threads=threads,
        say=say,
        seed=seed,
        **given,
    )
    finish(found, out, force=force)
