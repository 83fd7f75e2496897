"""What every encoder gives, its options, and the batches that texts are embedded in."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from vec2vec.encoders.registry import Prompt
from vec2vec.errors import ConfigError, InputError, MissingExtraError
from vec2vec.settings import make_settings
from vec2vec.vectors import Float32, Int64

DEFAULT_MAX_TOKENS = 64
CHARACTERS_A_TOKEN = 500  # a text is cut to this many for each token that it may have, before it is tokenised
Item = str | Path  # a text, or the file of an image


class EncoderOptions(BaseModel):
    """How an encoder is run. Which of these an encoder takes depends on its family; one it cannot take is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_tokens: int | None = Field(
        default=None, ge=0, description="Cut texts at this many tokens; None: 64 (the paper's), 0: the model's own."
    )
    prompt: Prompt = Field(default="document", description="Whose prefix stands before a text.")
    dimensions: int | None = Field(default=None, ge=1, description="Cut vectors to their first dimensions.")
    revision: str | None = Field(default=None, description="Branch, tag or commit on the hub.")
    device: str = Field(default="auto", description="auto, cpu, cuda or mps.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto: bfloat16 on a GPU, float32 elsewhere."
    )
    backend: Literal["torch", "onnx"] = Field(default="torch", description="Of sentence-transformers.")
    batch_tokens: int | None = Field(
        default=None, ge=1, description="Tokens in a batch, padding included; None: 2,048 on a CPU, 65,536 on a GPU."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None: all cores.")
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with a model.")
    base_url: str | None = Field(default=None, description="Of an OpenAI-compatible endpoint, with /v1.")
    key_variable: str = Field(default="OPENAI_API_KEY", description="The environment variable that has the key.")
    batch_rows: int = Field(default=64, ge=1, le=2048, description="Texts in a request to an endpoint.")
    concurrency: int = Field(default=4, ge=1, le=64, description="Requests at a time.")
    requests_per_minute: float | None = Field(default=None, gt=0, description="At most; None: no limit.")
    timeout: float = Field(default=60.0, gt=0, le=86_400, description="Seconds for one request.")
    retries: int = Field(default=6, ge=0, description="Of a request that failed for now.")


def make_options(options: Mapping[str, Any]) -> EncoderOptions:
    """The options, checked; ConfigError for an unknown one (the message names the nearest known) or a bad value."""
    return make_settings(EncoderOptions, options, owner="an encoder")


def refuse_options(name: str, options: EncoderOptions, names: Sequence[str]) -> None:
    """Raises ConfigError if one of these options was given, where this encoder could only ignore it."""
    for key in names:
        if key in options.model_fields_set and getattr(options, key) != EncoderOptions.model_fields[key].default:
            raise ConfigError(f"the encoder {name} has no use for {key}; leave it out")


@dataclass(frozen=True)
class Identity:
    """All that decides which vector a text gets. Two runs with equal identities give the same vectors.

    Attributes
    ----------
    encoder : the name in the registry, the hub id, the folder or the model of an endpoint
    family : "sentence-transformers", "clip", "static" or "http"
    revision : the commit on the hub, the hash of a folder's files, the version of a package, or "" where the other
        side (an endpoint) does not tell
    dimensions : of the vectors
    max_tokens : where texts are cut; None where the encoder does not cut them itself
    prompt : the kind of text
    prefix : what is put before each text, literally
    normalized : whether each vector has norm 1
    dtype, backend : of the computation
    endpoint : the base URL, "" for local models
    """

    encoder: str
    family: str
    revision: str
    dimensions: int
    max_tokens: int | None
    prompt: str
    prefix: str
    normalized: bool
    dtype: str = "float32"
    backend: str = "torch"
    endpoint: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> str:
        """32 hexadecimal digits that differ wherever identities do."""
        tree = json.dumps(self.to_dict(), sort_keys=True).encode()
        return hashlib.blake2b(tree, digest_size=16).hexdigest()

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What differs from an identity as `to_dict` gave it, in words."""
        mine = self.to_dict()
        keys = [key for key in dict.fromkeys([*mine, *other]) if mine.get(key) != other.get(key)]
        return [f"{key} {other.get(key)!r} there, {mine.get(key)!r} now" for key in keys]


class ItemsError(InputError):
    """Items that an encoder could not embed.

    Attributes
    ----------
    first : the position of the first of them
    """

    def __init__(self, message: str, first: int) -> None:
        super().__init__(message)
        self.first = first


class Encoder(Protocol):
    """Texts (or images) to vectors.

    Attributes
    ----------
    identity : what decides on the vectors
    width : of the vectors
    images : it embeds image files, too
    """

    @property
    def identity(self) -> Identity: ...
    @property
    def width(self) -> int: ...
    @property
    def images(self) -> bool: ...

    def batches(self, items: Sequence[Item]) -> Iterator[tuple[Int64, Float32]]:
        """The vectors of all items, in batches of the encoder's choosing: positions in `items`, (k, width) vectors.

        Every position comes exactly once. An item is a text, or the path of an image file.

        Raises
        ------
        InputError : an item that cannot be embedded, or an endpoint that does not answer as it should (an ItemsError
            where that is known of some of the items)
        """
        ...


def encode(encoder: Encoder, items: Sequence[Item]) -> Float32:
    """(n, width) float32: the vectors of all items, in their order."""
    out = np.empty((len(items), encoder.width), np.float32)
    for positions, vectors in encoder.batches(items):
        out[positions] = vectors
    return out


def plan_batches(lengths: npt.ArrayLike, batch_tokens: int) -> list[Int64]:
    """Positions in batches of like lengths, longest first, each of at most `batch_tokens` with its padding.

    Parameters
    ----------
    lengths : (n,) tokens of each item
    batch_tokens : a batch holds one item at least, however long that is
    """
    sizes = np.maximum(np.asarray(lengths, np.int64), 1)
    order = np.argsort(-sizes, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // int(sizes[order[start]]))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def require(module: str, extra: str, what: str = "this encoder") -> ModuleType:
    """An optional library; MissingExtraError, with the extra that brings it, if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{what} needs the package {module}; install it with: pip install 'vec2vec[{extra}]'"
        ) from error


def folder_hash(folder: Path) -> str:
    """A hash of all files of a model's folder that are not hidden, names and contents: its revision."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in path.parts):  # of git, or of what downloaded it
            continue
        digest.update(path.as_posix().encode() + b"\0")
        with open(folder / path, "rb") as stream:
            while chunk := stream.read(2**22):
                digest.update(chunk)
        digest.update(b"\0")
    return f"blake2b:{digest.hexdigest()}"


def finish_vectors(x: Float32, *, normalize: bool, dimensions: int | None, layer_norm: bool = False) -> Float32:
    """(n, d) float32 as the card of the encoder has it: standardised, cut to `dimensions`, and brought to norm 1."""
    if dimensions is not None and dimensions < x.shape[1]:
        if layer_norm:  # as torch's layer_norm: biased variance, eps 1e-5
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = x[:, :dimensions]
    if normalize:
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(x, np.float32)


def check_dimensions(name: str, wanted: int | None, width: int, shorter: Container[int], *, known: bool) -> None:
    """Raises InputError where vectors cannot be cut to `wanted` dimensions."""
    if wanted is None or wanted == width:
        return
    if wanted > width:
        raise InputError(f"{name}: its vectors have {width} dimensions, fewer than the {wanted} that are asked for")
    if known and wanted not in shorter:
        may = f"only to one of {shorter}" if shorter else "not at all"
        raise InputError(f"{name}: its card says that its {width} dimensions may be cut {may}; {wanted} is asked for")
