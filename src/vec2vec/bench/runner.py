"""Runs a grid: prepares its inputs, gives each cell a process of its own, keeps each result as soon as it is there.

A result is a JSON file per cell, which appears whole or not at all, so that a run may be killed at any time; the same
command then does what is missing. All results together are kept as ``results.parquet``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from vec2vec.bench.config import BenchConfig, load_config
from vec2vec.bench.grid import Cell, Grid, make_grid
from vec2vec.bench.places import Places, fingerprints
from vec2vec.bench.prepare import Step, steps
from vec2vec.bench.worlds import check_sizes
from vec2vec.errors import ConfigError, InputError, OutputError
from vec2vec.machine import machine, usable_cores
from vec2vec.stores import atomic_file
from vec2vec.stores.atomic import alone_in

GRID = "grid.json"  # what tells the folder of a benchmark from any other
WORK = ".work-"  # begins the name of the folder of what its cells make
POLL = 0.05  # seconds between two looks at the children
Line = dict[str, Any]


@dataclass(frozen=True)
class BenchProgress:
    """Where a run is.

    Attributes
    ----------
    done, total : cells, those of earlier runs included; of the preparation, its steps
    failed : of those done
    running : what is being worked on
    remaining : seconds that it may still take, None where that is unknown
    news : a line on what has just ended, "" for none
    """

    done: int
    total: int
    failed: int
    running: tuple[str, ...]
    remaining: float | None
    news: str = ""


@dataclass
class Child:
    """A running process and what it works on."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    cell: Cell
    started: float = field(default_factory=time.perf_counter)


