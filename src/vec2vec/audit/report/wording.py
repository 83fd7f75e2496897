"""What the reports say in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from vec2vec.audit.defences import DefenceResult
from vec2vec.audit.inversion.section import Inversion
from vec2vec.audit.result import Audit

OWNER = (
    "For the owner of the vectors, or whoever is authorised to test them. Nothing was sent anywhere, unless an "
    "endpoint was named for it."
)
READERS = {
    "zero-shot": (
        "Each translated vector was compared with descriptions of the labels, embedded by the known encoder. Nothing "
        "was trained."
    ),
    "few-shot": (
        "A linear classifier was trained on the vectors of the reference, which has labels, and applied unchanged to "
        "the translated vectors."
    ),
}
LIMITS = (
    "That this attack reads little does not prove that another would. A larger leak, a reference more like it, known "
    "pairs, or a larger inverter read more.",
    "Figures hold for the rows that were audited, and texts like theirs; intervals are 95%, over rows, and do not hold "
    "the spread of fits with other seeds.",
    "The truth served to measure only. It was not used to fit, to choose, or to train.",
    "A recovered text may hold what the inverter learned from public texts. Whether a detail is true is not told by "
    "the text itself.",
)


def inversion_line(found: Inversion) -> str:
    """How texts were recovered, and what stands beside."""
    line = "For each translated vector, the texts of the reference whose vectors lie nearest were looked up."
    if found.inverter is not None:
        line = (
            "Texts were recovered from the translated vectors by an inverter of the known encoder, which has seen "
            "neither them nor their texts; beside, the nearest texts of the reference."
        )
    kinds = {one.vectors for one in found.recoveries}
    beside = {
        "native": "the native vectors of the true texts (the ceiling)",
        "floor": "random vectors that look like those of the reference (the floor: what a text of the kind gives away "
        "by itself)",
    }
    others = [words for kind, words in beside.items() if kind in kinds]
    return line + (f" The same was done with {' and with '.join(others)}." if others else "")


def fit_line(found: Audit) -> str:
    """Where the translator comes from."""
    if found.fitted:
        pairs = found.translator.record.get("pairs")
        known = f"of {pairs:,} it was known which belong together" if pairs else ""
        return (
            "A translator from the leak's space to that of the known encoder was fitted on both sets of vectors; "
            f"{known or 'which of them belong together was neither known nor used'}. Its verdict says, without labels, "
            "whether that worked."
        )
    return (
        "A translator from the leak's space to that of the known encoder was given; how it was fitted stands below, "
        "and its verdict is of the vectors that it was fitted on."
    )


def reader_line(found: Sequence[DefenceResult]) -> str:
    """What leakage is here."""
    reader = found[0].reader
    if reader is None:
        return "Leakage is the top-1 of the translation."
    return (
        f"Leakage is what is left of attributes ({reader}): the share of what the texts themselves would give, "
        "without what is told without looking."
    )


def leak_line(found: Audit) -> str:
    """What was audited, in a line."""
    leak = found.leak
    part = "" if len(leak) == leak.total else f", of which {len(leak):,} were read"
    return (
        f"{leak.total:,} vectors of {leak.width} dimensions{part}; known encoder {found.known} ({found.known_width}); "
        f"reference {found.reference_rows:,} texts"
    )


def method_rows(found: Audit) -> list[tuple[str, str]]:
    """The table of the method."""
    record = found.translator.record
    config = ", ".join(f"{key} {value}" for key, value in record.get("config", {}).items())
    rows = [
        ("translator", f"{'fitted here' if found.fitted else 'given'}; {record.get('method', 'of unknown method')}"),
        ("its seed, rows", f"{record.get('seed', '')}; {_rows(record.get('rows', {}))}"),
        ("its settings", config),
        ("seed of the audit", str(found.settings.seed)),
        ("bootstrap", f"{found.settings.resamples} resamples of the rows"),
        ("known encoder", _encoder(found)),
        ("vec2vec", str(found.method.get("vec2vec", ""))),
        ("seconds", f"{found.seconds:,.0f}"),
    ]
    if found.inversion is not None and found.inversion.inverter is not None:
        own = found.inversion.inverter
        line = f"{own['parameters']:,} parameters, "
        if "vec2text" in own:
            line += f"vec2text's {own['vec2text']}, {own['rounds']} rounds of correction"
        else:
            line += f"{own['texts']:,} texts, {own['steps']:,} steps"
        rows.insert(6, ("inverter", line))
        rows.insert(7, ("names, judge", f"{found.inversion.names_by}; {found.inversion.judged_by}"))
    return [(what, " ".join(value.replace("|", "/").split())) for what, value in rows if value.strip("; ")]


def _rows(rows: object) -> str:
    if not isinstance(rows, dict):
        return ""
    return ", ".join(f"{side} {own.get('used', own) if isinstance(own, dict) else own}" for side, own in rows.items())


def _encoder(found: Audit) -> str:
    identity = found.method.get("encoder")
    if not identity:
        return f"{found.known}: vectors only"
    cut = "" if identity["max_tokens"] is None else f", cut at {identity['max_tokens']} tokens"
    return f"{identity['encoder']}, revision {identity['revision'] or 'unknown'}{cut}"
