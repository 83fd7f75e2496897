"""The grid of a benchmark: one cell a fit, with an id that all that decides its outcome goes into."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vec2vec.bench.config import BenchConfig, CorpusData, Experiment, Measure, Rows, has_truth, same_label
from vec2vec.bench.methods import BenchMethod, find_bench_method
from vec2vec.errors import ConfigError


@dataclass(frozen=True)
class Cell:
    """One fit and its scores.

    Attributes
    ----------
    data : what is fitted on
    source, target : names of spaces; "source" and "target" where the data have their own
    method : the name of the method
    kind, runs, settings : see `BenchMethod`
    rows : of a side; None where the method draws none
    pairs : known pairs, 0 for none
    seed : of the draws and the fit
    source_domains, target_domains : of the rows that are fitted on; () for all
    score_on : sets to score on
    pools : numbers of candidates; "all" is every scored row
    neighbours : measure shared neighbours, too
    searches : sets to search in
    inputs : fingerprints of what is read, by name
    """

    data: str
    source: str
    target: str
    method: str
    kind: str
    runs: str
    settings: Mapping[str, Any]
    rows: Rows | None
    pairs: int
    seed: int
    source_domains: tuple[str, ...]
    target_domains: tuple[str, ...]
    score_on: tuple[str, ...]
    pools: tuple[int | str, ...]
    neighbours: bool
    searches: tuple[str, ...]
    score_rows: int
    inputs: Mapping[str, Any]

    @property
    def id(self) -> str:
        """A readable beginning, and a hash of everything."""
        tree = json.dumps(asdict(self), sort_keys=True).encode()
        digest = hashlib.blake2b(tree, digest_size=6).hexdigest()
        size = "" if self.rows is None else f"-{self.rows}"
        known = f"-{self.pairs}-pairs" if self.pairs else ""
        return f"{self.method}-{self.source}-{self.target}{size}{known}-s{self.seed}-{digest}"

    @property
    def summary(self) -> str:
        """A line for the progress."""
        size = "" if self.rows is None else f", {self.rows:,} rows" if isinstance(self.rows, int) else ", all rows"
        known = f", {self.pairs:,} pairs" if self.pairs else ""
        return f"{self.method}, {self.source} → {self.target}{size}{known}, seed {self.seed}"

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Cell:
        """The cell that `asdict` and JSON made into `tree`."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class Grid:
    """Every cell once, in the order of work, and which of them each experiment needs.

    Attributes
    ----------
    cells : by id
    experiments : ids by the name of the experiment
    """

    cells: Mapping[str, Cell]
    experiments: Mapping[str, tuple[str, ...]]


def make_grid(config: BenchConfig, inputs: Mapping[str, Any] | None = None) -> Grid:
    """The cells of all experiments, those of the first seeds first, so that a stopped run has something of everything.

    Parameters
    ----------
    config : the configuration
    inputs : fingerprints of what is read, see `vec2vec.bench.places.fingerprints`

    Raises
    ------
    ConfigError : an unknown method or setting, one that no experiment uses, methods that tables could not tell apart,
        or pairs that nothing sees or that are missing
    """
    experiments = {}
    turns: dict[str, tuple[int, Cell]] = {}
    for experiment in config.experiments:
        ids = []
        for turn, cell in _cells(config, experiment, inputs or {}):
            ids.append(cell.id)
            turns.setdefault(cell.id, (turn, cell))
        experiments[experiment.name] = tuple(dict.fromkeys(ids))
    _check_used(config)
    ordered = sorted(turns.items(), key=lambda item: item[1][0])
    return Grid({name: cell for name, (_, cell) in ordered}, experiments)


