"""An inverter: vectors of the known encoder to texts. Trained once, saved, and used on any vectors of that space."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from vec2vec import __version__
from vec2vec.align import fast_products, find_device
from vec2vec.audit.inversion.network import Cache, Decoder, NetworkConfig
from vec2vec.audit.inversion.vocabulary import END, PAD, SPECIAL, UNKNOWN, Vocabulary, load_tokenizer
from vec2vec.errors import ArtifactError, DimensionError, InputError, OutputError
from vec2vec.stores.atomic import atomic_folder, check_replaceable, writing
from vec2vec.vectors import Float32, check_vectors, one_line

FORMAT, FORMAT_VERSION = "vec2vec-inverter", 1
CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "README.md"
FILES = (CONFIG, WEIGHTS, TOKENIZER, CARD)
ROWS_AT_ONCE = 64
LIKELY = 64
NEVER = -1e9


class Hypothesis(NamedTuple):
    """A text that a vector may stand for, and the mean log-probability of its tokens."""

    text: str
    score: float


class _Record(BaseModel):
    """Of the record, what others rely on."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    encoder: dict[str, Any]
    parameters: int
    texts: int
    steps: int
    held_out_loss: float


class _Config(BaseModel):
    """config.json."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    format: Literal["vec2vec-inverter"]
    format_version: int
    vec2vec_version: str
    network: dict[str, Any]
    record: _Record
    weights_sha256: str
    tokenizer_sha256: str


class Inverter:
    """A trained decoder with its vocabulary.

    Parameters
    ----------
    network : the decoder
    vocabulary : its tokens
    mean : (d,) float32, of the vectors that it was trained on
    record : how it was trained; `record["encoder"]` is the identity of the encoder
    checkpoint : of its training, a file that is removed once the inverter is saved
    """

    def __init__(
        self,
        network: Decoder,
        vocabulary: Vocabulary,
        mean: Float32,
        record: dict[str, Any],
        checkpoint: Path | None = None,
    ) -> None:
        self.network = network.eval()
        self.vocabulary = vocabulary
        self.mean = mean
        self.record = record
        self.checkpoint = checkpoint

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def device(self) -> torch.device:
        return self.network.embedding.weight.device

    def decode(self, vectors: Float32, *, beam: int = 4, closeness: float = 1.0) -> list[list[Hypothesis]]:
        """The likeliest texts of each vector, by beam search, the best first.

        Parameters
        ----------
        vectors : (n, d) float32 of the known space, native or translated
        beam : hypotheses that are kept, and given
        closeness : the cosine that the vectors are thought to have with native ones, once centred: 1 for native ones

        Raises
        ------
        DimensionError : vectors of another width
        """
        x = self._checked(vectors)
        found: list[list[Hypothesis]] = []
        with torch.inference_mode(), fast_products():
            for start in range(0, len(x), ROWS_AT_ONCE):
                found += self._beam(self._z(x[start : start + ROWS_AT_ONCE]), beam, closeness)
        return found

    def continue_texts(
        self, vectors: Float32, starts: Sequence[str], *, closeness: float, temperature: float, seed: int
    ) -> list[str]:
        """Each start, continued at random as the decoder would for its vector: one text for each row.

        A token is drawn from the `LIKELY` likeliest.

        Starts are grouped by their number of tokens, since the network takes no padding before a text.
        """
        x = self._checked(vectors)
        rows = self.vocabulary.encode(starts)
        out = [""] * len(rows)
        groups: dict[int, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(len(row), []).append(i)
        rng = torch.Generator().manual_seed(seed)
        with torch.inference_mode(), fast_products():
            for length in sorted(groups):
                for at in range(0, len(groups[length]), 4 * ROWS_AT_ONCE):
                    chosen = groups[length][at : at + 4 * ROWS_AT_ONCE]
                    begun = torch.from_numpy(np.stack([rows[i] for i in chosen])).to(self.device)
                    made = self._sample(self._z(x[chosen]), begun, closeness, temperature, rng)
                    for i, text in zip(chosen, made, strict=True):
                        out[i] = text
        return out

    def words(self, vectors: Float32, count: int, *, closeness: float = 1.0) -> list[list[str]]:
        """The tokens that each vector speaks for, wherever they stand, as texts, the likeliest first."""
        x = self._checked(vectors)
        found: list[list[str]] = []
        with torch.inference_mode(), fast_products():
            for start in range(0, len(x), ROWS_AT_ONCE):
                z = self._z(x[start : start + ROWS_AT_ONCE])
                bag = self.network.bag(z, torch.full((len(z),), closeness, device=z.device))
                scores = self._allowed(self.network.scores(bag), end=False)
                best = scores.topk(min(count, scores.shape[1] - SPECIAL), dim=1).indices
                for row in best.tolist():
                    found.append(self.vocabulary.decode([[token] for token in row]))
        return found

    def _checked(self, vectors: Float32) -> Float32:
        x = check_vectors(vectors)
        if x.shape[1] != self.width:
            raise DimensionError(f"the vectors have width {x.shape[1]}, and the inverter takes {self.width}")
        return x

    def _z(self, x: Float32) -> Tensor:
        return torch.from_numpy(centred(x, self.mean)).to(self.device)

    def _allowed(self, scores: Tensor, *, end: bool = True) -> Tensor:
        scores[..., PAD] = scores[..., UNKNOWN] = NEVER
        if not end:
            scores[..., END] = NEVER
        return scores

    def _beam(self, z: Tensor, beam: int, closeness: float) -> list[list[Hypothesis]]:
        n, longest = len(z), self.network.config.tokens
        state, caches, bag = self.network.begin(z, torch.full((n,), closeness, device=z.device))
        first = torch.log_softmax(self._allowed(self.network.scores(state), end=False), 1)
        beam = min(beam, first.shape[1] - SPECIAL)
        total, token = first.topk(beam, dim=1)
        spread = torch.arange(n, device=z.device).repeat_interleave(beam)
        caches, bag = [cache.pick(spread) for cache in caches], bag[spread]
        history = token.reshape(-1, 1)
        total = total.reshape(-1)
        done = torch.zeros(n * beam, dtype=torch.bool, device=z.device)
        length = torch.ones(n * beam, device=z.device)
        for _ in range(1, longest):
            state, caches = self.network.step(history[:, -1], caches, bag)
            logs = torch.log_softmax(self._allowed(self.network.scores(state)), 1)
            _block_repeats(logs, history)
            logs[done] = NEVER
            logs[done, END] = 0.0  # what is finished stays as it is
            joined = (total[:, None] + logs).view(n, -1)
            total, flat = joined.topk(beam, dim=1)
            parent = (flat // logs.shape[1] + torch.arange(n, device=z.device)[:, None] * beam).reshape(-1)
            token = (flat % logs.shape[1]).reshape(-1)
            caches: list[Cache] = [cache.pick(parent) for cache in caches]  # type: ignore[no-redef]
            history = torch.cat([history[parent], token[:, None]], 1)
            total, done, length = total.reshape(-1), done[parent], length[parent]
            length = length + (~done).float()
            done = done | (token == END)
            if bool(done.all()):
                break
        mean = total / length
        texts = self.vocabulary.decode(history.tolist())
        found = [Hypothesis(text, float(score)) for text, score in zip(texts, mean, strict=True)]
        groups = [found[i * beam : (i + 1) * beam] for i in range(n)]
        return [sorted(group, key=lambda one: -one.score) for group in groups]

    def _sample(
        self, z: Tensor, begun: Tensor, closeness: float, temperature: float, rng: torch.Generator
    ) -> list[str]:
        c = torch.full((len(z),), closeness, device=z.device)
        room = self.network.config.tokens - begun.shape[1]
        history = begun
        if room > 0:
            state, caches, bag = self.network.begin(z, c, begun)
            done = torch.zeros(len(z), dtype=torch.bool, device=z.device)
            for _ in range(room):
                scores, likely = self._allowed(self.network.scores(state), end=history.shape[1] > 0).topk(
                    min(LIKELY, len(self.vocabulary)), dim=1
                )
                drawn = torch.multinomial(torch.softmax(scores / temperature, 1).cpu(), 1, generator=rng).to(z.device)
                token = likely.gather(1, drawn)[:, 0]
                token = torch.where(done, torch.full_like(token, END), token)
                history = torch.cat([history, token[:, None]], 1)
                done = done | (token == END)
                if bool(done.all()):
                    break
                state, caches = self.network.step(token, caches, bag)
        return self.vocabulary.decode(history.tolist())

    def save_pretrained(self, folder: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write config.json, model.safetensors, tokenizer.json and README.md into a folder, whole or not at all.

        The checkpoint of its training is not needed any more then, and removed.

        Raises
        ------
        OutputError : the folder exists (without `force`), holds something else, or cannot be written
        """
        from safetensors.torch import save

        path = Path(folder).expanduser()
        with writing(path):
            path = path.resolve()
        tensors = {name: p.detach().cpu().contiguous() for name, p in self.network.named_parameters()}
        tensors["mean"] = torch.from_numpy(self.mean)
        tensors["kept"] = torch.from_numpy(self.vocabulary.kept)
        weights = save(tensors, metadata={"format": FORMAT})
        tokenizer = self.vocabulary.tokenizer.to_str().encode()
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "vec2vec_version": __version__,
            "network": self.network.config.model_dump(mode="json"),
            "record": self.record,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "tokenizer_sha256": hashlib.sha256(tokenizer).hexdigest(),
        }
        contents = {
            WEIGHTS: weights,
            TOKENIZER: tokenizer,
            CONFIG: json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n",
            CARD: _card(self).encode(),
        }
        with atomic_folder(path, partial(check_inverter_folder, force=force)) as temporary:
            for name, content in contents.items():
                (temporary / name).write_bytes(content)
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)
            self.checkpoint = None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, device: str = "auto") -> Inverter:
        """Load an inverter from a folder. Nothing is unpickled.

        Raises
        ------
        ArtifactError : there is none, or it is damaged, foreign, or of a newer version
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = Path(folder).expanduser()
        contents = {name: _read(path, name) for name in (CONFIG, WEIGHTS, TOKENIZER)}
        config = _read_config(path, contents[CONFIG])
        for name, due in ((WEIGHTS, config.weights_sha256), (TOKENIZER, config.tokenizer_sha256)):
            if hashlib.sha256(contents[name]).hexdigest() != due:
                raise ArtifactError(f"{path}: {name} is damaged, or not what {CONFIG} was written with")
        try:
            network = Decoder(NetworkConfig(**config.network))
            tensors = load(contents[WEIGHTS])
            mean, kept = tensors.pop("mean").numpy(), tensors.pop("kept").numpy()
            network.load_state_dict(tensors, strict=True)
            vocabulary = Vocabulary(
                load_tokenizer(contents[TOKENIZER].decode()), kept, NetworkConfig(**config.network).tokens
            )
        except (SafetensorError, ValidationError, KeyError, RuntimeError, InputError) as error:
            raise ArtifactError(f"{path}: is no whole inverter ({one_line(error)})") from error
        return cls(network.to(find_device(device)), vocabulary, mean, config.record.model_dump())

    def check_encoder(self, identity: dict[str, Any]) -> None:
        """Raises InputError where the vectors are those of another encoder than this inverter's."""
        own = self.record.get("encoder", {})
        differ = [key for key in ("encoder", "dimensions", "prefix") if own.get(key) != identity.get(key)]
        if differ:
            key = differ[0]
            raise InputError(
                f"the inverter belongs to another encoder: its {key} is {own.get(key)!r}, and {identity.get(key)!r} is "
                "given; train one with: vec2vec inverter train"
            )
        if loaded_from_folder(own) and loaded_from_folder(identity) and own["revision"] != identity["revision"]:
            raise InputError(
                f"the inverter belongs to another encoder that is called {own['encoder']!r}, too: the hash of its "
                f"files is {own['revision']}, and that of those given {identity['revision']}; give the folder that it "
                "was trained on, or train one with: vec2vec inverter train"
            )


