"""The vectors that a cell works on: two unpaired sides, known pairs, and the truth to score on."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from vec2vec.bench.config import CorpusData, FilesData, SampleData, WordsData
from vec2vec.bench.grid import Cell
from vec2vec.bench.places import Places
from vec2vec.bench.prepare import LEAST_HALF, known_part, most_pairs
from vec2vec.errors import ConfigError, DimensionError, InputError
from vec2vec.evaluate.retrieval import NEIGHBOURS
from vec2vec.stores import open_source, parse_uri, read_vectors
from vec2vec.vectors import REPAIR, Float32, Gate, Int64, VectorBatch, as_float32, one_line

Which = Literal["source", "target"]
SOURCE_DRAW, TARGET_DRAW, PAIRS_DRAW, TRUTH_DRAW = range(4)  # a stream of random numbers each


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of an array, which may be on disk.

    Attributes
    ----------
    array : (n, d)
    index : of the rows, in order; None for all
    name : of the file, "" for none
    """

    array: npt.NDArray[Any]
    index: Int64 | None = None
    name: str = ""

    def __len__(self) -> int:
        return len(self.array) if self.index is None else len(self.index)

    def take(self, positions: Int64 | None = None) -> Float32:
        """The rows at these positions, or all: (k, d) float32."""
        index = self.index if positions is None else positions if self.index is None else self.index[positions]
        return np.ascontiguousarray(self.array if index is None else self.array[index], np.float32)

    def draw(self, count: int, rng: np.random.Generator) -> Float32:
        """So many rows, drawn without replacement, in the order of the array."""
        return self.take(np.sort(rng.permutation(len(self))[:count]))

    def check(self) -> None:
        """InputError for a row that is no usable vector, under the name of the file and its number there."""
        index = np.arange(len(self.array)) if self.index is None else self.index
        Gate(self.name, remedy=REPAIR).check(VectorBatch(as_float32(self.array[index]), index))


@dataclass(frozen=True, eq=False)
class Truth:
    """Row-aligned rows of the same texts in both spaces, and their domains where they are known."""

    source: Rows
    target: Rows
    domains: npt.NDArray[np.str_] | None = None


@dataclass(frozen=True, eq=False)
class Words:
    """A dictionary as rows of the two vocabularies: (k,) queries, and for each those of its translations."""

    source: Rows
    target: Rows
    queries: Int64
    answers: Sequence[Sequence[int]]


class World(Protocol):
    """What a cell works on."""

    def side(self, which: Which) -> Rows:
        """The rows that may be fitted on."""
        ...

    def known(self, seed: int) -> tuple[Rows, Rows]:
        """Known pairs, row-aligned, in the order in which a seed draws them."""
        ...

    def truth(self, name: str) -> Truth | Words:
        """What a translation is scored on."""
        ...


def open_world(places: Places, cell: Cell) -> World:
    """The world of a cell.

    Raises
    ------
    InputError, DimensionError : files that cannot be used, or do not fit together
    ConfigError : domains that no text has
    """
    data = places.config.data[cell.data]
    if isinstance(data, CorpusData):
        return CorpusWorld(places, cell)
    if isinstance(data, FilesData):
        return FilesWorld(places, data, cell.score_rows)
    if isinstance(data, SampleData):
        return SampleWorld(cell.score_rows)
    return WordsWorld(places, data)


def check_sizes(places: Places, cells: Iterable[Cell]) -> None:
    """See that every cell has the rows and pairs that it asks for; what cannot be opened raises as `open_world` does.

    Raises
    ------
    ConfigError : more rows or pairs than there are, or too few rows to score on
    InputError : the files of a corpus have different numbers of rows, or a row to score on is no usable vector
    """
    counts: dict[tuple[object, ...], tuple[int, int, int]] = {}
    checked: set[tuple[object, ...]] = set()
    for cell in cells:
        data = places.config.data[cell.data]
        hashed = isinstance(data, CorpusData) and data.split == "hash"  # which has pairs of each seed's own
        key: tuple[object, ...] = (cell.data, cell.source, cell.target, cell.source_domains, cell.target_domains)
        key += (cell.score_on, cell.neighbours, cell.seed if hashed else None)
        if key not in counts:
            world = open_world(places, cell)
            if isinstance(world, CorpusWorld):
                world.check_rows()
            for name in cell.score_on:
                truth = world.truth(name)
                _check_truth(truth, name, cell)
                for side in (truth.source, truth.target):
                    what = (side.name, name, cell.data, cell.source_domains, cell.target_domains)
                    if side.name and what not in checked:
                        side.check()
                        checked.add(what)
            known = len(world.known(cell.seed)[0]) if cell.pairs else -1
            counts[key] = len(world.side("source")), len(world.side("target")), known
        elif cell.pairs and counts[key][2] < 0:
            counts[key] = (*counts[key][:2], len(open_world(places, cell).known(cell.seed)[0]))
        least = min(counts[key][:2])
        if isinstance(cell.rows, int) and cell.rows > least:
            raise ConfigError(
                f"{cell.summary}: data '{cell.data}' has {least:,} rows on one side; ask for less, or 'all'"
            )
        if cell.pairs > counts[key][2] >= 0:
            raise ConfigError(f"{cell.summary}: data '{cell.data}' has {counts[key][2]:,} known pairs")


