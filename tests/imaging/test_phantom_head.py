"""The synthetic head: the brain stays as it is, shells lie in order around it, and light up like MRI."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from gliomaseg.imaging.phantom import make_phantom
from gliomaseg.imaging.phantom_face import Part
from gliomaseg.imaging.phantom_head import Head, add_head
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, standard_grid, turned_like

T1N, T1C, T2W, T2F = range(4)
Brain = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], Grid]


@pytest.fixture(scope="module")
def brain() -> Brain:
    """Return the phantom's images, mask and grid, with voxels of 2 mm."""
    small = make_phantom("small").images
    grid = standard_grid(small.grid, 2.0)
    images = np.stack([regrid(image, small.grid, grid) for image in small.array])
    mask = regrid(small.array[0] > 0, small.grid, grid) > 0.5
    return images, mask, grid


@pytest.fixture(scope="module")
def head(brain: Brain) -> Head:
    return add_head(*brain, seed=3)


def turned(head: Head) -> npt.NDArray[np.uint8]:
    """Return the labels with x to the Right, y to the Anterior, z to the Superior."""
    return np.asarray(turned_like(head.labels, head.grid, Grid(head.grid.shape, np.eye(4))), dtype=np.uint8)


def outwards(labels: npt.NDArray[np.uint8], axis: int, *, backwards: bool = False) -> list[Part]:
    """Return the parts on a straight way from the brain's middle out of the head."""
    middle = [round(v) for v in ndimage.center_of_mass(labels == Part.BRAIN)]
    place: list[int | slice] = list(middle)
    place[axis] = slice(middle[axis], None)
    if backwards:
        place[axis] = slice(middle[axis], None, -1)
    return [Part(int(part)) for part, _ in groupby(labels[tuple(place)])]


def test_the_brain_keeps_its_voxels_and_its_place(brain: Brain, head: Head) -> None:
    images, mask, grid = brain
    shift = np.linalg.inv(grid.affine) @ head.grid.affine
    np.testing.assert_allclose(shift[:3, :3], np.eye(3), atol=1e-9)
    there = np.argwhere(head.labels == Part.BRAIN)
    here = there + np.round(shift[:3, 3]).astype(int)
    assert len(there) == mask.sum()
    np.testing.assert_array_equal(head.images[:, *there.T], images[:, *here.T])


def test_same_seed_same_head_other_seed_another(brain: Brain, head: Head) -> None:
    again = add_head(*brain, seed=3)
    np.testing.assert_array_equal(again.images, head.images)
    np.testing.assert_array_equal(again.labels, head.labels)
    other = add_head(*brain, seed=4)
    assert other.grid.shape != head.grid.shape
    assert other.labels.shape == other.grid.shape == other.images.shape[1:]


@pytest.mark.parametrize("axes", [(0,), (1, 2)])
def test_a_flipped_array_gives_the_same_head(brain: Brain, head: Head, axes: tuple[int, ...]) -> None:
    images, mask, grid = brain
    affine = grid.affine.copy()
    for axis in axes:
        affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
        affine[:3, axis] *= -1
    flipped = np.flip(images, [axis + 1 for axis in axes])
    found = add_head(flipped, np.flip(mask, axes), Grid(grid.shape, affine), seed=3)
    np.testing.assert_array_equal(np.flip(found.labels, axes), head.labels)
    back = turned_like(found.labels, found.grid, head.grid)
    np.testing.assert_array_equal(back, head.labels)


@pytest.mark.parametrize("seed", range(4))
def test_shells_lie_in_order_above_and_behind_the_brain(brain: Brain, seed: int) -> None:
    labels = turned(add_head(*brain, seed=seed))
    for axis, backwards in ((2, False), (1, True), (0, False), (0, True)):
        parts = outwards(labels, axis, backwards=backwards)
        assert parts[0] is Part.BRAIN
        assert parts[-1] is Part.AIR
        wanted = [Part.BRAIN, Part.CSF, Part.DURA, Part.BONE, Part.FAT, Part.SKIN]
        last = [len(parts) - 1 - parts[::-1].index(part) for part in wanted if part in parts]
        assert last == sorted(last), parts
        assert {Part.FAT, Part.SKIN} <= set(parts)
        assert {Part.BONE, Part.MARROW} & set(parts)


