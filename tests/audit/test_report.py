"""The report: what stands in it, what does not, and that it needs no network."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_world import World

from vec2vec.audit import Audit, Truth, audit
from vec2vec.audit.defences import DEFENCES, DefenceResult
from vec2vec.audit.intervals import exact, share_estimate
from vec2vec.audit.inversion.entities import CapitalRule
from vec2vec.audit.inversion.measures import measure_texts
from vec2vec.audit.inversion.section import Inversion, Recovery
from vec2vec.audit.measures import Measures, chance, measure, shuffled_top1
from vec2vec.audit.report import charts, grade, markdown, page, write_report
from vec2vec.errors import OutputError
from vec2vec.evaluate.metrics import Estimate
from vec2vec.translator import Translator
from vec2vec.verdict import Verdict

TRUTHS = ("Call Jeff at 713-853-1411 about the contract.", "Lunch with Sara on Tuesday?", "It rains.")
GUESSES = ("jeff will call about a contract", "dinner on tuesday with bob", "nothing here")
HOSTILE = "</script><script>alert(1)</script>|`*_[x](javascript:1)"


class Reader(HTMLParser):
    """Tags, attributes, and the text that is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def read(content: str) -> Reader:
    reader = Reader()
    reader.feed(content)
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def whole(world: World) -> Audit:
    """An audit with every section."""
    found = audit(
        world.leak,
        None,
        world.reference,
        scope=f"a test {HOSTILE}",
        labels=world.labels,
        truth=world.truth,
        translator=world.translator,
        picture_rows=60,
        resamples=100,
    )
    rule = CapitalRule.of(TRUTHS)
    recoveries = tuple(
        Recovery(kind, "corrected", texts, measure_texts(texts, TRUTHS, rule, resamples=100))
        for kind, texts in (("translated", GUESSES), ("native", TRUTHS), ("floor", ("x", "y", "z")))
    )
    defences = tuple(
        DefenceResult(n, DEFENCES[n].title, DEFENCES[n].family, 100, "aligned", exact(0.9), lift=0.5) for n in DEFENCES
    )
    return replace(found, inversion=Inversion((4, 7, 9), TRUTHS, recoveries, None), defences=defences)


def test_the_page_holds_every_section_and_needs_no_network(whole):
    content = page(whole)
    reader = read(content)
    text = " ".join(" ".join(reader.text).split())
    for due in (
        "aligned",
        "The two spaces",
        "Attributes, zero-shot",
        "Attributes, few-shot",
        "Words",
        "Defences",
        "Method",
    ):
        assert due in text, due
    assert sum("plotly-graph-div" in (attrs.get("class") or "") for _, attrs in reader.tags) == 2 + 3 + 3 + 1 + 1
    for tag, attrs in reader.tags:
        assert not {"src", "href", "srcset", "action"} & attrs.keys(), (tag, attrs)
    assert "Plotly.newPlot" in content
    assert "@import" not in content.split("<script>")[0]
    assert 3e6 < len(content) < 8e6


def test_foreign_text_is_shown_and_not_run(whole):
    translator = Translator(
        {HOSTILE: whole.translator.space("unknown"), "known": whole.translator.space("known")},
        record={"method": HOSTILE, "config": {HOSTILE: HOSTILE}},
    )
    hostile = replace(
        whole,
        leak=replace(whole.leak, name=HOSTILE),
        notes=(HOSTILE,),
        known=HOSTILE,
        translator=translator,
        attributes=tuple(replace(one, task=HOSTILE) for one in whole.attributes),
        inversion=replace(whole.inversion, names_by=HOSTILE),
        defences=tuple(replace(one, reader=HOSTILE) for one in whole.defences),
    )
    content = page(hostile)
    reader = read(content)
    assert "<script>alert(1)" not in content
    assert HOSTILE in " ".join(reader.text)
    plain = markdown(hostile)
    assert plain.count("alert(1)") > 8
    for raw in ("<script>", "[x]", "`*_"):
        assert raw not in plain


def test_a_label_of_markup_does_not_break_the_figures(whole):
    one = replace(whole.attributes[0], per_label=(replace(whole.attributes[0].per_label[0], label=HOSTILE),))
    content = page(replace(whole, attributes=(one,)))
    assert "<script>alert(1)" not in content
    read(content)


@pytest.mark.parametrize("names", [("1", "20", "3"), tuple(f"{'a long name ' * 5}{i}" for i in range(3))])
def test_each_label_has_its_own_place_in_a_figure(whole, monkeypatch, names):
    drawn: list[Any] = []
    monkeypatch.setattr(charts, "_piece", lambda figure: str(drawn.append(figure)))
    own = tuple(replace(one, label=name) for one, name in zip(whole.attributes[0].per_label, names, strict=False))
    table = np.eye(3, 4)
    one = replace(whole.attributes[0], per_label=own, per_label_native=own[:2], confusion=(list(names), table))
    charts.label_bars(one)
    charts.confusion_map(one)
    bars, squares = drawn
    assert [list(bar.y) for bar in bars.data] == [[1, 2], [0, 1, 2]]
    assert [text[:5] for text in bars.layout.yaxis.ticktext] == [name[:5] for name in names[::-1]]
    for axis in (bars.layout.yaxis, squares.layout.xaxis, squares.layout.yaxis):
        assert list(axis.tickvals) == [0, 1, 2]
    assert squares.data[0].x is None
    np.testing.assert_array_equal(squares.data[0].z, table[::-1, :3])


