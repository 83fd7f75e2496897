"""What an audit is given: the leak (vectors only), the reference, labels with descriptions, and the truth, if any."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vec2vec.align.inputs import open_side
from vec2vec.datasets import Record, Tally, open_corpus
from vec2vec.datasets.base import LABEL_COLUMNS, TEXT_COLUMNS, as_labels, choose_other
from vec2vec.datasets.files import open_file
from vec2vec.datasets.tweettopic import TOPICS
from vec2vec.errors import DimensionError, InputError, Vec2VecWarning
from vec2vec.stores.base import listed
from vec2vec.stores.sampling import RowSource, draw_sample
from vec2vec.vectors import (
    ID_COLUMNS,
    BadRow,
    Float32,
    Gate,
    Int64,
    OnBadRows,
    VectorBatch,
    check_vectors,
    one_line,
)

Labels = tuple[tuple[str, ...], ...]
LABEL_SETS: dict[str, Mapping[str, str]] = {"tweet-topics": TOPICS}
LABEL_FILE_COLUMNS = ("label", "name", "description")
MOST_LABEL_BYTES = 64 * 2**20
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Leak:
    """The rows of a leak that are audited: vectors, and nothing else of it.

    Attributes
    ----------
    name : the file, or "leak"
    vectors : (k, d) float32, a uniform sample
    rows : (k,) int64, their numbers in the leak, ascending
    total : the rows of the leak
    unread : its other columns or arrays, none of which is read
    bad : rows that were drawn, and left out since they are no usable vectors
    """

    name: str
    vectors: Float32
    rows: Int64
    total: int
    unread: tuple[str, ...] = ()
    bad: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    def take(self, rows: Int64) -> Leak:
        """These of its rows."""
        return replace(self, vectors=self.vectors[rows], rows=self.rows[rows])


@dataclass(frozen=True, eq=False)
class Reference:
    """Public texts of the known encoder, or what is left of them.

    Attributes
    ----------
    vectors : (n, d) float32 of the known encoder; None: to be embedded
    texts, labels : row-aligned, None where there are none
    name : what errors call it
    numbers : (n,) of its rows in what it was read from, ascending; None: from 0 on
    """

    vectors: Float32 | None = None
    texts: tuple[str, ...] | None = None
    labels: Labels | None = None
    name: str = "reference"
    numbers: Int64 | None = None

    def __post_init__(self) -> None:
        if self.vectors is None and self.texts is None:
            raise InputError(f"{self.name}: has neither vectors nor texts")
        _check_lengths(self.name, vectors=self.vectors, texts=self.texts, labels=self.labels)

    def __len__(self) -> int:
        return _length(self.vectors, self.texts, self.labels)

    def take(self, rows: Int64) -> Reference:
        """These rows."""
        parts = _rows(self.vectors, rows), _some(self.texts, rows), _some(self.labels, rows)
        return Reference(*parts, self.name, rows if self.numbers is None else self.numbers[rows])


@dataclass(frozen=True, eq=False)
class Truth:
    """What stands behind the rows of the leak, for measuring only; row i is row i of the leak.

    Attributes
    ----------
    texts, labels : None where they are not known
    vectors : (n, d) float32 of the known encoder; None: to be embedded from the texts
    name : what errors call it
    numbers : (n,) of its rows in what it was read from, ascending; None: from 0 on
    """

    texts: tuple[str, ...] | None = None
    labels: Labels | None = None
    vectors: Float32 | None = None
    name: str = "truth"
    numbers: Int64 | None = None

    def __post_init__(self) -> None:
        if self.texts is None and self.labels is None and self.vectors is None:
            raise InputError(f"{self.name}: has neither texts nor labels nor vectors")
        _check_lengths(self.name, texts=self.texts, labels=self.labels, vectors=self.vectors)

    def __len__(self) -> int:
        return _length(self.vectors, self.texts, self.labels)

    def take(self, rows: Int64) -> Truth:
        """These rows."""
        parts = _some(self.texts, rows), _some(self.labels, rows), _rows(self.vectors, rows)
        return Truth(*parts, self.name, rows if self.numbers is None else self.numbers[rows])


@dataclass(frozen=True)
class LabelSet:
    """Labels by name with a description each, in order.

    Attributes
    ----------
    vectors : (n, d) float32, of the descriptions by the known encoder; None: to be embedded
    """

    descriptions: Mapping[str, str]
    name: str = "labels"
    vectors: Float32 | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if len(self.descriptions) < 2:
            raise InputError(f"{self.name}: has {len(self.descriptions)} labels; at least 2 are needed to tell apart")
        for label, description in self.descriptions.items():
            if not label.strip() or not description.strip():
                raise InputError(f"{self.name}: the label {label!r} is blank, or its description is")
        if self.vectors is not None and len(self.vectors) != len(self.descriptions):
            raise InputError(
                f"{self.name}: has {len(self.descriptions)} labels and {len(self.vectors)} vectors of descriptions"
            )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.descriptions)


def open_leak(leak: npt.ArrayLike | str | os.PathLike[str]) -> RowSource:
    """The vectors of a leak, to be drawn from."""
    return open_side(leak, "leak")


def draw_leak(source: RowSource, rows: int, seed: int, on_bad_rows: OnBadRows) -> Leak:
    """At most `rows` rows of a leak. Only the vectors are taken: other columns are neither kept nor looked at.

    Raises
    ------
    InputError : a bad row under on_bad_rows="error", or no usable row
    """
    sample = draw_sample(source, rows, seed, on_bad_rows)
    unread = (*getattr(source, "column_names", ()), *getattr(source, "extra_arrays", ()))
    return Leak(source.uri, sample.vectors, sample.rows, source.rows, tuple(unread), sample.bad)


def read_reference(
    texts: str | os.PathLike[str] | Sequence[str] | Reference, *, rows: int, seed: int, on_bad_rows: OnBadRows
) -> Reference:
    """Reference texts with their labels, if there are any; of more than `rows`, as many drawn at random.

    Parameters
    ----------
    texts : a corpus (see `vec2vec.datasets.open_corpus`), a sequence of texts, or a `Reference`

    Raises
    ------
    InputError : no corpus, or a bad row under on_bad_rows="error"
    """
    if isinstance(texts, Reference):
        found = texts
    elif isinstance(texts, str | os.PathLike):
        corpus = open_corpus(texts, id_column="", on_bad_rows="error" if on_bad_rows == "error" else "skip")
        found = _from_records(corpus.name, _reservoir(corpus.records(), rows, seed))
    else:
        found = Reference(texts=tuple(texts))
    if len(found) > rows:
        found = found.take(np.sort(np.random.default_rng(seed).choice(len(found), rows, replace=False)))
    return found


def read_truth(truth: str | os.PathLike[str] | Truth, *, rows: int, leak: str) -> Truth:
    """The truth: a file with texts, labels or both, in the order of the leak.

    Parameters
    ----------
    truth : a file of a corpus (see `vec2vec.datasets.open_corpus`); without a column that is named like texts, one of
        labels will do (`vec2vec.datasets.base.LABEL_COLUMNS`)
    rows : of the leak
    leak : its name, for errors

    Raises
    ------
    InputError : another length than the leak's, or an unreadable file
    """
    found = truth if isinstance(truth, Truth) else _read_truth(truth)
    if len(found) != rows:
        raise InputError(
            f"{found.name}: has {len(found):,} rows and the leak {leak} {rows:,}: row i of both must be the same text"
        )
    return found


def read_labels(labels: str | os.PathLike[str] | Mapping[str, str] | LabelSet) -> LabelSet:
    """Labels with descriptions.

    Parameters
    ----------
    labels : a `LabelSet`, a mapping of names to descriptions, the name of a packaged set ("tweet-topics"), or a file:
        .json, an object of names and descriptions, or a list of names; .jsonl, .csv or .tsv with the columns label (or
        name) and description; .txt, a line a label, "name: description" or the name alone. A label without a
        description is described by its name.

    Raises
    ------
    InputError : no such file or set, an unreadable one, fewer than two labels, a label twice, a row with another
        number of fields than the first line, or other columns and none of descriptions
    """
    if isinstance(labels, LabelSet):
        return labels
    if isinstance(labels, Mapping):
        return LabelSet(dict(labels))
    if str(labels) in LABEL_SETS:
        return LabelSet(LABEL_SETS[str(labels)], str(labels))
    path = Path(labels).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: is no file of labels and no packaged set ({', '.join(LABEL_SETS)})")
    if path.stat().st_size > MOST_LABEL_BYTES:
        raise InputError(f"{path}: is too large for a list of labels")
    try:
        pairs = _label_pairs(path)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as labels ({one_line(error)})") from error
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise InputError(f"{path}: has the label '{twice[0]}' twice")
    return LabelSet({name: description or name for name, description in pairs}, str(path))


def check_known(vectors: npt.ArrayLike, width: int, name: str, on_bad_rows: OnBadRows = "error") -> Float32:
    """Vectors of the known encoder, checked; see `vec2vec.vectors.check_vectors`."""
    x = check_vectors(vectors, name=name, on_bad_rows=on_bad_rows)
    if x.shape[1] != width:
        raise DimensionError(f"{name}: has width {x.shape[1]}, and the known encoder's vectors have {width}")
    return x


def usable_known(reference: Reference, width: int) -> tuple[Float32, Reference]:
    """The vectors that a reference has, (n, width), and the reference, without its bad rows; warns of such.

    Raises
    ------
    InputError : no row is good
    DimensionError : another width
    """
    assert reference.vectors is not None
    x = check_known(reference.vectors, width, reference.name, on_bad_rows="keep")
    numbers = np.arange(len(x)) if reference.numbers is None else reference.numbers
    gate = Gate(reference.name, on_bad_rows="skip")
    good = gate.check(VectorBatch(x, numbers))
    gate.finish()
    if not gate.bad:
        return x, reference
    warnings.warn(gate.summary(), Vec2VecWarning, stacklevel=2)
    return good.vectors, reference.take(np.searchsorted(numbers, good.rows))


def _label_pairs(path: Path) -> list[tuple[str, str]]:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".csv", ".tsv"):
        return _described_rows(path)
    text = path.read_text(encoding="utf-8-sig")
    if suffix == ".json":
        tree = json.loads(text, object_pairs_hook=tuple)  # a dict would keep the last of a label that stands twice
        if isinstance(tree, list) and all(isinstance(name, str) for name in tree):
            return [(name, name) for name in tree]
        if isinstance(tree, tuple) and all(isinstance(value, str) for _, value in tree):
            return list(tree)
        raise InputError(f"{path}: should be an object of names and descriptions, or a list of names")
    if suffix == ".txt":
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        parts = [line.partition(":") for line in lines]
        return [(name.strip(), description.strip()) for name, _, description in parts]
    raise InputError(f"{path}: labels are read from .json, .jsonl, .csv, .tsv and .txt")


def _described_rows(path: Path) -> list[tuple[str, str]]:
    """Label and description, "" where there is none, of each row of a table."""
    pairs, columns = [], dict[str, None]()
    for row in open_file(path).rows(LABEL_FILE_COLUMNS):
        if row.fault:
            hint = "; put a description that holds commas between quotes, right after a comma"
            raise InputError(f"{path}: {row.where}: {row.fault}{hint if path.suffix.lower() == '.csv' else ''}")
        values = {name.strip(): value for name, value in row.values.items()}
        columns |= dict.fromkeys(values)
        name = values.get("label", values.get("name"))
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise InputError(f"{path}: {row.where} has no 'label' (or 'name')")
        pairs.append((str(name).strip(), str(values.get("description") or "").strip()))
    unread = [column for column in columns if column not in LABEL_FILE_COLUMNS]
    if unread and "description" not in columns:
        raise InputError(
            f"{path}: has no column 'description', and nothing reads {listed(unread)}: name the column of the "
            "descriptions 'description', or leave out what is none"
        )
    return pairs


def _reservoir(records: Iterable[Record], rows: int, seed: int) -> list[Record]:
    """`rows` records drawn uniformly from a stream, in its order (Vitter 1985, algorithm R)."""
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, Record]] = []
    for i, record in enumerate(records):
        if i < rows:
            kept.append((i, record))
            continue
        place = int(rng.integers(0, i + 1))
        if place < rows:
            kept[place] = (i, record)
    return [record for _, record in sorted(kept, key=lambda item: item[0])]


def _from_records(name: str, records: Sequence[Record]) -> Reference:
    labels = tuple(record.labels for record in records)
    ids = [record.id for record in records]  # of a hub dataset with the split before the number
    numbers = np.array(ids, np.int64) if all(map(str.isdecimal, ids)) else None
    return Reference(None, tuple(record.text for record in records), labels if any(labels) else None, name, numbers)


def _read_truth(path: str | os.PathLike[str]) -> Truth:
    file = os.fspath(path).partition("::")[0]
    labels_only = _labels_only(path)
    if labels_only is not None:
        return Truth(labels=labels_only, name=file)
    tally = Tally()
    records = list(open_corpus(path, id_column="", on_bad_rows="skip").records(tally))
    for kind, where in tally.first.items():
        raise InputError(f"{file}: {where}: {kind}; repair it: row i of the truth must be that of row i of the leak")
    labels = tuple(record.labels for record in records)
    return Truth(tuple(record.text for record in records), labels if any(labels) else None, name=file)


def _labels_only(path: str | os.PathLike[str]) -> Labels | None:
    """The labels of a file that has no texts; None for any other."""
    file, _, key = os.fspath(path).partition("::")
    place = Path(file).expanduser()
    if key or not place.is_file():
        return None
    source = open_file(place)
    label = choose_other(file, None, LABEL_COLUMNS, source.names)
    others = [name for name in source.text_names if name != label and name not in ID_COLUMNS]
    if label is None or any(name in TEXT_COLUMNS for name in others):
        return None
    if others:
        raise InputError(
            f"{file}: has labels in '{label}', and no column that is named like texts: if {listed(others)} holds them, "
            f"name it, as in '{file}::{others[0]}'; if nothing does, leave it out"
        )
    found = []
    for row in source.rows([label]):
        if row.fault:
            raise InputError(f"{file}: {row.where}: {row.fault}")
        found.append(as_labels(row.values.get(label)))
    return tuple(found)


def _check_lengths(name: str, **parts: Sequence[object] | Float32 | None) -> None:
    sizes = {what: len(part) for what, part in parts.items() if part is not None}
    if len(set(sizes.values())) > 1:
        each = ", ".join(f"{size:,} {what}" for what, size in sizes.items())
        raise InputError(f"{name}: has {each}: they must be row-aligned")


def _length(*parts: Sequence[object] | Float32 | None) -> int:
    return next(len(part) for part in parts if part is not None)


def _rows(x: Float32 | None, rows: Int64) -> Float32 | None:
    return None if x is None else x[rows]


def _some(values: tuple[Value, ...] | None, rows: Int64) -> tuple[Value, ...] | None:
    return None if values is None else tuple(values[i] for i in rows)


__all__ = [
    "LABEL_SETS",
    "LabelSet",
    "Labels",
    "Leak",
    "Reference",
    "Truth",
    "check_known",
    "draw_leak",
    "listed",
    "open_leak",
    "read_labels",
    "read_reference",
    "read_truth",
    "usable_known",
]
