"""How useful an uncertainty map is: the QU-BraTS score, as a pure function on arrays.

A good map is uncertain where the prediction is wrong, so that leaving out uncertain voxels raises the
Dice, and certain where it is right, so that few right voxels are left out. Ignorant of files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]

#: 100 is uncertain, 0 certain; 40 steps give 41 thresholds from 0 to 100.
STEPS = 40
_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class UncertaintyScore:
    """Areas under three curves over the threshold, from 0 to 1, and their mean ``score`` (1 is best).

    ``dice``: Dice of the voxels kept. ``filtered_tp``, ``filtered_tn``: the share of true positives and
    of the brain's true negatives that were left out.
    """

    dice: float
    filtered_tp: float
    filtered_tn: float

    @property
    def score(self) -> float:
        """Return (dice + (1 - filtered_tp) + (1 - filtered_tn)) / 3."""
        return (self.dice + (1 - self.filtered_tp) + (1 - self.filtered_tn)) / 3


def score_uncertainty(
    prediction: Mask, reference: Mask, *, uncertainty: npt.NDArray[np.generic], brain: Mask
) -> UncertaintyScore:
    """Return the QU-BraTS score of one region; all arrays have one shape.

    ``uncertainty`` runs from 0 (certain) to 100. At each of 41 thresholds the voxels above it are left
    out; where nothing of either mask is left, the Dice is 1. Only voxels in the ``brain`` count as true
    positives and true negatives; without any, their filtered share is 0. Source: Mehta et al., MELBA
    2022:026, and its code (RagMeh11/QU-BraTS, BraTS_Seg_Uncertainty.py).
    """
    thresholds = np.linspace(0, 100, STEPS + 1)
    level = np.searchsorted(thresholds, uncertainty.astype(np.float64, copy=False))

    def kept(mask: Mask) -> Array:
        """Return how many voxels of ``mask`` are kept at each threshold; the last entry is all of them."""
        return np.cumsum(np.bincount(level[mask], minlength=STEPS + 2)).astype(np.float64)

    common, either = kept(prediction & reference), kept(prediction) + kept(reference)
    dice = np.divide(2 * common, either, out=np.ones_like(either), where=either > 0)
    true_positives = kept(prediction & reference & brain)
    true_negatives = kept(~prediction & ~reference & brain)
    return UncertaintyScore(
        _area(dice[:-1]), _area(_left_out(true_positives)), _area(_left_out(true_negatives))
    )


def _left_out(kept: Array) -> Array:
    return np.asarray((kept[-1] - kept[:-1]) / (kept[-1] + _EPSILON))


def _area(curve: Array) -> float:
    """Return the mean of a curve over its equidistant thresholds by the trapezoidal rule."""
    return float((curve[1:] + curve[:-1]).mean() / 2)
