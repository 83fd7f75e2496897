"""Several trainings side by side: the parameters of K networks stacked, and one pass for all (`torch.func`).

A `Stack` holds the parameters of one network and its critics, or of K of them with a leading dimension K. With K, a
batch has that dimension too, every loss is (K,), and Adam, which works value by value, is K Adams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from vec2vec.align.adversarial.objective import Objective

Tensors = dict[str, torch.Tensor]


class Stack:
    """One objective, or several of one shape, with their parameters.

    Parameters
    ----------
    objectives : of one shape; each from a seed of its own
    runs : their numbers in the training
    device : where the parameters are
    frozen : names of parameters (of the network) that stay as they are
    """

    def __init__(
        self, objectives: Sequence[Objective], runs: Sequence[int], device: torch.device, frozen: Iterable[str] = ()
    ) -> None:
        self.module = objectives[0].to(device)
        self.stacked = self.module.stacked = len(objectives) > 1
        self.runs = list(runs)
        if self.stacked:
            gathered: list[dict[str, torch.Tensor]] = [dict(one.to(device).named_parameters()) for one in objectives]
            parameters = {name: torch.stack([one[name].detach() for one in gathered]) for name in gathered[0]}
        else:
            parameters = {name: value.detach().clone() for name, value in self.module.named_parameters()}
        fixed = {f"network.{name}" for name in frozen}
        self.fixed: Tensors = {name: value for name, value in parameters.items() if name in fixed}
        self.network: Tensors = {
            name: value.requires_grad_()
            for name, value in parameters.items()
            if name.startswith("network.") and name not in fixed
        }
        self.critics: Tensors = {
            name: value.requires_grad_() for name, value in parameters.items() if name.startswith("critics.")
        }

    def __call__(self, side: str, network: Tensors, critics: Tensors, *inputs: Any) -> Any:
        """The objective's `generate` or `criticise` with these parameters, of all runs at once."""

        def one(network: Tensors, critics: Tensors, fixed: Tensors, *inputs: Any) -> Any:
            return torch.func.functional_call(self.module, network | critics | fixed, (side, *inputs))

        if not self.stacked:
            return one(network, critics, self.fixed, *inputs)
        dims = (0, 0, 0, *(None if isinstance(x, bool) else 0 for x in inputs))
        return torch.func.vmap(one, in_dims=dims)(network, critics, self.fixed, *inputs)

    def network_tensors(self, run: int, values: Mapping[str, torch.Tensor]) -> Tensors:
        """The state of the network of a run, as `vec2vec.networks.network_from` takes it: copies, on the CPU.

        Parameters
        ----------
        run : its number
        values : the trained parameters, or their averages
        """
        found = dict(self.module.named_buffers())
        found |= {name: self.of_run(value, run) for name, value in (self.fixed | dict(values)).items()}
        start = "network."
        return {
            name[len(start) :]: value.detach().to("cpu", torch.float32, copy=True)
            for name, value in found.items()
            if name.startswith(start)
        }

    def of_run(self, value: torch.Tensor, run: int) -> torch.Tensor:
        """A run's part of a tensor, where runs are stacked; a number is of all of them."""
        return value[self.runs.index(run)] if self.stacked and value.dim() else value

    def keep(self, runs: Sequence[int], others: Sequence[Tensors]) -> torch.Tensor:
        """Go on with these runs only. `others` are tensors by name with the same leading dimension, cut alike.

        Returns
        -------
        The positions that were kept.
        """
        at = torch.tensor([self.runs.index(run) for run in runs], device=next(iter(self.network.values())).device)
        for group in (self.network, self.critics, self.fixed, *others):
            for name, value in group.items():
                group[name] = value.detach()[at].requires_grad_(value.requires_grad)
        self.runs = list(runs)
        return at


def between(first: Tensors, last: Tensors, share: float) -> Tensors:
    """The weights a share of the way from one network to another that was trained from it.

    They keep most of what was gained and lose less of what was known (Wortsman et al. 2022, "Robust fine-tuning of
    zero-shot models", arXiv 2109.01903).
    """
    return {
        name: torch.lerp(first[name].to(end), end, share) if end.is_floating_point() else end
        for name, end in last.items()
    }


def clip_gradients(parameters: Iterable[torch.Tensor], limit: float, *, stacked: bool) -> None:
    """Scale the gradients so that their norm is at most `limit`: of each run by itself, where they are stacked."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients or not limit:
        return
    if stacked:
        squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
        scale = (limit / squares.sqrt().clamp_min(1e-12)).clamp_max(1.0)
        for g in gradients:
            g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        return
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (limit / norm.clamp_min(1e-12)).clamp_max(1.0))


def hopeless(scores: Mapping[int, Sequence[float]], patience: int) -> list[int]:
    """Runs that need not go on: any with a score that is not finite, and after `patience` checks the worse half.

    The best of the odd and of the even numbers always go on, as witnesses of one another: they are trained on different
    halves of the rows.

    Parameters
    ----------
    scores : label-free, of each run, check by check
    """
    lost = [run for run, values in scores.items() if not all(map(_finite, values))]
    order = sorted((run for run in scores if run not in lost), key=lambda run: scores[run][-1], reverse=True)
    if len(order) > 2 and all(len(scores[run]) >= patience for run in order):
        best = {run % 2: run for run in reversed(order)}  # of each parity
        others = [run for run in order if run not in best.values()]
        kept = [*best.values(), *others][: max(2, (len(order) + 1) // 2)]
        lost += [run for run in order if run not in kept]
    return sorted(lost)


def _finite(x: float) -> bool:
    return x == x and abs(x) != float("inf")
