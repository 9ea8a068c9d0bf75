"""A map brought onto the grid of its reference where that takes no interpolation, or refused in words.

Flipped and exchanged axes are undone exactly. Ignorant of files.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError
from gliomaseg.imaging.resample import turned_grid, turned_like
from gliomaseg.imaging.volume import Grid

Array = npt.NDArray[np.generic]


def on_grid(
    array: Array, grid: Grid, target: Grid, *, name: str, ignore_affine: bool = False
) -> tuple[Array, tuple[str, ...]]:
    """Return ``array`` (x, y, z), which lies on ``grid``, on ``target``, and what is to be noted of it.

    With ``ignore_affine`` voxels are taken in the order of the target's. Raises CaseError (E-GRID) naming
    ``name`` where that would take interpolation.
    """
    if grid.matches(target):
        return array, ()
    if ignore_affine and grid.shape == target.shape:
        return array, (f"the affine of {name} was ignored: its voxels were taken in the reference's order",)
    if turned_grid(grid, target).matches(target):
        turned = turned_like(array, grid, target)
        return turned, (f"{name} was turned to the axes of the reference, voxel by voxel",)
    raise _other_grid(name, grid, target)


def _other_grid(name: str, grid: Grid, target: Grid) -> CaseError:
    sizes = [" x ".join(map(str, g.shape)) for g in (grid, target)]
    what = f"{name} has {sizes[0]} voxels, the reference {sizes[1]}"
    remedy = "resample it to the grid of the reference, label maps with nearest neighbour"
    if grid.shape == target.shape:
        affines = [g.affine[:3].round(3).tolist() for g in (grid, target)]
        what += f", but they lie elsewhere: affine {affines[0]} and {affines[1]}"
        if np.allclose(np.abs(grid.affine), np.eye(4)):
            what += f"; {name} was saved without its place in space (an identity affine)"
            remedy = "copy the affine of the images into it"
        remedy += "; or, if its voxels are in the reference's order: --ignore-affine"
    return CaseError(
        "E-GRID",
        what,
        expected="everything on the grid of the reference, which is never resampled",
        remedy=remedy,
    )
