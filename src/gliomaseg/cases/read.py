"""Read the sequences of one case together: prove that they belong together, repair what is safe to repair.

Every repair is a note of the volume; everything else is refused before any work starts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.case import Case
from gliomaseg.cases.headers import check_grids, target_of
from gliomaseg.cases.intensities import is_wrapped, refuse_ct, replace_non_finite, zero_background
from gliomaseg.errors import CaseError, ImageError, Note
from gliomaseg.imaging.nifti import Voxels, read_channels
from gliomaseg.imaging.resample import regrid, resample
from gliomaseg.imaging.surroundings import Surroundings
from gliomaseg.imaging.volume import LARGEST, Grid, Volume, standard_grid, turned_grid, turned_like
from gliomaseg.labels import Modality

_Array = npt.NDArray[np.generic]

#: Least Dice of two sequences' brains (voxels that are not 0) on one grid. The brains of the 51 BraTS cases
#: here overlap by 0.9999 and more; a shift of 2 mm leaves 0.97.
_LEAST_OVERLAP = 0.97
#: How much less it may be for each mm that the thicker of two slices exceeds 1 mm, because thick slices reach
#: beyond the brain: averaged over 3, 5 and 8 slices, three brains overlap themselves by 0.986, 0.973, 0.953.
_LESS_PER_MM = 0.005
#: The grid on which overlap is estimated, and by how much the estimate may be too high (0.002 in the 51 cases
#: moved by 1 to 3 mm).
_COARSE_MM, _COARSE_DICE = 3.0, 0.004
#: Sequences that are interpolated at the same time: each takes memory.
_AT_ONCE = 2


@dataclass(frozen=True)
class Sequences:
    """The images of ``case`` (x, y, z), each on its own of ``grids``; their axes run in the same directions.

    ``grid`` is that of the case: of t1c, or of the first sequence. ``stored`` are the grids in the files,
    whose axes may run in other directions. ``sha256`` are the hashes of the files; ``registered`` is whether
    grids are placed by registration instead of by headers.
    """

    case: Case
    arrays: dict[Modality, _Array]
    grids: dict[Modality, Grid]
    grid: Grid
    stored: dict[Modality, Grid]
    sha256: tuple[str, ...]
    notes: list[Note]
    registered: bool = False

    def on(self, grid: Grid, brain: npt.NDArray[np.bool_] | None = None) -> Volume:
        """Return the sequences (channel, x, y, z) on ``grid``, each interpolated once or not at all.

        ``brain`` (x, y, z) is the brain of whole heads on that grid: what is outside becomes 0, and a small
        copy of it is kept. Empties ``arrays``, so that no image is in memory twice. Adds a note for each
        sequence that is not on the case's grid. Raises CaseError (E-GRID) unless its brain overlaps that of
        the target sequence, or they are registered.
        """
        notes = list(self.notes)
        names, stack = tuple(self.grids), self._empty_stack(grid, brain is not None)
        around = None if brain is None else Surroundings.empty(len(names), brain, grid.spacing)

        def fill(number: int) -> bool:
            array, own = self.arrays.pop(names[number]), self.grids[names[number]]
            wraps = not own.matches(grid) and is_wrapped(array)
            if around is None:
                np.copyto(stack[number], resample(array, own, grid), casting="same_kind")
            else:
                head = regrid(array, own, grid)
                around.keep(number, head)
                np.multiply(head, around.brain, out=stack[number])
            return wraps

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            wrapped = tuple(itertools.compress(names, list(pool.map(fill, range(len(names))))))
        away = [m for m in names if not (self.registered or self.grids[m].matches(self.grid))]
        notes += [self._check_overlap(m, dict(zip(names, stack, strict=True))) for m in away]
        return Volume(stack, grid, names, self.case.anonymous_notes(notes), self.sha256, wrapped, around)

    def overlap(self) -> bool:
        """Return whether the brains (voxels that are not 0), placed by their headers, surely overlap.

        The threshold is that of ``on``, raised by as much as sampling at 3 mm may differ.
        """
        away = [m for m, grid in self.grids.items() if not grid.matches(self.grid)]
        if not away:
            return True
        coarse, target = standard_grid(self.grid, _COARSE_MM), target_of(tuple(self.grids))
        brains = {m: regrid(self.arrays[m] != 0, self.grids[m], coarse) >= 0.5 for m in {target, *away}}
        return all(_dice(brains[m], brains[target]) >= self._least_overlap(m) + _COARSE_DICE for m in away)

    def _least_overlap(self, modality: Modality) -> float:
        thickest = max(*self.grids[modality].spacing, *self.grid.spacing, 1.0)
        return _LEAST_OVERLAP - _LESS_PER_MM * (thickest - 1)

    def _empty_stack(self, grid: Grid, real: bool) -> _Array:
        """Return an array (channel, x, y, z) on ``grid``, of the type that holds every sequence."""
        common = np.result_type(*[array.dtype for array in self.arrays.values()])
        kind = common if common.itemsize <= 4 and not real else np.dtype(np.float32)
        stack = np.empty((len(self.arrays), *grid.shape[::-1]), dtype=kind)
        return stack.transpose(0, 3, 2, 1)  # x fastest, as in the files

    def _check_overlap(self, modality: Modality, arrays: dict[Modality, _Array]) -> Note:
        """Return the note of a resampled sequence; raises CaseError (E-GRID) if the brains do not overlap."""
        target = target_of(tuple(arrays))
        overlap = _dice(arrays[modality] != 0, arrays[target] != 0)
        what = (
            f"case {self.case.id}: {modality} ({_describe(self.grids[modality])}) is not on the grid of "
            f"{target} ({_describe(self.grids[target])})"
        )
        if overlap < self._least_overlap(modality):
            raise CaseError(
                "E-GRID",
                f"{what}, and placed by their headers the two brains overlap by only {overlap:.0%}",
                expected="all sequences registered to each other, with headers that agree",
                remedy="register them first with: gliomaseg standardise EXAM -o prepared",
            )
        return Note("W-GRID", what, f"it was resampled: the two brains overlap by {overlap:.1%}")


def read_case(case: Case, modalities: Sequence[Modality]) -> Volume:
    """Return the sequences (channel, x, y, z) of a case on its own grid: that of t1c, or of the first.

    Raises CaseError (E-MODALITY, E-DUPLICATE, E-GRID) and ImageError.
    """
    sequences = read_sequences(case, modalities)
    return sequences.on(sequences.grid)


def read_sequences(case: Case, modalities: Sequence[Modality]) -> Sequences:
    """Return the images of a case as stored, with axes turned to run alike.

    Voxels that are not finite are replaced, with a note. Raises CaseError (E-MODALITY, E-GRID, E-DUPLICATE)
    and ImageError (also E-CONSTANT, E-VALUES).
    """
    case.require(modalities)
    notes = list(case.notes)
    images = _read_images(case, modalities, notes)
    arrays = {modality: images[modality].array for modality in modalities}
    grids = {modality: images[modality].grid for modality in modalities}
    sha256 = tuple(images[modality].sha256 for modality in modalities)
    del images
    check_grids(case, grids, notes)
    _check_images(case, arrays, notes)
    own, stored = grids[target_of(modalities)], dict(grids)
    for modality in modalities:
        arrays[modality] = turned_like(arrays[modality], grids[modality], own)
        grids[modality] = turned_grid(grids[modality], own)
    return Sequences(case, arrays, grids, own, stored, sha256, notes)


def _read_images(case: Case, modalities: Sequence[Modality], notes: list[Note]) -> dict[Modality, Voxels]:
    """Read each file once, several at the same time; a case in memory needs no reading."""
    if isinstance(case, ArrayCase):
        known = {modality: case.voxels[modality] for modality in modalities}
        for modality, image in known.items():
            refuse_ct(image.array, modality)
        return {m: v._replace(array=zero_background(v.array, m, notes)) for m, v in known.items()}
    files: dict[tuple[Path, Modality | None], list[Modality]] = {}
    for modality in modalities:
        alone = None if modality in case.channels else modality
        files.setdefault((case.images[modality], alone), []).append(modality)

    def read(path: Path, wanted: Sequence[Modality]) -> dict[Modality, Voxels]:
        found = read_channels(path, notes, [case.channels.get(m) for m in wanted])
        for image in found:
            refuse_ct(image.array, str(path))
        arrays = [zero_background(image.array, str(path), notes) for image in found]
        pairs = zip(wanted, found, arrays, strict=True)
        return {modality: image._replace(array=array) for modality, image, array in pairs}

    with ThreadPoolExecutor(len(files)) as pool:
        found = pool.map(lambda file: read(file[0][0], file[1]), files.items())
        return {modality: image for images in found for modality, image in images.items()}


def _check_images(case: Case, arrays: dict[Modality, _Array], notes: list[Note]) -> None:
    """Replace voxels that are not finite, and note unusual intensities.

    Raises ImageError (E-CONSTANT, E-VALUES), CaseError (E-DUPLICATE) for an image that is given twice.
    """
    ranges = {modality: (array.min(), array.max()) for modality, array in arrays.items()}
    for modality, (low, high) in ranges.items():
        if low == high:
            raise ImageError(
                "E-CONSTANT",
                f"{case.images[modality]} has the same value everywhere",
                expected="an image with contrast",
                remedy="check that it is the right file and that its export was complete",
            )
    _require_different(case, arrays)
    for modality, array in list(arrays.items()):
        (low, high), name = ranges[modality], str(case.images[modality])
        if array.dtype.kind == "f" and not -LARGEST <= low <= high <= LARGEST:
            others = [a for m, a in arrays.items() if m != modality and a.shape == array.shape]
            arrays[modality] = fixed = replace_non_finite(array, name, others, notes)
            low, high = fixed.min(), fixed.max()
        if low < 0 or high > 1e6:
            what = f"{name} has intensities from {float(low):.4g} to {float(high):.4g}"
            notes.append(
                Note("W-RANGE", what, "inside the brain they are clipped to the 0.1 and 99.9 percentiles")
            )


def _require_different(case: Case, arrays: dict[Modality, _Array]) -> None:
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


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    both, total = np.count_nonzero(one & other), np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * both / total if total else 0.0


def _describe(grid: Grid) -> str:
    shape = " x ".join(map(str, grid.shape))
    origin = ", ".join(f"{v:g}" for v in grid.affine[:3, 3])
    return f"{shape} voxels, origin {origin} mm"
