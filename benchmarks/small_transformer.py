"""A small transformer, trained from scratch with a contrastive loss: an encoder of the proving ground."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

PAD, UNKNOWN = 0, 1
WIDTH, LAYERS, HEADS = 192, 2, 4
LONGEST = 64  # tokens
TEMPERATURE = 0.05
BATCH, EPOCHS, RATE, WARM = 256, 20, 2e-3, 100  # warm: steps


class SmallTransformer(nn.Module):
    """Words and their places through pre-norm layers; a text is the mean of its tokens, (n, `WIDTH`)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH, padding_idx=PAD)
        self.places = nn.Embedding(LONGEST, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.words.weight, std=0.1)
        nn.init.normal_(self.places.weight, std=0.1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Of token ids (n, length), padded with `PAD`."""
        absent = ids == PAD
        states = self.words(ids) + self.places.weight[: ids.shape[1]]
        states = self.norm(self.layers(states, src_key_padding_mask=absent))
        present = (~absent)[..., None].to(states)
        pooled: torch.Tensor = (states * present).sum(dim=1) / present.sum(dim=1)
        return pooled


def embed(split: list[list[str]], rows: np.ndarray, teacher: np.ndarray, seed: int) -> np.ndarray:
    """Train on some of the texts and embed all of them; (n, `WIDTH`), not normalised.

    Each text has to find, among its batch's, the vector that another encoder gives it, through a linear head that is
    then left out (InfoNCE: van den Oord et al. 2018, arXiv 1807.03748).

    Parameters
    ----------
    split : the texts as tokens
    rows : the numbers of those that it learns from
    teacher : (n, d), of all texts
    seed : decides weights and batches
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    count = Counter(word for row in rows for word in split[row])
    known = {word: i for i, word in enumerate(sorted(word for word, n in count.items() if n > 1), UNKNOWN + 1)}
    texts = [[known.get(word, UNKNOWN) for word in words[:LONGEST]] or [UNKNOWN] for words in split]
    wanted = torch.from_numpy(np.asarray(teacher, np.float32))
    wanted = nn.functional.normalize(wanted - wanted[torch.from_numpy(rows)].mean(dim=0))
    model, head = SmallTransformer(UNKNOWN + 1 + len(known)), nn.Linear(WIDTH, wanted.shape[1])
    steps = EPOCHS * (len(rows) // BATCH)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=WARM / steps)
    for step, batch in zip(range(steps), _batches(texts, rows, rng), strict=False):
        said = nn.functional.normalize(head(model(_padded(texts, batch))))
        likeness = said @ wanted[torch.from_numpy(batch)].T / TEMPERATURE
        own = torch.arange(len(batch))
        loss = (nn.functional.cross_entropy(likeness, own) + nn.functional.cross_entropy(likeness.T, own)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"transformer: step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    model.eval()
    out = np.empty((len(texts), WIDTH), np.float32)
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    with torch.inference_mode():
        for batch in np.array_split(order, -(-len(order) // BATCH)):
            out[batch] = model(_padded(texts, batch)).numpy()
    return out


def _batches(texts: list[list[int]], rows: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of texts of about the same length, in random order, again and again: little of them is padding."""
    while True:
        length = np.array([len(texts[row]) for row in rows]) + rng.uniform(0, 4, len(rows))
        ordered = rows[np.argsort(length)]
        whole = ordered[: len(rows) // BATCH * BATCH].reshape(-1, BATCH)
        yield from rng.permutation(whole)


def _padded(texts: list[list[int]], batch: Sequence[int] | np.ndarray) -> torch.Tensor:
    return nn.utils.rnn.pad_sequence([torch.tensor(texts[row]) for row in batch], batch_first=True, padding_value=PAD)
