"""Read the sequences of one case together: prove that they belong together, repair what is safe to repair.

Every repair is a note of the volume; everything else is refused before any work starts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.case import Case
from gliomaseg.cases.intensities import replace_non_finite, zero_background
from gliomaseg.cases.sequences import Sequences, no_orientation, require_orientation, target_of
from gliomaseg.errors import CaseError, ImageError, Note
from gliomaseg.imaging.header import Header
from gliomaseg.imaging.nifti import Voxels, is_finite, read_channels, read_grid, read_header
from gliomaseg.imaging.volume import Grid, Volume, is_usual, standard_grid, turned_grid, turned_like
from gliomaseg.labels import Modality

#: The note of voxels that are not 1 mm, by their longest side in mm (docs/thick-slices.md).
_SPACINGS = (
    (3.0, "W-SPACING", "it is segmented at 1 mm, and the labels are put back on its own grid"),
    (10.0, "W-THICK", "it is segmented at 1 mm; 5 mm slices cost .015, .015, .047 of mean Dice (WT, TC, ET)"),
    (math.inf, "W-COARSE", "slices so thick were never measured: don't rely on the result"),
)

_Array = npt.NDArray[np.generic]


def read_case(case: Case, modalities: Sequence[Modality]) -> Volume:
    """Return the sequences (channel, x, y, z) of a case on its own grid: that of t1c, or of the first.

    Raises CaseError (E-MODALITY, E-DUPLICATE, E-GRID) and ImageError.
    """
    sequences = read_sequences(case, modalities)
    return sequences.on(sequences.grid)


def read_sequences(case: Case, modalities: Sequence[Modality]) -> Sequences:
    """Return the images of a case as stored, proven to be different ones, with axes turned to run alike.

    A few voxels that are not finite are replaced, with a note. Raises CaseError (E-MODALITY, E-GRID,
    E-DUPLICATE) and ImageError.
    """
    case.require(modalities)
    notes = list(case.notes)
    images = _read_images(case, modalities, notes)
    arrays = {modality: images[modality].array for modality in modalities}
    grids = {modality: images[modality].grid for modality in modalities}
    sha256 = tuple(images[modality].sha256 for modality in modalities)
    del images
    require_orientation(case, grids)
    own = grids[target_of(modalities)]
    for modality in modalities:
        arrays[modality] = turned_like(arrays[modality], grids[modality], own)
        grids[modality] = turned_grid(grids[modality], own)
    check_different(case, arrays)
    for modality, array in arrays.items():
        if not is_finite(array):
            others = [a for m, a in arrays.items() if m != modality and a.shape == array.shape]
            arrays[modality] = replace_non_finite(array, str(case.images[modality]), others, notes)
    _note_range(case, arrays, notes)
    _note_spacing(case, own, notes)
    return Sequences(case, arrays, grids, sha256, notes)


def _read_images(case: Case, modalities: Sequence[Modality], notes: list[Note]) -> dict[Modality, Voxels]:
    """Read each file once, several at the same time; a case in memory needs no reading."""
    if isinstance(case, ArrayCase):
        known = {modality: case.voxels[modality] for modality in modalities}
        return {m: v._replace(array=zero_background(v.array, m, notes)) for m, v in known.items()}
    files: dict[tuple[Path, Modality | None], list[Modality]] = {}
    for modality in modalities:
        alone = None if modality in case.channels else modality
        files.setdefault((case.images[modality], alone), []).append(modality)

    def read(path: Path, wanted: Sequence[Modality]) -> dict[Modality, Voxels]:
        found = read_channels(path, notes, [case.channels.get(m) for m in wanted])
        arrays = [zero_background(image.array, str(path), notes) for image in found]
        pairs = zip(wanted, found, arrays, strict=True)
        return {modality: image._replace(array=array) for modality, image, array in pairs}

    with ThreadPoolExecutor(len(files)) as pool:
        found = pool.map(lambda file: read(file[0][0], file[1]), files.items())
        return {modality: image for images in found for modality, image in images.items()}


def read_grid_of(case: Case, modality: Modality, notes: list[Note] | None = None) -> Grid:
    """Return the grid of one sequence from its header; raises CaseError (E-MODALITY) and ImageError."""
    path = case.require([modality]).images[modality]
    return read_grid(path, notes, channel=case.channels.get(modality))


def stored_size(case: Case, modalities: Sequence[Modality], size_mm: float | None = None) -> tuple[int, int]:
    """Return the voxel count of a case's largest image, and the bytes per voxel of all sequences together.

    With ``size_mm``, the count includes the grid with voxels of that size. Reads headers only. Raises
    CaseError (E-MODALITY) and ImageError.
    """
    case.require(modalities)
    headers = [_header_of(case, modality) for modality in modalities]
    own = headers[modalities.index(target_of(modalities))].grid
    grid = standard_grid(own, size_mm) if size_mm else own
    shapes = [grid.shape, *(header.grid.shape for header in headers)]
    return max(map(math.prod, shapes)), sum(header.dtype.itemsize for header in headers)


def _header_of(case: Case, modality: Modality) -> Header:
    if isinstance(case, ArrayCase):
        return Header(case.voxels[modality].grid, case.voxels[modality].array.dtype, 0, 1.0, 0.0)
    return read_header(case.images[modality], channel=case.channels.get(modality))


def read_headers(case: Case, modalities: Sequence[Modality]) -> tuple[Note, ...]:
    """Return the notes of a case's headers; no voxel is read unless the end of a file looks damaged.

    Raises the errors of ``read_case`` that headers reveal: CaseError (E-MODALITY, E-GRID) and ImageError.
    """
    case.require(modalities)
    notes = list(case.notes)
    grids = {m: read_grid_of(case, m, notes) for m in modalities}
    require_orientation(case, grids)
    target = grids[target_of(modalities)]
    for modality, grid in grids.items():
        if not turned_grid(grid, target).matches(target):
            what = f"case {case.id}: {modality} is on another grid"
            notes.append(Note("W-GRID", what, "it will be resampled if the brains then overlap"))
    _note_spacing(case, target, notes)
    if case.reference is not None:
        check_reference(case, target, read_grid(case.reference, notes))
    return case.anonymous_notes(notes)


def check_reference(case: Case, grid: Grid, reference: Grid) -> None:
    """Raise CaseError (E-GRID) unless a reference is on the grid of its case."""
    if reference.matches(grid):
        return
    if case.reference is not None and not reference.is_oriented:
        image = case.images[target_of(tuple(case.images))]
        raise no_orientation(case.reference, reference, image, grid)
    raise CaseError(
        "E-GRID",
        f"the reference of case {case.id} is on another grid than its images",
        expected=f"{grid.shape} with the same affine",
        remedy="give the label map that belongs to these images: a reference is never resampled",
    )


def check_different(case: Case, arrays: dict[Modality, _Array]) -> None:
    """Raise CaseError (E-DUPLICATE) for an image given twice, ImageError (E-CONSTANT) for an empty one."""
    for modality, array in arrays.items():
        if array.min() == array.max():
            raise ImageError(
                "E-CONSTANT",
                f"{case.images[modality]} has the same value everywhere",
                expected="an image with contrast",
                remedy="check that it is the right file and that its export was complete",
            )
    for one, other in itertools.combinations(arrays, 2):
        if _are_equal(arrays[one], arrays[other]):
            raise CaseError(
                "E-DUPLICATE",
                f"case {case.id}: {one} and {other} are the same image",
                expected="a different sequence in each file",
                remedy="give another file for one of them"
                if case.images[one] == case.images[other]
                else f"check {case.images[one].name} and {case.images[other].name}",
            )


def _are_equal(one: _Array, other: _Array) -> bool:
    """Return whether two images are the same; most differ within a few slices."""
    few = (..., slice(None, None, 32))
    return np.array_equal(one[few], other[few]) and np.array_equal(one, other)


def _note_range(case: Case, arrays: dict[Modality, _Array], notes: list[Note]) -> None:
    for modality, array in arrays.items():
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1e6:
            what = f"{case.images[modality]} has intensities from {low:.4g} to {high:.4g}"
            notes.append(
                Note("W-RANGE", what, "inside the brain they are clipped to the 0.1 and 99.9 percentiles")
            )


def _note_spacing(case: Case, grid: Grid, notes: list[Note]) -> None:
    if is_usual(grid.spacing):
        return
    size = " x ".join(f"{spacing:.3g}" for spacing in grid.spacing)
    code, remedy = next(known for thickest, *known in _SPACINGS if max(grid.spacing) <= thickest + 1e-3)
    notes.append(Note(code, f"case {case.id} has voxels of {size} mm", remedy))
