"""The fitters behind one front end: two unpaired sets of vectors in, a translator and a verdict out."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from vec2vec import __version__
from vec2vec.align.base import (
    METHODS,
    Fit,
    FitConfig,
    LinearFit,
    Progress,
    ProgressCallback,
    SpaceFit,
    choose_method,
    make_config,
    more_follows,
)
from vec2vec.align.inputs import Pairs, Side, draw_side, load_pairs, once_each, open_side, refuse_the_same
from vec2vec.errors import ConfigError, InputError, Vec2VecWarning
from vec2vec.translator import Translator, check_names
from vec2vec.vectors import BadRow, OnBadRows, constant_columns, one_line
from vec2vec.verdict import Verdict

__all__ = ["METHODS", "Fit", "FitConfig", "LinearFit", "Progress", "ProgressCallback", "SpaceFit", "fit"]

FEW_ROWS = 1000
DEVICES = ("auto", "cpu", "cuda", "mps")


def fit(
    source: npt.ArrayLike | str | os.PathLike[str],
    target: npt.ArrayLike | str | os.PathLike[str],
    method: str | None = None,
    *,
    seed: int = 0,
    pairs: object = None,
    rows: int | None = None,
    source_name: str = "source",
    target_name: str = "target",
    on_bad_rows: OnBadRows = "error",
    threads: int | None = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    **config: Any,
) -> Fit:
    """Fit a translator between two vector spaces, and judge it without labels.

    Nothing global is changed, and nothing is written: save the result by ``fit.translator.save_pretrained(folder)``.

    Parameters
    ----------
    source, target : (n, d_source) and (m, d_target) arrays, or files (``path`` or ``path::column``, see
        `vec2vec.stores`). No row of one needs to belong to a row of the other.
    method : "sinkhorn", the default without pairs; "few-pairs", the default with them; "vec2vec", the networks; "mini",
        mini-vec2vec as published; "procrustes" or "ridge", on pairs alone
    seed : the same seed gives the same translator, on the same machine with the same number of threads
    pairs : known pairs, of ten texts or more: a file with ``source`` and ``target`` (.npz, .parquet, .safetensors,
        .jsonl), or ``path::a,b`` where they are called otherwise, or a tuple of two row-aligned arrays
    rows : fit on this many rows a side, drawn at random; never more than the setting ``max_rows`` (65,536)
    source_name, target_name : what the translator calls the two spaces
    on_bad_rows : "error" stops at a row that is not finite or is all zero; "skip" leaves such rows out and draws others
        (the record counts them, `Fit.skipped` lists them); "keep" does the same, since such a row cannot be fitted
    threads : CPU threads, while this runs; None leaves them as they are
    device : "cpu", "cuda", "mps", or "auto": CUDA where there is a device, else the CPU
    progress : called with a `Progress` from time to time; what it raises ends the fit
    config : the settings of the method

    Returns
    -------
    Fit with the translator, the verdict, the history and the record.

    Raises
    ------
    InputError : vectors or pairs that cannot be used, or source and target are the same
    DimensionError : pairs of another width than the vectors
    ConfigError : an unknown method or setting, a value out of range, a device that is absent
    DivergenceError, ArtifactError, MissingExtraError, OutputError : of "vec2vec" alone: a training that diverges, a
        damaged checkpoint, a tracker that is not installed, a folder for either that cannot be written to

    Warns
    -----
    Vec2VecWarning : fewer than 1,000 rows on a side, skipped rows, rows that repeat an earlier one (1% or more, which
        are left out), repeated pairs, constant columns; unpaired rows that do harm beside the pairs; no checkpoint to
        go on from
    """
    started = time.perf_counter()
    name, found = choose_method(method, pairs=pairs is not None)
    check_names((source_name, target_name))
    _check_numbers(seed=(seed, 0), rows=(rows, 1), threads=(threads, 1))
    where = find_device(device)
    config_class, run = found.load()
    settings = make_config(config_class, config, method=name)

    left, right = _load_sides(source, target, rows, settings.max_rows, seed, on_bad_rows)
    known: Pairs | None = None
    options: dict[str, Any] = {}
    if pairs is not None:
        widths = left.width, right.width
        known = load_pairs(pairs, widths, most=settings.max_rows, seed=seed, on_bad_rows=on_bad_rows)
        options["pairs"] = known.source, known.target
        for line in known.warnings:
            warnings.warn(line, Vec2VecWarning, stacklevel=2)
    with limited_threads(threads), fast_products(), with_gradients(), usual_defaults(), _solvable():
        used_threads = torch.get_num_threads()
        told = progress if settings.judges else more_follows(progress)
        result = run(left.vectors, right.vectors, settings, seed=seed, progress=told, device=where, **options)
        verdict = result.verdict
        if verdict is None:
            from vec2vec.align.second_opinion import second_opinion

            sides = left.vectors, right.vectors
            verdict = second_opinion(result.spaces(), *sides, seed=seed, device=where, progress=progress)
    verdict = verdict or _not_judged(name)
    record = {
        "method": name,
        "seed": seed,
        "names": {"source": source_name, "target": target_name},
        "rows": {"source": left.counts(), "target": right.counts()},
        "pairs": len(known) if known else 0,
        "config": settings.model_dump(mode="json"),
        "seconds": round(time.perf_counter() - started, 3),
        "device": where.type,
        "threads": used_threads,
        "versions": {
            "vec2vec": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    spaces = dict(zip((source_name, target_name), result.spaces(), strict=True))
    translator = Translator(spaces, verdict=verdict, record=record)
    return Fit(translator, verdict, result.history, record, _skipped(left, right, known))


def find_device(name: str) -> torch.device:
    """The device of this name, or a ConfigError if there is none such."""
    if name not in DEVICES:
        raise ConfigError(f"there is no device '{name}'; it can be {', '.join(DEVICES)}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: this machine, or this build of torch, has none; use cpu or auto")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device mps: this machine, or this build of torch, has none; use cpu or auto")
    return torch.device(name)


@contextmanager
def with_gradients() -> Iterator[None]:
    """Let torch take gradients within the block, whatever it is called in: `no_grad` is usual around encoders."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Have torch make tensors of float32 on the CPU within the block, whatever a program has chosen for its own."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def _solvable() -> Iterator[None]:
    """Turns what linear algebra cannot solve into an InputError."""
    try:
        yield
    except (np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]  # it is documented
        raise InputError(
            f"the vectors leave nothing to solve for ({one_line(error)}): look for rows that are nearly all the same, "
            "or some that are larger than the others by orders of magnitude"
        ) from error


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let torch, BLAS and OpenMP use this many threads within the block, and what they used before after it."""
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    with threadpool_limits(threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def fast_products() -> Iterator[None]:
    """Let torch multiply float32 matrices in the fastest way that is precise to 8 bits, within the block.

    The fitters' samples are noisier than that. On CPUs this chooses oneDNN's product in place of MKL's, which is twice
    as fast on some even where it rounds nothing; on GPUs, TF32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _load_sides(
    source: npt.ArrayLike | str | os.PathLike[str],
    target: npt.ArrayLike | str | os.PathLike[str],
    rows: int | None,
    max_rows: int,
    seed: int,
    on_bad_rows: OnBadRows,
) -> tuple[Side, Side]:
    sources = open_side(source, "source"), open_side(target, "target")
    refuse_the_same(*sources)
    most = max_rows if rows is None else min(rows, max_rows)
    # two seeds: row-aligned files must not give the same rows on both sides, which would be pairs unseen
    left, right = (draw_side(side, most, 2 * seed + i, on_bad_rows) for i, side in enumerate(sources))
    if left.vectors.shape == right.vectors.shape and np.array_equal(left.vectors, right.vectors):
        raise InputError(f"{left.name} and {right.name} hold the same vectors: a fit needs those of two models")
    sides = []
    for side in (left, right):
        if (side.vectors == side.vectors[0]).all():
            raise InputError(f"{side.name}: its {len(side.vectors):,} vectors are all the same: nothing can be fitted")
        kept, repeats = once_each(side)
        for line in (side.warning, repeats, _few_rows(kept), constant_columns(kept.vectors, name=kept.name)):
            if line:
                warnings.warn(line, Vec2VecWarning, stacklevel=3)
        sides.append(kept)
    return sides[0], sides[1]


def _skipped(left: Side, right: Side, pairs: Pairs | None) -> dict[str, tuple[BadRow, ...]]:
    """The bad rows of every input that has any."""
    found = {side.name: side.bad for side in (left, right) if side.bad}
    for name, bad in pairs.bad.items() if pairs else ():
        found[name] = found.get(name, ()) + bad  # a column may be a side and one of the pairs, too
    return found


def _few_rows(side: Side) -> str:
    if len(side.vectors) >= FEW_ROWS:
        return ""
    return f"{side.name}: {len(side.vectors):,} rows are few; a fit is better with {FEW_ROWS:,} or more"


def _check_numbers(**numbers: tuple[int | None, int]) -> None:
    for name, (value, least) in numbers.items():
        if name != "seed" and value is None:
            continue
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number from {least} up")


def _not_judged(method: str) -> Verdict:
    """The verdict on a fit by a method that does not judge itself, on too few rows for a second opinion."""
    sentence = f"Not judged: too few rows for a verdict on the method {method}; check it on known pairs."
    return Verdict("uncertain", float("nan"), (0.0, 1.0), {}, sentence)
