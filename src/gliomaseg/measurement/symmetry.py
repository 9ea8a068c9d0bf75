"""The side of the brain that a tumour is on, as the patient's left and right.

Sides are those of the plane in which the mask of a skull-stripped brain mirrors itself best. It is not the
midline: a tumour that pushes the falx reaches beyond this plane without crossing the falx.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: From this share on, in percent, a tumour is on one side: mass effect alone pushes some beyond the plane.
ONE_SIDE_PERCENT = 90
#: A lesion crosses the plane when this much of it is farther than this from the plane, on both sides.
CROSSING_MM, CROSSING_ML = 5.0, 0.5
_STEP_MM = 5.0  # the brain mask is sampled at about this distance
_LEAST_VOXELS = 1000
#: Steps of the search: the plane's offset in mm, and its slope; each is repeated while the score improves.
_SEARCH = ((10.0, 0.12), (5.0, 0.06), (2.5, 0.03), (1.2, 0.015), (0.6, 0.007))


@dataclass(frozen=True)
class Side:
    """Percent of the whole tumour on each side of the plane, and whether a lesion crosses it."""

    right_percent: float
    left_percent: float
    crosses_symmetry_plane: bool

    @property
    def name(self) -> str:
        """Return ``right`` or ``left`` where one side holds 90 % or more, else ``both``."""
        if max(self.right_percent, self.left_percent) < ONE_SIDE_PERCENT:
            return "both"
        return "right" if self.right_percent > self.left_percent else "left"

    def as_dict(self) -> dict[str, object]:
        """Return the name and the numbers as plain values, for JSON."""
        return {**asdict(self), "side": self.name}


@dataclass(frozen=True)
class SymmetryPlane:
    """The plane ``x = offset + slopes . (y, z)`` in RAS+ millimetres."""

    offset: float
    slopes: tuple[float, float]

    def right_of(self, affine: Floats, voxels: tuple[npt.NDArray[np.intp], ...]) -> Floats:
        """Return the mm from the plane to voxels (x, y, z) of a grid; positive to the patient's right."""
        normal = np.array([1.0, -self.slopes[0], -self.slopes[1]]) / np.hypot(1, np.hypot(*self.slopes))
        x, y, z = (normal @ affine[:3, :3]).tolist()
        first = float(normal @ affine[:3, 3]) - self.offset * float(normal[0])
        return np.asarray(x * voxels[0] + y * voxels[1] + z * voxels[2] + first)


def find_symmetry_plane(image: npt.NDArray[np.generic], affine: Floats) -> SymmetryPlane | None:
    """Return the symmetry plane of a brain, 0 outside, with RAS axes and ``affine``; None if unknown.

    It is unknown when the brain reaches both sides of the image, as without skull-stripping, or is too small.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    steps = np.maximum(np.round(_STEP_MM / lengths), 1).astype(int)
    brain = image[:: steps[0], :: steps[1], :: steps[2]] != 0
    if np.count_nonzero(brain) < _LEAST_VOXELS or (brain[0].any() and brain[-1].any()):
        return None
    axes = affine[:3, :3] * steps
    places = np.argwhere(brain) @ axes.T + affine[:3, 3]
    padded, inverse = np.pad(brain, 1), np.linalg.inv(axes)
    limits = np.array(padded.shape) - 1
    middle = places.mean(axis=0)

    def mirrored(plane: Floats) -> int:
        """Return the number of voxels whose mirror image is inside the brain."""
        normal = np.array([1.0, -plane[1], -plane[2]]) / np.sqrt(1 + plane[1] ** 2 + plane[2] ** 2)
        height = (places - middle) @ normal - plane[0] * normal[0]
        images = (places - 2 * height[:, None] * normal - affine[:3, 3]) @ inverse.T
        x, y, z = np.clip(np.floor(images + 1.5), 0, limits).astype(np.intp).T
        return int(np.count_nonzero(padded[x, y, z]))

    offset, slope_y, slope_z = _climb(mirrored).tolist()
    across = float(middle[0]) + offset - slope_y * float(middle[1]) - slope_z * float(middle[2])
    return SymmetryPlane(across, (slope_y, slope_z))


def _climb(score: Callable[[Floats], int]) -> Floats:
    """Return the plane (offset, two slopes) with the best score, from 0 by smaller and smaller steps."""
    plane = np.zeros(3)
    best = score(plane)
    for along, slope in _SEARCH:
        steps = [sign * step for step in np.diag([along, slope, slope]) for sign in (1, -1)]
        improved = True
        while improved:
            improved = False
            for step in steps:
                if (found := score(plane + step)) > best:
                    plane, best, improved = plane + step, found, True
    return plane


def find_side(right: Floats, lesions: npt.NDArray[np.integer], voxel_ml: float) -> Side:
    """Return the side of a tumour from each voxel's mm to the right of the plane and its lesion number."""
    percent = 100 * float(np.mean(right >= 0))
    across = [
        np.bincount(lesions[side > CROSSING_MM], minlength=lesions.max() + 1) for side in (right, -right)
    ]
    return Side(percent, 100 - percent, bool((np.minimum(*across) * voxel_ml >= CROSSING_ML).any()))
