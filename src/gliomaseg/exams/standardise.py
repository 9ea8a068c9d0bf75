"""A case on the grid of the networks, whether it was prepared or comes from the scanner as it is.

A prepared case (skull-stripped, its sequences on each other) is only brought to 1 mm, if it is not there yet.
Of a raw exam, each sequence is registered to one of them, the brain is extracted, and every sequence is
interpolated once, from its file to the 1 mm grid in the frame of that one. There is no atlas: turning a head
costs as much Dice at 5 degrees as at 20, because what costs is the interpolation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.content import shows_head
from gliomaseg.cases.headers import target_of
from gliomaseg.cases.read import Sequences, read_sequences
from gliomaseg.cases.standardise import Native, Standardised, on_standard_grid
from gliomaseg.errors import CaseError, Note
from gliomaseg.exams.brain import SIZE_MM, BrainMask, brain_probability, extract_brain, mask_of
from gliomaseg.exams.brain_checks import check_brain, check_contrast, check_cut
from gliomaseg.exams.register import register
from gliomaseg.imaging.nifti import Voxels, read_image
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Box, Grid, Volume, cropped_grid, filled_box, standard_grid
from gliomaseg.inference.hardware import cores
from gliomaseg.labels import Modality

_Mask = npt.NDArray[np.bool_]

#: Kept around the brain, so that a part of a tumour that the mask cuts off is seen.
_MARGIN_MM = 8.0
#: A sequence that registration moves farther than this gets a note.
_FAR_MM = 5.0


class ExamOptions(NamedTuple):
    """What to do with raw exams.

    Without ``strip``, images count as brains. ``native`` are sequences on whose own grids there are to be
    label maps, besides that on the grid of t1c, or of the first sequence; with ``keep``, results hold the
    standardised images, brain mask and transforms.
    """

    strip: bool = True
    native: Collection[Modality] | Literal["all"] = ()
    keep: bool = False


_DEFAULT = ExamOptions()


def standardise_exam(
    case: Case,
    modalities: Sequence[Modality],
    size_mm: float = 1.0,
    options: ExamOptions = _DEFAULT,
    threads: int = 0,
    notify: Callable[[str], None] = lambda _stage: None,
) -> Standardised:
    """Return a case with voxels of ``size_mm``, registered and skull-stripped if it is not.

    A prepared case is returned as ``cases.standardise`` does. ``threads`` are those of the brain network and
    of registration, 0: one per core. ``notify`` is called with the name of each step of a raw exam. Raises
    what reading does, and for raw exams CaseError: E-REGISTER, E-STRIP, E-GRID for a brain mask on another
    grid; SettingsError (E-EXTRA) without the extra [raw].
    """
    sequences = read_sequences(case, modalities)
    heads = [m for m, image in sequences.arrays.items() if shows_head(image, sequences.grids[m])]
    if not (heads or case.brain_mask) and sequences.overlap():
        return on_standard_grid(sequences, size_mm)
    given = read_image(case.brain_mask) if case.brain_mask else None
    steps, wanted = _Steps(notify), tuple(heads) if options.strip else ()
    if wanted and len(wanted) < len(sequences.arrays) and not given:
        with steps.step("strip"):
            sequences, wanted = _stripped_alone(sequences, wanted, threads), ()
    with steps.step("register"):
        natives = _register(sequences, threads)
    sequences, frame = _placed(sequences, natives), standard_grid(sequences.grid, size_mm)
    if not (wanted or given):
        with steps.step("resample"):
            volume = sequences.on(frame)
        return Standardised(volume, sequences.grid, natives, seconds=steps.seconds)
    with steps.step("strip"):
        found = _placed_mask(case, *given, natives) if given else _extract(sequences, wanted, threads)
    with steps.step("resample"):
        volume, brain = _cut_out(sequences, found, frame)
    return Standardised(volume, sequences.grid, natives, brain, steps.seconds)


class _Steps:
    """The seconds of each step, whose name is given to ``notify`` when it begins."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify, self.seconds = notify, dict[str, float]()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._notify(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def _register(sequences: Sequences, threads: int) -> dict[Modality, Native]:
    """Return the grid of each sequence, placed on the case's own sequence by registration."""
    target = target_of(tuple(sequences.arrays))
    images = {m: Voxels(array, sequences.grids[m], "") for m, array in sequences.arrays.items()}

    def place(modality: Modality) -> Native:
        stored = sequences.stored[modality]
        if modality is target:
            return Native(stored, stored)
        rigid = register(images[target], images[modality], name=f"{modality} of case {sequences.case.id}")
        placed = _moved(stored, rigid.matrix)
        return Native(stored, placed, rigid.moved_mm, rigid.there_and_back_mm)

    with ThreadPoolExecutor(threads or cores()) as pool:
        return dict(zip(images, pool.map(place, images), strict=True))


def _moved(grid: Grid, matrix: npt.NDArray[np.float64]) -> Grid:
    """Return ``grid`` in the space that ``matrix`` (4, 4, RAS mm) leads from."""
    return Grid(grid.shape, np.linalg.inv(matrix) @ grid.affine)


