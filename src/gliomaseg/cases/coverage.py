"""A field of view that ends inside the brain: padding there is removed, and gaps and cut edges are noted.

Beyond the slab that was acquired, registered images hold 0 or one dark value. A network reads that value as
very dark tissue, and may label it tumour.
"""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import numpy.typing as npt

from gliomaseg.errors import Note
from gliomaseg.imaging.volume import Volume, filled_box

Numbers = npt.NDArray[np.generic]

#: Every n-th voxel along each axis is enough to find padding.
_STEP = 4
#: One value in at least this share of a sequence, darker than nearly all others, may be padding (0.07 and
#: 0.02 in the two of 204 real sequences that were padded).
_LEAST_SHARE, _DARK = 0.02, 0.02
#: Padding is beyond a plane: at least this share of it (0.8 in the first) is in planes across some axis with
#: this many times more padding than tissue. Liquid that was clipped to one value is surrounded by tissue.
_BEYOND, _PURE = 0.5, 4
#: A sequence that lacks more of the brain than this gets a note: of 204 real ones three did (0.02, 0.07,
#: 0.34), the others at most 0.009.
_LACKING = 0.02
#: Area in mm2 of a face of the image, other than the lower one, that may be brain: real 0. And, where 0
#: follows that was never measured, of the brain's own last plane, per mm of its thickness: real at most 396.
_EDGE_MM2, _FLAT_MM2 = 200.0, 800.0
_SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


def check_coverage(volume: Volume, case_id: str) -> Volume:
    """Return ``volume`` with padding in the brain set to 0, and notes of that, of gaps and of cut edges.

    The brain is where all other sequences are nonzero; gaps of a single sequence can't be found.
    """
    coarse = volume.array[:, ::_STEP, ::_STEP, ::_STEP].copy()
    array, notes = volume.array, []
    for channel, name in enumerate(volume.channels):
        value = _padding(coarse[channel])
        if value is not None:
            array = array.copy() if array is volume.array else array
            padded = array[channel] == value
            array[channel][padded] = 0
            coarse[channel][coarse[channel] == value] = 0
            what = f"case {case_id}: {np.count_nonzero(padded):,} voxels of {name} have the value {value:g}"
            notes.append(Note("W-COVER", what, "they count as missing: no tissue is so uniform"))
    notes += [*_gaps(coarse != 0, volume, case_id), *_cut_edges(volume, case_id)]
    return replace(volume, array=array, notes=(*volume.notes, *notes))


def _padding(image: Numbers) -> float | None:
    """Return the value that fills part of a sequence (x, y, z) instead of tissue, if any."""
    found = image[image != 0]
    values, counts = np.unique(found, return_counts=True)
    if len(values) < 2:
        return None
    dark = np.cumsum(counts) - counts <= _DARK * (found.size - counts)
    value = values[dark][counts[dark].argmax()]
    filled = image == value
    if np.count_nonzero(filled) <= _LEAST_SHARE * found.size:
        return None
    return float(value) if _is_beyond_a_plane(filled, (image != 0) & ~filled) else None


def _is_beyond_a_plane(filled: npt.NDArray[np.bool_], tissue: npt.NDArray[np.bool_]) -> bool:
    for others in ((1, 2), (0, 2), (0, 1)):
        padding, of_tissue = np.count_nonzero(filled, others), np.count_nonzero(tissue, others)
        if padding[padding > _PURE * of_tissue].sum() >= _BEYOND * padding.sum():
            return True
    return False


def _gaps(there: npt.NDArray[np.bool_], volume: Volume, case_id: str) -> list[Note]:
    notes: list[Note] = []
    for channel, name in enumerate(volume.channels):
        brain = np.delete(there, channel, axis=0).all(axis=0) if len(there) > 1 else there[0]
        lacking = int(np.count_nonzero(brain & ~there[channel])) / max(1, int(np.count_nonzero(brain)))
        if lacking > _LACKING:
            what = f"case {case_id}: {name} lacks {lacking:.0%} of the brain that the other sequences show"
            notes.append(Note("W-COVER", what, "there the model sees only the others: check the result"))
    return notes


def _cut_edges(volume: Volume, case_id: str) -> list[Note]:
    """Return a note if the brain ends in a plane, except at the bottom, where many BraTS images end."""
    faces, affine = [], volume.grid.affine
    firsts, lasts = (nib.aff2axcodes(towards, _SIDES) for towards in (-affine, affine))
    for axis, whole in enumerate(filled_box(*volume.array) or ()):
        others = [a for a in range(3) if a != axis]
        area = volume.grid.spacing[others[0]] * volume.grid.spacing[others[1]]
        flat = _FLAT_MM2 * max(1.0, volume.grid.spacing[axis])
        last = volume.grid.shape[axis] - 1
        for place, end, side in ((whole.start, 0, firsts[axis]), (whole.stop - 1, last, lasts[axis])):
            if side == "bottom":
                continue
            index = tuple(place if a == axis else slice(None) for a in range(3))
            plane = volume.array[(slice(None), *index)].any(axis=0)
            if np.count_nonzero(plane) * area > (_EDGE_MM2 if place == end else flat):
                faces.append(side)
    if not faces:
        return []
    what = f"case {case_id}: the brain reaches the {' and '.join(faces)} edge of the field of view"
    return [Note("W-EDGE", what, "tumour beyond it is not visible")]
