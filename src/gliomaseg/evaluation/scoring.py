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
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import Region


def score_pair(pair: Pair, rules: str) -> Scored:
    """Score one case; an error in its files is returned, not raised."""
    try:
        found = read_case(pair)
        scores = score_case(found.prediction, found.reference, rules=rules)
        reliability: dict[str, Reliability] = {}
        if pair.uncertainty or pair.probabilities:
            more, reliability = _score_maps(pair, found)
            scores |= more
    except GliomasegError as error:
        return Scored(pair.case_id, error=error.reworded(strip_folders).as_dict())
    except MemoryError:
        full = GliomasegError("E-MEM", f"the memory ran out at {pair.case_id}", remedy="use --jobs 1")
        return Scored(pair.case_id, error=full.as_dict())
    return Scored(pair.case_id, scores, found.notes, reliability, found.seen_in_training, found.edited)


def _score_maps(pair: Pair, maps: CaseMaps) -> tuple[Scores, dict[str, Reliability]]:
    """Return the scores of the uncertainty maps, and the calibration of the probabilities by region."""
    grid, scores, reliability = maps.reference.grid, Scores(), {}
    brain = _read_brain(pair, grid)
    for region, path in pair.uncertainty.items():
        masks = (labels.mask(Region(region)) for labels in (maps.prediction, maps.reference))
        found = score_uncertainty(*masks, uncertainty=_read_map(path, grid), brain=brain)
        scores |= {Column(region, metric): value for metric, value in found.items()}
    for region, path in pair.probabilities.items():
        mask = maps.reference.mask(Region(region))
        reliability[region] = count_reliability(_read_map(path, grid), mask, inside=brain)
    return scores, reliability


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
