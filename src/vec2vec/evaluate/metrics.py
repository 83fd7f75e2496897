"""How good is a translation, where the truth is known: retrieval and cosine, in both directions, beside baselines.

The truth is row-aligned: row ``i`` of the source set and row ``i`` of the target set are the same text. A translated
row is a *query*; the native rows of the other space are its *candidates*; its *own* candidate is the one of the same
row.

Definitions (the raw-cosine ones are those of every table in the README):

- **similarity**: the cosine in the target's native geometry, without centring (``cosine``), or cross-domain similarity
  local scaling (``csls``; Conneau et al. 2017, "Word translation without parallel data", section 2.3) with ``k = 10``
  neighbours.
- **rank**: one plus the number of candidates that are strictly more similar than the own one. Exact ties (the same text
  twice, a collapsed latent) count half each: the rank is the expected one when ties are broken at random, and top-k the
  probability of a place among the first k. So an output that cannot tell the candidates apart scores at chance, not 1.
- **pools**: retrieval among ``N`` candidates. Smaller pools than the set are a random partition of its rows. Every row
  is scored once, and every pool has exactly ``N`` candidates: rows that remain over make a last pool, filled up with
  rows of other pools, which are candidates there and not scored again.
- **centred cosine**: the cosine after the mean of the native rows has been taken from both sides.

The own similarity always comes from the same matrix product as the others: computed apart, its rounding differs, and
rows that should tie with themselves lose their first place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc

from vec2vec.errors import DimensionError, InputError
from vec2vec.vectors import check_vectors, mend_norms

Floats = NDArray[np.floating[Any]]
Pools = Sequence[int | None]

CSLS_NEIGHBOURS = 10
CONFIDENCE = 0.95
MIN_RESAMPLES = 100
DEFAULT_POOLS: tuple[int | None, ...] = (1024, 4096, None)
_TOP = (1, 5, 16)
_RESAMPLES_AT_ONCE = 32


class SpaceMaps(Protocol):
    """What :func:`evaluate` needs of a translator."""

    @property
    def spaces(self) -> tuple[str, ...]: ...

    def translate(self, x: Floats, *, source: str, target: str) -> Floats: ...

    def latent(self, x: Floats, *, space: str) -> Floats: ...


# --- results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% bootstrap interval over rows. Exact figures, as chance is, have all three equal."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Retrieval:
    """Where the own candidate stands: shares in [0, 1], ranks from 1 to the size of the pool."""

    top1: Estimate
    top5: Estimate
    top16: Estimate
    mean_rank: Estimate
    median_rank: Estimate


@dataclass(frozen=True)
class PoolScores:
    """Retrieval among ``size`` candidates; ``whole`` when that is all of them."""

    size: int
    whole: bool
    cosine: Retrieval
    csls: Retrieval


@dataclass(frozen=True)
class Scores:
    """One set of vectors against its truth: mean cosine with the own candidate, raw and centred; retrieval per pool."""

    cosine: Estimate
    centred_cosine: Estimate
    pools: tuple[PoolScores, ...]

    def pool(self, size: int | None = None) -> PoolScores:
        """Give the pool of ``size`` candidates, or (None) the one of all rows; InputError if it was not scored."""
        for pool in self.pools:
            if pool.size == size or (size is None and pool.whole):
                return pool
        raise InputError(
            f"no pool of {'all rows' if size is None else size} was scored: {[p.size for p in self.pools]}"
        )


@dataclass(frozen=True)
class Direction:
    """One direction of one comparison (``"translation"`` or ``"latent"``) beside its baselines.

    ``mean_vector`` answers every row with the mean of the native rows; ``identity`` with the untranslated row,
    zero-padded or truncated to the other width (None in the latent, which has no untranslated rows); ``chance`` is the
    expectation for the same vectors matched at random.
    """

    comparison: str
    source: str
    target: str
    scores: Scores
    mean_vector: Scores
    identity: Scores | None
    chance: Scores


@dataclass(frozen=True)
class TableSection:
    """A title and rows of text cells, one per column of the table."""

    title: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """Text cells in sections, one for each column."""

    columns: tuple[str, ...]
    sections: tuple[TableSection, ...]


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found. ``skipped_pools`` are the sizes asked for that are larger than the set."""

    rows: int
    forward: Direction
    backward: Direction
    latent_forward: Direction
    latent_backward: Direction
    skipped_pools: tuple[int, ...]
    resamples: int
    seed: int
    confidence: float = CONFIDENCE
    csls_neighbours: int = CSLS_NEIGHBOURS

    @property
    def directions(self) -> tuple[Direction, ...]:
        """All four comparisons, in reading order."""
        return self.forward, self.backward, self.latent_forward, self.latent_backward

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON-ready dictionaries, lists, strings and numbers."""
        tree: dict[str, Any] = _json_ready(asdict(self))
        return tree

    def table(self) -> Table:
        """Give the figures as text, one section for each comparison and direction; baselines on the largest pool."""
        return Table(
            columns=("", "pool", "top-1", "95%", "top-5", "top-16", "rank", "median", "cosine", "centred"),
            sections=tuple(_section(direction) for direction in self.directions),
        )


def _json_ready(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _json_ready(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_json_ready(value) for value in node]
    return node


def _section(direction: Direction) -> TableSection:
    where = "" if direction.comparison == "translation" else ", in the latent"
    rows = [
        _cells(name, direction.scores, pool, getattr(pool, neighbours))
        for name, neighbours in ((direction.comparison, "cosine"), ("with CSLS", "csls"))
        for pool in direction.scores.pools
    ]
    baselines = (("mean vector", direction.mean_vector), ("identity", direction.identity), ("chance", direction.chance))
    for name, scores in baselines:
        if scores is not None:
            largest = max(scores.pools, key=lambda pool: pool.size)
            rows.append(_cells(name, scores, largest, largest.cosine))
    return TableSection(f"{direction.source} → {direction.target}{where}", tuple(rows))


def _cells(name: str, scores: Scores, pool: PoolScores, found: Retrieval) -> tuple[str, ...]:
    top1 = found.top1
    return (
        name,
        f"{pool.size:,}",
        _share(top1.value),
        "" if top1.low == top1.high else f"{top1.low:.3f}–{top1.high:.3f}".replace("0.", "."),
        _share(found.top5.value),
        _share(found.top16.value),
        _rank(found.mean_rank.value),
        _rank(found.median_rank.value),
        f"{scores.cosine.value:.3f}",
        f"{scores.centred_cosine.value:.3f}",
    )


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1g}"


def _rank(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


# --- the public functions ---------------------------------------------------------------------------------------------


def evaluate(
    translator: SpaceMaps,
    source: ArrayLike,
    target: ArrayLike,
    *,
    source_space: str | None = None,
    target_space: str | None = None,
    pools: Pools = DEFAULT_POOLS,
    bootstrap: int = 1000,
    seed: int = 0,
    batch_rows: int = 1024,
) -> Evaluation:
    """Score a translator on row-aligned truth, in both directions and in the shared latent, beside baselines.

    Parameters
    ----------
    translator
        Anything with ``spaces``, ``translate(x, source=, target=)`` and ``latent(x, space=)``.
    source : array_like, shape (n, d_source)
        Native vectors of ``source_space``; row i is the same text as row i of ``target``. At least two rows.
    target : array_like, shape (n, d_target)
        Native vectors of ``target_space``.
    source_space, target_space : str, optional
        Names among ``translator.spaces``; may be left out when there are two.
    pools : sequence of int or None
        Numbers of candidates; None is all rows. Sizes above n are skipped and listed in ``skipped_pools``. All rows
        cost O(n²) time: leave None out for very large sets.
    bootstrap : int
        Resamples of the rows for the 95% percentile intervals, at least 100. The same resamples serve every figure. The
        pools stay as they are: an interval says how much the figure depends on which texts were asked, and one around a
        share that is exactly 0 or 1 has no width.
    seed : int
        For the partition into pools and the resamples.
    batch_rows : int
        Queries per matrix product: memory is ``2 * 4 * batch_rows * n`` bytes beside a few copies of the vectors.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        Different numbers of rows, bad rows, an unknown space, no pool that fits, or a translation that is not finite.
    DimensionError
        Vectors of another width than their space.
    """
    source_space, target_space = _pair_of_spaces(translator, source_space, target_space)
    x, y = check_vectors(source, name="source"), check_vectors(target, name="target")
    if len(x) != len(y):
        raise InputError(f"source has {len(x):,} rows and target {len(y):,}: row i of both must be the same text")
    plan = _plan(len(x), pools, bootstrap, seed, batch_rows)
    to_target = _translated(translator, x, source_space, target_space, y.shape[1])
    to_source = _translated(translator, y, target_space, source_space, x.shape[1])
    latent_x = _finite(translator.latent(x, space=source_space), len(x), f"the latent of {source_space}")
    latent_y = _finite(translator.latent(y, space=target_space), len(y), f"the latent of {target_space}")
    _same_width(latent_x, f"the latent of {source_space}", latent_y.shape[1], f"that of {target_space}")
    return Evaluation(
        rows=len(x),
        forward=_direction("translation", source_space, target_space, to_target, y, x, plan),
        backward=_direction("translation", target_space, source_space, to_source, x, y, plan),
        latent_forward=_direction("latent", source_space, target_space, latent_x, latent_y, None, plan),
        latent_backward=_direction("latent", target_space, source_space, latent_y, latent_x, None, plan),
        skipped_pools=plan.skipped,
        resamples=bootstrap,
        seed=seed,
    )


def score(
    translated: ArrayLike,
    truth: ArrayLike,
    *,
    pools: Pools = DEFAULT_POOLS,
    bootstrap: int = 1000,
    seed: int = 0,
    batch_rows: int = 1024,
) -> Scores:
    """Score translated vectors against their row-aligned truth, both (n, d), in one direction, without baselines.

    The other parameters, and what is raised, are those of :func:`evaluate`.
    """
    native = check_vectors(truth, name="truth")
    queries = _finite(np.asarray(translated), len(native), "translated")
    _same_width(queries, "translated", native.shape[1], "the truth")
    return _score(queries, native, _plan(len(native), pools, bootstrap, seed, batch_rows))


def fit_width(x: Floats, width: int) -> Floats:
    """Zero-pad or truncate (n, d) to (n, ``width``): the comparison of two spaces as they are."""
    return np.pad(x[:, :width], ((0, 0), (0, max(0, width - x.shape[1]))))


# --- checks -----------------------------------------------------------------------------------------------------------


def _pair_of_spaces(translator: SpaceMaps, source: str | None, target: str | None) -> tuple[str, str]:
    spaces = tuple(translator.spaces)
    for name in (source, target):
        if name is not None and name not in spaces:
            raise InputError(f"the translator has no space {name!r}, only {', '.join(spaces)}")
    if source is None and target is None and len(spaces) == 2:
        return spaces[0], spaces[1]
    if len(spaces) == 2 and (source is None or target is None):
        other = {spaces[0]: spaces[1], spaces[1]: spaces[0]}
        source, target = (source, other[source]) if source is not None else (other[str(target)], target)
    if source is None or target is None:
        raise InputError(
            f"the translator has {len(spaces)} spaces ({', '.join(spaces)}): name source_space and target_space"
        )
    if source == target:
        raise InputError(f"source_space and target_space are both {source!r}: name two spaces")
    return source, target


def _translated(translator: SpaceMaps, x: Floats, source: str, target: str, width: int) -> Floats:
    result = _finite(translator.translate(x, source=source, target=target), len(x), f"the translation into {target}")
    _same_width(result, f"the translation into {target}", width, f"the vectors given for {target}")
    return result


def _finite(x: Floats, rows: int, name: str) -> Floats:
    x = np.ascontiguousarray(x, np.float32)
    if x.ndim != 2 or len(x) != rows:
        raise InputError(f"{name} has shape {x.shape}: it should have {rows:,} rows, one for each of the truth")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise InputError(f"{name} is not finite in row {row:,}: it cannot be scored")
    return x


def _same_width(x: Floats, name: str, width: int, other: str) -> None:
    if x.shape[1] != width:
        raise DimensionError(f"{name} is {x.shape[1]} wide and {other} {width}: are source and target swapped?")


# --- pools ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What does not depend on the vectors: which pools, which resamples."""

    rows: int
    sizes: tuple[int, ...]
    skipped: tuple[int, ...]
    resamples: int
    seed: int
    batch_rows: int


