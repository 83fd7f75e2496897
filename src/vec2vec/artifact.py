"""A translator on disk and on the hub: config.json, model.safetensors and README.md, read strictly, never unpickled."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vec2vec import __version__
from vec2vec.card import model_card
from vec2vec.errors import ArtifactError, InputError, OutputError
from vec2vec.networks import MOST_WIDTH, NetworkConfig, empty_network, network_from
from vec2vec.preprocess import Preprocessor
from vec2vec.stores.atomic import atomic_folder, check_replaceable, writing
from vec2vec.translator import NetworkSpace, Space, Translator
from vec2vec.vectors import Float32, one_line
from vec2vec.verdict import Label, Verdict

FORMAT = "vec2vec-translator"
FORMAT_VERSION = 2  # 1: linear; 2: of a network. What 1 can hold is written as 1, which older versions read.
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FILES = (CONFIG, WEIGHTS, CARD)
LEFT_BY_THE_HUB = (".cache", ".gitattributes")
MOST_CONFIG_BYTES = 16 * 2**20
MOST = float(np.finfo(np.float32).max)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SpaceConfig(_Strict):
    """A space in config.json; its arrays are the tensors `spaces.I.mean`, `.basis` and `.decode`.

    Of a network's space only the mean is there; the network's own tensors are those of `vec2vec.networks.Network`, each
    with `network.` before its name.
    """

    name: str
    width: int = Field(ge=1, le=MOST_WIDTH)
    radius: float = Field(gt=0, le=MOST)
    norm: float | None = Field(gt=0, le=MOST)


class VerdictConfig(_Strict):
    """A verdict in config.json; null stands for NaN."""

    label: Label
    expected_top1: float | None
    interval: list[float | None] = Field(min_length=2, max_length=2)
    evidence: dict[str, float | None]
    sentence: str


class Config(_Strict):
    """config.json."""

    format: Literal["vec2vec-translator"]
    format_version: int
    vec2vec_version: str
    latent_width: int = Field(ge=1)
    spaces: list[SpaceConfig] = Field(min_length=2)
    network: NetworkConfig | None = None
    verdict: VerdictConfig | None
    record: dict[str, Any]
    weights_sha256: str


def save(translator: Translator, folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """See `Translator.save_pretrained`."""
    path = Path(os.path.expanduser(folder))
    with writing(path):
        path = path.resolve()
    with atomic_folder(path, partial(_check_folder, force=force)) as temporary:
        _write_files(translator, temporary)


def check_folder(folder: str | os.PathLike[str], *, force: bool = False) -> None:
    """Raises OutputError if a translator could not be saved there: before the work, not after it."""
    path = Path(os.path.expanduser(folder))
    with writing(path):
        _check_folder(path.resolve(), force=force)


def load(
    folder_or_id: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Translator:
    """See `Translator.from_pretrained`."""
    path = Path(os.path.expanduser(folder_or_id))
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from error
    if is_folder:
        if revision is not None:
            raise ArtifactError(f"{path}: is a folder here, which has no revisions; leave out revision")
        return _read_folder(path)
    if exists:
        raise ArtifactError(f"{path}: is no folder; a translator is a folder with {CONFIG} and {WEIGHTS}")
    if not isinstance(folder_or_id, str) or not HUB_ID.fullmatch(folder_or_id):
        raise ArtifactError(f"{path}: there is no such folder, and it is no id on the hub (user/name)")
    return _read_folder(_download(folder_or_id, revision, token, cache_dir), name=folder_or_id)


def push(
    translator: Translator,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Add the translator",
) -> str:
    """See `Translator.push_to_hub`."""
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="vec2vec", library_version=__version__)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "translator"
        save(translator, folder)
        try:
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message)
        except _hub_failures() as error:
            raise OutputError(f"{repo_id}: cannot be uploaded to the hub: {_first_line(error)}") from error
    return str(url)


def _hub_failures() -> tuple[type[Exception], ...]:
    """What the hub's client raises; without a connection that is an error of httpx, or of requests in older ones."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    connection = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    return HfHubHTTPError, EntryNotFoundError, connection, OSError, ValueError


