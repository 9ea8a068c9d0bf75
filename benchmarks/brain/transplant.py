"""A brain with a tumour, from a case without a skull, put inside a real head of the same kind of sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from heads import Floats, Head, Mask
from scipy import ndimage

from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.phantom_face import Part
from gliomaseg.imaging.phantom_head import add_head
from gliomaseg.imaging.resample import regrid, resample
from gliomaseg.imaging.volume import Grid, filled_box, standard_grid, turned_grid, turned_like

Rng = np.random.Generator

#: Room around a brain for the head, in voxels of 2 mm: left, back, neck; right, front, top.
_ROOM = np.array([[16, 16], [18, 22], [34, 12]])
#: A voxel is tumour where at least this share of it is.
_TUMOUR = 0.5
#: How widely the contrasts of a synthetic head vary, in standard deviations of the brain.
_SPREAD = 0.5
SEQUENCES = ("t1", "t1ce", "t2", "flair")
_RAS = Grid((1, 1, 1), np.eye(4))


class Brain:
    """One case without a skull at 2 mm: images by sequence, the brain, the tumour, with room for a head."""

    def __init__(self, folder: Path, sequences: tuple[str, ...] = SEQUENCES) -> None:
        found, grid = read_image(folder / f"{folder.name}_seg.nii.gz")
        turned = turned_grid(grid, _RAS)
        fine = standard_grid(turned, 2.0)
        read = {
            s: turned_like(read_image(folder / f"{folder.name}_{s}.nii.gz")[0], grid, _RAS) for s in sequences
        }
        whole = ndimage.binary_fill_holes(np.any([image != 0 for image in read.values()], axis=0))
        share = regrid(whole.astype(np.float32), turned, fine)
        tumour = regrid((turned_like(found, grid, _RAS) > 0).astype(np.float32), turned, fine) >= _TUMOUR
        box = filled_box(share >= 0.5) or (slice(0, 1),) * 3
        self.brain = np.pad(share[box] >= 0.5, _ROOM)
        self.tumour = np.pad(tumour[box], _ROOM)
        self.images = {
            s: np.pad(resample(image.astype(np.float32), turned, fine)[box], _ROOM)
            for s, image in read.items()
        }
        self.grid = Grid(self.brain.shape, np.diag([2.0, 2, 2, 1]))


def put_inside(brain: Brain, sequence: str, head: Head, rng: Rng) -> tuple[Head, Mask]:
    """Return ``head`` fitted around a brain, and the tumour: its own brain is replaced, the gap is liquid.

    The head is stretched so that the boxes of both brains agree; the brain gets the head's range of
    brightness. What lay in the head's own mask stays in the mask, liquid too.
    """
    image, mask = _fitted(head, brain)
    seen = filled_box(image > 0) or (slice(0, 1),) * 3
    inside = brain.brain & (brain.images[sequence] > 0)
    own = image[mask & (image > 0)]
    given = brain.images[sequence]
    span = np.percentile(own, (5, 50)) if own.size else np.array([0.0, 1.0])
    have = np.percentile(given[inside], (5, 50))
    factor = (span[1] - span[0]) / max(have[1] - have[0], 1e-6) * rng.uniform(0.8, 1.25)
    matched = span[1] + (given - have[1]) * factor
    between = (mask | brain.brain) & ~inside
    image[between] = _liquid(sequence, span, own) * rng.uniform(0.8, 1.2) + _grain(image, rng)[between]
    image[inside] = matched[inside]
    seam = ndimage.gaussian_filter(image, 0.5)
    rim = ndimage.binary_dilation(inside, iterations=1) & ~ndimage.binary_erosion(inside, iterations=1)
    image[rim] = seam[rim]
    image = np.maximum(image, 1e-6 * float(image.max())).astype(np.float32)
    x, y, z = image[seen].shape
    whole = (mask | brain.brain)[seen]
    return Head(head.name, image[seen], whole, Grid((x, y, z), brain.grid.affine)), brain.tumour[seen]


def put_in_shell(brain: Brain, sequence: str, rng: Rng) -> tuple[Head, Mask]:
    """Return a synthetic head around a brain, and the tumour; contrasts vary widely around the usual ones."""
    channel = SEQUENCES.index(sequence)
    image = np.stack([brain.images[sequence]] * (channel + 1))
    made = add_head(image, brain.brain, brain.grid, seed=int(rng.integers(2**31)), spread=_SPREAD)
    start = np.round(np.linalg.inv(brain.grid.affine) @ made.grid.affine[:, 3])[:3].astype(int)
    tumour = np.zeros(made.grid.shape, bool)
    places = np.argwhere(brain.tumour) - start
    kept = np.all((places >= 0) & (places < made.grid.shape), axis=1)
    tumour[tuple(places[kept].T)] = True
    image = np.maximum(made.images[channel], 1e-6 * float(made.images[channel].max()))
    return Head("shell", image.astype(np.float32), made.labels == Part.BRAIN, made.grid), tumour


def _fitted(head: Head, brain: Brain) -> tuple[Floats, Mask]:
    """Return the head and its own brain on the grid of ``brain``, the boxes of both brains made one."""
    ours, theirs = (filled_box(m) or (slice(0, 1),) * 3 for m in (brain.brain, head.brain))
    start, into = (np.array([s.start for s in box]) for box in (ours, theirs))
    scale = np.array([(b.stop - b.start) / (a.stop - a.start) for a, b in zip(ours, theirs, strict=True)])
    offset = into - 0.5 + (0.5 - start) * scale
    shape = brain.brain.shape
    image = ndimage.affine_transform(head.image, scale, offset, shape, order=1)
    mask = ndimage.affine_transform(head.brain.astype(np.float32), scale, offset, shape, order=1) >= 0.5
    return image.astype(np.float32), mask


def _liquid(sequence: str, span: npt.NDArray[np.floating], own: Floats) -> float:
    """Return the brightness of liquid: bright in T2, dark elsewhere."""
    return float(np.percentile(own, 95)) if sequence == "t2" else float(0.8 * span[0])


def _grain(image: Floats, rng: Rng) -> Floats:
    rough = ndimage.gaussian_filter(rng.normal(0, 1, image.shape), 0.7)
    return (rough * (0.08 * image.mean() / rough.std())).astype(np.float32)
