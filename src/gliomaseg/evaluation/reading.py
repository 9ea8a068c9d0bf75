"""The label maps of one case: validated, on the reference's grid, with notes on both.

A reference is never resampled. Flipped and exchanged axes of a prediction are undone exactly; anything else
is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError, ImageError
from gliomaseg.evaluation.pairing import Pair
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.volume import Grid, Segmentation, turned_grid, turned_like
from gliomaseg.labels import TISSUE_TITLES, LabelScheme, find_scheme
from gliomaseg.storage.result_folder import ResultFolder

Array = npt.NDArray[np.generic]


class CaseMaps(NamedTuple):
    """A prediction and its reference on one grid, with notes on both.

    ``seen_in_training``: the prediction's model was trained on this case; ``edited``: a person changed the
    prediction.
    """

    prediction: Segmentation
    reference: Segmentation
    notes: tuple[str, ...] = ()
    seen_in_training: bool = False
    edited: bool = False


def read_case(pair: Pair) -> CaseMaps:
    """Return the label maps of a pair; the prediction is empty without a file.

    Its scheme is the pair's, else the one in ``run.json`` beside it, else the reference's. Raises ImageError
    for the files, LabelError (E-LABEL, E-LABELS) for their values, CaseError (E-GRID; E-REPORT for a damaged
    ``run.json``).
    """
    reference, notes = _read_labels(pair.reference, pair.scheme, option="--scheme")
    if pair.prediction is None:
        return CaseMaps(replace(reference, labels=np.zeros_like(reference.labels)), reference, notes)
    folder = ResultFolder.of(pair.prediction)
    record, is_edited = (folder.read(), folder.edited()) if folder else ({}, False)
    named = record.get("scheme")
    scheme = pair.prediction_scheme or (find_scheme(named) if named else reference.scheme)
    found, more = _read_labels(pair.prediction, scheme, option="--prediction-scheme")
    prediction, turns = place_on(
        found, reference.grid, name="the prediction", ignore_affine=pair.ignore_affine
    )
    notes = (*notes, *more, *turns)
    present, expected = (np.unique(s.labels[s.labels != 0]).tolist() for s in (prediction, reference))
    if len(present) == 1 and len(expected) != 1:  # as in a mask of 0 and 1
        (title,) = (TISSUE_TITLES[t] for t, value in prediction.scheme.values.items() if value == present[0])
        what = f"{pair.prediction.name} holds no label but {present[0]} ({title})"
        notes += (f"{what}: if that is a mask of the whole tumour, only the scores of WT are meaningful",)
    return CaseMaps(prediction, reference, notes, record.get("seen_in_training") is True, is_edited)


def _read_labels(path: Path, scheme: LabelScheme, *, option: str) -> tuple[Segmentation, tuple[str, ...]]:
    """Return a label map with the values of ``scheme``, and a note when they had to be rounded."""
    try:
        array, grid = read_image(path)
    except ImageError as error:
        if error.code != "E-NDIM":
            raise
        raise ImageError(
            "E-NDIM",
            error.what,
            expected="one whole number per voxel, in three dimensions",
            remedy="if its last axis holds a channel for each label (one-hot, probabilities), save the label "
            "of the largest: numpy.argmax over that axis, written in the numbers of the label scheme",
        ) from error
    labels = scheme.check(array, str(path), option=option)
    is_rounded = array.dtype.kind == "f" and not np.array_equal(array, labels)
    note = f"label values of {path.name} within 0.01 of a whole number were rounded"
    return Segmentation(labels, grid, scheme), (note,) if is_rounded else ()


def place_on(
    segmentation: Segmentation, target: Grid, *, name: str, ignore_affine: bool = False
) -> tuple[Segmentation, tuple[str, ...]]:
    """Return a label map on the grid ``target``, and notes, as ``on_grid``; raises CaseError (E-GRID)."""
    labels, notes = on_grid(
        segmentation.labels, segmentation.grid, target, name=name, ignore_affine=ignore_affine
    )
    return replace(segmentation, labels=labels.astype(np.uint8, copy=False), grid=target), notes


def on_grid(
    array: Array, grid: Grid, target: Grid, *, name: str, ignore_affine: bool = False
) -> tuple[Array, tuple[str, ...]]:
    """Return ``array`` (x, y, z) of ``grid`` on ``target``, and notes on how it was brought there.

    With ``ignore_affine`` voxels are taken in the order of the target's. Raises CaseError (E-GRID) naming
    ``name`` where that would need interpolation.
    """
    if grid.matches(target):
        return array, ()
    if ignore_affine and grid.shape == target.shape:
        return array, (f"the affine of {name} was ignored: its voxels were taken in the reference's order",)
    if turned_grid(grid, target).matches(target):
        turned = turned_like(array, grid, target)
        return turned, (f"{name} was turned to the axes of the reference, voxel by voxel",)
    sizes = [" x ".join(map(str, g.shape)) for g in (grid, target)]
    what = f"{name} has {sizes[0]} voxels, the reference {sizes[1]}"
    remedy = "resample it to the grid of the reference, label maps with nearest neighbour"
    if grid.shape == target.shape:
        affines = [g.affine[:3].round(3).tolist() for g in (grid, target)]
        what += f", but another affine: {affines[0]}, not {affines[1]}"
        if np.allclose(np.abs(grid.affine), np.eye(4)):
            what += f"; {name} was saved without its place in space (an identity affine)"
            remedy = "copy the affine of the images into it"
        remedy += "; or, if its voxels are in the reference's order: --ignore-affine"
    expected = "everything on the grid of the reference, which is never resampled"
    raise CaseError("E-GRID", what, expected=expected, remedy=remedy)
