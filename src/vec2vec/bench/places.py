"""Where a benchmark finds what it reads and keeps what it makes, and how it tells that an input has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vec2vec.bench.config import BenchConfig, CorpusData, FilesData, SampleData, SearchEntry, Space
from vec2vec.errors import ConfigError, InputError

PROBE = 2**20  # bytes of a file's beginning and end that its fingerprint knows
SETS = ("source", "target", "held_out")  # the files of a corpus that a hash divides


@dataclass(frozen=True)
class Places:
    """Paths of a run.

    Attributes
    ----------
    config : the configuration
    inputs : `fingerprints` of it: what is made from an input has a name that changes with it
    out : the folder of the run
    """

    config: BenchConfig
    inputs: Mapping[str, Any]
    out: Path

    @property
    def cells(self) -> Path:
        return self.out / "cells"

    def corpus(self, data: str) -> Path:
        """The folder of what is known of a corpus: its rows' domains, or the sets that it was divided into."""
        return self.out / "data" / f"{data}-{_digest(self.inputs[f'data {data}'])}"

    def vectors(self, data: str, space: str, part: str = "") -> Path:
        """The vectors of a corpus, or of a set of it, in a space: the given file, or the one that is made."""
        given = self.config.spaces[space].vectors.get(data)
        if given is not None:
            return Path(self.config.path(given))
        key = [self.inputs[f"data {data}"], self.inputs[f"encoder {space}"]]
        name = ".".join(filter(None, (data, part, space)))
        return self.out / "vectors" / f"{name}-{_digest(key)}.npy"

    def search(self, search: str) -> Path:
        """The folder of the texts of a search."""
        return self.out / "data" / f"search.{search}-{_digest(self.inputs[f'search {search}'])}"

    def search_vectors(self, search: str, space: str, part: str) -> Path:
        """The vectors of its queries or documents."""
        key = [self.inputs[f"search {search}"], self.inputs[f"encoder {space}"]]
        return self.out / "vectors" / f"search.{search}.{part}.{space}-{_digest(key)}.npy"


def fingerprints(config: BenchConfig) -> dict[str, Any]:
    """What tells whether an input is still the same: settings, and of files the size and the first and last MiB.

    Raises
    ------
    InputError : a file that is missing
    ConfigError : a space that has neither vectors nor an encoder for the data it is used on
    """
    found: dict[str, Any] = {}
    for name, data in config.data.items():
        found[f"data {name}"] = _data(config, data)
    for name, space in config.spaces.items():
        place = Path(space.encoder or "").expanduser()
        saved = file_print(str(place)) if space.encoder and place.is_dir() else space.encoder
        found[f"encoder {name}"] = [saved, space.options]
        for data_name in config.data:
            if data_name in space.vectors:
                found[f"space {name} on {data_name}"] = file_print(config.path(space.vectors[data_name]))
            elif space.encoder is not None:
                found[f"space {name} on {data_name}"] = found[f"encoder {name}"]
        for data_name in space.vectors:
            if data_name not in config.data:
                raise ConfigError(f"space '{name}': has vectors of data '{data_name}', which there is none of")
    for name, search in config.search.items():
        found[f"search {name}"] = _search(config, search, found)
    for space_name, data_name in used_spaces(config):
        _check_space(config.spaces[space_name], space_name, data_name, config)
    return found


def used_spaces(config: BenchConfig) -> Iterator[tuple[str, str]]:
    """Which space is used on which corpus."""
    for experiment in config.experiments:
        names = {name.partition(":")[0] for name in (experiment.data, *experiment.score_on)}
        for pair in experiment.spaces:
            yield from ((space, name) for space in pair for name in sorted(names))


def file_print(path: str) -> list[Any]:
    """Size and hash of a file (`path` or `path::column`), of a folder those of its files; InputError if missing."""
    text, _, column = path.partition("::")
    place = Path(text)
    if place.is_dir():
        return [[one.name, *file_print(str(one))] for one in sorted(place.rglob("*")) if one.is_file()]
    if not place.is_file():
        raise InputError(f"{place}: there is no such file")
    with open(place, "rb") as stream:
        size = place.stat().st_size
        digest = hashlib.blake2b(stream.read(PROBE), digest_size=8)
        stream.seek(max(0, size - PROBE))
        digest.update(stream.read())
    return [size, digest.hexdigest(), column]


def local_part(corpus: str) -> tuple[str, str]:
    """What stands before the path in a corpus, "" or NAME: of a listed one, and the path, "" where it is of the hub."""
    from vec2vec.datasets import CORPORA

    name, _, rest = corpus.partition(":")
    if name in CORPORA and rest and not rest.startswith(":"):  # NAME::column is of the hub
        return f"{name}:", rest
    return (corpus, "") if name == "hf" or name in CORPORA else ("", corpus)


def _data(config: BenchConfig, data: Any) -> dict[str, Any]:
    tree: dict[str, Any] = data.model_dump(mode="json")
    if isinstance(data, SampleData):
        return tree
    if isinstance(data, CorpusData):
        name, path = local_part(data.texts or "")
        if path:
            found = file_print(config.path(path))
            tree["texts"] = [name, _digest(found)] if name else found  # a copy may be a folder of many files
        return tree
    tree |= {"source_label": "source", "target_label": "target"}  # the defaults: what tables say decides nothing
    if not isinstance(data, FilesData):
        names = ("source", "target", "dictionary", "pairs")
        return tree | {name: file_print(config.path(tree[name])) for name in names if tree[name] is not None}
    for name in ("source", "target"):
        tree[name] = file_print(config.path(tree[name]))
    for name in ("held_out", "pairs"):
        if tree[name] is not None:
            tree[name] = [file_print(config.path(one)) for one in tree[name]]
    return tree


def _search(config: BenchConfig, search: SearchEntry, found: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = search.model_dump(mode="json")
    if search.kind == "beir":
        folder = config.path(search.folder or "")
        wanted = ("corpus.jsonl", "queries.jsonl", f"qrels/{search.split}.tsv")
        return tree | {"folder": [file_print(f"{folder}/{name}") for name in wanted]}
    return tree | {"data": found[f"data {search.data}"]}


def _check_space(space: Space, name: str, data_name: str, config: BenchConfig) -> None:
    if data_name in space.vectors:
        data = config.data[data_name]
        if isinstance(data, CorpusData) and data.split == "hash":
            raise ConfigError(f"space '{name}': data '{data_name}' is divided by a hash, so an encoder must embed it")
        return
    if space.encoder is None:
        raise ConfigError(f"space '{name}': has neither vectors of data '{data_name}' nor an encoder")
    data = config.data[data_name]
    if isinstance(data, CorpusData) and data.texts is None:
        raise ConfigError(f"data '{data_name}': has no texts for the encoder of space '{name}'")


def _digest(tree: Any) -> str:
    return hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=5).hexdigest()
