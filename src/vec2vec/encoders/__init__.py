"""Texts and images to vectors, by the name of the encoder, with the conventions of its card."""

from __future__ import annotations

from typing import Any

from vec2vec.encoders.base import Encoder, EncoderOptions, Identity, encode, make_options
from vec2vec.encoders.embedding import EmbedProgress, EmbedReport, embed, embed_file
from vec2vec.encoders.inputs import open_texts
from vec2vec.encoders.registry import ENCODERS, EncoderCard
from vec2vec.errors import ConfigError

__all__ = [
    "ENCODERS",
    "EmbedProgress",
    "EmbedReport",
    "Encoder",
    "EncoderCard",
    "EncoderOptions",
    "Identity",
    "embed",
    "embed_file",
    "encode",
    "get_encoder",
    "open_texts",
]


def get_encoder(name: str, **options: Any) -> Encoder:
    """An encoder, ready to embed.

    Parameters
    ----------
    name : a name in `ENCODERS` ("minilm"), a folder that sentence-transformers or model2vec saved ("./minilm", if it
        has a name of these), a hub id, "openai:MODEL", or the URL of an OpenAI-compatible endpoint with its model,
        "http://localhost:8000/v1::MODEL"
    **options : see `EncoderOptions`

    Raises
    ------
    ConfigError : an unknown name or option, or an option that this encoder cannot take
    MissingExtraError : the library that runs it is not installed; the message has the extra
    InputError : a model that is neither here nor to be had (the message has the command that fetches it), that cannot
        be loaded, or that is not what the registry says
    """
    return load_encoder(name, make_options(options))


def load_encoder(name: str, options: EncoderOptions) -> Encoder:
    """`get_encoder` with options that are checked already."""
    if is_endpoint(name) or options.base_url is not None:
        return _endpoint(name, options)
    from vec2vec.encoders.locate import locate

    located = locate(name, options)
    if located.family() == "static":
        from vec2vec.encoders.local import StaticEncoder

        return StaticEncoder(located, options)
    from vec2vec.encoders.local import SentenceTransformerEncoder

    return SentenceTransformerEncoder(located, options)


def is_endpoint(name: str) -> bool:
    """Whether an encoder of this name runs elsewhere: it takes no threads and no device."""
    return name.startswith(("http://", "https://", "openai:"))


def _endpoint(name: str, options: EncoderOptions) -> Encoder:
    from vec2vec.encoders.http import OPENAI, HttpEncoder

    if name.startswith(("http://", "https://")):
        base_url, _, model = name.partition("::")
        if options.base_url is not None:
            raise ConfigError("the encoder is a URL already: leave out --base-url")
    else:
        base_url, model = options.base_url or OPENAI, name.removeprefix("openai:")
    if not model:
        raise ConfigError(f"{name}: name the model of the endpoint, as in http://localhost:8000/v1::MODEL")
    return HttpEncoder(model, base_url, options)
