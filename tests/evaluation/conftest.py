"""What tests of tables, comparisons and the page share: evaluations made by hand, small pairs on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.evaluation.scores import ALL, MEAN_IOU, Column, Evaluation
from gliomaseg.labels import Region

SHAPE = (24, 20, 16)
COLUMNS = [
    Column(region.value, metric, unit) for metric, unit in (("dice", ""), ("hd95", "mm")) for region in Region
]
CLASSES = [Column(name, "class_dice", "") for name in ("ncr", "ed", "et")] + [Column(ALL, MEAN_IOU, "")]


def _evaluation_of(name: str = "ours", rules: str = "brats2020", **dice: float) -> Evaluation:
    """Return an evaluation in which every Dice of a case is the given one, every HD95 ten times its error."""
    cases = {
        case: {c.name: (10 * (1 - value) if c.metric == "hd95" else value) for c in COLUMNS + CLASSES}
        for case, value in dice.items()
    }
    return Evaluation(rules, cases, {c.name: c for c in COLUMNS + CLASSES}, name=name)


def _ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """Return the mask of a ball."""
    offsets = [np.arange(n) - c for n, c in zip(shape, centre, strict=True)]
    return np.add.outer(np.add.outer(offsets[0] ** 2, offsets[1] ** 2), offsets[2] ** 2) <= radius**2


def _write_pair(root: Path, case: str, *, shift: int, predicted: bool = True) -> None:
    """Write a small case in the BraTS 2021 layout with images, and its prediction, moved along x."""
    folder = root / "data" / case
    folder.mkdir(parents=True)
    (root / "predictions").mkdir(exist_ok=True)
    labels = [2 * _ball(SHAPE, (x, 10, 8), 6).astype(np.uint8) for x in (12, 12 + shift)]
    for array, x in zip(labels, (12, 12 + shift), strict=True):
        array[_ball(SHAPE, (x, 10, 8), 4)] = 4
        array[_ball(SHAPE, (x, 10, 8), 2)] = 1
    image = (100 + 10 * labels[0].astype(np.int16)) * _ball(SHAPE, (12, 10, 8), 9)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for name in ("t1ce", "flair"):
        nib.save(nib.Nifti1Image(image.astype(np.int16), affine), folder / f"{case}_{name}.nii.gz")
    nib.save(nib.Nifti1Image(labels[0], affine), folder / f"{case}_seg.nii.gz")
    if predicted:
        nib.save(nib.Nifti1Image(labels[1], affine), root / "predictions" / f"{case}.nii.gz")


@pytest.fixture
def evaluation_of() -> Callable[..., Evaluation]:
    """Return ``evaluation_of(name="ours", rules="brats2020", A=0.9, ...)``."""
    return _evaluation_of


@pytest.fixture
def write_pair() -> Callable[..., None]:
    """Return ``write_pair(root, case, shift=1, predicted=True)``."""
    return _write_pair
