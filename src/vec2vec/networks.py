"""The networks of vec2vec (Jha et al. 2025, arXiv 2505.12540): adapters, a shared backbone, and critics.

Read from top to bottom: `MLP` is the one building block; `Network` puts adapters of any number of spaces around one
backbone T. With A_i into and B_i out of the backbone's width, the latent of space i is T(A_i(x)), its reconstruction
R_i = B_i ∘ T ∘ A_i, and a translation from s to t is B_t ∘ T ∘ A_s. `Critics` tell native vectors from translations.

All of it works on z, the centred and normalised vectors of `vec2vec.preprocess`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

Norm = Literal["layer", "batch", "none"]
Shortcut = Literal["linear", "pad"]
LatentCritics = Literal["each", "shared", "none"]

MOST_WIDTH = 2**20  # of a latent or a hidden layer: beyond any use, and no tensor's size overflows


class NetworkConfig(BaseModel):
    """The shape of a `Network`; its spaces and their widths come beside it.

    Attributes
    ----------
    latent : width of the latent that all spaces share
    width : of hidden layers
    adapter_depth, backbone_depth : their layers
    norm : after each hidden layer: "layer" as in the paper, "batch", or "none"
    shortcut : around a whole adapter: "linear", a learned map, so that residual layers that start at zero leave a
        linear translator; "pad", the input itself from layer to layer, cut or padded with zeros where widths differ, as
        the public reference has it
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latent: int = Field(ge=1, le=MOST_WIDTH)
    width: int = Field(default=1024, ge=1, le=MOST_WIDTH)
    adapter_depth: int = Field(default=3, ge=1, le=64)
    backbone_depth: int = Field(default=4, ge=1, le=64)
    norm: Norm = "layer"
    shortcut: Shortcut = "linear"


def carry(x: torch.Tensor, width: int) -> torch.Tensor:
    """x (..., d) at another width: padded with zeros, or cut."""
    d = x.shape[-1]
    return x[..., :width] if d >= width else nn.functional.pad(x, (0, width - d))


def make_norm(kind: Norm, width: int) -> nn.Module:
    """The normalisation of this kind. Batch norms average with a fixed momentum, so they need not count batches."""
    if kind == "layer":
        return nn.LayerNorm(width)
    if kind == "batch":
        norm = nn.BatchNorm1d(width)
        norm.num_batches_tracked = None
        return norm
    return nn.Identity()


class MLP(nn.Module):
    """`depth` linear layers, between them SiLU and normalisation, and residual connections where they are wanted.

    h_0 = x;  h_l = norm(SiLU(h_{l-1} U_l + b_l)) + residual;  y = h V + c + shortcut

    Parameters
    ----------
    d_in, d_out : widths of the rows that come and go; any
    width, depth, norm : see `NetworkConfig`
    residual : each hidden layer adds what it was given, but for the first, whose input comes in another width; with the
        shortcut "pad" that one, too, adds carry(h)
    shortcut : to y: "linear" adds x S with a learned S, "identity" x itself (d_in = d_out), "pad" adds carry(h)
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        width: int,
        depth: int,
        norm: Norm,
        residual: bool = True,
        shortcut: Literal["linear", "identity", "pad", "none"] = "none",
    ) -> None:
        super().__init__()
        widths = [d_in] + [width] * (depth - 1)
        self.hidden = nn.ModuleList(nn.Linear(a, width) for a in widths[:-1])
        self.norms = nn.ModuleList(make_norm(norm, width) for _ in widths[:-1])
        self.last = nn.Linear(widths[-1], d_out)
        self.d_out, self.width, self.residual, self.shortcut = d_out, width, residual, shortcut
        if shortcut == "linear":
            self.skip = nn.Linear(d_in, d_out, bias=False)
            if not self.skip.weight.is_meta:
                nn.init.orthogonal_(self.skip.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d_in) to (n, d_out)."""
        h = x
        for i, (linear, norm) in enumerate(zip(self.hidden, self.norms, strict=True)):
            new = norm(nn.functional.silu(linear(h)))
            h = new + carry(h, self.width) if self.residual and (i or self.shortcut == "pad") else new
        y: torch.Tensor = self.last(h)
        if self.shortcut == "linear":
            skipped: torch.Tensor = self.skip(x)
            return y + skipped
        if self.shortcut == "identity":
            return y + x
        return y + carry(h, self.d_out) if self.shortcut == "pad" else y


