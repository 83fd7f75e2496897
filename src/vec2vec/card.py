"""The model card of a translator, from what is known about it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vec2vec.translator import Translator
    from vec2vec.verdict import Verdict

# The licence is the user's to add: `license: ...` among these lines.
METADATA = """---
library_name: vec2vec
tags:
- vec2vec
- embeddings
- embedding-translation
---
"""

LIMITS = """## Limits

- The map is as good as the verdict says, on vectors like those it was fitted on. Other kinds of text, and the rare
  ones, are translated worse. Where some true pairs are known, measure it: `vec2vec evaluate`.
- A translated vector is near its native counterpart, not equal to it. Compare by rank rather than by a fixed threshold
  of the cosine.
- A single vector's distance from its space's mean is not carried over.

## Responsible use

Embeddings are not anonymous. Whoever holds vectors and a translator can search them in a space with public tools, infer
attributes of the texts behind them, and partly recover those texts. Use it on vectors that you may process, and protect
stored embeddings like the texts themselves.
"""


def model_card(translator: Translator) -> str:
    """The card in Markdown, with the metadata that the hub reads. No licence is set."""
    first, second = translator.spaces[:2]
    direction = f" --from {shlex.quote(first)} --to {shlex.quote(second)}" if len(translator.spaces) > 2 else ""
    sections = [
        METADATA,
        f"# Translator: {' / '.join(map(_plain, translator.spaces))}\n",
        "Translates embeddings between the vector spaces below, by "
        f"{'a linear map in' if translator.network is None else 'a network (vec2vec) through'} their shared latent "
        f"of {translator.latent_width} dimensions.\n",
        _table(
            ("space", "dimensions", "norm of its vectors"),
            [(_plain(name), str(translator.width(name)), _norm(translator, name)) for name in translator.spaces],
        ),
        "## Verdict\n",
        _verdict(translator.verdict),
        "## How it was fitted\n",
        _table(("what", "value"), _record_rows(translator.record)),
        "## How to use it\n",
        "```python\nfrom vec2vec import Translator\n\n"
        'translator = Translator.from_pretrained("path/to/this/folder")  # or its id on the hub\n'
        f"there = translator.translate(x, source={_quoted(first)}, target={_quoted(second)})\n"
        f"back = translator.translate(y, source={_quoted(second)}, target={_quoted(first)})\n```\n",
        f"```\nvec2vec translate path/to/this/folder vectors.npy --out translated.npy{direction}\n```\n",
        LIMITS,
    ]
    return "\n".join(sections)


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "None: this translator was not judged.\n"
    numbers = ""
    if math.isfinite(verdict.expected_top1):
        low, high = verdict.interval
        numbers = f" Expected top-1 among 4,096: {verdict.expected_top1:.2f} ({low:.2f} to {high:.2f})."
    return f"**{verdict.label}**. {_plain(verdict.sentence)}{numbers} The verdict is reached without labels.\n"


def _norm(translator: Translator, name: str) -> str:
    norm = translator.space(name).preprocessor.norm
    return "varies" if norm is None else f"{norm:.4g}"


def _record_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The record's known parts in words; what is not recorded is left out."""
    rows = []
    for key, label in (("method", "method"), ("seed", "seed")):
        if key in record:
            rows.append((label, _plain(record[key])))
    pairs = record.get("pairs")
    if isinstance(pairs, int):
        rows.append(("known pairs seen", f"{pairs:,}" if pairs else "0 (unpaired)"))
    counts = record.get("rows")
    if isinstance(counts, Mapping):
        rows += [(f"{side} rows", _rows(count)) for side, count in counts.items() if isinstance(count, Mapping)]
    versions = record.get("versions")
    if isinstance(versions, Mapping):
        rows.append(("versions", ", ".join(f"{_plain(name)} {_plain(text)}" for name, text in versions.items())))
    return rows or [("record", "none")]


def _rows(count: Mapping[str, Any]) -> str:
    used, available, skipped = (count.get(key) for key in ("used", "available", "skipped"))
    text = f"{used:,}" if isinstance(used, int) else "unknown"
    text += f" of {available:,}" if isinstance(available, int) else ""
    return text + (f", {skipped:,} bad ones skipped" if isinstance(skipped, int) and skipped else "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _plain(value: object) -> str:
    """On one line, and without what Markdown takes for markup or the start of a table's cell."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>|#" else letter for letter in text)


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