def _plan(rows: int, pools: Pools, resamples: int, seed: int, batch_rows: int) -> _Plan:
    if not isinstance(pools, Sequence) or not all(size is None or isinstance(size, int | np.integer) for size in pools):
        raise InputError(f"pools={pools!r}: it is a sequence of numbers of candidates, None among them for all rows")
    if seed < 0:
        raise InputError(f"seed={seed}: at least 0")
    wanted = dict.fromkeys(rows if size is None else int(size) for size in pools)
    if rows < 2:
        raise InputError(f"{rows} row cannot be scored: retrieval needs at least 2")
    if any(size < 2 for size in wanted):
        raise InputError(f"a pool needs at least 2 candidates: {[size for size in wanted if size < 2]}")
    if resamples < MIN_RESAMPLES:
        raise InputError(f"bootstrap={resamples} is too few for a 95% interval: at least {MIN_RESAMPLES}")
    if batch_rows < 1:
        raise InputError(f"batch_rows={batch_rows}: at least 1")
    sizes = tuple(size for size in wanted if size <= rows)
    if not sizes:
        raise InputError(f"no pool of {list(pools)} fits into {rows:,} rows: add None (--pools all) for all of them")
    return _Plan(rows, sizes, tuple(size for size in wanted if size > rows), resamples, seed, batch_rows)


