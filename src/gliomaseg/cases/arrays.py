"""A case whose sequences are arrays in memory; the same checks apply as to files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case, by_modality, require_id
from gliomaseg.errors import CaseError, ImageError, Note
from gliomaseg.imaging.affine import check_affine
from gliomaseg.imaging.nifti import Voxels
from gliomaseg.imaging.volume import MAX_VOXELS, Affine, Grid
from gliomaseg.labels import Modality


@dataclass(frozen=True)
class ArrayCase(Case):
    """A case in memory: ``voxels`` holds its images; ``images`` has the sequences' names instead of paths."""

    voxels: Mapping[Modality, Voxels] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """Return nothing, because there are no files."""
        return ()

    def anonymous(self, text: str) -> str:
        """Return ``text``, which contains no paths."""
        return text


def case_of_arrays(images: Mapping[str, npt.ArrayLike], affine: npt.ArrayLike, case_id: str) -> ArrayCase:
    """Return the case of arrays (x, y, z) by modality name, all on the grid of ``affine`` (4, 4) to RAS+ mm.

    Arrays are not changed. Raises CaseError (E-MODALITY, E-GRID), ImageError (E-AFFINE, E-SPACING, E-DTYPE,
    E-NDIM, E-TOOBIG), UsageError (E-USAGE) for an id that is no valid folder name.
    """
    require_id(case_id)
    arrays = {modality: _image(modality, given) for modality, given in by_modality(images).items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise CaseError(
            "E-GRID",
            "the arrays differ in shape: " + ", ".join(f"{m} {array.shape}" for m, array in arrays.items()),
            expected="one shape (x, y, z), and one affine, for all sequences",
            remedy="resample them to one grid, or save them as NIfTI files, whose grids may differ",
        )
    x, y, z = next(iter(shapes), (0, 0, 0))
    grid = Grid((x, y, z), _affine(affine))
    voxels = {m: Voxels(a, grid, _sha256(a)) for m, a in arrays.items()}
    return ArrayCase(case_id, {m: Path(m) for m in voxels}, voxels=voxels)


def _image(name: str, given: npt.ArrayLike) -> npt.NDArray[np.generic]:
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        raise ImageError(
            "E-DTYPE",
            f"{name} is an array of {array.dtype}",
            expected="integers or real numbers, one per voxel",
            remedy="give the intensities of the MRI itself, such as numpy.asarray(image.dataobj)",
        )
    if array.ndim != 3 or min(array.shape) < 2:
        raise ImageError(
            "E-NDIM",
            f"{name} has the shape {array.shape}",
            expected="three dimensions (x, y, z) with at least two voxels each",
            remedy="give one array per sequence, without dimensions of length 1",
        )
    if array.size > MAX_VOXELS:
        raise ImageError(
            "E-TOOBIG",
            f"{name} has {array.size:,} voxels",
            expected=f"at most {MAX_VOXELS:,} voxels",
            remedy="crop it to the brain, or resample it to about 1 mm",
        )
    if array.dtype.kind in "iu" or array.dtype in (np.float32, np.float64):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return array.astype(np.uint8 if array.dtype.kind == "b" else np.float32)


def _affine(given: npt.ArrayLike) -> Affine:
    """Return a validated affine as float64; axes may be slightly off right angles."""
    remedy = "give the affine of the image, such as nibabel's image.affine"
    try:
        affine = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        affine = np.zeros(0)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not math.isclose(affine[3, 3], 1):
        raise ImageError(
            "E-AFFINE",
            f"the affine is not a matrix of 4 x 4 finite numbers ending in 1: {str(given)[:60]}",
            expected="a matrix (4, 4) that maps voxel indices to RAS+ mm",
            remedy=remedy,
        )
    notes: list[Note] = []
    check_affine(Path("the affine"), affine, notes, remedy)
    return affine


def _sha256(array: npt.NDArray[np.generic]) -> str:
    """Return the hash of an array's bytes with x fastest, as in files."""
    return hashlib.sha256(np.ascontiguousarray(array.T).data).hexdigest()
