"""Corpora: texts with ids, labels and splits, from files, by one call and in bounded memory."""

from __future__ import annotations

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
from vec2vec.datasets.files import SUFFIXES, open_file
from vec2vec.errors import InputError
from vec2vec.vectors import ID_COLUMNS

__all__ = ["SUFFIXES", "Columns", "Corpus", "OnBadRows", "Record", "Tally", "open_corpus"]


def open_corpus(
    uri: str | os.PathLike[str],
    *,
    column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    on_bad_rows: OnBadRows = "error",
) -> Corpus:
    """A corpus, to be read in one or more passes of `Corpus.records`.

    Parameters
    ----------
    uri : a file, .jsonl, .csv, .tsv, .parquet or .txt (a line a text), each also as .gz, with `::column` for the column
        of the texts
    column : of the texts; by default "text", or the only column that is named like one or holds strings
    id_column : of unique ids; by default "id" and the like, else rows are numbered from 0
    label_column : of labels, a list or a single one; by default "labels", "label" and the like, if there is one
    split_column : by default "split", if there is one
    on_bad_rows : see `Corpus`

    Raises
    ------
    InputError : a file that is missing, unreadable, damaged or empty; a column that is missing or not to be told
    """
    path, column = _parse(uri, column)
    source = open_file(path)
    columns = _columns(source, column, id_column, label_column, split_column)
    return Corpus(source, columns, on_bad_rows=on_bad_rows)


def _parse(uri: str | os.PathLike[str], column: str | None) -> tuple[Path, str | None]:
    text, mark, key = os.fspath(uri).partition("::")
    if not text or (mark and not key):
        raise InputError(f"{os.fspath(uri)!r}: is no file name; write it as path or path::column")
    if key and column is not None and key != column:
        raise InputError(f"{os.fspath(uri)}: names the column '{key}', and '{column}' is asked for")
    return Path(text).expanduser(), key or column


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
