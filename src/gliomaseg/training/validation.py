"""Scores of a network on whole held-out cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gliomaseg.evaluation.metrics import confusion, mean_iou, overlap_of
from gliomaseg.imaging.prepare import Image, padded
from gliomaseg.imaging.volume import Box
from gliomaseg.inference.engine import Engine
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.inference.predict import predict
from gliomaseg.labels import REGION_TISSUES, Region, Tissue
from gliomaseg.settings.schema import Settings
from gliomaseg.training.cache import STORED, PreparedCase
from gliomaseg.training.history import MEASURES

Scores = dict[str, float]
Labels = npt.NDArray[np.uint8]


def validate(engine: Engine, case: PreparedCase, settings: Settings) -> Scores:
    """Return the scores of a whole case, named as in history.SCORES, with BraTS 2020's empty rule."""
    labels = label_regions(predict_padded(case.image, engine, settings), settings, STORED, case.voxel_ml)
    return score(labels, case.label, settings.network.regions)


def score(
    labels: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8], regions: Sequence[Region]
) -> Scores:
    """Return the scores of a label map (x, y, z) in STORED; those of classes only with all regions."""
    counts = confusion(labels, np.asarray(reference), 1 + max(STORED.values.values()))
    found: Scores = {}
    for region in regions:
        overlap = overlap_of(counts, [STORED.values[t] for t in REGION_TISSUES[region] if t in STORED.values])
        found |= {f"{name}_{region}": getattr(overlap, name) for name in MEASURES}
    if set(regions) == set(Region):
        for tissue in (Tissue.NECROSIS, Tissue.OEDEMA):
            found[f"dice_{tissue}"] = overlap_of(counts, [STORED.values[tissue]]).dice
        found["mean_iou"] = mean_iou(counts)
    return found


def predict_padded(image: npt.NDArray[np.floating], engine: Engine, settings: Settings) -> Image:
    """Return probabilities (region, x, y, z) of a prepared image (modality, x, y, z) without padding.

    There is no second pass, so that validation takes a third of the time.
    """
    room, valid = with_room(image, settings)
    fast = settings.inference.model_copy(update={"quality": "fast"})
    found = predict(room, engine, settings.model_copy(update={"inference": fast}))
    return found[(slice(None), *valid)]


def with_room(image: npt.NDArray[np.floating], settings: Settings) -> tuple[Image, Box]:
    """Return a prepared image (modality, x, y, z) padded as for inference, and the box that it fills."""
    room, valid = padded(len(image), image.shape[1:], settings.prepare)
    room[(slice(None), *valid)] = image
    return room, valid