def test_texts_are_masked_unless_revealed(whole):
    for write in (page, markdown, lambda found, **options: json.dumps(found.to_dict(**options))):
        covered, shown = write(whole), write(whole, reveal=True)
        visible = " ".join(read(covered).text) if write is page else covered
        for secret in ("Jeff", "jeff", "713-", "Sara", "bob", "Tuesday"):
            assert secret not in visible, secret
        assert "1411" in shown
        assert "Sara" in shown


def test_what_was_recovered_is_marked(whole):
    marked = re.findall(r"<mark>(.*?)</mark>", page(whole, reveal=True))
    assert "Jeff" in marked
    assert "jeff" in marked
    assert "dinner" not in marked


def test_nothing_is_concluded_without_alignment(world):
    spaces = {n: world.translator.space(n) for n in world.translator.spaces}
    bad = Translator(spaces, verdict=Verdict("not aligned", 0.0, (0, 0.02), {}, "Not aligned: said by the test."))
    found = audit(
        world.leak, None, world.reference, scope="a test", labels=world.labels, truth=world.truth, translator=bad
    )
    content = page(found)
    text = " ".join(" ".join(read(content).text).split())
    assert "Nothing can be concluded" in text
    assert "no grade" in text
    assert "Plotly" not in content.split("</style>")[1].replace("Plotly.Plots.resize", "")
    for absent in ("Attributes,", "top-1", "In the shared latent"):
        assert absent not in text.split("How the grade is derived")[0], absent
    assert grade(found).level == "none"
    assert "Nothing can be concluded" in markdown(found)


def test_the_grade_is_the_worst_line(whole):
    given = grade(whole)
    assert given.level == "severe"
    assert {level for level, _ in given.reasons} == {"severe", "high", "low"}
    some = replace(whole.attributes[0].translated, top1=Estimate(0.44, 0.4, 0.5))
    partly = replace(whole.attributes[0], translated=some, native=replace(some, top1=exact(1.0)), blind=0.2)
    weak = replace(whole, inversion=None, attributes=(partly,), translation=None)
    assert grade(weak).level == "high"  # what the verdict expects
    weaker = replace(weak, verdict=Verdict("aligned", 0.04, (0.0, 0.1)))
    assert grade(weaker).level == "moderate"
    assert grade(replace(weaker, attributes=(replace(partly, blind=0.44),))).level == "low"


def test_texts_count_where_they_tell_more_than_random_vectors(whole):
    bare = replace(whole, attributes=(), translation=None, verdict=Verdict("aligned", 0.01, (0.0, 0.1)))
    first, native, floor = whole.inversion.recoveries

    def level(own: Estimate, random: Estimate) -> str:
        pair = [
            replace(one, measures=replace(one.measures, revealing=value))
            for one, value in ((first, own), (floor, random))
        ]
        return grade(replace(bare, inversion=replace(whole.inversion, recoveries=(pair[0], native, pair[1])))).level

    assert level(share_estimate(1, 3), share_estimate(0, 3)) == "low"
    assert level(share_estimate(100, 300), share_estimate(0, 50)) == "high"
    assert level(share_estimate(100, 300), share_estimate(17, 50)) == "low"


def test_the_same_answer_for_every_row_is_no_leak(whole):
    truth = np.eye(2, dtype=bool)[[0] * 83 + [1] * 17]
    constant = np.tile(np.float32([1.0, 0.0]), (100, 1))
    read = measure(constant, truth, resamples=100)
    one = replace(whole.attributes[0], translated=read, chance=chance(truth), native=read)
    one = replace(one, blind=shuffled_top1(constant, truth))
    bare = replace(whole, inversion=None, translation=None, verdict=Verdict("aligned", 0.01, (0.0, 0.1)))
    assert read.top1.value == pytest.approx(0.83)
    assert grade(replace(bare, attributes=(one,))).level == "low"
    assert one.telling == pytest.approx(0.0)


def test_what_is_expected_of_other_vectors_is_not_graded(whole):
    bare = replace(whole, inversion=None, attributes=(), translation=None, verdict=Verdict("aligned", 0.9, (0.8, 1.0)))
    assert grade(bare).level == "high"
    unlike = grade(replace(bare, unlike=True))
    assert unlike.level == "none"
    assert "not of these" in unlike.reasons[0][1]