def _placed(sequences: Sequences, natives: Mapping[Modality, Native]) -> Sequences:
    """Return the sequences on their placed grids, with a note of those that moved far."""
    target = target_of(tuple(natives))
    grids = {
        m: grid if m is target else _moved(grid, natives[m].matrix) for m, grid in sequences.grids.items()
    }
    far = [f"{m} by {native.moved_mm:.0f} mm" for m, native in natives.items() if native.moved_mm > _FAR_MM]
    what = f"case {sequences.case.id}: registration moved {', '.join(far)} to lie on {target}"
    notes = [Note("W-MOVED", what, "compare the sequences in the picture")] if far else []
    return replace(sequences, grids=grids, notes=[*sequences.notes, *notes], registered=True)


def _extract(sequences: Sequences, heads: Sequence[Modality], threads: int) -> BrainMask:
    """Return the brain (x, y, z) at 2 mm: the mean of what the network finds in each head that shows a place.

    Agreement makes it better than that in any one sequence (docs/brain-extraction.md).
    """
    grid, unsure = standard_grid(sequences.grid, SIZE_MM), []
    found, shown = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for modality in heads:
        image, own = sequences.arrays[modality], sequences.grids[modality]
        probability, places = brain_probability(image, own, threads=threads)
        unsure.append(mask_of(probability, places).unsure)
        found += regrid(probability, places, grid)
        shown += regrid(np.ones(own.shape, np.uint8), own, grid)
    agreed = mask_of(np.divide(found, shown, out=found, where=shown > 0), grid)
    return replace(agreed, unsure=float(np.mean(unsure)))


def _stripped_alone(sequences: Sequences, heads: Sequence[Modality], threads: int) -> Sequences:
    """Return sequences of which some were stripped with the brain alone in the others, too."""
    arrays = dict(sequences.arrays)
    for modality in heads:
        found = extract_brain(arrays[modality], sequences.grids[modality], threads=threads)
        check_brain(found, sequences.case.id)
        arrays[modality] = np.where(found.mask, arrays[modality], 0)
    what = f"case {sequences.case.id}: {', '.join(heads)} showed the whole head, unlike the others"
    notes = [*sequences.notes, Note("W-SKULL", what, "the brain was extracted from each of them")]
    return replace(sequences, arrays=arrays, notes=notes)


def _placed_mask(
    case: Case, mask: npt.NDArray[np.generic], grid: Grid, natives: Mapping[Modality, Native]
) -> BrainMask:
    """Return the brain mask of a file on its grid as registration placed it.

    Raises CaseError (E-GRID) for one on the grid of no sequence.
    """
    target = target_of(tuple(natives))
    for modality in (target, *natives):
        if natives[modality].stored.matches(grid):
            return BrainMask(mask.astype(np.float32) > 0, natives[modality].placed)
    size = " x ".join(map(str, natives[target].stored.shape))
    raise CaseError(
        "E-GRID",
        f"the brain mask of case {case.id} is on the grid of none of its sequences",
        expected=f"a mask of {size} voxels drawn on {target}, or one drawn on another sequence",
        remedy="resample the mask to the sequence that it was drawn on, or leave --mask out",
    )


def _cut_out(sequences: Sequences, found: BrainMask, frame: Grid) -> tuple[Volume, _Mask]:
    """Return the sequences inside the brain, cropped to it in ``frame``, and the mask on their grid.

    A doubtful mask is noted. Raises CaseError (E-STRIP) for one that no brain has.
    """
    notes, flair = check_brain(found, sequences.case.id), sequences.arrays.get(Modality.T2F)
    images = (regrid(image, sequences.grids[m], found.grid) for m, image in sequences.arrays.items())
    check_contrast(found, images, sequences.case.id)
    if flair is not None:
        there = regrid(flair, sequences.grids[Modality.T2F], found.grid)
        notes += check_cut(found, there, sequences.case.id)
    near = cropped_grid(frame, _box_around(found, frame))
    brain = regrid(found.mask, found.grid, near) > 0.5
    return replace(sequences, notes=[*sequences.notes, *notes]).on(near, brain), brain


def _box_around(found: BrainMask, frame: Grid) -> Box:
    """Return the box in ``frame`` around a brain mask, with a margin."""
    box = filled_box(found.mask) or (slice(0, 1),) * 3
    corners = np.array(np.meshgrid(*[(side.start - 0.5, side.stop - 0.5) for side in box], [1])).reshape(
        4, -1
    )
    places = (np.linalg.inv(frame.affine) @ found.grid.affine @ corners)[:3]
    margins = _MARGIN_MM / np.array(frame.spacing)
    low = np.clip(np.floor(places.min(axis=1) - margins), 0, np.array(frame.shape) - 1).astype(int)
    high = np.clip(np.ceil(places.max(axis=1) + margins) + 1, low + 1, frame.shape).astype(int)
    x, y, z = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return x, y, z
