"""Preparing: the same input however the anatomy is stored, and the exact way back."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.errors import ImageError
from gliomaseg.imaging.phantom import Phantom
from gliomaseg.imaging.prepare import Prepared, prepare
from gliomaseg.imaging.volume import Affine, Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, Modality, Region, Tissue
from gliomaseg.settings.schema import PrepareSettings

Array = npt.NDArray[np.generic]

SETTINGS = PrepareSettings(multiple=8)
SHAPE = (9, 12, 7)
#: 20 degrees about each axis, voxels of 1 x 1.5 x 2.5 mm.
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(*np.deg2rad([20, 20, 20])) @ np.diag([1.0, 1.5, 2.5]), [11.0, -22.0, 33.0]
)
STRAIGHT = nib.affines.from_matvec(np.diag([1.0, 1.5, 2.5]), [11.0, -22.0, 33.0])
ORIENTATIONS = [
    np.array(list(zip(order, signs, strict=True)), dtype=float)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def anatomy() -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return images (2, x, y, z) without any symmetry and labels inside their brain."""
    random = np.random.default_rng(7)
    images = np.zeros((2, *SHAPE), dtype=np.int16)
    images[0, 2:8, 1:9, 1:6] = random.integers(1, 900, (6, 8, 5))
    images[1, 1:7, 3:11, 2:7] = random.integers(1, 900, (6, 8, 5))
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1:8, 1:11, 1:7] = random.choice([0, 1, 2, 4], (7, 10, 6))
    return images, labels


def stored(array: Array, affine: Affine, orientation: npt.NDArray[np.float64]) -> tuple[Array, Affine]:
    """Return a RAS array (x, y, z) as a file of this orientation would hold it, and its affine."""
    turned = nib.orientations.apply_orientation(array, orientation)
    return turned, affine @ nib.orientations.inv_ornt_aff(orientation, array.shape)


def prepare_stored(
    affine: Affine, orientation: npt.NDArray[np.float64]
) -> tuple[Prepared, npt.NDArray[np.uint8], Grid]:
    images, labels = anatomy()
    turned = np.stack([stored(image, affine, orientation)[0] for image in images])
    turned_labels, turned_affine = stored(labels, affine, orientation)
    grid = Grid(turned.shape[1:], turned_affine)
    return prepare(Volume(turned, grid, ("t1n", "t1c")), SETTINGS), turned_labels, grid


def test_there_are_48_orientations() -> None:
    assert len({tuple(orientation.ravel()) for orientation in ORIENTATIONS}) == 48


@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_every_storage_of_an_anatomy_gives_the_same_input_and_the_exact_way_back(
    orientation: npt.NDArray[np.float64], affine: Affine
) -> None:
    expected, *_ = prepare_stored(affine, ORIENTATIONS[0])
    prepared, labels, grid = prepare_stored(affine, orientation)
    np.testing.assert_array_equal(prepared.image, expected.image)
    forward = prepared.forward(labels)
    assert forward.shape == prepared.image.shape[1:]
    np.testing.assert_array_equal(forward, expected.forward(anatomy()[1]))
    restored = prepared.restore(forward)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, labels)
    volumes = {
        part: Segmentation(restored.astype(np.uint8), grid, BRATS2021).mask(part).sum() * grid.voxel_ml
        for part in (*Region, *BRATS2021.values)
    }
    for part, volume in volumes.items():
        count = BRATS2021.mask(anatomy()[1], part).sum()
        assert volume == pytest.approx(count * 1.0 * 1.5 * 2.5 / 1000, rel=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5], ids=str)
@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_a_label_of_the_network_is_at_its_place_in_space(
    orientation: npt.NDArray[np.float64], affine: Affine
) -> None:
    """By pencil: the voxel (4, 6, 3) of the RAS anatomy is at affine @ (4, 6, 3) mm in every storage."""
    prepared, _, grid = prepare_stored(affine, orientation)
    output = np.zeros(prepared.image.shape[1:], dtype=np.uint8)
    start = [valid.start - box.start for valid, box in zip(prepared.valid, prepared.box, strict=True)]
    output[4 + start[0], 6 + start[1], 3 + start[2]] = 4
    (voxel,) = np.argwhere(prepared.restore(output) == 4)
    np.testing.assert_allclose(grid.affine @ [*voxel, 1], affine @ [4, 6, 3, 1], atol=1e-9)


@given(
    st.tuples(*[st.integers(3, 20)] * 3),
    st.integers(1, 17),
    st.sampled_from(ORIENTATIONS),
    st.integers(0, 10**6),
)
def test_any_shape_is_padded_to_the_multiple_and_comes_back(
    shape: tuple[int, int, int], multiple: int, orientation: npt.NDArray[np.float64], seed: int
) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(1, 1000, shape).astype(np.int16)
    image[random.random(shape) < 0.3] = 0
    labels = np.where(image > 0, random.integers(0, 5, shape), 0).astype(np.uint8)
    turned, affine = stored(image, STRAIGHT, orientation)
    prepared = prepare(
        Volume(turned[None], Grid(turned.shape, affine), ("t1n",)), PrepareSettings(multiple=multiple)
    )
    assert all(n % multiple == 0 for n in prepared.image.shape[1:])
    crop = [s.stop - s.start for s in prepared.box]
    assert all(n - c < multiple for n, c in zip(prepared.image.shape[1:], crop, strict=True))
    assert [s.stop - s.start for s in prepared.valid] == crop
    turned_labels = stored(labels, STRAIGHT, orientation)[0]
    np.testing.assert_array_equal(prepared.restore(prepared.forward(turned_labels)), turned_labels)
    assert not prepared.image[0][prepared.forward(turned) == 0].any()


