"""Every error that vec2vec raises on purpose: what is wrong, where, and what to do about it, in one line."""

from __future__ import annotations


class Vec2VecError(Exception):
    """Base class. The command line prints the message and exits with code 2; catch this to handle all of them."""


class InputError(Vec2VecError, ValueError):
    """Vectors, files or arguments that cannot be used as they are."""


class DimensionError(InputError):
    """Vectors whose width is not the one that was asked for. The message carries both widths."""


class OutputError(Vec2VecError, OSError):
    """An output that cannot be written: it exists, its folder is missing, the disk is full."""


class ConfigError(Vec2VecError, ValueError):
    """A configuration key that does not exist, or a value out of its range."""


class DivergenceError(Vec2VecError, ArithmeticError):
    """A training whose loss is not finite, or beyond all bounds. The message names the loss and the step."""


class ArtifactError(Vec2VecError, ValueError):
    """A saved translator that is damaged, truncated, foreign, or newer than this version of vec2vec."""


class MissingExtraError(Vec2VecError, ImportError):
    """An optional dependency that is not installed. The message names the extra that brings it."""


class Vec2VecWarning(UserWarning):
    """Something to know about: results are usable, but read the message."""
