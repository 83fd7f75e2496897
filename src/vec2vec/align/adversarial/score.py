"""How good is a network, without labels? The scores by which trainings are compared, and the guard of a warm start.

All of it is measured on rows that were held back from the training, unpaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vec2vec.align.adversarial.config import Vec2VecConfig
from vec2vec.align.adversarial.losses import matching_loss, similarities
from vec2vec.align.adversarial.objective import Native, pairs_of, plans_for
from vec2vec.align.rounds import transport
from vec2vec.align.whitening import unit
from vec2vec.networks import Network

TEMPERATURE, BALANCING = 0.15, 20  # of the transport of translations onto native rows
LEAST_GAIN = 0.01  # of a simulated search, for a network to take the place of its linear start


@dataclass(frozen=True)
class Score:
    """What is known of a network at a check.

    Attributes
    ----------
    value : closeness times geometry, the mean over all directions: 1 is perfect
    closeness : mean cosine of translations to the barycentres of their transport onto native rows
    geometry : correlation of the similarities among translations with those among their originals
    found : in a `Simulation`, of each direction two; empty without a linear start
    matching : held-out matching loss by the linear start, of each direction; empty without one
    """

    value: float
    closeness: float
    geometry: float
    found: tuple[float, ...] = ()
    matching: tuple[float, ...] = ()

    def better_than(self, start: Score) -> bool:
        """Whether a trained network is allowed to take the place of its linear start.

        A simulated search has to find more by it in one direction, and in none less, beyond what is chance.
        """
        gains = [now - before for before, now in zip(start.found, self.found, strict=True)]
        return bool(gains) and max(gains) > LEAST_GAIN and min(gains) > -LEAST_GAIN / 4


@torch.no_grad()
def score(
    network: Network,
    held: Sequence[torch.Tensor],
    natives: Sequence[Native],
    starts: Sequence[tuple[torch.Tensor, torch.Tensor]],
    config: Vec2VecConfig,
) -> Score:
    """Judge a network on held-out rows.

    Parameters
    ----------
    held : (n_i, d_i) of each space, z
    natives : of each space
    starts : basis and decode of each space's linear start; empty without one
    config : the matching's temperatures
    """
    latents = network.encode_all(held)
    similar = [similarities(x[:1024]) for x in held]
    closeness: list[float] = []
    geometry: list[float] = []
    matching: list[float] = []
    found: list[float] = []
    # half of the rows are translated and the other half searched, so that no row can meet a copy of its own text
    plans = plans_for([x[::2] for x in held], [x[1::2] for x in held], starts, config) if starts else ()
    for i, (s, t) in enumerate(pairs_of(len(held))):
        translated = network.decode(latents[s], t)
        closeness.append(transport(unit(translated), held[t], TEMPERATURE, BALANCING)[1])
        geometry.append(correlation(similar[s], similarities(translated[:1024])))
        if starts:
            queries, pool = natives[t].unit(translated[::2]), natives[t].unit(held[t][1::2])
            matching.append(
                float(matching_loss(plans[i], queries @ pool.mT, config.search_temperature * natives[t].spread))
            )
            forth, back = starts[s][0] @ starts[t][1], starts[t][0] @ starts[s][1]
            found.extend(Simulation(held[s], held[t], forth, back, natives[t]).found(network, s, t))
    close, like = sum(closeness) / len(closeness), sum(geometry) / len(geometry)
    return Score(close * like, close, like, tuple(found), tuple(matching))


class Simulation:
    """A search whose answers are known, for one direction: rows of the source that are made from rows of the target.

    A row y_j of the target is moved by what separates the linear start's translation of some x_i from where the
    transport puts it, times a factor, and is brought to the source by the start's way back. So it is away from its
    counterpart as real rows are from theirs, towards where translations lie. The factor is 1, where nothing may get
    lost, and that at which the start finds half of it, where there is something to gain.

    Parameters
    ----------
    x, y : (n, d_s) and (m, d_t), held-out z, unpaired
    forth, back : (d_s, d_t) and (d_t, d_s), the linear start
    native : where native vectors of the target lie
    """

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, forth: torch.Tensor, back: torch.Tensor, native: Native
    ) -> None:
        mapped = unit(x @ forth)
        moved = mapped - unit(transport(mapped, y, TEMPERATURE, BALANCING)[0])
        self.y, self.back = y, back
        self.moved = moved[torch.arange(len(y), device=y.device) % len(x)]  # rows are in random order
        self.pool = native.unit(y)
        self.native = native
        low, high = 1.0, 16.0
        for _ in range(7):
            factor = (low * high) ** 0.5
            found = self.search(self.rows(factor) @ forth)
            low, high = (factor, high) if found > 0.5 else (low, factor)
        self.factors = (1.0, factor)

    def rows(self, factor: float) -> torch.Tensor:
        """(m, d_s) unit rows of the source; row j belongs to y_j."""
        return unit((self.y + factor * self.moved) @ self.back)

    def search(self, translated: torch.Tensor) -> float:
        """Mean reciprocal rank of their counterparts, of translations (m, d_t), z, among native vectors, by cosine."""
        similarity = self.native.unit(translated) @ self.pool.mT
        ranks = (similarity > similarity.diagonal()[:, None]).sum(dim=1) + 1
        return float((1.0 / ranks).mean())

    def found(self, network: Network, source: int, target: int) -> tuple[float, float]:
        """What is found by a network, at either factor."""
        easy, hard = (self.search(network.translate(self.rows(factor), source, target)) for factor in self.factors)
        return easy, hard


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Pearson's correlation of two (n, n) matrices off their diagonals."""
    off = ~torch.eye(len(one), dtype=torch.bool, device=one.device)
    return float(torch.corrcoef(torch.stack([one[off], other[off]]))[0, 1])