def test_nothing_but_csf_dura_and_vessels_touches_the_upper_brain(head: Head) -> None:
    labels = turned(head)
    brain = labels == Part.BRAIN
    edge = ndimage.binary_dilation(brain) & ~brain
    upper = int(np.flatnonzero(brain.any(axis=(0, 1))).mean())
    touching = np.unique(labels[:, :, upper:][edge[:, :, upper:]])
    assert set(touching) <= {Part.CSF, Part.DURA, Part.VESSEL}


def test_two_eyes_look_forward(head: Head) -> None:
    labels = turned(head)
    eyes, count = ndimage.label(labels == Part.VITREOUS)
    brain = np.argwhere(labels == Part.BRAIN)
    volumes = ndimage.sum_labels(eyes > 0, eyes, range(1, count + 1)) * head.grid.voxel_ml
    assert np.sum(volumes > 1) == 2
    assert np.all((volumes[volumes > 1] > 3) & (volumes[volumes > 1] < 10))  # about 6 ml in adults
    for middle in ndimage.center_of_mass(eyes > 0, eyes, np.argsort(volumes)[-2:] + 1):
        assert middle[1] > np.percentile(brain[:, 1], 75)
        assert middle[2] < np.median(brain[:, 2])
        assert 20 < 2 * abs(middle[0] - brain[:, 0].mean()) < 45


def test_every_part_is_there_and_the_head_has_a_heads_volume(head: Head) -> None:
    counts = np.bincount(head.labels.ravel(), minlength=len(Part)) * head.grid.voxel_ml
    assert np.all(counts[: Part.DISC] > 0), dict(zip(Part, counts, strict=True))  # discs are in long necks
    assert 3000 < counts[1:].sum() < 5500
    assert 200 < counts[Part.BONE] + counts[Part.MARROW] < 1100


def test_parts_light_up_as_in_the_four_sequences(head: Head) -> None:
    def level(part: Part) -> npt.NDArray[np.float64]:
        return np.median(head.images[:, head.labels == part], axis=1) / brain_level

    brain_level = np.median(head.images[:, head.labels == Part.BRAIN], axis=1)
    assert np.all(level(Part.AIR) < 0.2)
    assert np.all(level(Part.BONE) < 0.6)
    assert level(Part.FAT)[T1N] > 1.4
    assert level(Part.VITREOUS)[T2W] > 1.8
    assert level(Part.VITREOUS)[T1N] < 0.6
    assert level(Part.VITREOUS)[T2F] < 0.6
    assert level(Part.CSF)[T2W] > level(Part.MUSCLE)[T2W] * 2
    assert level(Part.MUCOSA)[T1C] > level(Part.MUCOSA)[T1N] * 1.3


def test_the_cord_leaves_by_the_lower_edge_and_only_the_neck_does(head: Head) -> None:
    labels = turned(head)
    assert Part.NERVE in labels[:, :, 0]
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[:, :, -1]):
        assert np.mean(side != Part.AIR) < 0.02


def test_the_head_ends_where_the_brain_is_cut(brain: Brain) -> None:
    images, mask, grid = brain
    top = int(np.flatnonzero(mask.any(axis=(0, 1)))[-1]) - 15
    shape = (*grid.shape[:2], top)
    found = add_head(images[..., :top], mask[..., :top], Grid(shape, grid.affine), seed=3)
    end = grid.affine[2, 3] + grid.affine[2, 2] * (top - 1)
    assert found.grid.affine[2, 3] + found.grid.affine[2, 2] * (found.grid.shape[2] - 1) == pytest.approx(end)
    edge = found.labels[:, :, -1]
    assert np.mean(edge == Part.BRAIN) > 0.2
    assert Part.SKIN in edge


def test_a_sequence_cut_off_within_the_brain_lights_the_head_alike(brain: Brain, head: Head) -> None:
    images, mask, grid = brain
    cut = images.copy()
    cut[T2F, :, :45] = 0
    found = add_head(cut, mask, grid, seed=3)
    muscle = head.labels == Part.MUSCLE
    assert found.images[T2F][muscle].mean() == pytest.approx(head.images[T2F][muscle].mean(), rel=0.15)
