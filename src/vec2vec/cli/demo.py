"""``vec2vec demo``: the main job from end to end, on the packaged sample."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from vec2vec.cli.common import exit_code, refuse_existing
from vec2vec.cli.evaluate import print_table
from vec2vec.cli.progress import fit_progress

EXAMPLES = """[bold]Examples[/bold]

vec2vec demo

vec2vec demo --audit

vec2vec demo --out elsewhere --seed 1"""

POOLS = (1024, None)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the translator, the scores and the figure.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    rows: Annotated[int, typer.Option(min=100, max=8000, help="Fit on this many random rows a side.")] = 8000,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Audit the sample, too: what its vectors tell. Needs the extra report.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in --out.")] = False,
) -> None:
    """Fit on the packaged sample of two real encoders, give the verdict, and score it against held-out truth.

    The fit sees 8,000 vectors a side, of different texts: no pairs. The truth, 2,000 pairs, is for scoring only.
    Writes out/translator, out/scores.json and out/spaces.png; with --audit out/report.html, .json and .md, too.
    """
    refuse_existing(out, force=force)
    if audit:
        from vec2vec.audit.report import check_report

        check_report()
    started = time.perf_counter()

    from vec2vec.align import fit
    from vec2vec.artifact import check_folder
    from vec2vec.data import load_sample
    from vec2vec.evaluate import evaluate
    from vec2vec.evaluate.figures import save_figure, spaces_figure
    from vec2vec.stores import atomic_file

    if out.exists():
        check_folder(out / "translator", force=force)
    sample = load_sample()
    typer.echo(f"{sample.source_name} and {sample.target_name}: {rows:,} vectors a side, of different texts, no pairs")
    with fit_progress() as progress:
        found = fit(
            sample.source,
            sample.target,
            seed=seed,
            rows=rows,
            source_name=sample.source_name,
            target_name=sample.target_name,
            threads=threads,
            progress=progress,
        )
    typer.echo(found.verdict.sentence)
    out.mkdir(exist_ok=True)
    found.translator.save_pretrained(out / "translator", force=force)
    typer.echo(f"against the truth, {len(sample.source_eval):,} held-out texts in both encoders:")
    scores = evaluate(found.translator, sample.source_eval, sample.target_eval, pools=POOLS, seed=seed)
    print_table(scores)
    with atomic_file(out / "scores.json", force=force) as stream:
        stream.write(json.dumps(scores.to_dict(), indent=2).encode() + b"\n")
    translator = found.translator
    figure = spaces_figure(
        sample.source_eval,
        sample.target_eval,
        translator.latent(sample.source_eval, space=sample.source_name),
        translator.latent(sample.target_eval, space=sample.target_name),
        domains=sample.eval_domains,
        domain_names=sample.domain_names,
        source_name=sample.source_name,
        target_name=sample.target_name,
        seed=seed,
    )
    save_figure(figure, out / "spaces.png", force=force)
    typer.echo(f"translator, scores.json and spaces.png are in {out} ({time.perf_counter() - started:.0f} s in all)")
    if audit:
        from vec2vec.cli.audit import demo_audit

        spaces = (sample.target_name, sample.source_name)
        demo_audit(found.translator, spaces, out, seed=seed, threads=threads, force=force)
    raise typer.Exit(exit_code(found.verdict))