def _check_truth(truth: Truth | Words, name: str, cell: Cell) -> None:
    rows, least = len(truth.source), NEIGHBOURS + 1 if cell.neighbours else 2
    if isinstance(truth, Truth) and rows < least:
        hint = ", or say measures = ['retrieval']" if cell.neighbours else ""
        raise ConfigError(
            f"{cell.summary}: '{name}' has {rows} rows to score on; {least} are needed: hold out more{hint}"
        )


class CorpusWorld:
    """Texts in two spaces, divided by their order or by a hash."""

    def __init__(self, places: Places, cell: Cell) -> None:
        self.places, self.cell = places, cell

    def check_rows(self) -> None:
        """InputError unless the two spaces, and the domains, have a row for each text of every corpus of the cell."""
        for name in dict.fromkeys(one.partition(":")[0] for one in (self.cell.data, *self.cell.score_on)):
            data = self._data(name)
            if data.split == "hash":
                continue
            files = [self.places.vectors(name, space) for space in (self.cell.source, self.cell.target)]
            sizes = {str(file): open_source(file).rows for file in files}
            if data.domains is not None and data.texts is not None:
                sizes[f"{data.texts} (its domains)"] = len(self._labels(name, "domains"))
            (first, rows), *others = sizes.items()
            for other, found in others:
                if found != rows:
                    raise InputError(
                        f"data '{name}': {first} has {rows:,} rows and {other} {found:,}: row i of each is text i"
                    )

    def side(self, which: Which) -> Rows:
        space, domains = {
            "source": (self.cell.source, self.cell.source_domains),
            "target": (self.cell.target, self.cell.target_domains),
        }[which]
        return self._rows(self.cell.data, space, which, domains)

    def known(self, seed: int) -> tuple[Rows, Rows]:
        data = self._data(self.cell.data)
        hashed = data.split == "hash"
        part = known_part(most_pairs(self.places.config, self.cell.data)[seed], seed) if hashed else "source"
        shared = self._judged(self.cell.data)
        source, target = (
            self._rows(self.cell.data, space, part, shared) for space in (self.cell.source, self.cell.target)
        )
        return (source, target) if hashed else _shuffled(source, target, seed)

    def truth(self, name: str) -> Truth:
        data, _, domain = name.partition(":")
        domains = (domain,) if domain else self._judged(data) if data == self.cell.data else ()
        source, target = (
            self._rows(data, space, "held_out", domains) for space in (self.cell.source, self.cell.target)
        )
        if len(source) != len(target):
            raise InputError(f"{name}: has {len(source):,} texts in {self.cell.source}, {len(target):,} in the other")
        most = self._data(data).score_rows or self.cell.score_rows
        order = _scored(len(source), most)
        known = self._domains(data, "held_out")
        labels = None
        if known is not None:
            labels = known[self._keep(known, domains, data)][order]
        return Truth(_at(source, order), _at(target, order), labels)

    def _judged(self, data: str) -> tuple[str, ...]:
        """The domains that both sides have; those of either where they share none; () for all."""
        here, there = set(self.cell.source_domains), set(self.cell.target_domains)
        if not here or not there:
            return tuple(sorted(here | there))
        return tuple(sorted(here & there or here | there))

    def _data(self, name: str) -> CorpusData:
        data = self.places.config.data[name]
        assert isinstance(data, CorpusData)
        return data

    def _rows(self, name: str, space: str, part: str, domains: Sequence[str]) -> Rows:
        """The rows of a set of a corpus in a space, of these domains or all."""
        data = self._data(name)
        if data.split == "hash":
            path = self.places.vectors(name, space, part)
            rows = Rows(open_rows(path), name=str(path))
        else:
            path = self.places.vectors(name, space)
            array = open_rows(path)
            rows = Rows(array, _set_index(data, len(array), part, f"data '{name}' in {space}"), str(path))
        if not domains:
            return rows
        known = self._domains(name, part)
        if known is None:
            raise ConfigError(f"data '{name}' has no domains")
        return _at(rows, np.flatnonzero(self._keep(known, domains, name)))

    def _keep(self, known: npt.NDArray[np.str_], domains: Sequence[str], name: str) -> npt.NDArray[np.bool_]:
        if not domains:
            return np.ones(len(known), bool)
        for domain in domains:
            if not (known == domain).any():
                raise ConfigError(
                    f"data '{name}' has no domain '{domain}' here; there are {', '.join(np.unique(known))}"
                )
        return np.isin(known, list(domains))

    def _domains(self, name: str, part: str) -> npt.NDArray[np.str_] | None:
        """The domain of each row of a set; None where the configuration names no column for it."""
        data = self._data(name)
        if data.domains is None or data.texts is None:
            return None
        if data.split == "hash":
            return self._labels(name, part)
        found = self._labels(name, "domains")
        return found[_set_index(data, len(found), part, f"data '{name}'")]

    def _labels(self, name: str, file: str) -> npt.NDArray[np.str_]:
        with np.load(self.places.corpus(name) / f"{file}.npz") as stored:
            found: npt.NDArray[np.str_] = stored["names"][stored["codes"]]
        return found


