from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest

import vec2vec


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["vec2vec", "vec2vec.cli"])
def test_import_is_quick(module: str) -> None:
    heavy = {"torch", "pyarrow", "matplotlib", "scipy", "sklearn", "huggingface_hub", "pydantic"}
    loaded = python(f"import sys, {module}; print(*sys.modules)").split()
    assert heavy.isdisjoint(loaded)


def test_public_names_are_there() -> None:
    for name in vec2vec.__all__:
        assert getattr(vec2vec, name) is not None
    assert set(vec2vec.__all__) <= set(dir(vec2vec))


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'fitt'"):
        from vec2vec import fitt  # noqa: F401


def test_evaluate_stays_the_function_when_its_package_is_imported() -> None:
    package = importlib.import_module("vec2vec.evaluate")
    assert vec2vec.evaluate is package.evaluate
    assert python("import vec2vec.evaluate; print(callable(vec2vec.evaluate))") == "True"


def test_version_is_that_of_the_distribution() -> None:
    assert vec2vec.__version__ == version("vec2vec")
