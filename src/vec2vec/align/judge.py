"""Did it work? The judgement of an alignment without labels.

Two maps that were found from nothing, on disjoint halves of the rows and from different seeds, have little but the
truth in common: where both failed, they mostly failed differently. So the evidence is how well they agree, and where
they agree in part, how much better they explain the rows than other maps do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from vec2vec.align.whitening import unit
from vec2vec.verdict import Verdict

Map = torch.Tensor | Callable[[torch.Tensor], torch.Tensor]  # a matrix (r, s), or a function of rows (n, r)
POOL = 4096  # the pool that the expected top-1 speaks of
ALIGNED, NOT_ALIGNED = 0.3, 0.05  # of the expected top-1
CLEAR_LEADS = ((0.7, 0.008), (0.9, 0.006))  # below a consistency, the lead over other maps that makes up for it
CLEAR_GAP = 0.003  # a gap from which on the better of two that do not agree is not given up
AHEAD_MAY_REACH = 0.6  # top-1 of such a one: up to 0.59 was seen
CLEAR_FINAL_LEAD = 0.008  # of the final map over others, from which on it is believed
LEADING = (0.45, 0.15, 0.9)  # expected top-1 of such a one, and its interval
NO_FINAL_LEAD = 0.0015  # below, it is one map among others that are as good
LEVEL = (0.01, 0.0, 0.5)  # at most, the same of such a one
LEAST_ROWS = 1000  # below, two maps find one another's translations by chance too often to call them aligned
ENOUGH_ROWS = 4000  # below, few axes are compared, and neither a gap nor being ahead of other maps counts
ROWS_TO_COMPARE = 3000  # below, the scores of maps that were refined on all rows tell too little
ROWS_OF_FULL_ODDS = 3000  # below, maps agree before they tell single texts apart
CALIBRATION = (  # logit of the consistency, expected top-1, and the interval that most cases fell into
    (-6.0, 0.00, 0.00, 0.08),
    (-4.5, 0.01, 0.00, 0.12),
    (-3.9, 0.04, 0.00, 0.50),
    (-3.5, 0.08, 0.00, 0.60),
    (-2.9, 0.12, 0.00, 0.65),
    (-2.2, 0.16, 0.00, 0.85),
    (-1.4, 0.20, 0.02, 0.85),
    (-0.8, 0.25, 0.02, 0.85),
    (-0.3, 0.42, 0.03, 0.85),
    (0.1, 0.50, 0.15, 0.85),
    (1.4, 0.58, 0.25, 0.92),
    (4.6, 0.70, 0.35, 1.00),
)


def agreement(first: torch.Tensor, second: torch.Tensor, x: torch.Tensor, rows: int = 2000) -> float:
    """Mean cosine of two maps' translations (r, s) of the first rows of x (n, r)."""
    sample = x[:rows]
    return float((unit(sample @ first) * unit(sample @ second)).sum(dim=1).mean())


def consistency(first: torch.Tensor, second: torch.Tensor) -> float:
    """How often two translations (n, s) of the same n vectors find one another.

    Share of rows whose nearest among the other's is their own, both ways. Two maps that share a coarse mistake agree on
    average, but not on single vectors.
    """
    return 0.5 * (_own_nearest(first, second) + _own_nearest(second, first))


