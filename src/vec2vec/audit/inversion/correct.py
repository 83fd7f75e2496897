"""Nearest texts, and correction: embed a hypothesis again, keep and mutate what moves closer to the vector.

The search is that of ZSInvert (arXiv 2504.00147) and vec2text (arXiv 2310.06816) in one: hypotheses are scored by the
cosine of their embedding with the vector, both centred, and nothing else. In a round each vector's best hypotheses get
mutations: the text after some place is written anew, by the decoder or by a language model; a word is replaced,
inserted or left out. Words come from what the decoder reads off the vector t, or off t + (t - e): where the embedding e
of the hypothesis falls short of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from vec2vec.audit.inversion.inverter import Hypothesis, Inverter
from vec2vec.vectors import Float32

Embed = Callable[[Sequence[str]], Float32]
Scored = list[Hypothesis]
WORDS = 60  # that a vector speaks for, to draw edits from
REWRITTEN = 0.35  # of the mutations; the others change words
BLOCK = 4096


class Proposer(Protocol):
    """Anything that continues texts at random: see `vec2vec.audit.inversion.lm`."""

    def continue_texts(self, starts: Sequence[str], *, seed: int) -> list[str]: ...


def nearest_texts(
    vectors: Float32, reference: Float32, texts: Sequence[str], mean: Float32, count: int = 1
) -> list[Scored]:
    """The closest reference texts of each vector, with their cosine, the closest first.

    Parameters
    ----------
    vectors : (n, d) float32 of the known space
    reference : (m, d) float32, of `texts`
    mean : (d,), of the known space: cosines are centred
    count : how many
    """
    known = _unit(reference - mean)
    found: list[Scored] = []
    for start in range(0, len(vectors), BLOCK):
        similarity = _unit(vectors[start : start + BLOCK] - mean) @ known.T
        for row in similarity:
            best = np.argpartition(-row, min(count, len(row) - 1))[:count]
            best = best[np.argsort(-row[best], kind="stable")]
            found.append([Hypothesis(texts[i], float(row[i])) for i in best])
    return found


def correct(
    inverter: Inverter,
    embed: Embed,
    vectors: Float32,
    starts: Sequence[Sequence[str]],
    *,
    rounds: int,
    beam: int,
    proposals: int,
    closeness: float = 1.0,
    seed: int = 0,
    proposer: Proposer | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[Scored]:
    """Hypotheses of each vector, improved round by round, the best first, with their centred cosine.

    Parameters
    ----------
    inverter : reads words off vectors, and rewrites texts where no `proposer` does
    embed : texts to (k, d) vectors of the known encoder; a blank text may be zero
    vectors : (n, d) float32 of the known space
    starts : for each vector, one hypothesis or more
    rounds, beam, proposals : rounds, hypotheses kept, and mutations of each vector in a round
    closeness : see `Inverter.decode`
    progress : called with the round and the mean of the best cosines
    """
    rng = np.random.default_rng(seed)
    target = vectors - inverter.mean
    kept, reached = _score_all(
        inverter, embed, target, [list(dict.fromkeys(own)) for own in starts], [[]] * len(starts), beam
    )
    for number in range(rounds):
        short = _short_of(target, reached)
        words = [
            a + b
            for a, b in zip(
                _words(inverter, vectors, closeness), _words(inverter, inverter.mean + short, closeness), strict=True
            )
        ]
        fresh = _rewritten(inverter, proposer, kept, inverter.mean + short, vectors, proposals, closeness, rng)
        edits = proposals - int(REWRITTEN * proposals)
        new = [
            list(dict.fromkeys([*rewritten, *(_edit(_pick(own, rng), draw, rng) for _ in range(edits))]))
            for own, draw, rewritten in zip(kept, words, fresh, strict=True)
        ]
        kept, reached = _score_all(inverter, embed, target, new, kept, beam)
        if progress is not None:
            progress(number + 1, float(np.mean([own[0].score for own in kept])))
    return kept


def _score_all(
    inverter: Inverter, embed: Embed, target: Float32, new: Sequence[list[str]], kept: Sequence[Scored], beam: int
) -> tuple[list[Scored], Float32]:
    """The best of old and new hypotheses of each vector, and the (n, d) centred embedding of the very best."""
    known = [{one.text for one in own} for own in kept]
    fresh = [[text for text in own if text.strip() and text not in seen] for own, seen in zip(new, known, strict=True)]
    every = list(dict.fromkeys([text for own in fresh for text in own] + [own[0].text for own in kept if own]))
    place = {text: i for i, text in enumerate(every)}
    embedded = embed(every) - inverter.mean if every else np.zeros((0, target.shape[1]), np.float32)
    unit, goal = _unit(embedded), _unit(target)
    out: list[Scored] = []
    reached = np.zeros_like(target)
    for i, own in enumerate(fresh):
        rows = [place[text] for text in own]
        scores = unit[rows] @ goal[i] if rows else []
        joined = [*kept[i], *(Hypothesis(text, float(score)) for text, score in zip(own, scores, strict=True))]
        joined = sorted(joined, key=lambda one: -one.score)[:beam] or [Hypothesis("", -1.0)]
        out.append(joined)
        if joined[0].text in place:
            reached[i] = embedded[place[joined[0].text]]
    return out, reached


def _short_of(target: Float32, reached: Float32) -> Float32:
    """t + (t - e), both of norm one."""
    return np.asarray(2 * _unit(target) - _unit(reached), np.float32)


def _words(inverter: Inverter, vectors: Float32, closeness: float) -> list[list[str]]:
    usable = inverter.words(vectors, 2 * WORDS, closeness=closeness)
    return [[w.strip() for w in row if w.strip() and not w.startswith("##")][:WORDS] for row in usable]


def _rewritten(
    inverter: Inverter,
    proposer: Proposer | None,
    kept: Sequence[Scored],
    short: Float32,
    vectors: Float32,
    proposals: int,
    closeness: float,
    rng: np.random.Generator,
) -> list[list[str]]:
    """For each vector, hypotheses written anew after some place."""
    each = int(REWRITTEN * proposals)
    if not each:
        return [[] for _ in kept]
    starts = []
    for own in kept:
        for _ in range(each):
            words = _pick(own, rng).split()
            starts.append(" ".join(words[: int(rng.integers(0, len(words) + 1))]))
    seed = int(rng.integers(2**31))
    if proposer is not None:
        made = proposer.continue_texts(starts, seed=seed)
    else:
        half = np.arange(len(starts)) % 2 == 0
        rows = np.repeat(np.arange(len(kept)), each)
        towards = np.where(half[:, None], vectors[rows], short[rows])
        made = inverter.continue_texts(towards, starts, closeness=closeness, temperature=0.7, seed=seed)
    return [made[i * each : (i + 1) * each] for i in range(len(kept))]


def _pick(own: Scored, rng: np.random.Generator) -> str:
    """A hypothesis to mutate, the best ones more often."""
    return own[min(int(rng.exponential(1.0)), len(own) - 1)].text


def _edit(text: str, words: Sequence[str], rng: np.random.Generator) -> str:
    """One to three words replaced, inserted, left out, or moved."""
    own = text.split()
    for _ in range(1 + int(rng.integers(0, 3))):
        kind = rng.random()
        place = int(rng.integers(0, len(own) + 1))
        word = words[min(int(rng.exponential(len(words) / 4)), len(words) - 1)] if words else ""
        if not own or (kind < 0.35 and word):
            own.insert(place, word)
        elif kind < 0.7 and word:
            own[min(place, len(own) - 1)] = word
        elif kind < 0.9 and len(own) > 1:
            width = 1 + int(rng.integers(0, 3))
            del own[min(place, len(own) - 1) : min(place, len(own) - 1) + width]
        elif len(own) > 1:
            own.insert(place, own.pop(int(rng.integers(0, len(own)))))
    return " ".join(own)


def _unit(x: Float32) -> Float32:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
