"""What a benchmark's TOML file may say, checked as it is read: spaces, data, methods, searches, experiments."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vec2vec.errors import ConfigError
from vec2vec.settings import parse_toml, read_text

Rows: TypeAlias = Annotated[int, Field(ge=10)] | Literal["all"]
Measure = Literal["retrieval", "neighbours", "search"]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
LONGEST_NAME = 60  # bytes; three of them and some numbers are the name of a cell's file


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Space(Part):
    """An encoder: its vectors by the name of the data (row i for text i), or how it is run, or both.

    Attributes
    ----------
    label : what tables call it; its name by default
    encoder : what `vec2vec.get_encoder` takes
    options : of the encoder
    vectors : file of vectors by the name of the data
    """

    label: str | None = None
    encoder: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    vectors: dict[str, str] = Field(default_factory=dict)


class CorpusData(Part):
    """Texts in several spaces.

    Attributes
    ----------
    texts : a corpus (see `vec2vec.datasets.open_corpus`); it may be left out where all spaces have vectors of it, and
        neither domains nor searches are asked for
    domains : the column that names each text's domain
    split : "halves", the last `held_out` rows for scoring, the first and the second half of the others for the two
        sides; "hash", the paper's protocol, a keyed hash of each text; "held out", all rows for scoring
    held_out : rows for scoring; "hash" sets a tenth of the texts aside, or more where these rows take more
    rows : of a side at most, under "hash"
    seed : of the hash
    score_rows : in place of that of the whole file
    """

    kind: Literal["corpus"]
    texts: str | None = None
    domains: str | None = None
    split: Literal["halves", "hash", "held out"] = "halves"
    held_out: Count = 4096
    rows: Count | None = None
    seed: Seed = 0
    score_rows: Annotated[int, Field(ge=20)] | None = None


class FilesData(Part):
    """Vectors in files of their own.

    Attributes
    ----------
    source, target : the two sides, unpaired
    held_out : two row-aligned files, for scoring; without them nothing can be scored
    pairs : two row-aligned files, for the methods that see pairs
    source_label, target_label : what tables call the spaces
    """

    kind: Literal["files"]
    source: str
    target: str
    held_out: tuple[str, str] | None = None
    pairs: tuple[str, str] | None = None
    source_label: str = "source"
    target_label: str = "target"


class SampleData(Part):
    """The packaged sample. Half of its 2,000 held-out pairs serve as known pairs, the other half for scoring."""

    kind: Literal["sample"]


class WordsData(Part):
    """Word vectors in the text format of word2vec and fastText, the most frequent first.

    Attributes
    ----------
    source, target : .vec or .txt, also as .gz
    dictionary : two words a line, for scoring
    pairs : the same, for the methods that see pairs
    words : the first so many of either side are candidates
    fit_words : of them, those that a fit may see: rare words have poor vectors
    """

    kind: Literal["words"]
    source: str
    target: str
    dictionary: str | None = None
    pairs: str | None = None
    words: Count = 200_000
    fit_words: Count = 20_000
    source_label: str = "source"
    target_label: str = "target"


Data: TypeAlias = Annotated[CorpusData | FilesData | SampleData | WordsData, Field(discriminator="kind")]


class MethodEntry(Part):
    """A method with settings of its own, or how much of the grid a method takes part in.

    Attributes
    ----------
    method : a built-in one; the entry's own name by default
    settings : of it
    label : what tables call it
    rows, pairs : in place of those of the experiments
    seeds : at most so many of those of the experiments
    """

    method: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    rows: tuple[Rows, ...] | None = None
    pairs: tuple[Count, ...] | None = None
    seeds: Count | None = None


class SearchEntry(Part):
    """A set to search in, embedded by the encoders of the spaces.

    Attributes
    ----------
    kind : "known-item", the first sentences of held-out passages against the rest of each; "beir", a folder
    data : whose held-out texts are the passages
    folder, split : of a BEIR dataset
    passages : at most
    """

    kind: Literal["known-item", "beir"]
    data: str | None = None
    folder: str | None = None
    split: str = "test"
    passages: Count = 4096


class Experiment(Part):
    """A grid: every method on every pair of spaces, at every size and seed.

    Attributes
    ----------
    name : of its tables and figures
    data : what is fitted on
    spaces : pairs of names of spaces, source and target; of a corpus only
    methods : names
    rows : of a side, drawn by the seed
    pairs : known pairs, for the methods that see them
    seeds : of the draws and the fits
    score_on : data to score on: the data itself (its held-out rows; where domains are chosen, those of domains that
        both sides have), others for out of distribution, or one domain of them as DATA:DOMAIN;
        transport baselines are scored on the first
    measures : "retrieval", "neighbours", "search"; by default the first two where there is truth
    searches : names, for "search"
    source_domains, target_domains : only the texts of these are fitted on
    pools : numbers of candidates; "all" is every scored row
    """

    name: str
    title: str | None = None
    data: str
    spaces: tuple[tuple[str, str], ...] = ()
    methods: tuple[str, ...] = Field(min_length=1)
    rows: tuple[Rows, ...] = Field(default=("all",), min_length=1)
    pairs: tuple[Count, ...] = ()
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    score_on: tuple[str, ...] = ()
    measures: tuple[Measure, ...] | None = None
    searches: tuple[str, ...] = ()
    source_domains: tuple[str, ...] = ()
    target_domains: tuple[str, ...] = ()
    pools: tuple[Annotated[int, Field(ge=2)] | Literal["all"], ...] = Field(default=("all",), min_length=1)


class BenchConfig(Part):
    """A whole file.

    Attributes
    ----------
    title, note : over the tables
    root : where relative paths begin, itself relative to the working directory
    score_rows : rows of a set that are scored at most, drawn once; of a dictionary all are
    spaces, data, methods, search : what the experiments name
    experiments : at least one
    """

    title: str = "Benchmark"
    note: str = ""
    root: str = "."
    score_rows: Annotated[int, Field(ge=20)] = 4096
    spaces: dict[str, Space] = Field(default_factory=dict)
    data: dict[str, Data] = Field(min_length=1)
    methods: dict[str, MethodEntry] = Field(default_factory=dict)
    search: dict[str, SearchEntry] = Field(default_factory=dict)
    experiments: tuple[Experiment, ...] = Field(min_length=1)

    def path(self, name: str) -> str:
        """A path of the file, from the root where it is relative; `::column` stays."""
        place = Path(name).expanduser()
        return str(place if place.is_absolute() else Path(self.root).expanduser() / place)


_KINDS: dict[str, tuple[type[Part], ...]] = {
    "spaces": (Space,),
    "data": (CorpusData, FilesData, SampleData, WordsData),
    "methods": (MethodEntry,),
    "search": (SearchEntry,),
    "experiments": (Experiment,),
}
_BY_KIND: dict[str, type[Part]] = {"corpus": CorpusData, "files": FilesData, "sample": SampleData, "words": WordsData}


def shipped_configs() -> dict[str, str]:
    """The configurations that come with the library, by name: their TOML."""
    folder = files("vec2vec.bench") / "configs"
    found = {Path(item.name).stem: item.read_text(encoding="utf8") for item in folder.iterdir()}
    return dict(sorted(found.items()))


def load_config(name: str) -> tuple[BenchConfig, str]:
    """A configuration and its TOML, by the path of a file or the name of one that is shipped.

    Raises
    ------
    InputError : a file that is missing or no TOML
    ConfigError : an unknown key or name, or a value that will not do; the message says where
    """
    if not name.endswith(".toml"):
        shipped = shipped_configs()
        if name not in shipped:
            near = difflib.get_close_matches(name, shipped, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(
                f"there is no shipped configuration '{name}'{hint}; it is one of {', '.join(shipped)}, or a file that "
                "ends in .toml"
            )
        text = shipped[name]
    else:
        text = read_text(Path(name))
    return parse_config(parse_toml(text, name), name), text


def parse_config(tree: dict[str, Any], name: str) -> BenchConfig:
    """The configuration of a TOML file's tree; ConfigError as in `load_config`."""
    try:
        config = BenchConfig(**tree)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_explain(error)}") from error
    problem = next(_problems(config), None)
    if problem is not None:
        raise ConfigError(f"{name}: {problem}")
    return config


