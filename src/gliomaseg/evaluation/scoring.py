"""One case scored: read, prove the grids equal, apply the rules. Runs in a process of its own.

Tissues are compared, never integers, so both sides may follow different label schemes. A reference is
never resampled. Ignorant of how predictions were made and of the other cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.background import zero_background
from gliomaseg.errors import GliomasegError, strip_folders
from gliomaseg.evaluation import metrics, segmentation_pair
from gliomaseg.evaluation.calibration import Reliability, count_reliability
from gliomaseg.evaluation.grids import on_grid
from gliomaseg.evaluation.prediction import (
    UNKNOWN,
    Origin,
    binary_note,
    origin_of,
    read_noting,
    read_prediction,
)
from gliomaseg.evaluation.rules import find_profile
from gliomaseg.evaluation.scores import ALL, MEAN_IOU, Column, Pair
from gliomaseg.evaluation.uncertainty import score_uncertainty
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import LabelScheme, Region, Tissue

#: The classes of the notebooks' numbers, in this order behind background; a cavity is background.
TISSUES = (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING)

Scores = dict[Column, float]


@dataclass(frozen=True)
class Job:
    """What a process needs to score one case; ``scheme`` is that of the prediction, if it is known."""

    pair: Pair
    rules: str
    scheme: LabelScheme | None = None


@dataclass(frozen=True)
class Scored:
    """What became of one case: its scores, or why it has none."""

    case_id: str
    scores: Mapping[Column, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    origin: Origin = UNKNOWN
    error: Mapping[str, str] | None = None


def score_pair(job: Job) -> Scored:
    """Score the case of ``job``; what is wrong with its files is returned, not raised."""
    pair = job.pair
    try:
        reference, remarks = read_noting(pair.reference, pair.scheme)
        prediction, more = read_prediction(pair, job.scheme, reference)
        scores = score_case(prediction, reference, rules=job.rules)
        reliability: dict[str, Reliability] = {}
        if pair.uncertainty or pair.probabilities:
            brain = _read_brain(pair, reference.grid)
            scores |= _score_uncertainty(pair, prediction, reference, brain=brain)
            reliability = _count_reliability(pair, reference, brain=brain)
        if pair.prediction is not None:
            more = (*more, *binary_note(prediction, reference, pair.prediction.name))
        return Scored(pair.case_id, scores, (*remarks, *more), reliability, origin_of(pair.prediction))
    except GliomasegError as error:
        return Scored(pair.case_id, error=error.reworded(strip_folders).as_dict())
    except MemoryError:
        full = GliomasegError("E-MEM", f"the memory ran out at {pair.case_id}", remedy="use --jobs 1")
        return Scored(pair.case_id, error=full.as_dict())


def score_case(prediction: Segmentation, reference: Segmentation, *, rules: str = "brats2020") -> Scores:
    """Return every score of one case by the rules of that name, and the numbers that notebooks print.

    Raises CaseError (E-GRID) when the grids differ, SettingsError (E-SETTING) for unknown rules.
    """
    labels, _ = on_grid(prediction.labels, prediction.grid, reference.grid, name="the prediction")
    prediction = Segmentation(labels.astype(np.uint8, copy=False), reference.grid, prediction.scheme)
    found = segmentation_pair.score(prediction, reference, find_profile(rules))
    scores = {Column(score.region, score.metric, score.unit): float(score.value) for score in found}
    return scores | _score_classes(prediction, reference)


def _score_classes(prediction: Segmentation, reference: Segmentation) -> Scores:
    """Return Dice of each class (empty in both: 1) and mean IoU with background, whatever the rules."""
    counts = metrics.confusion(_classes(prediction), _classes(reference), len(TISSUES) + 1)
    overlaps = {t.value: metrics.overlap_of(counts, [n]) for n, t in enumerate(TISSUES, start=1)}
    scores = {Column(name, "class_dice", ""): overlap.dice for name, overlap in overlaps.items()}
    return scores | {Column(ALL, MEAN_IOU, ""): metrics.mean_iou(counts)}


def _classes(segmentation: Segmentation) -> metrics.Labels:
    values = [segmentation.scheme.values[tissue] for tissue in TISSUES]
    return metrics.class_numbers(segmentation.labels, values)


def _score_uncertainty(
    pair: Pair, prediction: Segmentation, reference: Segmentation, *, brain: metrics.Mask
) -> Scores:
    scores: Scores = {}
    for region, path in pair.uncertainty.items():
        found = score_uncertainty(
            prediction.mask(Region(region)),
            reference.mask(Region(region)),
            uncertainty=_read_map(path, reference.grid),
            brain=brain,
        )
        values = {
            "qu_brats": found.score,
            "qu_dice": found.dice,
            "qu_filtered_tp": found.filtered_tp,
            "qu_filtered_tn": found.filtered_tn,
        }
        scores |= {Column(region, metric, ""): value for metric, value in values.items()}
    return scores


def _count_reliability(pair: Pair, reference: Segmentation, *, brain: metrics.Mask) -> dict[str, Reliability]:
    return {
        region: count_reliability(
            _read_map(path, reference.grid), reference.mask(Region(region)), inside=brain
        )
        for region, path in pair.probabilities.items()
    }


def _read_brain(pair: Pair, grid: Grid) -> metrics.Mask:
    """Return the voxels of the brain: where the first image at hand is not 0; everything without one."""
    if not pair.images:
        return np.ones(grid.shape, dtype=bool)
    modality, path = next(iter(pair.images.items()))
    image = _read_map(path, grid, channel=pair.channels.get(modality))
    return np.asarray(zero_background(image, path.name, []) != 0)


def _read_map(path: Path, grid: Grid, *, channel: int | None = None) -> npt.NDArray[np.generic]:
    array, its_grid = read_image(path, channel=channel)
    return on_grid(array, its_grid, grid, name=path.name)[0]
