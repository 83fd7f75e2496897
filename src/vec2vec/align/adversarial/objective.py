"""What is minimised: the networks with their losses on one batch, nothing computed twice.

`Objective.generate` is the generator's side of a step, `Objective.criticise` the critics'. Every vector is encoded once
and decoded into every space in one pass, and what was translated is encoded and brought back once; the similarities of
native rows serve both VSP losses, and the critics see the translations that the generator's side has made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.critics import Shown, critic_losses, generator_losses, to_show
from vec2vec.align.adversarial.losses import (
    cycle_loss,
    matching_loss,
    reconstruction_loss,
    similarities,
    stay_loss,
    transport_plan,
    vsp_loss,
)
from vec2vec.align.whitening import unit
from vec2vec.networks import Critics, Network

Losses = dict[str, torch.Tensor]
GENERATOR_LOSSES = (
    "adversarial",
    "latent_adversarial",
    "reconstruction",
    "cycle",
    "vsp",
    "vsp_across",
    "matching",
    "stay",
)


class Batch(NamedTuple):
    """What a step is computed on.

    Attributes
    ----------
    rows : (b, d_i) of each space, z
    pools : (m, d_i) native rows of each space to be searched, z; empty without matching
    plans : (b, m) rows of transport plans, for each pair of `pairs_of`; empty without a linear start
    started : (b, d_t) translations of the rows by the linear start, for each pair of `pairs_of`; empty without one
    relations : (b, q) of each space's rows, which the critics are shown; empty without them
    known, pool_known : (b, q) of each space's rows, (m, q) of its pool: what is known at first, and can be compared
        across spaces; empty with plans
    stage : two numbers: trust, 0 to 1, how far matching goes by the translations, not by what is known at first; and
        heat, by which its temperatures are multiplied; empty with plans
    noise : see `critics.to_show`
    """

    rows: tuple[torch.Tensor, ...]
    pools: tuple[torch.Tensor, ...] = ()
    plans: tuple[torch.Tensor, ...] = ()
    started: tuple[torch.Tensor, ...] = ()
    relations: tuple[torch.Tensor, ...] = ()
    known: tuple[torch.Tensor, ...] = ()
    pool_known: tuple[torch.Tensor, ...] = ()
    stage: tuple[torch.Tensor, ...] = ()
    noise: tuple[tuple[torch.Tensor, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Native:
    """Where native vectors of a space lie: x = mean + radius z.

    Attributes
    ----------
    mean : (d,) tensor
    radius : number
    spread : standard deviation of the cosines of native vectors, the unit of the search's temperature
    """

    mean: torch.Tensor
    radius: float
    spread: float = 1.0

    def unit(self, z: torch.Tensor) -> torch.Tensor:
        """The directions of the native vectors of z, which a search by cosine goes by."""
        return unit(self.mean + self.radius * z)


def pairs_of(spaces: int) -> list[tuple[int, int]]:
    """All (source, target) of so many spaces."""
    return [(s, t) for s in range(spaces) for t in range(spaces) if s != t]


class Objective(nn.Module):
    """The network, its critics, and what they minimise.

    Parameters
    ----------
    network, critics : as built
    natives : of each space, for the search of the matching loss
    config : weights and kinds of the losses
    """

    def __init__(self, network: Network, critics: Critics, natives: Sequence[Native], config: Vec2VecConfig) -> None:
        super().__init__()
        self.network, self.critics = network, critics
        self.natives, self.config = tuple(natives), config
        self.stacked = False  # whether it is called for several networks at once (`restarts.Stack`)

    def forward(self, side: str, *inputs: Any) -> Any:
        """`generate` or `criticise`, by name: functional calls go through `forward`."""
        return getattr(self, side)(*inputs)

    def generate(self, batch: Batch) -> tuple[Losses, Shown]:
        """The losses of the generator by name, unweighted, and what the critics are to be shown."""
        c, rows, network = self.config, batch.rows, self.network
        count = len(rows)
        latents = network.encode_all(rows)
        everything = torch.cat(latents)
        sizes = [len(x) for x in rows]
        decoded = [torch.split(network.decode(everything, t), sizes) for t in range(count)]  # [target][source]
        losses: Losses = {}
        if c.reconstruction:
            losses["reconstruction"] = _mean(reconstruction_loss(rows[i], decoded[i][i]) for i in range(count))
        into = [torch.cat([decoded[t][s] for s in range(count) if s != t]) for t in range(count)]
        if c.cycle:
            losses["cycle"] = self._cycle(rows, into)
        if c.vsp or c.vsp_across:
            native = [similarities(x) for x in rows]
            if c.vsp:
                losses["vsp"] = _mean(vsp_loss(native[i], similarities(decoded[i][i])) for i in range(count))
            if c.vsp_across:
                losses["vsp_across"] = _mean(
                    vsp_loss(native[s], similarities(decoded[t][s])) for s, t in pairs_of(count)
                )
        if batch.pools:
            plans = batch.plans or [self.plan(decoded[t][s], batch, s, t) for s, t in pairs_of(count)]
            losses["matching"] = _mean(
                self.matching(decoded[t][s], batch.pools[t], plan, t, *batch.stage[1:])
                for (s, t), plan in zip(pairs_of(count), plans, strict=True)
            )
        if batch.started:
            losses["stay"] = _mean(
                stay_loss(decoded[t][s], there) for (s, t), there in zip(pairs_of(count), batch.started, strict=True)
            )
        shown = to_show(self.critics, rows, into, latents, batch.relations, batch.noise)
        losses |= generator_losses(self.critics, shown, c.kind)
        return losses, shown.detached()

    def criticise(self, shown: Shown, r1: bool) -> Losses:
        """The losses of the critics by name."""
        return critic_losses(
            self.critics, shown, self.config.kind, smoothing=self.config.smoothing, r1=r1, stacked=self.stacked
        )

    def matching(
        self,
        translated: torch.Tensor,
        pool: torch.Tensor,
        plan: torch.Tensor,
        target: int,
        heat: torch.Tensor | float = 1.0,
    ) -> torch.Tensor:
        """The matching loss of translations z (b, d) into a space among native rows z (m, d) of it."""
        native = self.natives[target]
        similarity = native.unit(translated) @ native.unit(pool).mT
        return matching_loss(plan, similarity, heat * self.config.search_temperature * native.spread)

    def plan(self, translated: torch.Tensor, batch: Batch, source: int, target: int) -> torch.Tensor:
        """The transport of translations onto a pool where there is no linear start to go by.

        At first rows are matched by what is known of them, a guess by clusters or their relations; then, more and more,
        by their translations. Meanwhile the temperature falls: a cold plan would hold on to what was matched wrongly.
        """
        c, (trust, heat) = self.config, batch.stage
        known = -_distances(batch.known[source], batch.pool_known[target])
        near = unit(translated.detach()) @ batch.pools[target].mT
        similarity = trust * near / near.std() + (1.0 - trust) * known / known.std()
        return transport_plan(similarity, heat * c.matching_temperature, c.balancing)

    def weights(self) -> dict[str, float]:
        """Of the generator's losses."""
        return {name: getattr(self.config, name) for name in GENERATOR_LOSSES}

    def _cycle(self, rows: Sequence[torch.Tensor], into: Sequence[torch.Tensor]) -> torch.Tensor:
        """Back from every space that rows were translated into."""
        count, b = len(rows), len(rows[0])
        again = [torch.split(latent, b) for latent in self.network.encode_all(into)]  # [target][source other than it]
        terms = []
        for s in range(count):
            latents = [again[t][s if s < t else s - 1] for t in range(count) if t != s]
            returned = self.network.decode(torch.cat(latents), s)
            terms.append(cycle_loss(rows[s].repeat(count - 1, 1), returned))
        return _mean(terms)


