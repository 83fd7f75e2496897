"""The published inverters of vec2text (arXiv 2310.06816), where that library is installed and they can be fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vec2vec.align import find_device
from vec2vec.audit.inversion.correct import Embed
from vec2vec.encoders.base import require
from vec2vec.errors import InputError
from vec2vec.vectors import Float32, one_line

PREFIX = "vec2text:"
KNOWN = ("gtr-base",)  # of vec2text.load_pretrained_corrector, less what embeds behind a foreign endpoint
TOKENS = 128  # that the library cuts at
STEPS, BEAM, BATCH = 20, 4, 16
SAMPLE, SAME = 16, 0.98  # texts that both embed, and their least median cosine


class PublishedInverter:
    """Texts by a T5 that was trained on an encoder's vectors, corrected by a second one.

    Parameters
    ----------
    name : "gtr-base", or INVERSION,CORRECTOR: two folders or hub ids of such models
    steps, beam : rounds of correction, and hypotheses kept in them
    device : "auto", "cpu", "cuda" or "mps"

    Raises
    ------
    MissingExtraError : vec2text is not installed
    InputError : no such models, or models whose correction embeds behind an endpoint: an audit sends nothing away
    """

    def __init__(self, name: str, *, steps: int = STEPS, beam: int = BEAM, device: str = "auto") -> None:
        self.name, self.steps, self.beam = name, steps, beam
        inversion, comma, corrector = (part.strip() for part in name.partition(","))
        if not comma and name not in KNOWN:
            raise InputError(
                f"{PREFIX}{name}: give {' or '.join(KNOWN)}, or the two models of an inverter: "
                f"{PREFIX}INVERSION,CORRECTOR (folders or hub ids)"
            )
        library: Any = require("vec2text", "vec2text", "a published inverter")
        self.library = library
        try:
            if comma:
                self.corrector = library.load_corrector(
                    library.models.InversionModel.from_pretrained(inversion),
                    library.models.CorrectorEncoderModel.from_pretrained(corrector),
                )
            else:
                self.corrector = library.load_pretrained_corrector(name)
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
            raise InputError(f"{PREFIX}{name}: cannot be loaded ({one_line(error)})") from error
        model = self.corrector.inversion_trainer.model
        if model.embedder_model_api:
            raise InputError(
                f"{PREFIX}{name}: embeds its hypotheses by {model.embedder_model_api}: nothing is sent there"
            )
        self.device = find_device(device)
        for part in (model, self.corrector.model):
            part.to(self.device).eval()

    @property
    def record(self) -> dict[str, Any]:
        """What the report says of it."""
        model = self.corrector.inversion_trainer.model
        networks = (model.encoder_decoder, model.embedding_transform, self.corrector.model)
        count = sum(p.numel() for network in networks for p in network.parameters())
        return {"vec2text": self.name, "parameters": count, "rounds": self.steps, "beam": self.beam}

    def check(self, embed: Embed, texts: Sequence[str]) -> None:
        """Raises InputError unless the known encoder gives texts the vectors that this inverter was trained on."""
        own = list(texts[:SAMPLE])
        known, theirs = embed(own), self._embed(own)
        if known.shape[1] != theirs.shape[1]:
            raise InputError(
                f"{PREFIX}{self.name}: takes vectors of width {theirs.shape[1]}, and the known encoder's have "
                f"{known.shape[1]}: it belongs to another encoder"
            )
        scale = np.linalg.norm(known, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = float(np.median(np.einsum("ij,ij->i", known, theirs) / np.maximum(scale, 1e-12)))
        if cosine < SAME:
            raise InputError(
                f"{PREFIX}{self.name}: was trained on other vectors than the known encoder gives (median cosine "
                f"{cosine:.3f} over {len(own)} texts); models of one name may differ by a pooling or a last layer"
            )

    def invert(self, vectors: Float32) -> list[str]:
        """A text for each of (n, d) vectors."""
        out: list[str] = []
        with torch.no_grad():
            for start in range(0, len(vectors), BATCH):
                part = torch.from_numpy(vectors[start : start + BATCH]).to(self.device)
                out += self.library.invert_embeddings(
                    embeddings=part, corrector=self.corrector, num_steps=self.steps, sequence_beam_width=self.beam
                )
        return [" ".join(text.split()) for text in out]

    def _embed(self, texts: list[str]) -> Float32:
        given = self.corrector.embedder_tokenizer(
            texts, return_tensors="pt", max_length=TOKENS, truncation=True, padding="max_length"
        ).to(self.device)
        with torch.no_grad():
            found = self.corrector.inversion_trainer.model.call_embedding_model(
                input_ids=given.input_ids, attention_mask=given.attention_mask
            )
        return np.asarray(found.float().cpu().numpy(), np.float32)
