"""The losses: zero at the optimum, gradients of the right sign, and the equations by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vec2vec.align.adversarial.losses import (
    critic_loss,
    cycle_loss,
    generator_loss,
    matching_loss,
    r1_penalty,
    reconstruction_loss,
    similarities,
    stay_loss,
    transport_plan,
    vsp_loss,
)

KINDS = ("least-squares", "non-saturating", "relativistic")


def rows(count: int = 6, width: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("loss", [reconstruction_loss, cycle_loss])
def test_reconstruction_and_cycle(loss) -> None:
    x = rows()
    assert loss(x, x) == 0
    y = x.clone()
    y[0, 0] += 3.0
    assert float(loss(x, y)) == pytest.approx(9 / len(x))
    y.requires_grad_()
    loss(x, y).backward()
    assert y.grad[0, 0] > 0  # downhill is back to x
    assert y.grad[1:].abs().sum() == 0


def test_the_cycles_gradient_goes_through_both_passes() -> None:
    there, back = (torch.eye(4, requires_grad=True) for _ in range(2))
    cycle_loss(rows(), 2.0 * (rows() @ there) @ back).backward()
    assert there.grad.abs().sum() > 0
    torch.testing.assert_close(there.grad, back.grad)


def test_vsp() -> None:
    x = rows()
    turn = torch.linalg.qr(rows(4))[0]
    assert float(vsp_loss(similarities(x), similarities(3.0 * x @ turn))) == pytest.approx(0.0, abs=1e-10)
    a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(vsp_loss(similarities(a), similarities(b))) == pytest.approx(
        1.0
    )  # two pairs that are off by 1, two rows
    b = torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    vsp_loss(similarities(a), similarities(b)).backward()
    assert b.grad[1, 0] > 0  # downhill the second row turns away from the first


def test_stay() -> None:
    start = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert stay_loss(2.0 * start, start) == 0  # a search by cosine sees no lengths
    moved = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    loss = stay_loss(moved, start)
    assert loss.item() == pytest.approx(1.0)  # one of two rows at a right angle: |a - b|² = 2
    loss.backward()
    assert moved.grad[1, 0] < 0  # downhill the second row turns back
    assert moved.grad[0].abs().sum() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_losses_pull_apart(kind: str) -> None:
    real, fake = torch.full((4, 1), 0.3, requires_grad=True), torch.full((4, 1), 0.6, requires_grad=True)
    critic_loss(real, fake, kind).backward()
    assert (real.grad < 0).all()  # the critic raises what is real
    assert (fake.grad > 0).all()
    fake = torch.full((4, 1), 0.6, requires_grad=True)
    generator_loss(real.detach(), fake, kind).backward()
    assert (fake.grad < 0).all()  # the generator raises what it made


def test_adversarial_losses_by_their_equations() -> None:
    real, fake = torch.tensor([[0.5], [2.0]]), torch.tensor([[-1.0], [0.0]])
    assert float(critic_loss(real, fake, "least-squares")) == pytest.approx(0.5 * (0.25 + 1) / 2 + 0.5 * (1 + 0) / 2)
    assert float(generator_loss(None, fake, "least-squares")) == pytest.approx(0.5 * (4 + 1) / 2)
    softplus = [math.log(1 + math.exp(v)) for v in (-1.5, -2.0)]
    assert float(critic_loss(real, fake, "relativistic")) == pytest.approx(sum(softplus) / 2)
    zeros = torch.zeros(3, 1)
    assert float(critic_loss(zeros, zeros, "non-saturating")) == pytest.approx(2 * math.log(2))
    assert float(critic_loss(torch.ones(3, 1), zeros, "least-squares")) == 0
    assert float(critic_loss(torch.full((3, 1), 0.9), zeros, "least-squares", smoothing=0.1)) == pytest.approx(
        0, abs=1e-12
    )
    big = torch.full((3, 1), 30.0)
    assert critic_loss(big, -big, "non-saturating", smoothing=0.1) > critic_loss(
        big / 10, -big, "non-saturating", smoothing=0.1
    )
    assert float(generator_loss(big, -big, "relativistic")) == pytest.approx(60.0)
    twice = critic_loss(real, torch.cat([fake, fake]), "relativistic")  # more translations than native rows
    torch.testing.assert_close(twice, critic_loss(real, fake, "relativistic"))
    with pytest.raises(ValueError, match="native"):
        generator_loss(None, fake, "relativistic")


def test_r1_is_half_the_squared_slope() -> None:
    weight = torch.tensor([[3.0], [4.0]], requires_grad=True)
    penalty = r1_penalty(lambda x: x @ weight, rows(5, 2))
    flat = weight.detach()
    stacked = torch.func.vmap(lambda x: r1_penalty(lambda row: row @ flat, x, stacked=True))(rows(10, 2).view(2, 5, 2))
    torch.testing.assert_close(stacked, torch.full((2,), 12.5))
    assert penalty.item() == pytest.approx(12.5)
    penalty.backward()
    torch.testing.assert_close(weight.grad, weight.detach())
    assert float(r1_penalty(lambda x: 0 * x[:, :1] + 7.0, rows(5, 2))) == 0


def test_a_transport_plan_is_balanced() -> None:
    similarity = similarities(rows(40, 6))[:20, 20:]
    plan = transport_plan(similarity, 0.5, 200)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(20))
    torch.testing.assert_close(plan.sum(dim=0), torch.ones(20), atol=1e-3, rtol=1e-3)
    peaked = transport_plan(torch.eye(9), 0.05, 20)
    torch.testing.assert_close(peaked, torch.eye(9), atol=1e-4, rtol=0)


def test_matching_is_zero_where_the_search_finds_what_the_plan_says() -> None:
    similarity = rows(5, 8)
    plan = (similarity / 0.3).softmax(dim=1)
    assert float(matching_loss(plan, similarity, 0.3)) == pytest.approx(0.0, abs=1e-6)
    assert matching_loss(plan.roll(1, dims=1), similarity, 0.3) > 0.1
    similarity = torch.zeros(2, 2, requires_grad=True)
    matching_loss(torch.eye(2), similarity, 1.0).backward()
    assert (similarity.grad.diagonal() < 0).all()  # downhill the matched ones come nearer
    assert similarity.grad[0, 1] > 0
