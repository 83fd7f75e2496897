"""Corpora: texts with ids, labels and splits, from files, the hub, or by name, in bounded memory."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from vec2vec.datasets.base import (
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    Columns,
    Corpus,
    OnBadRows,
    Record,
    Tally,
    TextSource,
    choose_other,
    choose_text,
)
from vec2vec.datasets.export import Export, Preparation, write_corpus, write_split
from vec2vec.datasets.files import SUFFIXES, open_file
from vec2vec.datasets.hub import SCHEME, HubDataset, parse_hub_uri, refuse_hub_settings
from vec2vec.datasets.named import CORPORA, NamedCorpus, open_named
from vec2vec.datasets.sequences import MAX_TOKENS, Cutter, open_cutter
from vec2vec.datasets.unpaired import Splitter, deduplicate
from vec2vec.errors import InputError
from vec2vec.vectors import ID_COLUMNS

__all__ = [
    "CORPORA",
    "MAX_TOKENS",
    "SUFFIXES",
    "Columns",
    "Corpus",
    "Cutter",
    "Export",
    "NamedCorpus",
    "OnBadRows",
    "Preparation",
    "Record",
    "Splitter",
    "Tally",
    "deduplicate",
    "open_corpus",
    "open_cutter",
    "write_corpus",
    "write_split",
]


def open_corpus(
    uri: str | os.PathLike[str],
    *,
    column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    stream: bool = False,
    on_bad_rows: OnBadRows = "error",
) -> Corpus:
    """A corpus, to be read in one or more passes of `Corpus.records`.

    Parameters
    ----------
    uri : one of
        a file, .jsonl, .csv, .tsv, .parquet or .txt (a line a text), each also as .gz;
        a name of `CORPORA`, or NAME:PATH for a local copy of that corpus;
        a dataset of the hub, or a folder laid out like one, as hf:NAME:SPLIT:COLUMN:CONFIG, of which all but the name
        may be left out. After a file or name, `::column` names the column of the texts.
    column : of the texts; by default "text", or the only column that is named like one or holds strings
    id_column : of unique ids; by default "id" and the like, else rows are numbered from 0, as they are for ""
    label_column : of labels, a list or a single one; by default "labels", "label" and the like, if there is one; "" for
        none
    split_column : by default "split", if there is one; "" for none
    split : read only this one; of the hub also a part of it, as "train[:1000]"
    config, revision : of a hub dataset
    stream : read a hub dataset without storing it
    on_bad_rows : see `Corpus`

    Raises
    ------
    InputError : a file or dataset that is missing, unreachable, unreadable, damaged or empty; a column that is missing
        or not to be told; a part of a split that is not of the hub
    MissingExtraError : a hub dataset without the `datasets` library
    """
    text = os.fspath(uri)
    place, mark, key = (text, "", "") if text.startswith(SCHEME) else text.partition("::")
    if not place or (mark and not key):
        raise InputError(f"{text!r}: is no file name; write it as path or path::column")
    column = _one(text, "column", key or None, column)
    descriptions = {}
    source: TextSource
    name, _, path = place.partition(":")
    if place.startswith(SCHEME):
        hub = parse_hub_uri(place)
        column = _one(text, "column", hub.column, column)
        split = _one(text, "split", hub.split, split)
        config = _one(text, "config", hub.config, config)
        source = HubDataset(hub.name, config=config, split=split, revision=revision, stream=stream)
    elif name in CORPORA:
        source, found = open_named(
            name, path or None, column=column, config=config, split=split, revision=revision, stream=stream
        )
        descriptions = dict(found)
        column = None if name == "enron" else column  # there it named a column of the copy
    else:
        file = Path(place).expanduser()
        if not file.suffix and not file.exists():
            raise InputError(_unknown(place))
        refuse_hub_settings(text, config, revision, stream)
        source = open_file(file)
    if split is not None and "[" in split and not isinstance(source, HubDataset):
        raise InputError(
            f"{text}: of its split a part is asked for, {split!r}, which only a hub dataset has; name the split "
            "alone, and take a part of it by --limit (Preparation.limit in Python)"
        )
    return Corpus(
        source,
        _columns(source, column, id_column, label_column, split_column),
        on_bad_rows=on_bad_rows,
        split=split and split.partition("[")[0],
        label_descriptions=descriptions,
    )


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.partition(":")[0], CORPORA, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    known = ", ".join(CORPORA)
    return f"{name}: is no file and no known corpus ({known}); a dataset of the hub is written hf:{name}{hint}"


def _one(uri: str, what: str, named: str | None, asked: str | None) -> str | None:
    """What the uri names, or what is asked for beside it; an InputError if they differ."""
    if named is not None and asked is not None and named != asked:
        raise InputError(f"{uri}: names the {what} '{named}', and '{asked}' is asked for")
    return asked if named is None else named


def _columns(
    source: TextSource, text: str | None, id_column: str | None, labels: str | None, split: str | None
) -> Columns:
    chosen = choose_text(source.name, text, source)
    others = [name for name in source.names if name != chosen]
    return Columns(
        chosen,
        choose_other(source.name, id_column, ID_COLUMNS, others),
        choose_other(source.name, labels, LABEL_COLUMNS, others),
        choose_other(source.name, split, SPLIT_COLUMNS, others),
    )
