"""The tables of a benchmark: over seeds, in the paper's layout, what unpaired rows are worth in pairs, searches."""

from __future__ import annotations

import base64
import html
import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vec2vec.bench.config import BenchConfig
from vec2vec.evaluate.metrics import Table, TableSection

Line = dict[str, Any]
SEES = {
    "unpaired": "unpaired rows",
    "few pairs": "pairs and unpaired rows",
    "pairs": "pairs alone",
    "baseline": "nothing",
    "matching": "the scored texts",
}
VERDICTS = ("aligned", "uncertain", "not aligned")
NONE = ""
MATCHING_NOTE = (
    "Transport baselines (OT, Gromov-Wasserstein) are given the vectors of the very texts that they are scored on, in "
    "both spaces, the second shuffled: that each has its partner is known, which one is not. No fitter sees these "
    "texts. They give no map; compare them at the same number of candidates."
)


@dataclass(frozen=True)
class Titled:
    """A table with its title and a line on how to read it."""

    title: str
    note: str
    table: Table


def all_tables(config: BenchConfig, rows: Sequence[Line]) -> list[Titled]:
    """The tables of every experiment, those without a row left out."""
    found = []
    for experiment in config.experiments:
        mine = _distinct_fits([row for row in rows if experiment.name in row["experiments"].split(",")])
        title = experiment.title or experiment.name
        makers: tuple[Callable[[Sequence[Line], str], Titled | None], ...] = (
            quality_table,
            worth_table,
            paper_table,
            search_table,
            unscored_table,
            failures_table,
        )
        found += [table for make in makers if (table := make(mine, title)) is not None]
    return found


def _distinct_fits(rows: Sequence[Line]) -> list[Line]:
    """Without fits that are another one again: more rows, or pairs, than a fit can use were asked for, and all."""
    first: dict[tuple[Any, ...], str] = {}

    def is_first(row: Line) -> bool:
        what = [row.get(key) for key in ("method", "source", "target", "rows_source", "rows_target", "pairs", "seed")]
        return bool(row["status"] != "done" or first.setdefault(tuple(what), row["cell"]) == row["cell"])

    return [row for row in rows if is_first(row)]


# --- over seeds -------------------------------------------------------------------------------------------------------


def quality_table(rows: Sequence[Line], title: str) -> Titled | None:
    """Every method, size and number of pairs: mean, spread and worst over seeds, both directions, time and memory."""
    scored = [row for row in rows if row.get("top1") is not None]
    if not scored:
        return None
    head: tuple[str, ...] = (
        "method",
        "sees",
        "rows",
        "pairs",
        "seeds",
        "top-1",
        "worst",
        "rank",
        "cosine",
        "CSLS top-1",
    )
    head += ("Hungarian top-1", "overlap@10", "back: top-1", "back: rank", "verdict", "fit, s (worst)", "peak, MiB")
    sections = []
    for (source, target, name, pool), group in groups(scored, "source", "target", "scored_on", "pool"):
        cells = [_quality_cells(some) for _, some in groups(group, "label", "rows_source", "rows_target", "pairs")]
        sections.append(TableSection(f"{source} → {target}, {name}, {pool:,} candidates", tuple(cells)))
    note = (
        "Top-1: mean ± standard deviation over seeds, then the worst seed. Back: the other direction of the same fit. "
    )
    note += "Peak: of the process until the fit ended, libraries and data included."
    if any(row["kind"] == "matching" for row in scored):
        note += " " + MATCHING_NOTE
    return Titled(title, note, _without_empty(head, sections))


def _quality_cells(rows: Sequence[Line]) -> tuple[str, ...]:
    first = rows[0]
    plain = [row for row in rows if row["matching"] in ("cosine", "argmax")]
    there, back = ([row for row in plain if row["direction"] == way] for way in ("forward", "backward"))
    by_csls = [row for row in rows if row["matching"] == "CSLS" and row["direction"] == "forward"]
    assigned = [row for row in rows if row["matching"] == "Hungarian" and row["direction"] == "forward"]
    top = _values(there, "top1")
    seconds = _values(there, "fit_seconds")
    memory = _values(there, "fit_peak_mib")
    return (
        first["label"],
        SEES[first["kind"]],
        _size(first),
        f"{first['pairs']:,}" if first["pairs"] else NONE,
        str(len({row["seed"] for row in rows})) if first["kind"] != "baseline" else NONE,
        _spread(top),
        _share(min(top)) if len(top) > 1 else NONE,
        _mean(there, "mean_rank", _rank),
        _mean(there, "cosine", _share),
        _mean(by_csls, "top1", _share),
        _mean(assigned, "top1", _share),
        _mean(there, "overlap10", _share),
        _mean(back, "top1", _share),
        _mean(back, "mean_rank", _rank),
        verdicts(there),
        NONE if not seconds else f"{statistics.mean(seconds):,.1f}" + _worst(seconds),
        NONE if not memory else f"{max(memory):,.0f}",
    )


