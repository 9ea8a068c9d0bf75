"""How similar the sequences of a case are to real ones, in the given order and in every other.

Each pair of sequences has three features: the rank correlation of their intensities, and the skewness of
their difference in its far and near tails (tissue that is bright in one only: CSF in T2, vessels after
contrast). ``assets/appearance.json`` holds the mean and inverse covariance over real cases; the distance from
them (Mahalanobis, squared, per feature) is computed for each order.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import CaseError, Note
from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality

_Array = npt.NDArray[np.floating]

#: Sequences are compared by the means of blocks of about this many mm, every other one along each axis, which
#: removes noise and keeps anatomy; and the least number of blocks.
_BLOCK_MM, _FEWEST_BLOCKS = 6.0, 30
#: At most about this many voxels are used.
_VOXELS = 20_000
#: The percentiles of a difference between which skewness is measured.
_TAILS = (0.2, 2.0, 50.0, 98.0, 99.8)

#: ``similarity`` of two sequences: real at most 0.956 (T1 and T1c), else 0.743; 0.996 with 15 % of noise.
_SAME, _SAME_T1 = 0.975, 0.998
#: Distance from real sequences (of each from the others: 0.2 to 1.84) beyond which a case is unlike them, and
#: beyond which it is no brain; and by which another order of so many sequences must be nearer.
_UNLIKE, _NO_BRAIN, _BETTER_ORDER = 2.0, 4.0, {4: 0.6, 3: 1.0, 2: 2.0}
CHECK_FILES = "check that the right files were given, or continue with --force"

Order = tuple[int, ...]
ALL: Order = (0, 1, 2, 3)


class Likeness(NamedTuple):
    """Distance from real cases as given and in the best order; sequence ``order[k]`` looks like number k."""

    as_given: float
    best: float
    order: Order


class Model(NamedTuple):
    """Mean (18) and inverse covariance (18, 18) of the features over real cases."""

    mean: _Array
    precision: _Array


def check_copies(volume: Volume, case_id: str) -> list[Note]:
    """Return a note where T1c is nearly T1; raises CaseError (E-DUPLICATE) for copies of one sequence."""
    alike, names = similarity(volume.array, volume.grid.spacing), volume.channels
    for one, other in zip(*np.triu_indices(len(names), 1), strict=True):
        are_t1 = {names[one], names[other]} == {Modality.T1N, Modality.T1C}
        if alike[one, other] > (_SAME_T1 if are_t1 else _SAME):
            raise CaseError(
                "E-DUPLICATE",
                f"case {case_id}: {names[one]} and {names[other]} differ only in scale or noise",
                expected="a different sequence in each file",
                remedy=CHECK_FILES,
            )
        if alike[one, other] > _SAME:
            what = f"case {case_id}: t1c is nearly identical to t1n"
            return [Note("W-CONTRAST", what, "without contrast agent, enhancing tumour is not reliable")]
    return []


def check_order(channels: npt.NDArray[np.generic], names: Sequence[str], case_id: str) -> list[Note]:
    """Return a note where sequences ``names`` (channel, x, y, z) are unlike real ones.

    Raises CaseError (E-NOTBRAIN, E-MODALITY-ORDER).
    """
    if not np.all(channels != 0, axis=0).any():
        raise not_brain(
            f"case {case_id}: its images share no nonzero voxel",
            "sequences of one brain, registered to each other",
        )
    known = list(Modality)
    found = likeness(pair_features(channels), tuple(known.index(Modality(name)) for name in names))
    are_all = len(names) == len(known)
    if are_all and found.best > _NO_BRAIN:
        raise not_brain(
            f"case {case_id} is unlike a brain's sequences: distance {found.best:.1f}, real cases 1",
            f"T1, T1 with contrast, T2 and FLAIR of a brain (distance at most {_NO_BRAIN:g})",
        )
    if found.as_given - found.best > _BETTER_ORDER[len(names)]:
        swaps = [f"{names[given]} looks like {names[k]}" for k, given in enumerate(found.order) if given != k]
        raise CaseError(
            "E-MODALITY-ORDER",
            f"case {case_id}: the sequences seem to be swapped: {', '.join(swaps)}",
            expected="each sequence under its own name",
            remedy="rename the files or give them with --t1n --t1c --t2w --t2f, or continue with --force",
        )
    if not are_all or found.best <= _UNLIKE:
        return []
    what = f"case {case_id} is unlike 51 BraTS cases: distance {found.best:.1f}, theirs 0.2 to 1.8"
    return [Note("W-UNLIKE", what, "the model was not trained on such images: check the result closely")]


def not_brain(what: str, expected: str, remedy: str = CHECK_FILES) -> CaseError:
    """Return the E-NOTBRAIN error of images that can't be the sequences of one brain."""
    return CaseError("E-NOTBRAIN", what, expected=expected, remedy=remedy)