def _check_used(config: BenchConfig) -> None:
    """ConfigError for an entry of a method that no experiment has."""
    used = {name for experiment in config.experiments for name in experiment.methods}
    for name in config.methods:
        if name not in used:
            near = difflib.get_close_matches(name, sorted(used), n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise ConfigError(f"method '{name}': no experiment names it{hint}; name it in one, or leave it out")


def _cells(config: BenchConfig, experiment: Experiment, inputs: Mapping[str, Any]) -> Iterator[tuple[int, Cell]]:
    methods = {}
    for name in experiment.methods:
        try:
            methods[name] = find_bench_method(name, config.methods)
        except ConfigError as error:
            raise ConfigError(f"experiment '{experiment.name}': {error}") from error
    for problem in same_label("methods", {name: method.label for name, method in methods.items()}):
        raise ConfigError(f"experiment '{experiment.name}': {problem}")
    _check_pairs(config, experiment, methods)
    for source, target in experiment.spaces or (("source", "target"),):
        for name, method in methods.items():
            sizes = _sizes(experiment, method)
            for turn, seed in enumerate(_seeds(experiment, method)):
                for rows in sizes:
                    for pairs in _pairs(experiment, method):
                        yield (
                            turn,
                            Cell(
                                data=experiment.data,
                                source=source,
                                target=target,
                                method=name,
                                kind=method.kind,
                                runs=method.runs,
                                settings=dict(method.settings),
                                rows=rows,
                                pairs=pairs,
                                seed=seed,
                                source_domains=experiment.source_domains,
                                target_domains=experiment.target_domains,
                                score_on=_score_on(config, experiment)[: 1 if method.kind == "matching" else None],
                                pools=experiment.pools,
                                neighbours="neighbours" in measures(config, experiment) and method.kind != "matching",
                                searches=() if method.kind in ("baseline", "matching") else experiment.searches,
                                score_rows=config.score_rows,
                                inputs=_inputs(experiment, source, target, inputs),
                            ),
                        )


def measures(config: BenchConfig, experiment: Experiment) -> tuple[Measure, ...]:
    """What is measured: what is asked for, or all that the data's truth allows but searches."""
    if experiment.measures is not None:
        return experiment.measures
    data = config.data[experiment.data]
    if not has_truth(data):
        return ()
    return ("retrieval",) if data.kind == "words" else ("retrieval", "neighbours")


def _score_on(config: BenchConfig, experiment: Experiment) -> tuple[str, ...]:
    if not set(measures(config, experiment)) & {"retrieval", "neighbours"}:
        return ()
    return experiment.score_on or (experiment.data,)


def _sizes(experiment: Experiment, method: BenchMethod) -> tuple[Rows | None, ...]:
    """Numbers of rows: all that are asked for, the greatest where rows serve for the mean and scale only, or none."""
    if method.kind in ("baseline", "matching"):
        return (None,)
    rows = method.entry.rows or experiment.rows
    if method.kind == "unpaired":
        return rows
    return ("all",) if "all" in rows else (max(one for one in rows if one != "all"),)


def _pairs(experiment: Experiment, method: BenchMethod) -> tuple[int, ...]:
    return (method.entry.pairs or experiment.pairs) if method.pairs else (0,)


def _seeds(experiment: Experiment, method: BenchMethod) -> tuple[int, ...]:
    """The seeds; the first alone for what does not depend on one."""
    return experiment.seeds[:1] if method.kind == "baseline" else experiment.seeds[: method.entry.seeds]


def _check_pairs(config: BenchConfig, experiment: Experiment, methods: Mapping[str, BenchMethod]) -> None:
    where = f"experiment '{experiment.name}'"
    data = config.data[experiment.data]
    has_pairs = isinstance(data, CorpusData) or data.kind == "sample" or getattr(data, "pairs", None) is not None
    truth = has_truth(data)
    for name, method in methods.items():
        if method.pairs and not has_pairs:
            raise ConfigError(f"{where}: the method '{name}' needs pairs, and data '{experiment.data}' has none")
        if method.pairs and not _pairs(experiment, method):
            raise ConfigError(f"{where}: the method '{name}' needs pairs: say how many, as in pairs = [100, 1000]")
        if method.pairs and min(_pairs(experiment, method)) < 10:
            raise ConfigError(f"{where}: the method '{name}' needs 10 pairs at least")
        if not method.fits and not truth:
            raise ConfigError(f"{where}: the method '{name}' is scored on pairs, and data '{experiment.data}' has none")
        if not method.fits and data.kind == "words":
            raise ConfigError(f"{where}: the method '{name}' is for texts; data '{experiment.data}' are words")
    if experiment.pairs and not any(method.pairs for method in methods.values()):
        raise ConfigError(f"{where}: none of its methods sees pairs; leave out pairs")


def _inputs(experiment: Experiment, source: str, target: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    data = {name.partition(":")[0] for name in (experiment.data, *experiment.score_on)}
    names = {f"data {name}" for name in data}
    names |= {f"space {space} on {name}" for name in data for space in (source, target)}
    names |= {f"search {name}" for name in experiment.searches}
    names |= {f"encoder {space}" for space in (source, target) if experiment.searches}
    return {name: inputs[name] for name in sorted(names) if name in inputs}
