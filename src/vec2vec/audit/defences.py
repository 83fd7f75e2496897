"""What would help: the same attack on a protected leak, and what the protection costs the store's own search.

Every defence is attacked by somebody who holds nothing but the protected vectors: a translator is fitted on them from
nothing. The owner knows the secret of a defence, and treats a query as it is due. Leakage and utility are measured on
the same rows.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vec2vec.align.inputs import MIN_ROWS
from vec2vec.audit.intervals import mean_estimate
from vec2vec.errors import ConfigError
from vec2vec.evaluate.metrics import Estimate
from vec2vec.vectors import Float32, Int64

Family = Literal["none", "noise", "quantisation", "fewer dimensions", "secret"]
NEIGHBOURS = 10
QUERIES = 500
TENANTS = 10


@dataclass(frozen=True, eq=False)
class Protected:
    """A protected store.

    Attributes
    ----------
    stored : what an attacker gets: (n, k) float32, of `rows`
    rows : (n,) of the original rows: all, or those of one tenant
    queries : (n, k) float32: each of these rows as the owner would ask for it
    """

    stored: Float32
    rows: Int64
    queries: Float32


@dataclass(frozen=True)
class Defence:
    """A way to protect vectors.

    Attributes
    ----------
    name : of the command line
    title : of the report
    family : of the chart
    protect : (n, d) float32 and a random generator, the owner's secret, to a `Protected`
    """

    name: str
    title: str
    family: Family
    protect: Callable[[Float32, np.random.Generator], Protected]


@dataclass(frozen=True)
class DefenceResult:
    """A defence, measured.

    Attributes
    ----------
    name, title, family : of the defence
    rows : that the attack was fitted on
    verdict : of the attacker's fit
    recall : of the store's own search: of the 10 nearest by the vectors as they were, the share that is found
    top1 : of the translation, None where no native vectors are known
    reader : of the attributes: that which tells most of the undefended store; None without truth
    attributes : its top-1, None without truth
    lift : of that, see `vec2vec.audit.attributes.Attributes.telling`
    token_f1, revealing : of the texts recovered, None without an inversion or truth
    """

    name: str
    title: str
    family: Family
    rows: int
    verdict: str
    recall: Estimate
    top1: Estimate | None = None
    reader: str | None = None
    attributes: Estimate | None = None
    lift: float = float("nan")
    token_f1: Estimate | None = None
    revealing: Estimate | None = None

    @property
    def leakage(self) -> float:
        """One number for the chart: the lift of attributes, else top-1 of the translation; NaN where neither is known.

        It is not below 0: an attack that is worse than chance tells as little as chance does.
        """
        if np.isfinite(self.lift):
            return max(self.lift, 0.0)
        if self.top1 is not None:
            return self.top1.value
        return float("nan")


def noise(strength: float) -> Callable[[Float32, np.random.Generator], Protected]:
    """Gaussian noise of `strength` times the vectors' mean distance from their mean, on what is stored."""

    def protect(x: Float32, rng: np.random.Generator) -> Protected:
        radius = float(np.linalg.norm(x - x.mean(0), axis=1).mean())
        away = rng.standard_normal(x.shape).astype(np.float32) * np.float32(strength * radius / np.sqrt(x.shape[1]))
        return _all(x + away, x)

    return protect


def int8(x: Float32, rng: np.random.Generator) -> Protected:
    """Each dimension rounded to 255 steps between its extremes."""
    scale = np.maximum(np.abs(x).max(0), 1e-12) / np.float32(127)
    return _all(np.rint(x / scale) * scale, x)


def binary(x: Float32, rng: np.random.Generator) -> Protected:
    """The sign of each dimension. Queries are not rounded, which finds more than Hamming distances do."""
    return _all(np.where(x >= 0, 1, -1), x)


def truncation(share: float) -> Callable[[Float32, np.random.Generator], Protected]:
    """The first dimensions alone, as Matryoshka vectors are cut."""

    def protect(x: Float32, rng: np.random.Generator) -> Protected:
        cut = x[:, : max(2, round(share * x.shape[1]))]
        return _all(cut, cut)

    return protect


def pca(share: float) -> Callable[[Float32, np.random.Generator], Protected]:
    """The widest principal axes alone, around the mean."""

    def protect(x: Float32, rng: np.random.Generator) -> Protected:
        centred = x - x.mean(0)
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : max(2, round(share * x.shape[1]))]
        kept = centred @ axes
        return _all(kept, kept)

    return protect


def shuffle(x: Float32, rng: np.random.Generator) -> Protected:
    """The dimensions in a secret order."""
    mixed = x[:, rng.permutation(x.shape[1])]
    return _all(mixed, mixed)


def rotation(x: Float32, rng: np.random.Generator) -> Protected:
    """A secret rotation."""
    turned = x @ _orthogonal(x.shape[1], rng)
    return _all(turned, turned)


