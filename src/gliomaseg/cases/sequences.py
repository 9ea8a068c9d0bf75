"""The sequences of one case: each on its own grid as stored, and all as one volume on a common grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.intensities import is_wrapped
from gliomaseg.errors import CaseError, Note
from gliomaseg.imaging.resample import resample
from gliomaseg.imaging.volume import Grid, Volume, turned_grid
from gliomaseg.labels import Modality

_Array = npt.NDArray[np.generic]

#: Least Dice of two sequences' brains (voxels that are not 0) on one grid. The brains of the 51 BraTS cases
#: here overlap by 0.9999 and more; a shift of 2 mm leaves 0.97.
_LEAST_OVERLAP = 0.97
#: How much less it may be for each mm that the thicker of two slices exceeds 1 mm, because thick slices reach
#: beyond the brain: averaged over 3, 5 and 8 slices, three brains overlap themselves by 0.986, 0.973, 0.953.
_LESS_PER_MM = 0.005
#: Sequences that are interpolated at the same time: each takes memory.
_AT_ONCE = 2


@dataclass(frozen=True)
class Sequences:
    """The images of ``case`` (x, y, z), each on its own of ``grids``; their axes run in the same directions.

    ``sha256`` are the hashes of the files, in the same order.
    """

    case: Case
    arrays: dict[Modality, _Array]
    grids: dict[Modality, Grid]
    sha256: tuple[str, ...]
    notes: list[Note]

    @property
    def grid(self) -> Grid:
        """Return the grid of the case: that of t1c, or of the first sequence."""
        return self.grids[target_of(tuple(self.grids))]

    def on(self, grid: Grid) -> Volume:
        """Return the sequences (channel, x, y, z) on ``grid``, each interpolated once or not at all.

        Empties ``arrays``, so that no image is in memory twice. Adds a note for each sequence that is not on
        the case's grid. Raises CaseError (E-GRID) unless its brain overlaps that of the target sequence.
        """
        names, stack = tuple(self.grids), self._empty_stack(grid)
        moved = [m for m in names if not self.grids[m].matches(grid)]
        wrapped = tuple(m for m in moved if is_wrapped(self.arrays[m]))

        def fill(modality: Modality, channel: _Array) -> None:
            image = resample(self.arrays.pop(modality), self.grids[modality], grid)
            np.copyto(channel, image, casting="same_kind")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fill, names, stack))
        away = [m for m in names if not self.grids[m].matches(self.grid)]
        notes = [*self.notes, *(self._check_overlap(m, dict(zip(names, stack, strict=True))) for m in away)]
        return Volume(stack, grid, names, self.case.anonymous_notes(notes), self.sha256, wrapped)

    def _empty_stack(self, grid: Grid) -> _Array:
        """Return an array (channel, x, y, z) on ``grid``, of the type that holds every sequence."""
        common = np.result_type(*[array.dtype for array in self.arrays.values()])
        kind = common if common.itemsize <= 4 else np.dtype(np.float32)
        stack = np.empty((len(self.arrays), *grid.shape[::-1]), dtype=kind)
        return stack.transpose(0, 3, 2, 1)  # x fastest, as in the files

    def _check_overlap(self, modality: Modality, arrays: dict[Modality, _Array]) -> Note:
        """Return the note of a resampled sequence; raises CaseError (E-GRID) if the brains do not overlap."""
        target = target_of(tuple(arrays))
        one, other = arrays[modality] != 0, arrays[target] != 0
        both, total = np.count_nonzero(one & other), np.count_nonzero(one) + np.count_nonzero(other)
        overlap = 2 * both / total if total else 0.0
        what = (
            f"case {self.case.id}: {modality} ({_describe(self.grids[modality])}) is not on the grid of "
            f"{target} ({_describe(self.grids[target])})"
        )
        thickest = max(*self.grids[modality].spacing, *self.grids[target].spacing, 1.0)
        if overlap < _LEAST_OVERLAP - _LESS_PER_MM * (thickest - 1):
            raise CaseError(
                "E-GRID",
                f"{what}, and placed by their headers the two brains overlap by only {overlap:.0%}",
                expected="all sequences registered to each other, with headers that agree",
                remedy=f"register {modality} to {target} first, for example with ANTs, elastix or "
                "FSL's FLIRT, and give the registered image instead",
            )
        return Note("W-GRID", what, f"it was resampled: the two brains overlap by {overlap:.1%}")


def target_of(modalities: Sequence[Modality]) -> Modality:
    """Return the sequence on whose grid a case is labelled: t1c, or the first."""
    return Modality.T1C if Modality.T1C in modalities else modalities[0]


def _describe(grid: Grid) -> str:
    shape = " x ".join(map(str, grid.shape))
    origin = ", ".join(f"{v:g}" for v in grid.affine[:3, 3])
    return f"{shape} voxels, origin {origin} mm"


def require_orientation(case: Case, grids: Mapping[Modality, Grid]) -> None:
    """Raise CaseError (E-GRID) for a sequence on another grid where a header has no orientation.

    Such an image is never placed by a guess.
    """
    target = target_of(tuple(grids))
    for modality, grid in grids.items():
        if turned_grid(grid, grids[target]).matches(grids[target]):
            continue
        if not (grid.is_oriented and grids[target].is_oriented):
            lost, other = (modality, target) if not grid.is_oriented else (target, modality)
            raise no_orientation(case.images[lost], grids[lost], case.images[other], grids[other])


def no_orientation(file: Path, grid: Grid, other: Path, of: Grid) -> CaseError:
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
