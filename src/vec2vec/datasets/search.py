"""Sets to measure a search with: BEIR folders, and known items made of passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vec2vec.datasets.base import Row, TextSource, check_column
from vec2vec.datasets.files import open_file
from vec2vec.errors import InputError

MIN_WORDS = 4  # of a query, and of what is left of its passage
# The end of a sentence: a stop (not that of an initial or a common abbreviation), then what may begin another.
_END = re.compile(
    r"(?<!\b[A-Za-z])(?<!\b(?:Mr|Dr|St|Jr|Sr|vs|No))(?<!\b(?:Mrs|etc))[.!?][\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[A-Z0-9])"
)


@dataclass(frozen=True)
class SearchSet:
    """Queries, documents, and which of them belong together.

    Attributes
    ----------
    queries, documents : texts
    relevant : for each query, the positions of its relevant documents and how relevant they are, above 0
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[Mapping[int, float], ...]


def known_items(passages: Iterable[str]) -> SearchSet:
    """Known-item search: the first sentence of a passage is the query, the rest the document that it should find.

    Passages of one sentence, or with fewer than four words in either part, are left out.

    Raises
    ------
    InputError : no passage can be divided
    """
    parts = [part for part in map(first_sentence, passages) if part is not None]
    if not parts:
        raise InputError("no passage has two sentences of four words or more: there is nothing to search for")
    queries, documents = zip(*parts, strict=True)
    return SearchSet(queries, documents, tuple({i: 1.0} for i in range(len(parts))))


def first_sentence(passage: str) -> tuple[str, str] | None:
    """The first sentence and the rest; None if either has fewer than four words."""
    end = _END.search(passage)
    if end is None:
        return None
    query, rest = passage[: end.end()].strip(), passage[end.end() :].strip()
    return (query, rest) if min(len(query.split()), len(rest.split())) >= MIN_WORDS else None


def read_beir(folder: str | Path, split: str = "test") -> SearchSet:
    """A dataset in the format of BEIR: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``.

    A document is its title and its text. Queries without a relevant document are left out, as BEIR does.

    Raises
    ------
    InputError : a file that is missing or damaged, an id that stands twice, a judgement of an unknown text, or no
        judgement at all
    """
    place = Path(folder).expanduser()
    documents = _texts(place / "corpus.jsonl", title=True)
    queries = _texts(place / "queries.jsonl", title=False)
    path = place / "qrels" / f"{split}.tsv"
    document_rows = {name: i for i, name in enumerate(documents)}
    relevant: dict[str, dict[int, float]] = {}
    for row in _rows(open_file(path), ("query-id", "corpus-id", "score")):
        query, document, score = (str(row.values[name]) for name in ("query-id", "corpus-id", "score"))
        for name, known in ((query, queries), (document, document_rows)):
            if name not in known:
                raise InputError(f"{path}: {row.where}: there is no text of the id {name!r}")
        try:
            gain = float(score)
        except ValueError:
            raise InputError(f"{path}: {row.where}: the score {score!r} is no number") from None
        if gain > 0:
            relevant.setdefault(query, {})[document_rows[document]] = gain
    if not relevant:
        raise InputError(f"{path}: no query has a relevant document")
    names = [name for name in queries if name in relevant]
    return SearchSet(
        tuple(queries[name] for name in names), tuple(documents.values()), tuple(relevant[name] for name in names)
    )


def _texts(path: Path, *, title: bool) -> dict[str, str]:
    """The texts by their ids, in order."""
    source = open_file(path)
    found: dict[str, str] = {}
    for row in _rows(source, ("_id", "text")):
        text = str(row.values["text"]).strip()
        if title and row.values.get("title"):
            text = f"{str(row.values['title']).strip()} {text}".strip()
        if not text:
            raise InputError(f"{path}: {row.where}: the text is empty")
        name = str(row.values["_id"])
        if name in found:
            raise InputError(f"{path}: {row.where}: its _id {name!r} stands in an earlier row; leave out either")
        found[name] = text
    return found


def _rows(source: TextSource, columns: tuple[str, ...]) -> Iterable[Row]:
    """The rows, each with these columns; InputError at the first that cannot be read or lacks one."""
    for column in columns:
        check_column(source.name, column, source.names)
    for row in source.rows(columns):
        if row.fault is not None:
            raise InputError(f"{source.name}: {row.where}: {row.fault}")
        missing = [column for column in columns if _absent(row.values.get(column))]
        if missing:
            raise InputError(f"{source.name}: {row.where}: it has no '{missing[0]}'")
        yield row


def _absent(value: Any) -> bool:
    return value is None
