"""Overlap of two masks or label maps: pure functions on arrays, from counts of voxels.

One confusion matrix of two label maps holds the Dice and IoU of every class and of every union of classes,
so that a case is read once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of two masks: in both, in the prediction, in the reference, and of the whole image."""

    common: int
    prediction: int
    reference: int
    voxels: int

    @property
    def outside(self) -> int:
        """Return how many voxels of the image are outside the reference."""
        return self.voxels - self.reference

    @property
    def dice(self) -> float:
        """Return 2 |A and B| / (|A| + |B|); both empty give 1, one empty gives 0.

        The empty rule is that of BraTS up to 2022 (CaPTk, ``GetBraTSLabelStatistics``).
        """
        total = self.prediction + self.reference
        return 2 * self.common / total if total else 1.0

    @property
    def iou(self) -> float:
        """Return |A and B| / |A or B|; both empty give 1, one empty gives 0, as for Dice."""
        union = self.prediction + self.reference - self.common
        return self.common / union if union else 1.0

    @property
    def sensitivity(self) -> float:
        """Return the share of the reference in the prediction; both empty give 1, one empty gives 0.

        As in BraTS of every year (CaPTk; GaNDLF).
        """
        if not self.reference:
            return 0.0 if self.prediction else 1.0
        return self.common / self.reference

    @property
    def specificity(self) -> float:
        """Return the share of the voxels outside the reference that are outside the prediction, too.

        0 without a voxel outside the reference (BraTS 2023: 0 divided by a tiny number).
        """
        wrong = self.prediction - self.common
        return (self.outside - wrong) / self.outside if self.outside else 0.0

    @property
    def precision(self) -> float:
        """Return the share of the prediction in the reference; both empty give 1, one empty gives 0."""
        if not self.prediction:
            return 0.0 if self.reference else 1.0
        return self.common / self.prediction

    @property
    def volume_similarity(self) -> float:
        """Return 1 - ||A| - |B|| / (|A| + |B|); both empty give 1, one empty gives 0.

        Taha and Hanbury 2015. ITK's "volume similarity" is another number: 2 (|A| - |B|) / (|A| + |B|).
        """
        total = self.prediction + self.reference
        return 1 - abs(self.prediction - self.reference) / total if total else 1.0


def dice(prediction: Mask, reference: Mask) -> float:
    """Return the Dice of two masks of any equal shape; both empty give 1, one empty gives 0."""
    return overlap(prediction, reference).dice


def overlap(prediction: Mask, reference: Mask) -> Overlap:
    """Return the voxel counts of two masks of any equal shape; raises CaseError (E-GRID)."""
    check_shapes(prediction, reference)
    return Overlap(
        common=int(np.count_nonzero(prediction & reference)),
        prediction=int(np.count_nonzero(prediction)),
        reference=int(np.count_nonzero(reference)),
        voxels=prediction.size,
    )


def class_numbers(labels: Labels, class_values: Sequence[int]) -> Labels:
    """Return label maps of any shape as class numbers: ``class_values[i]`` becomes i + 1.

    Every other value becomes 0, the background.
    """
    table = np.zeros(256, dtype=np.uint8)
    table[list(class_values)] = np.arange(1, len(class_values) + 1)
    return table[labels]


def confusion(prediction: Labels, reference: Labels, classes: int) -> Counts:
    """Return the (classes, classes) voxel counts: row = class predicted, column = class of reference.

    Both arrays hold class numbers below ``classes`` (at most 16) and have any equal shape.
    """
    check_shapes(prediction, reference)
    pairs = prediction * np.uint8(classes) + reference
    counts = np.bincount(pairs.ravel(order="K"), minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64, copy=False)


def overlap_of(counts: Counts, classes: Collection[int]) -> Overlap:
    """Return the overlap of the union of some classes, from a confusion matrix."""
    numbers = sorted(classes)
    return Overlap(
        common=int(counts[np.ix_(numbers, numbers)].sum()),
        prediction=int(counts[numbers].sum()),
        reference=int(counts[:, numbers].sum()),
        voxels=int(counts.sum()),
    )


def class_ious(counts: Counts) -> npt.NDArray[np.float64]:
    """Return tp / (tp + fp + fn) of each class of a confusion matrix; NaN for a class in neither map."""
    common = np.diagonal(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - common
    ious = np.full_like(common, np.nan)
    np.divide(common, union, out=ious, where=union > 0)
    return ious


def mean_iou(counts: Counts) -> float:
    """Return the mean IoU over all classes that are in either map; two empty maps give 1.

    With background as class 0, nearly always 0.99, it is the flattering number that BraTS notebooks print
    (``keras.metrics.MeanIoU`` of one case).
    """
    return float(np.nanmean(class_ious(counts)))


def check_shapes(prediction: npt.NDArray[np.generic], reference: npt.NDArray[np.generic]) -> None:
    """Raise CaseError (E-GRID) if two arrays differ in shape."""
    if prediction.shape != reference.shape:
        raise CaseError(
            "E-GRID",
            f"the prediction has the shape {prediction.shape}, the reference {reference.shape}",
            expected="two arrays of one shape",
            remedy="bring the prediction onto the reference's grid with nearest neighbour",
        )
