"""The known encoder's tokenizer, cut down to the tokens that the training texts hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vec2vec.encoders import Encoder, Identity
from vec2vec.encoders.base import CHARACTERS_A_TOKEN
from vec2vec.errors import InputError
from vec2vec.vectors import Int64, one_line

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

PAD, END, UNKNOWN = 0, 1, 2  # of the decoder; the kept tokens follow
SPECIAL = 3
DEFAULT_TOKENS = 64


def find_tokenizer(encoder: Encoder) -> Tokenizer:
    """A copy of the tokenizer of an encoder that runs here, without its padding and cutting.

    Raises
    ------
    InputError : the encoder has none, as one behind an endpoint
    """
    from tokenizers import Tokenizer

    own: Any = getattr(getattr(encoder, "model", None), "tokenizer", None)
    fast = getattr(own, "backend_tokenizer", own)
    if not isinstance(fast, Tokenizer):
        raise InputError(f"{encoder.identity.encoder}: has no tokenizer here, which an inverter needs; choose another")
    return load_tokenizer(fast.to_str())


def load_tokenizer(text: str) -> Tokenizer:
    """A tokenizer from its JSON."""
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"the tokenizer cannot be read ({one_line(error)})") from error
    made.no_padding()
    made.no_truncation()
    return made


def content_tokens(tokenizer: Tokenizer, identity: Identity) -> int:
    """How many tokens of a text an encoder sees: its maximum, less those of the prefix and the special ones around."""
    # the prefix's last space may be part of the next token
    alone, prefixed = (len(tokenizer.encode(text, add_special_tokens=False)) for text in ("a", f"{identity.prefix}a"))
    special = int(tokenizer.num_special_tokens_to_add(is_pair=False))
    return max(0, (identity.max_tokens or DEFAULT_TOKENS) - special - (prefixed - alone))


def cut_texts(tokenizer: Tokenizer, texts: Sequence[str], tokens: int) -> list[str]:
    """The texts as far as the vectors saw them: up to the end of their last token within `tokens`."""
    return [
        text if len(one.ids) <= tokens else text[: one.offsets[tokens - 1][1] if tokens else 0]
        for text, one in zip(texts, _encoded(tokenizer, texts, tokens), strict=True)
    ]


def cut_as_seen(encoder: Encoder, texts: Sequence[str]) -> list[str]:
    """The texts as far as the vectors of an encoder saw them; whole where it does not cut them itself."""
    if encoder.identity.max_tokens is None:
        return list(texts)
    tokenizer = find_tokenizer(encoder)
    return cut_texts(tokenizer, texts, content_tokens(tokenizer, encoder.identity))


def _encoded(tokenizer: Tokenizer, texts: Sequence[str], tokens: int) -> list[Encoding]:
    """Each text's tokens, all or more than `tokens` of them: of a very long one a beginning that has them will do."""
    most = CHARACTERS_A_TOKEN * tokens
    found: list[Encoding] = tokenizer.encode_batch([text[:most] for text in texts], add_special_tokens=False)
    return [
        tokenizer.encode(text, add_special_tokens=False) if len(text) > most and len(one.ids) <= tokens else one
        for text, one in zip(texts, found, strict=True)
    ]


class Vocabulary:
    """Texts to the token numbers of a decoder, and back.

    Parameters
    ----------
    tokenizer : of the known encoder
    kept : (v,) int64, ascending: those of its token ids that the decoder knows
    tokens : the longest text, in tokens
    """

    def __init__(self, tokenizer: Tokenizer, kept: Int64, tokens: int) -> None:
        self.tokenizer = tokenizer
        self.kept = np.asarray(kept, np.int64)
        self.tokens = tokens
        self._place = np.full(max(tokenizer.get_vocab_size(), int(self.kept.max(initial=0)) + 1), UNKNOWN, np.int64)
        self._place[self.kept] = np.arange(len(self.kept)) + SPECIAL

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Sequence[str], tokens: int, least: int = 2) -> Vocabulary:
        """Of the tokens that stand `least` times in the texts, or of all that stand there if those are too few."""
        count: Counter[int] = Counter()
        for one in _encoded(tokenizer, texts, tokens):
            count.update(one.ids[:tokens])
        kept = [token for token, times in count.items() if times >= least]
        if len(kept) < 2:
            kept = list(count)
        if len(kept) < 2:
            raise InputError("the training texts have fewer than two different tokens: an inverter needs real texts")
        return cls(tokenizer, np.sort(np.asarray(kept, np.int64)), tokens)

    def __len__(self) -> int:
        return len(self.kept) + SPECIAL

    def encode(self, texts: Sequence[str]) -> list[Int64]:
        """The numbers of each text's tokens, cut at the longest, without an end mark."""
        found = _encoded(self.tokenizer, texts, self.tokens)
        return [self._place[np.asarray(one.ids[: self.tokens], np.int64)] for one in found]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of numbers, each up to its end mark."""
        ids = []
        for row in rows:
            own = list(row)
            if END in own:
                own = own[: own.index(END)]
            ids.append([int(self.kept[i - SPECIAL]) for i in own if i >= SPECIAL])
        texts: list[str] = self.tokenizer.decode_batch(ids, skip_special_tokens=True)
        return texts
