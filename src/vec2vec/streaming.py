"""Translate a file of any size into another file: batches in, batches out, memory constant."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vec2vec.errors import InputError, Vec2VecWarning
from vec2vec.stores import BATCH_ROWS, OutputDtype, atomic_file, check_output, open_sink, open_source, parse_uri
from vec2vec.stores.atomic import refuse_input
from vec2vec.vectors import Gate, OnBadRows

if TYPE_CHECKING:
    from vec2vec.translator import Translator


@dataclass(frozen=True)
class TranslateReport:
    """What `translate_file` did.

    Attributes
    ----------
    rows : rows written
    skipped : rows left out, listed in ``sidecar``
    kept_bad : bad rows that were passed on (``on_bad_rows="keep"``)
    seconds : wall time
    sidecar : the file that lists the skipped rows, None where none was skipped
    """

    rows: int
    skipped: int
    kept_bad: int
    seconds: float
    sidecar: Path | None


def translate_file(
    translator: Translator,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    source: str | None = None,
    target: str | None = None,
    reverse: bool = False,
    on_bad_rows: OnBadRows = "error",
    batch_rows: int = BATCH_ROWS,
    force: bool = False,
    dtype: OutputDtype = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> TranslateReport:
    """Translate every vector of a file, in order, with its ids and other columns where the output format holds them.

    The output appears whole at the end, or not at all. Skipped rows are listed beside it in ``OUTPUT.skipped.jsonl``:
    a JSON object a line, with the ``row`` (counted from 0), the ``reason``, and the ``id`` where one is known.

    Parameters
    ----------
    translator : Translator
    input, output : path, or ``path::column``
        Formats by suffix, see `vec2vec.stores`.
    source, target, reverse
        The direction, as in `Translator.translate`.
    on_bad_rows : {"error", "skip", "keep"}
        What to do with rows that are not finite or all-zero, see `vec2vec.vectors.Gate`.
    batch_rows : int
        Rows held in memory at once.
    force : bool
        Replace an output that exists, and with it the list of its skipped rows, and what `vec2vec.embed_file` said of
        it in ``OUTPUT.json``.
    dtype : {"float32", "float16", "float64", "bfloat16"}
        Of the values in the file, see `vec2vec.stores.open_sink`. They are computed in float32.
    progress : callable of (rows done, rows in all), optional

    Raises
    ------
    InputError
        The input cannot be read, is empty, or has bad rows under ``on_bad_rows="error"``; or `batch_rows` is below 1.
    DimensionError
        The width of the input is not that of the source space.
    OutputError
        The output exists, or what is said of one of its name, or it cannot be written.

    Warns
    -----
    Vec2VecWarning
        The translator's verdict is not "aligned".
    """
    if batch_rows < 1:
        raise InputError(f"batch_rows is {batch_rows}; at least 1 is needed")
    from vec2vec.translator import check_width

    started = time.perf_counter()
    source, target = translator.direction(source, target, reverse)
    warn_unless_aligned(translator)
    vectors = open_source(input)
    check_width(translator, vectors.width, source, f"{vectors.uri}: the vectors")
    gate = Gate(vectors.uri, width=translator.width(source), on_bad_rows=on_bad_rows)
    sidecar, note = sidecar_path(output), _encoder_note(output)
    for said in (sidecar, note):  # of an output that is gone, or of the one that is replaced
        if said is not None:
            refuse_input(said, vectors.path)
            check_output(said, force=force)
    with (
        ExitStack() as after,  # the sidecar takes its place after the output does, and only if that goes well
        open_sink(
            output, width=translator.width(target), like=vectors, rows=vectors.rows, force=force, dtype=dtype
        ) as sink,
    ):
        for batch in vectors.batches(batch_rows):
            good = gate.check(batch)
            if len(good):
                sink.write(replace(good, vectors=translator.translate(good.vectors, source=source, target=target)))
            if progress is not None:
                progress(gate.seen, vectors.rows)
        gate.finish()
        skipped = gate.bad if on_bad_rows == "skip" else []
        if skipped:
            stream = after.enter_context(atomic_file(sidecar, force=force))
            stream.writelines(bad.to_json() for bad in skipped)
            stream.flush()  # a full disk shows now, before the output takes its place
    if force and not skipped:
        sidecar.unlink(missing_ok=True)  # it belongs to the output that was replaced
    if note is not None:
        note.unlink(missing_ok=True)
    return TranslateReport(
        rows=sink.rows_written,
        skipped=len(skipped),
        kept_bad=len(gate.bad) - len(skipped),
        seconds=time.perf_counter() - started,
        sidecar=sidecar if skipped else None,
    )


def _encoder_note(output: str | os.PathLike[str]) -> Path | None:
    """Where `vec2vec.embed_file` told of an output, whose vectors will be another model's; None if it did not."""
    path = Path(f"{parse_uri(output).path}.json")
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError):  # there is none, or it is something else
        return None
    return path if isinstance(tree, dict) and "identity" in tree else None


def sidecar_path(output: str | os.PathLike[str]) -> Path:
    """Where the skipped rows of an output are listed: ``translated.npy.skipped.jsonl`` beside ``translated.npy``."""
    return Path(f"{parse_uri(output).path}.skipped.jsonl")


def warn_unless_aligned(translator: Translator) -> None:
    """Warn about a translator whose fit did not end in "aligned"."""
    verdict = translator.verdict
    if verdict is not None and verdict.label != "aligned":
        warnings.warn(
            f"the verdict on this translator is '{verdict.label}': {verdict.sentence}", Vec2VecWarning, stacklevel=3
        )
