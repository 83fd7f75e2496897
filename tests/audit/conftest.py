from __future__ import annotations

from pathlib import Path

import pytest
from audit_world import world
from tiny_encoders import models

__all__ = ["models", "world"]  # the fixtures


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps the cache of a test to itself."""
    monkeypatch.setenv("VEC2VEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
