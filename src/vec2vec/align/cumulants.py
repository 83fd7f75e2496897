"""A first guess without pairs: one sample's higher cumulants, turned onto the other's.

Two samples of like texts, seen by two encoders that differ by about a rotation R, have about the same cumulants K_k up
to that rotation. Along a few of the strongest principal axes, whitened or not, the energy

    E(R) = sum over k of w_k <K_k(x) turned by R, K_k(y)>,  k = 2, 3, 4, every K_k of norm 1

is large for the right R. It needs no clusters, so that it tells corpora apart from their turned selves that have none
to speak of; and being made of sums over rows, it bears rows that only one side has. It has many maxima: `search` climbs
to them from many random rotations, then from means of two that were found, disturbed.

K_4 is taken by its eigenmatrices, K_4 = sum over m of s_m M_m ⊗ M_m with (r, r) matrices M_m: the strongest dozen of
the 78 that there are in 12 axes hold nine tenths of its square, and turn in a fifth of the time. The search takes
these; the greatest maxima climb on with all of them, which decide between neighbours.

Each step of a climb is R <- polar(gradient of E + inertia R), the generalised power method (Journée et al. 2010,
arXiv 0811.4724). Cumulants as what identifies a rotation: Comon 1994, "Independent component analysis, a new concept?".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from vec2vec.align.threads import threads_for

WEIGHTS = (0.3, 1.0, 1.0)  # of the second, third and fourth cumulants
MODES = 12  # eigenmatrices of the fourth cumulant, for a search
INERTIA = 0.5
CLIMB, LAST_CLIMB = 20, 40  # steps
FINALISTS = 20  # maxima that climb on with the whole fourth cumulant
BATCH, MOST_PARTS = 200, 8  # rotations that climb together; parts of them that do so on a thread each
POPULATION = 150  # maxima that are kept from one generation to the next
SAME = 0.95  # tr(R^T S) / r of two maxima that are taken for one
DISTURBANCE = 0.5  # the Frobenius norm of noise beside a rotation's, at most
ROWS_AT_ONCE = 4096
PATIENCE, RISE = 6, 1e-4  # a search ends after so many generations without so great a rise of the energy
TINY = 1e-6  # of the greatest singular value: what is less gets no direction from a polar factor


@dataclass(frozen=True, eq=False)
class Cumulants:
    """The second, third and fourth cumulants of centred rows, each of norm 1.

    Attributes
    ----------
    second, third : tensors (r, r) and (r, r, r)
    strengths, modes : of the fourth, (q,) and (q, r, r), the strongest first: sum over m of s_m M_m ⊗ M_m
    """

    second: torch.Tensor
    third: torch.Tensor
    strengths: torch.Tensor
    modes: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor) -> Cumulants:
        """Of a sample (n, r).

        K_4 is E[z z z z], less the three pairings of the covariance, which are all that normal rows would have of it.
        """
        z = rows - rows.mean(dim=0)
        n, r = z.shape
        second = z.T @ z / n
        third, fourth = z.new_zeros(r, r * r), z.new_zeros(r * r, r * r)
        for part in torch.split(z, ROWS_AT_ONCE):
            squares = (part[:, :, None] * part[:, None, :]).flatten(1)
            third += part.T @ squares / n
            fourth += squares.T @ squares / n
        pairing = second[:, :, None, None] * second
        pairings = pairing + pairing.transpose(1, 2) + pairing.transpose(1, 3)
        strengths, modes = torch.linalg.eigh((fourth - pairings.reshape(r * r, r * r)).double())
        strongest = strengths.abs().argsort(descending=True)[: r * (r + 1) // 2]
        return cls(
            second / second.norm().clamp_min(1e-30),
            (third / third.norm().clamp_min(1e-30)).view(r, r, r),
            (strengths[strongest] / strengths.norm().clamp_min(1e-30)).to(z),
            modes[:, strongest].T.reshape(-1, r, r).to(z),
        )

    def roughly(self) -> Cumulants:
        """The same, of the fourth the strongest `MODES` at most."""
        return replace(self, strengths=self.strengths[:MODES], modes=self.modes[:MODES])


@dataclass(frozen=True, eq=False)
class Found:
    """Rotations (p, r, r) from the first side's axes to the second's, by falling energy (p,)."""

    rotations: torch.Tensor
    energies: torch.Tensor


def search(x: Cumulants, y: Cumulants, *, starts: int, generations: int, rng: np.random.Generator) -> Found:
    """The greatest maxima of the energy that were come upon, none of them twice.

    Parameters
    ----------
    x, y : cumulants of both sides, along as many axes
    starts : random rotations to climb from
    generations : how often, at most, `BATCH` means of two maxima are climbed from
    rng : decides all of them
    """
    r = len(x.second)
    rough = x.roughly(), y.roughly()
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))

    def noise(count: int) -> torch.Tensor:
        return torch.randn(count, r, r, generator=generator)

    parts = min(torch.get_num_threads(), MOST_PARTS)
    with threads_for(parts, x.second.device, 1) as submit:

        def climbed(rotations: torch.Tensor) -> Found:
            coming = [submit(climb, part, *rough) for part in rotations.chunk(parts)]
            return _together([one.result() for one in coming])

        batches = [climbed(polar_factors(noise(min(BATCH, starts - i)))) for i in range(0, starts, BATCH)]
        found = _distinct(batches)
        highest, best = 0, float("-inf")
        for number in range(generations):
            if float(found.energies[0]) > best + RISE:
                highest, best = number, float(found.energies[0])
            elif number - highest >= PATIENCE:
                break
            one, other = (
                found.rotations[torch.randint(len(found.rotations), (BATCH,), generator=generator)] for _ in range(2)
            )
            share, size = (torch.rand(BATCH, 1, 1, generator=generator) for _ in range(2))
            mean = torch.lerp(one, other, 0.3 + 0.4 * share)
            children = polar_factors(mean + DISTURBANCE / r**0.5 * size * noise(BATCH))
            found = _distinct([found, climbed(children)])
        return _distinct([climb(found.rotations[:FINALISTS], x, y, LAST_CLIMB)])


def climb(rotations: torch.Tensor, x: Cumulants, y: Cumulants, steps: int = CLIMB) -> Found:
    """The maxima above rotations (p, r, r), in the same order, with their energies."""
    r = rotations.shape[-1]
    for _ in range(steps):
        slope = gradient(rotations, x, y)[0]
        size = torch.linalg.matrix_norm(slope, keepdim=True) / r**0.5
        rotations = polar_factors(slope + INERTIA * size * rotations)
    return Found(rotations, gradient(rotations, x, y)[1])


def gradient(rotations: torch.Tensor, x: Cumulants, y: Cumulants) -> tuple[torch.Tensor, torch.Tensor]:
    """The derivative (p, r, r) of the energy at rotations (p, r, r), and the energy (p,)."""
    slope, energy = _of_fourths(rotations, x, y)
    slope, energy = WEIGHTS[2] * slope, WEIGHTS[2] * energy
    for weight, one, other in zip(WEIGHTS, (x.second, x.third), (y.second, y.third), strict=False):
        product = _turned_but_one(one, rotations) @ other.flatten(1).T
        slope += weight * one.ndim * product
        energy += weight * (product * rotations).sum(dim=(1, 2))
    return slope, energy


def _of_fourths(rotations: torch.Tensor, x: Cumulants, y: Cumulants) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of sum over m, n of s_m t_n <R^T M_m R, N_n>², the overlap of the fourth cumulants."""
    p, r = len(rotations), rotations.shape[-1]
    q, targets = len(x.modes), y.modes.flatten(1)
    half = (x.modes.reshape(q * r, r) @ rotations).view(p, q, r, r).transpose(1, 2).reshape(p, r, q * r)  # M_m R
    turned = (rotations.mT @ half).view(p, r, q, r).transpose(1, 2).reshape(p * q, r * r)
    overlaps = (turned @ targets.T).view(p, q, -1)
    weighted = x.strengths[:, None] * y.strengths * overlaps
    pulls = (weighted.view(p * q, -1) @ targets).view(p, q * r, r)
    return 4.0 * half @ pulls, (weighted * overlaps).sum(dim=(1, 2))


