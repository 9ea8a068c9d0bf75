"""The agreement of two label maps, by pencil."""

from __future__ import annotations

import numpy as np
import pytest
from label_maps import AFFINE, segmentation

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.agreement import agree
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021


def test_by_pencil() -> None:
    prediction = segmentation(BRATS2021, "ncr", "ed", "ed")
    reference = segmentation(BRATS2021, "ncr", "ncr", "ed", "ed")
    whole, core, enhancing = agree(prediction, reference)
    assert whole.dice == pytest.approx(6 / 7)
    assert core.dice == pytest.approx(2 / 3)
    assert enhancing.dice is None
    volumes = [(one.both_ml, one.only_prediction_ml, one.only_reference_ml) for one in (whole, core)]
    assert volumes == [pytest.approx((0.003, 0, 0.001)), pytest.approx((0.001, 0, 0.001))]


def test_other_grids_are_refused() -> None:
    moved = Segmentation(np.zeros((4, 3, 2), np.uint8), Grid((4, 3, 2), AFFINE * 2), BRATS2021)
    with pytest.raises(CaseError, match="their affines differ") as caught:
        agree(moved, segmentation(BRATS2021, "et"))
    assert caught.value.code == "E-GRID"