def likeness(pairs: _Array, places: Order = ALL) -> Likeness:
    """Return the distance of sequences with these ``pair_features`` from real ones; 1 is ordinary.

    ``places`` are the positions of the sequences in t1n, t1c, t2w, t2f.
    """
    mean, precision = _shipped() if places == ALL else _marginal(_shipped(), places)
    found: dict[Order, float] = {}
    for order in itertools.permutations(range(len(places))):
        away = features(pairs, order) - mean
        found[order] = float(away @ precision @ away) / len(mean)
    best = min(found, key=lambda order: found[order])
    return Likeness(found[tuple(range(len(places)))], found[best], best)


def _marginal(model: Model, places: Order) -> Model:
    """Return the model of the features of some of the sequences."""
    pairs = zip(*_pairs(len(ALL)), strict=True)
    known = np.array([one in places and other in places for one, other in pairs])
    keep = np.tile(known, 3)
    covariance = np.linalg.inv(model.precision)
    return Model(model.mean[keep], np.linalg.inv(covariance[np.ix_(keep, keep)]))


def _pairs(count: int) -> tuple[npt.NDArray[np.intp], ...]:
    return np.triu_indices(count, 1)


def pair_features(channels: npt.NDArray[np.generic]) -> _Array:
    """Return the features (3, n, n) of n sequences (channel, x, y, z), two at least.

    They are the rank correlation (Fisher's z), and the skewness of each difference in the far and near tails.
    """
    brain = np.all(channels != 0, axis=0)
    values = channels[:, brain].astype(np.float32)
    values = values[:, :: max(1, values.shape[1] // _VOXELS)]
    low, middle, high = np.percentile(values, (25, 50, 75), axis=1)[..., None]
    scaled = np.clip((values - middle) / (high - low + 1e-6), -6, 6)
    ranks = values.argsort(axis=1, kind="stable").argsort(axis=1).astype(np.float32)
    result = np.zeros((3, len(channels), len(channels)))
    with np.errstate(invalid="ignore"):
        result[0] = np.arctanh(np.clip(np.nan_to_num(np.corrcoef(ranks)), -0.99, 0.99))
    for one, other in zip(*_pairs(len(channels)), strict=True):
        p = np.percentile(scaled[other] - scaled[one], _TAILS)
        far = np.log((p[4] - p[2] + 0.1) / (p[2] - p[0] + 0.1))
        near = np.log((p[3] - p[2] + 0.1) / (p[2] - p[1] + 0.1))
        result[1:, one, other], result[1:, other, one] = (far, near), (-far, -near)
    return result


def similarity(channels: npt.NDArray[np.generic], spacing: Sequence[float]) -> _Array:
    """Return the rank correlation (channel, channel) of block means inside the brain.

    ``channels`` are (channel, x, y, z), ``spacing`` is in mm. It is 1 for an image and a rescaled copy,
    slightly less with noise, and 0 for channels with too few common blocks.
    """
    edges = [max(1, round(_BLOCK_MM / length)) for length in spacing]
    counts = [n // (2 * edge) for n, edge in zip(channels.shape[1:], edges, strict=True)]
    (x, y, z), (i, j, k) = edges, counts
    cropped = channels[:, : 2 * x * i, : 2 * y * j, : 2 * z * k]
    pairs = cropped.reshape(len(channels), i, 2 * x, j, 2 * y, k, 2 * z)
    blocks = pairs[:, :, :x, :, :y, :, :z]
    inside = (blocks != 0).all(axis=(0, 2, 4, 6))
    if np.count_nonzero(inside) < _FEWEST_BLOCKS:
        return np.eye(len(channels))
    means = blocks.mean(axis=(2, 4, 6), dtype=np.float32)[:, inside]
    ranks = means.argsort(axis=1, kind="stable").argsort(axis=1)
    return np.atleast_2d(np.corrcoef(ranks))


def features(pairs: _Array, order: Order = ALL) -> _Array:
    """Return the ``pair_features`` (18 for four sequences) with the sequences in another order."""
    return np.concatenate([part[np.ix_(order, order)][_pairs(len(order))] for part in pairs])


def fit(rows: _Array) -> Model:
    """Return the model of features (case, 18), with the off-diagonal covariance shrunk by 0.4."""
    covariance = np.cov(rows.T)
    covariance = 0.4 * np.diag(np.diag(covariance)) + 0.6 * covariance + 1e-3 * np.eye(rows.shape[1])
    return Model(rows.mean(axis=0), np.linalg.inv(covariance))


@cache
def _shipped() -> Model:
    path = resources.files("gliomaseg") / "assets" / "appearance.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Model(np.array(stored["mean"]), np.array(stored["precision"]))
