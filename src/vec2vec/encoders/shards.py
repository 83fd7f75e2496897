"""The parts of an embedding that is being made: Parquet files, each whole or not there, that say what is in them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vec2vec import __version__
from vec2vec.datasets import Record
from vec2vec.encoders.base import Identity
from vec2vec.encoders.cache import item_key
from vec2vec.errors import InputError, OutputError
from vec2vec.stores import atomic_file
from vec2vec.stores.atomic import remove_leftovers, writing
from vec2vec.stores.parquet import open_parquet
from vec2vec.stores.parquet_folder import COMPLETE, EMBEDDING
from vec2vec.vectors import Float32, one_line

PART = re.compile(r"part-(\d{5,})\.parquet")
VECTOR = "vector"


@dataclass(frozen=True)
class Part:
    """A part that is written.

    Attributes
    ----------
    path : of the file
    records : how many records of the input it stands for: its rows, and those that were left out
    rows : of vectors
    digest : of the records, by which a changed input is noticed
    """

    path: Path
    records: int
    rows: int
    digest: str


def records_digest(records: Sequence[Record], *, images: bool) -> str:
    """A hash of all that records hold, in order; of images, whose text is a path, of what the files hold."""
    digest = hashlib.blake2b(digest_size=16)
    for record in records:
        digest.update(len(record.labels).to_bytes(8, "little"))
        text = item_key(Path(record.text)).hex() if images else record.text
        for part in (record.id, text, record.split or "", *record.labels):
            encoded = part.encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def embedding_metadata(identity: Identity, **more: Any) -> dict[bytes, bytes]:
    """What a file of embeddings says about itself, as metadata of its schema."""
    tree = {"vec2vec": __version__, "identity": identity.to_dict(), **more}
    return {EMBEDDING: json.dumps(tree).encode()}


class Parts:
    """A folder of parts, `part-00000.parquet` and so on, in the order of the input.

    Raises
    ------
    OutputError : the folder has other files in it, or parts that were made with other settings
    InputError : a part is damaged or missing
    """

    def __init__(self, folder: Path, identity: Identity, *, foreign: str) -> None:
        self.folder = folder
        self.identity = identity
        with writing(folder):
            folder.mkdir(exist_ok=True)
            remove_leftovers(folder, "*", age=0.0)
            names = sorted(path.name for path in folder.iterdir() if not fnmatch(path.name, ".*.tmp"))
        strange = [name for name in names if not PART.fullmatch(name) and name != COMPLETE]
        if strange:
            raise OutputError(f"{folder}: has '{strange[0]}' in it, which is no part of an embedding; {foreign}")
        self.complete = COMPLETE in names
        self.parts = [self._read(folder / name, i) for i, name in enumerate(n for n in names if n != COMPLETE)]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def append(self, records: Sequence[Record], kept: Sequence[Record], vectors: Float32, digest: str) -> Part:
        """Write the next part: the vectors of `kept`, all that is left of `records`, whose digest it is."""
        path = self.folder / f"part-{len(self.parts):05d}.parquet"
        table = to_table(kept, vectors)
        metadata = embedding_metadata(self.identity, part=len(self.parts), records=len(records), digest=digest)
        with atomic_file(path) as stream:
            pq.write_table(table.replace_schema_metadata(metadata), stream, use_dictionary=False)
        self.parts.append(Part(path, len(records), len(kept), digest))
        return self.parts[-1]

    def finish(self) -> None:
        """Mark the folder as complete."""
        tree = {"rows": self.rows, "parts": len(self.parts), "identity": self.identity.to_dict()}
        with atomic_file(self.folder / COMPLETE, force=True) as stream:
            stream.write(json.dumps(tree, indent=2).encode() + b"\n")
        self.complete = True

    def tables(self) -> Iterator[tuple[pa.Table, Float32]]:
        """The parts in order, one at a time: the other columns, and the (n, d) vectors."""
        for part in self.parts:
            with open_parquet(part.path) as file:
                table = file.read()
            values = table.column(VECTOR).combine_chunks().flatten().to_numpy()
            yield table.drop_columns([VECTOR]), values.reshape(part.rows, self.identity.dimensions)

    def _read(self, path: Path, number: int) -> Part:
        match = PART.fullmatch(path.name)
        if match is None or int(match[1]) != number:
            raise InputError(f"{self.folder}: part {number} is missing; start over with --force (force=True)")
        try:
            with open_parquet(path) as file:
                rows = int(file.metadata.num_rows)
                tree = json.loads((file.schema_arrow.metadata or {}).get(EMBEDDING, b"null"))
        except (InputError, ValueError) as error:
            raise InputError(
                f"{path}: is a damaged part ({one_line(error)}); start over with --force (force=True)"
            ) from error
        if not isinstance(tree, dict):
            raise OutputError(f"{path}: was not written by vec2vec embed; choose another --out")
        differences = self.identity.differences(tree.get("identity", {}))
        if differences:
            raise OutputError(
                f"{self.folder}: was begun with other settings ({'; '.join(differences)}); choose another --out, or "
                "start over with --force (force=True)"
            )
        return Part(path, int(tree["records"]), rows, str(tree["digest"]))


def check_parts(folder: Path) -> None:
    """Raises OutputError if there is something else than parts in a folder, so that it cannot be removed."""
    strange = [
        path.name
        for path in sorted(folder.iterdir())
        if not PART.fullmatch(path.name) and path.name != COMPLETE and path.suffix != ".tmp"
    ]
    if strange:
        raise OutputError(f"{folder}: has '{strange[0]}' in it, which is no part of an embedding; it is left alone")


def empty_parts(folder: Path) -> None:
    """Remove the parts in a folder, which stays, and nothing else: see `check_parts`."""
    check_parts(folder)
    with writing(folder):
        for path in folder.iterdir():
            path.unlink()


def remove_parts(folder: Path) -> None:
    """Remove a folder of parts, if there is one. Nothing but what `Parts` writes is ever removed: see `check_parts`."""
    if folder.exists():
        check_parts(folder)
        with writing(folder):
            shutil.rmtree(folder)


def to_table(records: Sequence[Record], vectors: Float32) -> pa.Table:
    """Ids, labels and splits beside the vectors. The columns are the same in all parts."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])
    return pa.table(
        {
            "id": pa.array([record.id for record in records], pa.string()),
            "labels": pa.array([list(record.labels) for record in records], pa.list_(pa.string())),
            "split": pa.array([record.split for record in records], pa.string()),
            VECTOR: lists,
        }
    )
