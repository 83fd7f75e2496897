"""``--set KEY=VALUE`` and ``--config``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vec2vec.errors import ConfigError


def own_options(*names: str) -> dict[str, str]:
    """For `options_of`: parameters that have an option of their own name."""
    return {name: f"--{name.replace('_', '-')}" for name in names}


def options_of(config: Path | None, settings: Sequence[str], own: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a TOML file and of ``--set``, which wins.

    Parameters
    ----------
    own : parameters that are no settings, and what gives them: an option or an argument, "" where nothing does

    Raises
    ------
    InputError
        The file cannot be read or is not TOML.
    ConfigError
        A parameter that is no setting, or a setting that is not KEY=VALUE.
    """
    from vec2vec.settings import read_toml

    options = ({} if config is None else read_toml(config)) | dict(map(parse_setting, settings))
    for key in sorted(options.keys() & own.keys()):
        raise ConfigError(f"{key} is not a setting{own[key] and f': use {own[key]}'}")
    return options


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``key=value``; the value is read as JSON (``3``, ``0.5``, ``true``, ``[1, 2]``), else taken as a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: write KEY=VALUE, such as --set rounds=60")
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        parsed = value
    return key.strip().replace("-", "_"), parsed
