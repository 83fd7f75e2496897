"""Datasets of the hub, or folders laid out like them, through the `datasets` library: cached and memory-mapped."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vec2vec.datasets.base import Fault, Row, check_column
from vec2vec.datasets.files import cells_of, is_text
from vec2vec.errors import InputError, MissingExtraError
from vec2vec.vectors import one_line

SCHEME = "hf:"
BATCH_ROWS = 256


class HubUri(NamedTuple):
    """hf:NAME:SPLIT:COLUMN:CONFIG in its parts; all but the name may be left out or empty."""

    name: str
    split: str | None = None
    column: str | None = None
    config: str | None = None


def parse_hub_uri(uri: str) -> HubUri:
    """The parts of an `hf:` uri.

    Raises
    ------
    InputError : no name, or too many parts
    """
    parts = uri.removeprefix(SCHEME).split(":")
    if not parts[0] or len(parts) > 4:
        raise InputError(f"{uri}: is no hub dataset; write it as hf:NAME, hf:NAME:SPLIT:COLUMN or …:COLUMN:CONFIG")
    name, *rest = parts
    return HubUri(name, *(part or None for part in rest))


class HubDataset:
    """A `TextSource` over the splits of a dataset.

    It is downloaded into the library's cache once, and read from there afterwards, also without a connection.

    Parameters
    ----------
    path : name on the hub, or a local folder
    config, split, revision : as in `datasets.load_dataset`; without a split, all of them are read
    stream : read from the hub as it is needed, and store nothing
    scheme : what stands before a folder in a uri, for the error that tells how to fetch it

    Raises
    ------
    MissingExtraError : the `datasets` library is not installed
    InputError : no such dataset, config or split, or it is neither cached nor reachable
    """

    def __init__(
        self,
        path: str,
        *,
        config: str | None = None,
        split: str | None = None,
        revision: str | None = None,
        stream: bool = False,
        scheme: str = "hf",
    ) -> None:
        self.name = ":".join([SCHEME + path, *([split] if split else [])])
        self._path, self._scheme = path, scheme
        local = is_local(path)
        if local and not Path(path).expanduser().is_dir():
            raise InputError(f"{path}: there is no such folder")
        library = _library(self.name)
        with self._failures():
            found = library.load_dataset(
                str(Path(path).expanduser()) if local else path,
                config,
                split=split,
                revision=revision,
                streaming=stream,
            )
        self._splits = {split.partition("[")[0]: found} if split else dict(found)
        if not self._splits:
            raise InputError(f"{self.name}: has no splits")
        first = next(iter(self._splits.values()))
        with self._failures():
            self._features = dict(first.features or {}) or _peek(first)
        self.names = tuple(self._features)
        self.text_names = tuple(name for name, feature in self._features.items() if _holds_text(feature))

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        for column in columns:
            check_column(self.name, column, self.names)
        for split, dataset in self._splits.items():
            number = 0
            for table in self._tables(dataset, columns):
                cells = [_named(self._features[name], cells_of(table.column(name))) for name in columns]
                for values in zip(*cells, strict=True):
                    fault = next((value for value in values if isinstance(value, Fault)), None)
                    held = {} if fault else dict(zip(columns, values, strict=True))
                    yield Row(number, f"row {number} of '{split}' (counted from 0)", held, fault, split)
                    number += 1

    def _tables(self, dataset: Any, columns: Sequence[str]) -> Iterator[Any]:
        batches = dataset.select_columns(list(columns)).with_format("arrow").iter(batch_size=BATCH_ROWS)
        while True:
            with self._failures():
                table = next(batches, None)
            if table is None:
                return
            yield table

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Whatever the library raises becomes an InputError in one line; its own notes on retries are not shown."""
        library = _library(self.name)
        logs = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
        levels = [log.level for log in logs]
        bars = library.is_progress_bar_enabled()
        for log in logs:
            log.setLevel(logging.CRITICAL)
        if not sys.stderr.isatty():
            library.disable_progress_bars()
        try:
            yield
        except library.exceptions.DatasetNotFoundError as error:
            raise InputError(
                f"{self.name}: the hub has no such dataset, or you have no access to it: check the name, accept its "
                "terms on the hub where it has some, and log in with `hf auth login`"
            ) from error
        except ConnectionError as error:
            folder = self._path.rpartition("/")[2]
            raise InputError(
                f"{self.name}: is neither in the cache nor reachable; where the hub is in reach, fetch it with "
                f"`{fetch_command(self._path)}`, and name the folder in place of the dataset, as in "
                f"{self._scheme}:./{folder}"
            ) from error
        except (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError) as error:
            raise InputError(f"{self.name}: cannot be read: {one_line(error.__cause__ or error)}") from error
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
            if bars:
                library.enable_progress_bars()


def is_local(path: str) -> bool:
    """Whether this names a folder: it says so by how it starts, or there is one."""
    return path.startswith((".", "/", "~")) or Path(path).is_dir()


def fetch_command(name: str) -> str:
    """The command that fetches a dataset into a folder."""
    return f"hf download {name} --repo-type dataset --local-dir {name.rpartition('/')[2]}"


def _library(name: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: hub datasets need the `datasets` library: pip install 'vec2vec[datasets]'"
        ) from error


def _peek(dataset: Any) -> dict[str, Any]:
    """The features of a stream that does not declare them: the first row, with its values in their place."""
    return dict(next(iter(dataset.take(1)), {}))


def _holds_text(feature: Any) -> bool:
    kind = getattr(feature, "pa_type", None)
    return isinstance(feature, str) or (kind is not None and is_text(kind))


def _named(feature: Any, values: list[Any]) -> list[Any]:
    """Numbers of a class, or lists of them, as the names of the class."""
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    if not names:
        return values
    return [_name(names, value) for value in values]


def _name(names: Sequence[str], value: Any) -> Any:
    if isinstance(value, list):
        return [_name(names, item) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def refuse_hub_settings(name: str, config: str | None, revision: str | None, stream: bool) -> None:
    """Raises InputError if one of these is given for what is no dataset of the hub."""
    if config is not None or revision is not None or stream:
        raise InputError(f"{name}: is a local copy; config, revision and stream are for datasets of the hub")
