"""A causal language model of transformers as the one that rewrites hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vec2vec.align import find_device
from vec2vec.encoders.base import require
from vec2vec.errors import InputError
from vec2vec.vectors import one_line


class LanguageModel:
    """Continues texts by sampling.

    Parameters
    ----------
    name : a folder that transformers saved, or an id on the hub that is cached or reachable
    tokens : the longest continuation
    temperature, top_p : of the sampling
    batch : texts at a time
    device : "auto", "cpu", "cuda" or "mps"

    Raises
    ------
    MissingExtraError : transformers is not installed
    InputError : no such model, or none that continues texts
    """

    def __init__(
        self,
        name: str,
        *,
        tokens: int = 32,
        temperature: float = 0.9,
        top_p: float = 0.95,
        batch: int = 32,
        device: str = "auto",
    ) -> None:
        library: Any = require("transformers", "inversion", "a language model")
        self.name, self.tokens, self.temperature, self.top_p, self.batch = name, tokens, temperature, top_p, batch
        self.device = find_device(device)
        try:
            self.tokenizer = library.AutoTokenizer.from_pretrained(name)
            self.model = library.AutoModelForCausalLM.from_pretrained(name).to(self.device).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"{name}: no causal language model could be loaded; give the folder of one, or an id that is cached or "
                f"reachable ({one_line(error)})"
            ) from error
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.first = self.tokenizer.bos_token or self.tokenizer.eos_token
        if self.first is None or self.tokenizer.pad_token is None:
            raise InputError(f"{name}: its tokenizer has neither a first nor an end token")

    def continue_texts(self, starts: Sequence[str], *, seed: int) -> list[str]:
        """Each start, continued; an empty one is begun anew."""
        out: list[str] = []
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.inference_mode():
            torch.manual_seed(seed)
            for at in range(0, len(starts), self.batch):
                part = [text if text.strip() else self.first for text in starts[at : at + self.batch]]
                given = self.tokenizer(part, return_tensors="pt", padding=True).to(self.device)
                given.pop("token_type_ids", None)
                made = self.model.generate(
                    **given,
                    do_sample=True,
                    temperature=self.temperature,
                    top_p=self.top_p,
                    max_new_tokens=self.tokens,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
                out += self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [" ".join(text.split()) for text in out]
