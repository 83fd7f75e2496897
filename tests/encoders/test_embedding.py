"""Embedding at length: order, each text once, the cache, resumption after kill -9, settings, formats, bad input."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from local_endpoint import Reply, serve, vector_of
from tiny_encoders import sentences

import vec2vec
from vec2vec.encoders import EmbedProgress, EmbedReport, embed_file, embedding, encode, get_encoder
from vec2vec.encoders.cache import VectorCache
from vec2vec.encoders.embedding import embed_named
from vec2vec.encoders.shards import Parts
from vec2vec.errors import ConfigError, InputError, OutputError, Vec2VecWarning
from vec2vec.stores import atomic_file, open_source, read_vectors

TEXTS = sentences(120)


class Counting:
    """The tiny static encoder, which remembers what it embedded."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.inner = get_encoder(str(folder), **options)
        self.identity, self.width, self.images = self.inner.identity, self.inner.width, False
        self.seen: list[str] = []

    def batches(self, items: Sequence[Any]) -> Any:
        self.seen.extend(items)
        return self.inner.batches(items)


@pytest.fixture
def static(models: Path) -> Counting:
    return Counting(models / "static")


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WINDOW", 16)


def write_jsonl(path: Path, texts: Sequence[Any] = TEXTS, **more: Sequence[Any]) -> Path:
    rows = ({"id": f"t{i}", "text": t} | {k: v[i] for k, v in more.items()} for i, t in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def metadata(path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"vec2vec.embedding"])
    return tree


def test_in_memory(static: Counting) -> None:
    x = vec2vec.embed(TEXTS, static)
    np.testing.assert_array_equal(x, encode(static.inner, TEXTS))
    assert x.dtype == np.float32


def test_by_name(models: Path) -> None:
    x = vec2vec.embed(TEXTS[:5], encoder=str(models / "gtr"), max_tokens=8, prompt="query")
    np.testing.assert_array_equal(x, encode(get_encoder(str(models / "gtr"), max_tokens=8), TEXTS[:5]))
    assert vec2vec.embed(iter(TEXTS[:5]), str(models / "gtr")).shape == (5, 24)


@pytest.mark.parametrize("cache", [True, False])
def test_a_text_is_embedded_once(static: Counting, small_windows: None, cache: bool) -> None:
    """Within a window and across windows."""
    texts = [*TEXTS[:20], *TEXTS[5:15], *TEXTS[:20][::-1]]
    x = vec2vec.embed(texts, static, cache=cache)
    assert sorted(static.seen) == sorted(TEXTS[:20])
    np.testing.assert_array_equal(x, encode(static.inner, texts))


def test_the_cache_is_of_encoder_and_settings(models: Path, caches: Path) -> None:
    first = Counting(models / "static")
    x = vec2vec.embed(TEXTS, first)
    again = Counting(models / "static")
    np.testing.assert_array_equal(vec2vec.embed(TEXTS, again), x)
    assert again.seen == []
    other = Counting(models / "static", max_tokens=3)
    assert np.abs(vec2vec.embed(TEXTS, other) - x).max() > 0.01
    assert sorted(other.seen) == sorted(TEXTS)
    assert len(list((caches / "embeddings").glob("static-*.sqlite"))) == 2
    vec2vec.embed(TEXTS, again, cache=False)
    assert sorted(again.seen) == sorted(TEXTS)


def test_images_are_cached_by_their_contents(models: Path, tmp_path: Path) -> None:
    paths = sorted((models / "images").iterdir())
    x = vec2vec.embed(paths, str(models / "clip"))
    moved = tmp_path / "moved.png"
    moved.write_bytes(paths[1].read_bytes())
    clip = get_encoder(str(models / "clip"))
    clip.batches = lambda items: iter(()) if not items else pytest.fail("was cached")  # type: ignore[attr-defined]
    np.testing.assert_array_equal(vec2vec.embed([moved], clip), x[1:2])