def _turned_but_one(tensor: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """(p, r, r^(k-1)): a symmetric tensor of order k, turned by each rotation along all its sides but the first."""
    p, r = len(rotations), rotations.shape[-1]
    turned = tensor.reshape(1, r, -1).expand(p, -1, -1)
    for _ in range(tensor.ndim - 1):  # the first side is turned and becomes the last
        turned = (turned.mT @ rotations).reshape(p, r, -1)
    return turned


def polar_factors(matrices: torch.Tensor) -> torch.Tensor:
    """The orthogonal matrices nearest to square ones (p, r, r): M (M^T M)^(-1/2)."""
    matrices = matrices.double()
    values, vectors = torch.linalg.eigh(matrices.mT @ matrices)
    roots = values.clamp_min(TINY**2 * values[:, -1:]).rsqrt()
    near: torch.Tensor = matrices @ ((vectors * roots[:, None, :]) @ vectors.mT)
    for _ in range(2):  # Newton-Schulz, for what the clamp and the squaring cost
        near = 1.5 * near - 0.5 * near @ (near.mT @ near)
    return near.float()


def _distinct(found: list[Found]) -> Found:
    """The best of all that were found, of those that are nearly the same only one."""
    every = _together(found)
    order = torch.argsort(every.energies, descending=True, stable=True)
    rotations, energies = every.rotations[order], every.energies[order]
    flat = rotations.flatten(1)
    likeness = flat @ flat.T / rotations.shape[-1]
    kept: list[int] = []
    for i, row in enumerate(likeness.numpy()):
        if not kept or row[kept].max() < SAME:
            kept.append(i)
        if len(kept) == POPULATION:
            break
    return Found(rotations[kept], energies[kept])


def _together(found: list[Found]) -> Found:
    return Found(torch.cat([one.rotations for one in found]), torch.cat([one.energies for one in found]))
