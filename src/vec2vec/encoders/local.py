"""Encoders that run here: sentence-transformers (CLIP with both its towers among them) and model2vec."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn.attention import SDPBackend, sdpa_kernel

from vec2vec.align import fast_products, find_device, limited_threads
from vec2vec.encoders.base import (
    CHARACTERS_A_TOKEN,
    DEFAULT_MAX_TOKENS,
    EncoderOptions,
    Identity,
    Item,
    check_dimensions,
    finish_vectors,
    plan_batches,
    refuse_options,
    require,
)
from vec2vec.encoders.locate import Located
from vec2vec.errors import InputError, MissingExtraError, Vec2VecWarning
from vec2vec.vectors import Float32, Int64, one_line

ENDPOINT_ONLY = ("base_url", "key_variable", "batch_rows", "concurrency", "requests_per_minute", "timeout", "retries")
BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536, "mps": 16_384}
SHORT = 128  # tokens; up to here plain products beat torch's fused attention, which is slow beside `fast_products`
IMAGE_TOKENS = 64  # what an image counts for in `batch_tokens`: the order of a tower's patches
PROBE = "What is it that the vectors of one model know about those of another?"


class SentenceTransformerEncoder:
    """A sentence-transformers model, or a CLIP. Texts are sorted by their tokens, and batched by them.

    Parameters
    ----------
    located : its files
    options : see `EncoderOptions`

    Raises
    ------
    MissingExtraError : sentence-transformers, or what its ONNX backend needs, is not installed
    InputError : a model that cannot be loaded, or whose pooling, normalisation, width or length is not what the
        registry says of it
    """

    def __init__(self, located: Located, options: EncoderOptions) -> None:
        self.name = located.name
        card = located.card
        refuse_options(self.name, options, ENDPOINT_ONLY)
        if card is not None and card.remote_code and not options.trust_remote_code:
            raise InputError(
                f"{self.name}: loading it runs Python code of {card.id}; allow that with --trust-remote-code "
                "(trust_remote_code=True) if you trust it"
            )
        self.device = find_device(options.device)
        self.dtype = _dtype(options.dtype, self.device)
        self.model = _load(located, options, self.device, self.dtype)
        self.images = located.family() == "clip"
        self.batch_tokens = options.batch_tokens or BATCH_TOKENS[self.device.type]
        self.threads = _threads(options.threads) if self.device.type == "cpu" else None
        own = _own_maximum(self.model, card.max_tokens if card else None)
        self.max_tokens = _choose_maximum(self.name, options.max_tokens, own)
        if not callable(
            getattr(self.model, "tokenizer", None)
        ):  # it does not cut: a table of vectors, not of model2vec
            refuse_options(self.name, options, ("max_tokens",))
            self.max_tokens = None
        elif self.max_tokens is not None:
            _check_room(self.name, self.max_tokens, self.model.tokenizer)
            self.model.max_seq_length = self.max_tokens
        self.prefix = card.prefix(options.prompt) if card else _own_prefix(self.model, options.prompt)
        full = self._forward([PROBE]).shape[1]
        if card is not None:
            _check_against_card(self.model, located, full, own)
        check_dimensions(self.name, options.dimensions, full, card.shorter if card else (), known=card is not None)
        self.dimensions = options.dimensions
        self.layer_norm = card is not None and card.layer_norm
        self.normalize = _has_module(self.model, "Normalize") or (card is not None and card.normalize)
        self.width = min(full, options.dimensions or full)
        self.identity = Identity(
            encoder=self.name,
            family=located.family(),
            revision=located.revision,
            dimensions=self.width,
            max_tokens=self.max_tokens,
            prompt=options.prompt,
            prefix=self.prefix,
            normalized=self.normalize,
            dtype=str(self.dtype).removeprefix("torch."),
            backend=options.backend,
        )

    def batches(self, items: Sequence[Item]) -> Iterator[tuple[Int64, Float32]]:
        """See `Encoder.batches`."""
        images = any(isinstance(item, Path) for item in items)
        if images and not self.images:
            raise InputError(f"{self.name}: embeds texts, not images; an encoder for both is clip")
        if images and not all(isinstance(item, Path) for item in items):
            raise InputError(f"{self.name}: texts and images are embedded apart")
        with limited_threads(self.threads):
            prepared = items if images else self._cut(items)
            lengths = [IMAGE_TOKENS] * len(items) if images else self._lengths(prepared)
            for positions in plan_batches(lengths, self.batch_tokens):
                batch = [prepared[i] for i in positions]
                yield positions, self._finish(self._forward([_open_image(p) for p in batch] if images else batch))

    def _finish(self, vectors: Float32) -> Float32:
        return finish_vectors(vectors, normalize=self.normalize, dimensions=self.dimensions, layer_norm=self.layer_norm)

    def _cut(self, items: Sequence[Item]) -> list[str]:
        """The texts, the longest cut where no token beyond can count: what keeps a text of megabytes cheap.

        A beginning that holds fewer tokens than count, as one of white space, is not enough: that text stays whole.
        """
        texts = [str(text) for text in items]
        if self.max_tokens is None:
            return texts
        most = CHARACTERS_A_TOKEN * self.max_tokens
        long = [i for i, text in enumerate(texts) if len(text) > most]
        beginnings = [texts[i][:most] for i in long]
        for i, beginning, tokens in zip(long, beginnings, self._lengths(beginnings), strict=True):
            if tokens >= self.max_tokens:
                texts[i] = beginning
        return texts

    def _lengths(self, texts: Sequence[Any]) -> list[int]:
        """The tokens of each text, as cut at the maximum."""
        tokenizer = getattr(self.model, "tokenizer", None)
        if not callable(tokenizer) or not texts:  # a table of vectors: what counts is the length
            return [len(text) // 4 + 1 for text in texts]
        prefixed = [self.prefix + text for text in texts] if self.prefix else list(texts)
        cut = self.max_tokens is not None
        ids = tokenizer(prefixed, truncation=cut, max_length=self.max_tokens, return_attention_mask=False)["input_ids"]
        return [len(row) for row in ids]

    def _forward(self, batch: list[Any]) -> Float32:
        """(k, d) float32: a batch through the model."""
        prepare = getattr(self.model, "preprocess", None) or self.model.tokenize  # before sentence-transformers 5.4
        with torch.inference_mode(), ExitStack() as fast:
            features = self._text_features(prepare, batch) if isinstance(batch[0], str) else prepare(batch)
            features = {k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
            if "pixel_values" in features:
                features["pixel_values"] = features["pixel_values"].to(self.dtype)
            if self.device.type == "cpu" and _fast_products_are_exact():
                fast.enter_context(fast_products())
                if "input_ids" in features and features["input_ids"].shape[1] <= SHORT:
                    fast.enter_context(sdpa_kernel(SDPBackend.MATH))
            vectors = self.model(features)["sentence_embedding"]
        out: Float32 = vectors.float().cpu().numpy()
        return out

    def _text_features(self, prepare: Any, batch: list[str]) -> dict[str, Any]:
        if self.prefix and prepare.__name__ == "preprocess":  # some poolings leave the prefix out, and have to know it
            features: dict[str, Any] = prepare(batch, prompt=self.prefix)
        else:
            features = prepare([self.prefix + text for text in batch])
        return features


class StaticEncoder:
    """A model2vec model: each text the mean of its tokens' vectors, without any network.

    Raises
    ------
    MissingExtraError : model2vec is not installed
    InputError : a folder that it cannot load, or a width that is not the registry's
    """

    images = False

    def __init__(self, located: Located, options: EncoderOptions) -> None:
        model2vec = require("model2vec", "static")
        self.name = located.name
        refuse_options(
            self.name, options, (*ENDPOINT_ONLY, "device", "dtype", "backend", "trust_remote_code", "batch_tokens")
        )
        try:
            self.model: Any = model2vec.StaticModel.from_pretrained(str(located.folder))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(f"{self.name}: is no model2vec model that can be loaded ({one_line(error)})") from error
        card = located.card
        full = int(self.model.dim)
        if card is not None and full != card.dimensions:
            raise InputError(f"{self.name}: its vectors have {full} dimensions, the registry says {card.dimensions}")
        check_dimensions(self.name, options.dimensions, full, card.shorter if card else (), known=card is not None)
        self.threads = options.threads
        self.dimensions = options.dimensions
        self.max_tokens = DEFAULT_MAX_TOKENS if options.max_tokens is None else (options.max_tokens or None)
        if options.max_tokens == 0:
            self.max_tokens = self.model.max_length
        self.normalize = bool(self.model.normalize)
        self.width = min(full, options.dimensions or full)
        self.identity = Identity(
            encoder=self.name,
            family="static",
            revision=located.revision,
            dimensions=self.width,
            max_tokens=self.max_tokens,
            prompt=options.prompt,
            prefix="",
            normalized=self.normalize,
            backend="numpy",
        )

    def batches(self, items: Sequence[Item]) -> Iterator[tuple[Int64, Float32]]:
        """See `Encoder.batches`. A text of which no token is known has the zero vector; it is named in an error."""
        if any(isinstance(item, Path) for item in items):
            raise InputError(f"{self.name}: embeds texts, not images; an encoder for both is clip")
        most = None if self.max_tokens is None else CHARACTERS_A_TOKEN * self.max_tokens
        for start in range(0, len(items), 1024):
            texts = [str(item)[:most] for item in items[start : start + 1024]]
            with limited_threads(self.threads), _limited_tokenizer(self.threads):
                vectors = self.model.encode(texts, max_length=self.max_tokens, use_multiprocessing=False)
            finished = finish_vectors(
                np.asarray(vectors, np.float32), normalize=self.normalize, dimensions=self.dimensions
            )
            yield np.arange(start, start + len(texts)), finished


def _load(located: Located, options: EncoderOptions, device: torch.device, dtype: torch.dtype) -> Any:
    library: Any = require("sentence_transformers", "encoders")
    if located.family() == "clip":
        require("PIL", "encoders")
    if options.backend == "onnx":
        require("optimum.onnxruntime", "onnx")
    more = {"backend": options.backend} if options.backend != "torch" else {}
    try:
        with _quiet_loading():
            model = library.SentenceTransformer(
                str(located.folder),
                device=str(device),
                trust_remote_code=options.trust_remote_code,
                local_files_only=not options.trust_remote_code,
                **more,
            )
    except ImportError as error:
        raise MissingExtraError(f"{located.name}: a library it needs cannot be loaded ({one_line(error)})") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, SafetensorError) as error:
        raise InputError(f"{located.name}: is no model that can be loaded ({one_line(error)})") from error
    if options.backend == "torch":
        model.to(dtype)
    return model.eval()


def _check_against_card(model: Any, located: Located, width: int, longest: int | None) -> None:
    """Raises InputError where the loaded model contradicts the registry, so that no wrong vectors are made."""
    card = located.card
    assert card is not None
    pooled = [_pooling(module) for module in model if type(module).__name__ == "Pooling"]
    found = pooled[0] if pooled else "projection"
    if found != card.pooling:
        raise InputError(
            f"{located.name}: its files pool by '{found}', the registry says '{card.pooling}' ({card.source} of "
            f"{card.id}); load it as a folder to take it as it is"
        )
    if _has_module(model, "Normalize") and not card.normalize:
        raise InputError(f"{located.name}: its files normalise its vectors, the registry says that they are not")
    if width != card.dimensions:
        raise InputError(f"{located.name}: its vectors have {width} dimensions, the registry says {card.dimensions}")
    if longest != card.max_tokens:
        warnings.warn(
            f"{located.name}: its files take {longest} tokens, the registry says {card.max_tokens}",
            Vec2VecWarning,
            stacklevel=3,
        )


def _pooling(module: Any) -> str:
    mode = getattr(module, "pooling_mode", None)
    if mode is None:  # before sentence-transformers 5.4
        mode = module.get_pooling_mode_str()
    return mode if isinstance(mode, str) else "+".join(mode)


def _has_module(model: Any, name: str) -> bool:
    return any(type(module).__name__ == name for module in model)


def _own_maximum(model: Any, otherwise: int | None) -> int | None:
    """The most tokens that a model takes; some give none, or a number that stands for none."""
    longest = getattr(model, "max_seq_length", None)
    if longest is None or not longest < 10**9:
        return otherwise
    return int(longest)


def _choose_maximum(name: str, wanted: int | None, own: int | None) -> int | None:
    """Where to cut texts."""
    if wanted == 0:
        return own
    if wanted is None:
        return DEFAULT_MAX_TOKENS if own is None else min(DEFAULT_MAX_TOKENS, own)
    if own is not None and wanted > own:
        raise InputError(f"{name}: takes at most {own} tokens; --max-tokens {wanted} is more")
    return wanted


def _check_room(name: str, most: int, tokenizer: Any) -> None:
    """Raises InputError where no token of a text has room beside those that the tokenizer adds."""
    count = getattr(tokenizer, "num_special_tokens_to_add", None)
    special = count(False) if callable(count) else 0
    if special >= most:
        raise InputError(
            f"{name}: adds {special} tokens of its own to each text, which leaves none of --max-tokens {most} for the "
            f"text; {special + 1} is the least"
        )


def _own_prefix(model: Any, prompt: str) -> str:
    """The prefix that a model outside the registry brings along, as sentence-transformers finds it."""
    prompts = getattr(model, "prompts", None) or {}
    names = {"query": ("query",), "document": ("document", "passage", "corpus")}.get(prompt, ())
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


@contextmanager
def _limited_tokenizer(threads: int | None) -> Iterator[None]:
    """Let tokenizers of one thread be so, within the block; of more, the first number that is asked for holds."""
    if threads is None:
        yield
        return
    name, value = ("TOKENIZERS_PARALLELISM", "false") if threads == 1 else ("RAYON_NUM_THREADS", str(threads))
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _threads(wanted: int | None) -> int:
    """CPU threads: those asked for; else as many as torch has, and no more than cores that this process may use."""
    if wanted:
        return wanted
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), usable)


@cache
def _fast_products_are_exact() -> bool:
    """Whether `fast_products` keeps float32's precision on this CPU: some round to bfloat16, which is too coarse."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 384, generator=generator) for _ in range(2))
    with fast_products():
        fast = torch.nn.functional.linear(a, b)
    return bool((fast - (a.double() @ b.double().T)).abs().max() < 1e-3)


def _open_image(path: Path) -> Any:
    """The picture in a file, in RGB."""
    image = require("PIL.Image", "encoders")
    try:
        with image.open(path) as opened:
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise InputError(f"{path}: is no image that can be read ({one_line(error)})") from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without the progress bars and notes of transformers between the lines of the command line."""
    logging: Any = require("transformers.utils.logging", "encoders")
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
