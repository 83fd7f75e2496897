"""The flow of an audit, on vectors; see test_texts.py for texts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_world import ALIGNED, NAMES, QUICK, World

import vec2vec.audit.run
from vec2vec.audit import Audit, LabelSet, Reference, Truth, audit
from vec2vec.audit.attributes import Reading, Views, read_attributes, train_probe
from vec2vec.audit.known import Known, Words
from vec2vec.audit.report.wording import fit_line
from vec2vec.audit.settings import make_audit_settings
from vec2vec.encoders import Identity
from vec2vec.errors import ConfigError, DimensionError, InputError, Vec2VecWarning
from vec2vec.translator import Translator
from vec2vec.verdict import Verdict

FAST: dict[str, Any] = {"picture_rows": 60, "resamples": 100}


def run(world: World, **changes: Any) -> Audit:
    options: dict[str, Any] = {
        "scope": "a test",
        "labels": world.labels,
        "truth": world.truth,
        "translator": world.translator,
    }
    return audit(
        changes.pop("leak", world.leak), None, changes.pop("reference", world.reference), **options | FAST | changes
    )


@pytest.fixture(scope="module")
def found(world: World) -> Audit:
    return run(world)


def test_translated_vectors_tell_what_the_untranslated_do_not(found):
    shot, probe = found.attributes
    assert (shot.kind, probe.kind) == ("zero-shot", "few-shot")
    for one in found.attributes:
        assert one.translated.top1.value > 0.9
        assert one.native.top1.value > 0.9
        assert one.naive.top1.value < 0.5
        assert one.lift > 0.9
        assert one.rows == len(found.leak) == 2400
        assert one.translated.top1.low > one.majority.top1.high
        assert {label.label for label in one.per_label} == set(NAMES)
        assert one.confusion is not None
    assert found.translation.top1.value > 0.9
    assert found.concluded
    assert not found.fitted


def test_it_fits_a_translator_from_unpaired_rows_where_none_is_given(world):
    said: list[str] = []
    found = run(world, translator=None, method=QUICK, say=said.append)
    assert found.fitted
    assert found.verdict.label == "aligned"
    assert all(one.translated.top1.value > 0.8 for one in found.attributes)
    assert any("without pairs" in line for line in said)
    assert found.translator.width("leak") == 24


@pytest.mark.parametrize("given", [{"fit_rows": 500}, {"method": {"nonsense": 3}}])
def test_settings_of_a_fit_are_refused_where_nothing_is_fitted(world, given):
    with pytest.raises(ConfigError, match="a translator is given"):
        run(world, **given)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"seed": 3}, "seed is not a setting of the fit of an audit: use the seed of the audit"),
        ({"method": "mini", "rows": 500}, "use the fit_rows of the audit"),
        ({"source_name": "leak"}, "source_name is not a setting of the fit of an audit$"),
    ],
)
def test_what_the_audit_gives_the_fit_is_no_setting_of_it(world, method, message):
    with pytest.raises(ConfigError, match=message):
        run(world, translator=None, method=method)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"roundz": 3}, "the method sinkhorn has no setting 'roundz'; did you mean 'rounds'"),
        ({"method": "mini", "early_rows": 3}, "the method mini has no setting 'early_rows'"),
        ({"method": "sinkhornn"}, "there is no method 'sinkhornn'"),
        ({"method": "ridge"}, "the method ridge needs known pairs"),
        ({"device": "tpu"}, "there is no device 'tpu'"),
    ],
)
@pytest.mark.parametrize("fitted", [True, False])
def test_settings_that_a_fit_would_refuse_are_refused_before_the_work(world, monkeypatch, method, message, fitted):
    monkeypatch.setattr(vec2vec.audit.run, "open_leak", lambda leak: pytest.fail("the leak was opened"))
    with pytest.raises(ConfigError, match=message):
        run(world, method=method, **({"translator": None} if fitted else {"defences": "int8"}))


def test_spaces_are_those_of_a_given_translator(world):
    with pytest.raises(ConfigError, match="no translator is given"):
        run(world, translator=None, target_space="known")


def test_without_truth_there_are_predictions_and_no_measures(world):
    found = run(world, truth=None)
    assert found.translation is None
    for one in found.attributes:
        assert one.translated is one.native is one.chance is None
        assert sum(one.shares.values()) == pytest.approx(1)


def test_labels_alone_give_measures_without_a_ceiling(world):
    found = run(world, truth=Truth(labels=world.truth.labels))
    assert found.translation is None
    for one in found.attributes:
        assert one.translated.top1.value > 0.9
        assert one.native is None
        assert np.isnan(one.lift)


def test_a_sample_of_the_leak_keeps_its_truth(world):
    found = run(world, leak_rows=300)
    assert len(found.leak) == 300
    assert found.attributes[0].translated.top1.value > 0.9


def test_a_shuffled_truth_is_at_chance(world):
    order = np.random.default_rng(0).permutation(len(world.leak))
    shuffled = world.truth.take(order)
    found = run(world, truth=shuffled)
    assert found.attributes[0].translated.top1.value < 0.25
    assert found.translation.top1.value < 0.02


@pytest.mark.parametrize("label", ["not aligned"])
def test_nothing_is_concluded_where_the_spaces_are_not_aligned(world, label):
    bad = Translator(
        {n: world.translator.space(n) for n in world.translator.spaces}, verdict=Verdict(label, 0.0, (0, 0.02))
    )
    found = run(world, translator=bad)
    assert not found.concluded
    assert (found.attributes, found.translation, found.picture) == ((), None, None)
    tree = json.dumps(found.to_dict(), allow_nan=False)
    assert "top1" not in tree.replace("expected_top1", "")


def test_an_uncertain_verdict_is_noted(world):
    spaces = {n: world.translator.space(n) for n in world.translator.spaces}
    found = run(world, translator=Translator(spaces, verdict=Verdict("uncertain", 0.2, (0, 0.5))))
    assert found.attributes
    assert any("uncertain" in note for note in found.notes)
    assert "carries no verdict" in run(world, translator=Translator(spaces)).verdict.sentence


def test_other_columns_of_the_leak_are_not_read_and_the_report_says_so(world, tmp_path):
    path = tmp_path / "leak.parquet"
    columns = {"vector": list(world.leak), "text": ["secret"] * len(world.leak), "id": list(range(len(world.leak)))}
    pq.write_table(pa.table(columns), path)
    found = run(world, leak=path)
    assert set(found.leak.unread) == {"text", "id"}
    assert any("'text'" in note and "not read" in note for note in found.notes)
    assert "secret" not in json.dumps(found.to_dict())


def test_a_leak_of_another_kind_than_the_translators_is_noted(world):
    assert any("radii from the mean" in note for note in run(world, leak=world.leak + 3).notes)
    assert not any("radii" in note for note in run(world).notes)


def test_the_same_seed_gives_the_same_figures(world, found):
    again = run(world)
    trees = [one.to_dict() for one in (found, again)]
    for tree in trees:
        tree.pop("seconds"), tree.pop("created")
    assert trees[0] == trees[1]


def test_any_seed_will_do(world):
    found = run(world, seed=2**40, leak=world.leak[:60], truth=world.truth.take(np.arange(60)))
    assert found.picture is not None


def test_json_holds_the_figures(found):
    tree = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert tree["scope"] == "a test"
    assert tree["attributes"][0]["translated"]["top1"]["value"] > 0.9
    assert tree["verdict"]["label"] == ALIGNED.label


def without_a_fit(*_: Any, **__: Any) -> None:
    pytest.fail("it was fitted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None, "reference": "other labels"}, "labels of the reference: its labels match nothing"),
        ({"candidates": 17}, "candidates is 17, and there are 16 labels"),
        ({"labels": None, "candidates": 17}, "candidates is 17, and there are 16 labels"),
    ],
)
def test_labels_that_cannot_be_measured_are_refused_before_the_fit(world, monkeypatch, changes, message):
    monkeypatch.setattr(vec2vec.audit.run, "fit", without_a_fit)
    if "reference" in changes:
        others = tuple((f"other {own}",) for (own,) in world.reference.labels)
        changes = changes | {"reference": replace(world.reference, labels=others)}
    with pytest.raises(InputError, match=message):
        run(world, translator=None, **changes)


def test_one_row_is_read_and_its_translation_is_not_scored(world):
    found = run(world, leak=world.leak[:1], truth=world.truth.take(np.arange(1)))
    assert found.translation is None
    assert found.attributes[0].translated.top1.value == 1.0


def test_a_truth_of_another_length(world):
    with pytest.raises(InputError, match=r"has 1,100 rows and the leak leak 2,400"):
        run(world, truth=world.truth.take(np.arange(1100)))


def test_labels_that_match_nothing(world):
    with pytest.raises(InputError, match=r"match nothing: it has 'x', 'y', and the truth 'kind"):
        run(world, labels=LabelSet({"x": "x", "y": "y"}))


def test_rows_of_the_truth_without_a_label_of_the_set_are_left_out_and_counted(world):
    few = LabelSet({name: name for name in NAMES[:4]}, vectors=world.labels.vectors[:4])
    one = run(world, labels=few).attributes[0]
    assert one.rows + one.left_out == 2400
    assert one.left_out > 100


def test_an_encoder_of_another_width_than_the_translators(world):
    narrow = replace(world.reference, vectors=world.reference.vectors[:, :20])
    with pytest.raises(DimensionError, match="known: has width 20, and the translator's space 'known' 40"):
        run(world, reference=narrow)
    with pytest.raises(DimensionError, match=r"the leak leak: has width 23, .* 24"):
        run(world, leak=world.leak[:, :23])


def test_the_wrong_direction_is_told(world):
    with pytest.raises(DimensionError, match="the other direction"):
        run(world, source_space="known")


def test_bad_rows_of_given_reference_vectors_are_left_out_where_that_is_asked_for(world):
    vectors = np.array(world.reference.vectors)
    vectors[[3, 70]] = np.nan
    broken = replace(world.reference, vectors=vectors)
    with pytest.raises(InputError, match=r"row 3 \(counted from 0\) is no usable vector"):
        run(world, reference=broken)
    with pytest.warns(Vec2VecWarning, match="2 of .* rows are no usable vectors and were skipped"):
        found = run(world, reference=broken, on_bad_rows="skip")
    good = np.setdiff1d(np.arange(len(vectors)), [3, 70])
    same = run(world, reference=world.reference.take(good))
    assert [one.translated for one in found.attributes] == [one.translated for one in same.attributes]


def test_a_reference_with_too_few_labels_trains_no_probe_and_says_so(world):
    bare = Reference(world.reference.vectors, labels=(("kind 1",),) + ((),) * (len(world.reference) - 1))
    found = run(world, reference=bare)
    assert [one.kind for one in found.attributes] == ["zero-shot"]
    assert "no probe was trained" in found.notes[-1]


def test_bad_settings(world):
    with pytest.raises(ConfigError, match="did you mean 'leak_rows'"):
        run(world, leak_row=5)
    with pytest.raises(InputError, match="needs its scope"):
        run(world, scope=" ")
    with pytest.raises(InputError, match=r"row 3 .* is no usable vector"):
        run(world, leak=np.where(np.arange(2400)[:, None] == 3, np.nan, world.leak))
    with pytest.raises(InputError, match="no encoder is given"):
        run(world, reference=["a text", "another"])


def test_bad_rows_are_left_out_and_counted(world):
    broken = np.where(np.arange(2400)[:, None] < 7, np.nan, world.leak)
    found = run(world, leak=broken, on_bad_rows="skip")
    assert any("7 rows of the leak" in note for note in found.notes)
    assert len(found.leak) == 2393
    assert found.attributes[0].translated.top1.value > 0.9


def test_a_tag_that_every_text_has_is_not_learned(world):
    tagged = tuple((*own, "text", "odd" if i % 2 else "even") for i, own in enumerate(world.reference.labels))
    found = run(world, labels=None, reference=Reference(world.reference.vectors, labels=tagged))
    probe = found.attributes[0]
    assert set(probe.names) == {*NAMES, "odd", "even"}
    assert probe.translated.top1.value > 0.8


def test_a_probe_whose_draw_has_one_label_only_is_not_trained(world):
    labels = tuple(("rare" if i < 10 else "frequent",) for i in range(len(world.reference)))
    settings = make_audit_settings({"probe_rows": 20, "seed": 3})
    with pytest.raises(InputError, match="of 2 labels 0 tell some of 20 texts from others"):
        train_probe(world.reference.vectors, labels, None, settings)


def test_labels_that_were_asked_for_and_are_not_there_are_told(world):
    with pytest.raises(InputError, match="has 0 labels of the 2 asked for with 10 texts or more"):
        train_probe(world.reference.vectors, world.reference.labels, ("a", "b"), make_audit_settings({}))


def test_labels_of_the_truth_that_nothing_reads_are_noted(world):
    bare = Reference(world.reference.vectors)
    found = run(world, reference=bare, labels=None, truth=Truth(labels=world.truth.labels))
    assert found.attributes == ()
    assert "nothing reads them" in found.notes[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inverter": "nearest", "inverter_minutes": 500.0}, "no inverter is trained"),
        ({"inverter": "train", "lm": "gpt2", "rounds": 0}, "with rounds 0 nothing is corrected"),
    ],
)
def test_what_would_serve_nothing_is_refused(world, given, message):
    with pytest.raises(ConfigError, match=message):
        run(world, **given)


@pytest.mark.parametrize("candidates", [None, 2])
def test_the_same_guess_for_every_row_is_worth_nothing(candidates):
    truth = tuple(("a" if i % 5 else "b",) for i in range(400))
    vectors = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    reading = Reading("few-shot", "t", ("a", "b"), lambda x: np.tile(np.float32([1, 0]), (len(x), 1)))
    settings = make_audit_settings({"resamples": 100, "candidates": candidates})
    one = read_attributes(reading, Views(vectors, vectors, vectors), truth, settings)
    assert one.lift > 0.9  # over chance alone
    assert one.blind == pytest.approx(0.8)
    assert one.telling == pytest.approx(0.0)


def test_among_few_what_is_read_is_told_from_the_same_ranking_for_every_row():
    labels = np.arange(600) % 20
    skewed = np.where(np.arange(600) % 4, 0, labels)  # 0.7625 of them are the first
    truth = tuple((str(i),) for i in skewed)
    names = tuple(str(i) for i in range(20))
    vectors = np.eye(20, dtype=np.float32)[skewed]
    settings = make_audit_settings({"resamples": 100, "candidates": 5})

    def read(reader):
        reading = Reading("zero-shot", "t", names, reader)
        return read_attributes(reading, Views(vectors, vectors, vectors), truth, settings)

    ranking = read(lambda x: np.tile(np.arange(20, 0, -1, dtype=np.float32), (len(x), 1)))
    assert ranking.translated.top1.value > 0.75
    assert abs(ranking.telling) < 0.1
    seen = read(lambda x: x)
    assert seen.translated.top1.value == 1.0
    assert seen.telling == pytest.approx(1.0)


def test_pairs_are_of_no_defended_leak(world):
    with pytest.raises(ConfigError, match="leave out either them or the defences"):
        run(world, defences="rotation", method={"method": "few-pairs", "pairs": (world.leak[:20], world.leak[:20])})


def test_known_pairs_are_told(world):
    native = world.truth.vectors
    assert native is not None
    said: list[str] = []
    method = {"method": "procrustes", "pairs": (world.leak[:200], native[:200])}
    found = run(world, translator=None, method=method, say=said.append)
    assert any("with known pairs" in line for line in said)
    assert "of 200 it was known which belong together" in fit_line(found)


class Wordless:
    """An encoder that has no tokenizer here."""

    width, images = 4, False

    def __init__(self, max_tokens: int | None) -> None:
        self.identity = Identity("wordless", "static", "", 4, max_tokens, "document", "", True)

    def batches(self, items: Any) -> Any:
        pytest.fail("texts were embedded")


def test_a_tokenizer_that_true_texts_are_cut_with_is_asked_for_before_the_work():
    words, reference, truth = Words("nearest", None, None, None), Reference(texts=("a", "b")), Truth(("a",))
    cutting = Known("wordless", 4, Wordless(max_tokens=16))
    with pytest.raises(InputError, match="wordless: has no tokenizer here"):
        words.check(cutting, reference, truth)
    assert words.check(cutting, reference, None)
    assert words.check(cutting, reference, Truth(labels=(("a",),)))
    assert words.check(Known("wordless", 4, Wordless(max_tokens=None)), reference, truth)


def test_what_an_inverter_cannot_be_trained_with_is_told_before_the_work():
    words, known = Words("train", None, None, None), Known("wordless", 4, Wordless(max_tokens=None))
    with pytest.raises(InputError, match="19 texts are too few to train an inverter on; at least 20 are needed"):
        words.check(known, Reference(texts=("a",) * 19), None)
    with pytest.raises(InputError, match="wordless: has no tokenizer here"):
        words.check(known, Reference(texts=("a",) * 20), None)
