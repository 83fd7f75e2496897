"""The table of encoders: its shape, and what must agree in it."""

from __future__ import annotations

import pytest

from vec2vec.encoders import ENCODERS, EncoderCard, get_encoder
from vec2vec.encoders.registry import BY_ID, find_card
from vec2vec.errors import ConfigError

CARDS = pytest.mark.parametrize("card", ENCODERS.values(), ids=ENCODERS)

# as the issue lists them
NEEDED = {
    "gtr": "sentence-transformers/gtr-t5-base",
    "gte": "thenlper/gte-base",
    "e5": "intfloat/e5-base-v2",
    "stella": "infgrad/stella-base-en-v2",
    "granite": "ibm-granite/granite-embedding-278m-multilingual",
    "clip": "sentence-transformers/clip-ViT-B-32",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}


def test_the_papers_encoders_are_there() -> None:
    assert {name: ENCODERS[name].id for name in NEEDED} == NEEDED
    assert {"bge", "nomic", "arctic", "jina", "qwen3", "gemma", "potion"} < set(ENCODERS)


@CARDS
def test_an_entry_is_complete(card: EncoderCard) -> None:
    owner, _, model = card.id.partition("/")
    assert owner
    assert model
    assert card.family in ("sentence-transformers", "clip", "static")
    assert card.pooling in ("mean", "cls", "lasttoken", "projection")
    assert card.dimensions % 8 == 0
    assert 64 <= card.max_tokens <= 32768
    assert card.licence == card.licence.lower() != ""
    assert any(name in card.source for name in ("README.md", "config.json")), "names the file that it was taken from"


@CARDS
def test_an_entry_agrees_with_itself(card: EncoderCard) -> None:
    assert (card.pooling == "projection") == (card.family == "clip")
    assert card.layer_norm <= bool(card.shorter)
    if card.shorter:
        assert max(card.shorter) < card.dimensions
        assert card.normalize, "a vector that is cut has another norm"
    assert set(card.prompts) <= {"query", "document"}
    assert card.prefix("none") == ""
    assert all(prefix and prefix == prefix.lstrip() for prefix in card.prompts.values())
    if card.prompts:  # a document may go without a prefix, but then the query has one
        assert card.prefix("query")
        assert "README.md" in card.source
    assert (card.package is not None) == (card.id == NEEDED["minilm"])


def test_ids_are_distinct_and_found() -> None:
    assert len(BY_ID) == len(ENCODERS)
    for name, card in ENCODERS.items():
        assert find_card(name) is find_card(card.id) is card
    assert find_card("nobody/knows") is None


@pytest.mark.parametrize(
    ("name", "prompt", "prefix"),
    [
        ("e5", "query", "query: "),
        ("e5", "document", "passage: "),
        ("nomic", "query", "search_query: "),
        ("nomic", "document", "search_document: "),
        ("bge", "query", "Represent this sentence for searching relevant passages: "),
        ("bge", "document", ""),
        ("qwen3", "document", ""),
        ("gemma", "query", "task: search result | query: "),
        ("gemma", "document", "title: none | text: "),
        ("gtr", "query", ""),
    ],
)
def test_prefixes_are_those_of_the_cards(name: str, prompt: str, prefix: str) -> None:
    assert ENCODERS[name].prefix(prompt) == prefix


@pytest.mark.parametrize(("name", "hint"), [("minlm", "did you mean minilm"), ("zzzz", "give one of minilm, gtr")])
def test_an_unknown_name_is_an_error_that_helps(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        get_encoder(name)
