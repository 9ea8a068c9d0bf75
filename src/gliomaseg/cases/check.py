"""The sequences of one case, read together: proven to belong together, repaired where that is safe.

What was repaired is a note of the volume, never silent; the rest is refused in words before any work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.background import zero_background
from gliomaseg.cases.case import Case
from gliomaseg.cases.orientation import no_orientation, require_orientation
from gliomaseg.cases.sequences import Sequences, anonymous, target_of
from gliomaseg.errors import CaseError, ImageError, Note
from gliomaseg.imaging.header import Layout
from gliomaseg.imaging.nifti import LARGEST, Voxels, is_finite, read_channels, read_grid, read_layout
from gliomaseg.imaging.resample import is_usual, standard_grid, turned_grid, turned_like
from gliomaseg.imaging.volume import Grid, Volume
from gliomaseg.labels import Modality

#: Part of a sequence's brain that may be replaced because its voxels are no numbers.
_MOST_REPLACED = 0.05
#: What voxels that are not 1 mm mean, by their greatest length in mm (docs/thick-slices.md).
_SPACINGS = (
    (3.0, "W-SPACING", "it is computed at 1 mm, and the labels are put back on its own grid"),
    (10.0, "W-THICK", "computed at 1 mm; 5 mm slices cost .015 (WT), .015 (TC) and .047 (ET) of mean Dice"),
    (math.inf, "W-COARSE", "with slices so thick nothing was measured: don't rely on the result"),
)

_Array = npt.NDArray[np.generic]


def read_case(case: Case, modalities: Sequence[Modality]) -> Volume:
    """Return the sequences (channel, x, y, z) of a case on its own grid: that of t1c, or of the first.

    Raises CaseError (E-MODALITY, E-DUPLICATE, E-GRID) and ImageError.
    """
    sequences = read_sequences(case, modalities)
    return sequences.on(sequences.grid)


def read_sequences(case: Case, modalities: Sequence[Modality]) -> Sequences:
    """Return the images of a case as they are stored, proven to be different ones.

    Axes are flipped and exchanged to run alike. Files are inflated side by side. Voxels that are no numbers
    are replaced where they are few, and noted. Raises CaseError (E-MODALITY, E-GRID, E-DUPLICATE) and
    ImageError.
    """
    case.require(modalities)
    notes = list(case.notes)
    images = _read_images(case, modalities, notes)
    arrays = {modality: images[modality].array for modality in modalities}
    grids = {modality: images[modality].grid for modality in modalities}
    read = tuple(images[modality].sha256 for modality in modalities)
    del images
    require_orientation(case, grids)
    own = grids[target_of(modalities)]
    for modality in modalities:
        arrays[modality] = turned_like(arrays[modality], grids[modality], own)
        grids[modality] = turned_grid(grids[modality], own)
    check_contents(case, arrays)
    for modality in modalities:
        if not is_finite(arrays[modality]):
            arrays[modality] = _replace_bad(case, arrays, modality, notes)
    _note_values(case, arrays, notes)
    _note_spacing(case, own, notes)
    return Sequences(case, arrays, grids, read, notes)


def _read_images(case: Case, modalities: Sequence[Modality], notes: list[Note]) -> dict[Modality, Voxels]:
    """Read each file once, several side by side; a case in memory has been read."""
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
    """Return the grid of one sequence by its header; raises CaseError (E-MODALITY) and ImageError."""
    path = case.require([modality]).images[modality]
    return read_grid(path, notes, channel=case.channels.get(modality))


def stored_size(case: Case, modalities: Sequence[Modality], size_mm: float | None = None) -> tuple[int, int]:
    """Return the voxels of a case's largest image and the bytes that all sequences take for one voxel.

    With ``size_mm`` also as there are once they have that size. From the headers alone. Raises CaseError
    (E-MODALITY) and ImageError.
    """
    case.require(modalities)
    layouts = [_layout_of(case, modality) for modality in modalities]
    own = layouts[modalities.index(target_of(modalities))].grid
    grid = standard_grid(own, size_mm) if size_mm else own
    shapes = [grid.shape, *(layout.grid.shape for layout in layouts)]
    return max(map(math.prod, shapes)), sum(layout.dtype.itemsize for layout in layouts)


def _layout_of(case: Case, modality: Modality) -> Layout:
    if isinstance(case, ArrayCase):
        return Layout(case.voxels[modality].grid, case.voxels[modality].array.dtype, 0, 1.0, 0.0)
    return read_layout(case.images[modality], channel=case.channels.get(modality))


def read_headers(case: Case, modalities: Sequence[Modality]) -> tuple[Note, ...]:
    """Return the warnings of a case's headers: no voxel is read unless a file's end looks wrong.

    Raises CaseError (E-MODALITY, E-GRID) and ImageError as ``read_case`` does, as far as headers tell.
    """
    case.require(modalities)
    notes = list(case.notes)
    grids = {m: read_grid_of(case, m, notes) for m in modalities}
    require_orientation(case, grids)
    target = grids[target_of(modalities)]
    for modality, grid in grids.items():
        if not turned_grid(grid, target).matches(target):
            what = f"case {case.id}: {modality} lies on another grid"
            notes.append(Note("W-GRID", what, "it will be resampled if the brains then cover each other"))
    _note_spacing(case, target, notes)
    if case.reference is not None:
        check_reference(case, target, read_grid(case.reference, notes))
    return anonymous(case, notes)


def check_reference(case: Case, grid: Grid, reference: Grid) -> None:
    """Raise CaseError (E-GRID) unless a reference lies on the grid of its case."""
    if reference.matches(grid):
        return
    if case.reference is not None and not reference.is_oriented:
        image = case.images[target_of(tuple(case.images))]
        raise no_orientation(case.reference, reference, image, grid)
    raise CaseError(
        "E-GRID",
        f"the reference of case {case.id} lies on another grid than its images",
        expected=f"{grid.shape} with the same affine",
        remedy="give the label map that belongs to these images: a reference is never resampled",
    )


def check_contents(case: Case, arrays: dict[Modality, _Array]) -> None:
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
    """Return whether two images are the same; most differ in a few slices already."""
    few = (..., slice(None, None, 32))
    return np.array_equal(one[few], other[few]) and np.array_equal(one, other)


def _replace_bad(case: Case, arrays: dict[Modality, _Array], modality: Modality, notes: list[Note]) -> _Array:
    """Return a float32 copy whose voxels are all numbers.

    NaN becomes 0, but where another sequence on the same grid shows brain it becomes the median of this
    one's; what is infinite or beyond float32 becomes the largest or smallest number there is.
    """
    array = arrays[modality]
    with np.errstate(over="ignore", invalid="ignore"):
        image = array.astype(np.float32)
        sound = np.isfinite(image)
    brain = sound & (image != 0)
    others = [a for m, a in arrays.items() if m != modality and a.shape == array.shape]
    inside = ~sound & np.logical_or.reduce([(a != 0) & (a == a) for a in others] or [~sound])
    count, most = int(np.count_nonzero(inside)), int(np.count_nonzero(brain))
    if not most or count > _MOST_REPLACED * (most + count):
        raise ImageError(
            "E-VALUES",
            f"{case.images[modality]} has {count:,} voxels of the brain that are NaN, infinite or beyond "
            f"{LARGEST:.1g}",
            expected=f"an ordinary number in at least {1 - _MOST_REPLACED:.0%} of the brain's voxels",
            remedy="export the image again: too much of it is missing to be replaced",
        )
    values = image[brain]
    image[np.isposinf(image)], image[np.isneginf(image)] = values.max(), values.min()
    image[np.isnan(image) & inside] = np.median(values)
    image[np.isnan(image)] = 0
    what = f"{case.images[modality]} has {int(np.count_nonzero(~sound)):,} voxels that are no numbers"
    notes.append(Note("W-VALUES", what, f"they were replaced, {count:,} of them inside the brain"))
    return image


def _note_values(case: Case, arrays: dict[Modality, _Array], notes: list[Note]) -> None:
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
    what = f"case {case.id} has voxels of {size} mm"
    code, words = next(known for thickest, *known in _SPACINGS if max(grid.spacing) <= thickest + 1e-3)
    notes.append(Note(code, what, words))
