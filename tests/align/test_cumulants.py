"""Matching cumulants: the tensors, the gradient, and the rotation that is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vec2vec.align.cumulants import MODES, WEIGHTS, Cumulants, climb, gradient, polar_factors, search


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def skewed(rows: int, axes: int, generator: torch.Generator) -> torch.Tensor:
    """Independent axes, each skewed in its own way: no rotation leaves them as they are."""
    strength = torch.linspace(0.5, 1.0, axes)
    z = torch.randn(rows, axes, generator=generator)
    return z + strength * (z**2 - 1)


def rotations(count: int, axes: int, generator: torch.Generator) -> torch.Tensor:
    return polar_factors(torch.randn(count, axes, axes, generator=generator))


def fourth_of(cumulants: Cumulants) -> torch.Tensor:
    """(r, r, r, r), of the modes."""
    return torch.einsum("q,qab,qcd->abcd", cumulants.strengths, cumulants.modes, cumulants.modes)


def test_the_tensors_are_those_of_the_formula(generator):
    rows = skewed(9000, 3, generator)
    z = (rows - rows.mean(0)).double()
    c = z.T @ z / len(z)
    pairings = sum(
        torch.einsum(f"{one},{other}->abcd", c, c) for one, other in (("ab", "cd"), ("ac", "bd"), ("ad", "bc"))
    )
    third = torch.einsum("na,nb,nc->abc", z, z, z)
    fourth = torch.einsum("na,nb,nc,nd->abcd", z, z, z, z) / len(z) - pairings
    found = Cumulants.of(rows)
    for one, due in ((found.second, c), (found.third, third), (fourth_of(found), fourth)):
        torch.testing.assert_close(one.double(), due / due.norm(), atol=1e-4, rtol=0)


def test_rows_are_centred(generator):
    rows = skewed(500, 4, generator)
    one, other = Cumulants.of(rows), Cumulants.of(rows + 7.0)
    torch.testing.assert_close(fourth_of(one), fourth_of(other), atol=1e-3, rtol=0)


def test_the_strongest_modes_of_the_fourth_come_first_and_are_those_of_the_rough_one(generator):
    whole = Cumulants.of(skewed(5000, 8, generator))
    flat = whole.modes.flatten(1)
    assert len(whole.strengths) == 8 * 9 // 2  # the others, antisymmetric, have none
    torch.testing.assert_close(flat @ flat.T, torch.eye(len(flat)), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.modes, whole.modes.mT, atol=1e-5, rtol=0)
    assert (whole.strengths.abs().diff() <= 0).all()
    assert float(whole.strengths.square().sum()) == pytest.approx(1.0, abs=1e-4)
    rough = whole.roughly()
    assert torch.equal(rough.modes, whole.modes[:MODES])
    assert 0.5 < float(rough.strengths.square().sum()) < 0.9999


def test_what_is_found_is_a_maximum_of_the_whole_energy(generator):
    x, y = (Cumulants.of(skewed(2000, 7, generator)) for _ in range(2))
    found = search(x, y, starts=60, generations=1, rng=np.random.default_rng(0))
    further = climb(found.rotations, x, y)
    torch.testing.assert_close(found.energies, gradient(found.rotations, x, y)[1])
    torch.testing.assert_close(further.energies[0], found.energies[0], atol=1e-4, rtol=0)
    roughly = climb(found.rotations, x.roughly(), y.roughly())
    assert float((roughly.rotations[0] - found.rotations[0]).norm()) > 1e-3  # that one lies elsewhere


def test_the_energy_is_that_of_the_module_and_the_gradient_its_derivative(generator):
    x, y = (Cumulants.of(skewed(400, 4, generator)) for _ in range(2))
    turn = torch.randn(3, 4, 4, generator=generator, requires_grad=True)
    slope, energy = gradient(turn, x, y)
    for r, e in zip(turn.detach(), energy, strict=True):
        due = (
            WEIGHTS[0] * torch.einsum("ab,ai,bj,ij", x.second, r, r, y.second)
            + WEIGHTS[1] * torch.einsum("abc,ai,bj,ck,ijk", x.third, r, r, r, y.third)
            + WEIGHTS[2] * torch.einsum("abcd,ai,bj,ck,dl,ijkl", fourth_of(x), r, r, r, r, fourth_of(y))
        )
        torch.testing.assert_close(e.detach(), due)
    (derived,) = torch.autograd.grad(energy.sum(), turn)
    torch.testing.assert_close(slope.detach(), derived)


def test_the_energy_is_greatest_where_a_sample_lies_on_itself(generator):
    rows = skewed(2000, 4, generator)
    r = rotations(1, 4, generator)[0]
    x, y = Cumulants.of(rows), Cumulants.of(rows @ r)
    _, energy = gradient(torch.stack([r, *rotations(50, 4, generator)]), x, y)
    assert energy[0] == pytest.approx(sum(WEIGHTS), abs=1e-3)
    assert energy[0] > energy[1:].max()


def test_polar_factors(generator):
    matrices = torch.randn(5, 6, 6, generator=generator)
    u, _, vt = torch.linalg.svd(matrices)
    torch.testing.assert_close(polar_factors(matrices), u @ vt, atol=1e-4, rtol=0)


def test_polar_factors_of_a_singular_matrix_are_finite(generator):
    matrices = torch.randn(2, 5, 5, generator=generator)
    matrices[0, :, 0] = 0
    assert polar_factors(matrices).isfinite().all()


def test_a_climb_rises(generator):
    x, y = (Cumulants.of(skewed(400, 5, generator)) for _ in range(2))
    starts = rotations(20, 5, generator)
    found = climb(starts, x, y)
    assert (found.energies >= gradient(starts, x, y)[1]).all()
    eye = torch.eye(5).expand(20, 5, 5)
    torch.testing.assert_close(found.rotations @ found.rotations.mT, eye, atol=1e-5, rtol=0)


@pytest.mark.parametrize("common", [1.0, 0.6])
def test_the_rotation_of_unpaired_samples_is_found(generator, common):
    """Of which the rest is other rows: each side has some of its own, near another place."""
    axes, rows = 6, 20_000
    r = rotations(1, axes, generator)[0]
    mixing = rotations(1, axes, generator)[0] * torch.linspace(1.5, 0.8, axes)

    def side() -> torch.Tensor:
        own = int((1 - common) * rows)
        here = 0.3 * torch.randn(own, axes, generator=generator) + torch.randn(axes, generator=generator)
        return torch.cat([skewed(rows - own, axes, generator), here]) @ mixing

    found = search(
        Cumulants.of(side()), Cumulants.of(side() @ r), starts=100, generations=2, rng=np.random.default_rng(0)
    )
    assert float((found.rotations[0] * r).sum()) / axes > (0.95 if common == 1.0 else 0.7)
    assert (found.energies.diff() <= 0).all()


def test_no_maximum_is_given_twice_and_the_seed_decides(generator):
    x, y = (Cumulants.of(skewed(400, 5, generator)) for _ in range(2))
    one, other = (search(x, y, starts=30, generations=1, rng=np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one.rotations, other.rotations)
    flat = one.rotations.flatten(1)
    likeness = (flat @ flat.T / 5).fill_diagonal_(0)
    assert likeness.max() < 0.95
