"""What every fitter shares: its configuration, its progress, what it gives, and where it is found by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from vec2vec.errors import ConfigError
from vec2vec.preprocess import Preprocessor
from vec2vec.settings import make_settings
from vec2vec.translator import NetworkSpace, Space, Translator, linear_spaces
from vec2vec.vectors import BadRow
from vec2vec.verdict import Verdict


@dataclass(frozen=True)
class Progress:
    """Where a fit is.

    Attributes
    ----------
    stage : what it does, in words
    step, total : of this stage
    score : the current label-free score, None where there is none yet
    remaining : seconds that the whole fit may still take, None where that is unknown
    losses : of a training, by name
    """

    stage: str
    step: int
    total: int
    score: float | None = None
    remaining: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)


ProgressCallback = Callable[[Progress], None]


def more_follows(progress: ProgressCallback | None) -> ProgressCallback | None:
    """The callback for what comes before something else: how long the whole fit may still take is unknown then."""
    if progress is None:
        return None
    return lambda told: progress(replace(told, remaining=None))


class FitConfig(BaseModel):
    """The settings that all methods have. A method's own settings are in a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_rows: int = Field(default=65_536, ge=2, description="Rows a side that are held in memory at most.")

    @property
    def judges(self) -> bool:
        """Whether the fit has a verdict of its own; else it gets a second opinion, which is a search from nothing."""
        return True


AnyConfig = TypeVar("AnyConfig", bound=FitConfig)


def make_config(kind: type[AnyConfig], settings: Mapping[str, Any], *, method: str) -> AnyConfig:
    """The settings of a method, checked.

    Raises
    ------
    ConfigError : an unknown key (the message names the nearest known one), or a value that will not do
    """
    return make_settings(kind, settings, owner=f"the method {method}")


@dataclass(frozen=True, eq=False)
class LinearFit:
    """What a linear fitter gives: z_target is about z_source @ weight.

    Attributes
    ----------
    weight : (d_source, d_target), between the preprocessed spaces
    history : a dictionary for each step worth keeping
    source, target : the preprocessors that the weight belongs to
    verdict : None where the method does not judge itself
    backward : (d_target, d_source) for the way back; None is the transpose of `weight`
    """

    weight: npt.NDArray[np.floating[Any]]
    history: list[dict[str, Any]]
    source: Preprocessor
    target: Preprocessor
    verdict: Verdict | None = None
    backward: npt.NDArray[np.floating[Any]] | None = None

    def spaces(self) -> tuple[Space, Space]:
        """The two spaces of the translator."""
        return linear_spaces(self.source, self.target, self.weight, backward=self.backward)


@dataclass(frozen=True, eq=False)
class SpaceFit:
    """What a fitter gives that makes the spaces itself: linear ones whose bases decide the latent, or a network's.

    Attributes
    ----------
    source, target : the two spaces
    history : a dictionary for each step worth keeping
    verdict : None where the method does not judge itself
    """

    source: Space | NetworkSpace
    target: Space | NetworkSpace
    history: list[dict[str, Any]]
    verdict: Verdict | None = None

    def spaces(self) -> tuple[Space | NetworkSpace, Space | NetworkSpace]:
        """The two spaces of the translator."""
        return self.source, self.target


@dataclass(frozen=True, eq=False)
class Fit:
    """What `vec2vec.fit` gives.

    Attributes
    ----------
    translator : carries the verdict and the record with it when it is saved
    verdict : the label-free judgement
    history : the steps of the fit
    record : method, seed, rows, pairs, config, seconds, versions, device, threads, names
    skipped : the bad rows that were left out, by the input that they stand in: the file, or "source". Of an input that
        was sampled, those that were drawn.
    """

    translator: Translator
    verdict: Verdict
    history: list[dict[str, Any]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, tuple[BadRow, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """Where a method is found: it is imported when it is used.

    Attributes
    ----------
    module : its module
    config : the name, there, of its subclass of `FitConfig`
    function : the name, there, of its ``(source, target, config, *, seed, progress, device)`` that gives
        a `LinearFit` or a `SpaceFit`
    pairs : it uses known pairs: its function also takes ``pairs=(a, b)``
    trains : it trains networks, whose losses are in the history
    """

    module: str
    config: str
    function: str = "fit"
    pairs: bool = False
    trains: bool = False

    def load(self) -> tuple[type[FitConfig], Callable[..., LinearFit | SpaceFit]]:
        """The settings' class and the function, imported now."""
        module = import_module(self.module)
        return getattr(module, self.config), getattr(module, self.function)


METHODS: dict[str, Method] = {
    "sinkhorn": Method("vec2vec.align.sinkhorn", "SinkhornConfig"),
    "vec2vec": Method("vec2vec.align.adversarial", "Vec2VecConfig", trains=True),
    "mini": Method("vec2vec.align.mini", "MiniConfig"),
    "few-pairs": Method("vec2vec.align.few_pairs", "FewPairsConfig", pairs=True),
    "procrustes": Method("vec2vec.align.paired", "ProcrustesConfig", "fit_procrustes", pairs=True),
    "ridge": Method("vec2vec.align.paired", "RidgeConfig", "fit_ridge", pairs=True),
}


def find_method(name: str) -> Method:
    """The method of this name, or a ConfigError that names the known ones."""
    if name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(f"there is no method '{name}'{hint}; the methods are {', '.join(METHODS)}")
    return METHODS[name]


def choose_method(name: str | None, *, pairs: bool) -> tuple[str, Method]:
    """The method of this name, or the default for a fit with pairs, or without; and its name.

    Raises
    ------
    ConfigError : an unknown method, one that needs pairs where there are none, or has no use for those that there are
    """
    if name is None:
        name = "few-pairs" if pairs else "sinkhorn"
    found = find_method(name)
    if found.pairs and not pairs:
        raise ConfigError(f"the method {name} needs known pairs: pairs=, or vec2vec fit --pairs FILE")
    if pairs and not found.pairs:
        raise ConfigError(f"the method {name} uses no pairs: leave them out, or choose few-pairs, procrustes or ridge")
    return name, found
