"""What must be there before the first cell: texts divided into sets, their domains, their vectors, searches.

Each `Step` makes one thing, whole or not at all, and is left out where that is there already. It runs in a process of
its own (`vec2vec.bench.child`), so that no encoder stays in the memory of the one that runs the grid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vec2vec.bench.config import BenchConfig, CorpusData
from vec2vec.bench.grid import make_grid
from vec2vec.bench.places import SETS, Places, local_part, used_spaces
from vec2vec.errors import ConfigError, InputError

if TYPE_CHECKING:
    from vec2vec.datasets import Corpus

QUERIES, DOCUMENTS = "queries", "documents"
HELD_OUT = 0.1  # the share of texts that a hash holds out, unless that is fewer than are asked for
LEAST_HALF = 10  # rows of either side of a corpus
NO_IDS = ""  # for the column of ids: row i is text i, so that the ids of a corpus serve nothing, and may repeat


@dataclass(frozen=True)
class Step:
    """One thing to make.

    Attributes
    ----------
    makes : the file or folder
    what : a line for the progress
    job : what the child is told
    """

    makes: Path
    what: str
    job: dict[str, Any]

    @property
    def done(self) -> bool:
        return self.makes.exists()


def steps(places: Places) -> Iterator[Step]:
    """Everything that the experiments need, in order."""
    config = places.config
    used = {experiment.data for experiment in config.experiments}
    used |= {name.partition(":")[0] for experiment in config.experiments for name in experiment.score_on}
    searches = {name for experiment in config.experiments for name in experiment.searches}
    used |= {config.search[name].data or "" for name in searches if config.search[name].kind == "known-item"}
    for name in sorted(used):
        data = config.data[name]
        if isinstance(data, CorpusData) and data.texts is not None and (data.split == "hash" or data.domains):
            what = f"dividing {name}" if data.split == "hash" else f"reading the domains of {name}"
            yield Step(places.corpus(name), what, {"job": "corpus", "data": name})
            for seed, count in most_pairs(config, name).items() if data.split == "hash" else ():
                makes = places.corpus(name) / f"{known_part(count, seed)}.parquet"
                job = {"job": "pairs", "data": name, "count": count, "seed": seed}
                yield Step(makes, f"drawing the pairs of {name}, seed {seed}", job)
    for search in sorted(searches):
        yield Step(places.search(search), f"making the search {search}", {"job": "search", "search": search})
    for space, name in sorted(set(used_spaces(config))):
        if name not in config.spaces[space].vectors:
            yield from _embeddings(places, name, space)
    for space, search in sorted(_used_in_search(config)):
        for part in (QUERIES, DOCUMENTS):
            makes = places.search_vectors(search, space, part)
            yield Step(
                makes,
                f"embedding the {part} of {search} by {space}",
                {
                    "job": "embed",
                    "texts": str(places.search(search) / f"{part}.jsonl"),
                    "out": str(makes),
                    "space": space,
                    "prompt": "query" if part == QUERIES else "document",
                },
            )


def _embeddings(places: Places, name: str, space: str) -> Iterator[Step]:
    data = places.config.data[name]
    assert isinstance(data, CorpusData)
    if data.split != "hash":
        makes = places.vectors(name, space)
        texts = corpus_uri(places.config, data.texts or "")
        job = {"job": "embed", "texts": texts, "out": str(makes), "space": space}
        if not Path(texts).is_dir():  # images, which have no columns
            job["id_column"] = NO_IDS
        yield Step(makes, f"embedding {name} by {space}", job)
        return
    for part in _needed_sets(places.config, name, space):
        makes = places.vectors(name, space, part)
        yield Step(
            makes,
            f"embedding {name} ({part}) by {space}",
            {"job": "embed", "texts": f"{places.corpus(name)}/{part}.parquet", "out": str(makes), "space": space},
        )


def _needed_sets(config: BenchConfig, data: str, space: str) -> list[str]:
    """The sets of a corpus, divided by a hash, that a space is needed on."""
    needed = set()
    for experiment in config.experiments:
        if data in {name.partition(":")[0] for name in experiment.score_on or (experiment.data,)}:
            needed |= {"held_out" for pair in experiment.spaces if space in pair}
        if experiment.data == data:
            needed |= {"source" for pair in experiment.spaces if space == pair[0]}
            needed |= {"target" for pair in experiment.spaces if space == pair[1]}
    most = most_pairs(config, data)
    for cell in make_grid(config).cells.values():
        if cell.data == data and cell.pairs and space in (cell.source, cell.target):
            needed.add(known_part(most[cell.seed], cell.seed))
    return sorted(needed)


def known_part(count: int, seed: int) -> str:
    """The name of the set of texts that the known pairs of a seed are taken from, where a hash divides the corpus."""
    return f"pairs-{count}-s{seed}"


def most_pairs(config: BenchConfig, data: str) -> dict[int, int]:
    """By seed, the most known pairs that any cell is given of these data."""
    most: dict[int, int] = {}
    for cell in make_grid(config).cells.values():
        if cell.data == data and cell.pairs:
            most[cell.seed] = max(cell.pairs, most.get(cell.seed, 0))
    return most


def _used_in_search(config: BenchConfig) -> set[tuple[str, str]]:
    return {
        (space, search)
        for experiment in config.experiments
        for search in experiment.searches
        for pair in experiment.spaces
        for space in pair
    }


# --- in the child -----------------------------------------------------------------------------------------------------


def perform_step(places: Places, job: dict[str, Any]) -> None:
    """Make what a step makes."""
    if job["job"] == "corpus":
        make_corpus(places, job["data"])
    elif job["job"] == "pairs":
        write_known(places.corpus(job["data"]), job["count"], job["seed"])
    elif job["job"] == "search":
        make_search(places, job["search"])
    else:
        embed(places, job)


def make_corpus(places: Places, name: str) -> None:
    """The sets of a corpus, or its rows' domains (``domains.npz``: the names, and an index into them for each row)."""
    from vec2vec.datasets import open_corpus
    from vec2vec.stores.atomic import atomic_folder

    data = places.config.data[name]
    assert isinstance(data, CorpusData)
    assert data.texts is not None
    corpus = open_corpus(corpus_uri(places.config, data.texts), id_column=NO_IDS, label_column=data.domains)
    folder = places.corpus(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder, lambda _: None) as made:
        if data.split == "hash":
            sets = made / "sets"
            divide(corpus, data, sets)
            for file in sets.iterdir():
                file.rename(made / file.name)
            sets.rmdir()
            for part in SETS:
                if (made / f"{part}.parquet").exists() and data.domains:
                    records = open_corpus(made / f"{part}.parquet").records()
                    write_domains(made / f"{part}.npz", [_first(record.labels) for record in records])
        else:
            write_domains(made / "domains.npz", [_first(record.labels) for record in corpus.records()])


