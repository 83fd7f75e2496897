"""The training loop: `train` from top to bottom, then what it is made of.

A step draws a batch, takes one step with the generator against the critics as they are, and one with all critics on the
translations just made. Every so often the network is checked without labels on rows that were held back; the best one
counts. What a step sees follows from the seed and its number, so that a training that was killed goes on as if it had
not been.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from vec2vec.align.adversarial.checkpoint import load_checkpoint, origin_of, save_checkpoint
from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.data import Relations, Rows, draw, guess_maps, hold_back, order_of
from vec2vec.align.adversarial.lane import Lane, divide
from vec2vec.align.adversarial.objective import Batch, Losses, Native, Objective, plans_for, started_from
from vec2vec.align.adversarial.restarts import Tensors, between, hopeless
from vec2vec.align.adversarial.score import Score, score
from vec2vec.align.base import Progress, ProgressCallback
from vec2vec.align.threads import Submit, in_turn, threads_for
from vec2vec.align.whitening import unit
from vec2vec.errors import ConfigError, DivergenceError, InputError, MissingExtraError
from vec2vec.networks import Critics, Network, NetworkConfig, network_from, seeded
from vec2vec.stores.atomic import check_parent, writing

DIVERGED = 1e6  # a loss beyond it
PROBE_ROWS = 1000  # on either side of the product that tells the spread of a space's cosines
LEAST_HELD = 3  # rows of a side, whose similarities can then be correlated
LOOK_EVERY = 10  # steps between two looks at the losses, each of which waits for the device

Start = Sequence[tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Run:
    """A training, as far as it has come.

    Attributes
    ----------
    best : the network with the best label-free score so far, as tensors by name
    best_score, start_score : of it, and of the network before the first step
    latest : the network at the last check
    history : a dictionary for each look at the losses, and each check
    scores : of all checks
    """

    best: Tensors = field(default_factory=dict)
    latest: Tensors = field(default_factory=dict)
    best_score: Score | None = None
    start_score: Score | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)


def train(
    networks: Sequence[Network],
    sides: Sequence[Rows] | Sequence[Sequence[Rows]],
    config: Vec2VecConfig,
    *,
    seed: int,
    device: torch.device,
    start: Start = (),
    frozen: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> dict[int, Run]:
    """Train one network, or several side by side.

    Parameters
    ----------
    networks : of one shape: as many restarts
    sides : the rows of each space; of each space for each network, where they differ
    config : the settings
    seed : of batches, critics and noise
    start : basis and decode of each space where the networks begin as a linear translator
    frozen : parameters of the network that are not trained
    progress : called at every look at the losses

    Returns
    -------
    What became of each restart that was not stopped, by its number.

    Raises
    ------
    DivergenceError : a loss that is not finite or beyond bounds, or a score that is not finite, in every restart
    InputError : rows that are too few to be held back
    """
    with running(config, device) as accelerator:
        trainer = Trainer(networks, sides, config, accelerator, seed, start, frozen)
        trainer.resume()
        with threads_for(len(trainer.lanes), trainer.device) as trainer.submit:
            return trainer.go(progress)


class Trainer:
    """The state of a training, and its steps."""

    def __init__(
        self,
        networks: Sequence[Network],
        sides: Sequence[Rows] | Sequence[Sequence[Rows]],
        config: Vec2VecConfig,
        accelerator: Accelerator,
        seed: int,
        start: Start,
        frozen: Sequence[str],
    ) -> None:
        self.config, self.seed, self.accelerator = config, seed, accelerator
        self.device = accelerator.device
        self.shape, self.widths = networks[0].config, networks[0].widths
        every = [list(one) if isinstance(one, Sequence) else [one] * len(networks) for one in sides]
        self.sides: list[list[Rows]] = [[side[k] for side in every] for k in range(len(networks))]  # [run][space]
        divided = [hold_back(rows, config.held_rows, seed) for rows in self.sides]
        if min(len(side) for _, held in divided for side in held) < LEAST_HELD:
            least = min(len(side) for rows in self.sides for side in rows)
            raise InputError(
                f"a network cannot be trained on {least} rows of a side: a fifth of them is held back, which has to be "
                f"{LEAST_HELD} at least; with restarts from nothing, each has half of the rows"
            )
        self.training = [training for training, _ in divided]
        self.held = [[_all(side).to(self.device) for side in held] for _, held in divided]
        self.natives = [_native(side, self.device) for side in self.sides[0]]
        self.relations = [
            [Relations.of(side, config.relations, self.device) for side in sides if config.relations]
            for sides in self.training
        ]
        anchored = config.matching and config.anchors and not start
        self.guesses = [
            guess_maps(sides, config.anchors, (seed, run), self.device) if anchored else []
            for run, sides in enumerate(self.training)
        ]
        self.start = [(basis.to(self.device), decode.to(self.device)) for basis, decode in start]
        self.began = [_copied(network) for network in networks] if start else []
        objectives = [
            Objective(network, _critics(config, self.shape, self.widths, [seed, k]), self.natives, config)
            for k, network in enumerate(networks)
        ]
        shortcuts = self.shortcuts(networks[0])
        self.lanes = [
            Lane([objectives[run] for run in runs], runs, config, self.device, shortcuts, frozen)
            for runs in divide(len(networks), self.device, accelerator.num_processes)
        ]
        self.runs = {run: Run() for run in range(len(networks))}
        self.submit: Submit = in_turn
        self.pending: list[list[tuple[list[int], Losses]]] = []
        self.step, self.seconds = 0, 0.0
        self.origin = origin_of(networks, frozen)
        self.is_saved = False

    def go(self, progress: ProgressCallback | None) -> dict[int, Run]:
        """All steps that are left."""
        began = time.perf_counter() - self.seconds
        if self.step == 0:
            self.check()
        first, since = self.step, time.perf_counter()
        while self.step < self.config.steps:
            self.pending.append(self.take_step())
            self.step += 1
            last = self.step == self.config.steps
            checked = last or self.step % self.config.check_every == 0
            if checked or self.step % LOOK_EVERY == 0:
                self.seconds = time.perf_counter() - began
                losses = self.look()
                if checked:
                    self.check()
                    self.stop_the_hopeless()
                left = (time.perf_counter() - since) / (self.step - first) * (self.config.steps - self.step)
                self.report(progress, losses, left)
            if self.config.checkpoint and (last or self.step % self.config.checkpoint_every == 0):
                self.look()
                if all(lane.is_finite() for lane in self.lanes):  # or else the next look says which loss it shows in
                    save_checkpoint(self)
                    self.is_saved = True
        return self.runs

    # --- a step -------------------------------------------------------------------------------------------------------

    def take_step(self) -> list[tuple[list[int], Losses]]:
        """One step of every lane: with the generator, then with the critics. Its runs, and their losses, unweighted."""
        several = self.accelerator.num_processes > 1
        reduce = partial(self.accelerator.reduce, reduction="mean") if several else None

        def step(lane: Lane) -> tuple[list[int], Losses]:
            return lane.stack.runs, lane.take_step(self.batch(lane), self.step, reduce)

        return [one.result() for one in [self.submit(step, lane) for lane in self.lanes]]

    def shortcuts(self, network: Network) -> list[str]:
        """The linear maps that go at a rate of their own: those out of the latent, and from nothing those into it."""
        found = [f"network.{name}" for name, _ in network.named_parameters() if name.endswith(".skip.weight")]
        if self.start:
            return [name for name in found if name.startswith("network.outputs.")]
        return found if self.config.init == "random" and self.config.preset == "own" else []

    def batch(self, lane: Lane) -> Batch:
        """The batch of this step: with a leading dimension where several networks are stacked."""
        batches = [self.batch_of(run) for run in lane.stack.runs]
        if not lane.stack.stacked:
            return batches[0]
        return Batch(*(_stacked(group) for group in zip(*batches, strict=True)))

    def batch_of(self, run: int) -> Batch:
        """The batch of one network: this process's part of it."""
        c, process = self.config, self.accelerator
        part = process.process_index, process.num_processes
        sides = self.training[run]
        size = min(c.batch, *map(len, sides))
        chosen = [order_of(side, size, self.step, (self.seed, run, i), part) for i, side in enumerate(sides)]
        rows = tuple(side.take(these).to(self.device) for side, these in zip(sides, chosen, strict=True))
        relations = tuple(r.of_rows(i, z) for r, i, z in zip(self.relations[run], chosen, rows, strict=False))
        batch = Batch(rows, relations=relations, noise=self.noise(rows, run) if c.noise else ())
        if self.start and c.stay:
            batch = batch._replace(started=started_from(rows, self.start))
        if not c.matching:
            return batch
        size = min(c.matching_rows, *map(len, sides))
        chosen = [order_of(side, size, self.step, (self.seed, run, 11 + i)) for i, side in enumerate(sides)]
        pools = tuple(side.take(these).to(self.device) for side, these in zip(sides, chosen, strict=True))
        if self.start:
            return batch._replace(pools=pools, plans=plans_for(rows, pools, self.start, c))
        if guesses := self.guesses[run]:
            known = tuple(unit(z @ one) for z, one in zip(rows, guesses, strict=True))
            pool_known = tuple(unit(z @ one) for z, one in zip(pools, guesses, strict=True))
        else:
            known = relations
            pool_known = tuple(r.of_rows(i, z) for r, i, z in zip(self.relations[run], chosen, pools, strict=True))
        gone = min(1.0, self.step / max(1.0, c.anchors_share * c.steps))
        stage = tuple(torch.tensor(number, device=self.device) for number in (gone, c.heat ** (1.0 - gone)))
        return batch._replace(pools=pools, known=known, pool_known=pool_known, stage=stage)

    def noise(self, rows: Sequence[torch.Tensor], run: int) -> tuple[tuple[torch.Tensor, ...], ...]:
        """Noise for all that the critics are shown, in the order of `Shown`: of standard deviation `noise` a row."""
        generator = torch.Generator().manual_seed(mixed(self.seed, run, self.step, self.accelerator.process_index))
        b, others = len(rows[0]), len(rows) - 1
        critics, k = self.lanes[0].stack.module.critics, self.shape.latent
        widths = self.widths if len(critics.outputs) else ()
        hidden = [k] * len(critics.latents)
        groups = ((b, widths), (b * others, widths), (b, hidden), (b * others, hidden))
        scale, extra = self.config.noise, self.config.relations

        def one(n: int, w: int) -> torch.Tensor:
            noise = scale * w**-0.5 * torch.randn(n, w, generator=generator)
            return torch.nn.functional.pad(noise, (0, extra)).to(self.device)  # none on relations

        return tuple(tuple(one(n, w) for w in group) for n, group in groups)

    # --- looks and checks ---------------------------------------------------------------------------------------------

    def look(self) -> dict[str, float]:
        """Look at the losses since the last look; a run that diverged is given up, and the last one is an error."""
        if not self.pending:
            return {}
        first = self.step - len(self.pending)
        table = [{run: row for lane in one for run, row in _by_run(*lane).items()} for one in self.pending]
        self.pending = []
        lost: dict[int, str] = {}
        for i, rows in enumerate(table):
            for run, row in rows.items():
                for name, value in row.items():
                    if not abs(value) < DIVERGED:  # NaN, too
                        lost.setdefault(run, f"the loss {name} is {value:g} at step {first + i + 1}")
        if len(lost) == len(self.runs):
            kept = f"the state before it is in {self.config.checkpoint}" if self.is_saved else "nothing was saved"
            raise DivergenceError(
                f"the training diverged: {next(iter(lost.values()))}; {kept}; try a lower rate, or a smaller weight of "
                "that loss"
            )
        latest = table[-1]
        for run, state in self.runs.items():
            entry = {"stage": "training", "run": run, "step": self.step, "seconds": round(self.seconds, 3)}
            state.history.append(entry | latest[run])
        if lost:
            self.drop(list(lost))
        going_on = [latest[run] for run in self.runs]
        mean = {name: sum(row[name] for row in going_on) / len(going_on) for name in going_on[0]}
        self.accelerator.log(mean, step=self.step)
        return mean

    def check(self) -> None:
        """Score every run without labels, and keep the best of each."""
        for run in self.runs:
            tensors = self.network_tensors(run)
            network = network_from(self.shape, self.widths, tensors).to(self.device)
            found = score(network, self.held[run], self.natives, self.start, self.config)
            state = self.runs[run]
            state.scores.append(found)
            state.latest = tensors
            entry = {"stage": "check", "run": run, "step": self.step, "seconds": round(self.seconds, 3)}
            state.history.append(entry | {"score": found.value} | asdict(found))
            state.start_score = state.start_score or found
            if state.best_score is None or self.prefers(found, state):
                state.best, state.best_score = tensors, found
        self.accelerator.log({"score": max(run.scores[-1].value for run in self.runs.values())}, step=self.step)

    def prefers(self, found: Score, state: Run) -> bool:
        """Whether a network takes the place of the best one so far."""
        assert state.best_score is not None
        assert state.start_score is not None
        if not self.start:
            return found.value > state.best_score.value
        return found.better_than(state.start_score) and sum(found.found) > sum(state.best_score.found)

    def stop_the_hopeless(self) -> None:
        """Give up runs that lag far behind; that none has a score is an error."""
        if not self.start:
            scores = {run: [one.value for one in state.scores] for run, state in self.runs.items()}
            lost = hopeless(scores, self.config.patience)
            if len(lost) == len(self.runs):
                raise DivergenceError(
                    f"the training diverged: no label-free score is finite at step {self.step}; try a lower rate"
                )
            if lost:
                self.drop(lost)

    def drop(self, lost: Sequence[int]) -> None:
        """Go on without these runs."""
        self.lanes = [lane for lane in self.lanes if not set(lane.stack.runs) <= set(lost)]
        for lane in self.lanes:
            lane.drop(lost)
        for run in lost:
            del self.runs[run]

    def network_tensors(self, run: int) -> Tensors:
        """A run's network as it is now: of averaged weights, if any, and interpolated where the start is linear."""
        lane = next(lane for lane in self.lanes if run in lane.stack.runs)
        trained = lane.stack.network_tensors(run, lane.values)
        return between(self.began[run], trained, self.config.interpolation) if self.began else trained

    def report(self, progress: ProgressCallback | None, losses: Mapping[str, float], remaining: float) -> None:
        if progress is not None and self.accelerator.is_main_process:
            value = max(run.scores[-1].value for run in self.runs.values())
            progress(Progress("training", self.step, self.config.steps, value, remaining, dict(losses)))

    def resume(self) -> None:
        """Go on from the checkpoint, if that is wanted and there is one."""
        if self.config.resume:
            self.is_saved = load_checkpoint(self)


