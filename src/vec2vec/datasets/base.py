"""What every corpus gives: records, read in one pass through one gate for texts, and the count of what was amiss."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, Protocol

from vec2vec.errors import InputError
from vec2vec.stores.base import check_key, listed
from vec2vec.vectors import SKIP, SKIP_OR_REPAIR, is_utf8

OnBadRows = Literal["error", "skip"]

TEXT_COLUMNS = ("text", "texts", "sentence", "content", "body", "passage", "document", "tweet", "message")
LABEL_COLUMNS = ("labels", "label_name", "label", "topics", "topic")
SPLIT_COLUMNS = ("split",)
HALF = "holds half a character (a lone surrogate)"
OTHER_IDS = "name another column by --id-column of embed or corpus (id_column in Python), or '' for row numbers"


@dataclass(frozen=True)
class Record:
    """A text of a corpus.

    Attributes
    ----------
    id : unique within the corpus; where the corpus has no ids, the row's number, counted from 0 (of a hub dataset, with
        its split: "train-0")
    text : as it stands in the corpus, not blank, and valid as UTF-8
    labels : () where there are none
    split : "train", "test", ...; None where the corpus has none
    """

    id: str
    text: str
    labels: tuple[str, ...] = ()
    split: str | None = None


class Fault(NamedTuple):
    """Why a row is no usable text.

    Attributes
    ----------
    kind : for the count
    detail : what was found in this row
    usual : it belongs to this corpus, as a mail that is nothing but a forward: left out and counted under any setting
    remedy : what to do about it
    """

    kind: str
    detail: str = ""
    usual: bool = False
    remedy: str = SKIP_OR_REPAIR

    def __str__(self) -> str:
        return self.kind + (f" ({self.detail})" if self.detail else "")


class Row(NamedTuple):
    """A row as its source read it.

    Attributes
    ----------
    number : of the row in its source, counted from 0
    where : how an error points at it: "line 8", "row 7 (counted from 0)"
    values : by column; empty where the row could not be read
    fault : what the source found wrong
    split : that it belongs to, where the source knows it otherwise than from a column
    """

    number: int
    where: str
    values: Mapping[str, Any]
    fault: Fault | None = None
    split: str | None = None


class TextSource(Protocol):
    """A file, folder or hub dataset of texts. It can be read more than once, and holds nothing open between reads.

    Attributes
    ----------
    name : what errors call it
    names : of its columns; () where it has none but the text
    text_names : those of them that may hold texts
    """

    @property
    def name(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def text_names(self) -> Sequence[str]: ...

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """All rows in order, with the values of these columns (others may come along), in bounded memory."""
        ...


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None where nothing does."""

    text: str
    id: str | None = None
    labels: str | None = None
    split: str | None = None

    def names(self) -> list[str]:
        return [name for name in (self.text, self.id, self.labels, self.split) if name is not None]


@dataclass
class Tally:
    """What one pass over a corpus met with. Give a new one to each pass.

    Attributes
    ----------
    seen : rows read
    records : of them, those that passed
    faults : how many rows had a fault of each kind; under on_bad_rows="skip" they were left out
    first : where the first row of each kind stands, and what was found there
    duplicates, cut : what `deduplicate` left out, and `cut_records` cut
    """

    seen: int = 0
    records: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0
    cut: int = 0

    @property
    def bad(self) -> int:
        """How many rows had a fault."""
        return sum(self.faults.values())

    def add(self, fault: Fault, where: str) -> None:
        self.faults[fault.kind] = self.faults.get(fault.kind, 0) + 1
        self.first.setdefault(fault.kind, where + (f", {fault.detail}" if fault.detail else ""))

    def summary(self) -> str:
        """One line that counts the bad rows by what is wrong with them; "" if there are none."""
        if not self.faults:
            return ""
        kinds = "; ".join(f"{count:,}: {kind} (the first: {self.first[kind]})" for kind, count in self.faults.items())
        return f"{self.bad:,} of {self.seen:,} rows were skipped: {kinds}"


