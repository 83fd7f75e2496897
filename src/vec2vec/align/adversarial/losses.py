"""The losses of vec2vec (arXiv 2505.12540, section 3), each a function of tensors alone.

x is a batch of native rows z (n, d), D(x) the logits (n, 1) of a critic; every loss is a mean over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

from vec2vec.align.whitening import unit

Adversarial = Literal["least-squares", "non-saturating", "relativistic"]
MIN_EXPONENT = -80.0  # exp of less is zero in float32


def reconstruction_loss(x: torch.Tensor, reconstructed: torch.Tensor) -> torch.Tensor:
    """L_rec = E |R(x) - x|². Zero where the two are equal."""
    return (reconstructed - x).square().sum(dim=-1).mean()


def cycle_loss(x: torch.Tensor, returned: torch.Tensor) -> torch.Tensor:
    """L_CC = E |F2(F1(x)) - x|². The gradient goes through both passes."""
    return reconstruction_loss(x, returned)


def similarities(x: torch.Tensor) -> torch.Tensor:
    """The (n, n) cosines of the rows of x (n, d)."""
    x = unit(x)
    return x @ x.mT


def vsp_loss(similarity: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """L_VSP = (1/n) Σ_i Σ_j (x_i·x_j - y_i·y_j)²: vector-space preservation.

    Parameters
    ----------
    similarity : (n, n) cosines of the originals
    other : (n, n) cosines of their reconstructions (within a space) or translations (across)
    """
    return (similarity - other).square().sum(dim=-1).mean()


def critic_loss(real: torch.Tensor, fake: torch.Tensor, kind: Adversarial, smoothing: float = 0.0) -> torch.Tensor:
    """What a critic minimises.

    least-squares (Mao et al. 2017): ½ E (D(real) - 1 + s)² + ½ E D(fake)²
    non-saturating (Goodfellow et al. 2014): E softplus(-D(real)) (1 - s) + E softplus(D(real)) s + E softplus(D(fake))
    relativistic (Jolicoeur-Martineau 2019, paired): E softplus(D(fake) - D(real))

    Parameters
    ----------
    real, fake : logits of native rows and of translations; relativistic pairs them off, as many as there are of both
    kind : which
    smoothing : s, the label of a native row is 1 - s; relativistic has no labels
    """
    if kind == "least-squares":
        return 0.5 * (real - 1.0 + smoothing).square().mean() + 0.5 * fake.square().mean()
    if kind == "non-saturating":
        native = (1.0 - smoothing) * functional.softplus(-real) + smoothing * functional.softplus(real)
        return native.mean() + functional.softplus(fake).mean()
    return functional.softplus(_differences(fake, real)).mean()


def generator_loss(real: torch.Tensor | None, fake: torch.Tensor, kind: Adversarial) -> torch.Tensor:
    """What the translations minimise: to be taken for native ones.

    least-squares: ½ E (D(fake) - 1)²;  non-saturating: E softplus(-D(fake));
    relativistic: E softplus(D(real) - D(fake)), the only one that needs `real`.
    """
    if kind == "least-squares":
        return 0.5 * (fake - 1.0).square().mean()
    if kind == "non-saturating":
        return functional.softplus(-fake).mean()
    if real is None:
        raise ValueError("the relativistic loss needs the logits of native rows")
    return functional.softplus(_differences(real, fake)).mean()


def r1_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *, stacked: bool = False
) -> torch.Tensor:
    """R1 = ½ E |∇_x D(x)|² on native rows (Mescheder et al. 2018, "Which training methods for GANs do converge?").

    Parameters
    ----------
    critic : D
    x : (n, d), without a gradient
    stacked : within `torch.func.vmap`
    """
    with torch.autocast(x.device.type, enabled=False):  # a slope of a slope needs all digits
        x = x.float()
        if stacked:
            slope: torch.Tensor = torch.func.grad(lambda rows: critic(rows).sum())(x)
        else:
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return 0.5 * slope.square().sum(dim=-1).mean()


def transport_plan(similarity: torch.Tensor, temperature: torch.Tensor | float, balancing: int) -> torch.Tensor:
    """Rows of the entropic transport plan with uniform marginals (Cuturi 2013), each summing to 1.

    Parameters
    ----------
    similarity : (n, m)
    temperature : epsilon of exp(similarity / epsilon), in standard deviations of the similarities
    balancing : Sinkhorn iterations
    """
    epsilon = temperature * similarity.std()
    kernel = ((similarity - similarity.amax(dim=1, keepdim=True)) / epsilon).clamp_min(MIN_EXPONENT).exp()
    u = kernel.new_ones(len(kernel))
    for _ in range(balancing):
        v = 1.0 / (u @ kernel).clamp_min(1e-37)
        u = 1.0 / (kernel @ v).clamp_min(1e-37)
    plan = kernel * v
    return plan / plan.sum(dim=1, keepdim=True)


def matching_loss(plan: torch.Tensor, similarity: torch.Tensor, temperature: torch.Tensor | float) -> torch.Tensor:
    """L_match = KL(plan | softmax(similarity / τ)): a search by cosine should find what the transport finds.

    The plan gives every native vector the same share. A plain search does not: some natives, the hubs, are near to
    everything (Radovanović et al. 2010), so that the loss teaches translations to keep away from hubs.

    Parameters
    ----------
    plan : (n, m), rows that sum to 1
    similarity : (n, m) cosines of translations to native vectors, as a search would see them
    temperature : τ
    """
    logits = (similarity / temperature).log_softmax(dim=1)
    return (torch.xlogy(plan, plan) - plan * logits).sum(dim=1).mean()


def stay_loss(translated: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """L_stay = E |F(x)/|F(x)| - F_0(x)/|F_0(x)||²: a trained translation F stays near that of its start F_0.

    Where nothing is to be gained by the other losses, their noise moves nothing.
    """
    return reconstruction_loss(unit(start), unit(translated))


def _differences(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a - b row by row; where one has k times the rows of the other, each of its rows meets k of them."""
    n = max(len(a), len(b))
    return a.repeat(n // len(a), 1) - b.repeat(n // len(b), 1)
