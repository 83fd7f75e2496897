"""Networks: shapes for every option, and the linear start."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vec2vec.errors import ArtifactError, InputError
from vec2vec.networks import (
    MLP,
    MOST_WIDTH,
    Critics,
    Network,
    NetworkConfig,
    carry,
    empty_network,
    network_from,
    seeded,
)
from vec2vec.preprocess import Preprocessor
from vec2vec.translator import NetworkSpace, Space, Translator

WIDTHS = (6, 9, 4)


def network(**options: object) -> Network:
    with seeded(0):
        return Network(NetworkConfig(**{"latent": 5, "width": 7} | options), WIDTHS)


def rows(width: int, count: int = 8) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(width))


OPTIONS = list(itertools.product(["layer", "batch", "none"], ["linear", "pad"], [1, 3], [1, 4], [3, 7, 20]))


@pytest.mark.parametrize(("norm", "shortcut", "adapter", "backbone", "width"), OPTIONS)
def test_shapes_for_every_option(norm: str, shortcut: str, adapter: int, backbone: int, width: int) -> None:
    held = network(norm=norm, shortcut=shortcut, adapter_depth=adapter, backbone_depth=backbone, width=width)
    for s, t in itertools.product(range(3), range(3)):
        assert held.translate(rows(WIDTHS[s]), s, t).shape == (8, WIDTHS[t])
    latents = held.encode_all([rows(w) for w in WIDTHS])
    assert [tuple(x.shape) for x in latents] == [(8, 5)] * 3
    held.eval()
    for i, (together, w) in enumerate(zip(held.encode_all([rows(w) for w in WIDTHS]), WIDTHS, strict=True)):
        torch.testing.assert_close(together, held.encode(rows(w), i), atol=1e-4, rtol=1e-4)


def test_the_papers_names() -> None:
    held = network()
    x, y = rows(6), rows(9)
    torch.testing.assert_close(held.F1(x), held.decode(held.encode(x, 0), 1))
    torch.testing.assert_close(held.F2(y), held.decode(held.encode(y, 1), 0))
    torch.testing.assert_close(held.R1(x), held.reconstruct(x, 0))
    torch.testing.assert_close(held.R2(y), held.reconstruct(y, 1))


def test_residual_widths_that_shrink_and_grow() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert carry(x, 5).tolist() == [[1.0, 2.0, 3.0, 0.0, 0.0]]
    assert carry(x, 2).tolist() == [[1.0, 2.0]]
    for width, expected in ((5, [1.0, 2.0, 3.0, 0.0]), (2, [1.0, 2.0, 0.0, 0.0])):
        mlp = MLP(3, 4, width=width, depth=3, norm="none", shortcut="pad")
        with torch.no_grad():
            for parameter in mlp.parameters():
                parameter.zero_()
        assert mlp(x).tolist() == [expected]  # what is left is the way around the layers


def test_a_critic_has_no_way_around_its_layers() -> None:
    critics = Critics(WIDTHS, 5, width=7, depth=3, norm="layer", latents="each")
    assert [len(critics.outputs), len(critics.latents)] == [3, 3]
    assert critics.outputs[1](rows(9)).shape == (8, 1)
    with torch.no_grad():
        for layer in critics.outputs[1].hidden:
            layer.weight.zero_()
    out = critics.outputs[1](rows(9))
    assert torch.allclose(out, out[:1].expand_as(out))  # nothing of the input comes through
    counts = {
        kind: len(Critics(WIDTHS, 5, width=7, depth=2, norm="none", latents=kind).latents)
        for kind in ("shared", "none")
    }
    assert counts == {"shared": 1, "none": 0}
    assert len(Critics(WIDTHS, 5, width=7, depth=2, norm="none", outputs=False).outputs) == 0


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_the_linear_start_is_exactly_linear(norm: str) -> None:
    held = network(norm=norm)
    bases, decodes = [rows(5, w) for w in WIDTHS], [rows(w, 5) for w in WIDTHS]
    held.start_linear(bases, decodes)
    for s, t in itertools.product(range(3), range(3)):
        torch.testing.assert_close(held.translate(rows(WIDTHS[s]), s, t), rows(WIDTHS[s]) @ bases[s] @ decodes[t])
    loss = held.F1(rows(6)).square().sum()
    loss.backward()
    for part in (held.inputs[0], held.backbone, held.outputs[1]):
        assert part.last.weight.grad.abs().sum() > 0  # it can learn
    with pytest.raises(ValueError, match="shortcut"):
        network(shortcut="pad").start_linear(bases, decodes)


def test_the_same_seed_gives_the_same_network_and_leaves_torchs_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, other = network().state_dict(), network().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_unknown_key_or_a_value_out_of_range() -> None:
    for wrong in ({"depth": 3}, {"norm": "group"}, {"width": 0}, {"adapter_depth": 10**9}):
        with pytest.raises(ValidationError):
            NetworkConfig(**{"latent": 5} | wrong)


def test_a_network_from_tensors_is_strict() -> None:
    held = network()
    tensors = held.state_dict()
    assert all(tensor.is_meta for tensor in empty_network(held.config, WIDTHS).state_dict().values())
    again = network_from(held.config, WIDTHS, tensors)
    assert torch.equal(again.F1(rows(6)), held.F1(rows(6)))
    assert not any(p.requires_grad for p in again.parameters())
    with pytest.raises(KeyError, match="one too many"):
        network_from(held.config, WIDTHS, tensors | {"more": torch.zeros(1)})
    with pytest.raises(KeyError, match="missing"):
        network_from(held.config, WIDTHS, dict(list(tensors.items())[1:]))
    with pytest.raises(ValueError, match="expected"):
        network_from(held.config, WIDTHS, tensors | {"inputs.0.last.bias": torch.zeros(2)})


# --- a translator of a network ----------------------------------------------------------------------------------------


def translator(norm: str = "layer") -> Translator:
    rng = np.random.default_rng(0)
    natives = [Preprocessor.fit((rng.standard_normal((50, w)) + 1).astype(np.float32)) for w in WIDTHS]
    held = network(norm=norm)
    held.train()
    held.encode_all([rows(w) for w in WIDTHS])  # batch norms see something
    held = network_from(held.config, WIDTHS, held.state_dict())
    return Translator({n: NetworkSpace(p, held, i) for i, (n, p) in enumerate(zip("abc", natives, strict=True))})


def test_a_translation_is_the_networks() -> None:
    held = translator()
    x = rows(6).numpy()
    a, c = held.space("a"), held.space("c")
    assert isinstance(a, NetworkSpace)
    z = a.network.translate(torch.from_numpy(a.preprocessor.apply(x)), 0, 2).numpy()
    np.testing.assert_allclose(held.translate(x, source="a", target="c"), c.preprocessor.invert(z), atol=1e-5)
    latent = a.network.encode(torch.from_numpy(a.preprocessor.apply(x)), 0).numpy()
    np.testing.assert_allclose(held.latent(x, space="a"), latent, atol=1e-6)
    bad = x.copy()
    bad[1, 2] = np.nan
    out = held.translate(bad, source="a", target="c")
    assert np.isnan(out[1]).all()
    np.testing.assert_allclose(out[0], held.translate(x, source="a", target="c")[0], atol=1e-6)


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_save_and_load_are_bit_identical(tmp_path, norm: str) -> None:
    held = translator(norm)
    held.save_pretrained(tmp_path / "t")
    loaded = Translator.from_pretrained(tmp_path / "t")
    assert loaded.network is not None
    assert loaded.network.config == held.network.config
    x = rows(9).numpy()
    for target in "ac":
        np.testing.assert_array_equal(
            loaded.translate(x, source="b", target=target), held.translate(x, source="b", target=target)
        )
    np.testing.assert_array_equal(loaded.latent(x, space="b"), held.latent(x, space="b"))
    assert "a network (vec2vec)" in (tmp_path / "t" / "README.md").read_text()


@pytest.mark.parametrize("size", [10**18, 10**30])
@pytest.mark.parametrize("key", ["width", "latent"])
def test_a_network_beyond_any_size_is_damage(tmp_path, key: str, size: int) -> None:
    translator().save_pretrained(tmp_path / "t")
    path = tmp_path / "t" / "config.json"
    tree = json.loads(path.read_text())
    tree["network"][key] = size
    if key == "latent":
        tree["latent_width"] = size
    path.write_text(json.dumps(tree))
    with pytest.raises(ArtifactError, match=rf"'network\.{key}'"):
        Translator.from_pretrained(tmp_path / "t")


def test_a_network_of_the_greatest_widths_has_names_and_shapes() -> None:
    held = empty_network(NetworkConfig(latent=MOST_WIDTH, width=MOST_WIDTH), (6, 9))
    assert held.backbone.hidden[1].weight.shape == (MOST_WIDTH, MOST_WIDTH)


def test_spaces_that_do_not_belong_together() -> None:
    held, other = translator(), translator()
    a, b, c = (held.space(name) for name in "abc")
    linear = Space(a.preprocessor, np.ones((6, 5), np.float32), np.ones((5, 6), np.float32))
    for spaces in (
        {"a": a, "b": b},
        {"a": a, "b": b, "c": other.space("c")},
        {"a": linear, "b": b, "c": c},
        {"b": b, "a": a, "c": c},
    ):
        with pytest.raises(InputError):
            Translator(spaces)
    mean = a.preprocessor.mean
    for wrong in (np.full_like(mean, np.nan), mean.astype(np.float64), mean[:, None]):
        with pytest.raises(InputError, match="space 'a': its mean"):
            Translator({"a": replace(a, preprocessor=replace(a.preprocessor, mean=wrong)), "b": b, "c": c})
    broken = network_from(
        a.network.config, WIDTHS, a.network.state_dict() | {"inputs.0.last.bias": torch.full((5,), torch.nan)}
    )
    with pytest.raises(InputError, match="not finite"):
        Translator({n: NetworkSpace(held.space(n).preprocessor, broken, i) for i, n in enumerate("abc")})
