"""How unevenly a receiver coil lit a brain: a smooth field of brightness, found where tumours are not.

A coil is brighter where it is nearer, much alike on the left and on the right; a tumour lies mostly on one
side. So the field is fitted to the side of each mirrored pair of voxels that looks less like tumour: the
brighter in T1, the darker in the others. Ignorant of files and networks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomaseg.labels import Modality

Floats = npt.NDArray[np.float32]

#: Places along each axis that the field is fitted at, on one side of the brain.
_PLACES = 40
#: Powers (y, z) of the terms without x; x has its square only, for it is the same on both sides.
_POWERS = ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2))
#: Rounds of the fit, and residuals, in robust standard deviations, beyond which a place does not count.
_ROUNDS, _OUTLIER = 8, 2.5
#: Largest logarithm of the field in each of its two factors.
_STRONGEST = 0.7


def correct_bias(crop: npt.NDArray[np.generic], name: str, share: float) -> Floats:
    """Return ``crop`` (x, y, z) with a share of the unevenness taken out; arguments as of ``bias_field``."""
    across, along = (np.exp(-share * part) for part in bias_field(crop, name))
    out: Floats = np.multiply(crop, across, dtype=np.float32, casting="same_kind")
    out *= along
    return out


def bias_field(crop: npt.NDArray[np.generic], name: str) -> tuple[Floats, Floats]:
    """Return the logarithm of how bright the coil makes each voxel as two terms, (x, 1, 1) and (1, y, z).

    Their sum is of second order, and 0 in the middle. ``crop`` is one sequence in RAS order, cropped to the
    brain, 0 outside; ``name`` tells which one.
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
    parts = across * x[:, None, None] ** 2, np.asarray(along)[None]
    first, second = (np.clip(part, -_STRONGEST, _STRONGEST).astype(np.float32) for part in parts)
    return first, second


def _places(count: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, _PLACES).round().astype(np.intp))


def _scaled(count: int) -> npt.NDArray[np.float64]:
    """Return the places of voxels along an axis, from -1 to 1."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)


def _fit(terms: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the coefficients of ``terms`` (place, term) that come nearest to most of the ``values``."""
    weights = np.ones(len(values))
    for _ in range(_ROUNDS):
        weighted = terms * weights[:, None]
        found = np.linalg.lstsq(weighted.T @ terms, weighted.T @ values, rcond=None)[0]
        distance = np.abs(values - terms @ found)
        spread = 1.4826 * np.median(distance) + 1e-6  # of a normal distribution: its standard deviation
        weights = np.where(distance > _OUTLIER * spread, 0, 1 / np.maximum(1, distance / spread) ** 2)
    return np.asarray(found)
