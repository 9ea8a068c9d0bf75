"""A synthetic exam as a scanner makes it: heads with skulls on four grids, with headers that don't agree.

The phantom of ``phantom`` gets the head of ``phantom_head``. Each sequence is then sampled once, from the
voxels of 1 mm to its own grid, averaged over the thickness of its slices; the head moved before each of them,
and no header knows. Brightness of the coil and noise are added. What was moved by how much comes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.imaging import nifti
from gliomaseg.imaging.nifti import Voxels
from gliomaseg.imaging.phantom import Size, make_phantom, write_notice
from gliomaseg.imaging.phantom_face import Part
from gliomaseg.imaging.phantom_head import Head, add_head
from gliomaseg.imaging.phantom_shells import shape_of
from gliomaseg.imaging.phantom_tumour import DEFAULT_TUMOUR, Image, Mask, TumourSpec, make_noise
from gliomaseg.imaging.volume import Affine, Grid, Segmentation, filled_box
from gliomaseg.labels import BRATS2021, REGION_SHELL, Modality, Region
from gliomaseg.storage import files


class _Plan(NamedTuple):
    """How a sequence is acquired: directions of axes, voxel size in mm, number of voxels, degrees of tilt."""

    directions: str
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)


#: Usual protocols: T1 with contrast in 3D, the others in oblique axial slices.
_PLANS: Mapping[Modality, _Plan] = {
    Modality.T1N: _Plan("LPS", (0.9, 0.9, 5.0), (256, 256, 36), (11.0, 0.0, -2.0)),
    Modality.T1C: _Plan("LIA", (1.0, 1.0, 1.0), (192, 232, 256)),
    Modality.T2W: _Plan("RAS", (0.8, 0.8, 4.0), (288, 288, 44), (6.0, 1.0, 0.0)),
    Modality.T2F: _Plan("LAS", (0.9, 0.9, 5.5), (256, 256, 32), (-13.0, 2.0, 4.0)),
}
_DIRECTIONS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}
#: The small exam has in-plane voxels so much longer.
_SMALL = 2.5
#: Standard deviation of the noise and of the coil's brightness, relative to the brain's mean.
_NOISE, _COIL = 0.025, 0.15
#: How far the centre of the field of view is below that of the brain.
_LOWER_MM = 4.0


@dataclass(frozen=True)
class RawExam:
    """A synthetic exam with the skull: four ``images`` int16, each (x, y, z) on its own grid.

    ``moves`` are the truth: matrices (4, 4) that map points of T1c's space to those of each sequence, in RAS
    mm. ``reference`` and ``brain`` (x, y, z) are on the grid of T1c.
    """

    images: Mapping[Modality, Voxels]
    moves: Mapping[Modality, Affine]
    reference: Segmentation
    brain: Mask


def make_raw_exam(
    size: Size = "full",
    *,
    seed: int = 0,
    tumour: TumourSpec | None = DEFAULT_TUMOUR,
    most_degrees: float = 6.0,
    most_mm: float = 12.0,
) -> RawExam:
    """Return a synthetic exam; the same arguments give the same voxels.

    "full" has T1c of 1 mm, T1 of 5 mm, T2 of 4 mm and FLAIR of 5.5 mm slices; "small" the same slices with
    longer voxels. Between T1c and each of the others the head turned by up to ``most_degrees`` about each
    axis and moved by up to ``most_mm`` along each. Raises SettingsError (E-SETTING) if the tumour misses the
    brain.
    """
    phantom = make_phantom(size, seed=seed, tumour=tumour)
    inside = phantom.images.array[0] > 0
    head = add_head(phantom.images.array, inside, phantom.images.grid, seed=seed)
    random = np.random.default_rng((seed, 25))
    centre = head.grid.affine @ [*np.argwhere(head.labels == Part.BRAIN).mean(axis=0), 1.0]
    there = _move(random, 8.0, 20.0) @ _shift(-centre[:3])  # from the phantom's space to that of T1c
    moves: dict[Modality, Affine] = {m: _move(random, most_degrees, most_mm) for m in Modality}
    moves[Modality.T1C] = np.eye(4)
    images = {}
    for channel, modality in enumerate(Modality):
        grid = _make_grid(_PLANS[modality], (there @ centre)[:3], 1.0 if size == "full" else _SMALL)
        placed = head._replace(images=head.images[channel : channel + 1])
        array = _acquire(placed, moves[modality] @ there, grid, random)
        images[modality] = Voxels(array, grid, "")
    own = _seen_from(images[Modality.T1C].grid, there)
    reference = Segmentation(_label(phantom.reference, own), images[Modality.T1C].grid, BRATS2021)
    return RawExam(images, moves, reference, _sample(inside, phantom.images.grid, own) > 0.5)


def write_raw_exam(exam: RawExam, folder: Path, *, case_id: str = "phantom-raw") -> Path:
    """Write the exam as ``folder/case_id`` with files CASE_t1n to CASE_t2f and CASE_seg; return that folder.

    Its README.txt states that the exam is synthetic, with its source and licence. Raises OutputError.
    """
    case = files.make_folder(folder / case_id)
    for modality, image in exam.images.items():
        nifti.write_image(case / f"{case_id}_{modality}.nii.gz", image.array, image.grid)
    nifti.write_segmentation(case / f"{case_id}_seg.nii.gz", exam.reference)
    write_notice(case, exam.reference.scheme)
    return case


def _label(reference: Segmentation, grid: Grid) -> npt.NDArray[np.uint8]:
    """Return the label map on ``grid``: each voxel is in the regions of more than half of it."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    around = filled_box(reference.labels)
    if around is None:
        return labels
    corners = np.array(list(product(*((side.start, side.stop) for side in around)))).T
    found = (np.linalg.inv(grid.affine) @ reference.grid.affine @ np.r_[corners, np.ones((1, 8))])[:3]
    low = np.clip(np.floor(found.min(axis=1)).astype(int), 0, grid.shape)
    x, y, z = (slice(a, b) for a, b in zip(low, np.ceil(found.max(axis=1)).astype(int) + 1, strict=True))
    part = labels[x, y, z]
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    for region in Region:
        mask = _sample(reference.mask(region), reference.grid, Grid(shape_of(part), affine)) > 0.5
        part[mask] = BRATS2021.values[REGION_SHELL[region]]
    return labels


