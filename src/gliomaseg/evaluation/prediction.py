"""Predicted label maps on disk: found under any usual name, read under the scheme that they follow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError, ImageError
from gliomaseg.evaluation.grids import on_grid
from gliomaseg.evaluation.scores import Pair
from gliomaseg.imaging.nifti import read_image
from gliomaseg.imaging.raw_file import missing_file
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import TISSUE_TITLES, LabelScheme, find_scheme
from gliomaseg.storage.result_folder import LABELS, ResultFolder

_OWN_NAMES = (LABELS, "seg.nii")
_ENDINGS = tuple(part + end for part in ("", "_seg", "-seg") for end in (".nii.gz", ".nii"))
_NAME = re.compile(r"(?P<id>.+?)(?:[_-]seg)?\.nii(?:\.gz)?")


def find_predictions(folder: Path) -> dict[str, Path]:
    """Return the label map of each case id in a folder, in the order of names.

    Knows ``<id>/seg.nii.gz`` (results of gliomaseg; such a folder alone, too), ``<id>.nii.gz``,
    ``<id>_seg.nii.gz`` and ``<id>-seg.nii.gz``, these also in a folder ``<id>`` and as .nii.
    Raises ImageError (E-NOFILE), CaseError (E-NOFILE, E-PERM, E-DUPID, E-NOCASE).
    """
    found: dict[str, Path] = {}
    for path in _label_maps(folder):
        name = _case_id(path)
        if name in found:
            raise CaseError(
                "E-DUPID",
                f"case {name} has two predictions: {found[name]} and {path}",
                expected="one label map per case",
                remedy="move one of them out of the folder",
            )
        found[name] = path
    if not found:
        raise CaseError(
            "E-NOCASE",
            f"no prediction was found in {folder}",
            expected="<id>/seg.nii.gz, <id>.nii.gz, <id>_seg.nii.gz or <id>-seg.nii.gz (or .nii)",
            remedy="name the folder that directly holds these files or folders",
        )
    return found


def _label_maps(folder: Path) -> Iterator[Path]:
    if not folder.exists():
        raise missing_file(folder)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CaseError(
            "E-PERM" if folder.is_dir() else "E-NOFILE",
            f"{folder} can't be read as a folder: {error.strerror}",
            expected="a readable folder with predictions",
            remedy="name the folder that holds the label maps; check its permissions",
        ) from error
    for entry in entries:
        if entry.is_dir():
            names = (*_OWN_NAMES, *(entry.name + ending for ending in _ENDINGS))
            yield from (path for name in names if (path := entry / name).is_file())
        elif _NAME.fullmatch(entry.name) and not entry.name.startswith("."):
            yield entry


def _case_id(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    if match is None or path.name in _OWN_NAMES:
        return path.resolve().parent.name
    return match["id"]


def read_prediction(
    pair: Pair, scheme: LabelScheme | None, reference: Segmentation
) -> tuple[Segmentation, tuple[str, ...]]:
    """Return the prediction of a pair on the reference's grid, and what is to be noted of it.

    Without a file it is empty. Its scheme is ``scheme``, else that of the result it is, else the
    reference's. Raises as ``read_noting``, and CaseError (E-GRID).
    """
    path = pair.prediction
    if path is None:
        return replace(reference, labels=np.zeros_like(reference.labels)), ()
    scheme = scheme or _scheme_beside(path) or reference.scheme
    found, notes = read_noting(path, scheme, option="--prediction-scheme")
    labels, more = on_grid(
        found.labels, found.grid, reference.grid, name="the prediction", ignore_affine=pair.ignore_affine
    )
    return Segmentation(labels.astype(np.uint8, copy=False), reference.grid, scheme), (*notes, *more)


def read_noting(
    path: Path, scheme: LabelScheme, *, option: str = "--scheme"
) -> tuple[Segmentation, tuple[str, ...]]:
    """Return a label map proven to be of ``scheme``, and a note when its values had to be rounded.

    Raises ImageError for the file, LabelError (E-LABEL, E-LABELS) for its values, whose remedy names
    ``option``.
    """
    array, grid = _read_map(path)
    labels = scheme.check(array, str(path), option=option)
    is_rounded = array.dtype.kind == "f" and not np.array_equal(array, labels)
    what = f"label values of {path.name} within 0.01 of a whole number were rounded"
    notes = (what,) if is_rounded else ()
    return Segmentation(labels, grid, scheme), notes


class Origin(NamedTuple):
    """What is known of who made a prediction: a model trained on its very case; a person, who edited it."""

    seen_in_training: bool = False
    edited: bool = False


UNKNOWN = Origin()


def origin_of(path: Path | None) -> Origin:
    """Return what the record beside a prediction says; raises CaseError (E-REPORT) for a damaged one."""
    folder = ResultFolder.of(path) if path else None
    if folder is None:
        return UNKNOWN
    return Origin(folder.read().get("seen_in_training") is True, folder.edited())


def _read_map(path: Path) -> tuple[npt.NDArray[np.generic], Grid]:
    """Return the voxels and the grid of a label map; raises ImageError with a remedy for label maps."""
    try:
        return read_image(path)
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


def binary_note(prediction: Segmentation, reference: Segmentation, name: str) -> tuple[str, ...]:
    """Return a note where a prediction has one label and its reference several, as a mask of 0 and 1 has."""
    found, wanted = (np.unique(s.labels[s.labels != 0]).tolist() for s in (prediction, reference))
    if len(found) != 1 or len(wanted) == 1:
        return ()
    (title,) = (TISSUE_TITLES[t] for t, value in prediction.scheme.values.items() if value == found[0])
    what = f"{name} holds no label but {found[0]} ({title})"
    return (f"{what}: if that is a mask of the whole tumour, only the scores of WT tell something",)


def _scheme_beside(path: Path) -> LabelScheme | None:
    folder = ResultFolder.of(path)
    name = folder.read().get("scheme") if folder else None
    return find_scheme(name) if name else None
