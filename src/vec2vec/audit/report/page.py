"""The report as one page of HTML that needs nothing from a network."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from vec2vec.audit.attributes import Attributes
from vec2vec.audit.defences import DefenceResult, recommend
from vec2vec.audit.inversion.measures import words_of
from vec2vec.audit.inversion.section import Inversion
from vec2vec.audit.masking import mask
from vec2vec.audit.report import charts
from vec2vec.audit.report.grade import Grade, grade
from vec2vec.audit.report.markdown import estimate, method_json
from vec2vec.audit.report.style import STYLE
from vec2vec.audit.report.wording import (
    LIMITS,
    OWNER,
    READERS,
    fit_line,
    inversion_line,
    leak_line,
    method_rows,
    reader_line,
)
from vec2vec.audit.result import Audit
from vec2vec.evaluate.metrics import Estimate

Cells = Sequence[Sequence[str]]
SHOWN_LABELS = 20
# figures take the width that they have once all is laid out, and that of the paper
FIT = """for (const event of ["load", "beforeprint"]) addEventListener(event, () => {
  for (const one of document.querySelectorAll(".plotly-graph-div")) Plotly.Plots.resize(one); });"""


def page(found: Audit, *, reveal: bool = False) -> str:
    """The whole page. Recovered and true texts are masked unless `reveal`."""
    given = grade(found)
    parts = [_head(found, given)]
    if found.concluded:
        parts.append(_summary(found))
        if found.picture is not None:
            parts.append(_spaces(found))
        parts += [_attributes(one) for one in found.attributes]
        if found.inversion is not None:
            parts.append(_words(found.inversion, found.settings.examples, reveal))
        if found.defences:
            parts.append(_defences(found.defences))
    parts.append(_method(found))
    body = "\n".join(parts)
    script = charts.plotly_script() if "plotly-graph-div" in body else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Audit of {_e(_name(found))}</title>
<style>{STYLE}</style>
<script>{script}</script>
</head>
<body>
<main>
{body}
</main>
<script>{FIT}</script>
</body>
</html>
"""


def _head(found: Audit, given: Grade) -> str:
    verdict = found.verdict
    mark = "no grade" if given.level == "none" else given.level
    nothing = ""
    if not found.concluded:
        nothing = (
            "<p><strong>Nothing can be concluded from this audit.</strong> The two spaces could not be brought "
            "together, so no figures are given: they would mean nothing. This does not show that the vectors are safe. "
            "A larger leak, a reference more like it, or known pairs may change it.</p>"
        )
    reasons = "".join(
        f'<li><span class="level {level}">{"no grade" if level == "none" else level}</span> {_e(words)}</li>'
        for level, words in given.reasons
    )
    notes = "".join(f"<li>{_e(note)}</li>" for note in found.notes)
    return f"""<header>
<p class="kicker">vec2vec audit</p>
<h1>What {_e(_name(found))} tells</h1>
<p class="quiet">{_e(leak_line(found))}<br>Scope: {_e(found.scope)}<br>{_e(found.created)}</p>
</header>
<section class="card {given.level}">
<p class="grade">{mark}</p>
<div>
<h2>{_e(given.sentence)}</h2>
<p>Verdict of the alignment: <strong>{verdict.label}</strong>. {_e(verdict.sentence)}</p>
{nothing}
<ul class="reasons">{reasons}</ul>
<p class="quiet">The worst line counts; how each is graded stands under Method.</p>
</div>
</section>
{f'<section class="notes"><h2>To know</h2><ul>{notes}</ul></section>' if notes else ""}
<p class="quiet">{_e(OWNER)}</p>"""


def _summary(found: Audit) -> str:
    """The three or four figures that a manager reads."""
    tiles: list[tuple[str, str, str]] = []
    if found.translation is not None:
        one = found.translation
        tiles.append((f"{one.top1.value:.0%}", "of the vectors found among", f"{one.pool:,} texts, by vector alone"))
    for reading in found.attributes:
        if reading.translated is not None and reading.chance is not None:
            ceiling = "" if reading.native is None else f", {reading.native.top1.value:.0%} from the texts"
            tiles.append(
                (
                    f"{reading.translated.top1.value:.0%}",
                    f"right label first, {reading.kind}",
                    f"chance {reading.chance.top1.value:.0%}{ceiling}",
                )
            )
    if found.inversion is not None:
        best, floor = found.inversion.find("translated"), found.inversion.find("floor")
        if best is not None and best.measures is not None:
            base = (
                ""
                if floor is None or floor.measures is None
                else f"random vectors {floor.measures.revealing.value:.0%}"
            )
            tiles.append((f"{best.measures.revealing.value:.0%}", "of the recovered texts reveal something", base))
    if not tiles:
        return ""
    inner = "".join(
        f'<div class="tile"><b>{_e(value)}</b><span>{_e(what)}</span><small>{_e(beside)}</small></div>'
        for value, what, beside in tiles
    )
    return f'<section class="tiles">{inner}</section>'


