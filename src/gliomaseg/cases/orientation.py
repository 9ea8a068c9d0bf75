"""Images whose headers do not say how they lie: never put anywhere by a guess."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gliomaseg.cases.case import Case
from gliomaseg.cases.sequences import target_of
from gliomaseg.errors import CaseError
from gliomaseg.imaging.resample import turned_grid
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import Modality


def require_orientation(case: Case, grids: Mapping[Modality, Grid]) -> None:
    """Raise CaseError (E-GRID) where sequences lie apart, and one's header does not say how it lies."""
    target = target_of(tuple(grids))
    for modality, grid in grids.items():
        if turned_grid(grid, grids[target]).matches(grids[target]):
            continue
        if not (grid.is_oriented and grids[target].is_oriented):
            lost, other = (modality, target) if not grid.is_oriented else (target, modality)
            raise no_orientation(case.images[lost], grids[lost], case.images[other], grids[other])


def no_orientation(file: Path, grid: Grid, other: Path, of: Grid) -> CaseError:
    """Return the E-GRID error of a ``file`` on ``grid`` that can't be placed on that of the ``other`` one."""
    again = "export it again from the scanner's DICOM with dcm2niix, which says how it lies"
    if grid.shape == of.shape and of.is_oriented:
        again = (
            f"if its voxels are stored in the same order as those of {other.name}, save a copy that lies "
            f"as that one does, and give the copy instead: {_copy(file, other)}; otherwise {again}"
        )
    return CaseError(
        "E-GRID",
        f"{file} does not say how it lies (qform_code and sform_code are 0), so it can't be placed on the "
        f"grid of {other.name}",
        expected="a header that says how the image lies, or the very grid of the other images",
        remedy=again,
    )


def _copy(file: Path, other: Path) -> str:
    """Return the command that saves a copy of a file with the orientation of another."""
    stem = file.name.split(".")[0]
    return (
        f"""python -c "import nibabel as n; n.save(n.Nifti1Image(n.load({str(file)!r}).get_fdata("""
        f"""dtype='f4'), n.load({str(other)!r}).affine), '{stem}_oriented.nii.gz')\""""
    )
