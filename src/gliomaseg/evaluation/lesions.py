"""Scores lesion by lesion: the rules of BraTS 2023 and 2024, and the one-to-one matching since 2025.

A grouping holds the number of the lesion of each component: (components + 1,), 0 for the background and for
components that are left out.

Sources: rachitsaluja/BraTS-2023-Metrics, rachitsaluja/BraTS-2024-Metrics; brats-evaluation and panoptica.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gliomaseg.evaluation.mask_pair import Components, Counts, MaskPair, joint
from gliomaseg.evaluation.rules import LesionRule
from gliomaseg.evaluation.surface import Ids

Grouping = npt.NDArray[np.int32]


@dataclass(frozen=True)
class LesionScores:
    """Means over lesions, and the counts of lesions found (tp), false (fp) and missed (fn).

    ``nsd`` maps each tolerance in mm to the mean normalised surface Dice.
    """

    dice: float
    hd95: float
    tp: int
    fp: int
    fn: int
    nsd: Mapping[float, float] = field(default_factory=dict)


def predicted_lesions(predicted: Components, rule: LesionRule) -> Grouping:
    """Return the grouping of a prediction's components under a rule."""
    if not rule.merge_prediction:
        return np.arange(predicted.count + 1, dtype=np.int32)
    groups = predicted.grown(rule.dilation)[1]
    sizes = np.bincount(groups, weights=predicted.sizes)
    kept: Grouping = np.where(sizes[groups] > rule.threshold_mm3, groups, 0).astype(np.int32)
    return kept


def merge_by_partner(groups: Grouping, partner: Grouping, touching: tuple[Counts, Counts]) -> Grouping:
    """Return a grouping in which lesions that touch a common lesion of a partner tissue are one.

    ``touching`` are numbers of components, of this tissue and the partner, that touch. As in the official
    code of 2024: nothing is merged below two touching pairs of lesions, and a lesion that touches several
    lesions of the partner joins the first.
    """
    pairs = sorted({(int(groups[a]), int(partner[b])) for a, b in zip(*touching, strict=True)})
    pairs = [(lesion, other) for lesion, other in pairs if lesion and other]
    if len(pairs) < 2:
        return groups
    numbers: dict[int, int] = {}
    for _, other in pairs:
        numbers.setdefault(other, int(groups.max()) + 1 + len(numbers))
    table = np.arange(groups.max() + 1, dtype=np.int32)
    for lesion, other in reversed(pairs):
        table[lesion] = numbers[other]
    merged: Grouping = table[groups]
    return merged


def score_lesions(
    pair: MaskPair,
    rule: LesionRule,
    predicted: Grouping,
    expected: Grouping,
    tolerances_mm: Sequence[float] = (),
) -> LesionScores:
    """Return the scores of a pair by a rule of 2023 or 2024; the groupings are of its components.

    Every predicted lesion within ``rule.dilation`` steps of a reference lesion belongs to it, as a whole,
    and may belong to several. The others are false, whatever their size. No lesion in either mask gives
    Dice 1 and HD95 0. Where one mask is empty, every lesion that counts gives Dice 0 and the penalty.
    """
    hits = _hits(pair, rule, predicted, expected)
    false = np.setdiff1d(predicted[predicted > 0], [p for found in hits.values() for p in found]).size
    x, y, z = pair.spacing
    counted = [
        lesion
        for lesion in np.unique(expected[expected > 0]).tolist()
        if pair.reference.sizes[expected == lesion].sum() * x * y * z > rule.threshold_mm3
    ]
    scores = [
        _one_lesion(pair, _ids(predicted, hits.get(n, ())), _ids(expected, [n]), tolerances_mm)
        for n in counted
    ]
    found = sum(lesion in hits for lesion in counted)
    total = len(counted) + false
    if not total:
        return LesionScores(1.0, 0.0, 0, 0, 0, dict.fromkeys(tolerances_mm, 1.0))
    distances = [hd95 if math.isfinite(hd95) else rule.penalty_mm for _, hd95, _ in scores]
    return LesionScores(
        dice=sum(dice for dice, _, _ in scores) / total,
        hd95=(sum(distances) + rule.penalty_mm * false) / total,
        tp=found,
        fp=false,
        fn=len(counted) - found,
        nsd={t: sum(nsd[i] for _, _, nsd in scores) / total for i, t in enumerate(tolerances_mm)},
    )


