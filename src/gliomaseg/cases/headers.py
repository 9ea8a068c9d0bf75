"""The headers of a case: whether its files belong together, and its size; no voxel is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.case import Case
from gliomaseg.errors import CaseError, Note
from gliomaseg.imaging.header import Header
from gliomaseg.imaging.nifti import read_grid, read_header
from gliomaseg.imaging.volume import Grid, is_usual, standard_grid, turned_grid
from gliomaseg.labels import Modality

#: What slices of 5 mm cost, and the note of voxels by their longest side in mm (docs/thick-slices.md).
COST_OF_THICK = ".015, .015, .047 of mean Dice (WT, TC, ET)"
_SPACINGS = (
    (3.0, "W-SPACING", "it is segmented at 1 mm, and the labels are put back on its own grid"),
    (10.0, "W-THICK", f"it is segmented at 1 mm; 5 mm slices cost {COST_OF_THICK}"),
    (math.inf, "W-COARSE", "slices so thick were never measured: don't rely on the result"),
)


def read_headers(case: Case, modalities: Sequence[Modality]) -> tuple[Note, ...]:
    """Return the notes of a case's headers; no voxel is read unless the end of a file looks damaged.

    Raises the errors of ``read_case`` that headers reveal: CaseError (E-MODALITY, E-GRID) and ImageError.
    """
    case.require(modalities)
    notes = list(case.notes)
    grids = {m: read_grid(case.images[m], notes, channel=case.channels.get(m)) for m in modalities}
    for modality in check_grids(case, grids, notes):
        what = f"case {case.id}: {modality} is on another grid"
        notes.append(Note("W-GRID", what, "it will be resampled if the brains overlap, else registered"))
    if case.reference is not None:
        check_reference(case, grids[target_of(modalities)], read_grid(case.reference, notes))
    return case.anonymous_notes(notes)


def check_grids(case: Case, grids: Mapping[Modality, Grid], notes: list[Note]) -> list[Modality]:
    """Return the sequences on another grid than the target; add a note of voxels that are not 1 mm.

    Raises CaseError (E-GRID) for one of them if a header has no orientation: none is placed by a guess.
    """
    target = target_of(tuple(grids))
    own = grids[target]
    others = [m for m, grid in grids.items() if not turned_grid(grid, own).matches(own)]
    for modality in others:
        if not (grids[modality].is_oriented and own.is_oriented):
            lost, other = (target, modality) if grids[modality].is_oriented else (modality, target)
            raise _no_orientation(case.images[lost], grids[lost], case.images[other], grids[other])
    notes += _spacing_notes(case, grids, target)
    return others


def _spacing_notes(case: Case, grids: Mapping[Modality, Grid], target: Modality) -> list[Note]:
    """Return the notes of the target's voxels that are not 1 mm, and of thick slices of other sequences."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for modality in (target, *grids):
        spacing = grids[modality].spacing
        thickest = max(spacing)
        if is_usual(spacing) or (modality is not target and thickest <= _SPACINGS[0][0]):
            continue
        size = " x ".join(f"{length:.3g}" for length in spacing)
        code, remedy = next(known for limit, *known in _SPACINGS if thickest <= limit + 1e-3)
        whose = "" if modality is target else f" in {modality}"
        found.setdefault((code, remedy), {}).setdefault(size, f"{size} mm{whose}")
    return [
        Note(code, f"case {case.id} has voxels of {', '.join(sizes.values())}", remedy)
        for (code, remedy), sizes in found.items()
    ]


def check_reference(case: Case, grid: Grid, reference: Grid) -> None:
    """Raise CaseError (E-GRID) unless a reference is on the grid of its case."""
    if reference.matches(grid):
        return
    if case.reference is not None and not reference.is_oriented:
        image = case.images[target_of(tuple(case.images))]
        raise _no_orientation(case.reference, reference, image, grid)
    raise CaseError(
        "E-GRID",
        f"the reference of case {case.id} is on another grid than its images",
        expected=f"{grid.shape} with the same affine",
        remedy="give the label map that belongs to these images: a reference is never resampled",
    )


def _no_orientation(file: Path, grid: Grid, other: Path, of: Grid) -> CaseError:
    """Return the E-GRID error of a ``file`` on ``grid`` that can't be placed on the grid of ``other``."""
    again = "export it again from the scanner's DICOM with dcm2niix, which stores the orientation"
    if grid.shape == of.shape and of.is_oriented:
        copied = (
            f"""python -c "import nibabel as n; n.save(n.Nifti1Image(n.load({str(file)!r}).get_fdata("""
            f"""dtype='f4'), n.load({str(other)!r}).affine), '{file.name.split(".")[0]}_oriented.nii.gz')\""""
        )
        again = (
            f"if its voxels are stored in the same order as those of {other.name}, save a copy with that "
            f"orientation and give the copy instead: {copied}; otherwise {again}"
        )
    return CaseError(
        "E-GRID",
        f"{file} has no orientation (qform_code and sform_code are 0), so it can't be placed on the grid of "
        f"{other.name}",
        expected="a header with an orientation, or exactly the grid of the other images",
        remedy=again,
    )


def target_of(modalities: Sequence[Modality]) -> Modality:
    """Return the sequence on whose grid a case is labelled: t1c, or the first."""
    return Modality.T1C if Modality.T1C in modalities else modalities[0]


def stored_size(case: Case, modalities: Sequence[Modality], size_mm: float | None = None) -> tuple[int, int]:
    """Return the voxel count of a case's largest image, and the bytes per voxel of all sequences together.

    With ``size_mm``, the count includes the grid with voxels of that size. Reads headers only. Raises
    CaseError (E-MODALITY) and ImageError.
    """
    case.require(modalities)
    headers = [
        Header(case.voxels[m].grid, case.voxels[m].array.dtype, 0, 1.0, 0.0)
        if isinstance(case, ArrayCase)
        else read_header(case.images[m], channel=case.channels.get(m))
        for m in modalities
    ]
    own = headers[modalities.index(target_of(modalities))].grid
    grid = standard_grid(own, size_mm) if size_mm else own
    shapes = [grid.shape, *(header.grid.shape for header in headers)]
    return max(map(math.prod, shapes)), sum(header.dtype.itemsize for header in headers)
