"""The methods of a benchmark by name: fitters, upper bounds that see pairs, baselines, matchings by transport."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vec2vec.bench.config import MethodEntry
from vec2vec.errors import ConfigError

Kind = Literal["unpaired", "few pairs", "pairs", "baseline", "matching"]


@dataclass(frozen=True)
class BenchMethod:
    """A method as a cell runs it.

    Attributes
    ----------
    label : what tables call it
    kind : what it sees: unpaired rows; these and pairs; pairs alone; nothing; the very texts that are scored
    runs : the name in `vec2vec.align.METHODS` or `vec2vec.align.transport.MATCHINGS`, or of the baseline
    settings : of it
    entry : how much of the grid it takes part in
    """

    label: str
    kind: Kind
    runs: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    entry: MethodEntry = field(default_factory=MethodEntry)

    @property
    def fits(self) -> bool:
        """Whether it is a fitter, which gives a map and a verdict."""
        return self.kind not in ("baseline", "matching")

    @property
    def pairs(self) -> bool:
        """Whether it sees known pairs."""
        return self.kind in ("pairs", "few pairs")


BUILT_IN: Mapping[str, BenchMethod] = {
    "sinkhorn": BenchMethod("sinkhorn", "unpaired", "sinkhorn"),
    "mini": BenchMethod("mini-vec2vec", "unpaired", "mini"),
    "vec2vec": BenchMethod("vec2vec (warm start)", "unpaired", "vec2vec", {"init": "sinkhorn"}),
    "vec2vec-scratch": BenchMethod("vec2vec (from scratch)", "unpaired", "vec2vec", {"init": "random"}),
    "few-pairs": BenchMethod("few pairs + unpaired", "few pairs", "few-pairs"),
    "procrustes": BenchMethod("Procrustes", "pairs", "procrustes"),
    "procrustes-whitened": BenchMethod("Procrustes, partially whitened", "pairs", "procrustes", {"whitening": 0.4}),
    "ridge": BenchMethod("ridge", "pairs", "ridge"),
    "identity": BenchMethod("identity", "baseline", "identity"),
    "mean-vector": BenchMethod("mean vector", "baseline", "mean-vector"),
    "chance": BenchMethod("chance", "baseline", "chance"),
    "ot-emd": BenchMethod("OT, exact", "matching", "ot-emd"),
    "ot-sinkhorn": BenchMethod("OT, entropic", "matching", "ot-sinkhorn"),
    "ot-gw": BenchMethod("Gromov-Wasserstein, entropic", "matching", "ot-gw"),
    "ot-gw-low-rank": BenchMethod("Gromov-Wasserstein, low-rank", "matching", "ot-gw-low-rank"),
}


def find_bench_method(name: str, entries: Mapping[str, MethodEntry]) -> BenchMethod:
    """A method by the name of an entry of the configuration, or a built-in one, its settings checked.

    Raises
    ------
    ConfigError : an unknown method (the message names the nearest known one) or setting, or a value that will not do
    """
    entry = entries.get(name, MethodEntry())
    base = entry.method or name
    if base not in BUILT_IN:
        known = [*BUILT_IN, *entries]
        near = difflib.get_close_matches(base, [one for one in known if one != base], n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(dict.fromkeys(known))}"
        raise ConfigError(f"there is no method '{base}'; {hint}")
    found = BUILT_IN[base]
    label = entry.label or (found.label if base == name else name)
    method = BenchMethod(label, found.kind, found.runs, {**found.settings, **entry.settings}, entry)
    check_settings(method)
    if entry.rows and not method.fits:
        raise ConfigError(f"the method '{name}' is fitted on no rows; leave out its rows")
    if entry.pairs and not method.pairs:
        raise ConfigError(f"the method '{name}' sees no pairs; leave out its pairs")
    return method


def check_settings(method: BenchMethod) -> None:
    """ConfigError if the settings will not do for the method, or it is not there."""
    if method.kind == "matching":
        from vec2vec.align.transport import MATCHINGS
        from vec2vec.settings import make_settings

        make_settings(MATCHINGS[method.runs].config, method.settings, owner=f"the method {method.runs}")
    elif method.kind == "baseline":
        if method.settings:
            raise ConfigError(f"the method {method.runs} has no settings; leave out {', '.join(method.settings)}")
    else:
        from vec2vec.align.base import find_method, make_config

        make_config(find_method(method.runs).load()[0], method.settings, method=method.runs)
