"""A decoder conditioned on a vector: a prefix of states made from the vector, then the text, token by token.

    z    = the centred vector, brought to norm sqrt(d)
    p    = W_p [z, c]                       k prefix states; c: how close the vector is thought to be to a native one
    h_t  = transformer(p, tokens up to t)   pre-norm, causal
    word scores at t = E (norm(h_t) + g(z)) + b

E are the token embeddings, tied, and b the words' frequencies. g(z) = A z + MLP(z) sees no position: it says which
words there are, wherever they stand, and by itself ranks the words of a text, which correction draws on. E, A and b
start from the training texts in closed form (`start_from_texts`), so that little training goes a long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

SHRINKAGE = 10.0  # texts: how many a word needs until half of its mean is believed
EMBEDDING_SIZE = 0.2  # root mean square of E at the start
CAUTION = 0.05  # of the naive log-odds: words come together, and z is not of unit covariance


class Shape(BaseModel):
    """What of the shape of a decoder is chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int = Field(default=256, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    prefix: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Shape:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, which {self.heads} heads cannot share evenly")
        return self


class NetworkConfig(Shape):
    """The shape of a decoder."""

    vector_width: int = Field(ge=1)
    vocabulary: int = Field(ge=4)
    tokens: int = Field(ge=1, description="The longest text.")


@dataclass
class Cache:
    """Keys and values of what a layer has seen, (rows, heads, length, width of a head)."""

    keys: Tensor
    values: Tensor

    def pick(self, rows: Tensor) -> Cache:
        return Cache(self.keys[rows], self.values[rows])


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and beside a residual."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d = config.width
        self.heads, self.dropout = config.heads, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attend, self.project = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.widen, self.narrow = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """(b, t, d) in and out. With a cache the t states follow those in it."""
        b, t, d = x.shape
        parts = self.attend(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        if cache is not None:
            k, v = torch.cat([cache.keys, k], 2), torch.cat([cache.values, v], 2)
        drop = self.dropout if self.training else 0.0
        # a single state sees all that came before it
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1, dropout_p=drop)
        x = x + self._drop(self.project(mixed.transpose(1, 2).reshape(b, t, d)))
        x = x + self._drop(self.narrow(F.gelu(self.widen(self.norm2(x)))))
        return x, Cache(k, v)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Decoder(nn.Module):
    """See the module."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        self.embedding = nn.Embedding(config.vocabulary, d)
        self.positions = nn.Parameter(torch.zeros(config.prefix + config.tokens, d))
        self.prefix = nn.Linear(config.vector_width + 1, config.prefix * d)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(d)
        self.frequency = nn.Parameter(torch.zeros(config.vocabulary))
        self.linear_bag = nn.Linear(config.vector_width, d, bias=False)
        self.curved_bag = nn.Sequential(nn.Linear(config.vector_width + 1, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.prefix.weight, std=0.05)
        nn.init.normal_(self.embedding.weight, std=0.05)
        nn.init.normal_(self.positions, std=0.02)
        nn.init.constant_(self.norm.weight, 0.1)  # what is read off z comes first

    def forward(self, z: Tensor, closeness: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """States that the word scores are made of.

        Parameters
        ----------
        z : (b, vector_width)
        closeness : (b,)
        tokens : (b, t), those before the ones to predict: without the last

        Returns
        -------
        states : (b, t + 1, d); state i predicts token i, and has seen those before it
        bag : (b, d)
        """
        given = torch.cat([z, closeness[:, None]], 1)
        bag = self.bag(z, closeness)
        x, _ = self._run(self._start(given, tokens), None)
        return self.norm(x[:, self.config.prefix - 1 :]) + bag[:, None], bag

    def begin(self, z: Tensor, closeness: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, list[Cache], Tensor]:
        """The state (b, d) after the prefix and some tokens (b, t), with what is needed to go on: caches and bag."""
        given = torch.cat([z, closeness[:, None]], 1)
        bag = self.bag(z, closeness)
        empty = torch.zeros(len(z), 0, dtype=torch.long, device=z.device)
        x, caches = self._run(self._start(given, empty if tokens is None else tokens), None)
        return self.norm(x[:, -1]) + bag, caches, bag

    def step(self, token: Tensor, caches: list[Cache], bag: Tensor) -> tuple[Tensor, list[Cache]]:
        """The state (b, d) after one more token (b,)."""
        place = caches[0].keys.shape[2]
        x = self.embedding(token)[:, None] + self.positions[place]
        x, caches = self._run(x, caches)
        return self.norm(x[:, -1]) + bag, caches

    def bag(self, z: Tensor, closeness: Tensor) -> Tensor:
        """(b, d): what z says of the words, wherever they stand."""
        curved: Tensor = self.curved_bag(torch.cat([z, closeness[:, None]], 1))
        straight: Tensor = self.linear_bag(z)
        return straight + curved

    def scores(self, states: Tensor) -> Tensor:
        """(..., vocabulary) word scores of states (..., d)."""
        return states @ self.embedding.weight.T + self.frequency

    @torch.no_grad()
    def start_from_texts(self, rows: Sequence[npt.NDArray[np.int64]], z: npt.NDArray[np.float32]) -> None:
        """Set E, A and b such that E A z + b is what a naive model would say of the words of a text.

        With normal vectors of unit covariance around a mean m_w for the texts that hold the word w, the log-odds of w
        are m_w z, but for a constant. m_w is the mean of such z, shrunk towards zero where they are few; E A is the
        best approximation of these means of rank d (by their singular value decomposition), E of moderate size.

        Parameters
        ----------
        rows : the tokens of each training text
        z : (n, vector_width), theirs
        """
        from scipy.sparse import csr_matrix

        words = [np.unique(row) for row in rows]
        ends = np.cumsum([0, *map(len, words)])
        holds = csr_matrix(
            (np.ones(ends[-1], np.float32), np.concatenate(words), ends), (len(rows), len(self.frequency))
        )
        count = np.asarray(holds.sum(0)).ravel()
        total = np.bincount(np.concatenate(rows), minlength=len(self.frequency))
        means = np.asarray((holds.T @ z) / (count + SHRINKAGE)[:, None], np.float64)
        _, _, axes = np.linalg.svd(means.T @ (np.sqrt(count)[:, None] * means))
        axes = axes[: self.config.width]  # fewer than d where vectors are narrower
        d = len(axes)
        embedding = means @ axes.T
        size = EMBEDDING_SIZE / max(float(np.sqrt(np.mean(embedding**2))), 1e-12)
        self.embedding.weight[:, :d] = torch.from_numpy((size * embedding).astype(np.float32))
        self.linear_bag.weight.zero_()
        self.linear_bag.weight[:d] = torch.from_numpy((CAUTION / size * axes).astype(np.float32))
        self.frequency.copy_(torch.from_numpy(np.log((total + 0.5) / (total.sum() + 0.5)).astype(np.float32)))

    def _start(self, given: Tensor, tokens: Tensor) -> Tensor:
        prefix = self.prefix(given).view(len(given), self.config.prefix, self.config.width)
        x = torch.cat([prefix, self.embedding(tokens)], 1)
        return x + self.positions[: x.shape[1]]

    def _run(self, x: Tensor, caches: list[Cache] | None) -> tuple[Tensor, list[Cache]]:
        after = []
        for i, block in enumerate(self.blocks):
            x, cache = block(x, None if caches is None else caches[i])
            after.append(cache)
        return x, after
