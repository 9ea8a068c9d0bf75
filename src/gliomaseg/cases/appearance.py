"""How alike the sequences of a case are to those of real ones, in the order given and in any other.

Three numbers are taken of each pair of sequences: how the ranks of their intensities go together, and how
lopsided their difference is, far out and less so (what is bright in one only: CSF in T2, vessels after
contrast). Their mean and spread over real cases lie in ``assets/appearance.json``; the distance from these
(Mahalanobis, squared, per number) is computed for each order. Ignorant of files.
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

_Array = npt.NDArray[np.floating]

#: Sequences are compared by the means of blocks of about this many mm, every other one along each axis: noise
#: goes, anatomy stays. Fewer blocks than that tell nothing.
_BLOCK_MM, _FEWEST_BLOCKS = 6.0, 30
#: At most this many voxels are looked at.
_VOXELS = 20_000
#: The percentiles of a difference between which lopsidedness is measured.
_TAILS = (0.2, 2.0, 50.0, 98.0, 99.8)

Order = tuple[int, ...]
ALL: Order = (0, 1, 2, 3)


class Likeness(NamedTuple):
    """Distance from real cases as given and in the best order; ``order[k]`` is what looks like number k.

    Numbers count the sequences that there are.
    """

    as_given: float
    best: float
    order: Order


class Model(NamedTuple):
    """Mean (18) and inverse covariance (18, 18) of the features over real cases."""

    mean: _Array
    precision: _Array


def likeness(pairs: _Array, places: Order = ALL) -> Likeness:
    """Return how alike sequences with these ``pair_features`` are to real ones; 1 is ordinary.

    ``places`` are those of the sequences among t1n, t1c, t2w, t2f.
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
    """Return (3, n, n) of n sequences (channel, x, y, z), two at least.

    They are the rank correlation (Fisher's z), and the lopsidedness of each difference far out and less far.
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
    """Return (channel, channel) the rank correlation of the means of blocks within the brain.

    ``channels`` are (channel, x, y, z), ``spacing`` is in mm. It is 1 for an image and itself, rescaled, and
    hardly less with noise; 0 where too little is shared.
    """
    edges = [max(1, round(_BLOCK_MM / length)) for length in spacing]
    counts = [n // (2 * edge) for n, edge in zip(channels.shape[1:], edges, strict=True)]
    (x, y, z), (i, j, k) = edges, counts
    room = channels[:, : 2 * x * i, : 2 * y * j, : 2 * z * k]
    pairs = room.reshape(len(channels), i, 2 * x, j, 2 * y, k, 2 * z)
    blocks = pairs[:, :, :x, :, :y, :, :z]
    inside = (blocks != 0).all(axis=(0, 2, 4, 6))
    if np.count_nonzero(inside) < _FEWEST_BLOCKS:
        return np.eye(len(channels))
    means = blocks.mean(axis=(2, 4, 6), dtype=np.float32)[:, inside]
    ranks = means.argsort(axis=1, kind="stable").argsort(axis=1)
    return np.atleast_2d(np.corrcoef(ranks))


def features(pairs: _Array, order: Order = ALL) -> _Array:
    """Return the numbers of ``pair_features``, 18 of four sequences, with them in another order."""
    return np.concatenate([part[np.ix_(order, order)][_pairs(len(order))] for part in pairs])


def fit(rows: _Array) -> Model:
    """Return the model of features (case, 18); off the diagonal the covariance is shrunk by 0.4."""
    covariance = np.cov(rows.T)
    covariance = 0.4 * np.diag(np.diag(covariance)) + 0.6 * covariance + 1e-3 * np.eye(rows.shape[1])
    return Model(rows.mean(axis=0), np.linalg.inv(covariance))


@cache
def _shipped() -> Model:
    path = resources.files("gliomaseg") / "assets" / "appearance.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Model(np.array(stored["mean"]), np.array(stored["precision"]))
