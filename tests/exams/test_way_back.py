"""The way back in 48 orientations: a native label map lies where nibabel and SimpleITK place the tumour."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from gliomaseg.cases.find import find_case
from gliomaseg.exams.register import Rigid
from gliomaseg.exams.standardise import standardise_exam
from gliomaseg.imaging.nifti import write_segmentation
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import BRATS2021, Modality

sitk = pytest.importorskip("SimpleITK")
Matrix = npt.NDArray[np.float64]

#: Directions of the three axes: which world axis each runs along, and which way.
ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SIZES = (3.0, 2.5, 4.0)
SHAPE = (40, 48, 30)
#: In RAS mm: the middle of the head, that of the tumour, its radius, and how the second sequence was moved.
MIDDLE, TUMOUR, RADIUS = np.array([5.0, -12.0, 20.0]), np.array([22.0, 6.0, 28.0]), 13.0
MOVED = np.eye(4)
MOVED[:3, :3] = Rotation.from_euler("xyz", (7, -5, 9), degrees=True).as_matrix()
MOVED[:3, 3] = (11, -6, 8)


def placed(orientation: tuple[tuple[int, ...], tuple[int, ...]], *, oblique: bool) -> Matrix:
    """Return the affine (4, 4) of a grid of ``SHAPE`` around the middle."""
    turn = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(*orientation, strict=True)):
        turn[axis, column] = sign
    if oblique:
        turn = Rotation.from_euler("xyz", (13, -8, 17), degrees=True).as_matrix() @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn * SIZES
    affine[:3, 3] = MIDDLE - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def drawn(affine: Matrix, move: Matrix) -> npt.NDArray[np.float32]:
    """Return a brain of 52 mm radius with a bright ball, both moved, on a grid of ``SHAPE``."""
    points = apply_affine(np.linalg.inv(move) @ affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    brain = np.clip(53 - np.linalg.norm(points - MIDDLE, axis=-1), 0, 1)
    ball = np.clip((RADIUS + 1 - np.linalg.norm(points - TUMOUR, axis=-1)) / 2, 0, 1)
    ripple = 10 * np.sin(points[..., 0] / 5) * np.cos(points[..., 1] / 7)
    return np.asarray(brain * (100 + ripple + 300 * ball), dtype=np.float32)


def centre_by_nibabel(path: Path) -> Matrix:
    image = nib.Nifti1Image.from_filename(path)
    return np.asarray(apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj)).mean(axis=0)))


def centre_by_sitk(path: Path) -> Matrix:
    image = sitk.ReadImage(str(path))
    zyx = np.argwhere(sitk.GetArrayFromImage(image)).mean(axis=0)
    x, y, z = image.TransformContinuousIndexToPhysicalPoint([float(v) for v in zyx[::-1]])
    return np.array([-x, -y, z])  # from LPS


@pytest.mark.parametrize("oblique", [False, True], ids=["straight", "oblique"])
@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=() if n % 8 == 3 else pytest.mark.slow) for n in range(48)]
)
def test_a_tumour_comes_back_to_its_place(
    number: int, oblique: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T1c in each orientation and FLAIR, moved, in another one: within half a voxel on either grid."""
    affines = {
        Modality.T1C: placed(ORIENTATIONS[number], oblique=oblique),
        Modality.T2F: MOVED @ placed(ORIENTATIONS[(7 * number + 5) % 48], oblique=not oblique),
    }
    moves = {Modality.T1C: np.eye(4), Modality.T2F: MOVED}
    for modality, affine in affines.items():
        image = nib.Nifti1Image(drawn(affine, moves[modality]), affine)
        image.to_filename(tmp_path / f"case_{modality}.nii.gz")
    mask = nib.Nifti1Image(
        (drawn(affines[Modality.T1C], np.eye(4)) > 0).astype(np.uint8), affines[Modality.T1C]
    )
    mask.to_filename(tmp_path / "mask.nii.gz")
    monkeypatch.setattr(
        "gliomaseg.exams.standardise.register", lambda *_images, **_words: Rigid(MOVED, 15.0, 0.1)
    )
    case = replace(find_case(tmp_path), brain_mask=tmp_path / "mask.nii.gz")
    exam = standardise_exam(case, (Modality.T1C, Modality.T2F))
    np.testing.assert_allclose(exam.volume.grid.spacing, 1, atol=1e-6)
    both = exam.volume.array.astype(np.float32).min(axis=0)  # bright in the two sequences
    tumour = (both > 250).astype(np.float32)
    there = apply_affine(exam.volume.grid.affine, np.argwhere(tumour).mean(axis=0))
    np.testing.assert_allclose(there, TUMOUR, atol=0.5)
    for modality in affines:
        stored = exam.natives[modality].stored
        labels = (exam.restore(tumour, modality) > 0.5).astype(np.uint8)
        assert labels.shape == SHAPE
        path = tmp_path / f"{modality}_labels.nii.gz"
        write_segmentation(path, Segmentation(labels, stored, BRATS2021))
        truth = apply_affine(moves[modality], TUMOUR)
        for found in (centre_by_nibabel(path), centre_by_sitk(path)):
            assert np.linalg.norm(found - truth) < min(SIZES) / 2
        ml = labels.sum() * np.prod(SIZES) / 1000
        assert ml == pytest.approx(4 / 3 * np.pi * RADIUS**3 / 1000, rel=0.1)
