"""Small label maps in memory and on disk, as several tests of evaluation need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from gliomaseg.evaluation.segmentation_pair import score_case
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import LabelScheme, Tissue

SHAPE = (4, 3, 2)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def labels_of(scheme: LabelScheme, *tissues: str, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return a label map whose first voxels (in C order) are the given tissues, '' for background."""
    array = np.zeros(shape, np.uint8)
    array.flat[: len(tissues)] = [scheme.values[Tissue(t)] if t else 0 for t in tissues]
    return array


def segmentation(scheme: LabelScheme, *tissues: str) -> Segmentation:
    return Segmentation(labels_of(scheme, *tissues), Grid(SHAPE, AFFINE), scheme)


def scored(prediction: Segmentation, reference: Segmentation, rules: str = "brats2020") -> dict[str, float]:
    return {column.name: v for column, v in score_case(prediction, reference, rules=rules).items()}


def overlaps(scores: Mapping[str, float]) -> set[float]:
    """Return the different values of every Dice and IoU, and of the mean IoU."""
    return {v for name, v in scores.items() if "dice" in name or "iou" in name}


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def add_reference(root: Path, name: str, array: np.ndarray | None, separator: str = "_") -> None:
    """Write a case as BraTS distributes it; its image is never opened, so that a name is enough."""
    folder = root / name
    folder.mkdir(parents=True)
    modality = {"_": "t1ce", "-": "t1c"}[separator]
    (folder / f"{name}{separator}{modality}.nii.gz").touch()
    if array is not None:
        save(folder / f"{name}{separator}seg.nii.gz", array)
