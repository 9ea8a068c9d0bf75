"""What a page holds of the images: every voxel where it was, in any storage order."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.imaging.planes import ras_affine
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, BRATS2023, Tissue
from gliomaseg.report.make import ReportInputs
from gliomaseg.report.packing import TISSUE_NUMBERS, Packed, pack


def voxels(packed: Packed, name: str) -> np.ndarray:  # type: ignore[type-arg]
    data = np.frombuffer(gzip.decompress(packed.volumes[name]), np.uint8)
    return data.reshape(packed.crop.shape, order="F")


def small(codes: str = "RAS") -> tuple[Volume, Segmentation]:
    """Return an image whose value tells its place, stored with axes towards ``codes``."""
    image = np.zeros((20, 16, 12), np.int16)
    image[4:16, 3:13, 2:10] = np.arange(12 * 10 * 8).reshape(12, 10, 8) + 1
    labels = np.zeros(image.shape, np.uint8)
    labels[8:11, 5:9, 3:6] = BRATS2023.values[Tissue.ENHANCING]
    affine = np.diag([1.0, 2, 3, 1])
    turn = nib.orientations.axcodes2ornt(tuple(codes))
    turned = nib.Nifti1Image(image, affine).as_reoriented(turn)
    seg = nib.Nifti1Image(labels, affine).as_reoriented(turn)
    grid = Grid(turned.shape, turned.affine)
    images = Volume(np.asarray(turned.dataobj)[None], grid, ("t1c",))
    return images, Segmentation(np.asarray(seg.dataobj), grid, BRATS2023)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SLA", "PIR"])
def test_every_storage_gives_the_same_bytes(codes: str) -> None:
    expected, found = (pack(images, {"seg": seg}) for images, seg in (small(), small(codes)))
    assert dict(found.volumes) == dict(expected.volumes)
    assert np.array(found.crop.affine) == pytest.approx(np.array(expected.crop.affine))
    assert found.crop.first == expected.crop.first == (2, 1, 0)
    assert (found.crop.shape, found.crop.whole) == ((16, 14, 12), (20, 16, 12))


def test_slices_are_counted_in_the_whole_image(exam: ReportInputs) -> None:
    """As in the RANO table and the viewer: a slice at the same height has the same number."""
    for limit in (None, 1):
        crop = pack(exam.images, {"seg": exam.segmentation}, limit=limit).crop
        height = crop.grid.affine[2] @ (0, 0, 5, 1)
        turned = ras_affine(exam.segmentation.grid)
        assert crop.axial_slice(5) == round((height - turned[2, 3]) / turned[2, 2]) + 1


def test_levels_are_the_intensities_and_labels_are_tissues() -> None:
    images, seg = small()
    packed = pack(images, {"seg": seg})
    channel, grey = packed.channels[0], voxels(packed, "t1c")
    original = images.array[0][2:18, 1:15, 0:12].astype(float)
    assert np.array_equal(grey == 0, original == 0)
    back = channel.low + (grey - 1.0) / 254 * (channel.high - channel.low)
    inside = grey > 0
    assert np.abs(back - original)[inside].max() < 1.1 * (channel.high - channel.low) / 254
    enhancing = voxels(packed, "seg") == TISSUE_NUMBERS[Tissue.ENHANCING]
    assert np.array_equal(enhancing, seg.labels[2:18, 1:15, 0:12] > 0)


def test_two_schemes_get_the_same_numbers() -> None:
    images, seg = small()
    other = Segmentation(np.where(seg.labels > 0, 4, 0).astype(np.uint8), seg.grid, BRATS2021)
    packed = pack(images, {"seg": seg, "reference": other})
    assert np.array_equal(voxels(packed, "seg"), voxels(packed, "reference"))


def test_too_many_bytes_are_thinned_out_and_said(exam: ReportInputs) -> None:
    whole = pack(exam.images, {"seg": exam.segmentation}, limit=None)
    thin = pack(exam.images, {"seg": exam.segmentation}, limit=sum(map(len, whole.volumes.values())) // 3)
    assert whole.crop.step == 1
    assert thin.crop.step == 2
    assert np.array_equal(voxels(thin, "seg"), voxels(whole, "seg")[::2, ::2, ::2])
    grey = voxels(thin, "t1c").astype(int) - voxels(whole, "t1c")[::2, ::2, ::2]
    assert np.abs(grey).max() <= 20, "the same but for the range, taken from fewer voxels"
    assert thin.crop.grid.affine[:3, :3] == pytest.approx(2 * whole.crop.grid.affine[:3, :3])


def test_without_images_the_labels_are_enough() -> None:
    packed = pack(None, {"seg": small()[1]})
    assert packed.channels == ()
    assert voxels(packed, "seg").max() == TISSUE_NUMBERS[Tissue.ENHANCING]