def _explain(error: ValidationError) -> str:
    """The first thing wrong, in one line; of an unknown key the nearest known one."""
    errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    where = ".".join(str(key) for key in first["loc"] if key not in _BY_KIND)
    if first["type"] != "extra_forbidden":
        given = "" if first["type"] == "missing" else f" = {first['input']!r}"
        return f"{where}{given}: {first['msg']}"
    known = _known_keys(first["loc"])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
    return f"{where}: is unknown; {hint}"


def _known_keys(place: Sequence[int | str]) -> list[str]:
    if len(place) == 1:
        return list(BenchConfig.model_fields)
    kinds: tuple[type[Part], ...] = tuple(_BY_KIND[str(key)] for key in place if key in _BY_KIND)
    return [key for kind in kinds or _KINDS[str(place[0])] for key in kind.model_fields]


def _problems(config: BenchConfig) -> Iterator[str]:
    """Names that nothing has or that will not do, and what does not go together.

    Files and methods are checked by the runner.
    """
    yield from _name_problems(config)
    names = [experiment.name for experiment in config.experiments]
    for name in names:
        if names.count(name) > 1:
            yield f"two experiments are named '{name}'"
    for name, entry in config.search.items():
        yield from _search_problems(config, name, entry)
    for experiment in config.experiments:
        for problem in _experiment_problems(config, experiment):
            yield f"experiment '{experiment.name}': {problem}"


def _name_problems(config: BenchConfig) -> Iterator[str]:
    experiments = [experiment.name for experiment in config.experiments]
    every: dict[str, Iterable[str]] = {
        "space": config.spaces,
        "data": config.data,
        "method": config.methods,
        "search": config.search,
        "experiment": experiments,
    }
    for what, names in every.items():
        for name in names:
            if not name or "/" in name or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
                yield f"{what} {name!r}: names become names of files: without '/', and of 1 to {LONGEST_NAME} bytes"
    for name in config.data:
        if ":" in name:
            yield f"data '{name}': a name has no ':', which parts data and domain in score_on"
    for name in experiments:
        if "," in name:
            yield f"experiment '{name}': a name has no ',', which parts the experiments of a cell in results.parquet"


