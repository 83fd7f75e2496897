"""Settings of a component, checked: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vec2vec.errors import ConfigError, InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

AnySettings = TypeVar("AnySettings", bound=BaseModel)


def make_settings(kind: type[AnySettings], settings: Mapping[str, Any], *, owner: str) -> AnySettings:
    """The settings of a component, which errors call `owner`.

    Raises
    ------
    ConfigError : an unknown key (the message names the nearest known one), or a value that will not do
    """
    known = list(kind.model_fields)
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"
            raise ConfigError(f"{owner} has no setting '{key}'; {hint}")
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        why = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # of several settings together
            raise ConfigError(f"the settings will not do for {owner}: {why}") from error
        raise ConfigError(
            f"{'.'.join(map(str, first['loc']))} = {first['input']!r} will not do for {owner}: {why}"
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file; InputError where it cannot be read, or is none."""
    return parse_toml(read_text(path), str(path))


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The settings that a TOML text gives; InputError, which calls it `name`, where it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is not a TOML file: {error}") from error


def read_text(path: Path) -> str:
    """The file's text; InputError where it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}") from error
