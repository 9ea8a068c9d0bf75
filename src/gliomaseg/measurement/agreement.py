"""How two label maps of a case agree: Dice and millilitres of each region. Ignorant of pages."""

from __future__ import annotations

from typing import Any

import numpy as np

from gliomaseg.errors import CaseError
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import REGION_TITLES, Region

#: Colours of the evaluation's page: in both, only in the prediction, only in the reference (hatched).
KINDS = (
    {"name": "tp", "title": "in both", "colour": "#3ca0e6", "dash": [], "hatched": False},
    {"name": "fp", "title": "only in the prediction", "colour": "#ff7a1a", "dash": [], "hatched": False},
    {"name": "fn", "title": "only in the reference", "colour": "#f0e442", "dash": [4, 3], "hatched": True},
)


def agree(prediction: Segmentation, reference: Segmentation) -> dict[str, Any]:
    """Return the agreement of each region as plain values; Dice is None where both maps are empty.

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
    return {"kinds": list(KINDS), "regions": [_region(prediction, reference, region) for region in Region]}


def _region(prediction: Segmentation, reference: Segmentation, region: Region) -> dict[str, Any]:
    one, other = prediction.mask(region), reference.mask(region)
    found, true, both = (int(np.count_nonzero(mask)) for mask in (one, other, one & other))
    ml = prediction.grid.voxel_ml
    return {
        "region": region.value,
        "title": REGION_TITLES[region],
        "dice": 2 * both / (found + true) if found + true else None,
        "both_ml": both * ml,
        "only_prediction_ml": (found - both) * ml,
        "only_reference_ml": (true - both) * ml,
    }
