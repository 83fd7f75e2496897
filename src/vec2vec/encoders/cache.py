"""Vectors that were made before, by text: one SQLite file for each encoder with its revision and settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vec2vec.encoders.base import Identity, Item
from vec2vec.errors import InputError, Vec2VecWarning
from vec2vec.vectors import Float32, one_line

ASK = 500  # keys in one query
WAL_TRIES = 100  # a tenth of a second apart


def cache_folder() -> Path:
    """Where caches are: `$VEC2VEC_CACHE`, else `vec2vec` in the user's folder for caches."""
    named = os.environ.get("VEC2VEC_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vec2vec"


def item_key(item: Item) -> bytes:
    """16 bytes that stand for a text, or for the contents of an image file."""
    if isinstance(item, Path):
        try:
            return hashlib.blake2b(item.read_bytes(), digest_size=16).digest()
        except OSError as error:
            raise InputError(f"{item}: cannot be read: {error.strerror or one_line(error)}") from error
    return hashlib.blake2b(item.encode(), digest_size=16).digest()


class VectorCache:
    """Vectors by key, of one width. A process that is killed loses none of those that were put there.

    Parameters
    ----------
    path : of the file; None for one that lives as long as this object
    identity : of the encoder; it is written into the file
    """

    def __init__(self, path: Path | None, identity: Identity) -> None:
        self.path = path
        self.width = identity.dimensions
        with self._errors():
            self._base = sqlite3.connect("" if path is None else path, timeout=60)
            self._write_ahead()
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("CREATE TABLE IF NOT EXISTS identity (tree TEXT PRIMARY KEY)")
            self._base.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
            self._base.execute("INSERT OR IGNORE INTO identity VALUES (?)", (json.dumps(identity.to_dict()),))
            self._base.commit()

    def _write_ahead(self) -> None:
        """Readers beside a writer; for this change of a file that is opened by several at once nothing waits but we."""
        for attempt in range(WAL_TRIES):
            try:
                self._base.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or attempt == WAL_TRIES - 1:
                    raise
                time.sleep(0.1)
            else:
                return

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Float32]:
        """The vectors that are there, by key."""
        found: dict[bytes, Float32] = {}
        with self._errors():
            for start in range(0, len(keys), ASK):
                some = keys[start : start + ASK]
                marks = ",".join("?" * len(some))
                for key, blob in self._base.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some):
                    if len(blob) != 4 * self.width:
                        raise sqlite3.DatabaseError("a vector of another width")
                    found[key] = np.frombuffer(blob, "<f4")
        return found

    def put(self, keys: Sequence[bytes], vectors: Float32) -> None:
        """Keep vectors, each call in a transaction of its own: other processes write between them."""
        rows = zip(keys, (row.tobytes() for row in vectors.astype("<f4", copy=False)), strict=True)
        with self._errors():
            self._base.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
            self._base.commit()

    def close(self) -> None:
        with self._errors():
            self._base.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{self.path}: the cache cannot be used ({one_line(error)}); go on without it by --no-cache "
                "(cache=False), or put it elsewhere by VEC2VEC_CACHE"
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: the cache is damaged ({one_line(error)}); delete the file") from error


@contextmanager
def open_cache(identity: Identity, *, keep: bool) -> Iterator[VectorCache]:
    """The cache of this encoder; one that is forgotten afterwards with `keep` false, or where none can be kept."""
    path = None
    if keep:
        folder = cache_folder() / "embeddings"
        name = re.sub(r"[^\w.-]+", "-", identity.encoder).strip("-.")[:60] or "encoder"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
            path = folder / f"{name}-{identity.fingerprint()}.sqlite"
        except OSError as error:
            warnings.warn(
                f"{folder}: no cache can be kept there ({error.strerror}); it goes on without one",
                Vec2VecWarning,
                stacklevel=3,
            )
    cache = VectorCache(path, identity)
    try:
        yield cache
    finally:
        cache.close()