def _download(
    repo_id: str, revision: str | None, token: str | bool | None, cache_dir: str | os.PathLike[str] | None
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    where = repo_id if revision is None else f"{repo_id} at {revision}"
    try:
        folder = snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            cache_dir=None if cache_dir is None else Path(cache_dir),
            allow_patterns=list(FILES),
            library_name="vec2vec",
            library_version=__version__,
        )
    except LocalEntryNotFoundError as error:
        raise ArtifactError(
            f"{where}: there is no such folder, and the hub cannot be reached to look for it there"
        ) from error
    except RevisionNotFoundError as error:
        raise ArtifactError(f"{where}: the hub has no such revision") from error
    except RepositoryNotFoundError as error:
        raise ArtifactError(
            f"{where}: there is no such folder, and no such repository on the hub (or no access)"
        ) from (error)
    except _hub_failures() as error:
        raise ArtifactError(f"{where}: cannot be fetched from the hub: {_first_line(error)}") from error
    return Path(folder)


# --- writing ----------------------------------------------------------------------------------------------------------


def _check_folder(path: Path, *, force: bool) -> None:
    """Raises OutputError if a translator could not be put at `path`."""
    check_replaceable(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path}: is a file; a translator needs a folder of its own")
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return
    if not _is_translator(path):
        raise OutputError(f"{path}: is a folder that holds something else; choose another name")
    if not force:
        raise OutputError(f"{path}: exists already; choose another name, or replace it with --force (force=True)")
    others = sorted(names - set(FILES) - set(LEFT_BY_THE_HUB))
    if others:
        raise OutputError(f"{path}: also holds {', '.join(others[:3])}, which would be lost; move it first")