def check_places(config: Vec2VecConfig) -> None:
    """What can be known before any work: that the tracker is installed, and what is written has a place.

    Raises
    ------
    MissingExtraError : there is no such package
    OutputError : a folder that cannot be made, or written to
    """
    if config.tracker and find_spec(config.tracker) is None:
        raise MissingExtraError(
            f"tracker={config.tracker} needs the package {config.tracker}: install vec2vec[tracking]"
        )
    for folder in (config.checkpoint, config.log_folder if config.tracker else None):
        if folder is not None:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                check_parent(folder / "file")


@contextmanager
def running(config: Vec2VecConfig, device: torch.device) -> Iterator[Accelerator]:
    """An accelerator for this training; where it was the first of the process, nothing is left of it."""
    check_places(config)
    fresh = not PartialState._shared_state
    held = f"accelerate has taken another device for this process, and {device.type} is asked for; choose that one"
    try:
        accelerator = Accelerator(
            cpu=device.type == "cpu",
            log_with=config.tracker,
            project_dir=str(config.log_folder) if config.tracker else None,
        )
    except ValueError as error:
        raise ConfigError(held) from error
    try:
        if accelerator.device.type != device.type:
            raise ConfigError(held)
        if config.tracker:
            accelerator.init_trackers("vec2vec", config={k: str(v) for k, v in config.model_dump(mode="json").items()})
        yield accelerator
    finally:
        if config.tracker:
            for tracker in accelerator.trackers:
                tracker.finish()
        if fresh and accelerator.num_processes == 1:
            AcceleratorState._reset_state(reset_partial_state=True)


