"""The agreement of two label maps of one case: Dice and millilitres of each region."""

from __future__ import annotations

from dataclasses import dataclass

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.metrics import overlap
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import Region


@dataclass(frozen=True)
class Agreement:
    """The agreement of a prediction and a reference on a region; Dice is None where both are empty."""

    region: Region
    dice: float | None
    both_ml: float
    only_prediction_ml: float
    only_reference_ml: float


def agree(prediction: Segmentation, reference: Segmentation) -> tuple[Agreement, ...]:
    """Return the agreement of each region; raises CaseError (E-GRID) when the two grids differ."""
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
    counts, ml = overlap(prediction.mask(region), reference.mask(region)), prediction.grid.voxel_ml
    is_empty = not counts.prediction and not counts.reference
    return Agreement(
        region,
        None if is_empty else counts.dice,
        counts.common * ml,
        (counts.prediction - counts.common) * ml,
        (counts.reference - counts.common) * ml,
    )
