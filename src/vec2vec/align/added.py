"""One more space for a translator: a new encoder's adapters, fitted to the latent that the others share.

The new space is aligned, unpaired, with one that the translator has, the reference, and so goes through it: into the
latent by the reference's adapter, and out of it likewise. Of a network, the new adapters may then be trained, with the
rest frozen or not. Any two spaces are then translated, also those that were never fitted together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vec2vec.align import find_device, fit, limited_threads, usual_defaults, with_gradients
from vec2vec.align.adversarial.checkpoint import check_checkpoint
from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Rows
from vec2vec.align.adversarial.trainer import check_places, mixed, train
from vec2vec.align.base import Fit, ProgressCallback, make_config, more_follows
from vec2vec.align.inputs import draw_side, open_side
from vec2vec.errors import ConfigError, DimensionError, InputError
from vec2vec.networks import Network, network_from, seeded
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import NetworkSpace, Space, Translator
from vec2vec.vectors import REPAIR, Float32
from vec2vec.verdict import LABELS, Verdict

Vectors = npt.ArrayLike | str | os.PathLike[str]

GIVEN = (  # settings that a network which a space is added to decides
    "init",
    "preset",
    "latent",
    "width",
    "adapter_depth",
    "backbone_depth",
    "norm",
    "shortcut",
    "restarts",
    "patience",
)
OF_A_LINEAR_START = ("stay", "interpolation", "shortcut_rate")


def add_space(
    translator: Translator,
    vectors: Vectors,
    name: str,
    references: Mapping[str, Vectors],
    *,
    seed: int = 0,
    rows: int | None = None,
    steps: int = 0,
    frozen: bool = True,
    device: str = "auto",
    threads: int | None = None,
    progress: ProgressCallback | None = None,
    **config: Any,
) -> Translator:
    """A translator with one more space.

    Parameters
    ----------
    translator : it stays as it is
    vectors : (n, d) array or file, of the new space; no row needs to belong to one of any other
    name : of the new space
    references : vectors of spaces that the translator has, by name: the first is the one that the new space is aligned
        with; the others are needed where not only the new adapters are trained
    seed, rows, device, threads, progress : see `vec2vec.fit`
    steps : of training for the adapters of a network; 0 leaves them as they were aligned, and so does a new space that
        is not aligned
    frozen : train the new adapters only; else all of the network, which needs references of every space
    config : settings of the training, see `Vec2VecConfig`

    Returns
    -------
    Translator whose verdict is the worse of its own and the new space's; the record tells of both under "added".

    Raises
    ------
    InputError : a name that is taken or unknown, or references that are missing
    DimensionError : references of another width than their space
    ConfigError : steps for a linear translator, or a network that no space can be added to; settings that will not do,
        that the network decides already, or that are given without steps, or frozen=False without them
    MissingExtraError, OutputError : a tracker that is not installed; a folder that cannot be written to
    """
    if name in translator.spaces:
        raise InputError(f"the translator has a space '{name}' already: choose another name")
    if not references:
        raise InputError("name a reference: vectors of a space that the translator has, such as known=known.npy")
    for known in references:
        translator.space(known)
    if steps and translator.network is None:
        raise ConfigError("a linear translator has nothing to train: leave steps out")
    if steps and not frozen and set(references) != set(translator.spaces):
        raise InputError("to train all of the network, references of every space are needed")
    for known, given in references.items():
        source, width = open_side(given, known), translator.space(known).preprocessor.width
        if source.width != width:
            raise DimensionError(f"{source.uri}: has width {source.width}, the space '{known}' {width}")
    if config and not steps:
        raise ConfigError(f"{', '.join(config)}: these are settings of the training; give steps, too")
    if not frozen and not steps:
        raise ConfigError(
            "frozen=False (--unfreeze): nothing is trained without steps; give steps, too, or leave it out"
        )
    if translator.network is not None and translator.network.config.shortcut != "linear":
        raise ConfigError("a space can be added to networks with shortcut=linear only")
    if steps < 0:
        raise ConfigError(f"steps is {steps}; it can be 0 or more")
    _refuse_unused(config, several=len(references) > 1)
    settings = {"steps": max(1, steps), "matching": 0.0 if len(references) > 1 else 1.0, "stay": 0.0} | config
    training = make_config(Vec2VecConfig, settings, method="vec2vec")
    if steps:
        check_checkpoint(training)
        check_places(training)
    first = next(iter(references))
    aligned = fit(
        vectors,
        references[first],
        "sinkhorn",
        seed=seed,
        rows=rows,
        source_name=name,
        target_name=first,
        device=device,
        threads=threads,
        progress=more_follows(progress) if steps else progress,
    )
    if translator.network is None:
        spaces: dict[str, Space | NetworkSpace] = _with_linear(translator, name, first, aligned)
    else:
        spaces = _with_adapters(translator, name, first, aligned)
        if aligned.verdict.label == "not aligned":
            steps = 0
        if steps:
            most = training.max_rows if rows is None else min(rows, training.max_rows)
            held = {known: _rows(of, most, seed + i) for i, (known, of) in enumerate(references.items())}
            held[name] = _rows(vectors, most, seed + len(held))
            with limited_threads(threads), with_gradients(), usual_defaults():
                spaces = _trained(spaces, held, aligned, training, seed, frozen, find_device(device), progress)
    record = dict(translator.record)
    told = {"name": name, "reference": first, "steps": steps, "frozen": frozen, "verdict": aligned.verdict.to_dict()}
    record["added"] = [*record.get("added", []), told | {"fit": aligned.record}]
    return Translator(spaces, verdict=_worse(translator.verdict, aligned.verdict, name), record=record)


def _refuse_unused(config: Mapping[str, Any], *, several: bool) -> None:
    """Raises ConfigError for settings of a training that have no meaning for one that goes on with a network."""
    for key in config:
        if key in GIVEN:
            raise ConfigError(f"{key}: there is one network to go on with, as it is; leave {key} out")
        if several and key in OF_A_LINEAR_START:
            raise ConfigError(
                f"{key}: it goes by the linear start, which several references have none of; leave it out"
            )
    if several and config.get("matching") and not (config.get("relations") or config.get("anchors")):
        raise ConfigError("matching: with several references it needs relations or anchors to begin by")


def _maps(translator: Translator, name: str, reference: str, aligned: Fit) -> tuple[Preprocessor, Float32, Float32]:
    """The new space's geometry, and the maps (d_new, d_ref) and (d_ref, d_new) between its z and the reference's.

    The references' mean is not that of the vectors that the space of the translator was fitted on, where these were of
    other texts. So the new space is centred where the map has the centre of that space.
    """
    new, old = aligned.translator.space(name), aligned.translator.space(reference)
    assert isinstance(new, Space)
    assert isinstance(old, Space)
    into, back = new.basis @ old.decode, old.basis @ new.decode
    here, there = new.preprocessor, old.preprocessor
    away = here.radius / there.radius * ((translator.space(reference).preprocessor.mean - there.mean) @ back)
    radius = float(np.hypot(here.radius, np.linalg.norm(away)))  # of the same rows, from that centre
    return Preprocessor(here.mean + away.astype(np.float32), radius, here.norm), into, back


def _with_linear(translator: Translator, name: str, reference: str, aligned: Fit) -> dict[str, Space | NetworkSpace]:
    native, into, back = _maps(translator, name, reference, aligned)
    old = translator.space(reference)
    assert isinstance(old, Space)
    new = Space(native, np.ascontiguousarray(into @ old.basis), np.ascontiguousarray(old.decode @ back))
    return {held: translator.space(held) for held in translator.spaces} | {name: new}


def _with_adapters(translator: Translator, name: str, reference: str, aligned: Fit) -> dict[str, Space | NetworkSpace]:
    """The network with one more pair of adapters, which go through the reference's."""
    native, into, back = _maps(translator, name, reference, aligned)
    network, old = translator.network, translator.space(reference)
    assert network is not None
    assert isinstance(old, NetworkSpace)
    with seeded(0):
        wider = Network(network.config, (*network.widths, native.width))
    tensors = wider.state_dict()
    tensors.update(network.state_dict())  # in place: a batch norm's load needs the metadata
    wider.load_state_dict(tensors)
    wider.follow(len(network.widths), old.index, torch.from_numpy(into), torch.from_numpy(back))
    natives = [translator.space(held).preprocessor for held in translator.spaces]
    return _spaces(wider, [*translator.spaces, name], [*natives, native])


