"""The bias field of the receiver coil: smooth, and estimated where there is no tumour.

Intensity rises towards the coil, similarly on the left and on the right, while a tumour is mostly on one
side. The field is therefore fitted to the voxel of each mirrored pair that is less likely tumour: the
brighter one in T1, the darker one in the others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomaseg.labels import Modality

Floats = npt.NDArray[np.float32]

#: Number of positions along each axis to which the field is fitted, on one side of the brain.
_PLACES = 40
#: Powers (y, z) of the terms without x; x has its square only, because both sides are alike.
_POWERS = ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2))
#: Rounds of the fit, and the residual, in robust standard deviations, that makes a position an outlier.
_ROUNDS, _OUTLIER = 8, 2.5
#: Largest logarithm of the field in each of its two factors.
_STRONGEST = 0.7


def correct_bias(crop: npt.NDArray[np.generic], name: str, share: float) -> Floats:
    """Return ``crop`` (x, y, z) without a ``share`` of its bias field; see ``bias_field``."""
    across, along = (np.exp(-share * term) for term in bias_field(crop, name))
    out: Floats = np.multiply(crop, across, dtype=np.float32, casting="same_kind")
    out *= along
    return out


def bias_field(crop: npt.NDArray[np.generic], name: str) -> tuple[Floats, Floats]:
    """Return the logarithm of the bias field of a sequence as two terms, (x, 1, 1) and (1, y, z).

    Their sum is of second order, and 0 in the centre. ``crop`` is the sequence ``name`` in RAS order, cropped
    to the brain, 0 outside.
    """
    width = crop.shape[0]
    some = [_places(n) for n in ((width + 1) // 2, *crop.shape[1:])]
    sides = some[0], width - 1 - some[0]
    here, there = (crop[np.ix_(side, *some[1:])].astype(np.float64) for side in sides)
    both = (here > 0) & (there > 0)
    lesser = np.maximum if name == Modality.T1N else np.minimum
    values = lesser(here, there)[both]
    if len(values) <= 1 + len(_POWERS):
        return np.zeros((width, 1, 1), np.float32), np.zeros((1, *crop.shape[1:]), np.float32)
    grid = np.meshgrid(*(_scaled(n)[i] for n, i in zip(crop.shape, some, strict=True)), indexing="ij")
    x, y, z = (axis[both] for axis in grid)
    terms = np.stack([x**2, *(y**j * z**k for j, k in _POWERS)], axis=1)
    across, *others = _fit(terms, np.log(values + 1e-3 * np.median(values)))
    x, y, z = (_scaled(n) for n in crop.shape)
    along = sum(c * (y**j)[:, None] * (z**k)[None] for c, (j, k) in zip(others[1:], _POWERS[1:], strict=True))
    found = across * x[:, None, None] ** 2, np.asarray(along)[None]
    first, second = (np.clip(term, -_STRONGEST, _STRONGEST).astype(np.float32) for term in found)
    return first, second


def _places(count: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, _PLACES).round().astype(np.intp))


def _scaled(count: int) -> npt.NDArray[np.float64]:
    """Return the positions of voxels along an axis, from -1 to 1."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)


def _fit(terms: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the coefficients of ``terms`` (position, term) by robust least squares."""
    weights = np.ones(len(values))
    for _ in range(_ROUNDS):
        weighted = terms * weights[:, None]
        found = np.linalg.lstsq(weighted.T @ terms, weighted.T @ values, rcond=None)[0]
        distance = np.abs(values - terms @ found)
        spread = 1.4826 * np.median(distance) + 1e-6  # the standard deviation of a normal distribution
        weights = np.where(distance > _OUTLIER * spread, 0, 1 / np.maximum(1, distance / spread) ** 2)
    return np.asarray(found)