class Bench:
    """A benchmark and the folder of its results.

    Everything that can be wrong with the configuration is found here, before any work: unknown names and settings,
    missing files, measures or methods that need pairs where there are none.

    Parameters
    ----------
    name : a TOML file, or the name of a shipped configuration
    out : the folder, made when the work begins; one with results of an earlier run is gone on with, one with anything
        else in it is refused

    Raises
    ------
    InputError, ConfigError, OutputError : what is wrong, in one line
    """

    def __init__(self, name: str, out: str | os.PathLike[str]) -> None:
        self.name, self.given = name, os.fspath(out)
        self.config, self.text = load_config(name)
        self.out = Path(out).expanduser().absolute()
        if self.out.exists() and not self.out.is_dir():
            raise OutputError(f"{out}: is a file; --out is the name of a folder")
        if not self.out.parent.is_dir():
            raise OutputError(f"{out}: its folder {self.out.parent} does not exist; make it first")
        there = {one.name for one in self.out.iterdir()} if self.out.exists() else set[str]()
        if there and GRID not in there:
            raise OutputError(f"{out}: has files in it that are no benchmark's; name a new or an empty folder")
        inputs = fingerprints(self.config)
        self.places = Places(self.config, inputs, self.out)
        self.grid: Grid = make_grid(self.config, inputs)
        _check_encoders(self.config)
        self.steps: list[Step] = list(steps(self.places))
        if not any(not step.done for step in self.steps):
            check_sizes(self.places, self.grid.cells.values())

    # --- what is there ------------------------------------------------------------------------------------------------

    def result(self, cell: str) -> Line | None:
        """The result of a cell, None if there is none yet."""
        path = self._path(cell)
        if not path.exists():
            return None
        try:
            found: Line = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path}: is damaged; remove it, and its cell is run again") from error
        return found

    def results(self) -> dict[str, Line]:
        """All results of the grid that are there, by cell."""
        found = ((name, self.result(name)) for name in self.grid.cells)
        return {name: result for name, result in found if result is not None}

    def command(self, cell: Cell) -> str:
        """The command that runs this cell alone, in a folder that does not have it yet."""
        return f"vec2vec bench {shlex.quote(self.name)} --out {shlex.quote(self.given)} --only {shlex.quote(cell.id)}"

    def _path(self, cell: str) -> Path:
        return self.places.cells / f"{cell}.json"

    # --- the work -----------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        workers: int = 1,
        threads: int | None = None,
        only: Sequence[str] = (),
        retry: bool = False,
        progress: Callable[[BenchProgress], None] | None = None,
    ) -> dict[str, Line]:
        """Do what is missing; the results of the whole grid that are there then.

        Parameters
        ----------
        workers : cells at a time
        threads : of each cell; None shares the cores out among the workers
        only : ids of cells, or beginnings of ids; () for all
        retry : run those that failed again
        progress : called when something begins or ends, and about every second

        Raises
        ------
        InputError, ConfigError : the inputs, once prepared, do not have what the grid asks for
        OutputError : something cannot be written, or another run is at work in the folder
        """
        chosen = self._chosen(only)
        report = progress or (lambda _: None)
        if workers < 1 or (threads is not None and threads < 1):
            raise ConfigError(f"workers = {workers} and threads = {threads} must be 1 at least")
        threads = threads or max(1, usable_cores() // workers)
        self.out.mkdir(exist_ok=True)
        with self._alone():
            self._write(GRID, json.dumps({n: list(ids) for n, ids in self.grid.experiments.items()}, indent=1).encode())
            self.places.cells.mkdir(exist_ok=True)
            self._write("config.toml", self.text.encode())
            self.prepare(threads * workers, report)
            check_sizes(self.places, self.grid.cells.values())
            todo = [cell for cell in chosen if self._missing(cell, retry)]
            self._run_cells(todo, workers, threads, report)
        return self.results()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nothing else runs in the folder during the block, and what killed runs left there is gone.

        Where the file system has no locks, neither is seen to.
        """
        with alone_in(self.out) as sure:
            for left in self.out.glob(f"{WORK}*") if sure else ():
                shutil.rmtree(left, ignore_errors=True)
            yield

    def _chosen(self, only: Sequence[str]) -> list[Cell]:
        for start in only:
            if not any(name.startswith(start) for name in self.grid.cells):
                raise ConfigError(f"--only {start}: no cell has such an id; --list has them all")
        return [cell for name, cell in self.grid.cells.items() if not only or name.startswith(tuple(only))]

    def _missing(self, cell: Cell, retry: bool) -> bool:
        found = self.result(cell.id)
        return found is None or (retry and found["status"] == "failed")

    def prepare(self, threads: int, report: Callable[[BenchProgress], None]) -> None:
        """Make what is not there yet, a step after the other."""
        todo = [step for step in self.steps if not step.done]
        for number, step in enumerate(todo):
            report(BenchProgress(number, len(todo), 0, (step.what,), None))
            started = time.perf_counter()
            with self._child({"job": "step", "step": step.job}, threads) as (process, errors):
                process.wait()
                if process.returncode:
                    raise InputError(f"{step.what}: {_last_line(errors)}")
            taken = time.perf_counter() - started
            report(BenchProgress(number + 1, len(todo), 0, (), None, f"{step.what}: {taken:.0f} s"))

    def _run_cells(self, todo: list[Cell], workers: int, threads: int, report: Callable[[BenchProgress], None]) -> None:
        waiting, running = list(todo), dict[str, Child]()
        total = len(self.grid.cells)
        due = {cell.id for cell in todo}
        clock = _Clock({name: found for name, found in self.results().items() if name not in due}, self.grid)

        def tell(news: str = "") -> None:
            left = clock.remaining([*waiting, *(child.cell for child in running.values())], workers)
            now = tuple(child.cell.summary for child in running.values())
            report(BenchProgress(clock.done, total, clock.failed, now, left, news))

        with tempfile.TemporaryDirectory(dir=self.out, prefix=WORK) as folder:
            try:
                while waiting or running:
                    while waiting and len(running) < workers:
                        cell = waiting.pop(0)
                        running[cell.id] = self._start(cell, threads, Path(folder))
                    for name, child in list(running.items()):
                        if child.process.poll() is not None:
                            del running[name]
                            result = self._finish(child, threads, Path(folder))
                            clock.add(child.cell, result)
                            tell(_news(child.cell, result))
                    tell()
                    time.sleep(POLL)
            finally:
                for child in running.values():
                    child.process.kill()
                    child.process.wait()
                    child.errors.close()

    def _start(self, cell: Cell, threads: int, folder: Path) -> Child:
        job = {"job": "cell", "cell": asdict(cell), "threads": threads, "result": str(folder / f"{cell.id}.json")}
        process, errors = self._spawn(job, threads)
        return Child(process, errors, cell)

    def _finish(self, child: Child, threads: int, folder: Path) -> Line:
        """Keep the result of a cell that has ended, or how it failed."""
        made = folder / f"{child.cell.id}.json"
        about = {
            "cell": asdict(child.cell),
            "command": self.command(child.cell),
            "seconds": round(time.perf_counter() - child.started, 3),
            "threads": threads,
            "machine": machine(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        with child.errors:
            if child.process.returncode == 0 and made.exists():
                result: Line = {"status": "done"} | about | json.loads(made.read_text())
            else:
                result = {"status": "failed", "error": _failure(child)} | about
        made.unlink(missing_ok=True)
        self._write(f"cells/{child.cell.id}.json", json.dumps(result).encode())
        return result

    @contextmanager
    def _child(self, job: Line, threads: int) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        process, errors = self._spawn(job, threads)
        try:
            yield process, errors
        finally:
            process.kill()
            process.wait()
            errors.close()

    def _spawn(self, job: Line, threads: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        job = job | {
            "config": self.config.model_dump(mode="json", exclude_unset=True),
            "inputs": self.places.inputs,
            "out": str(self.out),
            "parent": os.getpid(),
        }
        counts = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child has ended
        process = subprocess.Popen(
            [sys.executable, "-m", "vec2vec.bench.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | counts,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already; its exit code says so
        return process, errors

    def _write(self, name: str, content: bytes) -> None:
        with atomic_file(self.out / name, force=True) as stream:
            stream.write(content)


class _Clock:
    """How long the rest may take, by what is done: cells of the same method and size, of the same method, or all."""

    def __init__(self, results: Mapping[str, Line], grid: Grid) -> None:
        self.seconds: dict[tuple[object, ...], list[float]] = {}
        self.done = self.failed = 0
        for name, result in results.items():
            self.add(grid.cells[name], result)

    def add(self, cell: Cell, result: Line) -> None:
        if result["status"] == "failed":
            self.failed += 1
        self.done += 1
        for key in _keys(cell):
            self.seconds.setdefault(key, []).append(result["seconds"])

    def remaining(self, cells: Iterable[Cell], workers: int) -> float | None:
        total = 0.0
        for cell in cells:
            known = next((self.seconds[key] for key in _keys(cell) if key in self.seconds), None)
            if known is None:
                return None
            total += statistics.mean(known)
        return total / workers


def _keys(cell: Cell) -> tuple[tuple[object, ...], ...]:
    return (cell.method, cell.rows), (cell.method,), ()


def _news(cell: Cell, result: Line) -> str:
    if result["status"] == "failed":
        return f"{cell.summary}: failed: {result['error']}"
    top = [line["top1"] for line in result["lines"] if line.get("matching") in ("cosine", "argmax")]
    found = f"top-1 {top[0]:.3f}, " if top else ""
    verdict = result["about"].get("verdict")
    return f"{cell.summary}: {found}{f'{verdict}, ' if verdict else ''}{result['seconds']:.0f} s"


def _failure(child: Child) -> str:
    code = child.process.returncode
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    said = _last_line(child.errors)
    return f"{how}: {said}" if said else how


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _check_encoders(config: BenchConfig) -> None:
    """ConfigError for the name of an encoder that nothing could have, or an option that none has."""
    from vec2vec.encoders.base import make_options
    from vec2vec.encoders.registry import find_card, unknown_encoder

    for name, space in config.spaces.items():
        options = make_options(space.options)
        encoder = space.encoder
        if encoder is None or find_card(encoder) or encoder.startswith(("openai:", "http://", "https://")):
            continue
        if options.base_url is not None:  # what it calls its models is the endpoint's business
            continue
        if Path(encoder).expanduser().is_dir():
            continue
        if encoder.startswith((".", "/", "~")) or encoder.count("/") > 1:
            raise InputError(f"space '{name}': {encoder}: there is no such folder")
        if "/" not in encoder:
            raise unknown_encoder(encoder)
