"""The raw phantom: four grids, headers that are wrong by known movements, a reference on T1c's grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from gliomaseg.cases.find import find_case
from gliomaseg.imaging.phantom_raw import RawExam, make_raw_exam, write_raw_exam
from gliomaseg.labels import BRATS2021, Modality, Region


@pytest.fixture(scope="module")
def exam() -> RawExam:
    return make_raw_exam("small", seed=2)


def at(exam: RawExam, modality: Modality, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the intensities of a sequence at points (n, 3) of T1c's space, by the true movement."""
    image = exam.images[modality]
    voxels = apply_affine(np.linalg.inv(image.grid.affine) @ exam.moves[modality], points)
    return np.asarray(ndimage.map_coordinates(image.array.astype(float), voxels.T, order=1))


def points_of(exam: RawExam, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.asarray(apply_affine(exam.reference.grid.affine, np.argwhere(mask)))


def test_the_sequences_are_on_the_grids_of_a_scanner(exam: RawExam) -> None:
    grids = {m: image.grid for m, image in exam.images.items()}
    assert tuple(grids) == tuple(Modality)
    codes = ["".join(nib.aff2axcodes(grid.affine)) for grid in grids.values()]
    assert codes == ["LPS", "LIA", "RAS", "LAS"]
    thick = [grids[m].spacing[2] for m in (Modality.T1N, Modality.T2W, Modality.T2F)]
    np.testing.assert_allclose(thick, [5.0, 4.0, 5.5])
    for image in exam.images.values():
        assert image.array.shape == image.grid.shape
        assert image.array.dtype == np.int16
        assert image.array.min() >= 0
    tilt = nib.affines.obliquity(grids[Modality.T2F].affine)
    assert np.degrees(tilt).max() > 10
    assert exam.reference.grid is grids[Modality.T1C]


def test_same_arguments_give_the_same_voxels(exam: RawExam) -> None:
    again = make_raw_exam("small", seed=2)
    for modality, image in exam.images.items():
        np.testing.assert_array_equal(again.images[modality].array, image.array)
        np.testing.assert_array_equal(again.moves[modality], exam.moves[modality])
    assert np.any(make_raw_exam("small", seed=3).moves[Modality.T2W] != exam.moves[Modality.T2W])


def test_movements_are_rigid_and_bounded(exam: RawExam) -> None:
    np.testing.assert_array_equal(exam.moves[Modality.T1C], np.eye(4))
    for modality in set(Modality) - {Modality.T1C}:
        move = exam.moves[modality]
        np.testing.assert_allclose(move[:3, :3] @ move[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(move[:3, :3]) == pytest.approx(1)
        degrees = np.degrees(np.arccos((np.trace(move[:3, :3]) - 1) / 2))
        assert 0 < degrees <= 6 * 3**0.5
        assert 0 < np.linalg.norm(move[:3, 3]) <= 12 * 3**0.5


def test_the_true_movements_bring_the_tumour_onto_itself(exam: RawExam) -> None:
    tumour = points_of(exam, exam.reference.mask(Region.WT))
    others = points_of(exam, exam.brain & ~exam.reference.mask(Region.WT))
    aligned = at(exam, Modality.T2F, tumour).mean() / at(exam, Modality.T2F, others).mean()
    assert aligned > 1.3
    flair = exam.images[Modality.T2F]
    by_header = apply_affine(np.linalg.inv(flair.grid.affine), tumour)
    there = ndimage.map_coordinates(flair.array.astype(float), by_header.T, order=1)
    assert at(exam, Modality.T2F, tumour).mean() > 1.04 * there.mean()
    rim = at(exam, Modality.T1C, points_of(exam, exam.reference.mask(Region.ET))).mean()
    assert rim > 1.2 * at(exam, Modality.T1C, others).mean()


def test_each_sequence_shows_the_whole_brain(exam: RawExam) -> None:
    brain = points_of(exam, exam.brain)
    for modality, image in exam.images.items():
        voxels = apply_affine(np.linalg.inv(image.grid.affine) @ exam.moves[modality], brain)
        inside = np.all((voxels >= 0) & (voxels <= np.array(image.grid.shape) - 1), axis=1)
        assert inside.mean() > 0.995, modality
    assert 1200 < exam.brain.sum() * exam.reference.grid.voxel_ml < 1800


def test_there_is_noise_in_the_air_and_a_skull_around_the_brain(exam: RawExam) -> None:
    image = exam.images[Modality.T1C].array
    corner = image[:6, :6, -6:]
    assert corner.std() > 0
    assert corner.mean() < 0.1 * image[exam.brain].mean()
    reach = 20 / exam.reference.grid.spacing[0]
    around = (ndimage.distance_transform_edt(~exam.brain) < reach) & ~exam.brain
    assert np.percentile(image[around], 90) > 0.5 * image[exam.brain].mean()


def test_without_a_tumour_the_reference_is_empty() -> None:
    exam = make_raw_exam("small", tumour=None)
    assert not exam.reference.labels.any()


def test_the_written_exam_is_found_as_a_case(tmp_path: Path, exam: RawExam) -> None:
    folder = write_raw_exam(exam, tmp_path)
    case = find_case(folder)
    assert "phantom" in case.id
    assert set(case.images) == set(Modality)
    assert case.reference is not None
    for modality, path in case.images.items():
        image = nib.Nifti1Image.from_filename(path)
        np.testing.assert_array_equal(np.asarray(image.dataobj), exam.images[modality].array)
        np.testing.assert_allclose(image.affine, exam.images[modality].grid.affine, atol=1e-4)
    assert (folder / "README.txt").read_text(encoding="utf-8").startswith("THIS EXAM IS SYNTHETIC")
    assert set(np.unique(exam.reference.labels)) == BRATS2021.allowed


@pytest.mark.slow
def test_the_full_exam_has_voxels_of_1_mm_and_shows_the_same(exam: RawExam) -> None:
    full = make_raw_exam("full", seed=2)
    np.testing.assert_allclose(full.images[Modality.T1C].grid.spacing, 1)
    for region in Region:
        volumes = [np.sum(e.reference.mask(region)) * e.reference.grid.voxel_ml for e in (full, exam)]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.2)
        centres = [points_of(e, e.reference.mask(region)).mean(axis=0) for e in (full, exam)]
        assert np.linalg.norm(centres[0] - centres[1]) < 2