def gather_evidence(
    rotation: Map,
    witnesses: tuple[Map, Map],
    x: torch.Tensor,
    y: torch.Tensor,
    rng: np.random.Generator,
    lead: float | None = None,
    gap: float | None = None,
) -> dict[str, float]:
    """Measure what the verdict rests on.

    Parameters
    ----------
    rotation : the map that is judged
    witnesses : two maps found independently on disjoint halves of the rows
    x, y : (n, r) and (m, s) unit rows
    lead : of the witnesses over other maps, by the mean cosine of a row to its barycentre, if they were compared
    gap : of one witness to the other, by the same, if they were compared

    Returns
    -------
    agreement : mean cosine of the witnesses' translations
    consistency : of the witnesses, on 4,096 vectors or all of them; see `consistency`
    support : mean cosine of the map's translations with either witness's
    closeness, native_closeness : mean cosine of a translation, and of a native vector, to its nearest native target
    spread : its standard deviation among native vectors
    rows : of the smaller side
    lead, gap : as given

    What the final map is above others that were refined as it was, its ``final_lead``, is added where it is measured.
    """
    pool = min(POOL, len(x))
    sample = x[torch.from_numpy(rng.permutation(len(x))[:pool]).to(x.device)]
    first, second, final = (unit(_mapped(sample, one)) for one in (*witnesses, rotation))
    order = torch.from_numpy(rng.permutation(len(y))).to(y.device)
    queries, natives = y[order[: min(1024, len(y) // 4)]], y[order[min(1024, len(y) // 4) :]]
    native_nearest = (queries @ natives.T).amax(dim=1)
    nearest = (final[: len(queries)] @ natives.T).amax(dim=1)
    return {
        "agreement": float((first * second).sum(dim=1).mean()),
        "consistency": consistency(first, second),
        "support": float((final * (first + second) / 2).sum(dim=1).mean()),
        "closeness": float(nearest.mean()),
        "native_closeness": float(native_nearest.mean()),
        "spread": float(native_nearest.std()),
        "rows": float(min(len(x), len(y))),
        **{name: value for name, value in (("lead", lead), ("gap", gap)) if value is not None},
    }


def _mapped(rows: torch.Tensor, one: Map) -> torch.Tensor:
    return rows @ one if isinstance(one, torch.Tensor) else one(rows)


def _own_nearest(queries: torch.Tensor, pool: torch.Tensor) -> float:
    """Share of rows of `queries` (n, s) whose nearest row of `pool` (n, s) has the same number."""
    own = torch.arange(len(queries), device=queries.device)
    return float(((queries @ pool.T).argmax(dim=1) == own).float().mean())


def verdict_from(evidence: dict[str, float]) -> Verdict:
    """The verdict that the evidence supports.

    Parameters
    ----------
    evidence : of `gather_evidence`

    Returns
    -------
    Verdict: `aligned` where the expected top-1 among 4,096 is 0.3 or more, `not aligned` where it is below 0.05, and
    `uncertain` between, or where fewer than 1,000 rows would be all that speaks for `aligned`, or where the
    witnesses agree in part only, and another map explains the rows nearly as well (the interval then begins at 0), or
    where they do not agree, but one explains the rows clearly better. It is `aligned` all the same where no map that
    either half knows, refined on all rows as the final one was, explains them nearly as well as that (4,000 rows or
    more), and `not aligned` where another one explains them as well (3,000 or more).
    """
    expected, low, high = expected_top1(evidence["consistency"], evidence["rows"])
    contested = any(
        evidence["consistency"] < below and evidence.get("lead", enough) < enough for below, enough in CLEAR_LEADS
    )
    if contested:
        low = 0.0
    ahead = expected < NOT_ALIGNED and clearly_apart(evidence.get("gap", 0.0), evidence["rows"])
    if ahead:
        expected, high = NOT_ALIGNED, max(high, AHEAD_MAY_REACH)
    final_lead = evidence.get("final_lead")
    leading = final_lead is not None and final_lead >= CLEAR_FINAL_LEAD and evidence["rows"] >= ENOUGH_ROWS
    level = final_lead is not None and final_lead < NO_FINAL_LEAD and evidence["rows"] >= ROWS_TO_COMPARE
    if leading:
        contested = False
        expected, low, high = (max(a, b) for a, b in zip((expected, low, high), LEADING, strict=True))
    if level:
        expected, low, high = (min(a, b) for a, b in zip((expected, low, high), LEVEL, strict=True))
    words = f"expected top-1 among {POOL:,}: {expected:.2f} ({low:.2f} to {high:.2f})"
    found = f"two fits on disjoint halves find one another's translations in {evidence['consistency']:.0%} of cases"
    if level:
        found += ", and another map explains the rows as well as the one that came of them"
    if leading:
        found += ", but no other map explains the rows nearly as well as the one that came of them"
    if expected >= ALIGNED and evidence["rows"] >= LEAST_ROWS and not contested:
        return Verdict("aligned", expected, (low, high), evidence, f"Aligned: {found}; {words}.")
    if expected < NOT_ALIGNED:
        sentence = f"Not aligned: {found}; {words}. More rows, a closer corpus, or a few known pairs would help."
        return Verdict("not aligned", expected, (low, high), evidence, sentence)
    if expected >= ALIGNED and contested:
        found += ", but other maps explain the rows nearly as well"
    if ahead:
        found += ", but one of them explains the rows clearly better"
    sentence = f"Uncertain: {found}; {words}. Check it on known pairs, or fit with more rows or another seed."
    return Verdict("uncertain", expected, (low, high), evidence, sentence)


def clearly_apart(gap: float, rows: float) -> bool:
    """Whether the better of two maps that do not agree is better by more than chance; of few rows none is."""
    return rows >= ENOUGH_ROWS and gap >= CLEAR_GAP


def expected_top1(consistency: float, rows: float = ROWS_OF_FULL_ODDS) -> tuple[float, float, float]:
    """Top-1 among 4,096 to expect, and its interval, from benchmarks/verdict_calibration.py and proving_ground.py.

    Parameters
    ----------
    consistency : of two witnesses, see `consistency`
    rows : of the smaller side; where they are few, the odds of the consistency count in proportion to them
    """
    logit = float(np.log(max(consistency, 1e-4) / max(1.0 - consistency, 1e-4)))
    at, *curves = np.array(CALIBRATION).T
    expected, low, high = (float(np.interp(logit, at, curve)) for curve in curves)
    if rows < ROWS_OF_FULL_ODDS:
        odds = float(np.exp(logit)) * rows / ROWS_OF_FULL_ODDS
        expected = min(expected, odds / (1.0 + odds))
        low = min(low, expected / 3)
    return expected, low, high