def _trained(
    spaces: dict[str, Space | NetworkSpace],
    held: dict[str, Rows],
    aligned: Fit,
    config: Vec2VecConfig,
    seed: int,
    frozen: bool,
    device: torch.device,
    progress: ProgressCallback | None,
) -> dict[str, Space | NetworkSpace]:
    """Train the adapters of the last space, or all of the network, on the rows that are at hand."""
    names = list(spaces)
    network = next(iter(spaces.values())).network  # type: ignore[union-attr]  # all are a network's
    order = [names.index(name) for name in held]  # the spaces in the order of their rows; the new one is the last
    with seeded(mixed(seed)):
        part = Network(network.config, [network.widths[i] for i in order])
    tensors = part.state_dict()
    tensors.update(_renamed(network.state_dict(), {old: new for new, old in enumerate(order)}))
    part.load_state_dict(tensors)
    last = len(order) - 1
    fixed = [n for n in tensors if frozen and not n.startswith((f"inputs.{last}.", f"outputs.{last}."))]
    start = [aligned.translator.space(name) for name in held] if len(held) == 2 else []
    maps = [(torch.from_numpy(s.basis), torch.from_numpy(s.decode)) for s in start if isinstance(s, Space)]
    sides = [replace(rows, preprocessor=spaces[name].preprocessor, kept=None) for name, rows in held.items()]
    again = [Rows.of(side.native, side.preprocessor) for side in sides]
    run = train([part], again, config, seed=seed, device=device, start=maps, frozen=fixed, progress=progress)[0]
    best = {n: tensor for n, tensor in run.best.items() if n not in fixed}  # nor what batch norms have averaged
    tensors = network.state_dict() | _renamed(best, dict(enumerate(order)))
    trained = network_from(network.config, network.widths, tensors)
    return _spaces(trained, names, [space.preprocessor for space in spaces.values()])


