"""Datasets through the `datasets` library: folders laid out like those of the hub, the cache, and no connection."""

from __future__ import annotations

import builtins
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vec2vec.datasets import Record, open_corpus
from vec2vec.datasets.hub import HubUri, parse_hub_uri
from vec2vec.errors import InputError, MissingExtraError

CARD = """---
configs:
- config_name: plain
  default: true
  data_files:
  - split: train
    path: plain/train.parquet
  - split: test
    path: plain/test.parquet
- config_name: other
  data_files:
  - split: train
    path: other/train.parquet
---
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset with two configurations, classes as labels, and a card that tells the splits."""
    place = tmp_path / "set"
    (place / "plain").mkdir(parents=True)
    (place / "other").mkdir()
    (place / "README.md").write_text(CARD)
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "note": datasets.Value("string"),
            "label": datasets.List(datasets.ClassLabel(names=["sea", "land", "air"])),
        }
    )
    rows = {
        "train": {"text": ["waves", "hills", "clouds"], "note": ["a", "b", "c"], "label": [[0], [1], [2, 0]]},
        "test": {"text": ["shore"], "note": ["d"], "label": [[]]},
    }
    for split, columns in rows.items():
        datasets.Dataset.from_dict(columns, features=features).to_parquet(place / "plain" / f"{split}.parquet")
    pq.write_table(pa.table({"text": ["elsewhere"], "kind": [3]}), place / "other" / "train.parquet")
    return place


TRAIN = [
    Record("train-0", "waves", ("sea",), "train"),
    Record("train-1", "hills", ("land",), "train"),
    Record("train-2", "clouds", ("air", "sea"), "train"),
]
TEST = [Record("test-0", "shore", (), "test")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_folder_of_a_dataset(folder: Path, stream: bool) -> None:
    whole = open_corpus(f"hf:{folder}", stream=stream)
    assert list(whole.records()) == TRAIN + TEST
    assert list(whole.records()) == TRAIN + TEST
    assert list(open_corpus(f"hf:{folder}:train", stream=stream).records()) == TRAIN
    assert list(open_corpus(f"hf:{folder}", split="test", stream=stream).records()) == TEST
    assert [r.text for r in open_corpus(f"hf:{folder}:train:note", stream=stream).records()] == ["a", "b", "c"]
    assert [r.text for r in open_corpus(f"hf:{folder}:train", column="note", stream=stream).records()] == list("abc")
    other = [Record("train-0", "elsewhere", (), "train")]
    assert list(open_corpus(f"hf:{folder}:::other", stream=stream).records()) == other
    assert list(open_corpus(f"hf:{folder}", config="other", stream=stream).records()) == other


def test_a_part_of_a_split(folder: Path) -> None:
    assert list(open_corpus(f"hf:{folder}", split="train[:2]").records()) == TRAIN[:2]


def test_a_split_of_a_dataset_with_a_column_of_splits(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    table = pa.table({"text": ["waves", "hills"], "split": ["fold-a", "fold-b"]})
    pq.write_table(table, tmp_path / "set" / "train.parquet")
    folds = [Record("train-0", "waves", (), "fold-a"), Record("train-1", "hills", (), "fold-b")]
    assert list(open_corpus(f"hf:{tmp_path}/set:train").records()) == folds


def test_a_relative_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert list(open_corpus("hf:./set:test").records()) == TEST
    assert list(open_corpus("hf:set:test").records()) == TEST


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hf:{}:dev", "dev"),
        ("hf:{}:train:txt", "there is no column 'txt'; it has 'text', 'note', 'label'; did you mean 'text'"),
        ("hf:{}:train:text:odd", "odd"),
        ("hf:{}/nothing", "there is no such folder"),
        ("hf:", "is no hub dataset"),
        ("hf:a:b:c:d:e", "is no hub dataset"),
    ],
)
def test_what_is_not_there(folder: Path, uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_corpus(uri.format(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "names the split 'train', and 'test' is asked for"),
        ({"column": "note"}, "names the column 'text', and 'note' is asked for"),
        ({"config": "other"}, "names the config 'plain', and 'other' is asked for"),
    ],
)
def test_two_answers_to_one_question(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_corpus(f"hf:{folder}:train:text:plain", **options)


def test_a_damaged_dataset(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "good"}\n{"text')
    with pytest.raises(InputError, match=rf"hf:{tmp_path}:train: cannot be read: .*JSON") as caught:
        open_corpus(f"hf:{tmp_path}:train")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_parts_of_a_uri() -> None:
    assert parse_hub_uri("hf:a/b") == HubUri("a/b")
    assert parse_hub_uri("hf:a/b:train:text:en") == HubUri("a/b", "train", "text", "en")
    assert parse_hub_uri("hf:a/b::text") == HubUri("a/b", None, "text")


@pytest.mark.parametrize("name", ["jxm/nq_corpus_dpr", "plainname"])
@pytest.mark.parametrize("stream", [False, True])
def test_neither_cached_nor_reachable_tells_the_command_that_fetches_it(name: str, stream: bool) -> None:
    with pytest.raises(InputError) as caught:
        open_corpus(f"hf:{name}:train:text", stream=stream)
    last = name.rpartition("/")[2]
    assert f"`hf download {name} --repo-type dataset --local-dir {last}`" in str(caught.value)
    assert f"hf:./{last}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_cached_needs_no_connection(folder: Path, cache: Path) -> None:
    """As a download leaves it: cache/OWNER___NAME/CONFIG/VERSION/COMMIT, with the files of the splits."""
    built = Path(datasets.load_dataset(str(folder), "plain")["train"].cache_files[0]["filename"]).parent
    place = cache / "someone___set" / "plain" / "0.0.0" / ("0" * 40)
    place.parent.mkdir(parents=True)
    shutil.copytree(built, place)
    info = (place / "dataset_info.json").read_text()
    names = {file.name: file.name.replace(file.name.partition("-")[0], "set") for file in place.glob("*.arrow")}
    for old, new in names.items():
        (place / old).rename(place / new)
    (place / "dataset_info.json").write_text(info.replace(f'"dataset_name": "{folder.name}"', '"dataset_name": "set"'))
    assert list(open_corpus("hf:someone/set:train").records()) == TRAIN


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == "datasets":
            raise ModuleNotFoundError(name)
        return real(name, *args)

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vec2vec\[datasets\]'"):
        open_corpus(f"hf:{folder}")
    monkeypatch.setattr(builtins, "__import__", missing)
    (folder / "x.txt").write_text("a file needs no library\n")
    assert [r.text for r in open_corpus(folder / "x.txt").records()] == ["a file needs no library"]


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(open_corpus(f"hf:{folder}").records())
    assert capfd.readouterr() == ("", "")


def test_a_large_dataset_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """20,000 rows, 20 MB, memory-mapped."""
    place = tmp_path / "set"
    place.mkdir()
    text = "word " * 200
    pq.write_table(pa.table({"text": [f"{i} {text}" for i in range(20_000)]}), place / "train.parquet")
    corpus = open_corpus(f"hf:{place}:train")
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = peak = 0
    for _ in corpus.records():
        rows += 1
        peak = max(peak, pa.total_allocated_bytes() - before) if rows % 1000 == 0 else peak
    peak += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 20_000
    assert peak < 6e6
