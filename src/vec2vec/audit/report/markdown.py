"""The report in Markdown: the same figures, for a terminal, a ticket or a diff."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from vec2vec.audit.attributes import Attributes
from vec2vec.audit.defences import DefenceResult, recommend
from vec2vec.audit.inversion.measures import TextMeasures
from vec2vec.audit.inversion.section import Inversion
from vec2vec.audit.masking import mask
from vec2vec.audit.report.grade import Grade, grade
from vec2vec.audit.report.wording import (
    LIMITS,
    OWNER,
    READERS,
    inversion_line,
    leak_line,
    method_rows,
    reader_line,
)
from vec2vec.audit.result import Audit
from vec2vec.evaluate.metrics import Estimate


def markdown(found: Audit, *, reveal: bool = False) -> str:
    """The whole report."""
    given = grade(found)
    parts = [
        f"# Audit of {_plain(found.leak.name)}\n",
        OWNER + "\n",
        f"- scope: {_plain(found.scope)}\n- made: {found.created}\n- {_plain(leak_line(found))}\n",
        _verdict(found, given),
    ]
    if found.notes:
        parts.append("## To know\n\n" + "\n".join(f"- {_plain(note)}" for note in found.notes) + "\n")
    if found.concluded:
        parts += [_attributes(one) for one in found.attributes]
        if found.inversion is not None:
            parts.append(_inversion(found.inversion, found.settings.examples, reveal))
        if found.defences:
            parts.append(_defences(found.defences))
    rows = [(what, _plain(value)) for what, value in method_rows(found)]
    parts.append("## Method\n\n" + _table(("what", "value"), rows))
    parts.append("## Limits\n\n" + "\n".join(f"- {line}" for line in LIMITS) + "\n")
    return "\n".join(parts)


def _verdict(found: Audit, given: Grade) -> str:
    lines = [f"## Verdict\n\n**{found.verdict.label}**: {_plain(found.verdict.sentence)}\n"]
    lines.append(f"Grade: **{'no grade' if given.level == 'none' else given.level}**. {given.sentence}\n")
    lines.append("\n".join(f"- {level}: {_plain(words)}" for level, words in given.reasons) + "\n")
    return "\n".join(lines)


def _attributes(found: Attributes) -> str:
    head = f"## Attributes: {found.kind}, {_plain(found.task)}\n\n{READERS[found.kind]}\n"
    if found.translated is None:
        shares = [(_plain(label), f"{share:.1%}") for label, share in list(found.shares.items())[:20]]
        return f"{head}\nNo truth was given: what was read, unmeasured.\n\n" + _table(
            ("label", "share of rows"), shares
        )
    among = "" if found.candidates is None else f", each among {found.candidates} labels"
    named = (
        ("chance", found.chance),
        ("most frequent label", found.majority),
        ("untranslated", found.naive),
        ("**translated**", found.translated),
        ("the texts themselves", found.native),
    )
    rows = []
    for name, one in named:
        if one is not None:
            values = (one.top1, one.top5, one.precision, one.recall, one.macro_f1, one.mean_average_precision)
            rows.append((name, *(estimate(value) for value in values)))
    lift = f"\nOf the ceiling's lift over chance, {found.lift:.0%} is left.\n" if math.isfinite(found.lift) else ""
    columns = ("vectors", "top-1", "top-5", "precision at 5", "recall at 5", "macro F1", "mean average precision")
    text = f"{head}\n{found.rows:,} rows, {len(found.names):,} labels{among}.\n\n{_table(columns, rows)}{lift}"
    if found.per_label:
        native = {one.label: one.average_precision for one in found.per_label_native}
        each = [
            (_plain(one.label), f"{one.rows:,}", estimate(one.average_precision), estimate(native.get(one.label)))
            for one in found.per_label[:20]
        ]
        text += "\n" + _table(("label", "rows", "average precision, translated", "from the texts"), each)
    return text


def _inversion(found: Inversion, examples: int, reveal: bool) -> str:
    text = f"## Words\n\n{inversion_line(found)}\n\n{len(found.rows):,} rows.\n\n"
    measured = [(one, one.measures) for one in found.recoveries if one.measures is not None]
    if measured:
        columns = ("vectors", "method", "token F1", "BLEU", "ROUGE-L", "exact", "cosine", "revealing")
        rows = [(one.vectors, one.method, *_text_row(measures)) for one, measures in measured]
        text += _table(columns, rows)
        best = found.find("translated")
        if best is not None and best.measures is not None:
            kinds = [
                (one.kind, str(one.true), str(one.given), _share(one.precision), _share(one.recall))
                for one in best.measures.entities
            ]
            text += f"\nEntities in the {best.method} texts; names found by {_plain(found.names_by)}.\n\n"
            text += _table(("kind", "true", "written", "precision", "recall"), kinds)
    shown = found.find("translated")
    if shown is not None and examples:
        text += "\nExamples" + ("" if reveal else ", masked (--reveal shows them)") + ":\n\n"
        cover = (lambda words: words) if reveal else mask
        for i in range(min(examples, len(shown.texts))):
            if found.truths is not None:
                text += f"- true: {_plain(cover(found.truths[i]))}\n  "
            else:
                text += "- "
            text += f"{'  ' if found.truths is None else ''}recovered: {_plain(cover(shown.texts[i]))}\n"
    return text


def _text_row(one: TextMeasures) -> tuple[str, ...]:
    values = (one.token_f1, one.bleu, one.rouge_l, one.exact, one.cosine, one.revealing)
    return tuple(estimate(value) for value in values)


def _defences(found: Sequence[DefenceResult]) -> str:
    columns = (
        "defence",
        "verdict of the attack",
        "recall@10",
        "leakage",
        "top-1",
        "attributes",
        "token F1",
        "revealing",
    )
    rows = [
        (
            one.title,
            one.verdict,
            estimate(one.recall),
            _share(one.leakage),
            estimate(one.top1),
            estimate(one.attributes),
            estimate(one.token_f1),
            estimate(one.revealing),
        )
        for one in found
    ]
    return f"## Defences\n\n{recommend(found)}\n\n{_plain(reader_line(found))}\n\n{_table(columns, rows)}"


def estimate(value: Estimate | None) -> str:
    """A figure with its interval."""
    if value is None or not math.isfinite(value.value):
        return ""
    if value.low == value.high:
        return f"{value.value:.3f}"
    return f"{value.value:.3f} ({value.low:.3f}–{value.high:.3f})"


def _share(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def _plain(text: str) -> str:
    """Foreign text in one line, without what Markdown or HTML would read."""
    line = " ".join(text.split())
    for mark in ("\\", "|", "<", "`", "*", "_", "[", "]"):
        line = line.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return line


def method_json(found: Audit) -> str:
    """The settings, for the end of a page."""
    return json.dumps(found.to_dict()["method"], indent=2, ensure_ascii=False)