def test_a_picture_that_was_replaced_is_not_gone_on_with(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "WINDOW", 1)
    folder, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(models / "images", folder)
    first, second, *_ = sorted(folder.iterdir())
    clip, real = get_encoder(str(models / "clip")), Parts.append

    def append(parts: Parts, *of: Any) -> Any:
        if parts.parts:
            raise KeyboardInterrupt
        return real(parts, *of)

    monkeypatch.setattr(Parts, "append", append)
    with pytest.raises(KeyboardInterrupt):
        embed_file(folder, out, clip)
    monkeypatch.setattr(Parts, "append", real)
    assert embed_file(folder, tmp_path / "whole", clip).resumed == 0
    first.write_bytes(second.read_bytes())
    with pytest.raises(InputError, match=r"are not those that .*part-00000\.parquet was made from"):
        embed_file(folder, out, clip)
    assert embed_file(folder, out, clip, force=True).resumed == 0


def test_a_cache_that_others_open_at_the_same_time(static: Counting, tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    other = sqlite3.connect(path, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    threading.Timer(0.5, other.rollback).start()
    VectorCache(path, static.identity).close()
    assert time.monotonic() - began > 0.4
    other.close()


def test_a_damaged_cache_is_an_error(static: Counting, caches: Path) -> None:
    vec2vec.embed(TEXTS, static)
    (path,) = (caches / "embeddings").glob("*.sqlite")
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(InputError, match=r"the cache is damaged .*; delete the file"):
        vec2vec.embed(TEXTS, static)


def test_a_cache_that_cannot_be_kept_is_warned_of(
    static: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VEC2VEC_CACHE", str(tmp_path / "file"))
    with pytest.warns(Vec2VecWarning, match="no cache can be kept there"):
        assert vec2vec.embed(TEXTS, static).shape == (120, 16)


def test_the_cache_outlives_a_killed_process(static: Counting, caches: Path) -> None:
    caches.mkdir()
    cache = VectorCache(caches / "c.sqlite", static.identity)
    cache.put([b"a" * 16], np.ones((1, 16), np.float32))
    other = VectorCache(caches / "c.sqlite", static.identity)
    assert other.get([b"a" * 16, b"b" * 16])[b"a" * 16].tolist() == [1] * 16
    other.put([b"b" * 16], np.ones((1, 16), np.float32))  # the first one holds no lock
    assert len(cache.get([b"a" * 16, b"b" * 16])) == 2
    cache.close()
    other.close()


def test_a_file_of_parquet(static: Counting, tmp_path: Path, small_windows: None) -> None:
    labels = [["a"], []] * 60
    source = write_jsonl(tmp_path / "in.jsonl", labels=labels, split=["train", None] * 60)
    report = embed_file(source, tmp_path / "out.parquet", static)
    assert (report.rows, report.embedded, report.resumed, report.skipped) == (120, 120, 0, 0)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("id").to_pylist() == [f"t{i}" for i in range(120)]
    assert table.column("labels").to_pylist() == labels
    assert table.column("split").to_pylist() == ["train", None] * 60
    np.testing.assert_array_equal(read_vectors(tmp_path / "out.parquet"), encode(static.inner, TEXTS))
    assert metadata(tmp_path / "out.parquet")["identity"] == static.identity.to_dict()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["in.jsonl", "out.parquet"]


def test_a_folder_of_parts(static: Counting, tmp_path: Path, small_windows: None) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")
    embed_file(source, tmp_path / "out", static)
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert [part.name for part in parts] == [f"part-{i:05d}.parquet" for i in range(8)]
    assert [pq.read_metadata(part).num_rows for part in parts] == [16] * 7 + [8]
    whole = pa.concat_tables([pq.read_table(part, partitioning=None) for part in parts])
    assert whole.column("id").to_pylist() == [f"t{i}" for i in range(120)]
    assert json.loads((tmp_path / "out" / "_complete.json").read_text())["rows"] == 120
    assert metadata(parts[3])["identity"]["max_tokens"] == 64
    np.testing.assert_allclose(read_vectors(tmp_path / "out"), encode(static.inner, TEXTS), atol=1e-7)
    with pytest.raises(OutputError, match="is done already"):
        embed_file(source, tmp_path / "out", static)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".jsonl"])
def test_other_formats(static: Counting, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    embed_file(write_jsonl(tmp_path / "in.jsonl"), out, static)
    np.testing.assert_allclose(read_vectors(out), encode(static.inner, TEXTS), atol=1e-7)
    said = json.loads((tmp_path / f"out{suffix}.json").read_text())
    assert said["identity"]["max_tokens"] == 64
    assert said["rows"] == 120
    assert open_source(out).column_names == (("id", "labels", "split") if suffix == ".jsonl" else ())
    if suffix == ".safetensors":
        assert safetensors.numpy.load_file(out)["vectors"].shape == (120, 16)


def test_the_column_of_the_output_can_be_named(static: Counting, tmp_path: Path) -> None:
    embed_file(write_jsonl(tmp_path / "in.jsonl"), f"{tmp_path}/out.parquet::mine", static)
    assert pq.read_schema(tmp_path / "out.parquet").names == ["id", "labels", "split", "mine"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("o.npy::foo", "one array; leave out '::foo'"),
        ("o.parquet::id", "another column named 'id'"),
        ("o.jsonl::labels", "another column named 'labels'"),
    ],
)
def test_a_column_that_cannot_be_is_an_error_before_the_work(
    static: Counting, tmp_path: Path, out: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        embed_file(write_jsonl(tmp_path / "in.jsonl"), f"{tmp_path}/{out}", static)
    assert static.seen == []


def test_texts_of_every_format(static: Counting, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\n".join(TEXTS))
    with gzip.open(tmp_path / "t.txt.gz", "wt") as stream:
        stream.write("\n".join(TEXTS))
    with open(tmp_path / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([["key", "body"], *([str(i), text] for i, text in enumerate(TEXTS))])
    pq.write_table(pa.table({"id": range(120), "text": TEXTS}), tmp_path / "t.parquet")
    for name in ("t.txt", "t.txt.gz", "t.csv::body", "t.parquet"):
        np.testing.assert_array_equal(vec2vec.embed(f"{tmp_path}/{name}", static), encode(static.inner, TEXTS))


def test_ids_that_repeat_need_another_column(static: Counting, tmp_path: Path) -> None:
    """As a document's id beside its chunks does."""
    rows = zip(["d0", "d0", "d1"], ["a", "b", "c"], TEXTS, strict=False)
    (tmp_path / "t.csv").write_text("doc_id,chunk,text\n" + "".join(f"{','.join(row)}\n" for row in rows))
    with pytest.raises(InputError, match=r"line 3: .*'d0' in the column 'doc_id'\); name another .* --id-column"):
        embed_file(tmp_path / "t.csv", tmp_path / "o.parquet", static)
    for column, ids in (("chunk", ["a", "b", "c"]), ("", ["0", "1", "2"])):
        embed_file(tmp_path / "t.csv", tmp_path / "o.parquet", static, id_column=column, force=True)
        assert pq.read_table(tmp_path / "o.parquet").column("id").to_pylist() == ids
        assert vec2vec.embed(tmp_path / "t.csv", static, id_column=column).shape == (3, 16)
    for texts in (TEXTS, Path("photo.png")):
        with pytest.raises(InputError, match="have no columns"):
            vec2vec.embed(texts, static, id_column="chunk")


def test_a_folder_of_images(models: Path, tmp_path: Path) -> None:
    embed_file(models / "images", tmp_path / "out.parquet", str(models / "clip"))
    paths = sorted((models / "images").iterdir())
    assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == [path.name for path in paths]
    np.testing.assert_allclose(
        read_vectors(tmp_path / "out.parquet"), encode(get_encoder(str(models / "clip")), paths), atol=1e-6
    )
    assert vec2vec.embed(paths[0], str(models / "clip")).shape == (1, 16)
    with pytest.raises(InputError, match="embeds texts, not images"):
        embed_file(models / "images", tmp_path / "none.parquet", str(models / "static"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder without images"):
        embed_file(tmp_path / "empty", tmp_path / "none.parquet", str(models / "clip"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_an_image_whose_name_is_not_utf8(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    image = folder / os.fsdecode(b"caf\xe9.png")
    image.write_bytes((models / "images" / "001.png").read_bytes())
    for texts in (folder, image):
        with pytest.raises(InputError, match=r"the image 'caf\\udce9\.png' is not UTF-8"):
            embed_file(texts, tmp_path / "out", str(models / "clip"))
    assert not (tmp_path / "out").exists()


def test_progress_is_told(static: Counting, tmp_path: Path, small_windows: None) -> None:
    seen: list[EmbedProgress] = []
    embed_file(write_jsonl(tmp_path / "in.jsonl"), tmp_path / "o.npy", static, progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total == 120
    assert seen[-1].remaining == 0
    assert all(p.rate >= 0 for p in seen)


class Interrupted(Counting):
    """Stops in the middle of its life."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder)
        self.after = after

    def batches(self, items: Sequence[Any]) -> Any:
        for batch in super().batches(items):
            if len(self.seen) > self.after:
                raise KeyboardInterrupt
            yield batch


@pytest.mark.parametrize("out", ["out", "out.parquet", "out.npy"])
def test_a_run_that_was_interrupted_goes_on(models: Path, tmp_path: Path, small_windows: None, out: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")
    with pytest.raises(KeyboardInterrupt):
        embed_file(source, tmp_path / out, Interrupted(models / "static", 50), cache=False)
    assert not (tmp_path / out).is_file()
    again = Counting(models / "static")
    report = embed_file(source, tmp_path / out, again, cache=False)
    assert (report.rows, report.resumed, report.embedded) == (120, 48, 72)
    assert sorted(again.seen) == sorted(TEXTS[48:])
    if out == "out.npy":
        np.testing.assert_array_equal(np.load(tmp_path / out), encode(again.inner, TEXTS))


def begin(models: Path, tmp_path: Path, **options: Any) -> Path:
    """A folder of parts that was left in the middle."""
    source = write_jsonl(tmp_path / "in.jsonl")
    with pytest.raises(KeyboardInterrupt):
        embed_file(source, tmp_path / "out", Interrupted(models / "static", 50), **options)
    return source


def test_other_settings_are_not_mixed_in(models: Path, tmp_path: Path, small_windows: None) -> None:
    source = begin(models, tmp_path)
    other = Counting(models / "static", max_tokens=9)
    with pytest.raises(OutputError, match=r"begun with other settings .max_tokens 64 there, 9 now"):
        embed_file(source, tmp_path / "out", other)
    report = embed_file(source, tmp_path / "out", other, force=True)
    assert (report.rows, report.resumed) == (120, 0)


def test_other_texts_are_not_mixed_in(models: Path, tmp_path: Path, small_windows: None, static: Counting) -> None:
    source = begin(models, tmp_path)
    write_jsonl(source, ["changed", *TEXTS[1:]])
    with pytest.raises(InputError, match=r"not those that .*part-00000.parquet was made from"):
        embed_file(source, tmp_path / "out", static)
    write_jsonl(source, TEXTS[:40])
    report = embed_file(source, tmp_path / "out", static, force=True)
    assert (report.rows, report.resumed) == (40, 0)
    np.testing.assert_array_equal(read_vectors(tmp_path / "out"), encode(static.inner, TEXTS[:40]))


@pytest.mark.parametrize("more", [{"labels": ["new"] * 120}, {"split": ["test"] * 120}])
def test_other_labels_and_splits_are_not_mixed_in(
    models: Path, tmp_path: Path, small_windows: None, static: Counting, more: dict[str, list[str]]
) -> None:
    source = begin(models, tmp_path)
    write_jsonl(source, TEXTS, **more)
    with pytest.raises(InputError, match=r"labels or splits are not those that .*part-00000.parquet was made from"):
        embed_file(source, tmp_path / "out", static)


def test_force_goes_on_with_what_fits(models: Path, tmp_path: Path, small_windows: None, static: Counting) -> None:
    source = begin(models, tmp_path)
    assert embed_file(source, tmp_path / "out", static, force=True).resumed == 48
    assert embed_file(source, tmp_path / "out", static, force=True).resumed == 0  # it was complete: all anew


@pytest.mark.parametrize("out", ["out", "out.npy"])
def test_rows_that_an_earlier_run_left_out_are_no_error_under_skip_alone(
    models: Path, tmp_path: Path, small_windows: None, static: Counting, out: str
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*TEXTS[:5], "xyzzy plugh", *TEXTS[5:]])
    with pytest.raises(KeyboardInterrupt):
        embed_file(source, tmp_path / out, Interrupted(models / "static", 50), on_bad_rows="skip", cache=False)
    message = r"part-00000\.parquet lacks 1 of its 16 rows, .* leave such rows out with --on-bad-rows skip .*--force"
    with pytest.raises(InputError, match=message):
        embed_file(source, tmp_path / out, static)
    assert static.seen == []
    report = embed_file(source, tmp_path / out, static, on_bad_rows="skip")
    assert (report.rows, report.resumed, report.skipped) == (120, 47, 1)


def test_force_starts_over_where_an_earlier_run_left_rows_out(
    models: Path, tmp_path: Path, small_windows: None, static: Counting
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*TEXTS[:5], "xyzzy plugh", *TEXTS[5:]])
    skip: dict[str, Any] = {"on_bad_rows": "skip", "force": True}
    with pytest.raises(KeyboardInterrupt):
        embed_file(source, tmp_path / "out", Interrupted(models / "static", 50), on_bad_rows="skip", cache=False)
    with pytest.raises(KeyboardInterrupt):
        embed_file(source, tmp_path / "out", Interrupted(models / "static", 30), cache=False, **skip)
    assert len(list((tmp_path / "out").glob("part-*"))) > 3  # what fits is gone on with
    with pytest.raises(InputError, match="the text of id 't5' has no token that the encoder knows"):
        embed_file(source, tmp_path / "out", static, force=True)
    assert not (tmp_path / "out" / "part-00000.parquet").exists()


def test_a_complete_folder_stays_until_another_takes_its_place(
    models: Path, tmp_path: Path, small_windows: None, static: Counting
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")
    out, hidden = tmp_path / "out", tmp_path / ".out.parts"
    embed_file(source, out, static)
    write_jsonl(source, TEXTS[::-1])
    for after, begun in ((-1, False), (50, True)):
        with pytest.raises(KeyboardInterrupt):
            embed_file(source, out, Interrupted(models / "static", after), force=True, cache=False)
        np.testing.assert_array_equal(read_vectors(out), encode(static.inner, TEXTS))
        assert hidden.exists() == begun
    assert embed_file(source, out, static, force=True).resumed == 48
    np.testing.assert_array_equal(read_vectors(out), encode(static.inner, TEXTS[::-1]))
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out", "cache"}
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"has .thesis\.txt. in it"):
        embed_file(source, out, static, force=True)
    assert not hidden.exists()


@pytest.mark.parametrize("damage", ["truncated", "missing", "foreign"])
def test_damaged_parts_are_found(
    models: Path, tmp_path: Path, small_windows: None, static: Counting, damage: str
) -> None:
    source = begin(models, tmp_path)
    part = tmp_path / "out" / "part-00001.parquet"
    if damage == "truncated":
        part.write_bytes(part.read_bytes()[:-20])
    if damage == "missing":
        part.unlink()
    if damage == "foreign":
        pq.write_table(pa.table({"a": [1]}), part)
    with pytest.raises((InputError, OutputError), match=r"damaged part|part 1 is missing|not written by vec2vec"):
        embed_file(source, tmp_path / "out", static)
    assert embed_file(source, tmp_path / "out", static, force=True).rows == 120


def test_a_part_that_another_run_writes_is_left_alone(static: Counting, tmp_path: Path) -> None:
    parts = Parts(tmp_path / "p", static.identity, foreign="")
    killed = parts.folder / ".part-00000.parquet.0123abcd.tmp"
    killed.write_bytes(b"half")
    with atomic_file(parts.folder / "part-00000.parquet") as stream:
        stream.write(b"whole")
        assert Parts(tmp_path / "p", static.identity, foreign="").parts == []
    assert not killed.exists()
    assert (parts.folder / "part-00000.parquet").read_bytes() == b"whole"


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of folders")
@pytest.mark.parametrize("out", ["out.parquet", "out"])
@pytest.mark.parametrize("force", [False, True])
def test_two_runs_at_once_do_not_harm_one_another(
    models: Path, tmp_path: Path, small_windows: None, static: Counting, out: str, force: bool
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")

    class Second(Counting):
        """Has another run begin in the middle of its own."""

        said: OutputError | None = None

        def batches(self, items: Sequence[Any]) -> Any:
            if len(self.seen) > 40 and self.said is None:
                with pytest.raises(OutputError, match="another run is at work there") as found:
                    embed_file(source, tmp_path / out, static, cache=False, force=force)
                self.said = found.value
            return super().batches(items)

    first = Second(models / "static")
    assert embed_file(source, tmp_path / out, first, cache=False).rows == 120
    assert first.said is not None
    np.testing.assert_array_equal(read_vectors(tmp_path / out), encode(static.inner, TEXTS))
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", out}


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path, static: Counting) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(OutputError, match=r"has .thesis\.txt. in it"):
            embed_file(write_jsonl(tmp_path / "in.jsonl"), tmp_path / "out", static, force=force)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_run_that_ends_as_it_puts_the_file_in_place_goes_on(
    tmp_path: Path, static: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write_jsonl(tmp_path / "in.jsonl"), tmp_path / "out.npz"
    replace, names = os.replace, []

    def end(temporary: Path, path: Path) -> None:
        names.append(Path(path).name)
        if names[-1].startswith("out.npz"):
            raise KeyboardInterrupt
        replace(temporary, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", end)
        with pytest.raises(KeyboardInterrupt):
            embed_file(source, out, static)
    assert names[-1] == "out.npz"
    assert not out.exists()
    assert not Path(f"{out}.json").exists()
    static.seen.clear()
    embed_file(source, out, static)
    assert static.seen == []
    assert json.loads(Path(f"{out}.json").read_text())["rows"] == 120


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("name", [b"caf\xe9.parquet", b"caf\xe9"])
def test_an_output_whose_name_is_not_utf8(tmp_path: Path, static: Counting, name: bytes) -> None:
    source, out = write_jsonl(tmp_path / "in.jsonl"), tmp_path / os.fsdecode(name)
    assert embed_file(source, out, static).rows == 120
    assert open_source(out).rows == 120


def test_what_is_said_of_rows_of_an_output_that_is_replaced_goes_with_it(tmp_path: Path, static: Counting) -> None:
    source, out = write_jsonl(tmp_path / "in.jsonl"), tmp_path / "out.parquet"
    skipped = tmp_path / "out.parquet.skipped.jsonl"
    skipped.write_text("{}")
    with pytest.raises(OutputError, match=r"out\.parquet\.skipped\.jsonl: exists already"):
        embed_file(source, out, static)
    embed_file(source, out, static, force=True)
    assert not skipped.exists()


def test_an_output_that_exists(tmp_path: Path, static: Counting) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")
    (tmp_path / "out.npy").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        embed_file(source, tmp_path / "out.npy", static)
    assert static.seen == []
    embed_file(source, tmp_path / "out.npy", static, force=True)
    assert np.load(tmp_path / "out.npy").shape == (120, 16)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        embed_file(source, tmp_path / "no" / "out", static)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        embed_file(source, tmp_path / "file", static)


def test_the_input_is_not_replaced(models: Path, tmp_path: Path, static: Counting) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")
    (tmp_path / "link.jsonl").symlink_to(source)
    (tmp_path / "out").mkdir()
    part = tmp_path / "out" / "part-00000.parquet"
    pq.write_table(pa.table({"text": TEXTS}), part)
    for texts, out, message in (
        (source, source, "is the input itself"),
        (f"{source}::text", tmp_path / "link.jsonl", "is the input itself"),
        (part, tmp_path / "out", "has the input in it"),
    ):
        before = {path: path.read_bytes() for path in (source, part)}
        with pytest.raises(OutputError, match=message):
            embed_file(texts, out, static, force=True)
        assert before == {path: path.read_bytes() for path in (source, part)}
    with pytest.raises(OutputError, match="is the input itself"):
        embed_file(models / "images", models / "images", str(models / "clip"))
    assert static.seen == []


RUN = """
import sys
from vec2vec.encoders import embed_file, embedding
embedding.WINDOW = 8
print("begin", flush=True)
embed_file(sys.argv[1], sys.argv[2], sys.argv[3], retries=50, batch_rows=3, cache=sys.argv[4] == "cache")
print("done", flush=True)
"""


@pytest.mark.parametrize("out", ["out", "out.parquet"])
@pytest.mark.parametrize("cache", ["cache", "none"])
def test_killed_again_and_again_no_row_is_lost_or_doubled(tmp_path: Path, out: str, cache: str) -> None:
    """Processes are killed at random moments, with texts that repeat; an endpoint serves them, a little slowly."""
    texts = [*TEXTS, *TEXTS[::3]]
    source = write_jsonl(tmp_path / "in.jsonl", texts)
    environment = os.environ | {"VEC2VEC_CACHE": str(tmp_path / "cache")}
    chance = random.Random(f"{out} {cache}")
    kills = begun = 0
    parts = tmp_path / (out if out == "out" else ".out.parquet.parts")
    with serve(delay=0.01) as endpoint:
        args = [sys.executable, "-c", RUN, str(source), str(tmp_path / out), f"{endpoint.url}::m", cache]
        for attempt in range(30):
            child = subprocess.Popen(args, env=environment, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            assert child.stdout.readline() == "begin\n"
            if attempt < 5:  # then it may finish
                wanted = len(endpoint.requests) + chance.randint(4, 14)  # of about 40 that the whole takes
                while len(endpoint.requests) < wanted and child.poll() is None:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, 0.02))
                child.send_signal(signal.SIGKILL)
            ended = child.stdout.read()
            child.stdout.close()
            if child.wait() == 0:
                assert ended == "done\n"
                break
            kills += child.returncode == -signal.SIGKILL
            begun = max(begun, len(list(parts.glob("part-*.parquet"))))
    assert kills >= 3
    assert begun > 1  # it was in the middle of the work that they struck
    files = sorted((tmp_path / out).glob("part*")) if out == "out" else [tmp_path / out]
    table = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
    assert table.column("id").to_pylist() == [f"t{i}" for i in range(len(texts))]
    expected = np.stack([vector_of(text, 8) for text in texts])
    np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), np.float32), expected)
    left = {path.name for path in tmp_path.iterdir()} - {"cache"}
    assert left == {"in.jsonl", out}


def test_an_endpoint_that_fails_in_the_middle_loses_nothing(tmp_path: Path, small_windows: None) -> None:
    source = write_jsonl(tmp_path / "in.jsonl")
    with serve() as endpoint:
        options = {"batch_rows": 4, "concurrency": 1, "retries": 0}
        encoder = get_encoder(f"{endpoint.url}::m", **options)
        endpoint.replies = [None] * 10 + [Reply(500)]
        with pytest.raises(InputError, match=r"from id 't40' on: .* 4 texts\): HTTP 500; gave up after 1 tries"):
            embed_file(source, tmp_path / "out", encoder)
        for thread in threading.enumerate():
            if thread.name.startswith("embeddings"):
                thread.join()  # a request that was under way is not one of the next run's
        endpoint.requests.clear()
        report = embed_file(source, tmp_path / "out", encoder)
        assert report.resumed == 32
        assert len(endpoint.texts) == 120 - 40  # the cache has the two batches of the window that failed
    assert report.rows == 120


BAD: list[tuple[Any, str]] = [
    (None, "the text is null"),
    ("", "the text is empty"),
    (" \t", "the text is empty"),
    (7, "the text is no string"),
    ("\ud800", "the text holds half a character"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_texts_in_memory(static: Counting, text: Any, message: str) -> None:
    texts = [*TEXTS[:3], text, *TEXTS[3:5]]
    with pytest.raises(InputError, match=rf"texts: row 3 \(counted from 0\): {message}"):
        vec2vec.embed(texts, static)
    with pytest.warns(Vec2VecWarning, match=rf"1 of 6 rows were skipped: 1: {message}"):
        x = vec2vec.embed(texts, static, on_bad_rows="skip")
    np.testing.assert_array_equal(x, encode(static.inner, TEXTS[:5]))


def test_bad_texts_in_a_file_are_counted(static: Counting, tmp_path: Path) -> None:
    texts = [*TEXTS[:3], *(text for text, _ in BAD[:4]), *TEXTS[3:5]]
    source = write_jsonl(tmp_path / "in.jsonl", texts)
    with open(source, "a") as file:
        file.write('{"id": "t0", "text": "a second t0"}\n{"id": "new"}\nnot json\n')
    with open(source, "ab") as file:
        file.write(b'{"id": "u", "text": "caf\xe9"}\n')
    with pytest.raises(InputError, match="line 4: the text is null"):
        embed_file(source, tmp_path / "out", static)
    assert not (tmp_path / "out").exists()  # nothing was begun
    report = embed_file(source, tmp_path / "out", static, on_bad_rows="skip")
    assert (report.rows, report.skipped) == (5, 8)
    for kind in ("null", "empty", "no string", "earlier row", "no 'text'", "not JSON", "not UTF-8"):
        assert kind in report.summary


def test_a_text_of_unknown_words_has_no_vector(static: Counting, tmp_path: Path, small_windows: None) -> None:
    texts = [*TEXTS[:20], "xyzzy plugh", *TEXTS[20:40], TEXTS[0]]
    with pytest.raises(InputError, match="the text of id '20' has no token that the encoder knows"):
        vec2vec.embed(texts, static)
    source = write_jsonl(tmp_path / "in.jsonl", texts)
    report = embed_file(source, tmp_path / "out.parquet", static, on_bad_rows="skip", cache=False)
    assert (report.rows, report.skipped) == (41, 1)
    assert (report.embedded, report.cached) == (41, 1)  # the one without a vector was embedded, too
    assert "no token of it is known" in report.summary
    ids = pq.read_table(tmp_path / "out.parquet").column("id").to_pylist()
    assert ids == [f"t{i}" for i in range(42) if i != 20]


def test_a_text_that_was_taken_from_something_is_told_by_its_row_there(static: Counting) -> None:
    texts = ["xyzzy plugh", *TEXTS[:3]]
    with pytest.raises(InputError, match=r"own\.jsonl: the text of row 7 \(counted from 0\) has no token"):
        embed_named(texts, static, name="own.jsonl", numbers=[7, 9, 11, 20])
    with pytest.warns(Vec2VecWarning, match=r"own\.jsonl: 1 of 4 .*the first: row 7 \(counted from 0\)"):
        vectors, rows = embed_named(texts, static, name="own.jsonl", numbers=[7, 9, 11, 20], on_bad_rows="skip")
    np.testing.assert_array_equal(vectors, encode(static.inner, TEXTS[:3]))
    assert rows.tolist() == [1, 2, 3]


@pytest.mark.parametrize("out", ["out", "out.npy"])
def test_nothing_is_left_of_a_run_in_which_no_text_could_be_embedded(
    static: Counting, tmp_path: Path, out: str
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ["xyzzy", "plugh"])
    with pytest.raises(InputError, match="none of its texts could be embedded"):
        embed_file(source, tmp_path / out, static, on_bad_rows="skip")
    assert {path.name for path in tmp_path.iterdir()} <= {"in.jsonl", "cache"}
    with pytest.raises(InputError, match="none of its texts could be embedded"):
        vec2vec.embed(source, static, on_bad_rows="skip")
    write_jsonl(source, TEXTS[:3])
    assert embed_file(source, tmp_path / out, static).rows == 3


def test_a_vector_that_is_not_finite_is_an_error(static: Counting) -> None:
    static.batches = lambda items: iter([(np.arange(len(items)), np.full((len(items), 16), np.nan, np.float32))])  # type: ignore[method-assign]
    with pytest.raises(InputError, match="gave no finite vector for id '0'"):
        vec2vec.embed(TEXTS[:3], static)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no usable text"),
        (7, "this is a int"),
        ("nowhere.txt", "there is no such file"),
        ([Path("a.png"), "text"], "are mixed"),
        ([Path("nowhere.png")], "nowhere.png: cannot be read: No such file"),
    ],
)
def test_texts_that_are_none(static: Counting, texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vec2vec.embed(texts, static)


def test_options_belong_to_a_name(static: Counting) -> None:
    with pytest.raises(ConfigError, match="max_tokens has to be given to get_encoder"):
        vec2vec.embed(TEXTS, static, max_tokens=3)


def test_a_report_is_complete(static: Counting, tmp_path: Path) -> None:
    texts = [*TEXTS, *TEXTS[:10]]
    report: EmbedReport = embed_file(write_jsonl(tmp_path / "in.jsonl", texts), tmp_path / "o.npy", static)
    assert (report.rows, report.embedded, report.cached) == (130, 120, 10)
    assert report.identity == static.identity
    assert report.seconds > 0