def _partition(rows: int, size: int, seed: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield ``(members, scored)``: the rows of each pool, the first ``scored`` of which are to be scored."""
    if size == rows:
        yield np.arange(rows), rows
        return
    order = np.random.default_rng([seed, size]).permutation(rows)
    for start in range(0, rows, size):
        members = order[start : start + size]
        scored = len(members)
        if (
            scored < size
        ):  # the last pool: fill up from the start of the order, which has other rows (start >= size - scored)
            members = np.concatenate([members, order[: size - scored]])
        yield members, scored


# --- ranks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """For every row, how many other candidates are more similar than the own one, and how many exactly as similar."""

    greater: NDArray[np.int64]
    equal: NDArray[np.int64]

    def rank(self) -> Floats:
        """Expected 1-based rank when ties are broken at random."""
        return 1 + self.greater + self.equal / 2

    def top(self, k: int) -> Floats:
        """Probability of a rank of at most k: the own candidate takes any of its ``equal + 1`` tied places alike."""
        return np.clip((k - self.greater) / (self.equal + 1), 0, 1)


def _unit(x: Floats) -> Floats:
    # The same operations as everywhere a cosine is reported, so that equal input gives equal bits.
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(x, axis=1)
    result: Floats = x.copy()
    mend_norms(norms, result)
    result /= np.where(norms > 0, norms, 1)[:, None]
    return result


def _places(queries: Floats, candidates: Floats, plan: _Plan, size: int) -> tuple[_Places, _Places]:
    """Places of the own candidates by cosine and by CSLS, in pools of ``size``. Unit rows (n, d) on both sides."""
    if len(queries) == 1:
        return (_places_of_constant(queries[0], candidates, plan, size),) * 2  # r(c) = cos(q, c): CSLS ranks alike
    greater, equal = np.zeros((2, plan.rows), np.int64), np.zeros((2, plan.rows), np.int64)
    for members, scored in _partition(plan.rows, size, plan.seed):
        q, c = queries[members], candidates[members]
        # CSLS(q, c) = 2 cos(q, c) - r(q) - r(c). Within one query r(q) is a constant: only r(c) changes a rank.
        crowding = _neighbourhood(c, q, plan.batch_rows)
        for start in range(0, scored, plan.batch_rows):
            stop = min(start + plan.batch_rows, scored)
            sims = q[start:stop] @ c.T
            own = np.arange(start, stop)
            greater[0, members[own]], equal[0, members[own]] = _count(sims, own)
            sims *= 2
            sims -= crowding
            greater[1, members[own]], equal[1, members[own]] = _count(sims, own)
    return _Places(greater[0], equal[0]), _Places(greater[1], equal[1])


def _places_of_constant(query: Floats, candidates: Floats, plan: _Plan, size: int) -> _Places:
    """Places by cosine when every row is answered with the same unit vector (d,): one sort for each pool."""
    greater, equal = np.zeros(plan.rows, np.int64), np.zeros(plan.rows, np.int64)
    for members, scored in _partition(plan.rows, size, plan.seed):
        sims = candidates[members] @ query
        ordered, mine, own = np.sort(sims), sims[:scored], members[:scored]
        up_to = np.searchsorted(ordered, mine, side="right")
        greater[own] = size - up_to
        equal[own] = up_to - np.searchsorted(ordered, mine, side="left") - 1
    return _Places(greater, equal)


def _count(sims: Floats, own: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    mine = sims[np.arange(len(sims)), own][:, None]  # from the same product: its rounding must match
    return np.count_nonzero(sims > mine, axis=1), np.count_nonzero(sims == mine, axis=1) - 1


def _neighbourhood(x: Floats, y: Floats, batch_rows: int) -> Floats:
    """Mean cosine of each unit row of ``x`` (n, d) with its k nearest unit rows of ``y``: r(.) of CSLS, shape (n,)."""
    k = min(CSLS_NEIGHBOURS, len(y))
    parts = [
        np.partition(x[start : start + batch_rows] @ y.T, -k, axis=1)[:, -k:].mean(axis=1)
        for start in range(0, len(x), batch_rows)
    ]
    return np.concatenate(parts)


# --- scores and their intervals ---------------------------------------------------------------------------------------


def _direction(
    comparison: str, source: str, target: str, queries: Floats, native: Floats, untranslated: Floats | None, plan: _Plan
) -> Direction:
    mean = native.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    identity = None if untranslated is None else _score(fit_width(untranslated, native.shape[1]), native, plan)
    return Direction(
        comparison=comparison,
        source=source,
        target=target,
        scores=_score(queries, native, plan),
        mean_vector=_score(mean, native, plan),
        identity=identity,
        chance=_chance(queries, native, plan),
    )


def _score(queries: Floats, native: Floats, plan: _Plan) -> Scores:
    """Score (n, d), or (1, d) that answers every row alike, against (n, d)."""
    q, c = _unit(queries), _unit(native)
    centre = native.mean(axis=0, dtype=np.float64).astype(np.float32)
    places = [found for size in plan.sizes for found in _places(q, c, plan, size)]  # cosine, CSLS, cosine, ...
    columns = [(q * c).sum(axis=1), (_unit(queries - centre) * _unit(native - centre)).sum(axis=1)]
    for found in places:
        columns += [found.top(k) for k in _TOP] + [found.rank()]
    estimates = iter(_mean_estimates(np.stack(columns, axis=1).astype(np.float64), plan))
    cosine, centred = next(estimates), next(estimates)
    retrievals = iter(
        [
            Retrieval(
                next(estimates), next(estimates), next(estimates), next(estimates), _median_estimate(found.rank())
            )
            for found in places
        ]
    )
    pools = tuple(PoolScores(size, size == plan.rows, next(retrievals), next(retrievals)) for size in plan.sizes)
    return Scores(cosine, centred, pools)


def _mean_estimates(values: Floats, plan: _Plan) -> list[Estimate]:
    """Means of the columns of (n, m) with percentile bootstrap intervals: the same resampled rows for all columns."""
    n = len(values)
    rng = np.random.default_rng(plan.seed)
    means = []
    for start in range(0, plan.resamples, _RESAMPLES_AT_ONCE):
        drawn = rng.integers(0, n, size=(min(_RESAMPLES_AT_ONCE, plan.resamples - start), n))
        drawn += n * np.arange(len(drawn))[:, None]  # one range of bins for each resample
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        means.append(times @ values / n)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    point = values.mean(axis=0)
    # minimum / maximum: where all rows agree, rounding alone could put the point outside
    rows = zip(point, np.minimum(low, point), np.maximum(high, point), strict=True)
    return [Estimate(float(value), float(below), float(above)) for value, below, above in rows]


def _median_estimate(values: Floats) -> Estimate:
    """Median of (n,) with its percentile bootstrap interval, exactly, without resampling.

    A resample's median is at most the j-th smallest value iff at least half of its n draws are among the j smallest,
    with probability P(Binomial(n, j / n) >= n / 2) (Efron 1979, section 3; for even n this is the lower median).
    """
    n = len(values)
    ordered = np.sort(values)
    at_most = bdtrc((n + 1) // 2 - 1, n, np.arange(1, n + 1) / n)
    tail = (1 - CONFIDENCE) / 2
    low, high = ordered[np.searchsorted(at_most, [tail, 1 - tail])]
    point = float(np.median(values))
    return Estimate(point, min(float(low), point), max(float(high), point))


def _chance(queries: Floats, native: Floats, plan: _Plan) -> Scores:
    """Expected scores when every query is matched with a candidate at random: exact, so without an interval."""
    centre = native.mean(axis=0, dtype=np.float64).astype(np.float32)
    pools = []
    for size in plan.sizes:
        middle = _exact((size + 1) / 2)
        top1, top5, top16 = (_exact(min(k / size, 1.0)) for k in _TOP)
        found = Retrieval(top1, top5, top16, middle, middle)
        pools.append(PoolScores(size, size == plan.rows, found, found))
    return Scores(
        cosine=_exact(_cosine_with_others(queries, native)),
        centred_cosine=_exact(_cosine_with_others(queries - centre, native - centre)),
        pools=tuple(pools),
    )


def _cosine_with_others(queries: Floats, native: Floats) -> float:
    """Mean cosine of a query with the candidates that are not its own, over all pairs, from the sums of unit rows."""
    q, c = _unit(queries), _unit(native)
    every = q.sum(axis=0, dtype=np.float64) @ c.sum(axis=0, dtype=np.float64)
    own = np.einsum("ij,ij->", q, c, dtype=np.float64)
    return float((every - own) / (len(q) * (len(q) - 1)))


def _exact(value: float) -> Estimate:
    return Estimate(value, value, value)
