"""The translator: named spaces, and the maps between them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from vec2vec.errors import DimensionError, InputError
from vec2vec.preprocess import Preprocessor
from vec2vec.vectors import Float32, is_numeric, mend_norms, one_line, refuse_mask
from vec2vec.verdict import Verdict

if TYPE_CHECKING:
    from vec2vec.networks import Network

BLOCK_VALUES = 2**22  # most values of a block of rows for the product: 16 MB
NETWORK_ROWS = 4096  # of a block for a network, whose hidden layers may be wide
PART_ROWS = 1024  # for what is done a value at a time
FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Space:
    """A space of a translator, tied to the latent that all its spaces share.

    Attributes
    ----------
    preprocessor : the native geometry; z is its centred, normalised vector
    basis : (d, k) float32, into the latent: z @ basis
    decode : (k, d) float32, out of it: latent @ decode is a z of this space
    """

    preprocessor: Preprocessor
    basis: Float32
    decode: Float32

    @property
    def width(self) -> int:
        return self.preprocessor.width

    @property
    def latent_width(self) -> int:
        return int(self.basis.shape[1])


@dataclass(frozen=True, eq=False)
class NetworkSpace:
    """A space of a translator whose maps are a network's, tied to the latent that all its spaces share.

    Attributes
    ----------
    preprocessor : the native geometry; z is its centred, normalised vector
    network : the one network of all spaces (`vec2vec.networks`), for use: without gradients, in evaluation mode
    index : which of its spaces this is
    """

    preprocessor: Preprocessor
    network: Network
    index: int

    @property
    def width(self) -> int:
        return self.preprocessor.width

    @property
    def latent_width(self) -> int:
        return self.network.config.latent


class Translator:
    """Named vector spaces and the maps between them.

    A vector x of space s is translated into space t in three steps: z = (x - mean_s) / |x - mean_s|;
    z' = z @ basis_s @ decode_t; x' = mean_t + radius_t * z', brought to t's norm where t has one. The result lies where
    t's native vectors lie, so it can be searched beside them. Where the spaces are those of a network, z' is its
    B_t(T(A_s(z))) (`vec2vec.networks`).

    Parameters
    ----------
    spaces : two or more, by name, with one width of the latent: all linear, or all of one network
    verdict : the label-free judgement of the fit
    record : how the fit came about; anything that JSON can hold

    Raises
    ------
    InputError : fewer than two spaces, unusable names, or arrays that do not fit together
    """

    def __init__(
        self,
        spaces: Mapping[str, Space | NetworkSpace],
        *,
        verdict: Verdict | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        check_names(tuple(spaces))
        latent_width = next(iter(spaces.values())).latent_width
        self._network = _shared_network(spaces)
        for name, space in spaces.items():
            _check_space(name, space, latent_width)
        self._spaces: dict[str, Space | NetworkSpace] = dict(spaces)
        self._maps: dict[tuple[str, str], torch.Tensor] = {}
        self.verdict = verdict
        self.record: dict[str, Any] = dict(record or {})

    def __repr__(self) -> str:
        spaces = ", ".join(f"{name!r}: {space.width}" for name, space in self._spaces.items())
        verdict = "" if self.verdict is None else f", verdict={self.verdict.label!r}"
        return f"Translator({{{spaces}}}, latent={self.latent_width}{verdict})"

    @property
    def spaces(self) -> tuple[str, ...]:
        """The spaces' names. With two, the first is translated into the second unless `reverse` is set."""
        return tuple(self._spaces)

    @property
    def latent_width(self) -> int:
        return next(iter(self._spaces.values())).latent_width

    @property
    def network(self) -> Network | None:
        """The network that maps; None where the maps are linear."""
        return self._network

    def space(self, name: str) -> Space | NetworkSpace:
        """The space of this name, or an InputError that names the known ones."""
        if name not in self._spaces:
            near = difflib.get_close_matches(str(name), self.spaces, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"there is no space '{name}'; the translator has {_listed(self.spaces)}{hint}")
        return self._spaces[name]

    def width(self, space: str) -> int:
        """The width of the native vectors of a space."""
        return self.space(space).width

    def direction(self, source: str | None = None, target: str | None = None, reverse: bool = False) -> tuple[str, str]:
        """The names of the two spaces that a translation goes between.

        With two spaces nothing need be named: it goes from the first to the second, and back with `reverse`; one
        name decides the other. With more, both must be named.

        Raises
        ------
        InputError : an unknown name, the same space twice, names together with `reverse`, or too few names
        """
        for name in (source, target):
            if name is not None:
                self.space(name)
        if reverse and (source is not None or target is not None):
            raise InputError("give the names of the spaces or reverse, not both")
        if source is not None and target is not None:
            if source == target:
                raise InputError(f"source and target are the same space, '{source}'")
            return source, target
        if len(self.spaces) > 2:
            raise InputError(f"name the source and the target space: the translator has {_listed(self.spaces)}")
        first, second = self.spaces
        backward = reverse or source == second or target == first
        return (second, first) if backward else (first, second)

    def translate(
        self, x: npt.ArrayLike, *, source: str | None = None, target: str | None = None, reverse: bool = False
    ) -> Float32:
        """Translate native vectors of one space into another.

        Every row of numbers is translated: a row with a NaN or infinite value becomes a row of NaN, and no row is an
        error. `vec2vec.vectors` has the checks.

        Parameters
        ----------
        x : (n, d_source) array of float16, float32, float64 or integers, or anything with `__array__`
        source, target, reverse : see `direction`

        Returns
        -------
        (n, d_target) float32 array, with the target's own mean and norm

        Raises
        ------
        DimensionError : the width is not that of the source space
        InputError : not a 2-D array of numbers, or see `direction`
        """
        source, target = self.direction(source, target, reverse)
        array = self._checked(x, source)
        start, end = self.space(source).preprocessor, self.space(target).preprocessor
        if self._network is not None:
            return self._translate_by_network(array, source, target)
        matrix, mean = self._map(source, target), torch.tensor(end.mean, device="cpu")
        out = _new(len(array), end.width)
        for rows, z in _preprocessed_blocks(array, start, length=end.radius):
            torch.addmm(mean, torch.from_numpy(z), matrix, out=torch.from_numpy(out[rows]))
            if end.norm is not None:
                for part in _parts(rows):
                    _rescale(out[part], end.norm, least=end.least)
        return out

    def latent(self, x: npt.ArrayLike, *, space: str) -> Float32:
        """The shared coordinates of native vectors: those of the same text from two spaces should be alike.

        Parameters
        ----------
        x : (n, d) array, as in `translate`
        space : the name of the space that they are of

        Returns
        -------
        (n, k) float32 array; k is `latent_width`, which one more space, or a network, can leave wider than a space is

        Raises
        ------
        DimensionError, InputError : as in `translate`
        """
        array = self._checked(x, space)
        held = self.space(space)
        if isinstance(held, NetworkSpace):
            return _by_network(
                array, held.preprocessor, held.latent_width, lambda z: held.network.encode(z, held.index)
            )
        basis = torch.tensor(held.basis, device="cpu")
        out = _new(len(array), held.latent_width)
        for rows, z in _preprocessed_blocks(array, held.preprocessor):
            torch.mm(torch.from_numpy(z), basis, out=torch.from_numpy(out[rows]))
        return out

    def add_space(
        self,
        vectors: npt.ArrayLike | str | os.PathLike[str],
        name: str,
        references: Mapping[str, npt.ArrayLike | str | os.PathLike[str]],
        **options: Any,
    ) -> Translator:
        """A translator with one more space, aligned with one that it has: see `vec2vec.align.added.add_space`.

        Parameters
        ----------
        vectors : of the new space, unpaired with any other: an array, or a file
        name : of the new space
        references : vectors of a space that the translator has, by its name
        options : seed, rows, steps, frozen, device, threads, progress, and settings of the training

        Raises
        ------
        InputError, ConfigError : names, references or settings that will not do
        """
        from vec2vec.align.added import add_space

        return add_space(self, vectors, name, references, **options)

    def save_pretrained(self, folder: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write config.json, model.safetensors and README.md (a model card) into a folder, whole or not at all.

        Parameters
        ----------
        folder : made here; its parent must exist
        force : replace a translator that is there. A folder that holds anything else is never replaced.

        Raises
        ------
        OutputError : the folder exists, is no translator's, or cannot be written
        """
        from vec2vec.artifact import save

        save(self, folder, force=force)

    @classmethod
    def from_pretrained(
        cls,
        folder_or_id: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> Translator:
        """Load a translator from a folder, or from the Hugging Face hub. Nothing is unpickled.

        Parameters
        ----------
        folder_or_id : a folder that `save_pretrained` wrote, or an id on the hub, such as "user/name"
        revision, token, cache_dir : of the hub: a branch, tag or commit; an access token; where downloads are kept

        Raises
        ------
        ArtifactError : there is none, or it is damaged, truncated, foreign, or of a newer version
        """
        from vec2vec.artifact import load

        return load(folder_or_id, revision=revision, token=token, cache_dir=cache_dir)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Add the translator",
    ) -> str:
        """Upload the translator and its model card to the Hugging Face hub, making the repository if need be.

        Parameters
        ----------
        repo_id : such as "user/name"
        private : of a repository that is made now
        token : an access token; None takes the one that is logged in
        revision : the branch
        commit_message : of the upload

        Returns
        -------
        The repository's address.

        Raises
        ------
        OutputError : it could not be uploaded
        """
        from vec2vec.artifact import push

        return push(self, repo_id, private=private, token=token, revision=revision, commit_message=commit_message)

    def _translate_by_network(self, array: npt.NDArray[Any], source: str, target: str) -> Float32:
        start, end = self.space(source), self.space(target)
        assert isinstance(start, NetworkSpace)
        assert isinstance(end, NetworkSpace)
        network, pair, goal = start.network, (start.index, end.index), end.preprocessor
        out = _by_network(array, start.preprocessor, goal.width, lambda z: network.translate(z, *pair))
        for part in _parts(slice(0, len(out))):
            out[part] *= np.float32(goal.radius)
            out[part] += goal.mean
            if goal.norm is not None:
                _rescale(out[part], goal.norm, least=goal.least)
        return out

    def _map(self, source: str, target: str) -> torch.Tensor:
        """basis_s @ decode_t as one (d_s, d_t) matrix, made once."""
        if (source, target) not in self._maps:
            start, end = self.space(source), self.space(target)
            assert isinstance(start, Space)
            assert isinstance(end, Space)
            basis, decode = start.basis, end.decode
            product = basis.astype(np.float64) @ decode.astype(np.float64)
            self._maps[source, target] = torch.from_numpy(product.astype(np.float32))
        return self._maps[source, target]

    def _checked(self, x: npt.ArrayLike, space: str) -> npt.NDArray[Any]:
        refuse_mask(x, "the vectors")
        try:
            array = np.asarray(x)
        except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors of bfloat16, or on a GPU
            raise InputError(f"the vectors cannot be read as an array of one width ({one_line(error)})") from error
        if array.ndim != 2:
            hint = "; for a single vector use x[None, :]" if array.ndim == 1 else ""
            raise InputError(f"the vectors have shape {array.shape}, expected 2-D (rows, width){hint}")
        if not is_numeric(array.dtype):
            raise InputError(f"the vectors are {array.dtype}, expected float16, float32, float64 or integers")
        check_width(self, array.shape[1], space)
        return array


def check_width(translator: Translator, width: int, space: str, what: str = "the vectors") -> None:
    """Raises DimensionError unless vectors of this width can be of the space; `what` is what it calls them."""
    expected = translator.width(space)
    if width != expected:
        others = [name for name in translator.spaces if name != space and translator.width(name) == width]
        hint = f"; '{others[0]}' has that width: is it the other direction?" if others else ""
        raise DimensionError(f"{what} have width {width}, expected {expected} for the space '{space}'{hint}")


def _by_network(
    x: npt.NDArray[Any], preprocessor: Preprocessor, width: int, maps: Callable[[torch.Tensor], torch.Tensor]
) -> Float32:
    """The rows (n, width) that a network makes of native rows `x`, block by block."""
    out = _new(len(x), width)
    with torch.inference_mode():
        for rows, z in _preprocessed_blocks(x, preprocessor, most=NETWORK_ROWS):
            torch.from_numpy(out[rows]).copy_(maps(torch.from_numpy(z)))
    return out


def linear_translator(
    source: Preprocessor,
    target: Preprocessor,
    weight: FloatArray,
    *,
    backward: FloatArray | None = None,
    names: tuple[str, str] = ("source", "target"),
    verdict: Verdict | None = None,
    record: Mapping[str, Any] | None = None,
) -> Translator:
    """A translator of two spaces from the linear map between them: `linear_spaces` with names.

    Parameters
    ----------
    source, target, weight, backward : see `linear_spaces`
    names : of the two spaces
    verdict, record : see `Translator`

    Raises
    ------
    DimensionError : a matrix of another shape
    InputError : a map that is not finite or all zero, or unusable names
    """
    check_names(names)
    spaces = linear_spaces(source, target, weight, backward=backward)
    return Translator(dict(zip(names, spaces, strict=True)), verdict=verdict, record=record)


def linear_spaces(
    source: Preprocessor, target: Preprocessor, weight: FloatArray, *, backward: FloatArray | None = None
) -> tuple[Space, Space]:
    """The two spaces between which `weight` maps.

    With weight = U S V^T (singular values above rounding only), the latent of the source is z U S^(1/2), that of the
    target z V S^(1/2): for an orthogonal map, both sides rotated into their common subspace. Where `backward` is
    another map than weight^T, the latent is that of the narrower space, into which the wider one is mapped, so that
    both maps are exact.

    Parameters
    ----------
    source, target : the preprocessors of the two spaces
    weight : (d_s, d_t), z_target is about z_source @ weight
    backward : (d_t, d_s) for the way back; None is weight^T

    Raises
    ------
    DimensionError : a matrix of another shape
    InputError : a map that is not finite or all zero
    """
    forward = _checked_map(weight, (source.width, target.width))
    u, s, vt = np.linalg.svd(forward, full_matrices=False)
    k = int((s > s[0] * max(forward.shape) * np.finfo(np.float32).eps).sum())
    back = forward.T if backward is None else _checked_map(backward, forward.T.shape)
    if np.allclose(back, forward.T, rtol=0, atol=1e-6 * s[0]):
        root = np.sqrt(s[:k])
        into_source, into_target = u[:, :k] * root, vt[:k].T * root
        from_source, from_target = into_source.T, into_target.T
    elif source.width <= target.width:  # u is square
        into_source, into_target = u, back @ u
        from_source, from_target = u.T, u.T @ forward
    else:  # vt is square
        into_source, into_target = forward @ vt.T, vt.T
        from_source, from_target = vt @ back, vt
    return (
        Space(source, _float32(into_source), _float32(from_source)),
        Space(target, _float32(into_target), _float32(from_target)),
    )


def check_names(names: tuple[str, ...]) -> None:
    """Raises InputError unless there are two or more names of spaces, different, printable and not blank."""
    if len(names) < 2:
        raise InputError(f"a translator has two or more spaces, got {len(names)}")
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(f"{name!r} cannot be the name of a space: it must be printable text on one line")
    if len(set(names)) < len(names):
        raise InputError(f"the spaces must have different names, got {_listed(names)}")


def _checked_map(weight: FloatArray, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    matrix = np.asarray(weight, dtype=np.float64)
    if matrix.shape != shape:
        raise DimensionError(f"the map has shape {matrix.shape}, expected {shape}")
    if not np.isfinite(matrix).all() or not matrix.any():
        raise InputError("the map is not finite, or all zero: the fit has failed")
    return matrix


def _shared_network(spaces: Mapping[str, Space | NetworkSpace]) -> Network | None:
    """The network of all spaces, None where they are linear; an InputError where they do not belong together."""
    networks = {id(space.network): space.network for space in spaces.values() if isinstance(space, NetworkSpace)}
    if not networks:
        return None
    held = [space for space in spaces.values() if isinstance(space, NetworkSpace)]
    network = held[0].network
    if len(networks) > 1 or len(held) < len(spaces):
        raise InputError("the spaces of a translator must all be linear, or all be those of one network")
    if [space.index for space in held] != list(range(len(network.widths))):
        raise InputError(f"the network has {len(network.widths)} spaces, in their order; got {_listed(tuple(spaces))}")
    for (name, space), width in zip(spaces.items(), network.widths, strict=True):
        if space.width != width:
            raise InputError(f"space '{name}' is {space.width} wide, but {width} in the network")
    for name, tensor in network.state_dict().items():
        if tensor.dtype != torch.float32 or not torch.isfinite(tensor).all():
            raise InputError(f"the network's {name} has values that are not finite, or not float32")
    return network


def _check_space(name: str, space: Space | NetworkSpace, latent_width: int) -> None:
    d, k = space.width, latent_width
    shapes: dict[str, tuple[Float32, tuple[int, ...]]] = {"mean": (space.preprocessor.mean, (d,))}
    if isinstance(space, Space):
        shapes |= {"basis": (space.basis, (d, k)), "decode": (space.decode, (k, d))}
    for what, (array, shape) in shapes.items():
        if array.shape != shape or array.dtype != np.float32:
            raise InputError(
                f"space '{name}': its {what} is {array.dtype} of shape {array.shape}, expected float32 of shape {shape}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"space '{name}': its {what} has values that are not finite")


def _preprocessed_blocks(
    x: npt.NDArray[Any], preprocessor: Preprocessor, length: float = 1.0, most: int | None = None
) -> Iterator[tuple[slice, Float32]]:
    """Rows of `x` block by block: where they are, and `length` times their z, in a buffer that the next overwrites.

    At most `most` rows a block.

    What is done a value at a time is numpy's, in one thread, on parts that stay in the cache: beside the product it
    takes little, while starting and joining torch's threads takes some 10 ms where other work keeps the cores busy.
    Blocks are large enough for few products, and small enough for a buffer that costs little to have anew.
    """
    block_rows = max(1, min(len(x), BLOCK_VALUES // x.shape[1], most or len(x)))
    buffer = np.empty((block_rows, x.shape[1]), dtype=np.float32)
    for start in range(0, len(x), block_rows):
        rows = slice(start, min(start + block_rows, len(x)))
        for part in _parts(rows):
            z = buffer[part.start - start : part.stop - start]
            with np.errstate(over="ignore", invalid="ignore"):
                np.subtract(x[part], preprocessor.mean, out=z, casting="unsafe")
            _rescale(z, length, least=preprocessor.least)
        yield rows, buffer[: rows.stop - start]


def _new(rows: int, width: int) -> Float32:
    """An array to be filled, from torch: numpy asks for huge pages, which can take longer than the product does."""
    array: Float32 = torch.empty((rows, width), dtype=torch.float32, device="cpu").numpy()
    return array


def _parts(rows: slice) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, PART_ROWS):
        yield slice(start, min(start + PART_ROWS, rows.stop))


def _rescale(x: Float32, length: float, *, least: np.float32) -> None:
    """Bring the rows to this norm, in place; rows shorter than `least` stay as short. NaN and infinity give NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", x, x))
        mend_norms(norms, x)
        x *= (np.float32(length) / np.maximum(norms, least))[:, None]


def _float32(x: npt.NDArray[np.float64]) -> Float32:
    return np.ascontiguousarray(x, dtype=np.float32)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
