"""``vec2vec audit`` and ``vec2vec inverter`` from texts to the report, with tiny encoders."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local_endpoint import serve
from tiny_encoders import WORDS, save_static
from typer.testing import CliRunner

from vec2vec.cli import app
from vec2vec.cli.inverter import _first_rows
from vec2vec.datasets import Record
from vec2vec.encoders import encode, get_encoder
from vec2vec.errors import OutputError
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import linear_translator
from vec2vec.verdict import Verdict

runner = CliRunner()
SMALL = ["--set", "width=32", "--set", "layers=1", "--set", "heads=2", "--set", "prefix=2", "--set", "rate=0.01"]
QUICK = ["--set", "resamples=100", "--set", "picture_rows=30", "--set", "rounds=1", "--set", "proposals=4"]
KINDS = ("river", "music", "doctor")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEC2VEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, texts with labels, the leak of others, and a translator."""
    folder = tmp_path_factory.mktemp("audit")
    save_static(folder / "known")
    encoder = get_encoder(str(folder / "known"))
    rng = np.random.default_rng(0)

    def records(count: int) -> list[dict[str, Any]]:
        out = []
        for _ in range(count):
            kind = KINDS[int(rng.integers(0, len(KINDS)))]
            words = [kind, kind, *rng.choice(WORDS[:25], 6)]
            rng.shuffle(words)
            out.append({"text": " ".join(words), "label": kind})
        return out

    reference, leaked = records(600), records(300)
    for name, rows in (("reference", reference), ("truth", leaked), ("short", leaked[:-1])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "labels.json").write_text(json.dumps({kind: kind for kind in KINDS}))
    (folder / "other.json").write_text(json.dumps(["cars", "boats"]))
    native = encode(encoder, [row["text"] for row in leaked])
    turn = np.linalg.qr(rng.standard_normal((20, 16)))[0].T.astype(np.float32)
    leak = native @ turn
    np.save(folder / "leak.npy", leak)
    verdicts = {"t": Verdict("aligned", 0.9, (0.8, 1.0)), "bad": Verdict("not aligned", 0.0, (0.0, 0.0))}
    for name, verdict in verdicts.items():
        made = linear_translator(
            Preprocessor.fit(leak), Preprocessor.fit(native), turn.T, names=("leak", "known"), verdict=verdict
        )
        made.save_pretrained(folder / name)
    return folder


def call(world: Path, out: Path, *more: str, translator: str = "t", scope: bool = True) -> Any:
    parts = ["audit", str(world / "leak.npy"), "--encoder", str(world / "known"), "--out", str(out)]
    parts += ["--reference", str(world / "reference.jsonl"), "--translator", str(world / translator)]
    return runner.invoke(app, [*parts, *(["--scope", "a test"] if scope else []), *QUICK, *more])


