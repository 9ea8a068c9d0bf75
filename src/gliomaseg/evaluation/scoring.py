"""One case scored: its label maps are read and the rules applied. Runs in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.intensities import zero_background
from gliomaseg.errors import GliomasegError, strip_folders
from gliomaseg.evaluation.metrics import Mask
from gliomaseg.evaluation.pairing import Pair
from gliomaseg.evaluation.reading import CaseMaps, on_grid, read_case
from gliomaseg.evaluation.scores import Column, Scored, Scores
from gliomaseg.evaluation.segmentation_pair import score_case
from gliomaseg.evaluation.uncertainty import Reliability, count_reliability, score_uncertainty
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import Region


def score_pair(pair: Pair, rules: str) -> Scored:
    """Score one case; an error in its files is returned, not raised."""
    try:
        found = read_case(pair)
        scores = score_case(found.prediction, found.reference, rules=rules)
        reliability: dict[str, Reliability] = {}
        if pair.uncertainty or pair.probabilities:
            brain = _read_brain(pair, found.reference.grid)
            scores |= _score_uncertainty(pair, found, brain=brain)
            reliability = _count_reliability(pair, found.reference, brain=brain)
    except GliomasegError as error:
        return Scored(pair.case_id, error=error.reworded(strip_folders).as_dict())
    except MemoryError:
        full = GliomasegError("E-MEM", f"the memory ran out at {pair.case_id}", remedy="use --jobs 1")
        return Scored(pair.case_id, error=full.as_dict())
    return Scored(pair.case_id, scores, found.notes, reliability, found.seen_in_training, found.edited)


def _score_uncertainty(pair: Pair, maps: CaseMaps, *, brain: Mask) -> Scores:
    scores: Scores = {}
    for region, path in pair.uncertainty.items():
        masks = (labels.mask(Region(region)) for labels in (maps.prediction, maps.reference))
        uncertainty = _read_map(path, maps.reference.grid)
        found = score_uncertainty(*masks, uncertainty=uncertainty, brain=brain)
        scores |= {Column(region, metric): value for metric, value in found.items()}
    return scores


def _count_reliability(pair: Pair, reference: Segmentation, *, brain: Mask) -> dict[str, Reliability]:
    found = {}
    for region, path in pair.probabilities.items():
        probability = _read_map(path, reference.grid)
        found[region] = count_reliability(probability, reference.mask(Region(region)), inside=brain)
    return found


def _read_brain(pair: Pair, grid: Grid) -> Mask:
    """Return the voxels of the brain: where the first image is not 0; everything without an image."""
    if not pair.images:
        return np.ones(grid.shape, dtype=bool)
    modality, path = next(iter(pair.images.items()))
    image = _read_map(path, grid, channel=pair.channels.get(modality))
    return np.asarray(zero_background(image, path.name, []) != 0)


def _read_map(path: Path, grid: Grid, *, channel: int | None = None) -> npt.NDArray[np.generic]:
    array, its_grid = read_image(path, channel=channel)
    return on_grid(array, its_grid, grid, name=path.name)[0]
