"""A translator on disk and on the hub: bit-identical, strict, atomic."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.numpy import load_file, save_file

from vec2vec import artifact
from vec2vec.errors import ArtifactError, InputError, OutputError
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Translator, linear_translator
from vec2vec.verdict import Verdict

RECORD = {
    "method": "sinkhorn",
    "seed": 7,
    "pairs": 0,
    "rows": {"source": {"used": 900, "available": 1000, "skipped": 3}},
    "versions": {"vec2vec": "0.1.0"},
    "nested": {"list": [1, 2.5, None, True]},
}
VERDICT = Verdict("aligned", 0.625, (0.5, 0.75), {"agreement": 0.5, "spread": 0.25}, "It worked.")


def vectors(width: int, rows: int = 300, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.fixture(scope="module")
def translator() -> Translator:
    y = vectors(9, seed=1)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    weight = np.linalg.qr(vectors(9, 9, seed=2))[0][:6]
    return linear_translator(
        Preprocessor.fit(vectors(6)), Preprocessor.fit(y), weight, names=("a", "b"), verdict=VERDICT, record=RECORD
    )


@pytest.fixture
def folder(tmp_path: Path, translator: Translator) -> Path:
    translator.save_pretrained(tmp_path / "t")
    return tmp_path / "t"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- saved and loaded -------------------------------------------------------------------------------------------------


def test_loaded_it_gives_the_same_bits(folder: Path, translator: Translator) -> None:
    loaded = Translator.from_pretrained(folder)
    assert loaded.spaces == ("a", "b")
    for x, options in ((vectors(6), {}), (vectors(9), {"reverse": True})):
        np.testing.assert_array_equal(loaded.translate(x, **options), translator.translate(x, **options))
    np.testing.assert_array_equal(loaded.latent(vectors(9), space="b"), translator.latent(vectors(9), space="b"))
    assert (loaded.verdict, loaded.record) == (VERDICT, RECORD)
    assert loaded.space("b").preprocessor.norm == translator.space("b").preprocessor.norm
    assert loaded.space("a").preprocessor.norm is None


def test_saved_again_the_files_are_the_same(folder: Path, tmp_path: Path) -> None:
    Translator.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert everything(tmp_path / "again") == everything(folder)
    assert set(everything(folder)) == {"config.json", "model.safetensors", "README.md"}


def test_without_a_verdict_and_with_one_that_judges_nothing(tmp_path: Path, translator: Translator) -> None:
    held = {name: translator.space(name) for name in translator.spaces}
    Translator(held).save_pretrained(tmp_path / "none")
    assert Translator.from_pretrained(tmp_path / "none").verdict is None
    unknown = Verdict("uncertain", float("nan"), (0.0, 1.0), {"x": float("nan")}, "Not judged.")
    Translator(held, verdict=unknown).save_pretrained(tmp_path / "nan")
    loaded = Translator.from_pretrained(tmp_path / "nan").verdict
    assert loaded is not None
    assert np.isnan(loaded.expected_top1)
    assert np.isnan(loaded.evidence["x"])
    assert "NaN" not in (tmp_path / "nan" / "config.json").read_text()


def test_a_record_of_numpy_numbers_and_one_that_json_cannot_hold(tmp_path: Path, translator: Translator) -> None:
    held = {name: translator.space(name) for name in translator.spaces}
    record = {"a": np.float32(0.5), "b": np.arange(2), "c": (1, 2), "d": float("inf"), "e": Path("x")}
    Translator(held, record=record).save_pretrained(tmp_path / "t")
    loaded = Translator.from_pretrained(tmp_path / "t").record
    assert loaded == {"a": 0.5, "b": [0, 1], "c": [1, 2], "d": None, "e": "x"}
    with pytest.raises(InputError, match="JSON"):
        Translator(held, record={"f": object()}).save_pretrained(tmp_path / "u")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_the_card_says_what_is_known(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    data = ModelCard(text).data
    assert data.library_name == "vec2vec"
    assert "vec2vec" in data.tags
    assert data.license is None
    for words in ("| a | 6 |", "| b | 9 | 1 |", "**aligned**. It worked.", "0.62 (0.50 to 0.75)", "sinkhorn"):
        assert words in text
    for words in ("0 (unpaired)", "900 of 1,000, 3 bad ones skipped", "Responsible use", 'source="a", target="b"'):
        assert words in text


def test_the_card_shows_names_as_they_are_written(tmp_path: Path, translator: Translator) -> None:
    held = {"x|`y`": translator.space("a"), "<b>": translator.space("b")}
    Translator(held).save_pretrained(tmp_path / "t")
    text = (tmp_path / "t" / "README.md").read_text()
    assert r"| x\|\`y\` | 6 |" in text
    assert r"\<b\>" in text


def test_the_command_of_the_card_names_the_spaces_where_it_must(
    folder: Path, tmp_path: Path, translator: Translator
) -> None:
    assert "--out translated.npy\n" in (folder / "README.md").read_text()
    third = {"the third": translator.space("a")} | {name: translator.space(name) for name in translator.spaces}
    Translator(third).save_pretrained(tmp_path / "three")
    assert "--out translated.npy --from 'the third' --to a\n" in (tmp_path / "three" / "README.md").read_text()


# --- where it may be written ------------------------------------------------------------------------------------------


def test_an_existing_translator_is_replaced_by_force_only(folder: Path, translator: Translator) -> None:
    before = everything(folder)
    with pytest.raises(OutputError, match="exists"):
        translator.save_pretrained(folder)
    held = {name: translator.space(name) for name in translator.spaces}
    Translator(held, record={"new": True}).save_pretrained(folder, force=True)
    assert Translator.from_pretrained(folder).record == {"new": True}
    assert everything(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["t"]


@pytest.mark.parametrize("name", ["config.json", "thesis.tex"])
def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, translator: Translator, name: str) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / name).write_text("{}")
    with pytest.raises(OutputError, match="something else"):
        translator.save_pretrained(tmp_path / "t", force=True)
    assert everything(tmp_path) == {f"t/{name}": b"{}"}


def test_what_lies_beside_a_translator_is_not_lost(folder: Path, translator: Translator) -> None:
    (folder / "notes.txt").write_text("precious")
    before = everything(folder)
    with pytest.raises(OutputError, match=r"notes\.txt"):
        translator.save_pretrained(folder, force=True)
    assert everything(folder) == before


def test_an_empty_folder_a_file_and_no_parent(tmp_path: Path, translator: Translator) -> None:
    (tmp_path / "empty").mkdir()
    translator.save_pretrained(tmp_path / "empty")
    assert Translator.from_pretrained(tmp_path / "empty").spaces == ("a", "b")
    (tmp_path / "file").write_text("precious")
    for bad in ("file", "no/parent", "file/below"):
        with pytest.raises(OutputError):
            translator.save_pretrained(tmp_path / bad, force=True)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_ends_early_changes_nothing(
    folder: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = everything(folder.parent)

    def card(_: Translator) -> str:
        raise error

    monkeypatch.setattr(artifact, "model_card", card)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        translator.save_pretrained(folder, force=True)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        translator.save_pretrained(folder.parent / "other")
    assert everything(folder.parent) == before
    assert [path.name for path in folder.parent.iterdir()] == ["t"]


def test_a_rename_that_fails_brings_the_old_one_back(
    folder: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(folder)
    rename = artifact.os.rename

    def failing(old: Path, new: Path) -> None:
        if old.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(artifact.os, "rename", failing)
    with pytest.raises(OutputError, match="Input/output"):
        translator.save_pretrained(folder, force=True)
    assert everything(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["t"]


# --- damaged, foreign, newer ------------------------------------------------------------------------------------------


def edit_config(**changes: Any) -> Callable[[Path], None]:
    """Change keys of config.json; None takes one away."""

    def edit(folder: Path) -> None:
        tree = json.loads((folder / "config.json").read_text()) | changes
        tree = {key: value for key, value in tree.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(tree))

    return edit


def edit_space(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tree = json.loads((folder / "config.json").read_text())
        tree["spaces"][0].update(changes)
        (folder / "config.json").write_text(json.dumps(tree))

    return edit


def edit_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    """Change the tensors, and the checksum with them."""

    def edit(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = {name: array.copy() for name, array in load_file(path).items()}
        change(tensors)
        save_file(tensors, path)
        edit_config(weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())(folder)

    return edit


def cut(name: str, keep: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:keep])

    return edit


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "model.safetensors").write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    "config cut": (cut("config.json", 40), "config.json is damaged"),
    "config empty": (cut("config.json", 0), "config.json is damaged"),
    "config not text": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json is damaged"),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "no translator of vec2vec"),
    "foreign": (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "no translator"),
    "another format": (edit_config(format="something"), "no translator of vec2vec"),
    "newer": (edit_config(format_version=3, unheard_of=1), "newer vec2vec .*format 3.*upgrade"),
    "older than any": (edit_config(format_version=0), "format_version 0"),
    "no version": (edit_config(format_version=None), "format_version None"),
    "unknown key": (edit_config(unheard_of=1), "'unheard_of'.*unknown key"),
    "unknown key of a space": (edit_space(unheard_of=1), "unheard_of.*unknown key"),
    "missing key": (edit_config(record=None), "'record'"),
    "wrong type": (edit_config(latent_width="6"), "'latent_width'"),
    "wrong label": (edit_config(verdict=VERDICT.to_dict() | {"label": "perfect"}), "'verdict.label'"),
    "negative radius": (edit_space(radius=-1.0), "radius"),
    "infinite radius": (edit_space(radius=float("inf")), "radius"),
    "one name twice": (edit_space(name="b"), "two spaces of one name"),
    "a bad name": (edit_space(name=""), "name of a space"),
    "a width beyond any size": (edit_space(width=10**30), "width"),
    "another width": (edit_space(width=7), r"shape \(6,\), expected \(7,\)"),
    "weights cut": (cut("model.safetensors", 400), "damaged or truncated"),
    "weights cut by a byte": (lambda folder: cut("model.safetensors", -1)(folder), "damaged or truncated"),
    "weights empty": (cut("model.safetensors", 0), "damaged or truncated"),
    "weights pickled": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04\x95" * 99),
        "damaged or truncated",
    ),
    "a bit flipped": (flip_a_bit, "checksum"),
    "missing tensor": (edit_tensors(lambda tensors: tensors.pop("spaces.1.decode")), r"lacks the tensor spaces\.1"),
    "extra tensor": (edit_tensors(lambda tensors: tensors.update(more=np.ones(2))), "too many: more"),
    "wrong shape": (
        edit_tensors(lambda tensors: tensors.update({"spaces.1.mean": np.ones(4, dtype=np.float32)})),
        r"spaces\.1\.mean .*\(4,\), expected \(9,\)",
    ),
    "wrong dtype": (
        edit_tensors(lambda tensors: tensors.update({"spaces.1.mean": np.ones(9)})),
        r"spaces\.1\.mean .*F64, expected F32",
    ),
    "NaN": (edit_tensors(lambda tensors: tensors["spaces.0.basis"].fill(np.nan)), "not finite"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_line(folder: Path, damage: str) -> None:
    edit, message = DAMAGE[damage]
    edit(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        Translator.from_pretrained(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(ArtifactError, match=r"model\.safetensors cannot be read"):
        Translator.from_pretrained(folder)


def test_a_file_and_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="is no folder"):
        Translator.from_pretrained(folder / "config.json")
    for name in (folder / "nowhere", str(folder / "nowhere"), "nowhere", "./no/where"):
        with pytest.raises(ArtifactError, match=r"nowhere|no/where"):
            Translator.from_pretrained(name)


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_a_hub_id_without_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ArtifactError, match="cannot be reached") as caught:
        Translator.from_pretrained("someone/translator", cache_dir=tmp_path)
    assert str(caught.value).startswith("someone/translator: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("no\nsuch"), ConnectionError("refused\nagain"), ValueError()]
)
def test_whatever_the_hub_raises_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*args: Any, **options: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", failing)
    with pytest.raises(ArtifactError, match="someone/translator at v1") as caught:
        Translator.from_pretrained("someone/translator", revision="v1")
    assert "\n" not in str(caught.value)


def test_from_the_hub(folder: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    def download(repo_id: str, **options: Any) -> str:
        calls.append((repo_id, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = Translator.from_pretrained("someone/translator", revision="v1", token="t")
    np.testing.assert_array_equal(loaded.translate(vectors(6)), translator.translate(vectors(6)))
    ((repo_id, options),) = calls
    assert (repo_id, options["revision"], options["token"]) == ("someone/translator", "v1", "t")
    assert set(options["allow_patterns"]) == {"config.json", "model.safetensors", "README.md"}
    (folder / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"^someone/translator: "):
        Translator.from_pretrained("someone/translator")


class Api:
    """Stands in for `huggingface_hub.HfApi`."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        Api.calls.append(("HfApi", options))

    calls: list[tuple[str, dict[str, Any]]]
    uploaded: dict[str, bytes]
    fails = False

    def create_repo(self, repo_id: str, **options: Any) -> str:
        Api.calls.append(("create_repo", {"repo_id": repo_id, **options}))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, folder_path: Path, **options: Any) -> SimpleNamespace:
        if Api.fails:
            raise ConnectionError("the line\nis dead")
        Api.calls.append(("upload_folder", options))
        Api.uploaded = everything(Path(folder_path))
        return SimpleNamespace()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[Api]:
    monkeypatch.setattr(Api, "calls", [], raising=False)
    monkeypatch.setattr(Api, "uploaded", {}, raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return Api


def test_push_to_hub(api: type[Api], folder: Path, translator: Translator) -> None:
    url = translator.push_to_hub("someone/translator", private=True, token="t", revision="v1", commit_message="New")
    assert url == "https://huggingface.co/someone/translator"
    assert api.uploaded == everything(folder)
    calls = dict(api.calls)
    assert calls["HfApi"]["token"] == "t"
    assert calls["create_repo"] == {"repo_id": "someone/translator", "private": True, "exist_ok": True}
    assert calls["upload_folder"] == {"repo_id": "someone/translator", "revision": "v1", "commit_message": "New"}


def test_a_push_that_fails_is_one_line(api: type[Api], translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "fails", True)
    with pytest.raises(OutputError, match="someone/translator: cannot be uploaded to the hub: the line") as caught:
        translator.push_to_hub("someone/translator")
    assert "\n" not in str(caught.value)


def test_folders_that_cannot_be_replaced_are_refused_before_the_work(
    tmp_path: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="is where a file system is mounted"):
        artifact.check_folder("/proc" if Path("/proc").is_dir() else "/")
    with pytest.raises(OutputError, match="its name is too long"):
        artifact.check_folder(tmp_path / ("x" * 248))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputError, match="is the folder that this runs in"):
        artifact.check_folder(".")
    for name in ("one", "other"):
        (tmp_path / name).symlink_to(tmp_path / ("other" if name == "one" else "one"))
    with pytest.raises(OutputError, match=r"one: cannot be written: "):
        artifact.check_folder(tmp_path / "one")