def loaded_from_folder(identity: dict[str, Any]) -> bool:
    """Whether an encoder was loaded from a folder: its name says little then, and its revision hashes its files."""
    return str(identity.get("revision")).startswith("blake2b:")


def centred(x: Float32, mean: Float32) -> Float32:
    """(n, d): x - mean, brought to norm sqrt(d)."""
    z = x - mean
    norm = np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return np.asarray(z * (math.sqrt(x.shape[1]) / norm), np.float32)


def check_inverter_folder(path: Path, *, force: bool) -> None:
    """Raises OutputError if an inverter could not be put at `path`."""
    check_replaceable(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path}: is a file; an inverter needs a folder of its own")
    names = {entry.name for entry in path.iterdir()}
    if names - set(FILES):
        raise OutputError(f"{path}: is a folder that holds something else; choose another name")
    if names and not force:
        raise OutputError(f"{path}: exists already; choose another name, or replace it with --force (force=True)")


def _block_repeats(logs: Tensor, history: Tensor, size: int = 3) -> None:
    """Forbid, in place, the token that would make a row repeat `size` tokens that it has already."""
    if history.shape[1] < size:
        return
    for row, tokens in enumerate(history.tolist()):
        end = tuple(tokens[1 - size :])
        for i in range(len(tokens) - size + 1):
            if tuple(tokens[i : i + size - 1]) == end and tokens[i + size - 1] != END:
                logs[row, tokens[i + size - 1]] = NEVER


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: is no inverter, or not a whole one: it has no {name}") from error
    except OSError as error:
        raise ArtifactError(f"{path}: {name} cannot be read: {error.strerror or one_line(error)}") from error