def _search_problems(config: BenchConfig, name: str, entry: SearchEntry) -> Iterator[str]:
    if entry.kind == "beir" and entry.folder is None:
        yield f"search '{name}': needs the folder of the dataset"
    if entry.kind == "known-item":
        if entry.data is None:
            yield f"search '{name}': needs data, whose held-out texts are the passages"
            return
        yield from _unknown("data", entry.data, config.data)
        data = config.data[entry.data]
        if not isinstance(data, CorpusData) or data.texts is None:
            yield f"search '{name}': data '{entry.data}' has no texts"


def _experiment_problems(config: BenchConfig, experiment: Experiment) -> Iterator[str]:
    yield from _unknown("data", experiment.data, config.data)
    data = config.data[experiment.data]
    corpus = isinstance(data, CorpusData)
    if corpus and not experiment.spaces:
        yield "spaces: name at least one pair of spaces, as in spaces = [['minilm', 'use']]"
    if not corpus and experiment.spaces:
        yield f"spaces: data '{experiment.data}' of kind {data.kind} has its own two"
    if isinstance(data, CorpusData) and data.split == "held out":
        yield f"data '{experiment.data}' is for scoring only (split = 'held out')"
    for pair in experiment.spaces:
        for name in pair:
            yield from _unknown("space", name, config.spaces)
        if pair[0] == pair[1]:
            yield f"spaces: source and target are both '{pair[0]}'"
    yield from same_label("spaces", _space_labels(config, experiment))
    for name in experiment.searches:
        yield from _unknown("search", name, config.search)
    for wanted in experiment.score_on:
        yield from _score_problems(config, experiment, wanted)
    for which, domains in (("source", experiment.source_domains), ("target", experiment.target_domains)):
        if domains and not (isinstance(data, CorpusData) and data.domains and data.texts):
            yield f"{which}_domains: data '{experiment.data}' has no domains"
    yield from _measure_problems(config, experiment, data)


def _score_problems(config: BenchConfig, experiment: Experiment, wanted: str) -> Iterator[str]:
    name, _, domain = wanted.partition(":")
    yield from _unknown("data", name, config.data)
    data = config.data[name]
    if name != experiment.data and not (
        isinstance(data, CorpusData) and isinstance(config.data[experiment.data], CorpusData)
    ):
        yield f"score_on: '{name}' must be a corpus in the same spaces"
    if domain and not (isinstance(data, CorpusData) and data.domains and data.texts):
        yield f"score_on: data '{name}' has no domains"


def _measure_problems(config: BenchConfig, experiment: Experiment, data: Any) -> Iterator[str]:
    asked = experiment.measures or ()
    truth = has_truth(data)
    needy = [measure for measure in asked if measure != "search"]
    if needy and not truth:
        yield f"the measure '{needy[0]}' needs pairs, and data '{experiment.data}' has none: give it held_out"
    if isinstance(data, WordsData) and "neighbours" in asked:
        yield "the measure 'neighbours' is for texts; words are scored by their dictionary"
    if experiment.score_on and not truth:
        yield f"score_on needs pairs, and data '{experiment.data}' has none: give it held_out"
    if experiment.score_on and experiment.measures is not None and not needy:
        yield "score_on is for the measures 'retrieval' and 'neighbours'; name one of them, or leave out score_on"
    if ("search" in asked) != bool(experiment.searches):
        yield "the measure 'search' and searches go together: name both"
    for name in experiment.searches:
        if not experiment.spaces:
            yield f"search '{name}' needs encoders that run: data '{experiment.data}' is of kind {data.kind}"
        for space in dict.fromkeys(side for pair in experiment.spaces for side in pair):
            if config.spaces[space].encoder is None:
                yield f"search '{name}' needs encoders that run: space '{space}' has none"


def _space_labels(config: BenchConfig, experiment: Experiment) -> dict[str, str]:
    """What tables call the spaces of an experiment, by name."""
    data = config.data[experiment.data]
    if isinstance(data, FilesData | WordsData):
        return {"source": data.source_label, "target": data.target_label}
    return {name: config.spaces[name].label or name for pair in experiment.spaces for name in pair}


def same_label(what: str, labels: Mapping[str, str]) -> Iterator[str]:
    """A problem for each label, by name, that an earlier one is: tables and figures would put the two together."""
    first: dict[str, str] = {}
    for name, label in labels.items():
        if first.setdefault(label, name) != name:
            yield f"the {what} '{first[label]}' and '{name}' have the same label '{label}'; give one of them another"


def has_truth(data: Any) -> bool:
    """Whether a translation of these data can be scored."""
    if isinstance(data, FilesData):
        return data.held_out is not None
    return data.dictionary is not None if isinstance(data, WordsData) else True


def _unknown(what: str, name: str, known: dict[str, Any]) -> Iterator[str]:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known) or 'none'}"
        yield f"there is no {what} '{name}'; {hint}"
