"""The state of a training on disk: one file, safetensors with its metadata, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vec2vec.align.adversarial.score import Score
from vec2vec.errors import ArtifactError, ConfigError, OutputError, Vec2VecWarning
from vec2vec.networks import Network
from vec2vec.stores.atomic import atomic_file
from vec2vec.vectors import Float32, one_line

if TYPE_CHECKING:
    from vec2vec.align.adversarial.config import Vec2VecConfig
    from vec2vec.align.adversarial.trainer import Run, Trainer

STATE = "training.safetensors"
START = "start"  # the linear translator of a warm start
FREE = {"checkpoint", "checkpoint_every", "resume", "tracker", "log_folder", "max_rows"}  # may differ when it goes on


def check_checkpoint(config: Vec2VecConfig) -> None:
    """What a new training would find in the folder of its checkpoint.

    Raises
    ------
    OutputError : the state of another one, which it would replace

    Warns
    -----
    Vec2VecWarning : nothing to go on from, where it is to go on
    """
    folder = config.checkpoint
    if folder is None:
        return
    held = [folder / name for name in (STATE, START) if (folder / name).exists()]
    if config.resume and not held:
        message = f"{folder}: there is no state of a training to go on from: it begins anew"
        warnings.warn(message, Vec2VecWarning, stacklevel=5)
    if held and not config.resume:
        raise OutputError(
            f"{held[0]}: is the state of another training; go on from it with resume=true (--set resume=true), or "
            "choose another folder"
        )


def save_checkpoint(trainer: Trainer) -> None:
    """Write all that `load_checkpoint` needs into the folder of the configuration."""
    from safetensors.torch import save

    folder = trainer.config.checkpoint
    if folder is None or not trainer.accelerator.is_main_process:
        return
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "fingerprint": fingerprint(trainer),
        "step": trainer.step,
        "seconds": trainer.seconds,
        "runs": {
            str(run): {
                "history": state.history,
                "scores": [asdict(one) for one in state.scores],
                "start_score": None if state.start_score is None else asdict(state.start_score),
                "best_score": None if state.best_score is None else asdict(state.best_score),
            }
            for run, state in trainer.runs.items()
        },
    }
    content = save(_tensors(trainer), metadata={"training": json.dumps(about)})
    with atomic_file(folder / STATE, force=True) as stream:
        stream.write(content)


def load_checkpoint(trainer: Trainer) -> bool:
    """Put a trainer into the state that was saved, if there is one.

    Raises
    ------
    ConfigError : it is that of another training: other settings, seed, or rows
    ArtifactError : it is damaged
    """
    from safetensors import SafetensorError, safe_open

    assert trainer.config.checkpoint is not None
    path = trainer.config.checkpoint / STATE
    if not path.exists():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        if about["fingerprint"] != fingerprint(trainer):
            raise ConfigError(
                f"{path}: is of another training: its settings, seed, rows or start differ; choose another folder"
            )
        _restore(trainer, about, tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ArtifactError(f"{path}: is damaged, or no state of a training: {one_line(error)}") from error
    return True


def fingerprint(trainer: Trainer) -> str:
    """What has to be the same for a training to go on: settings, seed, shapes, what it began from, the first rows."""
    settings = {k: v for k, v in trainer.config.model_dump(mode="json").items() if k not in FREE}
    about = [settings, trainer.seed, list(trainer.widths), trainer.origin]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for side in trainer.sides[0]:
        digest.update(str(len(side)).encode())
        digest.update(np.ascontiguousarray(side.take(np.arange(min(8, len(side)))).numpy()).tobytes())
    return digest.hexdigest()


def origin_of(networks: Sequence[Network], frozen: Sequence[str]) -> str:
    """What tells the networks that a training begins from, and what of them is trained, from others."""
    found = hashlib.sha256(json.dumps(sorted(frozen)).encode())
    for network in networks:
        for name, value in network.state_dict().items():
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def digest(sides: Sequence[Float32]) -> str:
    """What tells the rows of these sides from others: their shapes, and some of them from first to last."""
    found = hashlib.sha256()
    for side in sides:
        found.update(str(side.shape).encode())
        found.update(np.ascontiguousarray(side[:: max(1, len(side) // 64)]).tobytes())
    return found.hexdigest()


def _tensors(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Every tensor of the state by name."""
    found = {name: value for lane in trainer.lanes for name, value in lane.state().items()}
    for run, state in trainer.runs.items():
        found |= {f"best.{run}.{name}": value for name, value in state.best.items()}
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in found.items()}


def _restore(trainer: Trainer, about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    runs = [int(run) for run in about["runs"]]
    trainer.drop([run for run in trainer.runs if run not in runs])
    for lane in trainer.lanes:
        lane.restore(tensors)
    for run, held in about["runs"].items():
        state = trainer.runs[int(run)] = _run(held)
        start = f"best.{run}."
        state.best = {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
    trainer.step, trainer.seconds = int(about["step"]), float(about["seconds"])


def _run(held: dict[str, Any]) -> Run:
    from vec2vec.align.adversarial.trainer import Run

    def one(tree: dict[str, Any] | None) -> Score | None:
        return None if tree is None else Score(**(tree | {name: tuple(tree[name]) for name in ("found", "matching")}))

    scores = [found for found in map(one, held["scores"]) if found is not None]
    return Run(
        best_score=one(held["best_score"]), start_score=one(held["start_score"]), history=held["history"], scores=scores
    )
