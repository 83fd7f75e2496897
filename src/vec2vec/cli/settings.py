"""``--set KEY=VALUE`` and ``--config`` for commands other than ``fit``."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from vec2vec.cli.fit import parse_setting
from vec2vec.errors import ConfigError


def options_of(config: Mapping[str, Any], settings: Sequence[str], own: Container[str]) -> dict[str, Any]:
    """The settings of a file and of ``--set``, which wins.

    Raises
    ------
    ConfigError
        A setting that has an option of its own, or one that is not KEY=VALUE.
    """
    options = dict(config) | dict(map(parse_setting, settings))
    for key in options:
        if key in own:
            raise ConfigError(f"{key} has an option of its own: use --{key.replace('_', '-')}")
    return options
