"""Settings of a component, checked: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vec2vec.errors import ConfigError

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
        key = ".".join(map(str, first["loc"])) or "settings"
        raise ConfigError(f"{key} = {first['input']!r} will not do for {owner}: {first['msg']}") from error
