"""The last step of a fit: a plain search should find what optimal transport finds.

The transport gives every native vector the same share. A search by cosine does not: some natives, the hubs, are near to
everything (Radovanović et al. 2010), and are found too often. So the maps out of the latent are trained, one for either
direction, until the softmax of a search's cosines is like the rows of the transport plan. They stay linear and near to
where they were, no pair is needed, and rows that were held back say whether it served: a search without hubs finds more
different natives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from vec2vec.align.whitening import Axes, unit
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import Space
from vec2vec.vectors import Float32

QUERIES, POOL = 1024, 4096  # rows of either side in a step
HELD_BACK = 2000  # rows of a side, at most a quarter, by which the result is judged
SEARCH_TEMPERATURE = 0.25  # of the search's softmax, in standard deviations of its cosines
RATE = 0.08  # of the optimiser, in root mean squares of the map
STAY = 2.0  # weight of the share of a translation that changes: where nothing is to be gained, nothing moves

Plan = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Step = Callable[[int, float], None]


class Rows(Protocol):
    """The rows of one space along its principal axes, as `vec2vec.align.rounds.Side` has them."""

    @property
    def rows(self) -> torch.Tensor: ...
    @property
    def axes(self) -> Axes: ...


@dataclass(frozen=True, eq=False)
class Searched:
    """Native vectors as a search by raw cosine sees them, without their full width.

    Attributes
    ----------
    along : (m, s), their directions along the principal axes
    height : (m,), the product of their directions with the mean
    mean_along : (s,), the mean along the axes
    mean_square : its squared norm
    radius : root mean square of their distance from the mean
    """

    along: torch.Tensor
    height: torch.Tensor
    mean_along: torch.Tensor
    mean_square: float
    radius: float

    @classmethod
    def of(cls, side: Rows, native: Preprocessor) -> Searched:
        mean = torch.from_numpy(native.mean).to(side.rows)
        mean_along, square = mean @ side.axes.directions, float(mean.square().sum())
        shortened = _inverse_length(side.rows, mean_along, square, native.radius)
        along = (mean_along + native.radius * side.rows) * shortened[:, None]
        height = (square + native.radius * (side.rows @ mean_along)) * shortened
        return cls(along, height, mean_along, square, native.radius)

    def cosines(self, z: torch.Tensor, pool: torch.Tensor) -> torch.Tensor:
        """The (b, m) cosines of translations, mean + radius z with z (b, s) along the axes, and natives by number."""
        products = self.radius * (z @ self.along[pool].T) + self.height[pool]
        return products * _inverse_length(z, self.mean_along, self.mean_square, self.radius)[:, None]


def sharper_decode(
    spaces: tuple[Space, Space],
    sides: tuple[Rows, Rows],
    plan_of: Plan,
    steps: int,
    rng: np.random.Generator,
    report: Step,
) -> Float32:
    """The second space's map out of the latent (k, d), so that a plain search serves what comes from the first.

    It is left as it was where a search of rows that were held back does not profit.

    Parameters
    ----------
    spaces : of a linear translator, the source of the direction and its target
    sides : the rows that they were fitted on
    plan_of : gives, for the numbers of b source and m target rows, the (b, m) plan of their transport; rows sum to 1
    steps : of the optimiser
    report : called after each with its number, and how much of the plan the search shares
    """
    (here, there), axes = sides, sides[1].axes
    decode = torch.from_numpy(spaces[1].decode).to(axes.directions)
    latents = here.rows @ (here.axes.directions.T @ torch.from_numpy(spaces[0].basis).to(decode))
    searched = Searched.of(there, spaces[1].preprocessor)
    fitted, held = zip(*(_divide(side.rows, rng) for side in sides), strict=True)

    first = decode @ axes.directions
    out = first.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([out], lr=RATE * float(first.square().mean().sqrt()), betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 0.5 * (1 + math.cos(math.pi * i / steps)))
    spread = latents.square().mean(dim=0)[:, None]
    scale = float((first.square() * spread).sum())
    temperature = 0.0
    for i in range(steps):
        queries, pool = _draw(fitted[0], QUERIES, rng), _draw(fitted[1], POOL, rng)
        cosines = searched.cosines(unit(latents[queries] @ out), pool)
        temperature = temperature or SEARCH_TEMPERATURE * float(cosines.detach().std())
        plan, search = plan_of(queries, pool), (cosines / temperature).log_softmax(dim=1)
        loss = -(plan * search).sum(dim=1).mean() + STAY * ((out - first).square() * spread).sum() / scale
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        schedule.step()
        report(i + 1, float(torch.minimum(plan, search.detach().exp()).sum(dim=1).mean()))

    with torch.no_grad():
        before, after = (coverage(searched.cosines(unit(latents[held[0]] @ one), held[1])) for one in (first, out))
        if after <= before:
            return spaces[1].decode
        sharper: Float32 = (out @ axes.directions.T).contiguous().cpu().numpy()
        return sharper


def coverage(cosines: torch.Tensor) -> float:
    """Share of the columns of (b, m) cosines that are some row's nearest: hubs make it low."""
    return len(torch.unique(cosines.argmax(dim=1))) / cosines.shape[1]


def _inverse_length(z: torch.Tensor, mean_along: torch.Tensor, mean_square: float, radius: float) -> torch.Tensor:
    """1 / |mean + radius z| of rows (b, s) along the axes: (b,)."""
    squares = mean_square + 2 * radius * (z @ mean_along) + radius**2 * z.square().sum(dim=1)
    return squares.clamp_min(1e-30).rsqrt()


def _divide(rows: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of the rows to train on, and of those to judge by."""
    order = torch.from_numpy(rng.permutation(len(rows))).to(rows.device)
    held = max(1, min(HELD_BACK, len(rows) // 4))
    return order[held:], order[:held]


def _draw(rows: torch.Tensor, count: int, rng: np.random.Generator) -> torch.Tensor:
    return rows[torch.from_numpy(rng.permutation(len(rows))[:count]).to(rows.device)]