def _spaces(found: Audit) -> str:
    assert found.picture is not None
    one, two = charts.spaces(found.picture, "the leak", f"the reference, {found.known}")
    return f"""<section><h2>The two spaces</h2>
<p>Left, the leaked vectors and those of the reference as they are: two models, two separate clouds. Right, both in the
shared latent of the translator. Each picture is a t-SNE, which does not know which vector is whose:
neighbourhoods count, distances do not.</p>
<div class="pair"><div><h3>As they are</h3>{one}</div><div><h3>In the shared latent</h3>{two}</div></div></section>"""


def _attributes(found: Attributes) -> str:
    head = f"<h2>Attributes, {found.kind}: {_e(found.task)}</h2><p>{_e(READERS[found.kind])}</p>"
    if found.translated is None:
        shares = [(label, f"{share:.1%}") for label, share in list(found.shares.items())[:SHOWN_LABELS]]
        table = _table(("label", "share of the rows"), shares)
        return f"<section>{head}<p>No truth was given: this is what was read, unmeasured.</p>{table}</section>"
    among = "" if found.candidates is None else f" Each row's label was ranked among {found.candidates} labels."
    left = f" {found.left_out:,} rows have none of the labels and are left out." if found.left_out else ""
    lift = ""
    if math.isfinite(found.lift):
        lift = f" Of what the texts themselves would give beyond chance, <strong>{found.lift:.0%}</strong> is left."
    elif found.native is not None:
        lift = " The texts themselves are read little better than by chance: this task says little."
    text = f"<p>{found.rows:,} rows, {len(found.names):,} labels.{among}{left}{lift}</p>"
    pieces = [charts.attribute_bars(found)]
    if found.per_label:
        pieces.append("<h3>Label by label</h3>" + charts.label_bars(found))
    if found.confusion is not None and len(found.confusion[0]) > 1:
        pieces.append("<h3>What is taken for what</h3>" + charts.confusion_map(found))
    named = (
        ("chance", found.chance),
        ("most frequent label", found.majority),
        ("untranslated", found.naive),
        ("translated", found.translated),
        ("the texts themselves", found.native),
    )
    rows: list[tuple[str, ...]] = []
    for name, one in named:
        if one is not None:
            values = (one.top1, one.top5, one.precision, one.recall, one.macro_f1, one.mean_average_precision)
            rows.append((name, *(estimate(value) for value in values)))
    columns = ("vectors", "top-1", "top-5", "precision at 5", "recall at 5", "macro F1", "mean average precision")
    figures = "".join(f"<div>{piece}</div>" for piece in pieces)
    return f"<section>{head}{text}{figures}{_fold('All measures', _table(columns, rows))}</section>"


def _words(found: Inversion, examples: int, reveal: bool) -> str:
    parts = [f"<h2>Words</h2><p>{_e(inversion_line(found))} {len(found.rows):,} rows.</p>"]
    measured = [(one, one.measures) for one in found.recoveries if one.measures is not None]
    if measured:
        parts.append(f"<div>{charts.inversion_bars(found)}</div>")
        columns = ("vectors", "method", "token F1", "BLEU", "ROUGE-L", "exact", "cosine", "revealing")
        rows = [
            (
                one.vectors,
                one.method,
                *map(estimate, (m.token_f1, m.bleu, m.rouge_l, m.exact, m.cosine, m.revealing)),
            )
            for one, m in measured
        ]
        parts.append(_fold("All measures", _table(columns, rows)))
        best = found.find("translated")
        if best is not None and best.measures is not None:
            kinds = [
                (one.kind, f"{one.true:,}", f"{one.given:,}", _percent(one.recall), _percent(one.precision))
                for one in best.measures.entities
            ]
            heads = ("kind", "in the texts", "written", "recalled", "right of those written")
            parts.append(
                f"<h3>Who, when, how much</h3><p>In the texts recovered by '{best.method}'. Names were found by "
                f"{_e(found.names_by)}; whether a text is revealing was judged by {_e(found.judged_by)}.</p>"
                + _table(heads, kinds)
            )
    shown = found.find("translated")
    if shown is not None and examples:
        cover = " What is marked stands in both." + ("" if reveal else " Letters are covered: --reveal shows them.")
        parts.append(f"<h3>Examples</h3><p>The first {min(examples, len(shown.texts))} rows, not chosen.{cover}</p>")
        parts += [_example(found, i, shown.texts[i], reveal) for i in range(min(examples, len(shown.texts)))]
    return f"<section>{''.join(parts)}</section>"


