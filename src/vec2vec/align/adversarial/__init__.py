"""vec2vec itself (Jha et al. 2025, arXiv 2505.12540): adapters and a shared backbone, trained without pairs.

`fit` from top to bottom: the start, the training (`trainer`), the choice without labels, the verdict. With the default
``init="sinkhorn"`` the network begins as exactly the linear translator that ``method="sinkhorn"`` finds and improves on
it, or leaves it as it is; with ``init="random"`` it begins from nothing, as in the paper, several times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from vec2vec.align.adversarial.checkpoint import START, check_checkpoint, digest
from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Rows
from vec2vec.align.adversarial.restarts import Tensors
from vec2vec.align.adversarial.trainer import Run, check_places, mixed, train
from vec2vec.align.base import ProgressCallback, SpaceFit, more_follows
from vec2vec.align.judge import gather_evidence, verdict_from
from vec2vec.errors import ConfigError
from vec2vec.networks import Network, NetworkConfig, network_from, seeded
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import NetworkSpace, Space, Translator
from vec2vec.vectors import Float32
from vec2vec.verdict import Verdict

__all__ = ["Vec2VecConfig", "fit"]


def fit(
    source: Float32,
    target: Float32,
    config: Vec2VecConfig,
    *,
    seed: int,
    progress: ProgressCallback | None = None,
    device: torch.device | None = None,
) -> SpaceFit:
    """Align two unpaired sets of vectors.

    Parameters
    ----------
    source, target : (n, d_s) and (m, d_t) float32 arrays or memory maps, finite, no row all zero
    config : the settings
    seed : the same seed gives the same network, with the same number of threads on the same machine
    progress : called after every round of the start, and from time to time in the training
    device : where the products are computed; the CPU if None

    Raises
    ------
    DivergenceError : a loss that is not finite or beyond bounds, or a score that is not finite
    InputError : rows that are too few for a training
    ConfigError, ArtifactError : a checkpoint that is of another training, or damaged
    MissingExtraError : a tracker that is not installed
    OutputError : a folder that cannot be written to, or has the state of another training in it, without `resume`

    Warns
    -----
    Vec2VecWarning : there is no checkpoint to go on from
    """
    where = device or torch.device("cpu")
    check_checkpoint(config)
    check_places(config)
    run = _improve if config.init == "sinkhorn" else _from_nothing
    return run(source, target, config, seed, progress, where)


def _improve(
    source: Float32,
    target: Float32,
    config: Vec2VecConfig,
    seed: int,
    progress: ProgressCallback | None,
    device: torch.device,
) -> SpaceFit:
    """From the linear translator: the best network that passes the guard, or that translator itself."""
    start = _linear_start(source, target, config, seed, more_follows(progress), device)
    spaces, verdict = start.spaces(), start.verdict
    assert verdict is not None
    if verdict.label == "not aligned":  # nothing to improve on
        return start
    linear = [space for space in spaces if isinstance(space, Space)]
    shape = network_config(config, linear[0].latent_width)
    maps = [(torch.from_numpy(space.basis), torch.from_numpy(space.decode)) for space in linear]
    networks = [linear_network(shape, linear, mixed(seed, k)) for k in range(config.restarts)]
    sides = [Rows.of(rows, space.preprocessor) for rows, space in zip((source, target), linear, strict=True)]
    runs = train(networks, sides, config, seed=seed, device=device, start=maps, progress=progress)
    history = start.history + [entry for one in runs.values() for entry in one.history]
    better = [one for one in runs.values() if _has_gained(one)]
    if not better:
        return replace(start, history=[*history, {"stage": "guard", "kept": "start"}])
    best = max(better, key=_found)
    assert best.best_score is not None
    score = asdict(best.best_score)
    evidence = verdict.evidence | {f"network_{name}": score[name] for name in ("closeness", "geometry")}
    natives = [space.preprocessor for space in linear]
    first, second = _network_spaces(shape, best.best, natives)
    history.append({"stage": "guard", "kept": "network"})
    return SpaceFit(first, second, history, replace(verdict, evidence=evidence))


def _linear_start(
    source: Float32,
    target: Float32,
    config: Vec2VecConfig,
    seed: int,
    progress: ProgressCallback | None,
    device: torch.device,
) -> SpaceFit:
    """What ``method="sinkhorn"`` finds; kept beside the checkpoint for a training that goes on."""
    from vec2vec.align import sinkhorn
    from vec2vec.align.schedules import SinkhornConfig

    folder = None if config.checkpoint is None else config.checkpoint / START
    of = {"seed": seed, "digest": digest((source, target))}
    if config.resume and folder is not None and folder.is_dir():
        held = Translator.from_pretrained(folder)
        spaces = [held.space(name) for name in held.spaces]
        if held.verdict is None or any(held.record.get(key) != value for key, value in of.items()):
            raise ConfigError(
                f"{folder}: is the start of another training: its seed or rows differ; choose another folder"
            )
        return SpaceFit(spaces[0], spaces[1], [], held.verdict)
    found = sinkhorn.fit(source, target, SinkhornConfig(), seed=seed, progress=progress, device=device)
    if folder is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        kept = Translator(dict(zip(("source", "target"), found.spaces(), strict=True)), verdict=found.verdict)
        kept.record.update(of)
        kept.save_pretrained(folder, force=True)
    return found


def _from_nothing(
    source: Float32,
    target: Float32,
    config: Vec2VecConfig,
    seed: int,
    progress: ProgressCallback | None,
    device: torch.device,
) -> SpaceFit:
    """From random networks, those of odd numbers on one half of the rows, of even ones on the other.

    So the best two of different halves are witnesses of one another, as in the fast fitter's verdict.
    """
    natives = [Preprocessor.fit(rows) for rows in (source, target)]
    shape = network_config(config, config.latent or config.width)
    networks = []
    for k in range(config.restarts):
        with seeded(mixed(seed, k)):
            network = Network(shape, [native.width for native in natives])
        if config.preset == "own":
            network.silence()
        networks.append(network)
    whole = [Rows.of(rows, native) for rows, native in zip((source, target), natives, strict=True)]
    sides: Sequence[Rows] | Sequence[Sequence[Rows]] = whole
    if config.restarts > 1:
        halves = [_halves(side, seed, i) for i, side in enumerate(whole)]
        sides = [[half[k % 2] for k in range(config.restarts)] for half in halves]
    runs = train(networks, sides, config, seed=seed, device=device, progress=progress)
    history = [entry for one in runs.values() for entry in one.history]
    order = sorted(runs, key=lambda k: _value(runs[k]), reverse=True)
    first, second = _network_spaces(shape, runs[order[0]].best, natives)
    found = SpaceFit(first, second, history)
    other = [k for k in order if k % 2 != order[0] % 2]
    if not other:
        return found  # judged by a second opinion
    witness = _network_spaces(shape, runs[other[0]].best, natives)
    return replace(found, verdict=_judge(first, witness[0], whole, seed))


def network_config(config: Vec2VecConfig, latent: int) -> NetworkConfig:
    """The shape of the network."""
    return NetworkConfig(
        latent=latent,
        width=config.width,
        adapter_depth=config.adapter_depth,
        backbone_depth=config.backbone_depth,
        norm=config.norm,
        shortcut=config.shortcut,
    )


def linear_network(shape: NetworkConfig, spaces: Sequence[Space], seed: int) -> Network:
    """A network that is exactly this linear translator, its residual layers ready to learn."""
    with seeded(seed):
        network = Network(shape, [space.width for space in spaces])
    bases, decodes = (
        [torch.from_numpy(m) for m in ms] for ms in zip(*((s.basis, s.decode) for s in spaces), strict=True)
    )
    network.start_linear(bases, decodes)
    return network


def _network_spaces(
    shape: NetworkConfig, tensors: Tensors, natives: Sequence[Preprocessor]
) -> tuple[NetworkSpace, NetworkSpace]:
    network = network_from(shape, [native.width for native in natives], tensors)
    first, second = (NetworkSpace(native, network, i) for i, native in enumerate(natives))
    return first, second


def _judge(found: NetworkSpace, witness: NetworkSpace, sides: Sequence[Rows], seed: int) -> Verdict:
    """By how well two networks from different seeds and disjoint halves agree, see `vec2vec.align.judge`."""
    x, y = (side.take(np.arange(len(side))) for side in sides)
    first, second = found.network.F1, witness.network.F1
    with torch.inference_mode():
        return verdict_from(gather_evidence(first, (first, second), x, y, np.random.default_rng(seed)))


def _halves(side: Rows, seed: int, index: int) -> tuple[Rows, Rows]:
    order = np.random.default_rng([seed, 53, index]).permutation(len(side))
    return side.part(order[::2]), side.part(order[1::2])


def _has_gained(run: Run) -> bool:
    """Whether the best network is another one than the start."""
    best, start = run.best_score, run.start_score
    return best is not None and start is not None and best.better_than(start)


def _found(run: Run) -> float:
    return float("-inf") if run.best_score is None else sum(run.best_score.found)


def _value(run: Run) -> float:
    return float("-inf") if run.best_score is None else run.best_score.value
