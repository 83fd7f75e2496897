"""What an audit found, as objects and as a tree for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from vec2vec.audit.attributes import Attributes
from vec2vec.audit.defences import DefenceResult, recommend
from vec2vec.audit.inputs import Leak
from vec2vec.audit.inversion.section import Inversion
from vec2vec.audit.masking import mask
from vec2vec.audit.settings import AuditSettings
from vec2vec.evaluate.metrics import Estimate, fit_width, score
from vec2vec.translator import Translator
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

POOL = 4096


@dataclass(frozen=True)
class TranslationScores:
    """The translation against native vectors: top-1 and mean rank among `pool`, mean cosine."""

    pool: int
    top1: Estimate
    mean_rank: Estimate
    cosine: Estimate

    @classmethod
    def of(cls, translated: Float32, native: Float32, settings: AuditSettings) -> TranslationScores:
        """By `vec2vec.evaluate.metrics.score`."""
        pool = min(POOL, len(native))
        found = score(translated, native, pools=(pool,), bootstrap=settings.resamples, seed=settings.seed)
        places = found.pools[0].cosine
        return cls(pool, places.top1, places.mean_rank, found.cosine)


@dataclass(frozen=True, eq=False)
class Picture:
    """Two projections of the leak's and the reference's vectors: as they are, and in the shared latent.

    Attributes
    ----------
    before, after : (n + m, 2) float32, the leak's n first
    leak_rows : n
    """

    before: Float32
    after: Float32
    leak_rows: int

    @classmethod
    def draw(
        cls,
        translator: Translator,
        spaces: tuple[str | None, str | None],
        leak: Float32,
        reference: Float32,
        settings: AuditSettings,
    ) -> Picture:
        """t-SNE of `picture_rows` vectors of each side, which does not know the sides."""
        from vec2vec.evaluate.figures import project

        source, target = translator.direction(*spaces)
        rng = np.random.default_rng(settings.seed)
        mine, other = (
            np.sort(rng.choice(len(x), min(settings.picture_rows, len(x)), replace=False)) for x in (leak, reference)
        )
        width = max(leak.shape[1], reference.shape[1])
        before = np.concatenate([fit_width(leak[mine], width), fit_width(reference[other], width)])
        latent = [translator.latent(leak[mine], space=source), translator.latent(reference[other], space=target)]
        points = [project(x, "tsne", settings.seed % 2**32) for x in (before, np.concatenate(latent))]
        return cls(np.asarray(points[0], np.float32), np.asarray(points[1], np.float32), len(mine))


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes
    ----------
    concluded : whether there are figures: not where the verdict is "not aligned"
    fitted : the translator was fitted here
    unlike : a given one was fitted on vectors of another kind, or another mean, so that its verdict says little here
    """

    scope: str
    leak: Leak
    known: str
    known_width: int
    reference_name: str
    reference_rows: int
    verdict: Verdict
    translator: Translator
    fitted: bool
    unlike: bool
    settings: AuditSettings
    notes: tuple[str, ...]
    method: dict[str, Any]
    seconds: float
    translation: TranslationScores | None = None
    attributes: tuple[Attributes, ...] = ()
    inversion: Inversion | None = None
    defences: tuple[DefenceResult, ...] = ()
    picture: Picture | None = None
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def concluded(self) -> bool:
        return self.verdict.label != "not aligned"

    def to_dict(self, *, reveal: bool = False) -> dict[str, Any]:
        """As dictionaries, lists, strings and numbers; recovered and true texts are masked unless `reveal`."""
        leak = self.leak
        return {
            "scope": self.scope,
            "created": self.created,
            "leak": {
                "name": leak.name,
                "rows": leak.total,
                "width": leak.width,
                "audited_rows": len(leak),
                "columns_not_read": list(leak.unread),
                "bad_rows": len(leak.bad),
            },
            "known": {"encoder": self.known, "width": self.known_width},
            "reference": {"name": self.reference_name, "rows": self.reference_rows},
            "verdict": as_json(self.verdict.to_dict()),
            "concluded": self.concluded,
            "notes": list(self.notes),
            "translation": as_json(self.translation),
            "attributes": [as_json(found) for found in self.attributes],
            "inversion": None if self.inversion is None else _inversion(self.inversion, self.settings.examples, reveal),
            "defences": [as_json(one) | {"leakage": as_json(one.leakage)} for one in self.defences],
            "recommendation": recommend(self.defences) if self.defences else None,
            "method": as_json(self.method),
            "seconds": round(self.seconds, 1),
        }


def _inversion(found: Inversion, examples: int, reveal: bool) -> dict[str, Any]:
    """The measures of all rows, and the texts of a few."""
    show = (lambda text: text) if reveal else mask
    return {
        "rows": len(found.rows),
        "inverter": as_json(found.inverter),
        "names_by": found.names_by,
        "judged_by": found.judged_by,
        "recoveries": [
            {"vectors": one.vectors, "method": one.method, "measures": as_json(one.measures)}
            for one in found.recoveries
        ],
        "masked": not reveal,
        "examples": [
            {
                "row": found.rows[i],
                "truth": None if found.truths is None else show(found.truths[i]),
                **{f"{one.vectors}/{one.method}": show(one.texts[i]) for one in found.recoveries if i < len(one.texts)},
            }
            for i in range(min(examples, len(found.rows)))
        ],
    }


def as_json(value: Any) -> Any:
    """Dataclasses, arrays and tuples as what JSON has; NaN and infinity as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