def test_voxels_outside_the_crop_come_back_as_background() -> None:
    prepared, *_ = prepare_stored(STRAIGHT, ORIENTATIONS[0])
    restored = prepared.restore(np.ones(prepared.image.shape[1:], dtype=np.uint8))
    expected = np.zeros(SHAPE, dtype=np.uint8)
    expected[1:8, 1:11, 1:7] = 1  # the box around both sequences
    np.testing.assert_array_equal(restored, expected)


def test_the_padding_is_at_the_end() -> None:
    prepared, *_ = prepare_stored(STRAIGHT, ORIENTATIONS[0])
    assert prepared.image.shape == (2, 8, 16, 8)
    assert prepared.valid == (slice(0, 7), slice(0, 10), slice(0, 6))


def test_z_scores_inside_the_brain_and_zero_outside(phantom: Phantom) -> None:
    prepared = prepare(phantom.images, PrepareSettings())
    assert prepared.image.dtype == np.float32
    for channel, image in zip(prepared.image, phantom.images.array, strict=True):
        brain = prepared.forward(image) != 0
        assert np.count_nonzero(channel[~brain]) == 0
        assert channel[brain].mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
        assert channel[brain].std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_z_scores_by_pencil() -> None:
    image = np.zeros((1, 2, 2, 2))
    image[0, 0, 0] = 10, 20
    image[0, 1, 0] = 30, 40
    grid = Grid((2, 2, 2), np.eye(4))
    settings = PrepareSettings(multiple=1, clip_percentiles=(0, 100))
    prepared = prepare(Volume(np.repeat(image, 8, axis=3), grid, ("t1n",)), settings)
    scores = np.array([10, 20, 30, 40]) - 25
    np.testing.assert_allclose(np.unique(prepared.image), scores / np.sqrt(125), rtol=1e-6)


def test_outliers_are_clipped_to_the_percentiles() -> None:
    random = np.random.default_rng(0)
    image = random.normal(500, 50, (1, 20, 20, 20)).astype(np.float32)
    plain = prepare(Volume(image, Grid((20, 20, 20), np.eye(4)), ("t1n",)), PrepareSettings())
    image[0, 3, 3, 3], image[0, 4, 4, 4] = 1e9, -1e9
    prepared = prepare(Volume(image, Grid((20, 20, 20), np.eye(4)), ("t1n",)), PrepareSettings())
    assert np.abs(prepared.image).max() < 5
    np.testing.assert_allclose(prepared.image, plain.image, atol=6.5)
    assert np.mean(np.abs(prepared.image - plain.image)) < 0.02


@given(st.floats(0.01, 1000), st.floats(0, 1000))
def test_gain_and_shift_of_the_scanner_do_not_matter(gain: float, shift: float) -> None:
    images, _ = anatomy()
    grid = Grid(SHAPE, STRAIGHT)
    one = prepare(Volume(images, grid, ("t1n", "t1c")), SETTINGS)
    other = np.where(images != 0, images * gain + shift, 0)
    two = prepare(Volume(other, grid, ("t1n", "t1c")), SETTINGS)
    np.testing.assert_allclose(two.image, one.image, atol=2e-3)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_the_stored_type_does_not_matter(kind: str) -> None:
    images = (anatomy()[0] // 8).astype(kind)
    before = images.copy()
    prepared = prepare(Volume(images, Grid(SHAPE, STRAIGHT), ("t1n", "t1c")), SETTINGS)
    expected = prepare(Volume(images.astype("i2"), Grid(SHAPE, STRAIGHT), ("t1n", "t1c")), SETTINGS)
    np.testing.assert_array_equal(prepared.image, expected.image)
    np.testing.assert_array_equal(images, before)


def test_images_without_contrast_are_refused_by_name() -> None:
    images, _ = anatomy()
    for content in (np.where(images[1] != 0, 7, 0), np.zeros(SHAPE)):
        with pytest.raises(ImageError, match="t1c has the same value everywhere") as caught:
            prepare(Volume(np.stack([images[0], content]), Grid(SHAPE, STRAIGHT), ("t1n", "t1c")), SETTINGS)
        assert caught.value.code == "E-CONSTANT"
    with pytest.raises(ImageError, match="0 everywhere") as caught:
        prepare(Volume(np.zeros_like(images), Grid(SHAPE, STRAIGHT), ("t1n", "t1c")), SETTINGS)
    assert caught.value.code == "E-CONSTANT"


def test_the_phantom_comes_back_through_the_files(phantom: Phantom, phantom_case: Case) -> None:
    volume = read_case(phantom_case, tuple(Modality))
    prepared = prepare(volume, PrepareSettings())
    assert prepared.grid is volume.grid
    labels = phantom.reference.labels
    restored = prepared.restore(prepared.forward(labels))
    np.testing.assert_array_equal(restored, labels)
    assert BRATS2021.mask(restored.astype(np.uint8), Tissue.ENHANCING).any()