def _worst(seconds: Sequence[float]) -> str:
    return f" ({max(seconds):,.1f})" if len(seconds) > 1 else ""


def verdicts(rows: Sequence[Line]) -> str:
    """What the fits said of themselves, one count for each verdict."""
    said = [row["verdict"] for row in rows if row.get("verdict")]
    return ", ".join(f"{said.count(label)} {label}" for label in VERDICTS if label in said)


# --- what unpaired rows are worth -------------------------------------------------------------------------------------


def worth_table(rows: Sequence[Line], title: str) -> Titled | None:
    """For each unpaired method at each number of rows: with how many pairs paired Procrustes is as good."""
    plain = at_most_candidates([r for r in rows if r.get("matching") == "cosine" and r["direction"] == "forward"])
    sections = []
    for _, group in groups(plain, "source", "target", "scored_on", "pool"):
        curve = [
            (pairs, statistics.mean(_values(some, "top1")))
            for (pairs,), some in groups([row for row in group if row["method"] == "procrustes"], "pairs")
        ]
        if len(curve) < 2:
            continue
        cells = []
        for (label, size), some in groups([row for row in group if row["kind"] == "unpaired"], "label", "rows_source"):
            top = statistics.mean(_values(some, "top1"))
            cells.append((label, f"{size:,}", _share(top), equivalent_pairs(top, sorted(curve))))
        if cells:
            sections.append(TableSection(set_title(group[0]), tuple(cells)))
    if not sections:
        return None
    note = (
        "The number of known pairs with which Procrustes on pairs alone has the same top-1, between the numbers that "
    )
    note += "were measured on the logarithm of the number."
    return Titled(
        f"{title}: unpaired rows in pairs", note, Table(("method", "rows", "top-1", "worth, pairs"), tuple(sections))
    )


def equivalent_pairs(top1: float, curve: Sequence[tuple[int, float]]) -> str:
    """Where a rising curve of (pairs, top-1) reaches `top1`, by linear interpolation over log(pairs)."""
    if top1 < curve[0][1]:
        return f"< {curve[0][0]:,}"
    for (fewer, low), (more, high) in pairwise(curve):
        if low <= top1 <= high:
            share = (top1 - low) / (high - low) if high > low else 0.0
            found = math.exp(math.log(fewer) + share * (math.log(more) - math.log(fewer)))
            return f"≈ {_two_digits(found):,}"
    return f"> {curve[-1][0]:,}"


def _two_digits(x: float) -> int:
    digits = max(0, math.floor(math.log10(max(x, 1))) - 1)
    return int(round(x / 10**digits) * 10**digits)


# --- the paper's layout -----------------------------------------------------------------------------------------------


def paper_table(rows: Sequence[Line], title: str) -> Titled | None:
    """Rows M1 and methods, columns M2: cosine, top-1 and rank, at the most rows, pairs, candidates of each method."""
    plain = at_most_candidates([row for row in rows if row.get("matching") in ("cosine", "argmax")])
    if not plain:
        return None
    names = list(dict.fromkeys(name for row in plain for name in (row["source"], row["target"])))
    sections = []
    for (scored_on, pool), group in groups(plain, "scored_on", "pool"):
        lines = []
        for (label,), some in groups(group, "label"):
            best = [row for _, own in groups(some, "source", "target") for row in _at_most(own)]
            for source in names:
                found = [_paper_cell(best, source, target) for target in names]
                if any(found):
                    lines.append((source, label, *found))
        order = {name: i for i, name in enumerate(names)}
        lines.sort(key=lambda line: order[line[0]])
        sections.append(TableSection(f"{scored_on}, {pool:,} candidates", tuple(lines)))
    note = (
        "Each cell: mean cosine, top-1, mean rank, over seeds, with the most rows and pairs of each method. A † is the "
    )
    note += "way back of a fit in the other direction."
    return Titled(f"{title}: from M1 (rows) to M2 (columns)", note, Table(("M1", "method", *names), tuple(sections)))


def _at_most(rows: Sequence[Line]) -> list[Line]:
    most = max(((row["rows_source"] or 0), row["pairs"]) for row in rows)
    return [row for row in rows if ((row["rows_source"] or 0), row["pairs"]) == most]


def _paper_cell(rows: Sequence[Line], source: str, target: str) -> str:
    there = [r for r in rows if (r["source"], r["target"], r["direction"]) == (source, target, "forward")]
    back = [r for r in rows if (r["target"], r["source"], r["direction"]) == (source, target, "backward")]
    found = there or back
    if not found:
        return NONE
    parts = (_mean(found, "cosine", _share), _mean(found, "top1", _share), _mean(found, "mean_rank", _rank))
    return " / ".join(parts) + ("" if there else " †")


