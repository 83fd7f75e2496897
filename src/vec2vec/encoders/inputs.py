"""What is embedded: texts of a corpus or in memory, and image files, as records with ids."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from vec2vec.datasets import Record, Tally, open_corpus
from vec2vec.datasets.base import Fault, text_fault
from vec2vec.encoders.base import Item
from vec2vec.errors import InputError
from vec2vec.vectors import SKIP_OR_REPAIR, is_utf8

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
OnBadRows = Literal["error", "skip"]


class Records(Protocol):
    """Records to embed. They can be read more than once."""

    @property
    def name(self) -> str: ...
    def records(self, tally: Tally | None = None) -> Iterator[Record]: ...


@dataclass(frozen=True)
class Images:
    """Image files as records: the text is the path, the id the path below the folder."""

    name: str
    paths: tuple[Path, ...]
    ids: tuple[str, ...]

    def records(self, tally: Tally | None = None) -> Iterator[Record]:
        for path, name in zip(self.paths, self.ids, strict=True):
            if tally is not None:
                tally.seen += 1
                tally.records += 1
            yield Record(name, str(path))


@dataclass(frozen=True)
class InMemory:
    """Texts in a sequence; their ids are their positions, or their numbers in what they were taken from."""

    texts: Sequence[object]
    on_bad_rows: OnBadRows
    name: str = "texts"
    numbers: Sequence[int] | None = None

    def records(self, tally: Tally | None = None) -> Iterator[Record]:
        tally = Tally() if tally is None else tally
        for row, text in zip(self.numbers or range(len(self.texts)), self.texts, strict=True):
            tally.seen += 1
            fault = None if isinstance(text, Path) else text_fault(text)
            if fault is None:
                tally.records += 1
                yield Record(str(row), str(text))
            elif self.on_bad_rows == "error":
                raise InputError(f"{self.name}: row {row} (counted from 0): {fault}; {SKIP_OR_REPAIR}")
            else:
                tally.add(fault, f"row {row} (counted from 0)")
        if tally.records == 0:
            raise InputError(f"{self.name}: there is no usable text in it; {tally.summary() or 'it is empty'}")


def open_texts(
    uri: str | os.PathLike[str], *, id_column: str | None = None, on_bad_rows: OnBadRows = "error"
) -> tuple[Records, bool]:
    """What is at `uri`, to be embedded, and whether it is images.

    Parameters
    ----------
    uri : an image file, a folder of them (searched to its depth, in the order of the paths), or a corpus (see
        `vec2vec.datasets.open_corpus`)
    id_column : of a corpus: see there
    on_bad_rows : what to do with a row that holds no usable text: "error", or "skip" (counted)

    Raises
    ------
    InputError : nothing there, a folder without images, an image whose name is not UTF-8, a column of images, or no
        readable corpus
    """
    path = Path(os.fspath(uri)).expanduser()
    if id_column is not None and (path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES):
        raise InputError(f"{path}: images have no columns; leave out --id-column (id_column)")
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"{path}: is a folder without images ({', '.join(IMAGE_SUFFIXES)}); name a file of texts")
        return _images(path, found, [p.relative_to(path).as_posix() for p in found]), True
    if path.suffix.lower() in IMAGE_SUFFIXES:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        return _images(path, [path], [path.name]), True
    return open_corpus(uri, id_column=id_column, on_bad_rows=on_bad_rows), False


def _images(path: Path, paths: Sequence[Path], ids: Sequence[str]) -> Images:
    for name in ids:
        if not is_utf8(name):
            raise InputError(f"the name of the image {name!r} is not UTF-8, and so is no id; rename it")
    return Images(str(path), tuple(paths), tuple(ids))


def as_item(record: Record, *, images: bool) -> Item:
    """What an encoder is given of a record."""
    return Path(record.text) if images else record.text


__all__ = ["IMAGE_SUFFIXES", "Fault", "Images", "InMemory", "OnBadRows", "Records", "as_item", "open_texts"]