def divide(corpus: Corpus, data: CorpusData, folder: Path) -> None:
    """Write the sets of a corpus that a hash divides: a tenth is held out, or so much more as `held_out` rows take.

    Raises
    ------
    InputError : too few texts to hold out so many, and divide the others
    """
    from vec2vec.datasets import write_split

    share = HELD_OUT
    while True:
        done = write_split(
            corpus,
            folder,
            held_out=share,
            rows=data.rows,
            held_out_rows=data.held_out,
            seed=data.seed,
            format="parquet",
            force=True,
        )
        if done.rows["held_out"] == data.held_out:
            return
        texts = done.tally.records - done.tally.duplicates
        wanted = min(1.0, data.held_out / texts)
        share = max(share, wanted) + 3 * math.sqrt(wanted * (1 - wanted) / texts)  # by chance it is some fewer
        if (1 - share) * texts < 2 * LEAST_HALF:
            raise InputError(
                f"{corpus.name}: has {texts:,} texts, too few to hold out {data.held_out:,} and divide the others"
            )


def corpus_uri(config: BenchConfig, texts: str) -> str:
    """A corpus as `open_corpus` takes it: a local file, or the local copy of a listed one, from the root."""
    name, path = local_part(texts)
    return name + config.path(path) if path else texts


def write_known(folder: Path, count: int, seed: int) -> None:
    """Texts of the source side once more, for the pairs that some methods are told: the first of all in a seed's order.

    The order is of all texts, so that the first n are the same whatever the count.
    """
    import pyarrow.parquet as pq

    from vec2vec.bench.worlds import PAIRS_DRAW
    from vec2vec.stores import atomic_file

    table = pq.read_table(folder / "source.parquet")
    if len(table) < count:
        raise InputError(f"{count:,} pairs are asked for, and the source side has {len(table):,} texts")
    chosen = np.random.default_rng([seed, PAIRS_DRAW]).permutation(len(table))[:count]
    if (folder / "source.npz").exists():
        with np.load(folder / "source.npz") as stored:
            np.savez(folder / f"{known_part(count, seed)}.npz", names=stored["names"], codes=stored["codes"][chosen])
    with atomic_file(folder / f"{known_part(count, seed)}.parquet", force=True) as stream:
        pq.write_table(table.take(chosen), stream)


def write_domains(path: Path, domains: list[str]) -> None:
    names, codes = np.unique(np.array(domains, np.str_), return_inverse=True)
    np.savez(path, names=names, codes=codes.astype(np.int32))


def _first(labels: tuple[str, ...]) -> str:
    return labels[0] if labels else ""


def make_search(places: Places, name: str) -> None:
    """``queries.jsonl``, ``documents.jsonl`` and ``relevant.json`` of a search."""
    from vec2vec.datasets.search import known_items, read_beir
    from vec2vec.stores.atomic import atomic_folder

    entry = places.config.search[name]
    if entry.kind == "beir":
        found = read_beir(places.config.path(entry.folder or ""), entry.split)
    else:
        found = known_items(_passages(places, entry.data or "", entry.passages))
    folder = places.search(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder, lambda _: None) as made:
        for part, texts in ((QUERIES, found.queries), (DOCUMENTS, found.documents)):
            lines = (json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))
            (made / f"{part}.jsonl").write_text("".join(lines), encoding="utf8")
        (made / "relevant.json").write_text(json.dumps([list(gains.items()) for gains in found.relevant]))


def _passages(places: Places, name: str, most: int) -> list[str]:
    """Held-out texts of a corpus: no fit has seen them."""
    from vec2vec.datasets import open_corpus

    data = places.config.data[name]
    assert isinstance(data, CorpusData)
    assert data.texts is not None
    if data.split == "hash":
        records = open_corpus(places.corpus(name) / "held_out.parquet").records()
        return [record.text for record in islice(records, most)]
    corpus = open_corpus(corpus_uri(places.config, data.texts), id_column=NO_IDS)
    texts = [record.text for record in corpus.records()]
    held = texts if data.split == "held out" else texts[-data.held_out :]
    return held[:most]


def embed(places: Places, job: dict[str, Any]) -> None:
    """A file of texts by the encoder of a space, into an .npy; what a killed run had done is kept."""
    from vec2vec.encoders import embed_file

    space = places.config.spaces[job["space"]]
    if space.encoder is None:
        raise ConfigError(f"space '{job['space']}' has no encoder")
    options = space.options | ({"prompt": job["prompt"]} if "prompt" in job else {})
    Path(job["out"]).parent.mkdir(parents=True, exist_ok=True)
    embed_file(job["texts"], job["out"], space.encoder, id_column=job.get("id_column"), **options)
