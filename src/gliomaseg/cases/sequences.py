"""The sequences of one case as they are stored, and as one volume on a common grid. Ignorant of files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.wrapped import is_wrapped
from gliomaseg.errors import CaseError, Note
from gliomaseg.imaging.resample import resample
from gliomaseg.imaging.volume import Grid, Volume
from gliomaseg.labels import Modality

_Array = npt.NDArray[np.generic]

#: Least Dice of two sequences' brains (voxels that are not 0) on one grid. The brains of the 51 BraTS cases
#: here cover each other by 0.9999 and more; a shift of 2 mm leaves 0.97.
_LEAST_COVER = 0.97
#: How much less it may be for each mm that the thicker of two slices exceeds 1 mm, for thick slices reach
#: beyond the brain: as means of 3, 5 and 8 slices three brains cover themselves by 0.986, 0.973 and 0.953.
_LESS_PER_MM = 0.005
#: Sequences that are interpolated at the same time: each takes memory.
_AT_ONCE = 2


@dataclass(frozen=True)
class Sequences:
    """The images of ``case``, (x, y, z), each on its own of the ``grids``, their axes run alike.

    ``sha256`` are the hashes of the files that were read, in the same order.
    """

    case: Case
    arrays: dict[Modality, _Array]
    grids: dict[Modality, Grid]
    sha256: tuple[str, ...]
    notes: list[Note]

    @property
    def grid(self) -> Grid:
        """Return the grid of t1c, or of the first: the case's own."""
        return self.grids[target_of(tuple(self.grids))]

    def on(self, grid: Grid) -> Volume:
        """Return the sequences (channel, x, y, z) on ``grid``, each interpolated once, or not at all.

        Empties ``arrays``, so that no image is held twice. What does not lie on the case's own grid is noted.
        Raises CaseError (E-GRID) unless its brain covers that of the others.
        """
        names, stack = tuple(self.grids), self._room(grid)
        moved = [m for m in names if not self.grids[m].matches(grid)]
        wrapped = tuple(m for m in moved if is_wrapped(self.arrays[m]))

        def fill(modality: Modality, channel: _Array) -> None:
            image = resample(self.arrays.pop(modality), self.grids[modality], grid)
            np.copyto(channel, image, casting="same_kind")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fill, names, stack))
        away = [m for m in names if not self.grids[m].matches(self.grid)]
        notes = [*self.notes, *(self._check_cover(m, dict(zip(names, stack, strict=True))) for m in away)]
        return Volume(stack, grid, names, anonymous(self.case, notes), self.sha256, wrapped)

    def _room(self, grid: Grid) -> _Array:
        """Return an array (channel, x, y, z) on ``grid``, of the type that holds every sequence."""
        common = np.result_type(*[array.dtype for array in self.arrays.values()])
        kind = common if common.itemsize <= 4 else np.dtype(np.float32)
        room = np.empty((len(self.arrays), *grid.shape[::-1]), dtype=kind)
        return room.transpose(0, 3, 2, 1)  # x fastest, as in the files

    def _check_cover(self, modality: Modality, arrays: dict[Modality, _Array]) -> Note:
        """Return what is said of a sequence that lies on another grid; raises CaseError if headers lie."""
        target = target_of(tuple(arrays))
        one, other = arrays[modality] != 0, arrays[target] != 0
        both, total = np.count_nonzero(one & other), np.count_nonzero(one) + np.count_nonzero(other)
        cover = 2 * both / total if total else 0.0
        what = (
            f"case {self.case.id}: {modality} ({_describe(self.grids[modality])}) does not lie on the grid "
        )
        what += f"of {target} ({_describe(self.grids[target])})"
        thickest = max(*self.grids[modality].spacing, *self.grids[target].spacing, 1.0)
        if cover < _LEAST_COVER - _LESS_PER_MM * (thickest - 1):
            raise CaseError(
                "E-GRID",
                f"{what}, and by the headers the two brains cover each other by {cover:.0%} only",
                expected="all sequences registered to each other, with headers that say so",
                remedy=f"register {modality} to {target} first, for example with ANTs, elastix or "
                "FSL's FLIRT, and give the registered image instead",
            )
        done = f"it was resampled: the two brains cover each other by {cover:.1%}"
        return Note("W-GRID", what, done)


def target_of(modalities: Sequence[Modality]) -> Modality:
    """Return the sequence on whose grid a case is labelled: t1c, or the first."""
    return Modality.T1C if Modality.T1C in modalities else modalities[0]


def anonymous(case: Case, notes: Sequence[Note]) -> tuple[Note, ...]:
    """Return each note once, without the paths of the case's files."""
    return tuple(dict.fromkeys(note._replace(what=case.anonymous(note.what)) for note in sorted(notes)))


def _describe(grid: Grid) -> str:
    shape = " x ".join(map(str, grid.shape))
    origin = ", ".join(f"{v:g}" for v in grid.affine[:3, 3])
    return f"{shape} voxels, origin {origin} mm"
