"""One space as the fitters see it: vectors centred and normalised, z = (x - mean) / |x - mean|, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vec2vec.errors import DimensionError, InputError
from vec2vec.vectors import Float32, check_vectors, mend_norms

BLOCK_ROWS = 8192
SHARED_NORM = 0.01  # norms whose standard deviation is below this share of their mean are one norm


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """The native geometry of a space.

    Attributes
    ----------
    mean : (d,) float32
    radius : the root mean square of |x - mean|
    norm : the norm of a native vector where all share one (1.0 for a normalised model), else None
    """

    mean: Float32
    radius: float
    norm: float | None

    @property
    def width(self) -> int:
        return len(self.mean)

    @classmethod
    def fit(cls, x: Float32) -> Preprocessor:
        """Mean, radius and norm of native vectors.

        Parameters
        ----------
        x : (n, d) array, at least two different rows

        Raises
        ------
        InputError : not 2-D finite numbers, all rows are the same, or they are too long for float32
        """
        x = check_vectors(x, min_rows=2)
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        squares, norms = [], []
        for start in range(0, len(x), BLOCK_ROWS):
            block = x[start : start + BLOCK_ROWS].astype(np.float64)
            norms.append(np.linalg.norm(block, axis=1))
            block -= mean
            squares.append(np.einsum("ij,ij->i", block, block))
        radius = float(np.sqrt(np.concatenate(squares).mean()))
        norm = np.concatenate(norms)
        if radius <= 1e-6 * float(norm.mean()):  # what is left is the rounding of float32
            raise InputError("the vectors are all the same: there is nothing to fit on")
        if max(radius, float(norm.mean())) > float(np.finfo(np.float32).max):
            raise InputError("the vectors are too long for float32, which cannot hold their norm; scale them down")
        shared = float(norm.std()) < SHARED_NORM * float(norm.mean())
        return cls(mean, radius, float(norm.mean()) if shared else None)

    def apply(self, x: Float32) -> Float32:
        """Native vectors (n, d) to z (n, d) float32, centred, each row of norm 1 (a row at the mean itself: 0)."""
        x = self._checked(x)
        z: Float32 = np.subtract(x, self.mean, dtype=np.float32)
        z /= self._lengths(z)
        return z

    def invert(self, z: Float32) -> Float32:
        """z (n, d) to native vectors (n, d) float32: mean + radius * z, brought to `norm` where there is one."""
        z = self._checked(z)
        x: Float32 = (self.mean + np.float32(self.radius) * z).astype(np.float32, copy=False)
        if self.norm is not None:
            x *= np.float32(self.norm) / self._lengths(x)
        return x

    @property
    def least(self) -> np.float32:
        """The length below which a vector counts as zero: far below the rounding of float32 at this radius."""
        return np.float32(max(1e-12 * self.radius, float(np.finfo(np.float32).tiny)))

    def _lengths(self, x: Float32) -> Float32:
        """The norms (n, 1) of rows (n, d), at least `least`; `mend_norms` scales down the rows that are too long."""
        with np.errstate(over="ignore"):
            length: Float32 = np.linalg.norm(x, axis=1)
        mend_norms(length, x)
        return np.maximum(length, self.least)[:, None]

    def _checked(self, x: Float32) -> Float32:
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.width:
            raise DimensionError(f"vectors of shape {x.shape}, expected (rows, {self.width})")
        return x
