"""The figures of the report, by plotly, as pieces of HTML that need nothing from a network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from vec2vec.audit.attributes import Attributes
from vec2vec.audit.defences import DefenceResult
from vec2vec.audit.inversion.section import Inversion
from vec2vec.audit.result import Picture
from vec2vec.encoders.base import require
from vec2vec.evaluate.metrics import Estimate

# Okabe and Ito's colours, told apart by all common forms of colour vision
BLUE, VERMILION, GREEN, GREY, SKY, PURPLE, INK = (
    "#0072B2", "#D55E00", "#009E73", "#9a9a9a", "#56B4E9", "#CC79A7", "#222222",
)  # fmt: skip
FAMILIES = {"none": INK, "noise": BLUE, "quantisation": GREEN, "fewer dimensions": PURPLE, "secret": VERMILION}
MOST_BARS = 20


def plotly_script() -> str:
    """The library itself, for the head of the page."""
    text: str = _plotly("plotly.offline").get_plotlyjs()
    return text


def spaces(picture: Picture, leak: str, known: str) -> list[str]:
    """Before and after: two scatter plots."""
    out = []
    n = picture.leak_rows
    for points in (picture.before, picture.after):
        figure = _figure(height=360)
        for name, colour, part in ((known, SKY, points[n:]), (leak, VERMILION, points[:n])):
            figure.add_scatter(
                x=part[:, 0],
                y=part[:, 1],
                mode="markers",
                name=_short(name),
                marker={"size": 4, "color": colour, "opacity": 0.75},
                hoverinfo="skip",
            )
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.update_layout(margin={"l": 4, "r": 4, "t": 36, "b": 6})
        out.append(_piece(figure))
    return out


def attribute_bars(found: Attributes) -> str:
    """Top-1 beside its baselines."""
    bars = [
        ("chance", found.chance, GREY),
        ("most frequent label", found.majority, GREY),
        ("untranslated", found.naive, GREY),
        ("translated", found.translated, VERMILION),
        ("the texts themselves", found.native, SKY),
    ]
    shown = [(name, one.top1, colour) for name, one, colour in bars if one is not None]
    return _bars(shown, "Share of rows whose label comes first (top-1)")


def label_bars(found: Attributes) -> str:
    """Average precision by label."""
    chosen = found.per_label[:MOST_BARS][::-1]
    figure = _figure(height=110 + 26 * len(chosen))
    native = {one.label: one.average_precision for one in found.per_label_native}
    if native:
        both = [i for i, one in enumerate(chosen) if one.label in native]
        figure.add_bar(
            y=both,
            x=[native[chosen[i].label].value for i in both],
            orientation="h",
            name="the texts themselves",
            marker_color=SKY,
        )
    own = [one.average_precision for one in chosen]
    figure.add_bar(
        y=list(range(len(own))),
        x=[v.value for v in own],
        orientation="h",
        name="translated",
        marker_color=VERMILION,
        error_x=_errors(own) | {"thickness": 1, "color": INK},
    )
    figure.update_xaxes(range=[0, 1], title="average precision")
    figure.update_yaxes(**_names([one.label for one in chosen]))
    return _piece(figure)


def confusion_map(found: Attributes) -> str:
    """True labels against the label that came first."""
    assert found.confusion is not None
    names, table = found.confusion
    others = bool(table[:, -1].any())
    columns = [*names, "another"] if others else names
    shown = table if others else table[:, :-1]
    figure = _figure(height=180 + 24 * len(names))
    figure.update_layout(margin={"t": 8})
    figure.add_heatmap(z=shown[::-1], zmin=0, zmax=1, colorscale="Blues", showscale=False)
    if len(names) <= 12:
        text = [[f"{value:.0%}" if value >= 0.005 else "" for value in row] for row in shown[::-1]]
        figure.update_traces(text=text, texttemplate="%{text}", textfont={"size": 11})
    figure.update_xaxes(title="read", tickangle=-40, **_names(columns, 22))
    figure.update_yaxes(title="true", **_names(names[::-1], 22))
    return _piece(figure)


def inversion_bars(found: Inversion) -> str:
    """Token F1 by method and kind of vectors."""
    figure = _figure(height=330)
    methods = list(dict.fromkeys(one.method for one in found.recoveries))
    names = {"floor": ("random vectors", GREY), "translated": ("translated", VERMILION), "native": ("native", SKY)}
    for kind, (name, colour) in names.items():
        chosen = [one for one in found.recoveries if one.vectors == kind and one.measures is not None]
        if not chosen:
            continue
        own = {one.method: one.measures.token_f1 for one in chosen if one.measures is not None}
        values = [own[method] for method in methods if method in own]
        figure.add_bar(
            x=[method for method in methods if method in own],
            y=[v.value for v in values],
            name=name,
            marker_color=colour,
            error_y=_errors(values) | {"thickness": 1, "color": INK},
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="token F1", rangemode="tozero")
    return _piece(figure)


def defence_chart(found: Sequence[DefenceResult]) -> str:
    """Leakage against utility."""
    figure = _figure(height=460)
    places = _places(found)
    for family in dict.fromkeys(one.family for one in found):
        own = [one for one in found if one.family == family and np.isfinite(one.leakage)]
        figure.add_scatter(
            x=[one.recall.value for one in own],
            y=[one.leakage for one in own],
            mode="markers+text",
            name="no defence" if family == "none" else family,
            text=[one.name if one.family != "none" else "" for one in own],
            textposition=[places[one.name] for one in own],
            textfont={"size": 10},
            hovertext=[
                f"{one.title}: recall@10 {one.recall.value:.2f}, leakage {one.leakage:.2f}, {one.verdict}"
                for one in own
            ],
            hoverinfo="text",
            marker={
                "size": 12,
                "color": FAMILIES[family],
                "symbol": ["circle" if one.verdict != "not aligned" else "circle-open" for one in own],
                "line": {"width": 2, "color": FAMILIES[family]},
            },
        )
    figure.update_xaxes(title="recall@10 of the store's own search: better to the right", range=[-0.05, 1.18])
    most = max([one.leakage for one in found if np.isfinite(one.leakage)], default=1.0)
    figure.update_yaxes(title="leakage: better below", range=[-0.08 * most, 1.12 * most])
    return _piece(figure)


def _places(found: Sequence[DefenceResult]) -> dict[str, str]:
    """Where the name of each point stands, so that those of points close together do not cover one another."""
    sides = ("bottom center", "top center", "middle right", "middle left", "bottom left", "top left")
    shown = [one for one in found if np.isfinite(one.leakage)]
    most = max([one.leakage for one in shown], default=1.0) or 1.0
    out: dict[str, str] = {}
    for i, one in enumerate(shown):
        near = [
            other.name
            for other in shown[:i]
            if abs(other.recall.value - one.recall.value) < 0.12 and abs(other.leakage - one.leakage) < 0.08 * most
        ]
        taken = {out[name] for name in near if name != "none"}
        out[one.name] = next((side for side in sides if side not in taken), sides[0])
    return out


def _bars(shown: Sequence[tuple[str, Estimate, str]], title: str) -> str:
    figure = _figure(height=90 + 42 * len(shown), title=title)
    figure.add_bar(
        y=[name for name, _, _ in shown][::-1],
        x=[v.value for _, v, _ in shown][::-1],
        orientation="h",
        marker_color=[colour for _, _, colour in shown][::-1],
        error_x=_errors([v for _, v, _ in shown][::-1]) | {"thickness": 1.2, "color": INK},
        text=[f"{v.value:.1%}" for _, v, _ in shown][::-1],
        textposition="inside",
        insidetextanchor="start",
        textfont={"color": "white"},
        showlegend=False,
    )
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(automargin=True)
    return _piece(figure)


def _errors(values: Sequence[Estimate]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [v.high - v.value for v in values],
        "arrayminus": [v.value - v.low for v in values],
    }


def _figure(*, height: int, title: str | None = None) -> Any:
    figure = _plotly("plotly.graph_objects").Figure()
    figure.update_layout(
        template="plotly_white",
        height=height,
        title=None if title is None else {"text": title, "font": {"size": 14}, "x": 0.01},
        margin={"l": 10, "r": 14, "t": 44, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "itemsizing": "constant"},
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        dragmode=False,
    )
    return figure


def _piece(figure: Any) -> str:
    io = _plotly("plotly.io")
    config = {"responsive": True, "displayModeBar": False}
    piece: str = io.to_html(figure, include_plotlyjs=False, full_html=False, config=config, default_width="100%")
    return piece


def _names(labels: Sequence[str], most: int = 40) -> dict[str, Any]:
    """An axis whose places 0, 1, ... have these names: as places themselves, names that are cut alike would be one."""
    names = [_short(label, most) for label in labels]
    return {"tickvals": list(range(len(names))), "ticktext": names, "automargin": True}


def _short(text: str, most: int = 40) -> str:
    """A name for a figure: plotly would read tags in it."""
    return html.escape(text if len(text) <= most else text[: most - 1] + "…", quote=False)


def _plotly(module: str) -> Any:
    return require(module, "report", "a report in HTML")