def _read_config(path: Path, content: bytes) -> _Config:
    try:
        tree = json.loads(content)
    except ValueError as error:
        raise ArtifactError(f"{path}: {CONFIG} is damaged ({one_line(error)})") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise ArtifactError(f"{path}: is no inverter of vec2vec: its {CONFIG} is that of something else")
    if tree.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: has format {tree.get('format_version')!r}, and this vec2vec reads {FORMAT_VERSION}"
        )
    try:
        return _Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtifactError(
            f"{path}: {CONFIG} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error


def _card(inverter: Inverter) -> str:
    record = inverter.record
    encoder = record.get("encoder", {})
    return f"""---
library_name: vec2vec
tags:
- vec2vec
- embedding-inversion
---

# Inverter: vectors of {encoder.get("encoder", "an encoder")} to text

A transformer of {record.get("parameters", 0):,} parameters that writes the text which a vector of
{inverter.width} dimensions may stand for. Trained on {record.get("texts", 0):,} public texts in
{record.get("steps", 0):,} steps; held-out loss {record.get("held_out_loss", float("nan")):.3f} nats a token.

```sh
vec2vec audit LEAK --encoder {encoder.get("encoder", "KNOWN")} --reference TEXTS --inverter path/to/this/folder
```

## Responsible use

It turns vectors back into approximations of their texts. Use it on vectors that are yours, or that you are authorised
to test. It was trained on public texts, and may write things of these that are not in the vector.
"""
