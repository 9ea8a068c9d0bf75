"""The quality of uncertainty maps (QU-BraTS) and of probabilities (calibration): pure functions on arrays.

A good uncertainty map is uncertain where the prediction is wrong, so that leaving out uncertain voxels raises
the Dice, and certain where it is right, so that few right voxels are left out. Probabilities are calibrated
if of the voxels with a probability of 70 %, 70 % are tumour; counts of single cases add up to those of all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]

#: 100 is uncertain, 0 certain; 40 steps give 41 thresholds from 0 to 100.
STEPS = 40
#: Bins of probability, equally wide from 0 to 1.
BINS = 15
_EPSILON = float(np.finfo(np.float32).eps)


def score_uncertainty(
    prediction: Mask, reference: Mask, *, uncertainty: npt.NDArray[np.generic], brain: Mask
) -> dict[str, float]:
    """Return the QU-BraTS scores of one region by their metric; all arrays have one shape.

    ``uncertainty`` is 0 (certain) to 100. At each of 41 thresholds the voxels above it are left out. From 0
    to 1 are the areas under three curves over the threshold: ``qu_dice``, the Dice of the voxels kept (1
    where neither mask has any left); ``qu_filtered_tp`` and ``qu_filtered_tn``, the shares of true positives
    and true negatives left out, in the ``brain`` only (0 without any). ``qu_brats`` is the mean of the first
    and one minus each of the others; 1 is best. Source: Mehta et al., MELBA 2022:026, and its code
    (RagMeh11/QU-BraTS, BraTS_Seg_Uncertainty.py).
    """
    thresholds = np.linspace(0, 100, STEPS + 1)
    level = np.searchsorted(thresholds, uncertainty.astype(np.float64, copy=False))

    def kept(mask: Mask) -> Array:
        """Return the voxels of ``mask`` kept at each threshold; the last entry is all of them."""
        return np.cumsum(np.bincount(level[mask], minlength=STEPS + 2)).astype(np.float64)

    common, either = kept(prediction & reference), kept(prediction) + kept(reference)
    dices = np.divide(2 * common, either, out=np.ones_like(either), where=either > 0)
    true_positives = kept(prediction & reference & brain)
    true_negatives = kept(~prediction & ~reference & brain)
    dice, tp, tn = _area(dices[:-1]), _area(_left_out(true_positives)), _area(_left_out(true_negatives))
    score = (dice + (1 - tp) + (1 - tn)) / 3
    return {"qu_brats": score, "qu_dice": dice, "qu_filtered_tp": tp, "qu_filtered_tn": tn}


def _left_out(kept: Array) -> Array:
    return np.asarray((kept[-1] - kept[:-1]) / (kept[-1] + _EPSILON))


def _area(curve: Array) -> float:
    """Return the mean of a curve over its equidistant thresholds by the trapezoidal rule."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


@dataclass(frozen=True)
class Reliability:
    """Per bin of probability: voxels, sum of probabilities, tumour voxels."""

    voxels: Array
    probability: Array
    tumour: Array

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.voxels + other.voxels, self.probability + other.probability, self.tumour + other.tumour
        )

    @property
    def ece(self) -> float:
        """Return the expected calibration error, 0 (best) to 1; NaN without a voxel.

        The mean over voxels of |mean probability - share of tumour| in their bin. Source: Guo et al. 2017.
        """
        total = float(self.voxels.sum())
        return float(np.abs(self.probability - self.tumour).sum()) / total if total else math.nan

    def curve(self) -> list[tuple[float, float, int]]:
        """Return (mean probability, share of tumour, voxels) of every bin with a voxel."""
        rows = zip(self.probability.tolist(), self.tumour.tolist(), self.voxels.tolist(), strict=True)
        return [(p / n, t / n, int(n)) for p, t, n in rows if n]


def count_reliability(probability: npt.NDArray[np.generic], reference: Mask, *, inside: Mask) -> Reliability:
    """Return the counts of one region in one case, over the voxels ``inside``; all of one shape.

    Raises ImageError (E-VALUES) when a probability is outside 0 to 1 by more than 1e-6.
    """
    values = probability[inside].astype(np.float64)
    if values.size and not -1e-6 <= values.min() <= values.max() <= 1 + 1e-6:
        raise ImageError(
            "E-VALUES",
            f"probabilities run from {values.min():g} to {values.max():g}",
            expected="numbers from 0 to 1",
            remedy="give probabilities, not logits, label values or per cent",
        )
    values = np.clip(values, 0, 1)
    bins = np.minimum((values * BINS).astype(np.intp), BINS - 1)
    counts = (
        np.bincount(bins, minlength=BINS),
        np.bincount(bins, values, minlength=BINS),
        np.bincount(bins[reference[inside]], minlength=BINS),
    )
    return Reliability(*(count.astype(np.float64) for count in counts))