class HashSet:
    """Remembers texts by 8 bytes of their hash, in 12 to 24 bytes each.

    Of 10 million texts, the chance that any two share a hash is 3 in a million. The table is open-addressed with linear
    probing; 0 marks a free slot.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> bool:
        """Whether the text is new."""
        digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") or 1
        if not self._put(digest):
            return False
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            old, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            for digest in old:
                if digest:
                    self._put(digest)
        return True

    def _put(self, digest: int) -> bool:
        slots = self._slots
        mask = len(slots) - 1
        i = digest & mask
        while slots[i]:
            if slots[i] == digest:
                return False
            i = (i + 1) & mask
        slots[i] = digest
        return True


class Corpus:
    """Texts with ids, labels and splits, read in bounded memory and as often as needed.

    Ids are checked to be unique, by 12 to 24 bytes of memory for each; row numbers need no check.

    Parameters
    ----------
    source : where the rows come from
    columns : which of its columns hold what
    on_bad_rows : what to do with a row whose text is null, no string, empty or blank, or not UTF-8, whose id is null,
        not UTF-8, or stands in an earlier row, whose labels or split are not UTF-8, or which is malformed: "error"
        raises, "skip" leaves it out and counts it
    split : the only one whose rows are read; None reads all
    label_descriptions : a description for each label, where they are known
    """

    def __init__(
        self,
        source: TextSource,
        columns: Columns,
        *,
        on_bad_rows: OnBadRows = "error",
        split: str | None = None,
        label_descriptions: Mapping[str, str] | None = None,
    ) -> None:
        if on_bad_rows not in ("error", "skip"):
            raise InputError(f"on_bad_rows is {on_bad_rows!r}; for texts it can be 'error' or 'skip'")
        self.source = source
        self.columns = columns
        self.on_bad_rows = on_bad_rows
        self.split = split
        self.label_descriptions = dict(label_descriptions or {})

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.source.name

    def records(self, tally: Tally | None = None) -> Iterator[Record]:
        """All records in order.

        Parameters
        ----------
        tally : counts, if one is given, what the pass meets with

        Raises
        ------
        InputError : a bad row under on_bad_rows="error" (it says where), a damaged file, or no text at all
        """
        tally = Tally() if tally is None else tally
        ids = HashSet()
        for row in self.source.rows(self.columns.names()):
            if self.split is not None and not row.fault and (row.split or self._split_of(row)) != self.split:
                continue
            tally.seen += 1
            made = row.fault or self._record(row, ids)
            if isinstance(made, Record):
                tally.records += 1
                yield made
                continue
            if self.on_bad_rows == "error" and not made.usual:
                raise InputError(f"{self.name}: {row.where}: {made}; {made.remedy}")
            tally.add(made, row.where)
        if tally.seen == 0:
            where = "in it" if self.split is None else f"of the split '{self.split}' in it"
            raise InputError(f"{self.name}: there are no texts {where}")
        if tally.records == 0:
            raise InputError(f"{self.name}: none of its {tally.seen:,} rows is a usable text; {tally.summary()}")

    def _record(self, row: Row, ids: HashSet) -> Record | Fault:
        values, columns = row.values, self.columns
        if columns.text not in values:
            return Fault(f"it has no '{columns.text}'")
        text = values[columns.text]
        fault = text_fault(text)
        if fault:
            return fault
        labels = as_labels(values.get(columns.labels)) if columns.labels else ()
        if not all(map(is_utf8, labels)):
            return Fault(f"a label {HALF}")
        split = self._split_of(row)
        if split is not None and not is_utf8(split):
            return Fault(f"its split {HALF}")
        name = str(row.number) if row.split is None else f"{row.split}-{row.number}"
        if columns.id is not None:
            value = values.get(columns.id)
            if value is None or value == "":
                return Fault("its id is null")
            name = str(value)
            if not is_utf8(name):
                return Fault(f"its id {HALF}")
            if not ids.add(name):
                found = f"{name!r} in the column '{columns.id}'"
                return Fault("its id stands in an earlier row", found, remedy=f"{OTHER_IDS}; or {SKIP}")
        return Record(name, text, labels, split)

    def _split_of(self, row: Row) -> str | None:
        split = row.values.get(self.columns.split) if self.columns.split else None
        return row.split if split in (None, "") else str(split)


def text_fault(text: Any) -> Fault | None:
    """What is wrong with a text, if anything."""
    if text is None:
        return Fault("the text is null")
    if not isinstance(text, str):
        return Fault("the text is no string", f"but {type(text).__name__}")
    if not text or text.isspace():
        return Fault("the text is empty")
    if not is_utf8(text):
        return Fault(f"the text {HALF}")
    return None


def as_labels(value: Any) -> tuple[str, ...]:
    """The labels in a cell: a list of them, one, or none (null or an empty string)."""
    if value is None or value == "":
        return ()
    if isinstance(value, list | tuple):
        return tuple(str(label) for label in value if label is not None)
    return (str(value),)


def choose_text(name: str, wanted: str | None, source: TextSource) -> str:
    """The column that holds the texts: the one asked for, the first that is named like one, or the only candidate.

    Raises
    ------
    InputError : no such column, none that holds texts, or several to choose from
    """
    if wanted is not None:
        return check_column(name, wanted, source.names)
    likely = [column for column in TEXT_COLUMNS if column in source.text_names]
    if "text" in likely or len(likely) == 1:
        return likely[0]
    candidates = likely or list(source.text_names)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(f"{name}: no column holds texts; it has {listed(source.names)}")
    raise InputError(
        f"{name}: {len(candidates)} columns could be the text: {listed(candidates)}; "
        f"name one, as in '{name}::{candidates[0]}'"
    )


def check_column(name: str, wanted: str, names: Sequence[str]) -> str:
    """`wanted`, if it is one of the columns; an InputError that lists them and names the nearest if not."""
    return check_key(name, wanted, names, "column")


def choose_other(name: str, wanted: str | None, usual: Sequence[str], names: Sequence[str]) -> str | None:
    """The column asked for (none, if that is ""), or the first of the usual names that is there, or None."""
    if wanted is not None:
        return check_column(name, wanted, names) if wanted else None
    return next((column for column in usual if column in names), None)