def tenant_projections(x: Float32, rng: np.random.Generator) -> Protected:
    """A secret random projection to half the width for each of ten tenants; the leak is that of one of them.

    It has as many rows as a fit needs at least, where a tenth would be fewer.
    Who does not know which rows are whose has the worse of it; so this is the stronger attacker, who does.
    """
    rows = np.sort(rng.permutation(len(x))[: max(MIN_ROWS, len(x) // TENANTS)])
    own = x[rows] @ _orthogonal(x.shape[1], rng)[:, : max(2, x.shape[1] // 2)]
    return Protected(_float32(own), rows, _float32(own))


def _none(x: Float32, rng: np.random.Generator) -> Protected:
    return _all(x, x)


DEFENCES: dict[str, Defence] = {
    one.name: one
    for one in (
        Defence("none", "no defence", "none", _none),
        Defence("noise-0.1", "Gaussian noise, 0.1 of the spread", "noise", noise(0.1)),
        Defence("noise-0.3", "Gaussian noise, 0.3 of the spread", "noise", noise(0.3)),
        Defence("noise-1", "Gaussian noise, as wide as the spread", "noise", noise(1.0)),
        Defence("noise-2", "Gaussian noise, twice the spread", "noise", noise(2.0)),
        Defence("int8", "int8 quantisation", "quantisation", int8),
        Defence("binary", "binary quantisation", "quantisation", binary),
        Defence("half", "the first half of the dimensions", "fewer dimensions", truncation(0.5)),
        Defence("eighth", "the first eighth of the dimensions", "fewer dimensions", truncation(0.125)),
        Defence("pca-quarter", "PCA to a quarter of the width", "fewer dimensions", pca(0.25)),
        Defence("pca-16th", "PCA to a sixteenth of the width", "fewer dimensions", pca(1 / 16)),
        Defence("shuffle", "secret order of the dimensions", "secret", shuffle),
        Defence("rotation", "secret rotation", "secret", rotation),
        Defence("tenants", "secret projection per tenant", "secret", tenant_projections),
    )
}


def choose_defences(names: str | Sequence[str]) -> list[Defence]:
    """The defences of these names: "all", "none" (no defence is measured), or some; the undefended store comes first.

    Raises
    ------
    ConfigError : an unknown name
    """
    asked = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    if asked == ["none"]:
        return []
    if asked == ["all"]:
        return list(DEFENCES.values())
    for name in asked:
        if name not in DEFENCES:
            near = difflib.get_close_matches(name, DEFENCES, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"there is no defence '{name}'{hint}; there are all, {', '.join(DEFENCES)}")
    return [DEFENCES[name] for name in dict.fromkeys(["none", *asked])]


def search_recall(x: Float32, protected: Protected, *, resamples: int, seed: int) -> Estimate:
    """Recall@10 of the protected store's own search: queries are rows of the store, which do not find themselves.

    Neighbours are those of the highest cosine, before and after.
    """
    own = x[protected.rows]
    rng = np.random.default_rng([seed, 5])
    asked = np.sort(rng.permutation(len(own))[:QUERIES])
    k = min(NEIGHBOURS, len(own) - 1)
    due = _nearest(own[asked], own, asked, k)
    got = _nearest(protected.queries[asked], protected.stored, asked, k)
    shares = [len(set(a) & set(b)) / k for a, b in zip(due.tolist(), got.tolist(), strict=True)]
    return mean_estimate(shares, resamples=resamples, seed=seed)


def recommend(results: Sequence[DefenceResult]) -> str:
    """What the figures say to do, in plain words. Thresholds: half of the leakage gone, nine tenths of recall kept."""
    base = next((one for one in results if one.family == "none"), None)
    if base is None:
        return "The store without a defence could not be attacked, so that the defences cannot be compared."
    if not np.isfinite(base.leakage):
        return "Without truth the defences cannot be compared: give labels or texts of the leak with --truth."
    if base.verdict == "not aligned" or base.leakage < 0.05:
        return (
            "On so many rows the attack failed without any defence, so these figures do not tell the defences apart. "
            "A larger leak may still be readable: repeat this with more rows."
        )
    others = [one for one in results if one is not base]
    useless = [one.title for one in others if one.leakage > 0.8 * base.leakage]
    good = [one for one in others if one.leakage <= 0.5 * base.leakage and one.recall.value >= 0.9]
    dear = [one for one in others if one.leakage <= 0.5 * base.leakage and one.recall.value < 0.9]
    lines = []
    if good:
        best = min(good, key=lambda one: (one.leakage, -one.recall.value))
        lines.append(
            f"Of what was measured, {best.title} does most at little cost: leakage falls from {base.leakage:.2f} to "
            f"{best.leakage:.2f}, and {best.recall.value:.0%} of the neighbours are still found."
        )
    else:
        lines.append("Nothing that was measured halves the leak and keeps nine tenths of the search.")
    if dear:
        each = "; ".join(f"{one.title} (leakage {one.leakage:.2f}, recall {one.recall.value:.0%})" for one in dear)
        lines.append(f"At a price in search: {each}.")
    if useless:
        lines.append(f"No defence: {', '.join(useless)}.")
    if any(one.name == "tenants" and one in (*good, *dear) for one in results):
        lines.append(
            "A projection per tenant helps only as far as each tenant's rows are too few to fit on; a tenant with as "
            "many rows as were audited here is as readable as the whole."
        )
    lines.append(
        "In any case keep vectors as you keep the texts: access control, encryption at rest, no copies to third "
        "parties, deletion together with the text."
    )
    return " ".join(lines)


def _nearest(queries: Float32, stored: Float32, own: Int64, k: int) -> Int64:
    similarity = _unit(queries) @ _unit(stored).T
    similarity[np.arange(len(own)), own] = -np.inf
    return np.argpartition(-similarity, k - 1, axis=1)[:, :k]


def _all(stored: Float32, queries: Float32) -> Protected:
    return Protected(_float32(stored), np.arange(len(stored)), _float32(queries))


def _float32(x: Float32) -> Float32:
    return np.ascontiguousarray(x, np.float32)


def _orthogonal(width: int, rng: np.random.Generator) -> Float32:
    """A rotation drawn uniformly (Mezzadri 2007: the signs of R make it so)."""
    q, r = np.linalg.qr(rng.standard_normal((width, width)))
    return np.asarray(q * np.sign(np.diag(r)), np.float32)


def _unit(x: Float32) -> Float32:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
