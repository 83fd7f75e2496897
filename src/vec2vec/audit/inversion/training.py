"""Training a decoder on (text, vector) pairs of the known encoder.

The vectors are given noise of the size that a translation leaves: z is turned towards the difference of two other
training vectors until their cosine is c, drawn uniformly between `least_closeness` and 1; c is told to the network.

The cross-entropy is sampled: the words of the batch stand in its normaliser with certainty, the others by a uniform
sample that is weighted up to their number, which makes the sum that is normalised by unbiased.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from vec2vec.align import fast_products, find_device
from vec2vec.audit.inversion.inverter import Inverter, centred
from vec2vec.audit.inversion.network import Decoder, NetworkConfig, Shape
from vec2vec.audit.inversion.vocabulary import END, PAD, UNKNOWN, Vocabulary, content_tokens, find_tokenizer
from vec2vec.encoders import Encoder
from vec2vec.errors import ArtifactError, DivergenceError, InputError
from vec2vec.settings import make_settings
from vec2vec.stores import atomic_file
from vec2vec.vectors import Float32, Int64

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEAST_TEXTS = 20
IGNORED = -100
# Lengths and numbers of words are rounded to these: oneDNN keeps what it prepared for each new shape of a product, and
# thousands of shapes are gigabytes.
STEP, SHAPE = 8, 256
LAST_STEP = 0.02  # of the learning rate, at the end


class InverterSettings(Shape):
    """How an inverter is trained."""

    minutes: float = Field(default=30.0, gt=0, description="Training ends after so long.")
    steps: int | None = Field(default=None, ge=1, description="Training ends after so many steps, whatever the time.")
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=32, ge=1, description="Texts in a step.")
    rate: float = Field(default=1e-3, gt=0, description="Learning rate at its height.")
    warm_up: int = Field(default=200, ge=1, description="Steps until it is reached.")
    decay: float = Field(default=0.01, ge=0, description="Weight decay.")
    sampled: int = Field(default=2048, ge=1, description="Words of the sample in the cross-entropy.")
    bag_weight: float = Field(default=0.3, ge=0, description="Of the loss of the words without their places.")
    least_closeness: float = Field(default=0.4, gt=0, le=1, description="The strongest noise, as a cosine.")
    least_count: int = Field(default=2, ge=1, description="A token is known that stands so often in the texts.")
    held_out: int = Field(default=128, ge=1, description="Texts that are kept for the loss that is reported.")
    checkpoint_seconds: float = Field(default=120.0, gt=0)


class TrainingStep(BaseModel):
    """Where a training is."""

    model_config = ConfigDict(frozen=True)

    step: int
    loss: float
    held_out: float | None
    seconds: float
    part: float


Progress = Callable[[TrainingStep], None]


def check_training(encoder: Encoder, texts: Sequence[str]) -> tuple[Tokenizer, int]:
    """The tokenizer of an encoder and how many tokens of a text it sees: asked before any text is embedded.

    Raises
    ------
    InputError : no inverter can be trained on these texts by this encoder
    """
    if len(texts) < LEAST_TEXTS:
        raise InputError(f"{len(texts)} texts are too few to train an inverter on; at least {LEAST_TEXTS} are needed")
    tokenizer = find_tokenizer(encoder)
    tokens = content_tokens(tokenizer, encoder.identity)
    if not tokens:
        raise InputError(
            f"{encoder.identity.encoder}: cut at {encoder.identity.max_tokens} tokens, it sees nothing of a text; give "
            "it a higher --max-tokens (max_tokens=)"
        )
    return tokenizer, tokens


def train_inverter(
    texts: Sequence[str],
    vectors: Float32,
    encoder: Encoder,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Inverter:
    """Train a decoder from the vectors of an encoder to their texts.

    Parameters
    ----------
    texts : public texts, more are better: 50,000 give gists, millions give sentences
    vectors : (n, d) float32, theirs by the encoder
    encoder : the known one; its tokenizer is used
    checkpoint : a file that the state is kept in, its end, too; a training that was stopped goes on from there. It is
        removed once the inverter is saved.
    device : "cpu", "cuda", "mps" or "auto"
    progress : called about once a second
    **settings : see `InverterSettings`. With `steps` the same seed gives the same inverter on the same machine;
        with `minutes` alone, how far it comes depends on the machine.

    Raises
    ------
    InputError : too few texts, another number of vectors, or an encoder without a tokenizer
    ConfigError : an unknown setting
    ArtifactError : a checkpoint of another training
    OutputError : the checkpoint cannot be written
    DivergenceError : the held-out loss is not finite
    """
    chosen = make_settings(InverterSettings, settings, owner="an inverter")
    if len(texts) != len(vectors):
        raise InputError(f"there are {len(texts):,} texts and {len(vectors):,} vectors: they must be row-aligned")
    tokenizer, tokens = check_training(encoder, texts)
    vocabulary = Vocabulary.of(tokenizer, texts, tokens, chosen.least_count)
    config = NetworkConfig(
        vector_width=vectors.shape[1],
        vocabulary=len(vocabulary),
        tokens=tokens,
        **chosen.model_dump(include=set(Shape.model_fields)),
    )
    mean = vectors.mean(0, dtype=np.float64).astype(np.float32)
    path = None if checkpoint is None else Path(checkpoint).absolute()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), fast_products():
        trainer = _Trainer(chosen, config, vocabulary.encode(texts), centred(vectors, mean), find_device(device))
        if path is not None and path.exists():
            trainer.resume(path)
        try:
            held_out_loss = trainer.run(path, progress)
        except KeyboardInterrupt:
            if path is not None and trainer.step:
                trainer.save(path)
            raise
    record = {
        "texts": len(texts),
        "steps": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "loss": trainer.loss if math.isfinite(trainer.loss) else None,
        "held_out_loss": held_out_loss,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "settings": chosen.model_dump(mode="json"),
        "encoder": encoder.identity.to_dict(),
    }
    return Inverter(trainer.network, vocabulary, mean, record, path)


class _Trainer:
    """The loop, and all that it has to remember to be taken up again."""

    def __init__(
        self, settings: InverterSettings, config: NetworkConfig, rows: list[Int64], z: Float32, device: torch.device
    ) -> None:
        self.settings, self.config, self.device = settings, config, device
        self.seed = settings.seed  # of torch, which takes 64 bits, steps included
        if self.seed >= 2**32:
            self.seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0])
        torch.manual_seed(self.seed)
        self.network = Decoder(config).to(device)
        order = np.random.default_rng(settings.seed).permutation(len(rows))
        held = min(settings.held_out, max(1, len(rows) // 10))
        self.held, self.train = order[:held], order[held:]
        self.rows, self.z = rows, torch.from_numpy(z)
        self.network.start_from_texts([rows[i] for i in self.train], z[self.train])
        groups = [
            {"params": [p for p in self.network.parameters() if p.ndim > 1], "weight_decay": settings.decay},
            {"params": [p for p in self.network.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))
        self.step, self.seconds, self.loss = 0, 0.0, float("nan")

    def run(self, checkpoint: Path | None, progress: Progress | None) -> float:
        """Until the steps, or the time, are over; gives the held-out loss."""
        before = self.seconds
        started = told = saved = time.monotonic()
        held_out: float | None = None
        while (part := self._part()) < 1:
            self.loss = self._train_step(part)
            self.step += 1
            now = time.monotonic()
            self.seconds = before + now - started
            if checkpoint is not None and now - saved > self.settings.checkpoint_seconds:
                saved, held_out = now, self.evaluate()
                self.save(checkpoint)
            if progress is not None and now - told > 1:
                told = now
                progress(
                    TrainingStep(step=self.step, loss=self.loss, held_out=held_out, seconds=self.seconds, part=part)
                )
        held_out = self.evaluate()
        if checkpoint is not None:
            self.save(checkpoint)
        return held_out

    def _part(self) -> float:
        """The part of the training that is done, 0 to 1."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.seconds / (60 * self.settings.minutes)

    def _train_step(self, part: float) -> float:
        settings = self.settings
        per_epoch = max(1, len(self.train) // settings.batch)
        epoch, place = divmod(self.step, per_epoch)
        order = np.random.default_rng([settings.seed, 7, epoch]).permutation(self.train)
        rng = torch.Generator().manual_seed((self.seed << 32) + self.step)
        chosen = order[place * settings.batch : (place + 1) * settings.batch]
        warm = min(1.0, (self.step + 1) / settings.warm_up)
        slope = LAST_STEP + (1 - LAST_STEP) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate * warm * slope
        self.network.train()
        torch.manual_seed((self.seed << 20) + self.step)  # of the dropout
        loss = self._loss(chosen, rng)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.detach())

    @torch.no_grad()
    def evaluate(self) -> float:
        """The mean loss of a word of the held-out texts, without noise, among all words (not sampled).

        Raises DivergenceError where it is not finite.
        """
        self.network.eval()
        total, count = 0.0, 0
        for start in range(0, len(self.held), self.settings.batch):
            chosen = self.held[start : start + self.settings.batch]
            tokens = self._tokens(chosen)
            z = self.z[chosen].to(self.device)
            states, _ = self.network(z, torch.ones(len(z), device=self.device), tokens[:, :-1])
            known = (tokens != PAD) & (tokens != UNKNOWN)
            scores = self.network.scores(states[known])
            total += float(F.cross_entropy(scores, tokens[known], reduction="sum"))
            count += int(known.sum())
        if not math.isfinite(total):
            raise DivergenceError(
                f"the training of the inverter diverged: at step {self.step:,} its held-out loss is {total}; give it a "
                "lower rate"
            )
        return total / max(count, 1)

    def _loss(self, chosen: Int64, rng: torch.Generator) -> Tensor:
        tokens = self._tokens(chosen)
        z, closeness = self._noisy(self.z[chosen], rng)
        states, bag = self.network(z.to(self.device), closeness.to(self.device), tokens[:, :-1])
        known = (tokens != PAD) & (tokens != UNKNOWN)
        targets = tokens[known]
        words, own = torch.unique(targets, return_inverse=True)
        drawn = torch.randint(END, self.config.vocabulary, (self.settings.sampled,), generator=rng).to(self.device)
        others = drawn[~torch.isin(drawn, words)]
        others = others[: max(1, len(others) - (len(words) + len(others)) % SHAPE)]
        seen = torch.cat([words, others])
        weights = self.network.embedding(seen)
        left = max(self.config.vocabulary - 1 - len(words), 1)
        lift = torch.zeros(len(weights), device=self.device)
        lift[len(words) :] = math.log(left / max(len(others), 1))
        lift = lift + self.network.frequency[seen]
        due = torch.full(known.shape, IGNORED, device=self.device)
        due[known] = own
        scores = states.flatten(0, 1) @ weights.T + lift
        loss = F.cross_entropy(scores, due.flatten(), ignore_index=IGNORED)
        if self.settings.bag_weight:
            rows = known.nonzero()[:, 0]
            log = F.log_softmax(bag @ weights.T + lift, 1)
            loss = loss - self.settings.bag_weight * log[rows, own].mean()
        return loss

    def _noisy(self, z: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """z (b, d) of norm sqrt(d) turned away to a cosine of c, and c (b,)."""
        n = len(z)
        one, other = (self.z[torch.randint(len(self.z), (n,), generator=rng)] for _ in range(2))
        away = one - other
        unit = z / z.norm(dim=1, keepdim=True).clamp_min(1e-12)
        away = away - (away * unit).sum(1, keepdim=True) * unit
        away = away / away.norm(dim=1, keepdim=True).clamp_min(1e-12)
        least = self.settings.least_closeness
        c = least + (1 - least) * torch.rand(n, generator=rng)
        turned = c[:, None] * unit + torch.sqrt(1 - c**2)[:, None] * away
        return turned * math.sqrt(z.shape[1]), c

    def _tokens(self, chosen: Int64) -> Tensor:
        """(b, t) the texts' tokens with their end marks, padded."""
        rows = [self.rows[i] for i in chosen]
        longest = max(len(row) for row in rows) + 1
        longest = min(self.config.tokens, -(-longest // STEP) * STEP)
        out = torch.full((len(rows), longest), PAD)
        for i, row in enumerate(rows):
            out[i, : min(len(row), longest)] = torch.from_numpy(row[:longest])
            if len(row) < longest:
                out[i, len(row)] = END
        return out.to(self.device)

    # --- the state on disk: tensors and numbers, nothing to unpickle ---

    def save(self, path: Path) -> None:
        from safetensors.torch import save

        tensors = {f"network.{name}": p.detach() for name, p in self.network.named_parameters()}
        for name, p in self.network.named_parameters():
            state = self.optimiser.state.get(p, {})
            tensors |= {f"{key}.{name}": state[key] for key in ("exp_avg", "exp_avg_sq") if key in state}
        meta = {"step": str(self.step), "seconds": repr(self.seconds), "loss": repr(self.loss), "of": self._identity()}
        content = save({key: value.contiguous().cpu() for key, value in tensors.items()}, metadata=meta)
        with atomic_file(path, force=True) as stream:
            stream.write(content)

    def resume(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as stored:
                meta = stored.metadata() or {}
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a mapping
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"{path}: is no checkpoint of an inverter, or a damaged one; remove it") from error
        if meta.get("of") != self._identity():
            raise ArtifactError(f"{path}: is the checkpoint of another training; remove it, or choose another --out")
        self.step, self.seconds, self.loss = int(meta["step"]), float(meta["seconds"]), float(meta.get("loss", "nan"))
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                p.copy_(tensors[f"network.{name}"])
                self.optimiser.state[p] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": tensors[f"exp_avg.{name}"].to(self.device),
                    "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(self.device),
                }

    def _identity(self) -> str:
        """What a checkpoint must have in common with the training that takes it up; the time may be longer."""
        settings = self.settings.model_dump(mode="json", exclude={"minutes", "steps", "checkpoint_seconds"})
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps([settings, self.config.model_dump(mode="json")], sort_keys=True).encode())
        digest.update(np.concatenate([row[:1] for row in self.rows if len(row)]).tobytes())
        digest.update(self.z[:: max(1, len(self.z) // 64)].numpy().tobytes())
        return digest.hexdigest()
