"""Brain extraction: what the network sees, the mask, its place; on synthetic heads and one real exam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gliomaseg.errors import ImageError
from gliomaseg.exams.brain import brain_model, extract_brain, head_volume
from gliomaseg.exams.brain_checks import check_brain
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.phantom import make_phantom
from gliomaseg.imaging.phantom_face import Part
from gliomaseg.imaging.phantom_head import Head, add_head
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid, standard_grid
from gliomaseg.inference.bundle import Bundle

EXAM = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw" / "TCGA-FG-6692"
SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


@pytest.fixture(scope="module")
def head() -> Head:
    """Return the phantom's four sequences in a head, with voxels of 2 mm."""
    small = make_phantom("small").images
    grid = standard_grid(small.grid, 2.0)
    images = np.stack([regrid(image, small.grid, grid) for image in small.array])
    return add_head(images, regrid(small.array[0] > 0, small.grid, grid) > 0.5, grid, seed=1)


def dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


def ball_in_air(spacing: tuple[float, float, float]) -> tuple[npt.NDArray[np.float32], Grid]:
    """Return a bright ball of 60 mm radius around (0, 0, 40) mm, in a cube of 240 mm around (0, 0, 0)."""
    shape = tuple(round(240 / size) for size in spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-size * (n - 1) / 2 for size, n in zip(spacing, shape, strict=True)]
    x, y, z = (np.arange(n) * affine[a, a] + affine[a, 3] for a, n in enumerate(shape))
    far = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + (z - 40) ** 2)
    return np.where(far < 60, 100, 0).astype(np.float32), Grid((shape[0], shape[1], shape[2]), affine)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 6), (3, 1.5, 2)])
def test_the_network_sees_the_head_at_2_mm_without_the_air_around(
    spacing: tuple[float, float, float],
) -> None:
    volume = head_volume(*ball_in_air(spacing))
    assert volume.grid.spacing == pytest.approx((2, 2, 2))
    low = volume.grid.affine[:3, 3]
    high = low + 2 * (np.array(volume.grid.shape) - 1)
    np.testing.assert_allclose(low, [-69, -69, -29], atol=4)  # the ball, and 10 mm
    np.testing.assert_allclose(high, [69, 69, 109], atol=4)
    assert volume.array.min() > 0


def test_shoulders_are_left_out() -> None:
    image = np.zeros((60, 60, 200), np.float32)
    image[20:40, 20:40, 10:190] = 1
    volume = head_volume(image, Grid(image.shape, np.diag([2.0, 2, 2, 1])))
    assert volume.grid.shape[2] == 125
    top = volume.grid.affine[2, 3] + 2 * (volume.grid.shape[2] - 1)
    assert top == pytest.approx(2 * (189 + 5))


def test_a_constant_image_is_refused() -> None:
    with pytest.raises(ImageError) as error:
        extract_brain(np.full((40, 40, 40), 7.0), Grid((40, 40, 40), np.diag([4.0, 4, 4, 1])))
    assert error.value.code == "E-CONSTANT"


@pytest.mark.parametrize("sequence", range(4), ids=SEQUENCES)
def test_the_brain_of_a_synthetic_head_is_found(head: Head, sequence: int) -> None:
    found = extract_brain(head.images[sequence], head.grid)
    assert found.mask.shape == head.grid.shape
    assert dice(found.mask, head.labels == Part.BRAIN) > 0.93
    assert check_brain(found, "x") == ()


def test_axes_turned_and_flipped_give_the_same_mask(head: Head) -> None:
    expected = extract_brain(head.images[0], head.grid).mask
    turned = np.flip(head.images[0].transpose(2, 0, 1), 1)
    affine = head.grid.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (turned.shape[1] - 1)
    affine[:3, 1] *= -1
    found = extract_brain(turned, Grid(turned.shape, affine)).mask
    np.testing.assert_array_equal(np.flip(found, 1).transpose(1, 2, 0), expected)


def test_voxels_that_are_not_finite_do_no_harm(head: Head) -> None:
    image = head.images[0].copy()
    image[:3] = np.nan
    assert dice(extract_brain(image, head.grid).mask, head.labels == Part.BRAIN) > 0.93


def test_thick_slices_of_an_image_without_neck(head: Head) -> None:
    low, few = 40, 3  # slices of 6 mm, from the skull base up
    count = (head.grid.shape[2] - low) // few
    part = head.images[3][:, :, low : low + few * count]
    thick = part.reshape(*part.shape[:2], count, few).mean(3)
    affine = head.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (low + (few - 1) / 2)
    affine[:3, 2] *= few
    found = extract_brain(thick, Grid(thick.shape, affine)).mask
    truth = (head.labels == Part.BRAIN)[:, :, low : low + few * count]
    assert dice(found, truth.reshape(*thick.shape, few).mean(3) > 0.5) > 0.92


def test_the_bundle_is_small_and_quantised() -> None:
    bundle = Bundle.load(brain_model())
    assert bundle.has_int8
    assert sum(file.stat().st_size for file in brain_model().iterdir()) <= 5_000_000


@pytest.mark.real
@pytest.mark.skipif(not EXAM.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_real_exam_with_a_tumour(sequence: str) -> None:
    image, grid = read_image(EXAM / f"{EXAM.name}_{sequence}.nii.gz")
    expected = read_image(EXAM / "reference" / f"{sequence}_brain.nii.gz")[0] > 0
    found = extract_brain(image, grid)
    assert dice(found.mask, expected) > 0.96
    assert np.count_nonzero(expected & ~found.mask) * grid.voxel_ml < 60
    assert check_brain(found, "x") == ()