class FilesWorld:
    """Vectors in files of their own."""

    def __init__(self, places: Places, data: FilesData, score_rows: int) -> None:
        self.places, self.data, self.score_rows = places, data, score_rows

    def side(self, which: Which) -> Rows:
        return Rows(open_rows(Path(self.places.config.path(getattr(self.data, which)))))

    def known(self, seed: int) -> tuple[Rows, Rows]:
        return _shuffled(*self._aligned(self.data.pairs), seed)

    def truth(self, name: str) -> Truth:
        source, target = self._aligned(self.data.held_out)
        rows = _scored(len(source), self.score_rows)
        return Truth(_at(source, rows), _at(target, rows))

    def _aligned(self, names: tuple[str, str] | None) -> tuple[Rows, Rows]:
        assert names is not None
        paths = [self.places.config.path(name) for name in names]
        source, target = (Rows(open_rows(Path(path)), name=path) for path in paths)
        if len(source) != len(target):
            raise InputError(f"{names[0]} has {len(source):,} rows and {names[1]} {len(target):,}: rows are texts")
        for name, side, rows in zip(names, ("source", "target"), (source, target), strict=True):
            width = self.side("source" if side == "source" else "target").array.shape[1]
            if rows.array.shape[1] != width:
                raise DimensionError(f"{name}: has width {rows.array.shape[1]}, expected {width} as the {side} has")
        return source, target


class SampleWorld:
    """The packaged sample."""

    def __init__(self, score_rows: int) -> None:
        self.score_rows = score_rows

    @cached_property
    def _sample(self) -> Any:
        from vec2vec.data import load_sample

        return load_sample()

    def side(self, which: Which) -> Rows:
        return Rows(getattr(self._sample, which))

    def known(self, seed: int) -> tuple[Rows, Rows]:
        rows = self._halves[1]
        return _shuffled(Rows(self._sample.source_eval, rows), Rows(self._sample.target_eval, rows), seed)

    def truth(self, name: str) -> Truth:
        rows = self._halves[0]
        rows = rows[_scored(len(rows), self.score_rows)]
        names = np.array(self._sample.domain_names)[self._sample.eval_domains[rows]]
        return Truth(Rows(self._sample.source_eval, rows), Rows(self._sample.target_eval, rows), names)

    @property
    def _halves(self) -> tuple[Int64, Int64]:
        order = np.random.default_rng([0, TRUTH_DRAW]).permutation(len(self._sample.source_eval))
        middle = len(order) // 2
        return np.sort(order[:middle]), np.sort(order[middle:])


