"""A corpus into files: as one, or as the paper's two disjoint sets and a held-out one. Whole, or not at all."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from vec2vec import __version__
from vec2vec.datasets.base import Corpus, Record, Tally
from vec2vec.datasets.hub import SCHEME
from vec2vec.datasets.sequences import Cutter, cut_records
from vec2vec.datasets.unpaired import HASH, HELD_OUT, NORMAL_FORM, SETS, SOURCE, TARGET, Splitter, deduplicate
from vec2vec.errors import InputError, OutputError
from vec2vec.stores.atomic import atomic_files, atomic_folder, check_output, check_replaceable, refuse_input, writing

FORMAT = "vec2vec-corpus"
FORMAT_VERSION = 1
RECORD = "corpus.json"
SUFFIXES = (".parquet", ".jsonl")
CHUNK_ROWS = 2048
CHUNK_CHARS = 2**24
ALL = "all"  # the one set of a corpus that is not split

Format = Literal["parquet", "jsonl"]
RowsProgress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Preparation:
    """What is done to the records before they are written.

    Attributes
    ----------
    limit : read only this many records, the first ones
    cutter : cuts the texts; None leaves them whole
    deduplicate : of texts that are the same when normalised (after the cut), keep the first
    """

    limit: int | None = None
    cutter: Cutter | None = None
    deduplicate: bool = True

    def records(self, corpus: Corpus, tally: Tally) -> Iterator[Record]:
        """The prepared records of a corpus."""
        records: Iterator[Record] = corpus.records(tally)
        if self.limit is not None:
            records = islice(records, self.limit)
        if self.cutter is not None:
            records = cut_records(records, self.cutter, tally)
        return deduplicate(records, tally) if self.deduplicate else records

    def describe(self) -> dict[str, Any]:
        """For the record of how a file was made."""
        cutter = self.cutter
        return {
            "limit": self.limit,
            "cut": cutter and {"tokenizer": cutter.tokenizer, "max_tokens": cutter.max_tokens},
            "deduplicated": NORMAL_FORM if self.deduplicate else False,
        }


@dataclass
class Export:
    """What was written.

    Attributes
    ----------
    path : the file or folder
    rows : of each set; of "all" where the corpus was not split
    tally : what the pass met with
    record : how it was made, as `corpus.json` (of a folder) or FILE.json (of a file) has it
    """

    path: Path
    rows: dict[str, int]
    tally: Tally
    record: dict[str, Any] = field(default_factory=dict)


def write_corpus(
    corpus: Corpus,
    out: str | os.PathLike[str],
    *,
    rows: int | None = None,
    seed: int = 0,
    preparation: Preparation | None = None,
    force: bool = False,
    progress: RowsProgress | None = None,
) -> Export:
    """Write a corpus as one file of the columns id, text, labels and split; beside it, FILE.json says how it was made.

    Parameters
    ----------
    out : .parquet or .jsonl
    rows : a uniform sample of this many texts, which depends on them and the seed, not on their order
    seed : of the sample
    preparation : see `Preparation`
    force : replace files that exist
    progress : called with (rows read, None)

    Raises
    ------
    InputError : see `Corpus.records`
    OutputError : the file exists, or cannot be written
    """
    path = Path(out).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: a corpus that is not split is written to one file, {' or '.join(SUFFIXES)}")
    sidecar = path.with_name(path.name + ".json")
    refuse_input(path, corpus.name)
    for file in (path, sidecar):
        check_output(file, force=force)
    done = _Pass(corpus, preparation or Preparation(), Splitter(seed, 0), {ALL: rows}, progress)
    with atomic_files([path, sidecar], force=force) as (texts, beside):
        with writing(path), _opened_writer(path.suffix[1:].lower(), texts.stream) as writer:
            done.write({ALL: writer})
        record = _record(corpus, done, {"rows": rows, "seed": seed if rows else None})
        with writing(sidecar):
            beside.stream.write(_as_json(record))
    return Export(path, done.rows, done.tally, record)


def write_split(
    corpus: Corpus,
    out: str | os.PathLike[str],
    *,
    held_out: float = 0.1,
    rows: int | None = None,
    held_out_rows: int | None = None,
    seed: int = 0,
    preparation: Preparation | None = None,
    format: Format = "parquet",
    force: bool = False,
    progress: RowsProgress | None = None,
) -> Export:
    """Write the paper's protocol into a folder: source, target, held_out, and corpus.json, which says how it was made.

    The sets are disjoint by the normalised text, and so are those of other corpora, files and runs with the same seed
    and held-out share: see `vec2vec.datasets.unpaired`.

    Parameters
    ----------
    out : the folder
    held_out : the share of texts that is held out; 0 writes no such set
    rows, held_out_rows : at most this many texts of either side, and of the held-out set: a uniform sample, which
        depends on the texts and the seed, not on their order
    seed : another seed gives other sets
    preparation : see `Preparation`
    format : of the three files
    force : replace an earlier split in the folder
    progress : called with (rows read, None); with a sample, the corpus is read twice

    Raises
    ------
    InputError : see `Corpus.records`; or a set would be empty; or `held_out_rows` where nothing is held out
    OutputError : the folder exists, holds the corpus itself, or cannot be written
    """
    if held_out_rows is not None and held_out == 0:
        raise InputError(f"held_out_rows is {held_out_rows}, and nothing is held out: held_out is 0")
    splitter = Splitter(seed, held_out)
    most = {SOURCE: rows, TARGET: rows} | ({HELD_OUT: held_out_rows} if held_out > 0 else {})
    done = _Pass(corpus, preparation or Preparation(), splitter, most, progress)
    path = Path(out).expanduser()
    if path.suffix.lower() in SUFFIXES:
        raise OutputError(f"{path}: a split is written to a folder; name one without a suffix")
    with writing(path):
        path = path.resolve()
    if _lies_in(corpus, path):
        raise OutputError(f"{path}: is where the input is, {corpus.name}; choose another name for the output")
    with atomic_folder(path, partial(check_folder, force=force)) as folder:
        with ExitStack() as stack:
            streams = {name: stack.enter_context(open(folder / f"{name}.{format}", "xb")) for name in most}
            with ExitStack() as writers:
                opened = {name: writers.enter_context(_opened_writer(format, file)) for name, file in streams.items()}
                done.write(opened)
            for stream in streams.values():
                _sync(stream)
        empty = [name for name in most if not done.rows[name]]
        if empty:
            raise InputError(
                f"{corpus.name}: of its {sum(done.rows.values()):,} texts none falls into the set {empty[0]}; "
                "take more texts, or another held-out share"
            )
        settings = {
            "seed": seed,
            "held_out": held_out,
            "rows": rows,
            "held_out_rows": held_out_rows,
            "normal_form": NORMAL_FORM,
            "hash": HASH,
        }
        record = _record(corpus, done, {"split_unpaired": settings})
        with open(folder / RECORD, "xb") as stream:
            stream.write(_as_json(record))
            _sync(stream)
    return Export(path, done.rows, done.tally, record)


def check_folder(path: Path, *, force: bool = False) -> None:
    """Raises OutputError if a split could not be put at `path`."""
    check_replaceable(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path}: is a file; a split needs a folder of its own")
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return
    others = sorted(names - {RECORD, *(f"{name}{suffix}" for name in SETS for suffix in SUFFIXES)})
    if others or RECORD not in names:
        raise OutputError(f"{path}: is a folder that holds something else; choose another name")
    if not force:
        raise OutputError(f"{path}: exists already; choose another name, or replace it with --force (force=True)")


def _lies_in(corpus: Corpus, folder: Path) -> bool:
    """Whether a corpus is a file in this folder, or the folder itself; one of the hub is neither."""
    name = corpus.name
    if name.startswith(SCHEME):
        name = name.removeprefix(SCHEME).partition(":")[0]
    place = Path(name).expanduser()
    return place.exists() and place.resolve().is_relative_to(folder)


class _Pass:
    """One reading of a corpus into the writers of its sets, after another that draws the samples, where there are any.

    Parameters
    ----------
    most : by set, how many rows it may have at most; None is all
    """

    def __init__(
        self,
        corpus: Corpus,
        preparation: Preparation,
        splitter: Splitter,
        most: Mapping[str, int | None],
        progress: RowsProgress | None,
    ) -> None:
        self.corpus = corpus
        self.preparation = preparation
        self.splitter = splitter
        self.most = most
        self.progress = progress
        self.tally = Tally()
        self.rows = dict.fromkeys(most, 0)

    def write(self, writers: Mapping[str, Writer]) -> None:
        """Write every record to the writer of its set."""
        last = self._last_ranks()
        self.tally = Tally()
        chunks: dict[str, list[Record]] = {name: [] for name in writers}
        chars = 0
        for name, rank, record in self._placed():
            if rank > last[name] or self.rows[name] == self.most[name]:
                continue
            self.rows[name] += 1
            chunks[name].append(record)
            chars += len(record.text)
            if len(chunks[name]) == CHUNK_ROWS or chars > CHUNK_CHARS:
                for other, chunk in chunks.items():
                    writers[other].write(chunk)
                    chunk.clear()
                chars = 0
        for name, chunk in chunks.items():
            writers[name].write(chunk)

    def _last_ranks(self) -> dict[str, int]:
        """By set, the highest rank that is still in the sample."""
        last = {name: 2**64 for name in self.most}
        if all(most is None for most in self.most.values()):
            return last
        ranks = {name: array("Q") for name in self.most}
        for name, rank, _ in self._placed():
            ranks[name].append(rank)
        for name, most in self.most.items():
            if most is not None and most < len(ranks[name]):
                last[name] = sorted(ranks[name])[most - 1]
        return last

    def _placed(self) -> Iterator[tuple[str, int, Record]]:
        """The set, the rank and the record, of each record that is in one of the sets."""
        for i, record in enumerate(self.preparation.records(self.corpus, self.tally)):
            if self.progress is not None and i % CHUNK_ROWS == 0:
                self.progress(self.tally.seen, None)
            place = self.splitter.place(record.text)
            yield ALL if ALL in self.most else place.set, place.rank, record


class Writer(Protocol):
    """Writes records to a stream."""

    def write(self, records: Iterable[Record]) -> None: ...
    def close(self) -> None: ...


@contextmanager
def _opened_writer(format: str, stream: BinaryIO) -> Iterator[Writer]:
    """A writer for one block. It is closed in any case: else pyarrow would write once more when it is disposed of."""
    writer: Writer = ParquetWriter(stream) if format == "parquet" else JsonLinesWriter(stream)
    try:
        yield writer
    except BaseException:
        with suppress(Exception):  # what it writes is removed, if it can be written at all
            writer.close()
        raise
    writer.close()


class ParquetWriter:
    """Columns id, text (strings), labels (lists of strings) and split (a string or null)."""

    def __init__(self, stream: BinaryIO) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        text = pa.large_string()  # a chunk may hold more than 2 GB
        fields = [("id", pa.string()), ("text", text), ("labels", pa.list_(pa.string())), ("split", pa.string())]
        self._pa = pa
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(
            stream, self._schema, compression="zstd", use_dictionary=["labels.list.element", "split"]
        )

    def write(self, records: Iterable[Record]) -> None:
        rows = [(record.id, record.text, list(record.labels), record.split) for record in records]
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._writer.write_table(self._pa.table(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class JsonLinesWriter:
    """The same keys, an object a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, records: Iterable[Record]) -> None:
        for record in records:
            tree = {"id": record.id, "text": record.text, "labels": list(record.labels), "split": record.split}
            self._stream.write(json.dumps(tree, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Nothing is held back."""


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _record(corpus: Corpus, done: _Pass, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How files were made."""
    columns, tally = corpus.columns, done.tally
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "vec2vec_version": __version__,
        "corpus": corpus.name,
        "columns": {"text": columns.text, "id": columns.id, "labels": columns.labels, "split": columns.split},
        "only_split": corpus.split,
        "on_bad_rows": corpus.on_bad_rows,
        **done.preparation.describe(),
        **settings,
        "counts": {
            "read": tally.seen,
            "left_out": tally.faults,
            "cut": tally.cut,
            "duplicates": tally.duplicates,
            "written": done.rows,
        },
        "label_descriptions": corpus.label_descriptions,
    }


def _as_json(tree: Mapping[str, Any]) -> bytes:
    text = json.dumps(tree, indent=2, ensure_ascii=False)
    return text.encode(errors="backslashreplace") + b"\n"  # of a path that is not UTF-8, as JSON writes it