def _copied(network: Network) -> Tensors:
    return {name: value.detach().to("cpu", torch.float32, copy=True) for name, value in network.state_dict().items()}


def _critics(config: Vec2VecConfig, shape: NetworkConfig, widths: Sequence[int], seed: Sequence[int]) -> Critics:
    """The critics that have a weight, from a seed."""
    with seeded(mixed(*seed, 7)):
        return Critics(
            widths,
            shape.latent,
            width=config.critic_width,
            depth=config.critic_depth,
            norm=config.critic_norm,
            extra=config.relations,
            outputs=config.adversarial > 0,
            latents=config.latent_critics if config.latent_adversarial else "none",
        )


def _stacked(group: tuple[Any, ...]) -> Any:
    """Tuples of tensors, the same of each run, as one of tensors with a leading dimension for the runs."""
    if isinstance(group[0], torch.Tensor):
        return torch.stack(group)
    return tuple(_stacked(entries) for entries in zip(*group, strict=True))


def _by_run(runs: Sequence[int], losses: Losses) -> dict[int, dict[str, float]]:
    """The losses of a lane's step, of each run by name."""
    values = {name: value.reshape(-1).tolist() for name, value in losses.items()}
    return {run: {name: column[i] for name, column in values.items()} for i, run in enumerate(runs)}


def _all(side: Rows) -> torch.Tensor:
    return draw(side, len(side), 0, (0,))


def _native(side: Rows, device: torch.device) -> Native:
    mean, radius = torch.from_numpy(side.preprocessor.mean).to(device), side.preprocessor.radius
    bare = Native(mean, radius)
    rows = bare.unit(draw(side, 2 * PROBE_ROWS, 0, (5,)).to(device))
    return Native(mean, radius, float((rows[::2] @ rows[1::2].mT).std()))


def mixed(*numbers: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
