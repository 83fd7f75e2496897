"""The networks of a training, divided into lanes: each has its parameters, their optimisers, and a thread of its own.

On a GPU, in several processes, and on one thread, all are in one lane, in one pass over stacked parameters. On several
threads of a CPU every network has its own: two networks on a thread each take less time than both on two threads, one
after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.objective import Batch, Losses, Objective
from vec2vec.align.adversarial.restarts import Stack, Tensors, clip_gradients

Reduce = Callable[[torch.Tensor], torch.Tensor]


def divide(runs: int, device: torch.device, processes: int) -> list[list[int]]:
    """Which networks, by number, share a lane.

    Parameters
    ----------
    runs : how many there are
    device, processes : of the training
    """
    every = list(range(runs))
    apart = device.type == "cpu" and processes == 1 and torch.get_num_threads() > 1
    return [[run] for run in every] if apart else [every]


class Lane:
    """One network or several of one shape, with their critics and what trains them.

    Parameters
    ----------
    objectives : of one shape; each from a seed of its own
    runs : their numbers in the training
    config : the settings
    device : where the parameters are
    shortcuts : names of the linear maps that go at a rate of their own
    frozen : names of parameters of the network that are not trained
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        runs: Sequence[int],
        config: Vec2VecConfig,
        device: torch.device,
        shortcuts: Sequence[str],
        frozen: Sequence[str],
    ) -> None:
        self.config, self.device = config, device
        self.stack = Stack(objectives, runs, device, frozen)
        self.generator = adam(self.stack.network, config.rate, config, shortcuts)
        self.critic = adam(self.stack.critics, config.critic_rate, config) if self.stack.critics else None
        self.averaged: Tensors = {}
        if config.ema:
            self.averaged = {name: value.detach().clone() for name, value in self.stack.network.items()}

    @property
    def values(self) -> Tensors:
        """The parameters of the networks that count: the averaged ones, if there are any."""
        return self.averaged or self.stack.network

    def take_step(self, batch: Batch, step: int, reduce: Reduce | None) -> Losses:
        """One step with the generator, then one with the critics on the same translations. The losses, unweighted."""
        c, stack = self.config, self.stack
        self.set_rates(step)
        with self.autocast():
            losses, shown = stack("generate", stack.network, _still(stack.critics), batch)
        weights = stack.module.weights()
        total = sum(
            (weights[name] * value.sum() for name, value in losses.items()), torch.zeros((), device=self.device)
        )
        self.update(self.generator, stack.network, total, reduce)
        if self.averaged:
            torch._foreach_lerp_(
                list(self.averaged.values()), [p.detach() for p in stack.network.values()], 1.0 - c.ema
            )
        if self.critic is not None:
            r1 = c.r1 > 0 and step % c.r1_every == 0
            with self.autocast():
                told = stack("criticise", _still(stack.network), stack.critics, shown, r1)
            weight = {"r1": c.r1 * c.r1_every}  # rarely, and so much stronger: Karras et al. 2020
            total = sum((weight.get(name, 1.0) * value.sum() for name, value in told.items()), torch.zeros_like(total))
            self.update(self.critic, stack.critics, total, reduce)
            losses = losses | told
        return {name: value.detach() for name, value in losses.items()}

    def update(
        self, optimizer: torch.optim.Optimizer, parameters: Tensors, loss: torch.Tensor, reduce: Reduce | None
    ) -> None:
        """One step of an optimiser: gradients, their mean over the processes, clipping, Adam."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        held = [p for p in parameters.values() if p.grad is not None]
        if reduce is not None:
            mean = reduce(torch.cat([p.grad.flatten() for p in held if p.grad is not None]))
            for p, grad in zip(held, torch.split(mean, [p.numel() for p in held]), strict=True):
                p.grad = grad.view_as(p)
        clip_gradients(held, self.config.clip, stacked=self.stack.stacked)
        optimizer.step()

    def set_rates(self, step: int) -> None:
        """Warm-up, and the fall to zero."""
        c = self.config
        share = min(1.0, (step + 1) / max(1, c.warmup))
        if c.decay and step >= c.warmup:
            share = 0.5 * (1.0 + math.cos(math.pi * (step - c.warmup) / max(1, c.steps - c.warmup)))
        for optimizer, _ in self.optimizers():
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * share

    def autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def is_finite(self) -> bool:
        """Whether every parameter is: a step with finite losses may still leave one that is not."""
        held = [*self.stack.network.values(), *self.stack.critics.values()]
        return bool(torch.stack([value.detach().isfinite().all() for value in held]).all())

    def optimizers(self) -> list[tuple[torch.optim.Optimizer, Tensors]]:
        """Each with its parameters by name."""
        both = ((self.generator, self.stack.network), (self.critic, self.stack.critics))
        return [(optimizer, group) for optimizer, group in both if optimizer is not None]

    def drop(self, lost: Sequence[int]) -> None:
        """Go on without these runs; some are left."""
        kept = [run for run in self.stack.runs if run not in lost]
        if kept == self.stack.runs:
            return
        states = [_state_by_name(optimizer, group) for optimizer, group in self.optimizers()]
        names = [_names_by_group(optimizer, group) for optimizer, group in self.optimizers()]
        at = self.stack.keep(kept, [self.averaged])
        for (optimizer, group), state, parts in zip(self.optimizers(), states, names, strict=True):
            for held, part in zip(optimizer.param_groups, parts, strict=True):
                held["params"] = [group[name] for name in part]
            optimizer.state.clear()
            for name, value in state.items():
                optimizer.state[group[name]] = {k: v[at] if v.dim() else v for k, v in value.items()}

    # --- its state, run by run: whichever lanes go on from it --------------------------------------------------------

    def state(self) -> Tensors:
        """All that a step depends on, by the number of the run and a name."""
        found: Tensors = {}
        for kind, values in self._kinds():
            for name, value in values.items():
                for run in self.stack.runs:
                    found[f"{run}.{kind}.{name}"] = self.stack.of_run(value, run)
        return found

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put the lane into the state of these tensors, as `state` gives them."""

        def of(kind: str, name: str) -> torch.Tensor:
            values = [tensors[f"{run}.{kind}.{name}"] for run in self.stack.runs]
            return torch.stack(values) if self.stack.stacked else values[0]

        with torch.no_grad():
            for name, value in self.averaged.items():
                value.copy_(of("averaged", name))
            if not self.stack.stacked:
                for name, value in self.stack.module.named_buffers():
                    value.copy_(of("buffer", name))
            for kind, (optimizer, group) in zip(("network", "critics"), self.optimizers(), strict=False):
                for name, value in group.items():
                    value.copy_(of(kind, name))
                    if f"{self.stack.runs[0]}.{kind}.step.{name}" not in tensors:
                        continue
                    moments = {key: of(f"{kind}.{key}", name).to(value.device) for key in ("exp_avg", "exp_avg_sq")}
                    steps = tensors[f"{self.stack.runs[0]}.{kind}.step.{name}"].to(value.device)
                    optimizer.state[value] = {"step": steps, **moments}

    def _kinds(self) -> list[tuple[str, Mapping[str, torch.Tensor]]]:
        buffers = {} if self.stack.stacked else dict(self.stack.module.named_buffers())
        found: list[tuple[str, Mapping[str, torch.Tensor]]] = [("averaged", self.averaged), ("buffer", buffers)]
        for kind, (optimizer, group) in zip(("network", "critics"), self.optimizers(), strict=False):
            found.append((kind, group))
            for key in ("step", "exp_avg", "exp_avg_sq"):
                moments = {
                    name: optimizer.state[value][key] for name, value in group.items() if value in optimizer.state
                }
                found.append((f"{kind}.{key}", moments))
        return found