class Network(nn.Module):
    """Adapters of N spaces around one backbone.

    Parameters
    ----------
    config : the shape
    widths : of the spaces' vectors, in their order
    """

    def __init__(self, config: NetworkConfig, widths: Sequence[int]) -> None:
        super().__init__()
        self.config, self.widths = config, tuple(widths)
        self.inputs = nn.ModuleList(self._adapter(d, config.latent) for d in widths)
        self.backbone = MLP(
            config.latent,
            config.latent,
            width=config.width,
            depth=config.backbone_depth,
            norm=config.norm,
            shortcut="identity" if config.shortcut == "linear" else "pad",
        )
        self.outputs = nn.ModuleList(self._adapter(config.latent, d) for d in widths)

    def encode(self, z: torch.Tensor, space: int) -> torch.Tensor:
        """The latents T(A_i(z)), (n, d_i) to (n, latent)."""
        latent: torch.Tensor = self.backbone(self.inputs[space](z))
        return latent

    def encode_all(self, batches: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The latents of one batch (n_i, d_i) from every space: the backbone in one pass for all."""
        adapted = [adapter(z) for adapter, z in zip(self.inputs, batches, strict=True)]
        if self.config.norm == "batch":  # statistics are of one space at a time, as when it is translated
            return tuple(self.backbone(a) for a in adapted)
        return torch.split(self.backbone(torch.cat(adapted)), [len(a) for a in adapted])

    def decode(self, latent: torch.Tensor, space: int) -> torch.Tensor:
        """Vectors of a space B_i(latent), (n, latent) to (n, d_i)."""
        z: torch.Tensor = self.outputs[space](latent)
        return z

    def translate(self, z: torch.Tensor, source: int, target: int) -> torch.Tensor:
        """B_t(T(A_s(z))), (n, d_s) to (n, d_t)."""
        return self.decode(self.encode(z, source), target)

    def reconstruct(self, z: torch.Tensor, space: int) -> torch.Tensor:
        """R_i(z) = B_i(T(A_i(z)))."""
        return self.translate(z, space, space)

    def F1(self, z: torch.Tensor) -> torch.Tensor:  # noqa: N802  # the paper's name
        """From the first space into the second."""
        return self.translate(z, 0, 1)

    def F2(self, z: torch.Tensor) -> torch.Tensor:  # noqa: N802
        """From the second space into the first."""
        return self.translate(z, 1, 0)

    def R1(self, z: torch.Tensor) -> torch.Tensor:  # noqa: N802
        """Reconstruction in the first space."""
        return self.reconstruct(z, 0)

    def R2(self, z: torch.Tensor) -> torch.Tensor:  # noqa: N802
        """Reconstruction in the second space."""
        return self.reconstruct(z, 1)

    @torch.no_grad()
    def start_linear(self, bases: Sequence[torch.Tensor], decodes: Sequence[torch.Tensor]) -> None:
        """Make this exactly a linear translator: shortcuts as given, residual layers at zero.

        Parameters
        ----------
        bases : (d_i, latent) of each space, into the latent
        decodes : (latent, d_i), out of it
        """
        if self.config.shortcut != "linear":
            raise ValueError("only shortcut='linear' can start as a linear translator")
        for adapter, matrix in zip((*self.inputs, *self.outputs), (*bases, *decodes), strict=True):
            adapter.skip.weight.copy_(matrix.T)
        self.silence()

    @torch.no_grad()
    def silence(self) -> None:
        """Set the last layer of every residual branch to zero: what is left is the shortcuts."""
        for part in (*self.inputs, self.backbone, *self.outputs):
            part.last.weight.zero_()
            part.last.bias.zero_()

    @torch.no_grad()
    def follow(self, new: int, old: int, into: torch.Tensor, back: torch.Tensor) -> None:
        """Let a space go through another one: A_new(z) = A_old(z into), B_new(h) = B_old(h) back.

        Parameters
        ----------
        new, old : two of the spaces
        into : (d_new, d_old)
        back : (d_old, d_new)
        """
        if self.config.shortcut != "linear":
            raise ValueError("only shortcut='linear' can follow another space")
        for adapters in (self.inputs, self.outputs):
            tensors = adapters[old].state_dict()
            if adapters is self.inputs:
                first = "hidden.0.weight" if adapters[old].hidden else "last.weight"
                mapped = {name: tensors[name] @ into.T for name in ("skip.weight", first)}
            else:
                mapped = {name: back.T @ tensors[name] for name in ("skip.weight", "last.weight", "last.bias")}
            tensors.update(mapped)  # in place: a batch norm's load needs the metadata
            adapters[new].load_state_dict(tensors)

    def _adapter(self, d_in: int, d_out: int) -> MLP:
        c = self.config
        return MLP(d_in, d_out, width=c.width, depth=c.adapter_depth, norm=c.norm, shortcut=c.shortcut)


class Critics(nn.Module):
    """The discriminators: MLPs without residual connections, one for each space's vectors, and those of the latents.

    Parameters
    ----------
    widths : of the spaces
    latent : width of the latents
    width, depth, norm : of each
    extra : values that each is shown beside a row
    outputs : whether there are any of the spaces' vectors
    latents : "each", one for each space as in the paper; "shared", a single one; "none"
    """

    def __init__(
        self,
        widths: Sequence[int],
        latent: int,
        *,
        width: int,
        depth: int,
        norm: Norm,
        extra: int = 0,
        outputs: bool = True,
        latents: LatentCritics = "each",
    ) -> None:
        super().__init__()
        count = {"each": len(widths), "shared": 1, "none": 0}[latents]

        def critic(d: int) -> MLP:
            return MLP(d + extra, 1, width=width, depth=depth, norm=norm, residual=False)

        self.outputs = nn.ModuleList(critic(d) for d in (widths if outputs else ()))
        self.latents = nn.ModuleList(critic(latent) for _ in range(count))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator within the block; after it, it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def empty_network(config: NetworkConfig, widths: Sequence[int]) -> Network:
    """A network without values, which takes neither time nor memory: for the names and shapes of its tensors."""
    with torch.device("meta"):
        return Network(config, widths)


def network_from(config: NetworkConfig, widths: Sequence[int], tensors: Mapping[str, torch.Tensor]) -> Network:
    """The network of these tensors, for use: no gradients, and batch norms by what they averaged.

    Raises
    ------
    KeyError, ValueError : the names or shapes are not those of this configuration
    """
    network = empty_network(config, widths)
    expected = network.state_dict()
    for name in sorted(expected.keys() ^ tensors.keys()):
        raise KeyError(f"the tensor {name} is {'missing' if name in expected else 'one too many'}")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}")
    network.to_empty(device="cpu")
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(tensors[name])
    return network.requires_grad_(False).eval()
