"""Texts to vectors at any length of the list: cached, each text once, in parts that survive a killed process."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vec2vec.datasets import Record, Tally
from vec2vec.encoders.base import Encoder, Identity, ItemsError, make_options
from vec2vec.encoders.cache import VectorCache, item_key, open_cache
from vec2vec.encoders.inputs import InMemory, OnBadRows, Records, as_item, open_texts
from vec2vec.errors import ConfigError, InputError, OutputError, Vec2VecWarning
from vec2vec.vectors import SKIP, SKIP_OR_REPAIR, Float32, Int64

if TYPE_CHECKING:
    from vec2vec.encoders.shards import Part, Parts

WINDOW = 4096  # records that are sorted by length together, and then written as one part
COLUMN_SUFFIXES = (".parquet", ".jsonl")
COLUMNS = ("id", "labels", "split")  # that stand beside the vectors in those


@dataclass(frozen=True)
class EmbedProgress:
    """Where an embedding is.

    Attributes
    ----------
    done : records, those of an earlier run included
    total : None where the input is not counted beforehand
    rate : records per second in this run
    remaining : seconds that it may still take, None where that is unknown
    """

    done: int
    total: int | None
    rate: float
    remaining: float | None


@dataclass(frozen=True)
class EmbedReport:
    """What was done.

    Attributes
    ----------
    out : where the vectors are
    rows : vectors written
    resumed : of them, those that an earlier run had made
    embedded : texts that went through the encoder in this run
    cached : rows of this run whose vector was known, from the cache or from a like text before
    skipped : rows that were left out, with the reasons in `summary`
    summary : a line on what was skipped, "" if nothing was
    seconds : it took
    identity : of the encoder
    """

    out: Path
    rows: int
    resumed: int
    embedded: int
    cached: int
    skipped: int
    summary: str
    seconds: float
    identity: Identity


ProgressCallback = Callable[[EmbedProgress], None]


def embed(
    texts: Sequence[str] | Sequence[Path] | str | os.PathLike[str],
    encoder: str | Encoder = "minilm",
    *,
    id_column: str | None = None,
    on_bad_rows: OnBadRows = "error",
    cache: bool = True,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> Float32:
    """The vectors of texts, in memory.

    Parameters
    ----------
    texts : a sequence of texts, or of the paths of image files; or what `embed_file` takes: a file of texts, an image,
        a folder of images
    encoder : see `vec2vec.encoders.get_encoder`; or an encoder
    id_column : of unique ids in a file; by default "id" and the like, else rows are numbered, as they are for ""
    on_bad_rows : what to do with a text that is null, empty or blank, no string, or not UTF-8, and with one that the
        encoder knows no part of: "error" raises; "skip" leaves it out, so that there are fewer rows, and warns
    cache : keep vectors, and use those kept: see `vec2vec.encoders.cache`
    progress : called after each batch
    **options : of the encoder: see `EncoderOptions`

    Returns
    -------
    (n, d) float32, row i for text i

    Raises
    ------
    InputError : a bad row under "error", no text that could be embedded, or what `get_encoder` raises
    """
    source, images = _open(texts, id_column, on_bad_rows)
    total = _count(texts, source)
    return _embedded(source, images, total, _encoder(encoder, options), on_bad_rows, cache, progress)[0]


def embed_named(
    texts: Sequence[str],
    encoder: Encoder,
    *,
    name: str,
    numbers: Sequence[int] | None = None,
    on_bad_rows: OnBadRows = "error",
    cache: bool = True,
) -> tuple[Float32, Int64]:
    """(k, d) float32 and (k,): the vectors of the texts that have one, and which they are, by position.

    As `embed`, of texts that were taken from something: errors and warnings call it `name`, and a text by the number
    of its row in it, which is its position where none are given.
    """
    numbers = range(len(texts)) if numbers is None else numbers
    source = InMemory(texts, on_bad_rows, name, numbers)
    vectors, ids = _embedded(source, False, len(texts), encoder, on_bad_rows, cache, None, numbered=True)
    positions = {str(number): i for i, number in enumerate(numbers)}
    return vectors, np.array([positions[one] for one in ids], np.int64)


def _embedded(
    source: Records,
    images: bool,
    total: int | None,
    encoder: Encoder,
    on_bad_rows: OnBadRows,
    cache: bool,
    progress: ProgressCallback | None,
    *,
    numbered: bool = False,
) -> tuple[Float32, list[str]]:
    """The vectors of all records that have one, and the ids of these; `numbered`: their ids are numbers of rows."""
    tally = Tally()
    found: list[Float32] = []
    ids: list[str] = []
    with open_cache(encoder.identity, keep=cache) as store:
        run = _Run(encoder, store, source.name, on_bad_rows, images, total, progress, tally, numbered=numbered)
        for window in _windows(source.records(tally), WINDOW):
            kept, vectors = run.vectors(window)
            found.append(vectors)
            ids += [record.id for record in kept]
    if not ids:
        raise _none_embedded(source, tally)
    if tally.faults:
        warnings.warn(f"{source.name}: {tally.summary()}", Vec2VecWarning, stacklevel=3)
    return np.concatenate(found), ids


def embed_file(
    texts: str | os.PathLike[str],
    out: str | os.PathLike[str],
    encoder: str | Encoder = "minilm",
    *,
    id_column: str | None = None,
    on_bad_rows: OnBadRows = "error",
    cache: bool = True,
    force: bool = False,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> EmbedReport:
    """The vectors of the texts in a file, written to another, in parts: a run that was stopped or killed goes on.

    Parameters
    ----------
    texts : a corpus (.jsonl, .csv, .tsv, .parquet, .txt, each also as .gz, with `::column` for the column), an image,
        or a folder of images
    out : .parquet or .jsonl (with ids, labels and splits), .npy, .npz or .safetensors (vectors only, with a `.json`
        beside it that says what they are); or, without a suffix, a folder of Parquet parts. Rows stand in the order
        of the input. Parts of a file that is not done yet are in a hidden folder beside it, `.NAME.parts`, and so are
        those of a folder that replaces a complete one.
    force : replace what is at `out`, once the new one is complete; start over what was begun with other settings or
        texts

    Other parameters are those of `embed`.

    Raises
    ------
    OutputError : `out` exists, is the input or has it in it, cannot be written, was begun with other settings, or is
        being made by another run
    InputError : a bad row under on_bad_rows="error", or one that an earlier run left out, records that are not those
        it was begun with, a key that `out` cannot have, or what `get_encoder` raises
    """
    from vec2vec.encoders.shards import Parts, empty_parts, records_digest, remove_parts
    from vec2vec.stores.atomic import alone_in, writing

    started = time.perf_counter()
    target = _Target.of(out)
    target.check(force=force)
    source, images = open_texts(texts, id_column=id_column, on_bad_rows=on_bad_rows)
    target.refuse_input(source.name)
    total = _count(texts, source)
    made = _encoder(encoder, options)
    with writing(target.parts):
        fresh = not target.parts.exists()
        target.parts.mkdir(exist_ok=True)
    with alone_in(target.parts):
        if force and target.stale(made.identity, source, images, on_bad_rows):
            empty_parts(target.parts)
        parts = Parts(target.parts, made.identity, foreign="choose another --out")
        tally = Tally()
        try:
            with open_cache(made.identity, keep=cache) as store:
                run = _Run(made, store, source.name, on_bad_rows, images, total, progress, tally)
                stream = source.records(tally)
                resumed = _skip(stream, parts, run)
                for window in _windows(stream, WINDOW):
                    kept, vectors = run.vectors(window)
                    parts.append(window, kept, vectors, records_digest(window, images=images))
            if parts.rows == 0:
                raise _none_embedded(source, tally)
        except BaseException:
            if fresh and parts.rows == 0:  # nothing to go on from
                remove_parts(target.parts)
            raise
        target.finish(parts, force=force)
    return EmbedReport(
        out=target.path,
        rows=parts.rows,
        resumed=resumed,
        embedded=run.embedded,
        cached=run.cached,
        skipped=tally.bad,
        summary=tally.summary(),
        seconds=time.perf_counter() - started,
        identity=made.identity,
    )


class _Run:
    """Windows of records through the cache and the encoder, with the count of it."""

    def __init__(
        self,
        encoder: Encoder,
        cache: VectorCache,
        name: str,
        on_bad_rows: OnBadRows,
        images: bool,
        total: int | None,
        progress: ProgressCallback | None,
        tally: Tally,
        *,
        numbered: bool = False,
    ) -> None:
        self.encoder = encoder
        self.cache = cache
        self.name = name
        self.on_bad_rows = on_bad_rows
        self.images = images
        self.total = total
        self.progress = progress
        self.tally = tally
        self.numbered = numbered  # the ids of records are numbers of rows
        self.before = 0  # records that an earlier run did
        self.records = 0
        self.embedded = 0
        self.cached = 0
        self._started = time.perf_counter()

    def vectors(self, window: Sequence[Record]) -> tuple[Sequence[Record], Float32]:
        """The records of a window that have a vector, and the vectors."""
        items = [as_item(record, images=self.images) for record in window]
        keys = [item_key(item) for item in items]
        first: dict[bytes, int] = {}  # each text once
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        known = self.cache.get(list(first))
        missing = [i for key, i in first.items() if key not in known]
        fresh = np.empty((len(missing), self.encoder.width), np.float32)
        done = len(window) - len(missing)
        self._show(done)
        try:
            for positions, vectors in self.encoder.batches([items[i] for i in missing]):
                self._refuse_nan(vectors, [window[missing[p]] for p in positions])
                fresh[positions] = vectors
                self.cache.put([keys[missing[p]] for p in positions], vectors)
                done += len(positions)
                self._show(done)
        except ItemsError as error:
            raise InputError(f"{self.name}: from {self._where(window[missing[error.first]])} on: {error}") from error
        place = {keys[i]: row for row, i in enumerate(missing)}
        out = np.stack([fresh[place[key]] if key in place else known[key] for key in keys])
        self.records += len(window)
        self.embedded += len(missing)
        kept, out = self._drop_zeros(window, out)
        self.cached += len(kept) - int(fresh.any(1).sum())
        return kept, out

    def _show(self, done: int) -> None:
        if self.progress is None:
            return
        here = self.records + done
        rate = here / max(time.perf_counter() - self._started, 1e-9)
        all_done = self.before + here
        left = None if self.total is None or not rate else (self.total - all_done) / rate
        self.progress(EmbedProgress(all_done, self.total, rate, left))

    def _refuse_nan(self, vectors: Float32, records: Sequence[Record]) -> None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(bad):
            raise InputError(
                f"{self.name}: the encoder gave no finite vector for {self._where(records[bad[0]])}; if it computes in "
                "16 bits, try --dtype float32"
            )

    def _drop_zeros(self, window: Sequence[Record], vectors: Float32) -> tuple[Sequence[Record], Float32]:
        """Less the rows whose vector is zero: a static model knows no part of such a text."""
        good = np.asarray(vectors.any(1))
        if good.all():
            return window, vectors
        first = window[int(np.flatnonzero(~good)[0])]
        if self.on_bad_rows == "error":
            raise InputError(
                f"{self.name}: the text of {self._where(first)} has no token that the encoder knows, so that its "
                f"vector is zero; {SKIP_OR_REPAIR}"
            )
        self.count_zeros(int((~good).sum()), self._where(first))
        return [record for record, fine in zip(window, good, strict=True) if fine], vectors[good]

    def _where(self, record: Record) -> str:
        return f"row {record.id} (counted from 0)" if self.numbered else f"id {record.id!r}"

    def count_zeros(self, rows: int, where: str) -> None:
        """Count rows that were left out because their vector is zero."""
        if rows:
            kind = "no token of it is known to the encoder"
            self.tally.faults[kind] = self.tally.faults.get(kind, 0) + rows
            self.tally.first.setdefault(kind, where)


@dataclass(frozen=True)
class _Target:
    """Where the vectors go.

    Attributes
    ----------
    uri : as given
    path : the file or folder
    parts : the folder of parts: `path` itself; or a hidden one beside it, for a file, or where `path` is complete
    is_folder : `path` is to be a folder
    """

    uri: str
    path: Path
    parts: Path
    is_folder: bool

    @classmethod
    def of(cls, out: str | os.PathLike[str]) -> _Target:
        from vec2vec.stores import parse_uri
        from vec2vec.stores.atomic import writing
        from vec2vec.stores.parquet_folder import COMPLETE

        uri = os.fspath(out)
        path = Path(uri).expanduser()
        if path.suffix or "::" in uri:
            path = parse_uri(uri).path
            return cls(uri, path, path.with_name(f".{path.name}.parts"), False)
        with writing(path):
            if not (path / COMPLETE).exists():
                return cls(uri, path, path, True)
            real = path.resolve()
        return cls(uri, path, real.with_name(f".{real.name}.parts"), True)

    @property
    def sidecar(self) -> Path:
        """What says what the vectors are, beside a format that cannot."""
        return self.path.with_name(f"{self.path.name}.json")

    def check(self, *, force: bool) -> None:
        """Raises OutputError (InputError for a key) if nothing could be written there: before the work, not after."""
        from vec2vec.encoders.shards import check_parts
        from vec2vec.stores import check_output, open_sink, parse_uri
        from vec2vec.stores.atomic import check_replaceable, writing
        from vec2vec.streaming import sidecar_path

        if not self.is_folder:
            open_sink(self.uri, width=1, force=force)
            check_output(sidecar_path(self.uri), force=force)
            key = parse_uri(self.uri).key
            if self.path.suffix.lower() in COLUMN_SUFFIXES and key in COLUMNS:
                raise InputError(f"{self.path}: has another column named '{key}'; choose another key for the vectors")
            if self.path.suffix.lower() != ".parquet":
                check_output(self.sidecar, force=force)
            return
        with writing(self.path):
            if self.path.exists() and not self.path.is_dir():
                raise OutputError(f"{self.path}: is a file; name a folder, or a file with a suffix such as .parquet")
            if not self.path.parent.is_dir():
                raise OutputError(f"{self.path}: its folder {self.path.parent} does not exist; make it first")
            if self.parts != self.path:
                if not force:
                    raise OutputError(
                        f"{self.path}: is done already; choose another name, or replace it with --force (force=True)"
                    )
                check_replaceable(self.path.resolve())
                check_parts(self.path)

    def refuse_input(self, name: str) -> None:
        """Raises OutputError if the input is the output, or lies in it."""
        from vec2vec.stores.atomic import refuse_input

        given = Path(name)
        if not given.exists():
            return
        refuse_input(self.path, given)
        if {self.path.resolve(), self.parts.resolve()} & set(given.resolve().parents):
            raise OutputError(f"{self.path}: has the input in it; choose another name for the output")

    def stale(self, identity: Identity, source: Records, images: bool, on_bad_rows: OnBadRows) -> bool:
        """Whether parts that are there cannot be gone on with: of other settings or texts, damaged, or lacking rows."""
        from vec2vec.encoders.shards import Parts

        try:
            parts = Parts(self.parts, identity, foreign="choose another --out")
        except (OutputError, InputError):
            return True
        if on_bad_rows == "error" and _short_part(parts) is not None:
            return True
        return _other_part(source.records(), parts, images) is not None

    def finish(self, parts: Parts, *, force: bool) -> None:
        """Mark a folder as complete, and put it in its place; make a file from the parts, and remove them."""
        from vec2vec.encoders.shards import check_parts, embedding_metadata, remove_parts
        from vec2vec.stores import atomic_file, open_sink
        from vec2vec.stores.atomic import take_place, writing
        from vec2vec.streaming import sidecar_path
        from vec2vec.vectors import VectorBatch

        if self.is_folder:
            parts.finish()
            if self.parts != self.path:
                check_parts(self.path)
                with writing(self.path):
                    take_place(self.parts, self.path.resolve())
            return
        metadata = embedding_metadata(parts.identity)
        with_columns = self.path.suffix.lower() in COLUMN_SUFFIXES
        start = 0
        with (
            ExitStack() as after,  # the sidecar takes its place after the output does, and only if that goes well
            open_sink(self.uri, width=parts.identity.dimensions, rows=parts.rows, force=force) as sink,
        ):
            for columns, vectors in parts.tables():
                columns = columns.replace_schema_metadata(metadata) if with_columns else None
                sink.write(VectorBatch(vectors, np.arange(start, start + len(vectors)), columns))
                start += len(vectors)
            if self.path.suffix.lower() != ".parquet":
                stream = after.enter_context(atomic_file(self.sidecar, force=force))
                tree = json.loads(next(iter(metadata.values())))
                stream.write(json.dumps(tree | {"rows": start}, indent=2).encode() + b"\n")
                stream.flush()  # a full disk shows now, before the output takes its place
        sidecar_path(self.uri).unlink(missing_ok=True)  # rows that a translation skipped, which was replaced
        remove_parts(self.parts)


def _open(texts: object, id_column: str | None, on_bad_rows: OnBadRows) -> tuple[Records, bool]:
    if isinstance(texts, str | os.PathLike):
        return open_texts(texts, id_column=id_column, on_bad_rows=on_bad_rows)
    if id_column is not None:
        raise InputError("texts in memory have no columns; leave out id_column")
    if not isinstance(texts, Sequence):
        if not hasattr(texts, "__iter__"):
            raise InputError(f"texts are a sequence of strings, or a file's name; this is a {type(texts).__name__}")
        texts = list(texts)
    paths = sum(isinstance(text, Path) for text in texts)
    if 0 < paths < len(texts):
        raise InputError("texts and the paths of images are mixed; embed them apart")
    return InMemory(texts, on_bad_rows), paths > 0


def _encoder(encoder: str | Encoder, options: dict[str, Any]) -> Encoder:
    if isinstance(encoder, str):
        from vec2vec.encoders import load_encoder

        return load_encoder(encoder, make_options(options))
    if options:
        raise ConfigError(f"the encoder is made already; {next(iter(options))} has to be given to get_encoder")
    return encoder


def _count(texts: object, source: Records) -> int | None:
    """The number of records where that is quick to find: of a local file, which this checks as a whole, too."""
    if isinstance(texts, str | os.PathLike) and not Path(os.fspath(texts).partition("::")[0]).expanduser().exists():
        return None
    return sum(1 for _ in source.records())


def _none_embedded(source: Records, tally: Tally) -> InputError:
    return InputError(f"{source.name}: none of its texts could be embedded; {tally.summary()}")


def _windows(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while window := list(islice(records, size)):
        yield window


def _other_part(records: Iterator[Record], parts: Parts, images: bool) -> Part | None:
    """Pass over the records that parts exist of; the first part that was made from others."""
    from vec2vec.encoders.shards import records_digest

    for part in parts.parts:
        if records_digest(list(islice(records, part.records)), images=images) != part.digest:
            return part
    return None


def _short_part(parts: Parts) -> Part | None:
    """The first part that rows were left out of, since their vectors were zero."""
    return next((part for part in parts.parts if part.rows < part.records), None)


def _skip(records: Iterator[Record], parts: Parts, run: _Run) -> int:
    """Pass over the records that parts exist of, and see that they are the same; how many rows those parts have.

    Raises
    ------
    InputError : a part is of other records, or, under on_bad_rows="error", lacks some of them
    """
    other = _other_part(records, parts, run.images)
    if other is not None:
        raise InputError(
            f"{run.name}: its texts, labels or splits are not those that {other.path} was made from; choose another "
            "--out, or start over with --force (force=True)"
        )
    short = _short_part(parts)
    if short is not None and run.on_bad_rows == "error":
        raise InputError(
            f"{run.name}: {short.path} lacks {short.records - short.rows:,} of its {short.records:,} rows, which an "
            f"earlier run left out, since the encoder knows no token of them; {SKIP}, or start over with --force "
            "(force=True)"
        )
    for part in parts.parts:
        run.before += part.records
        run.count_zeros(part.records - part.rows, "in an earlier run")
    return parts.rows


__all__ = ["EmbedProgress", "EmbedReport", "embed", "embed_file", "embed_named"]