def test_from_texts_to_the_report_with_a_trained_inverter(world, tmp_path, monkeypatch):
    inverter = tmp_path / "inverter"
    texts, known = str(world / "reference.jsonl"), str(world / "known")
    trained = runner.invoke(
        app, ["inverter", "train", texts, "--encoder", known, "--out", str(inverter), "--steps", "60", *SMALL]
    )
    assert trained.exit_code == 0, trained.output
    assert "parameters, 60 steps" in trained.stderr

    out = tmp_path / "report"
    result = call(
        world, out, "--labels", str(world / "labels.json"), "--truth", str(world / "truth.jsonl"),
        "--inverter", str(inverter), "--invert-rows", "20",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "verdict: aligned" in result.stdout
    assert len(re.findall(r"round (\d+) of \1: mean cosine 0\.\d", result.stderr)) == 3  # translated, native, floor
    assert {path.name for path in out.iterdir()} == {"report.html", "report.json", "report.md"}
    tree = json.loads((out / "report.json").read_text())
    assert tree["scope"] == "a test"
    assert [one["kind"] for one in tree["attributes"]] == ["zero-shot", "few-shot"]
    assert all(one["translated"]["top1"]["value"] > 0.8 for one in tree["attributes"])
    found = {(one["vectors"], one["method"]): one["measures"] for one in tree["inversion"]["recoveries"]}
    assert set(found) == {
        (v, m) for v in ("translated", "native", "floor") for m in ("nearest", "decoder", "corrected")
    }
    assert (
        found["translated", "corrected"]["token_f1"]["value"] > found["floor", "corrected"]["token_f1"]["value"] + 0.1
    )
    assert found["translated", "corrected"]["cosine"]["value"] > found["translated", "decoder"]["cosine"]["value"]
    assert "river" not in (out / "report.md").read_text().split("Examples")[1].split("## Method")[0]

    again = call(world, out)
    assert again.exit_code == 2
    assert "exists already" in again.stderr

    texts_out = tmp_path / "texts.jsonl"
    run = runner.invoke(app, ["inverter", "invert", str(inverter), str(world / "leak16.npy"), "--out", str(texts_out)])
    assert run.exit_code == 2
    assert "there is no such file" in run.stderr
    encoder = get_encoder(known)
    np.save(tmp_path / "native.npy", encode(encoder, ["river music doctor", "the river"]))
    run = runner.invoke(
        app,
        [
            "inverter",
            "invert",
            str(inverter),
            str(tmp_path / "native.npy"),
            "--out",
            str(texts_out),
            "--rounds",
            "1",
            "--encoder",
            known,
        ],
    )
    assert run.exit_code == 0, run.output
    lines = [json.loads(line) for line in texts_out.read_text().splitlines()]
    own = tmp_path / "vectors.jsonl"
    own.write_text('{"vector": [' + ", ".join(["0.5"] * encoder.width) + "]}\n")
    run = runner.invoke(app, ["inverter", "invert", str(inverter), str(own), "--out", str(own), "--force"])
    assert (run.exit_code, "is the input itself" in run.stderr) == (2, True)
    assert "vector" in own.read_text()
    assert [line["row"] for line in lines] == [0, 1]
    assert all(line["text"] for line in lines)

    corrected = ["inverter", "invert", str(inverter), str(tmp_path / "native.npy"), "--rounds", "1"]
    (tmp_path / "other").mkdir()
    save_static(tmp_path / "other" / "known", normalize=False)
    for more, message in (
        ([], "trained on an encoder in a folder called known: say where it is, with --encoder path/to/known"),
        (["--encoder", str(tmp_path / "other" / "known")], "another encoder that is called 'known', too"),
    ):
        monkeypatch.chdir(tmp_path / "other")
        run = runner.invoke(app, [*corrected, "--out", str(tmp_path / "more.jsonl"), *more])
        assert run.exit_code == 2, run.output
        assert message in " ".join(run.stderr.split())


@pytest.mark.parametrize("option", ["--lm", "--encoder"])
def test_what_serves_to_correct_needs_rounds(tmp_path, option):
    args = ["inverter", "invert", "inverter", "x.npy", "--out", str(tmp_path / "texts.jsonl"), option, "some"]
    result = runner.invoke(app, args)
    assert result.exit_code == 2
    assert f"{option} some: serves to correct; give --rounds" in result.stderr


def test_an_inverter_is_trained_where_none_is_given(world, tmp_path):
    result = call(world, tmp_path / "r", "--minutes", "0.02", "--invert-rows", "3")
    assert result.exit_code == 0, result.output
    assert "training an inverter on the reference, 0.02 minutes" in result.stderr
    tree = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [one["method"] for one in tree["inversion"]["recoveries"]] == ["nearest", "decoder", "corrected"]
    assert tree["inversion"]["inverter"]["texts"] == 600


def test_an_inverter_goes_home_with_its_checkpoint(world, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    args = ["inverter", "train", str(world / "reference.jsonl"), "--encoder", str(world / "known"), "--out", "~/inv"]
    args += ["--steps", "2", "--set", "checkpoint_seconds=1e-9", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("vec2vec.audit.inversion.inverter.atomic_folder", full)
        failed = runner.invoke(app, args)
    assert failed.exit_code == 2
    assert [path.name for path in tmp_path.glob(".inv*")] == [".inv.training.safetensors"]
    trained = runner.invoke(app, args)
    assert trained.exit_code == 0, trained.output
    assert (tmp_path / "inv" / "model.safetensors").exists()
    assert not list(tmp_path.glob(".inv*"))


def train(out: Path, texts: Path, encoder: str, *more: str) -> Any:
    parts = ["inverter", "train", str(texts), "--encoder", encoder, "--out", str(out / "inverter"), "--steps", "2"]
    return runner.invoke(app, [*parts, *SMALL, *more])


def test_an_encoder_without_a_tokenizer_is_refused_before_its_texts_are_paid_for(world, tmp_path):
    with serve() as endpoint:
        result = train(tmp_path, world / "reference.jsonl", f"{endpoint.url}::m")
        assert len(endpoint.texts) == 1  # which finds the width
    assert result.exit_code == 2
    assert "m: has no tokenizer here, which an inverter needs" in result.stderr
    assert "embedding" not in result.stderr


def test_too_few_different_texts_are_refused_before_they_are_embedded(world, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("the river\n" * 30 + "".join(f"{word}\n" for word in WORDS[:18]))
    result = train(tmp_path, texts, str(world / "known"))
    assert result.exit_code == 2
    assert "error: 19 texts are too few to train an inverter on" in result.stderr
    assert "embedding" not in result.stderr


def test_a_text_to_train_on_is_told_by_its_first_row(world, tmp_path):
    """With texts that stand twice and a row without one before it, and ids that are no numbers of rows."""
    texts = [*WORDS[:20], *WORDS[:5], "", "zzz qqq", "river", "zzz qqq"]
    rows = [{"id": i + 1, "text": text} for i, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train(tmp_path, tmp_path / "texts.jsonl", str(world / "known"), "--on-bad-rows", "skip")
    assert result.exit_code == 0, result.output
    assert "texts.jsonl: 1 of 21 rows were skipped" in result.stderr
    assert "(the first: row 26 (counted from 0))" in result.stderr
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows if row["text"]))
    result = train(tmp_path, tmp_path / "texts.jsonl", str(world / "known"), "--force")
    assert result.exit_code == 2
    assert "texts.jsonl: the text of row 25 (counted from 0) has no token" in result.stderr


def test_texts_of_a_hub_dataset_are_told_by_their_place():
    records = [Record("train-0", "a"), Record("train-1", "a"), Record("test-0", "b")]
    assert _first_rows(records) == {"a": 0, "b": 2}
    assert _first_rows([Record("3", "a"), Record("5", "b"), Record("9", "a")]) == {"a": 3, "b": 5}


def full(path: Path, check: object) -> None:
    raise OutputError(f"{path}: cannot be written: No space left on device")


def test_texts_that_the_encoder_knows_nothing_of_are_skipped_with_their_labels(world, tmp_path):
    for name, rows in (("reference", (3, 50)), ("truth", (7,))):
        lines = (world / f"{name}.jsonl").read_text().splitlines(keepends=True)
        for row in rows:
            lines[row] = json.dumps({"text": "zzz qqq", "label": "river"}) + "\n"
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    more = ["--reference", str(tmp_path / "reference.jsonl"), "--truth", str(tmp_path / "truth.jsonl")]
    stopped = call(world, tmp_path / "r", *more, "--inverter", "nearest")
    assert stopped.exit_code == 2
    assert "no token that the encoder knows" in stopped.stderr
    result = call(world, tmp_path / "r", *more, "--inverter", "nearest", "--on-bad-rows", "skip")
    assert result.exit_code == 0, result.output
    tree = json.loads((tmp_path / "r" / "report.json").read_text())
    assert (tree["reference"]["rows"], tree["leak"]["audited_rows"], tree["translation"]["pool"]) == (598, 299, 299)
    assert tree["attributes"][0]["translated"]["top1"]["value"] > 0.8
    assert tree["translation"]["top1"]["value"] > 0.9

    args = ["inverter", "train", more[1], "--encoder", str(world / "known"), "--out", str(tmp_path / "inverter")]
    trained = runner.invoke(app, [*args, "--steps", "2", "--on-bad-rows", "skip", *SMALL])
    assert trained.exit_code == 0, trained.output
    record = json.loads((tmp_path / "inverter" / "config.json").read_text())["record"]
    unique = {json.loads(line)["text"] for line in (tmp_path / "reference.jsonl").read_text().splitlines()}
    assert record["texts"] == len(unique - {"zzz qqq"})


def test_not_aligned_is_exit_code_3_and_a_report_without_figures(world, tmp_path):
    result = call(world, tmp_path / "r", "--truth", str(world / "truth.jsonl"), translator="bad")
    assert result.exit_code == 3, result.output
    assert "Nothing can be concluded" in result.stdout
    tree = json.loads((tmp_path / "r" / "report.json").read_text())
    assert tree["concluded"] is False
    assert tree["attributes"] == []
    assert tree["inversion"] is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--truth", "short.jsonl"], "has 299 rows and the leak"),
        (["--truth", "truth.jsonl", "--labels", "other.json"], "match nothing"),
        (["--labels", "nothing.json"], "is no file of labels"),
        (["--inverter", "missing"], "is no inverter"),
        (["--defences", "rotations"], "did you mean 'rotation'"),
        (["--set", "seed=3"], "seed is not a setting: use --seed"),
        (["--set", "threads=2"], "use --threads"),
        (["--set", "fit_rows=500"], "use --rows"),
        (["--set", "inverter-minutes=3"], "use --minutes"),
        (["--set-fit", "source_name=leak"], "source_name is not a setting"),
        (["--set-fit", "on_bad_rows=skip"], "use --on-bad-rows"),
        (["--set", "leak_row=3"], "did you mean 'leak_rows'"),
        (["--from", "known"], "the other direction"),
        (["--judge", "http://localhost:1/v1"], "name the model"),
        (["--lm", "some"], "nearest has none"),
        (["--inverter", "vec2text:gtr-base", "--lm", "some"], "vec2text:gtr-base has none"),
        (["--inverter", "none", "--lm", "some"], "lm (--lm) serves to recover texts, and none are"),
        (["--inverter", "none", "--names", "some"], "names (--names) serves to recover texts, and none are"),
        (["--inverter", "none", "--judge", "http://localhost:1/v1::m"], "judge (--judge) serves to recover texts"),
    ],
)
def test_bad_input_is_one_line(world, tmp_path, more, message):
    parts = [str(world / part) if part.endswith(("jsonl", "other.json", "nothing.json")) else part for part in more]
    result = call(world, tmp_path / "r", *(parts if "--inverter" in parts else ["--inverter", "nearest", *parts]))
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--lm", "labels.json"], "no causal language model could be loaded"),
        (["--names", "en_core_web_sm"], "vec2vec[names]"),
        (["--judge", "http://localhost:1/v1"], "name the model"),
        (["--truth", "truth.jsonl"], "vec2vec[inversion]"),
    ],
)
def test_what_an_inversion_lacks_is_told_before_the_work(world, tmp_path, monkeypatch, more, message):
    for module in ("spacy", "sacrebleu.metrics"):
        monkeypatch.setitem(sys.modules, module, None)
    parts = [str(world / part) if part.endswith(("json", "jsonl")) else part for part in more]
    result = call(world, tmp_path / "r", *parts, "--inverter", "train", "--minutes", "0.02")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "reading attributes" not in result.stderr