def adam(parameters: Tensors, rate: float, config: Vec2VecConfig, shortcuts: Sequence[str] = ()) -> torch.optim.Adam:
    """Adam, with a rate of their own for the parameters of these names."""
    names = [name for name in parameters if name in shortcuts]
    groups = [{"params": [value for name, value in parameters.items() if name not in names], "rate": rate}]
    for name in names:
        size = float(parameters[name].detach().square().mean().sqrt())
        groups.append({"params": [parameters[name]], "rate": config.shortcut_rate * size})
    held = [group for group in groups if group["params"]]
    return torch.optim.Adam(held, lr=rate, betas=(config.beta1, config.beta2), fused=True)


def _state_by_name(optimizer: torch.optim.Optimizer, parameters: Tensors) -> dict[str, dict[str, torch.Tensor]]:
    return {name: optimizer.state[value] for name, value in parameters.items() if value in optimizer.state}


def _names_by_group(optimizer: torch.optim.Optimizer, parameters: Tensors) -> list[list[str]]:
    names = {id(value): name for name, value in parameters.items()}
    return [[names[id(value)] for value in group["params"]] for group in optimizer.param_groups]


def _still(parameters: Tensors) -> Tensors:
    """The same values, without gradients."""
    return {name: value.detach() for name, value in parameters.items()}
