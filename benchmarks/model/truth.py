"""What experts drew of a case, in the box of the brain that a model works in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.labels import BRATS2021, Region
from gliomaseg.segmenter import ReadyCase

Mask = npt.NDArray[np.bool_]


def truth_of(case: Case, ready: ReadyCase) -> dict[Region, Mask]:
    """Return the mask (x, y, z) of each region within ``ready.prepared.valid``."""
    prepared = ready.prepared
    labels = prepared.forward(read_labels(Path(str(case.reference)), BRATS2021).labels)[prepared.valid]
    return {region: BRATS2021.mask(labels, region) for region in Region}
