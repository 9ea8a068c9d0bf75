"""How two label maps of a case agree: Dice and millilitres of each region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gliomaseg.errors import CaseError
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import Region


@dataclass(frozen=True)
class Agreement:
    """How far a prediction and a reference agree on a region; Dice is None where both are empty."""

    region: Region
    dice: float | None
    both_ml: float
    only_prediction_ml: float
    only_reference_ml: float


def agree(prediction: Segmentation, reference: Segmentation) -> tuple[Agreement, ...]:
    """Return the agreement of each region.

    Raises CaseError (E-GRID) when the two grids differ.
    """
    if not prediction.grid.matches(reference.grid):
        raise CaseError(
            "E-GRID",
            f"the label map is {prediction.grid.shape} voxels and the reference {reference.grid.shape}, "
            "or their affines differ",
            expected="two label maps on one grid",
            remedy="resample one to the grid of the other with nearest neighbour",
        )
    return tuple(_agreement(prediction, reference, region) for region in Region)


def _agreement(prediction: Segmentation, reference: Segmentation, region: Region) -> Agreement:
    one, other = prediction.mask(region), reference.mask(region)
    found, true, both = (int(np.count_nonzero(mask)) for mask in (one, other, one & other))
    dice, ml = 2 * both / (found + true) if found + true else None, prediction.grid.voxel_ml
    return Agreement(region, dice, both * ml, (found - both) * ml, (true - both) * ml)
