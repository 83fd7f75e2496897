"""Translate embeddings from one model's vector space into another's, without paired data.

The public names are imported on first use, so that ``import vec2vec`` loads neither torch nor pyarrow nor matplotlib.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vec2vec.align import Fit, fit
    from vec2vec.encoders import embed, get_encoder
    from vec2vec.errors import (
        ArtifactError,
        ConfigError,
        DimensionError,
        DivergenceError,
        InputError,
        MissingExtraError,
        OutputError,
        Vec2VecError,
        Vec2VecWarning,
    )
    from vec2vec.evaluate import Evaluation, evaluate
    from vec2vec.translator import Translator
    from vec2vec.vectors import VectorBatch
    from vec2vec.verdict import Verdict

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "ConfigError",
    "DimensionError",
    "DivergenceError",
    "Evaluation",
    "Fit",
    "InputError",
    "MissingExtraError",
    "OutputError",
    "Translator",
    "Vec2VecError",
    "Vec2VecWarning",
    "VectorBatch",
    "Verdict",
    "__version__",
    "embed",
    "evaluate",
    "fit",
    "get_encoder",
]

_HOME = {
    "Evaluation": "vec2vec.evaluate",
    "Fit": "vec2vec.align",
    "Translator": "vec2vec.translator",
    "VectorBatch": "vec2vec.vectors",
    "Verdict": "vec2vec.verdict",
    "embed": "vec2vec.encoders",
    "evaluate": "vec2vec.evaluate",
    "fit": "vec2vec.align",
    "get_encoder": "vec2vec.encoders",
}


def __getattr__(name: str) -> object:
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "vec2vec.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``vec2vec.evaluate`` the function, where importing the subpackage of that name would rebind it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "evaluate" and isinstance(value, ModuleType):
            value = value.evaluate
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