def test_a_folder_that_cannot_be_renamed_is_replaced_all_the_same(
    folder: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = artifact.os.rename

    def of_an_overlay(old: Path, new: Path) -> None:
        if Path(old) == folder.resolve():
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(old, new)

    monkeypatch.setattr(artifact.os, "rename", of_an_overlay)
    (folder / "README.md").write_text("old")
    translator.save_pretrained(folder, force=True)
    assert "old" not in (folder / "README.md").read_text().split()
    assert [path.name for path in folder.parent.iterdir()] == ["t"]


def test_half_a_character_in_a_record(tmp_path: Path, translator: Translator) -> None:
    spaces = {name: translator.space(name) for name in translator.spaces}
    Translator(spaces, record={"note": "\udcff \u00e9"}).save_pretrained(tmp_path / "odd")
    assert Translator.from_pretrained(tmp_path / "odd").record["note"] == "\udcff \u00e9"


def test_a_radius_beyond_float32_is_damage(folder: Path) -> None:
    tree = json.loads((folder / "config.json").read_text())
    tree["spaces"][1]["radius"] = 1e39
    (folder / "config.json").write_text(json.dumps(tree))
    with pytest.raises(ArtifactError, match="radius"):
        Translator.from_pretrained(folder)


def test_a_folder_has_no_revisions(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="leave out revision"):
        Translator.from_pretrained(folder, revision="v1")