def _acquire(head: Head, there: Affine, grid: Grid, random: np.random.Generator) -> npt.NDArray[np.int16]:
    """Return the one image of ``head`` on ``grid``; ``there`` maps points of its space to the grid's."""
    signal = _sample(head.images[0], head.grid, _seen_from(grid, there))
    brain = float(head.images[0][head.labels == Part.BRAIN].mean())
    axes = tuple((s * np.arange(n)).astype(np.float32) for s, n in zip(grid.spacing, grid.shape, strict=True))
    x, y, z = axes
    coil = _COIL * make_noise((x, y, z), 90.0, random, starts=(0.0, 0.0, 0.0), extent_mm=300.0)
    noise = _NOISE * brain * random.standard_normal((2, *grid.shape), dtype=np.float32)
    found = np.hypot(signal * np.exp(coil) + noise[0], noise[1])
    found *= random.uniform(0.8, 4.0)  # scanners scale as they like
    return np.asarray(np.clip(np.rint(found), 0, 32767), dtype=np.int16)


def _sample(image: npt.NDArray[np.generic], grid: Grid, target: Grid) -> Image:
    """Return ``image`` (x, y, z) on ``target``, averaged over sub-slices of about 1 mm of its last axis."""
    parts = max(1, round(target.spacing[2]))
    step = np.linalg.inv(grid.affine) @ target.affine
    values, found = image.astype(np.float32), np.zeros(target.shape, dtype=np.float32)
    for place in (np.arange(parts) - (parts - 1) / 2) / parts:
        start = step[:3, 3] + step[:3, 2] * place
        found += ndimage.affine_transform(values, step[:3, :3], start, target.shape, order=1)
    return np.asarray(found / parts, dtype=np.float32)


def _seen_from(grid: Grid, there: Affine) -> Grid:
    """Return the places of ``grid`` in the space from which ``there`` leads to its own."""
    return Grid(grid.shape, np.linalg.inv(there) @ grid.affine)


def _make_grid(plan: _Plan, centre: npt.NDArray[np.float64], longer: float) -> Grid:
    """Return the grid of a sequence, around a point of its space in mm."""
    thick = max(plan.spacing) > 2
    factors = np.array([longer, longer, 1.0 if thick else longer])
    x, y, z = (int(n) for n in np.ceil(np.array(plan.shape) / factors))
    axes = np.array([_DIRECTIONS[letter] for letter in plan.directions], dtype=np.float64).T
    affine = np.eye(4)
    affine[:3, :3] = _rotation(np.radians(plan.tilt)) @ axes * (np.array(plan.spacing) * factors)
    middle = np.array(centre) - (0, 0, _LOWER_MM)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    return Grid((x, y, z), affine)


def _move(random: np.random.Generator, most_degrees: float, most_mm: float) -> Affine:
    """Return a rigid movement (4, 4): a turn about the origin, then a shift."""
    move = _shift(random.uniform(-most_mm, most_mm, 3))
    move[:3, :3] = _rotation(np.radians(random.uniform(-most_degrees, most_degrees, 3)))
    return move


def _shift(mm: npt.NDArray[np.float64]) -> Affine:
    move = np.eye(4)
    move[:3, 3] = mm
    return move


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the turn (3, 3) about x, then y, then z, by angles in radians."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        about = np.eye(3)
        about[one, one] = about[other, other] = np.cos(angle)
        about[other, one], about[one, other] = np.sin(angle), -np.sin(angle)
        turn = about @ turn
    return turn