# --- searches, unscored fits, failures --------------------------------------------------------------------------------


def search_table(rows: Sequence[Line], title: str) -> Titled | None:
    """Searches across spaces, and their ratio to a search within the target's or the source's space."""
    found = [row for row in rows if row.get("system")]
    if not found:
        return None
    head: tuple[str, ...] = (
        "method",
        "rows",
        "pairs",
        "system",
        "R@1",
        "R@10",
        "nDCG@10",
        "R@1 / target",
        "nDCG / target",
    )
    head += ("R@1 / source", "nDCG / source")
    keys = (
        "recall1",
        "recall10",
        "ndcg10",
        "recall1_to_target",
        "ndcg10_to_target",
        "recall1_to_source",
        "ndcg10_to_source",
    )
    sections = []
    for (source, target, name, way), group in groups(found, "source", "target", "scored_on", "direction"):
        near, far = (source, target) if way == "forward" else (target, source)
        first = group[0]
        natives = [
            (
                f"native {space}",
                "",
                "",
                "",
                *(_share(first[f"{side}_{key}"]) for key in ("recall1", "recall10", "ndcg10")),
            )
            + ("",) * 4
            for space, side in ((far, "target"), (near, "source"))
        ]
        cells = [
            (
                some[0]["label"],
                _size(some[0]),
                f"{some[0]['pairs']:,}" if some[0]["pairs"] else NONE,
                system,
                *(_mean(some, key, _share) for key in keys),
            )
            for (_, _, _, system), some in groups(group, "label", "rows_source", "pairs", "system")
        ]
        sections.append(TableSection(f"{near} → {far}, {name}, {first['pool']:,} documents", (*natives, *cells)))
    note = (
        "Queries and documents that no fit has seen. Ratios: to a search with both sides native in the target's space, "
    )
    note += "and in the source's."
    return Titled(f"{title}: search", note, Table(head, tuple(sections)))


def unscored_table(rows: Sequence[Line], title: str) -> Titled | None:
    """Fits that nothing can be scored of: their verdicts."""
    found = [row for row in rows if row["status"] == "done" and row.get("top1") is None and not row.get("system")]
    if not found:
        return None
    head = ("method", "rows", "pairs", "seeds", "verdict", "expected top-1", "fit, s (worst)")
    sections = []
    for (source, target), group in groups(found, "source", "target"):
        cells = []
        for _, some in groups(group, "label", "rows_source", "pairs"):
            seconds = _values(some, "fit_seconds")
            known = f"{some[0]['pairs']:,}" if some[0]["pairs"] else NONE
            expected = _mean(some, "expected_top1", _share)
            taken = f"{statistics.mean(seconds):,.1f}" + _worst(seconds)
            cells.append((some[0]["label"], _size(some[0]), known, str(len(some)), verdicts(some), expected, taken))
        sections.append(TableSection(f"{source} → {target}", tuple(cells)))
    return Titled(
        f"{title}: without truth", "No pairs to score on: what the fits say themselves.", Table(head, tuple(sections))
    )


def failures_table(rows: Sequence[Line], title: str) -> Titled | None:
    """Cells that failed, and why."""
    failed = {row["cell"]: row for row in rows if row["status"] == "failed"}
    if not failed:
        return None
    cells = tuple((name, row["error"]) for name, row in failed.items())
    return Titled(
        f"{title}: failed", "Run them again with --retry.", Table(("cell", "error"), (TableSection("", cells),))
    )


# --- helpers ----------------------------------------------------------------------------------------------------------