def _example(found: Inversion, i: int, text: str, reveal: bool) -> str:
    truth = None if found.truths is None else found.truths[i]
    common = set() if truth is None else set(words_of(truth)) & set(words_of(text))
    own = "" if truth is None else f"<dt>true</dt><dd>{_marked(truth, common, reveal)}</dd>"
    return f'<dl class="example">{own}<dt>recovered</dt><dd>{_marked(text, common, reveal)}</dd></dl>'


def _marked(text: str, common: set[str], reveal: bool) -> str:
    """The text, with the words that both texts have marked."""
    out = []
    for word in text.split():
        shown = _e(word if reveal else mask(word))
        both = any(part in common for part in words_of(word))
        out.append(f"<mark>{shown}</mark>" if both else shown)
    return " ".join(out)


def _defences(found: Sequence[DefenceResult]) -> str:
    columns = ("defence", "attack", "recall@10", "leakage", "top-1", "attributes", "token F1", "revealing")
    rows = [
        (
            one.title,
            one.verdict,
            f"{one.recall.value:.2f}",
            "" if not math.isfinite(one.leakage) else f"{one.leakage:.2f}",
            *map(_plain_value, (one.top1, one.attributes, one.token_f1, one.revealing)),
        )
        for one in found
    ]
    return f"""<section><h2>Defences</h2>
<p class="say">{_e(recommend(found))}</p>
<p>Each defence was attacked by somebody who holds nothing but the protected vectors ({found[0].rows:,} of them), and
who fitted a translator on them from nothing. {_e(reader_line(found))}
Hollow points: the attacker's own verdict was 'not aligned', so that he would not know what he has.</p>
<div>{charts.defence_chart(found)}</div>
{_fold("All figures", _table(columns, rows))}</section>"""


def _method(found: Audit) -> str:
    limits = "".join(f"<li>{_e(line)}</li>" for line in LIMITS)
    table = _table(("what", "value"), method_rows(found))
    return f"""<section><h2>Method</h2>
<p>The reference stands in the space of the known encoder. {_e(fit_line(found))} What the known space can read was then
read off the translated vectors.</p>
{_fold("How the grade is derived", GRADES)}
{table}
{_fold("All settings", f"<pre>{_e(method_json(found))}</pre>")}
<h3>Limits</h3><ul>{limits}</ul></section>"""


GRADES = """<p>Each line of evidence gives a grade; the worst one counts.</p>
<div class="scroll"><table><thead><tr><th>evidence</th><th>severe</th><th>high</th><th>moderate</th><th>low</th></tr>
</thead><tbody>
<tr><td>texts: share that is revealing, less that of random vectors</td><td>0.5 or more</td><td>0.2 or more</td>
<td>0.05 or more</td><td>less</td></tr>
<tr><td>attributes: what is left of the share that the texts themselves give, without what is told without looking;
where they give little or are not known, against perfect reading</td>
<td>0.9 or more</td><td>0.5 or more</td><td>0.2 or more</td><td>less</td></tr>
<tr><td>translation: top-1 among 4,096, measured, or else expected</td>
<td></td><td>0.3 or more</td><td>0.05 or more</td><td>less</td></tr></tbody></table></div>
<p>A line counts only where its interval leaves what knows nothing: random vectors, chance, the same guesses on other
rows. Among fewer than 4,096, top-1 is an upper bound. Where the spaces were not aligned there is no grade.</p>"""


def _table(columns: Sequence[str], rows: Cells) -> str:
    head = "".join(f"<th>{_e(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _fold(title: str, inner: str) -> str:
    return f"<details><summary>{_e(title)}</summary>{inner}</details>"


def _name(found: Audit) -> str:
    return "the leak" if found.leak.name == "leak" else found.leak.name


def _plain_value(value: Estimate | None) -> str:
    return "" if value is None or not math.isfinite(value.value) else f"{value.value:.3f}"


def _percent(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else ""


def _e(text: str) -> str:
    return html.escape(text)