@pytest.mark.parametrize("texts_known", [True, False])
def test_two_labels_that_are_read_perfectly_are_graded(whole, texts_known):
    half = Measures(exact(0.5), exact(1.0), exact(0.2), exact(1.0))
    read = replace(half, top1=exact(1.0))
    native = read if texts_known else None
    one = replace(whole.attributes[0], translated=read, chance=half, native=native, blind=0.5)
    bare = replace(whole, inversion=None, translation=None, verdict=Verdict("aligned", 0.01, (0.0, 0.1)))
    assert grade(replace(bare, attributes=(one,))).level == "severe"
    unread = replace(one, translated=half)
    assert grade(replace(bare, attributes=(unread,))).level == "low"


def test_without_truth_the_grade_rests_on_the_verdict(world):
    options: dict[str, Any] = {"picture_rows": 60, "resamples": 100}
    found = audit(
        world.leak, None, world.reference, scope="s", labels=world.labels, translator=world.translator, **options
    )
    assert grade(found).level == "high"
    assert "not measured" in grade(found).reasons[0][1]
    text = " ".join(read(page(found)).text)
    assert "No truth was given" in text


def test_few_rows_that_are_found_by_chance_are_no_leak(whole):
    bare = replace(whole, inversion=None, attributes=(), verdict=Verdict("aligned", 0.9, (0.8, 1.0)))
    for low, level in ((0.0, "low"), (0.2, "low"), (0.25, "moderate")):
        among_five = replace(whole.translation, pool=5, top1=Estimate(0.28, low, 0.6))
        assert grade(replace(bare, translation=among_five)).level == level


@pytest.mark.parametrize(
    ("pool", "top1", "expected", "unlike", "level"),
    [
        (4096, 0.42, 0.02, False, "high"),  # what is measured counts
        (40, 0.42, 0.02, False, "low"),  # few are found easily
        (40, 0.42, 0.9, False, "high"),
        (40, 0.42, 0.9, True, "none"),
        (40, 0.42, math.nan, False, "none"),
        (40, 0.04, math.nan, False, "low"),
    ],
)
def test_top1_among_few_is_a_bound(whole, pool, top1, expected, unlike, level):
    found = replace(whole.translation, pool=pool, top1=Estimate(top1, top1 - 0.005, top1 + 0.005))
    verdict = Verdict("aligned", expected, (0.0, 1.0))
    bare = replace(whole, inversion=None, attributes=(), translation=found, verdict=verdict, unlike=unlike)
    assert grade(bare).level == level


def test_what_was_read_without_a_verdict_is_not_called_unaligned(whole):
    read = replace(whole.attributes[0], translated=None, chance=None, native=None, blind=None)
    unknown = Verdict("uncertain", float("nan"), (0.0, 1.0), {}, "not judged")
    found = replace(whole, attributes=(read,), inversion=None, translation=None, defences=(), verdict=unknown)
    given = grade(found)
    assert (given.level, given.sentence) == ("none", "What was read is not graded.")
    for text in (page(found), markdown(found)):
        assert "could not be aligned" not in text
        assert "Nothing was measured, and the translator carries no expectation." in text
        assert "not graded" in text


def test_three_files_with_the_same_figures(whole, tmp_path):
    paths = write_report(whole, tmp_path / "out")
    assert [path.name for path in paths] == ["report.html", "report.json", "report.md"]
    tree = json.loads(paths[1].read_text())
    assert tree["grade"]["level"] == "severe"
    value = tree["attributes"][0]["translated"]["top1"]["value"]
    assert f"{value:.3f}" in paths[2].read_text()
    assert f"{value:.3f}" in paths[0].read_text()
    assert tree["inversion"]["masked"] is True
    with pytest.raises(OutputError, match="exists already"):
        write_report(whole, tmp_path / "out")
    write_report(whole, tmp_path / "out", force=True, reveal=True)
    assert "Sara" in paths[2].read_text()


def test_a_report_that_cannot_be_written_whole_is_not_begun(whole, tmp_path):
    with pytest.raises(OutputError, match=r"its folder .*no does not exist"):
        write_report(whole, tmp_path / "no" / "out")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; a report needs a folder"):
        write_report(whole, tmp_path / "file")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").touch()
    with pytest.raises(OutputError, match=r"report\.md: exists already"):
        write_report(whole, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.md"]


def test_a_disk_that_is_full_leaves_the_report_that_was_there(whole, tmp_path, monkeypatch):
    paths = write_report(whole, tmp_path / "out")
    before = [path.read_bytes() for path in paths]
    calls, sync = iter(range(3)), os.fsync

    def full(number: int) -> None:
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"report\.json: cannot be written: No space left on device"):
        write_report(whole, tmp_path / "out", force=True, reveal=True)
    assert [path.read_bytes() for path in paths] == before
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_the_same_audit_gives_the_same_markdown(whole):
    assert markdown(whole) == markdown(whole)
    assert np.isfinite(whole.seconds)


def test_labels_alone(world, tmp_path: Path):
    found = audit(
        world.leak,
        None,
        world.reference,
        scope="s",
        labels=world.labels,
        truth=Truth(labels=world.truth.labels),
        translator=world.translator,
        picture_rows=60,
        resamples=100,
    )
    text = markdown(found)
    assert "| **translated** |" in text
    assert "the texts themselves" not in text.split("## Attributes")[1].split("|label")[0].split("label | rows")[0]