def groups(rows: Sequence[Line], *keys: str) -> Iterator[tuple[tuple[Any, ...], list[Line]]]:
    """Rows of equal values in these columns: texts in order of first appearance, numbers ascending."""
    found: dict[tuple[Any, ...], list[Line]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    first = [list(dict.fromkeys(column)) for column in zip(*found, strict=True)]

    def order(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            seen.index(value) if isinstance(value, str) else value or 0
            for seen, value in zip(first, values, strict=True)
        )

    for values in sorted(found, key=order):
        yield values, found[values]


def at_most_candidates(rows: Sequence[Line]) -> list[Line]:
    """Of each method, on each set, the rows of its largest pool; in order."""
    keys = ("label", "source", "target", "scored_on")
    most = {values: max(row["pool"] for row in some) for values, some in groups(rows, *keys)}
    return [row for row in rows if row["pool"] == most[tuple(row[key] for key in keys)]]


def set_title(row: Line) -> str:
    """The spaces and the set of a row, and the number of candidates where these are not all of the set."""
    title = f"{row['source']} → {row['target']}, {row['scored_on']}"
    return title if row["whole"] else f"{title}, {row['pool']:,} candidates"


def _size(row: Line) -> str:
    if row["rows_source"] is None:
        return NONE
    sizes = dict.fromkeys((row["rows_source"], row["rows_target"]))
    return " × ".join(f"{size:,}" for size in sizes)


def _values(rows: Sequence[Line], key: str) -> list[float]:
    return [row[key] for row in rows if row.get(key) is not None]


def _mean(rows: Sequence[Line], key: str, show: Callable[[float], str]) -> str:
    values = _values(rows, key)
    return show(statistics.mean(values)) if values else NONE


def _spread(values: Sequence[float]) -> str:
    if not values:
        return NONE
    mean = _share(statistics.mean(values))
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


def _share(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1g}"


def _rank(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _without_empty(head: Sequence[str], sections: Sequence[TableSection]) -> Table:
    """The table without the columns that are empty everywhere."""
    kept = [i for i in range(len(head)) if any(row[i] for section in sections for row in section.rows)]
    return Table(
        tuple(head[i] for i in kept),
        tuple(TableSection(s.title, tuple(tuple(row[i] for i in kept) for row in s.rows)) for s in sections),
    )


# --- as text ----------------------------------------------------------------------------------------------------------


def to_markdown(title: str, notes: Sequence[str], tables: Sequence[Titled], figures: Sequence[Path] = ()) -> str:
    """All tables as a Markdown page, figures linked."""
    parts = [f"# {title}", *notes]
    for one in tables:
        parts += [f"## {one.title}", one.note]
        for section in one.table.sections:
            if section.title:
                parts.append(f"**{section.title}**")
            rows = [one.table.columns, ["---"] * len(one.table.columns), *section.rows]
            parts.append("\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows))
    if figures:
        parts += ["## Figures", *(f"![{path.stem}]({path.as_posix()})" for path in figures)]
    return "\n\n".join(parts) + "\n"


_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "→": r"$\to$", "±": r"$\pm$", "×": r"$\times$",
    "≈": r"$\approx$", "<": r"$<$", ">": r"$>$", "†": r"$\dagger$",
}  # fmt: skip


def latex_escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found.group()], text)


def to_latex(title: str, notes: Sequence[str], tables: Sequence[Titled]) -> str:
    """All tables for LaTeX, with the packages booktabs and graphicx."""
    parts = [f"% {title}. Needs \\usepackage{{booktabs,graphicx}}.", *(f"% {note}" for note in notes)]
    for one in tables:
        columns = one.table.columns
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_escape(f'{one.title}. {one.note}')}}}"]
        lines += [r"\resizebox{\linewidth}{!}{%", rf"\begin{{tabular}}{{{'l' * len(columns)}}}", r"\toprule"]
        lines.append(" & ".join(map(latex_escape, columns)) + r" \\")
        for section in one.table.sections:
            lines.append(r"\midrule")
            if section.title:
                lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{latex_escape(section.title)}}}}} \\")
            lines += [" & ".join(map(latex_escape, row)) + r" \\" for row in section.rows]
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { margin: 2rem auto; max-width: 82rem; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { color: #555; max-width: 60rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .22rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #eee }
th { border-bottom: 1.5px solid #222; font-weight: 600 } th:first-child, td:first-child, .text { text-align: left }
tr.section td { text-align: left; font-weight: 600; padding-top: .9rem; border-bottom: 1px solid #999 }
figure { margin: 1.5rem 0 } img { max-width: 100%; height: auto }
"""


def to_html(title: str, notes: Sequence[str], tables: Sequence[Titled], figures: Sequence[Path] = ()) -> str:
    """All tables and figures as one page that needs nothing else."""
    parts = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(note)}</p>" for note in notes)]
    for one in tables:
        parts += [f"<h2>{html.escape(one.title)}</h2>", f"<p>{html.escape(one.note)}</p>", _html_table(one.table)]
    for path in figures:
        data = base64.b64encode(path.read_bytes()).decode()
        name = html.escape(path.stem)
        parts.append(f'<figure><img alt="{name}" src="data:image/png;base64,{data}"></figure>')
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _html_table(table: Table) -> str:
    columns = zip(*(row for section in table.sections for row in section.rows), strict=True)
    kinds = [_kind(next(filter(None, column), "")) for column in columns]
    head = zip(table.columns, kinds, strict=True)
    lines = ["<tr>" + "".join(f"<th{kind}>{html.escape(name)}</th>" for name, kind in head) + "</tr>"]
    for section in table.sections:
        if section.title:
            title = html.escape(section.title)
            lines.append(f'<tr class="section"><td colspan="{len(table.columns)}">{title}</td></tr>')
        for row in section.rows:
            lines.append("<tr>" + "".join(f"<td{_kind(cell)}>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _kind(cell: str) -> str:
    return ' class="text"' if cell[:1].isalpha() else ""
