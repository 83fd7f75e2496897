"""Texts cut to their first tokens, as the paper embeds sequences of 64 tokens.

In the paper each encoder cuts at 64 tokens of its own tokenizer, special tokens counted. `vec2vec embed` does that by
itself. To cut the texts beforehand, so that all encoders see the same words, name the tokenizer; there is no default.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from vec2vec.datasets.base import Record, Tally
from vec2vec.errors import InputError, MissingExtraError
from vec2vec.vectors import one_line

WHITESPACE = "whitespace"
MAX_TOKENS = 64  # the paper's
CHUNK = 256  # texts at a time
LIKELY_CHARS = 64  # characters a token, at most, of nearly all texts


class Cutter(Protocol):
    """Cuts texts to their first `max_tokens` tokens."""

    tokenizer: str
    max_tokens: int

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The beginning of each text that holds its first tokens; the text itself where it has no more than these."""
        ...


def open_cutter(tokenizer: str, max_tokens: int = MAX_TOKENS) -> Cutter:
    """What cuts texts by a tokenizer.

    Parameters
    ----------
    tokenizer : "whitespace" for words between spaces (so the paper's preparation of MIMIC and Enron does); else a
        `tokenizer.json`, a model's folder that holds one, or a model's name on the hub
    max_tokens : special tokens counted, as in the encoder

    Raises
    ------
    MissingExtraError : the `tokenizers` library is not installed
    InputError : no such tokenizer, or too few tokens for its special ones
    """
    if max_tokens < 1:
        raise InputError(f"max_tokens is {max_tokens}; it can be 1 or more")
    return Words(max_tokens) if tokenizer == WHITESPACE else Tokens(tokenizer, max_tokens)


def cut_records(records: Iterable[Record], cutter: Cutter, tally: Tally) -> Iterator[Record]:
    """The records, their texts cut; `tally.cut` counts those that became shorter."""
    stream = iter(records)
    while chunk := list(islice(stream, CHUNK)):
        for record, text in zip(chunk, cutter([record.text for record in chunk]), strict=True):
            if len(text) < len(record.text):
                tally.cut += 1
                yield replace(record, text=text)
            else:
                yield record


class Words:
    """A `Cutter` by white space."""

    tokenizer = WHITESPACE

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    def __call__(self, texts: Sequence[str]) -> list[str]:
        return [self._cut(text) for text in texts]

    def _cut(self, text: str) -> str:
        words = text.split(None, self.max_tokens)
        return text[: len(text) - len(words[-1])].rstrip() if len(words) > self.max_tokens else text


class Tokens:
    """A `Cutter` by the `tokenizers` library: text[:end], where `end` is that of the last token that fits."""

    def __init__(self, tokenizer: str, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._tokenizer = _load(tokenizer)
        special = self._tokenizer.num_special_tokens_to_add(False)
        if special >= max_tokens:
            raise InputError(
                f"{tokenizer}: adds {special} special tokens, which leaves none of {max_tokens} for the text"
            )
        self._room = max_tokens - special
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._room + 1)  # one more tells whether there are more

    def __call__(self, texts: Sequence[str]) -> list[str]:
        # Of a very long text its beginning will do, unless its tokens are so long that they reach near its end.
        likely = LIKELY_CHARS * self._room
        ends = self._ends([text[:likely] for text in texts])
        unsure = [i for i, end in enumerate(ends) if len(texts[i]) > likely and (end is None or 2 * end > likely)]
        for i, end in zip(unsure, self._ends([texts[i] for i in unsure]), strict=True):
            ends[i] = end
        return [text if end is None else text[:end] for text, end in zip(texts, ends, strict=True)]

    def _ends(self, texts: list[str]) -> list[int | None]:
        """Where each text is to be cut; None where all of it fits."""
        if not texts:
            return []
        found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [one.offsets[self._room - 1][1] if len(one.ids) > self._room else None for one in found]


def _load(name: str) -> Any:
    try:
        library = importlib.import_module("tokenizers")
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: cutting by a model's tokenizer needs the `tokenizers` library: pip install 'vec2vec[datasets]'"
        ) from error
    path = Path(name).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path if path.is_file() else _download(name)
    if not file.is_file():
        raise InputError(f"{name}: there is no tokenizer.json in this folder")
    try:
        return library.Tokenizer.from_file(str(file))
    except Exception as error:  # the library, written in Rust, raises nothing narrower
        raise InputError(f"{file}: is no tokenizer ({one_line(error)})") from error


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, "tokenizer.json"))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{name}: there is no such file or folder, and on the hub it is neither in the cache nor reachable; where "
            f"the hub is in reach, fetch it with `hf download {name} tokenizer.json`"
        ) from error
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(f"{name}: the hub has no tokenizer.json of this name ({one_line(error)})") from error
