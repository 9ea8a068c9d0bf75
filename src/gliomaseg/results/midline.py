"""On which side of the brain a tumour lies, as the patient's left and right. Ignorant of files.

The midline is the plane in which a skull-stripped brain mirrors itself best: an estimate, good to some
millimetres, that needs no atlas. Mass effect bends the falx, not this plane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: A tumour crosses the midline when this much of one lesion lies farther than this from it, on both sides.
CROSSING_MM, CROSSING_ML = 5.0, 0.5
_STEP_MM = 5.0  # the brain is looked at in voxels of about this size
_LEAST_VOXELS = 1000
#: Steps of the search: the plane's place in mm, and its slope; each is tried until it helps no more.
_SEARCH = ((10.0, 0.12), (5.0, 0.06), (2.5, 0.03), (1.2, 0.015), (0.6, 0.007))


@dataclass(frozen=True)
class Side:
    """Percent of the whole tumour in each hemisphere, and whether a lesion reaches across the midline."""

    right_percent: float
    left_percent: float
    crosses_midline: bool

    @property
    def name(self) -> str:
        """Return ``right``, ``left`` or ``both``: one hemisphere holds 95 % or more, or none does."""
        if max(self.right_percent, self.left_percent) < 95:
            return "both"
        return "right" if self.right_percent > self.left_percent else "left"


@dataclass(frozen=True)
class Midline:
    """The plane ``x = offset + slopes . (y, z)`` in RAS+ millimetres."""

    offset: float
    slopes: tuple[float, float]

    def right_of(self, affine: Floats, voxels: tuple[npt.NDArray[np.intp], ...]) -> Floats:
        """Return how many mm voxels (x, y, z) of a grid lie to the patient's right; negative: to the left."""
        normal = np.array([1.0, -self.slopes[0], -self.slopes[1]]) / np.hypot(1, np.hypot(*self.slopes))
        x, y, z = (normal @ affine[:3, :3]).tolist()
        first = float(normal @ affine[:3, 3]) - self.offset * float(normal[0])
        return np.asarray(x * voxels[0] + y * voxels[1] + z * voxels[2] + first)


def find_midline(image: npt.NDArray[np.generic], affine: Floats) -> Midline | None:
    """Return the midline of a brain, 0 outside, with RAS axes and ``affine``; None if it can't be told.

    It can't when the brain reaches both sides of the image, as one that is not skull-stripped may, or is
    too small.
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
        """Return how many voxels have a mirror image inside the brain."""
        normal = np.array([1.0, -plane[1], -plane[2]]) / np.sqrt(1 + plane[1] ** 2 + plane[2] ** 2)
        height = (places - middle) @ normal - plane[0] * normal[0]
        images = (places - 2 * height[:, None] * normal - affine[:3, 3]) @ inverse.T
        x, y, z = np.clip(np.floor(images + 1.5), 0, limits).astype(np.intp).T
        return int(np.count_nonzero(padded[x, y, z]))

    offset, slope_y, slope_z = _climb(mirrored).tolist()
    across = float(middle[0]) + offset - slope_y * float(middle[1]) - slope_z * float(middle[2])
    return Midline(across, (slope_y, slope_z))


def _climb(score: Callable[[Floats], int]) -> Floats:
    """Return the plane (offset, two slopes) with the best score, found from none with ever smaller steps."""
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
    """Return the side of the tumour: of each voxel its mm to the right of the midline, and its lesion."""
    percent = 100 * float(np.mean(right >= 0))
    across = [
        np.bincount(lesions[side > CROSSING_MM], minlength=lesions.max() + 1) for side in (right, -right)
    ]
    return Side(percent, 100 - percent, bool((np.minimum(*across) * voxel_ml >= CROSSING_ML).any()))
