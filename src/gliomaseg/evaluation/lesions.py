"""Scores lesion by lesion: the rules of BraTS 2023 and 2024, and the one-to-one matching since 2025.

A grouping says which lesion each component belongs to: (components + 1,) numbers, 0 for the background and
for components that are left out. Ignorant of labels.

Sources: rachitsaluja/BraTS-2023-Metrics, rachitsaluja/BraTS-2024-Metrics; brats-evaluation and panoptica.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gliomaseg.evaluation.mask_pair import Components, Mask, MaskPair, joint
from gliomaseg.evaluation.morphology import best_pairs
from gliomaseg.evaluation.surface import Ids, Spacing

Grouping = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Hits = Mapping[int, Sequence[int]]


@dataclass(frozen=True)
class LesionRule:
    """What is one lesion and which lesions count.

    Components of the reference are one lesion if they connect after ``dilation`` steps (18 neighbours).
    Lesions up to ``threshold_mm3`` are left out. Missed and wrong lesions have the HD95 ``penalty_mm``.
    With ``merge_prediction`` (2024) the predicted components are merged in the same way, and those of up to
    ``threshold_mm3`` voxels (voxels!) are deleted before anything is scored.
    """

    dilation: int = 3
    threshold_mm3: float = 50.0
    penalty_mm: float = 374.0
    merge_prediction: bool = False


@dataclass(frozen=True)
class LesionScores:
    """Means over lesions, and how many were found (tp), invented (fp) and missed (fn).

    ``nsd`` maps each tolerance in mm to the mean normalised surface Dice.
    """

    dice: float
    hd95: float
    tp: int
    fp: int
    fn: int
    nsd: Mapping[float, float] = field(default_factory=dict)


def lesion_wise(
    prediction: Mask, reference: Mask, spacing: Spacing, rule: LesionRule | None = None
) -> LesionScores:
    """Return the lesion-wise scores of two masks (x, y, z), spacing in mm, by a rule of 2023 or 2024.

    No lesion in either mask gives Dice 1 and HD95 0. Where one mask is empty, every lesion that counts gives
    Dice 0 and the penalty. The default rule is that of glioma in 2023.
    """
    rule = rule or LesionRule()
    pair = MaskPair(prediction, reference, spacing)
    return score_lesions(
        pair, rule, predicted_lesions(pair.prediction, rule), pair.reference.grown(rule.dilation)[1]
    )


def matched_lesions(prediction: Mask, reference: Mask, spacing: Spacing) -> LesionScores:
    """Return the scores of the lesions that match one to one, as BraTS does since 2025; spacing in mm.

    Components (26) are paired so that the sum of their Dice is greatest; the means are over pairs only, the
    normalised surface Dice under the tolerance of the smallest voxel size. Both masks empty give NaN. No pair
    gives Dice 0, NSD 0 and an infinite HD95.
    """
    return match_lesions(MaskPair(prediction, reference, spacing))


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
    code of 2024: nothing happens below two touching pairs of lesions, and a lesion that touches several
    lesions of the partner goes with the first.
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
    and may belong to several. The others are wrong, however small they are.
    """
    hits = _hits(pair, rule, predicted, expected)
    wrong = np.setdiff1d(predicted[predicted > 0], [p for found in hits.values() for p in found]).size
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
    total = len(counted) + wrong
    if not total:
        return LesionScores(1.0, 0.0, 0, 0, 0, dict.fromkeys(tolerances_mm, 1.0))
    distances = [hd95 if math.isfinite(hd95) else rule.penalty_mm for _, hd95, _ in scores]
    return LesionScores(
        dice=sum(dice for dice, _, _ in scores) / total,
        hd95=(sum(distances) + rule.penalty_mm * wrong) / total,
        tp=found,
        fp=wrong,
        fn=len(counted) - found,
        nsd={t: sum(nsd[i] for _, _, nsd in scores) / total for i, t in enumerate(tolerances_mm)},
    )


def match_lesions(pair: MaskPair) -> LesionScores:
    """Return ``matched_lesions`` of a pair."""
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
    """Yield the pairs of components, predicted and reference, that overlap and match best in sum."""
    predicted, expected, common = pair.common
    if not common.size:
        return
    sizes = pair.prediction.sizes[predicted] + pair.reference.sizes[expected]
    # panoptica's cost of a pair without overlap, so that ties are resolved as there
    costs = np.full((pair.reference.count, pair.prediction.count), 1.0 + 1e-6)
    dice = 2.0 * common / sizes
    enough = dice >= 1e-6
    costs[expected[enough] - 1, predicted[enough] - 1] = 1.0 - dice[enough]
    for row, column in best_pairs(costs):
        if costs[row, column] < 1.0:
            yield frozenset({column + 1}), frozenset({row + 1})


def _hits(pair: MaskPair, rule: LesionRule, predicted: Grouping, expected: Grouping) -> Hits:
    """Return the predicted lesions that each reference lesion, dilated, reaches.

    A lesion dilated alone is what it is part of in the dilated mask: no other lesion reaches that part.
    """
    grown, parts = pair.reference.grown(rule.dilation)
    lesion_of = np.zeros(int(parts.max(initial=0)) + 1, dtype=np.int32)
    lesion_of[parts] = expected
    reached, components, _ = joint(grown, pair.prediction.numbers)
    found = {(int(lesion_of[part]), int(predicted[n])) for part, n in zip(reached, components, strict=True)}
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
