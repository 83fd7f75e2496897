"""The words of a leak: three ways to texts, from translated vectors, beside native and random ones (ceiling, floor)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from vec2vec.audit.inversion.correct import Embed, Proposer, Scored, correct, nearest_texts
from vec2vec.audit.inversion.entities import CapitalRule, NameFinder
from vec2vec.audit.inversion.inverter import Inverter
from vec2vec.audit.inversion.measures import TextMeasures, measure_texts
from vec2vec.audit.inversion.published import PublishedInverter
from vec2vec.audit.inversion.vocabulary import cut_as_seen
from vec2vec.audit.settings import AuditSettings
from vec2vec.encoders import Encoder
from vec2vec.vectors import Float32, Int64

Vectors = Literal["translated", "native", "floor"]
Method = Literal["nearest", "decoder", "corrected", "vec2text"]
FLOOR_ROWS = 50


class Judge(Protocol):
    """Says whether each hypothesis reveals something of its text; None where it does not tell."""

    def __call__(self, hypotheses: Sequence[str], truths: Sequence[str]) -> list[bool | None]: ...

    def notes(self) -> list[str]:
        """What a reader of its judgements has to know."""
        ...


@dataclass(frozen=True)
class Recovery:
    """What one method made of one kind of vectors.

    Attributes
    ----------
    vectors : "translated"; "native": of the true texts, the ceiling; "floor": random ones with the reference's mean and
        covariance
    method : "nearest", "decoder", "corrected" or "vec2text"
    texts : one for each row
    measures : None where the true texts are not known
    """

    vectors: Vectors
    method: Method
    texts: tuple[str, ...]
    measures: TextMeasures | None


@dataclass(frozen=True)
class Inversion:
    """The texts that were recovered.

    Attributes
    ----------
    rows : of the leak, which were turned into text
    truths : cut to what the vectors saw; None where they are not known
    recoveries : one for each method and kind of vectors
    inverter : its record, None without one
    names_by : how names were found: "a rule of capitals", or the model of spaCy
    judged_by : "a rule", or the endpoint
    """

    rows: tuple[int, ...]
    truths: tuple[str, ...] | None
    recoveries: tuple[Recovery, ...]
    inverter: dict[str, Any] | None
    names_by: str = "a rule of capitals"
    judged_by: str = "a rule"

    def find(self, vectors: Vectors, method: Method | None = None) -> Recovery | None:
        """The recovery by this method, or by the strongest that was used; None if there is none such."""
        found = [one for one in self.recoveries if one.vectors == vectors and method in (None, one.method)]
        return found[-1] if found else None


def print_nothing(line: str) -> None:
    """Say nothing of the stages."""


@dataclass(frozen=True, eq=False)
class Tools:
    """What an inversion works with.

    Attributes
    ----------
    reference, texts : (n, d) float32 of the known encoder, and their texts
    embed : texts to vectors of the known encoder, not cached
    inverter, proposer, published : None without
    names, judge : None takes the rules
    """

    reference: Float32
    texts: Sequence[str]
    embed: Embed
    encoder: Encoder
    inverter: Inverter | None = None
    proposer: Proposer | None = None
    published: PublishedInverter | None = None
    names: NameFinder | None = None
    names_by: str = "a rule of capitals"
    judge: Judge | None = None
    judged_by: str = "a rule"
    say: Callable[[str], None] = print_nothing

    @property
    def mean(self) -> Float32:
        if self.inverter is not None:
            return self.inverter.mean
        return np.asarray(self.reference.mean(0, dtype=np.float64), np.float32)


def invert(
    tools: Tools,
    rows: Int64,
    translated: Float32,
    *,
    native: Float32 | None,
    truths: Sequence[str] | None,
    settings: AuditSettings,
    floor: bool = True,
) -> Inversion:
    """Recover the texts of translated vectors, and measure it where the true texts are known.

    Parameters
    ----------
    rows : (n,) their numbers in the leak
    translated, native : (n, d) float32 of the known space
    truths : of the same rows
    floor : invert random vectors, too
    """
    names = tools.names
    cut = None if truths is None else cut_as_seen(tools.encoder, truths)
    names = names or CapitalRule.of([*tools.texts, *(cut or ())])
    recoveries: list[Recovery] = []
    kinds: list[tuple[Vectors, Float32, float]] = [("translated", translated, settings.closeness)]
    if native is not None and cut is not None:
        kinds.append(("native", native, 1.0))
    if floor and cut is not None:
        few = min(FLOOR_ROWS, len(translated))
        kinds.append(("floor", random_like(tools.reference, few, settings.seed), settings.closeness))
    for kind, vectors, closeness in kinds:
        for method, texts in _texts(tools, vectors, closeness, settings, kind).items():
            measures = None
            if cut is not None:
                measures = _measure(tools, texts, cut[: len(texts)], native, names, settings)
            recoveries.append(Recovery(kind, method, tuple(texts), measures))
    record = next((one.record for one in (tools.inverter, tools.published) if one is not None), None)
    return Inversion(
        tuple(rows.tolist()),
        None if cut is None else tuple(cut),
        tuple(recoveries),
        record,
        tools.names_by,
        tools.judged_by,
    )


def random_like(reference: Float32, rows: int, seed: int) -> Float32:
    """(rows, d) normal vectors with the mean and the covariance of the reference, at its mean norm."""
    rng = np.random.default_rng([seed, 11])
    mean = reference.mean(0, dtype=np.float64)
    # a normal mixture of centred rows has their covariance
    weights = rng.standard_normal((rows, len(reference))) / np.sqrt(len(reference))
    x = mean + weights @ (reference - mean)
    norm = float(np.linalg.norm(reference, axis=1).mean())
    return np.asarray(x * (norm / np.linalg.norm(x, axis=1, keepdims=True)), np.float32)


def _texts(
    tools: Tools, vectors: Float32, closeness: float, settings: AuditSettings, kind: str
) -> dict[Method, list[str]]:
    near = nearest_texts(vectors, tools.reference, tools.texts, tools.mean, count=2)
    out: dict[Method, list[str]] = {"nearest": [own[0].text for own in near]}
    if tools.published is not None:
        tools.say(f"inverting {len(vectors):,} {kind} vectors with vec2text")
        out["vec2text"] = tools.published.invert(vectors)
    if tools.inverter is None:
        return out
    tools.say(f"decoding {len(vectors):,} {kind} vectors")
    decoded: list[Scored] = tools.inverter.decode(vectors, beam=settings.beam, closeness=closeness)
    out["decoder"] = [own[0].text for own in decoded]
    if settings.rounds:
        tools.say(f"correcting {len(vectors):,} {kind} texts, {settings.rounds} rounds")
        starts = [[one.text for one in (*a, *b)] for a, b in zip(decoded, near, strict=True)]
        found = correct(
            tools.inverter,
            tools.embed,
            vectors,
            starts,
            rounds=settings.rounds,
            beam=settings.beam,
            proposals=settings.proposals,
            closeness=closeness,
            seed=settings.seed,
            proposer=tools.proposer,
            progress=lambda number, cosine: tools.say(f"round {number} of {settings.rounds}: mean cosine {cosine:.3f}"),
        )
        out["corrected"] = [own[0].text for own in found]
    return out


def _measure(
    tools: Tools,
    texts: Sequence[str],
    truths: Sequence[str],
    native: Float32 | None,
    names: NameFinder,
    settings: AuditSettings,
) -> TextMeasures:
    cosines = None
    if native is not None:
        x, y = tools.embed(texts), native[: len(texts)]
        scale = np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1), 1e-12)
        cosines = (np.einsum("ij,ij->i", x, y) / scale).tolist()
    return measure_texts(
        texts,
        truths,
        names,
        cosines=cosines,
        revealing=None if tools.judge is None else tools.judge(texts, truths),
        resamples=settings.resamples,
        seed=settings.seed,
    )
