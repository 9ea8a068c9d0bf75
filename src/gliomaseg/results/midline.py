"""On which side of the brain a tumour lies, as the patient's left and right. Ignorant of files.

The midline is the plane through the middles between the right and left edge of a skull-stripped brain, row
by row: an estimate, good to some millimetres, that needs no atlas. Mass effect bends the falx, not this
plane. How far it is from an atlas's midline is stated in docs/measurements.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: A tumour crosses the midline when this much of one lesion lies farther than this from it, on both sides.
CROSSING_MM, CROSSING_ML = 5.0, 0.5
_LEAST_WIDTH_MM = 60.0  # rows with less brain, as in the temporal poles, say nothing of its middle
_LEAST_ROWS = 50
_TRIM_MM = 6.0


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
    too small. Every second row is looked at.
    """
    brain = image[:, ::2, ::2] != 0
    ys, zs = np.nonzero(brain.any(axis=0))
    rows = brain[:, ys, zs]
    first, last = rows.argmax(axis=0), len(rows) - 1 - rows[::-1].argmax(axis=0)
    step = float(np.linalg.norm(affine[:3, 0]))
    wide = ((last - first) * step >= _LEAST_WIDTH_MM) & ~((first == 0) & (last == len(rows) - 1))
    if np.count_nonzero(wide) < _LEAST_ROWS:
        return None
    middles = np.stack([(first + last) / 2, 2 * ys, 2 * zs], axis=1)[wide]
    points = middles @ affine[:3, :3].T + affine[:3, 3]
    design = np.column_stack([np.ones(len(points)), points[:, 1:]])
    kept = np.ones(len(points), dtype=bool)
    plane = np.zeros(3)
    for _ in range(4):
        plane = np.linalg.lstsq(design[kept], points[kept, 0], rcond=None)[0]
        off = np.abs(points[:, 0] - design @ plane)
        kept = off <= max(_TRIM_MM, float(np.median(off)))
    offset, slope_y, slope_z = plane.tolist()
    return Midline(offset, (slope_y, slope_z))


def find_side(right: Floats, lesions: npt.NDArray[np.integer], voxel_ml: float) -> Side:
    """Return the side of the tumour: of each voxel its mm to the right of the midline, and its lesion."""
    percent = 100 * float(np.mean(right >= 0))
    across = [np.bincount(lesions[side > CROSSING_MM], minlength=lesions.max() + 1) for side in (right, -right)]
    return Side(percent, 100 - percent, bool((np.minimum(*across) * voxel_ml >= CROSSING_ML).any()))
