"""The progress of a fit on stderr: a live bar on a terminal, one line per stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vec2vec.cli.common import say

if TYPE_CHECKING:
    from vec2vec.align import Progress
    from vec2vec.encoders import EmbedProgress

LINE_SECONDS = 60.0  # between two lines where there is no terminal


@contextmanager
def fit_progress() -> Iterator[Callable[[Progress], None]]:
    """Give the callback that ``vec2vec.fit(progress=...)`` takes."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _stage_lines()
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.fields[score]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remaining]}"),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None, visible=False, score="", remaining="")  # warnings may come first

        def show(progress: Progress) -> None:
            bars.update(
                task,
                visible=True,
                description=progress.stage + "".join(f" {name} {value:.3g}" for name, value in progress.losses.items()),
                completed=progress.step,
                total=progress.total,
                score="" if progress.score is None else f"score {progress.score:.3f}",
                remaining="" if progress.remaining is None else f"about {progress.remaining:,.0f} s left",
            )

        yield show


def _stage_lines() -> Callable[[Progress], None]:
    stages: list[str] = []

    def show(progress: Progress) -> None:
        if stages[-1:] != [progress.stage]:
            stages.append(progress.stage)
            left = "" if progress.remaining is None else f" (about {progress.remaining:,.0f} s left)"
            say(f"{progress.stage}{left}")

    return show


@contextmanager
def row_progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a callback of (rows done, rows in all or None); silent where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def embed_progress() -> Iterator[Callable[[EmbedProgress], None]]:
    """Give the callback that ``vec2vec.embed(progress=...)`` takes: a bar on a terminal, a line a minute elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _minute_lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None, speed="")
        yield lambda progress: bars.update(task, completed=progress.done, total=progress.total, speed=_speed(progress))


def _speed(progress: EmbedProgress) -> str:
    left = "" if progress.remaining is None else f", about {progress.remaining:,.0f} s left"
    return f"{progress.rate:,.0f} rows/s{left}"


class Every:
    """Whether so many seconds have gone by since it last said so."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


def _minute_lines() -> Callable[[EmbedProgress], None]:
    due = Every(LINE_SECONDS)

    def show(progress: EmbedProgress) -> None:
        if due():
            total = "" if progress.total is None else f" of {progress.total:,}"
            say(f"{progress.done:,}{total} rows, {_speed(progress)}")

    return show
