"""What is wrong with this case, in words, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError, ImageError
from gliomaseg.imaging.case import Case
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.volume import Grid, Volume
from gliomaseg.labels import Modality

#: Sequences of one case may differ by this much, in mm, at the corners of their grids.
GRID_TOLERANCE_MM = 0.1


def read_case(case: Case, modalities: Sequence[Modality]) -> Volume:
    """Return the sequences (channel, x, y, z) of a case, proven to belong together.

    Files are inflated side by side. Raises CaseError (E-MODALITY, E-GRID, E-DUPLICATE) and ImageError.
    """
    case.require(modalities)
    with ThreadPoolExecutor(len(modalities)) as pool:
        images = list(pool.map(read_image, [case.images[m] for m in modalities]))
    grids = {m: grid for m, (_, grid) in zip(modalities, images, strict=True)}
    arrays = {m: array for m, (array, _) in zip(modalities, images, strict=True)}
    check_grids(case, grids)
    check_contents(case, arrays)
    common = np.result_type(*[array.dtype for array in arrays.values()])
    kind = common if common.itemsize <= 4 else np.dtype(np.float32)
    stack = np.stack(list(arrays.values()), dtype=kind, casting="same_kind")
    return Volume(stack, grids[modalities[0]], tuple(modalities))


def check_grids(case: Case, grids: dict[Modality, Grid]) -> None:
    """Raise CaseError (E-GRID) unless all sequences lie on one grid."""
    first, *others = grids
    for other in others:
        if grids[other].matches(grids[first], GRID_TOLERANCE_MM):
            continue
        raise CaseError(
            "E-GRID",
            f"case {case.id}: {other} ({_describe(grids[other])}) does not lie on the grid of "
            f"{first} ({_describe(grids[first])})",
            expected="all sequences co-registered on one grid",
            remedy="register and resample them to one sequence first",
        )


def check_contents(case: Case, arrays: dict[Modality, npt.NDArray[np.generic]]) -> None:
    """Raise CaseError (E-DUPLICATE) for an image given twice, ImageError (E-CONSTANT) for an empty one."""
    for modality, array in arrays.items():
        if array.min() == array.max():
            raise ImageError(
                "E-CONSTANT",
                f"{case.images[modality]} has the same value everywhere",
                expected="an image with contrast",
                remedy="check that the file is the right one and was exported whole",
            )
    names = list(arrays)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if np.array_equal(arrays[one], arrays[other]):
                raise CaseError(
                    "E-DUPLICATE",
                    f"case {case.id}: {one} and {other} are the same image",
                    expected="a different sequence in each file",
                    remedy=f"check {case.images[one].name} and {case.images[other].name}",
                )


def _describe(grid: Grid) -> str:
    shape = " x ".join(map(str, grid.shape))
    origin = ", ".join(f"{v:g}" for v in grid.affine[:3, 3])
    return f"{shape} voxels, origin {origin} mm"
