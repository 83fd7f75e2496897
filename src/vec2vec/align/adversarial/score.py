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
from vec2vec.align.judge import consistency
from vec2vec.align.sinkhorn import transport
from vec2vec.align.whitening import unit
from vec2vec.networks import Network

TEMPERATURE, BALANCING = 0.15, 20  # of the transport of translations onto native rows
LOYALTY = 0.8  # of a network's translations to its linear start's: how many find one another


@dataclass(frozen=True)
class Score:
    """What is known of a network at a check.

    Attributes
    ----------
    value : closeness times geometry, the mean over all directions: 1 is perfect
    closeness : mean cosine of translations to the barycentres of their transport onto native rows
    geometry : correlation of the similarities among translations with those among their originals
    matching : held-out matching loss by the linear start, of each direction; empty without one
    loyalty : share of translations that find those of the linear start, and are found; 1 without one
    """

    value: float
    closeness: float
    geometry: float
    matching: tuple[float, ...] = ()
    loyalty: float = 1.0

    def better_than(self, start: Score) -> bool:
        """Whether a trained network is allowed to take the place of its linear start.

        In every direction a search has to find more surely what the transport finds, while translations stay near
        enough to the start's that the same texts are found by them.
        """
        gains = [before - now for before, now in zip(start.matching, self.matching, strict=True)]
        return bool(gains) and min(gains) > 0.0 and self.loyalty >= LOYALTY


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
    closeness, geometry, matching, loyalty = [], [], [], []
    # half of the rows are translated and the other half searched, so that no row can meet a copy of its own text
    plans = plans_for([x[::2] for x in held], [x[1::2] for x in held], starts, config) if starts else ()
    for i, (s, t) in enumerate(pairs_of(len(held))):
        translated = network.decode(latents[s], t)
        closeness.append(transport(unit(translated), held[t], TEMPERATURE, BALANCING)[1])
        geometry.append(correlation(similar[s], similarities(translated[:1024])))
        if starts:
            found, pool = natives[t].unit(translated[::2]), natives[t].unit(held[t][1::2])
            matching.append(float(matching_loss(plans[i], found @ pool.mT, config.search_temperature)))
            linear = held[s] @ starts[s][0] @ starts[t][1]
            loyalty.append(consistency(natives[t].unit(translated), natives[t].unit(linear)))
    close, like = sum(closeness) / len(closeness), sum(geometry) / len(geometry)
    return Score(close * like, close, like, tuple(matching), min(loyalty, default=1.0))


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Pearson's correlation of two (n, n) matrices off their diagonals."""
    off = ~torch.eye(len(one), dtype=torch.bool, device=one.device)
    return float(torch.corrcoef(torch.stack([one[off], other[off]]))[0, 1])