def match_lesions(pair: MaskPair) -> LesionScores:
    """Return the scores of the lesions that match one to one, as in BraTS since 2025.

    Components (26) are paired so that the sum of their Dice is greatest; the means are over pairs only, the
    normalised surface Dice under the tolerance of the smallest voxel size. Both masks empty give NaN. No pair
    gives Dice 0, NSD 0 and an infinite HD95.
    """
    ours, theirs = pair.prediction.count, pair.reference.count
    tolerance = min(pair.spacing)
    found = [
        (pair.overlap(p, r).dice, pair.distances("voxels", pair.spacing, p, r))
        for p, r in _best_matches(pair)
    ]
    if not found:
        nothing = math.nan if not ours + theirs else 0.0
        hd95 = math.nan if not ours + theirs else math.inf
        return LesionScores(nothing, hd95, 0, ours, theirs, {tolerance: nothing})
    return LesionScores(
        dice=float(np.mean([dice for dice, _ in found])),
        hd95=float(np.mean([distances.pooled_hd95 for _, distances in found])),
        tp=len(found),
        fp=ours - len(found),
        fn=theirs - len(found),
        nsd={tolerance: float(np.mean([distances.mean_share(tolerance) for _, distances in found]))},
    )


def _best_matches(pair: MaskPair) -> Iterator[tuple[Ids, Ids]]:
    """Yield the pairs of overlapping components, predicted and reference, with the greatest sum of Dice."""
    from scipy.optimize import linear_sum_assignment

    predicted, expected, common = pair.common
    if not common.size:
        return
    sizes = pair.prediction.sizes[predicted] + pair.reference.sizes[expected]
    # panoptica's cost of a pair without overlap, so that ties are resolved as there
    costs = np.full((pair.reference.count, pair.prediction.count), 1.0 + 1e-6)
    dice = 2.0 * common / sizes
    enough = dice >= 1e-6
    costs[expected[enough] - 1, predicted[enough] - 1] = 1.0 - dice[enough]
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, column] < 1.0:
            yield frozenset({int(column) + 1}), frozenset({int(row) + 1})


def _hits(
    pair: MaskPair, rule: LesionRule, predicted: Grouping, expected: Grouping
) -> Mapping[int, Sequence[int]]:
    """Return the predicted lesions that each reference lesion reaches after its dilation.

    A lesion dilated alone is its component of the dilated mask: no other lesion reaches that component.
    """
    grown, around = pair.reference.grown(rule.dilation)
    lesion_of = np.zeros(int(around.max(initial=0)) + 1, dtype=np.int32)
    lesion_of[around] = expected
    reached, components, _ = joint(grown, pair.prediction.numbers)
    found = {
        (int(lesion_of[number]), int(predicted[n])) for number, n in zip(reached, components, strict=True)
    }
    hits: dict[int, list[int]] = {}
    for lesion, prediction in sorted(found):
        if prediction:
            hits.setdefault(lesion, []).append(prediction)
    return hits


def _one_lesion(
    pair: MaskPair, predicted: Ids, expected: Ids, tolerances_mm: Sequence[float]
) -> tuple[float, float, list[float]]:
    if not predicted:
        return 0.0, math.inf, [0.0] * len(tolerances_mm)
    shares: list[float] = []
    if tolerances_mm:
        distances = pair.distances("voxels", pair.spacing, predicted, expected)
        shares = [distances.mean_share(tolerance) for tolerance in tolerances_mm]
    dice = pair.overlap(predicted, expected).dice
    return dice, pair.distances("elements", pair.spacing, predicted, expected).greater_hd95, shares


def _ids(groups: Grouping, lesions: Sequence[int]) -> Ids:
    return frozenset(np.flatnonzero(np.isin(groups, lesions)).tolist())
