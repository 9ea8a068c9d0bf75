"""A result covers its image for every reader: in 48 orientations, oblique, with anisotropic voxels."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.imaging.nifti import write_segmentation
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.labels import BRATS2021, Modality
from gliomaseg.measurement.measure import measure
from gliomaseg.settings.schema import Settings

SHAPE = (14, 11, 9)
ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*axes)
]


def turn(degrees: float, axis: int) -> npt.NDArray[np.float64]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    a, b = [i for i in range(3) if i != axis]
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


AFFINES = {
    "straight": np.diag([1.0, 1, 1, 1]),
    "uneven": np.diag([0.9, 1.2, 3.0, 1]),
    "oblique": turn(20, 2) @ turn(-15, 0) @ np.diag([1.0, 1, 1, 1]),
    "oblique and uneven": turn(30, 1) @ turn(10, 2) @ np.diag([0.8, 1.1, 4.0, 1]),
}
for _affine in AFFINES.values():
    _affine[:3, 3] = (-40.5, 61.25, 17)


def write_exam(folder: Path, affine: npt.NDArray[np.float64], codes: str) -> Case:
    """Write four sequences of a lopsided blob, first made right-anterior-superior, stored as ``codes``."""
    x, y, z = np.indices(SHAPE)
    brain = (x > 1) & (x < 12) & (y > 0) & (y < 10) & (z > 0) & (z < 8)
    blob = (x + 2 * y + 3 * z < 30) & (x > 5)
    paths = {}
    for number, modality in enumerate(Modality):
        array = np.where(brain, 100 + 50 * number + 7 * x + 3 * y + z + 400 * blob, 0).astype(np.int16)
        image = nib.Nifti1Image(array, affine)
        start = nib.orientations.io_orientation(affine)
        image = image.as_reoriented(
            nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes))
        )
        paths[modality] = folder / f"x_{modality}.nii.gz"
        nib.save(image, paths[modality])
    return Case("x", paths)


def segment(case: Case) -> Segmentation:
    """Do all that ``Segmenter.segment`` does, with a threshold in place of the network."""
    settings = Settings()
    images = read_case(case, tuple(Modality))
    prepared = prepare(images, settings.prepare)
    bright = (prepared.image[0] > 0.8).astype(np.float32)
    core = prepared.image[0] > np.median(prepared.image[0][bright > 0])
    probabilities = np.stack([bright, bright * core, np.zeros_like(bright)])
    labels = prepared.restore(label_regions(probabilities, settings, BRATS2021))
    return Segmentation(np.ascontiguousarray(labels, np.uint8), images.grid, BRATS2021)


def places_by_nibabel(path: Path) -> npt.NDArray[np.float64]:
    """Return the positions of the labels in RAS mm, sorted."""
    image = nib.Nifti1Image.from_filename(path)
    voxels = np.argwhere(np.asarray(image.dataobj) > 0)
    return ordered(nib.affines.apply_affine(image.affine, voxels))


def places_by_itk(path: Path) -> npt.NDArray[np.float64]:
    image = SimpleITK.ReadImage(str(path))
    voxels = np.argwhere(SimpleITK.GetArrayFromImage(image) > 0)[:, ::-1]
    points = [image.TransformIndexToPhysicalPoint([int(n) for n in voxel]) for voxel in voxels]
    return ordered(np.array(points) * (-1, -1, 1))


def ordered(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rounded = np.round(places, 2) + 0.0
    return rounded[np.lexsort(rounded.T)]


def test_there_are_48() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("name", AFFINES)
def test_volumes_and_places_are_the_same_however_an_image_is_stored(tmp_path: Path, name: str) -> None:
    wanted = None
    for codes in ORIENTATIONS:
        folder = tmp_path / codes
        folder.mkdir()
        case = write_exam(folder, AFFINES[name], codes)
        segmentation = segment(case)
        write_segmentation(folder / "seg.nii.gz", segmentation)
        volumes = [round(r.volume_ml, 4) for r in measure(segmentation).regions]
        found = (volumes, places_by_nibabel(folder / "seg.nii.gz"))
        wanted = wanted or found
        assert volumes[0] > volumes[1] > 0
        assert volumes == wanted[0], codes
        np.testing.assert_allclose(found[1], wanted[1], atol=0.02, err_msg=codes)
        np.testing.assert_allclose(places_by_itk(folder / "seg.nii.gz"), wanted[1], atol=0.02, err_msg=codes)
        source = nib.Nifti1Image.from_filename(case.images[Modality.T1C])
        result = nib.Nifti1Image.from_filename(folder / "seg.nii.gz")
        for form in ("get_qform", "get_sform"):  # ITK-SNAP and FSL may take either
            np.testing.assert_array_equal(getattr(result, form)(), getattr(source, form)())
        assert result.header["qform_code"] == source.header["qform_code"]
        assert result.header["sform_code"] == source.header["sform_code"]
