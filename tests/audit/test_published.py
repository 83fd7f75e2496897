"""The published inverters of vec2text. That library cannot stand beside the pinned transformers: a module with its
calls, and with the shapes that they take and give, stands in for it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_encoders import save_static
from transformers import BatchEncoding

from vec2vec.audit.inversion.published import PublishedInverter
from vec2vec.audit.inversion.section import Tools, invert
from vec2vec.audit.settings import make_audit_settings
from vec2vec.encoders import encode, get_encoder
from vec2vec.errors import InputError, MissingExtraError

TEXTS = ["the river flows", "a doctor sings", "music of the house", "a small river"] * 5


@pytest.fixture
def encoder(tmp_path):
    save_static(tmp_path / "static")
    return get_encoder(str(tmp_path / "static"), max_tokens=16)


@pytest.fixture
def library(monkeypatch, encoder):
    """Looks the vectors up in those of TEXTS."""
    known = torch.from_numpy(encode(encoder, TEXTS))
    asked: list[dict] = []

    class Model(torch.nn.Module):
        embedder_model_api = None
        encoder_decoder = torch.nn.Linear(3, 4)
        embedding_transform = torch.nn.Linear(1, 2)

        def call_embedding_model(self, input_ids, attention_mask):
            assert input_ids.shape == attention_mask.shape
            return known[: len(input_ids)]

    def tokens(texts, return_tensors, max_length, truncation, padding):
        assert (return_tensors, max_length, truncation, padding) == ("pt", 128, True, "max_length")
        shape = (len(texts), max_length)
        return BatchEncoding({"input_ids": torch.ones(shape), "attention_mask": torch.ones(shape)})

    def invert_embeddings(embeddings, corrector, num_steps, sequence_beam_width):
        asked.append({"rows": len(embeddings), "steps": num_steps, "beam": sequence_beam_width})
        return [f"  {TEXTS[i]} " for i in (embeddings @ known.T).argmax(1).tolist()]

    def load(*models):
        asked.append({"loaded": models})
        return SimpleNamespace(
            inversion_trainer=SimpleNamespace(model=Model()), model=torch.nn.Linear(2, 2), embedder_tokenizer=tokens
        )

    def from_pretrained(name):
        if name == "nowhere":
            raise OSError("nowhere: no such model")
        return name

    module = ModuleType("vec2text")
    module.load_pretrained_corrector = module.load_corrector = load
    module.invert_embeddings = invert_embeddings
    kind = SimpleNamespace(from_pretrained=from_pretrained)
    module.models = SimpleNamespace(InversionModel=kind, CorrectorEncoderModel=kind)
    module.asked, module.network = asked, Model
    monkeypatch.setitem(sys.modules, "vec2text", module)
    return module


def test_texts_come_back_in_the_order_of_their_vectors(library, encoder):
    found = PublishedInverter("gtr-base", device="cpu", steps=3, beam=2)
    assert found.invert(encode(encoder, TEXTS)) == TEXTS
    assert library.asked == [
        {"loaded": ("gtr-base",)},
        {"rows": 16, "steps": 3, "beam": 2},
        {"rows": 4, "steps": 3, "beam": 2},
    ]
    assert found.record == {"vec2text": "gtr-base", "parameters": 16 + 4 + 6, "rounds": 3, "beam": 2}


def test_two_models_of_ones_own(library):
    PublishedInverter("mine/inversion, mine/corrector", device="cpu")
    assert library.asked == [{"loaded": ("mine/inversion", "mine/corrector")}]


@pytest.mark.parametrize(
    ("name", "words"),
    [("gtr", "give gtr-base, or"), ("text-embedding-ada-002", "give gtr-base, or"), ("nowhere,b", "no such model")],
)
def test_what_cannot_be_loaded(library, name, words):
    with pytest.raises(InputError, match=words):
        PublishedInverter(name)


def test_hypotheses_are_not_sent_to_an_endpoint(library, monkeypatch):
    monkeypatch.setattr(library.network, "embedder_model_api", "text-embedding-ada-002")
    with pytest.raises(InputError, match="nothing is sent there"):
        PublishedInverter("a,b")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "vec2text", None)
    with pytest.raises(MissingExtraError, match=r"vec2vec\[vec2text\]"):
        PublishedInverter("gtr-base")


def test_vectors_of_another_encoder_are_refused(library, encoder):
    found = PublishedInverter("gtr-base", device="cpu")
    found.check(lambda texts: encode(encoder, list(texts)), TEXTS)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="trained on other vectors"):
        found.check(lambda texts: rng.standard_normal((len(texts), encoder.width)).astype(np.float32), TEXTS)
    with pytest.raises(InputError, match="belongs to another encoder"):
        found.check(lambda texts: np.ones((len(texts), 5), np.float32), TEXTS)


def test_it_is_measured_beside_the_nearest(library, encoder):
    vectors = encode(encoder, TEXTS)
    tools = Tools(
        vectors, TEXTS[::-1], lambda t: encode(encoder, list(t)), encoder, published=PublishedInverter("gtr-base")
    )
    found = invert(
        tools, np.arange(4), vectors[:4], native=vectors[:4], truths=TEXTS[:4], settings=make_audit_settings({})
    )
    best = found.find("translated")
    assert best is not None
    assert best.method == "vec2text"
    assert best.measures is not None
    assert best.measures.token_f1.value == 1.0
    assert found.inverter == {"vec2text": "gtr-base", "parameters": 26, "rounds": 20, "beam": 4}