def _is_translator(path: Path) -> bool:
    try:
        tree = json.loads((path / CONFIG).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(tree, dict) and tree.get("format") == FORMAT


def _write_files(translator: Translator, folder: Path) -> None:
    from safetensors.numpy import save as to_safetensors

    tensors: dict[str, Float32] = {}
    for i, name in enumerate(translator.spaces):
        space = translator.space(name)
        arrays = {"mean": space.preprocessor.mean}
        if isinstance(space, Space):
            arrays |= {"basis": space.basis, "decode": space.decode}
        tensors |= {f"spaces.{i}.{what}": np.ascontiguousarray(array) for what, array in arrays.items()}
    if translator.network is not None:
        tensors |= {f"network.{name}": tensor.numpy() for name, tensor in translator.network.state_dict().items()}
    weights = to_safetensors(tensors, metadata={"format": FORMAT})
    _write(folder / WEIGHTS, weights)
    config = _config_text(translator, hashlib.sha256(weights).hexdigest())
    _write(folder / CONFIG, config.encode(errors="backslashreplace"))  # of half a character that is how JSON writes it
    _write(folder / CARD, model_card(translator).encode(errors="backslashreplace"))


def _config_text(translator: Translator, weights_sha256: str) -> str:
    spaces = {name: translator.space(name) for name in translator.spaces}
    network = translator.network
    tree = {
        "format": FORMAT,
        "format_version": 1 if network is None else 2,
        "vec2vec_version": __version__,
        "latent_width": translator.latent_width,
        "spaces": [
            {
                "name": name,
                "width": space.width,
                "radius": float(space.preprocessor.radius),
                "norm": None if space.preprocessor.norm is None else float(space.preprocessor.norm),
            }
            for name, space in spaces.items()
        ],
        **({} if network is None else {"network": network.config.model_dump(mode="json")}),
        "verdict": None if translator.verdict is None else translator.verdict.to_dict(),
        "record": translator.record,
        "weights_sha256": weights_sha256,
    }
    return json.dumps(json_ready(tree), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def json_ready(value: Any) -> Any:
    """As JSON can hold it: numpy's numbers as Python's, tuples as lists, NaN and infinity as null, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise InputError(f"the record of a translator cannot hold {value!r}: it is saved as JSON")


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path, name: str | None = None) -> Translator:
    where = name or str(folder)
    config = _read_config(folder, where)
    tensors = _read_tensors(folder, where, config)
    spaces = _spaces(config, tensors)
    if len(spaces) < len(config.spaces):
        raise ArtifactError(f"{where}: {CONFIG} has two spaces of one name")
    verdict = None if config.verdict is None else Verdict.from_dict(config.verdict.model_dump())
    try:
        return Translator(spaces, verdict=verdict, record=config.record)
    except InputError as error:
        raise ArtifactError(f"{where}: {one_line(error)}") from error


def _spaces(config: Config, tensors: dict[str, Float32]) -> dict[str, Space | NetworkSpace]:
    natives = [
        Preprocessor(tensors[f"spaces.{i}.mean"], held.radius, held.norm) for i, held in enumerate(config.spaces)
    ]
    if config.network is None:
        return {
            held.name: Space(native, tensors[f"spaces.{i}.basis"], tensors[f"spaces.{i}.decode"])
            for i, (held, native) in enumerate(zip(config.spaces, natives, strict=True))
        }
    start = "network."
    found = {name[len(start) :]: torch.from_numpy(a) for name, a in tensors.items() if name.startswith(start)}
    network = network_from(config.network, [held.width for held in config.spaces], found)
    return {
        held.name: NetworkSpace(native, network, i)
        for i, (held, native) in enumerate(zip(config.spaces, natives, strict=True))
    }


def _read_config(folder: Path, where: str) -> Config:
    content = _read(folder, CONFIG, where, most=MOST_CONFIG_BYTES)
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: {CONFIG} is damaged: {_first_line(error)}") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise ArtifactError(f"{where}: is no translator of vec2vec: its {CONFIG} is that of something else")
    version = tree.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtifactError(
            f"{where}: was saved by a newer vec2vec ({tree.get('vec2vec_version')}, format {version}); this one reads "
            f"up to format {FORMAT_VERSION}: upgrade vec2vec"
        )
    if isinstance(version, bool) or version not in (1, FORMAT_VERSION):
        raise ArtifactError(f"{where}: {CONFIG} has format_version {version!r}, expected 1 or {FORMAT_VERSION}")
    if ("network" in tree) != (version == FORMAT_VERSION):
        raise ArtifactError(f"{where}: {CONFIG} is damaged: 'network' belongs to format 2, and only to that")
    try:
        config = Config.model_validate(tree)
        if config.network is not None and config.network.latent != config.latent_width:
            raise ArtifactError(f"{where}: {CONFIG} is damaged: 'latent_width' is not that of the network")
        return config
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        what = "has an unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ArtifactError(f"{where}: {CONFIG} is damaged: '{key}': {one_line(ValueError(what))}") from error


def _read_tensors(folder: Path, where: str, config: Config) -> dict[str, Float32]:
    from safetensors import SafetensorError, deserialize

    content = _read(folder, WEIGHTS, where)
    try:
        found: dict[str, dict[str, Any]] = dict(deserialize(content))  # type: ignore[no-untyped-call]  # theirs
    except SafetensorError as error:
        raise ArtifactError(f"{where}: {WEIGHTS} is damaged or truncated: {_first_line(error)}") from error
    expected = _expected_shapes(config)
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        raise ArtifactError(f"{where}: {WEIGHTS} lacks the tensor {missing[0]}")
    if extra:
        raise ArtifactError(f"{where}: {WEIGHTS} has a tensor too many: {extra[0]}")
    for key, shape in expected.items():
        dtype, got = found[key]["dtype"], tuple(found[key]["shape"])
        if dtype != "F32":
            raise ArtifactError(f"{where}: the tensor {key} of {WEIGHTS} is {dtype}, expected F32")
        if got != shape:
            raise ArtifactError(f"{where}: the tensor {key} of {WEIGHTS} has shape {got}, expected {shape}")
    if hashlib.sha256(content).hexdigest() != config.weights_sha256:
        raise ArtifactError(f"{where}: {WEIGHTS} is not the file that {CONFIG} was written with: its checksum differs")
    return {
        key: np.frombuffer(found[key]["data"], dtype="<f4").astype(np.float32).reshape(shape)
        for key, shape in expected.items()
    }


def _expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, space in enumerate(config.spaces):
        shapes[f"spaces.{i}.mean"] = (space.width,)
        if config.network is not None:
            continue
        shapes[f"spaces.{i}.basis"] = (space.width, config.latent_width)
        shapes[f"spaces.{i}.decode"] = (config.latent_width, space.width)
    if config.network is not None:
        held = empty_network(config.network, [space.width for space in config.spaces]).state_dict()
        shapes |= {f"network.{name}": tuple(tensor.shape) for name, tensor in held.items()}
    return shapes


def _read(folder: Path, name: str, where: str, most: int | None = None) -> bytes:
    try:
        if most is not None and (folder / name).stat().st_size > most:
            raise ArtifactError(f"{where}: {name} is too large to be that of a translator")
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{where}: is no translator, or not a whole one: it has no {name}") from error
    except OSError as error:
        raise ArtifactError(f"{where}: {name} cannot be read: {error.strerror or one_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return one_line(ValueError(lines[0])) if lines else type(error).__name__
