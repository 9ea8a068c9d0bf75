"""The side of a tumour: mirror images, and the known side of the phantom."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, Tissue
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.symmetry import Side, find_symmetry_plane

OEDEMA = BRATS2021.values[Tissue.OEDEMA]


def head(tilt_degrees: float = 0, shift: float = 0) -> tuple[Volume, np.ndarray]:  # type: ignore[type-arg]
    """Return an ellipsoid brain (right, anterior, superior; 2 mm) turned in the axial plane, and mm of x."""
    grid = np.stack(np.meshgrid(*[np.arange(100) * 2.0 - 100] * 3, indexing="ij"), axis=-1)
    turn = nib.eulerangles.euler2mat(z=np.radians(tilt_degrees))
    own = (grid - (shift, 0, 0)) @ turn
    brain = ((own / (65, 85, 60)) ** 2).sum(axis=-1) <= 1
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -100
    return Volume(brain[None].astype(np.int16) * 50, Grid((100, 100, 100), affine), ("t1c",)), own[..., 0]


@pytest.mark.parametrize("tilt", [0, 8, -15])
def test_the_plane_follows_a_turned_brain(tilt: float) -> None:
    images, x = head(tilt, shift=7)
    plane = find_symmetry_plane(images.array[0], images.grid.affine)
    assert plane is not None
    distance = plane.right_of(images.grid.affine, np.nonzero(images.array[0]))
    assert np.abs(distance - x[images.array[0] > 0]).max() < 1.5


def test_right_left_and_both() -> None:
    images, _ = head(5)
    brain = images.array[0] > 0
    ball = np.stack(np.meshgrid(*[np.arange(100) * 2.0 - 100] * 3, indexing="ij"), axis=-1)
    for centre, name, crosses in ((35, "right", False), (-35, "left", False), (0, "both", True)):
        mask = brain & (((ball - (centre, 0, 0)) ** 2).sum(axis=-1) < 20**2)
        labels = np.where(mask, OEDEMA, 0).astype(np.uint8)
        side = measure(Segmentation(labels, images.grid, BRATS2021), images=images).side
        assert side is not None
        assert (side.name, side.crosses_symmetry_plane) == (name, crosses)
        assert side.right_percent + side.left_percent == pytest.approx(100)


def test_nine_tenths_on_one_side_is_that_side() -> None:
    """Mass effect alone puts some of a tumour beyond the plane: 93 % left is left."""
    percents = {50.0: "both", 89.9: "both", 90.0: "right", 100.0: "right", 10.1: "both", 7.0: "left"}
    assert {right: Side(right, 100 - right, True).name for right in percents} == percents


def test_an_image_that_is_no_brain_has_no_side() -> None:
    images, _ = head()
    full = Volume(np.ones_like(images.array), images.grid, images.channels)
    labels = np.zeros(images.grid.shape, np.uint8)
    labels[60, 50, 50] = OEDEMA
    sizes = measure(Segmentation(labels, images.grid, BRATS2021), images=full)
    assert sizes.side is None
    assert sizes.brain_ml is None
    assert find_symmetry_plane(np.zeros((20, 20, 20)), np.eye(4)) is None


def test_the_phantoms_tumour_is_on_its_right(phantom: Phantom) -> None:
    side = measure(phantom.reference, images=phantom.images).side
    assert side is not None
    assert side.name == "right"
    assert side.right_percent > 97