@pytest.mark.parametrize(
    "judge",
    [
        "https://user:hunter2@localhost:1/v1::m",
        "https://user:hunter2@localhost:1/v1",
        "ftp://user:hunter2@localhost/v1::m",
        "https://user:hunter2/@localhost::m",
        "https://user:hun ter2@localhost/v1::m",
    ],
)
def test_a_password_of_a_judge_is_never_shown(world, tmp_path, judge):
    result = call(world, tmp_path / "r", "--inverter", "nearest", "--judge", judge)
    assert result.exit_code == 2
    assert "'@'" in result.stderr
    assert "VEC2VEC_JUDGE_KEY" in result.stderr
    assert "will be sent" not in result.stderr
    assert "ter2" not in result.output


def test_where_true_texts_go_is_told_once_the_judge_is_known_to_be_one(world, tmp_path, monkeypatch):
    judge = ["--inverter", "nearest", "--judge", "http://example.com/v1/::m"]
    result = call(world, tmp_path / "r", *judge)  # refused for want of a truth
    assert "warning: the true texts will be sent to http://example.com/v1\n" in result.stderr
    monkeypatch.setenv("VEC2VEC_JUDGE_KEY", "secret")
    result = call(world, tmp_path / "r", *judge)
    assert result.exit_code == 2
    assert "is not encrypted: the key is not sent there" in result.stderr
    assert "will be sent" not in result.stderr


def test_without_a_scope_nothing_runs(world, tmp_path):
    result = call(world, tmp_path / "r", scope=False)
    assert result.exit_code == 2
    assert "needs its scope" in result.stderr


def test_another_encoder_than_the_translators(world, tmp_path):
    result = runner.invoke(
        app, ["audit", str(world / "leak.npy"), "--encoder", "minilm", "--reference", str(world / "reference.jsonl"),
              "--translator", str(world / "t"), "--out", str(tmp_path / "r"), "--scope", "s", "--inverter", "none"],
    )  # fmt: skip
    assert result.exit_code == 2
    assert "minilm: has width 384, and the translator's space 'known' 16" in result.stderr