def _renamed(tensors: Mapping[str, torch.Tensor], places: Mapping[int, int]) -> dict[str, torch.Tensor]:
    """The tensors of a network whose spaces stand in other places; those of spaces without a place are left out."""
    found = {}
    for name, tensor in tensors.items():
        part, index, rest = (*name.split(".", 2), "")[:3]
        if part == "backbone":
            found[name] = tensor
        elif int(index) in places:
            found[f"{part}.{places[int(index)]}.{rest}"] = tensor
    return found


def _spaces(network: Network, names: list[str], natives: list[Preprocessor]) -> dict[str, Space | NetworkSpace]:
    network.requires_grad_(False).eval()
    return {name: NetworkSpace(native, network, i) for i, (name, native) in enumerate(zip(names, natives, strict=True))}


def _rows(vectors: Vectors, most: int, seed: int) -> Rows:
    side = draw_side(open_side(vectors, "vectors"), most, seed, "error", REPAIR)
    return Rows.of(side.vectors, Preprocessor.fit(side.vectors))


def _worse(old: Verdict | None, new: Verdict, name: str) -> Verdict | None:
    """The verdict on a translator with a new space: the chain is as good as its weakest link.

    One that was not judged stays so, unless the new space is known to be none.
    """
    if old is None and new.label != "not aligned":
        return None
    if old is not None and LABELS.index(new.label) < LABELS.index(old.label):
        return old
    if old is not None and new.label == old.label and not new.expected_top1 < old.expected_top1:
        return old
    return replace(new, sentence=f"Of the space '{name}': {new.sentence}")