class WordsWorld:
    """Word vectors and dictionaries."""

    def __init__(self, places: Places, data: WordsData) -> None:
        self.config, self.data = places.config, data

    def side(self, which: Which) -> Rows:
        return Rows(self._vectors(which)[1][: self.data.fit_words])

    def known(self, seed: int) -> tuple[Rows, Rows]:
        assert self.data.pairs is not None
        pairs = self._pairs(self.data.pairs)
        left, right = np.array(pairs, np.int64).T
        return _shuffled(Rows(self._vectors("source")[1], left), Rows(self._vectors("target")[1], right), seed)

    def truth(self, name: str) -> Words:
        assert self.data.dictionary is not None
        answers: dict[int, list[int]] = {}
        for left, right in self._pairs(self.data.dictionary):
            answers.setdefault(left, []).append(right)
        queries = np.array(list(answers), np.int64)
        source, target = (Rows(self._vectors(which)[1]) for which in ("source", "target"))
        return Words(source, target, queries, list(answers.values()))

    def _vectors(self, which: str) -> tuple[dict[str, int], Float32]:
        if which not in self._read:
            words, vectors = read_word_vectors(self.config.path(getattr(self.data, which)), self.data.words)
            self._read[which] = {word: i for i, word in enumerate(words)}, vectors
        return self._read[which]

    @cached_property
    def _read(self) -> dict[str, tuple[dict[str, int], Float32]]:
        return {}

    def _pairs(self, name: str) -> list[tuple[int, int]]:
        path = self.config.path(name)
        source, target = self._vectors("source")[0], self._vectors("target")[0]
        pairs = [(source[a], target[b]) for a, b in read_dictionary(path) if a in source and b in target]
        if not pairs:
            raise InputError(f"{path}: none of its words is among the {self.data.words:,} first of both sides")
        return pairs


def read_word_vectors(path: str, most: int) -> tuple[list[str], Float32]:
    """Words and their vectors (n, d), of the text format of word2vec and fastText: a word a line, then its numbers.

    A first line with the two counts is optional. Words that stand twice, and zero vectors, are left out.

    Raises
    ------
    InputError : a file that is missing, damaged or not UTF-8, or a line with another number of values
    """
    words: dict[str, None] = {}
    vectors: list[Float32] = []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            word, _, rest = line.rstrip().partition(" ")
            if number == 1 and len(rest.split()) == 1:
                continue
            try:
                vector = np.array(rest.split(), np.float32)
            except ValueError:
                raise InputError(f"{path}: line {number}: is no word followed by numbers") from None
            if vectors and len(vector) != len(vectors[0]):
                raise InputError(
                    f"{path}: line {number}: has {len(vector)} numbers, the first word has {len(vectors[0])}"
                )
            if word not in words and vector.any():
                words[word] = None
                vectors.append(vector)
            if len(words) == most:
                break
    if not vectors:
        raise InputError(f"{path}: holds no word vectors")
    return list(words), np.stack(vectors)


def read_dictionary(path: str) -> list[tuple[str, str]]:
    """The pairs of words of a dictionary, two a line; InputError for a line of another number, or from `open_text`."""
    pairs = []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            parts = line.split()
            if not parts:
                continue
            if len(parts) != 2:
                raise InputError(f"{path}: line {number}: has {len(parts)} words; two are expected")
            pairs.append((parts[0], parts[1]))
    return pairs


@contextmanager
def open_text(path: str) -> Iterator[TextIO]:
    """A text file, plain or as .gz; InputError where it is missing, damaged, or not UTF-8, as it is read."""
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        with gzip.open(path, "rt", encoding="utf8") if path.endswith(".gz") else open(path, encoding="utf8") as lines:
            yield lines
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8: {one_line(error)}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {one_line(error)}") from error


def open_rows(path: Path) -> npt.NDArray[Any]:
    """The vectors of a file: an .npy stays on disk, anything else is read whole; InputError as `open_source` gives."""
    if parse_uri(path).path.suffix.lower() != ".npy":
        return read_vectors(path)
    array: npt.NDArray[Any] = np.load(open_source(path).path, mmap_mode="r")
    return array


def _set_index(data: CorpusData, rows: int, part: str, name: str) -> Int64:
    """Which rows of a corpus are in a set: see `CorpusData.split`."""
    if data.split == "held out":
        return np.arange(rows)
    half = (rows - data.held_out) // 2
    if half < LEAST_HALF:
        raise InputError(f"{name}: has {rows:,} rows, too few to hold out {data.held_out:,} and divide the others")
    start = {"source": 0, "target": half, "held_out": rows - data.held_out}[part]
    return np.arange(start, start + (data.held_out if part == "held_out" else half))


def _scored(rows: int, most: int) -> Int64:
    """Which rows of a set are scored: so many at most, drawn once, in order."""
    return np.sort(np.random.default_rng([0, TRUTH_DRAW]).permutation(rows)[:most])


def _at(rows: Rows, positions: Int64) -> Rows:
    return Rows(rows.array, positions if rows.index is None else rows.index[positions], rows.name)


def _shuffled(source: Rows, target: Rows, seed: int) -> tuple[Rows, Rows]:
    """Aligned rows in the order in which a seed draws them."""
    order = np.random.default_rng([seed, PAIRS_DRAW]).permutation(len(source))
    return _at(source, order), _at(target, order)
