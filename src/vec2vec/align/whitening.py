"""Coordinates in which the geometry of two spaces is compared: principal axes, partially whitened.

The spectra of two encoders differ: one spends its variance on a few directions, the other on many. A rotation between
them keeps this difference, and a translation that keeps it lies too flat, or too round, beside the target's native
vectors. Partial whitening before the rotation and the target's own colouring after it (the de-whitening of VecMap,
Artetxe et al. 2018, with an exponent between none and all) removes a share of it, on covariances alone: no pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import scipy.linalg
import torch

FLOOR = 1e-4  # of the greatest variance: directions below it are noise, and are not blown up
RANK = 1e-9  # of the greatest variance: directions below it are not there


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes of a space.

    Attributes
    ----------
    directions : (d, r) tensor, orthonormal columns, the strongest first
    variance : (r,) tensor, of z along each, the greatest being 1
    """

    directions: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def fit(cls, z: torch.Tensor, width: int) -> Axes:
        """The axes of z^T z / n, at most `width` of them: of a wide space, the principal subspace.

        Parameters
        ----------
        z : (n, d) float32 tensor
        """
        exact = torch.device("cpu") if z.device.type == "mps" else z.device  # which has no doubles
        values, vectors = torch.linalg.eigh((z.T @ z / len(z)).to(exact).double())
        values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
        rank = int((values > RANK * values[0]).sum())
        directions, variance = vectors[:, :rank].float().contiguous(), (values[:rank] / values[0]).float()
        return cls(directions.to(z.device), variance.to(z.device))

    def whiten(self, p: torch.Tensor, exponent: float) -> torch.Tensor:
        """Unit rows of p Λ^-exponent, p (n, r) along the axes: 0 leaves the geometry as it is, 0.5 whitens fully."""
        return unit(p / self.scale(exponent)) if exponent else p

    def scale(self, exponent: float) -> torch.Tensor:
        """The (r,) factors Λ^exponent."""
        return (self.variance + FLOOR) ** exponent


def unit(x: torch.Tensor) -> torch.Tensor:
    """Rows brought to norm 1; a zero row stays zero."""
    return torch.nn.functional.normalize(x, dim=1)


def polar(cross: torch.Tensor) -> torch.Tensor:
    """The isometry U V^T nearest to a matrix (r, s): for x^T y, the answer to Procrustes' problem (Schönemann 1966)."""
    u, _, vt = thin_svd(cross)
    return torch.mm(u, vt)


def thin_svd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U (r, k), S (k,) and V^T (k, s) of a matrix (r, s), k the smaller width.

    LAPACK's divide and conquer may not converge where many singular values are the same, as those of an isometry are,
    or give NaN without a word; its older QR iteration, in double precision, then serves.
    """
    try:
        found = torch.linalg.svd(matrix, full_matrices=False)
        if all(bool(one.isfinite().all()) for one in found):
            return found[0], found[1], found[2]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        pass
    slower = scipy.linalg.svd(matrix.cpu().double().numpy(), full_matrices=False, lapack_driver="gesvd")
    u, s, vt = (torch.from_numpy(one).to(matrix) for one in slower)
    return u, s, vt
