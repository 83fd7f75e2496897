"""Who is shown what: the critics' losses, and what they tell the generator.

The critic of space t sees native rows of t as real, and translations into t from every other space as fake. So it is
with latents: the critic of space t takes t's own latents for real and those of the other spaces for fake, as in the
paper; a shared one takes those of the first space for real. Rows of the output spaces are shown as unit vectors, so
that no critic can go by their length.

Beside a row, a critic may be shown its relations: where it stands among the rows of the space that it comes from, in
numbers that no isometry changes (`data.Relations`). A translation has those of its original. Without them, a critic can
only say whether a translation looks native; with them, also whether it looks like a native vector of the same standing,
so that there are far fewer wrong maps that it cannot tell from the right one. The paper has nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from vec2vec.align.adversarial.losses import Adversarial, critic_loss, generator_loss, r1_penalty
from vec2vec.align.whitening import unit
from vec2vec.networks import Critics


class Shown(NamedTuple):
    """What the critics are shown, one entry a critic; empty where there are none.

    Attributes
    ----------
    real, fake : rows of the output spaces
    real_latents, fake_latents : latents
    """

    real: tuple[torch.Tensor, ...]
    fake: tuple[torch.Tensor, ...]
    real_latents: tuple[torch.Tensor, ...]
    fake_latents: tuple[torch.Tensor, ...]

    def detached(self) -> Shown:
        return Shown(*(tuple(rows.detach() for rows in group) for group in self))


def to_show(
    critics: Critics,
    rows: Sequence[torch.Tensor],
    translations: Sequence[torch.Tensor],
    latents: Sequence[torch.Tensor],
    relations: Sequence[torch.Tensor] = (),
    noise: Sequence[Sequence[torch.Tensor]] = (),
) -> Shown:
    """What the critics see of a step.

    Parameters
    ----------
    rows : native rows of each space
    translations : into each space, from all others
    latents : of each space
    relations : of each space's rows, shown beside them and all that becomes of them; empty is none
    noise : added to it, in the order of `Shown` (instance noise: Sønderby et al. 2017); empty is none
    """
    real = tuple(map(unit, rows)) if len(critics.outputs) else ()
    fake = tuple(map(unit, translations)) if len(critics.outputs) else ()
    count = len(critics.latents)
    own = tuple(latents[:count])
    others = tuple(torch.cat([latent for j, latent in enumerate(latents) if j != i]) for i in range(count))
    shown = Shown(real, fake, own, others)
    if relations:
        elsewhere = tuple(torch.cat([r for j, r in enumerate(relations) if j != i]) for i in range(len(relations)))
        shown = Shown(*map(_beside, shown, (relations, elsewhere, relations, elsewhere)))
    if not noise:
        return shown
    return Shown(
        *(tuple(x + n for x, n in zip(group, extra, strict=True)) for group, extra in zip(shown, noise, strict=True))
    )


def generator_losses(critics: Critics, shown: Shown, kind: Adversarial) -> dict[str, torch.Tensor]:
    """By name, "adversarial" of the translations and "latent_adversarial", each a mean over its critics."""
    groups = (
        ("adversarial", critics.outputs, shown.real, shown.fake),
        ("latent_adversarial", critics.latents, shown.real_latents, shown.fake_latents),
    )
    return {name: _told(held, real, fake, kind) for name, held, real, fake in groups if len(held)}


def critic_losses(
    critics: Critics, shown: Shown, kind: Adversarial, *, smoothing: float, r1: bool, stacked: bool = False
) -> dict[str, torch.Tensor]:
    """The losses of all critics by name: "critic", "latent_critic" and, with `r1`, "r1".

    `stacked` says whether they are several networks' at once, see `r1_penalty`.
    """
    losses: dict[str, torch.Tensor] = {}
    groups = (
        ("critic", critics.outputs, shown.real, shown.fake),
        ("latent_critic", critics.latents, shown.real_latents, shown.fake_latents),
    )
    penalties = []
    for name, held, real, fake in groups:
        if not len(held):
            continue
        terms = []
        for critic, x, y in zip(held, real, fake, strict=True):
            logits = critic(torch.cat([x, y]))  # one pass for both
            terms.append(critic_loss(logits[: len(x)], logits[len(x) :], kind, smoothing))
            if r1:
                penalties.append(r1_penalty(critic, x, stacked=stacked))
        losses[name] = torch.stack(terms).sum()
    if penalties:
        losses["r1"] = torch.stack(penalties).sum()
    return losses


def _told(
    critics: nn.ModuleList, real: Sequence[torch.Tensor], fake: Sequence[torch.Tensor], kind: Adversarial
) -> torch.Tensor:
    terms = []
    for critic, x, y in zip(critics, real, fake, strict=True):
        native = critic(x) if kind == "relativistic" else None
        terms.append(generator_loss(native, critic(y), kind))
    return torch.stack(terms).mean()


def _beside(rows: Sequence[torch.Tensor], relations: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Each of the rows with its relations; there may be fewer of the former than of the latter."""
    return tuple(torch.cat([x, r], dim=1) for x, r in zip(rows, relations, strict=False))