def plans_for(
    rows: Sequence[torch.Tensor],
    pools: Sequence[torch.Tensor],
    starts: Sequence[tuple[torch.Tensor, torch.Tensor]],
    config: Vec2VecConfig,
) -> tuple[torch.Tensor, ...]:
    """The transport of rows onto the pools of other spaces in the latent of the linear start, for each of `pairs_of`.

    Parameters
    ----------
    rows, pools : (b, d_i) and (m, d_i) of each space, z
    starts : basis (d_i, k) and decode (k, d_i) of each space
    """
    queries, natives = ([unit(z @ basis) for z, (basis, _) in zip(side, starts, strict=True)] for side in (rows, pools))
    return tuple(
        transport_plan(queries[s] @ natives[t].mT, config.matching_temperature, config.balancing)
        for s, t in pairs_of(len(rows))
    )


def started_from(
    rows: Sequence[torch.Tensor], starts: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[torch.Tensor, ...]:
    """The translations of rows by the linear start, for each of `pairs_of`; see `plans_for`."""
    latents = [z @ basis for z, (basis, _) in zip(rows, starts, strict=True)]
    return tuple(latents[s] @ starts[t][1] for s, t in pairs_of(len(rows)))


def _distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(n, m) distances of rows."""
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2.0 * x @ y.mT
    return squares.clamp_min(0.0).sqrt()


def _mean(terms: Any) -> torch.Tensor:
    return torch.stack(list(terms)).mean()
