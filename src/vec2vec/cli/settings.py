"""``--set KEY=VALUE`` and ``--config`` for commands other than ``fit``."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from vec2vec.cli.fit import parse_setting
from vec2vec.errors import ConfigError


def options_of(config: Path | None, settings: Sequence[str], own: Container[str]) -> dict[str, Any]:
    """The settings of a TOML file and of ``--set``, which wins.

    Raises
    ------
    InputError
        The file cannot be read or is not TOML.
    ConfigError
        A setting that has an option of its own, or one that is not KEY=VALUE.
    """
    from vec2vec.settings import read_toml

    options = ({} if config is None else read_toml(config)) | dict(map(parse_setting, settings))
    for key in options:
        if key in own:
            raise ConfigError(f"{key} has an option of its own: use --{key.replace('_', '-')}")
    return options
