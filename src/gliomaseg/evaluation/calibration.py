"""Whether a probability means what it says: of the voxels given 70 %, are 70 % tumour? Pure functions.

Counts of single cases add up to those of a whole data set. Ignorant of files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import ImageError

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Per bin of probability (15, equally wide from 0 to 1): voxels, sum of probabilities, tumour voxels."""

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
        """Return (mean probability, share of tumour, voxels) of every bin that holds any."""
        rows = zip(self.probability.tolist(), self.tumour.tolist(), self.voxels.tolist(), strict=True)
        return [(p / n, t / n, int(n)) for p, t, n in rows if n]


def count_reliability(probability: npt.NDArray[np.generic], reference: Mask, *, inside: Mask) -> Reliability:
    """Return the counts of one region in one case, over the voxels ``inside``; all of one shape.

    Raises ImageError (E-VALUES) when a probability lies outside 0 to 1; 1e-6 is forgiven.
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
    return Reliability(
        np.bincount(bins, minlength=BINS).astype(np.float64),
        np.bincount(bins, values, minlength=BINS).astype(np.float64),
        np.bincount(bins[reference[inside]], minlength=BINS).astype(np.float64),
    )
