"""The scores of one case by the rules of one year; the rules themselves are data, in ``rules``.

A ``SegmentationPair`` keeps what its regions share, so that a second profile costs little. Tissues are
compared, never integers: the two label maps may follow different schemes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from gliomaseg.evaluation.lesions import (
    Grouping,
    LesionScores,
    match_lesions,
    merge_by_partner,
    predicted_lesions,
    score_lesions,
)
from gliomaseg.evaluation.mask_pair import EMPTY_BOX, Counts, MaskPair, touching
from gliomaseg.evaluation.metrics import check_shapes, class_numbers, confusion, mean_iou, overlap_of
from gliomaseg.evaluation.reading import place_on
from gliomaseg.evaluation.rules import LesionRule, Profile, find_profile
from gliomaseg.evaluation.scores import ALL, MEAN_IOU, Column, Scores
from gliomaseg.evaluation.surface import VOXEL_UNITS, Kind, Mask, SurfaceDistances
from gliomaseg.imaging.volume import Segmentation, filled_box
from gliomaseg.labels import Tissue

Tissues = frozenset[Tissue]

_UNITS = {"lesion_hd95": "mm", "lesion_tp": "lesions", "lesion_fp": "lesions", "lesion_fn": "lesions"}


#: The classes of the notebooks' numbers, in this order after background; a cavity is background.
TISSUES = (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING)


def score_case(prediction: Segmentation, reference: Segmentation, *, rules: str = "brats2020") -> Scores:
    """Return every score of one case by the rules of that name, and the numbers that notebooks print.

    These are the Dice of each class (empty in both: 1) and the mean IoU with background. Raises CaseError
    (E-GRID) when the grids differ, SettingsError (E-SETTING) for unknown rules.
    """
    prediction, _ = place_on(prediction, reference.grid, name="the prediction")
    scores = SegmentationPair(prediction, reference).score(find_profile(rules))
    ours, theirs = (
        class_numbers(found.labels, [found.scheme.values[tissue] for tissue in TISSUES])
        for found in (prediction, reference)
    )
    counts = confusion(ours, theirs, len(TISSUES) + 1)
    for number, tissue in enumerate(TISSUES, start=1):
        scores[Column(tissue.value, "class_dice")] = overlap_of(counts, [number]).dice
    return scores | {Column(ALL, MEAN_IOU): mean_iou(counts)}


class SegmentationPair:
    """A prediction and its reference on one grid, to be scored by any number of profiles.

    Raises CaseError (E-GRID) when the shapes differ.
    """

    def __init__(self, prediction: Segmentation, reference: Segmentation) -> None:
        check_shapes(prediction.labels, reference.labels)
        self._maps = prediction, reference
        self._box = filled_box(prediction.labels, reference.labels) or EMPTY_BOX
        self._spacing = reference.grid.spacing
        self._pairs: dict[Tissues, MaskPair] = {}
        self._touched: dict[tuple[Tissues, Tissues], list[tuple[Counts, Counts]]] = {}
        self.shape = reference.labels.shape

    def score(self, profile: Profile) -> dict[Column, float]:
        """Return every score of a profile, region by region in its order."""
        return dict(found for region in profile.parts for found in _Region(self, profile, region).scores())

    def pair(self, tissues: Tissues) -> MaskPair:
        """Return the masks of the union of some tissues."""
        if tissues not in self._pairs:
            prediction, reference = (self._mask(labels, tissues) for labels in self._maps)
            within = self._box, self.shape
            self._pairs[tissues] = MaskPair(prediction, reference, self._spacing, within=within)
        return self._pairs[tissues]

    def _mask(self, segmentation: Segmentation, tissues: Tissues) -> Mask:
        values = segmentation.scheme.values
        table = np.zeros(256, dtype=bool)
        table[[values[tissue] for tissue in tissues if tissue in values]] = True
        return table[segmentation.labels[self._box]]

    def groupings(self, profile: Profile, region: str, rule: LesionRule) -> tuple[Grouping, Grouping]:
        """Return the lesion of each component of a region, in the prediction and in the reference."""
        pair = self.pair(profile.parts[region])
        predicted, expected = predicted_lesions(pair.prediction, rule), pair.reference.grown(rule.dilation)[1]
        for partner in profile.partners.get(region, ()):
            tissue = frozenset({Tissue(partner)})
            its_rule = profile.lesion_rules.get(partner) or profile.lesion_rules.get("", rule)
            theirs = self.pair(tissue)
            ours = predicted_lesions(theirs.prediction, its_rule)
            touched = self._touching(profile.parts[region], tissue)
            predicted = merge_by_partner(predicted, ours, touched[0])
            expected = merge_by_partner(expected, theirs.reference.grown(its_rule.dilation)[1], touched[1])
        return predicted, expected

    def _touching(self, tissues: Tissues, others: Tissues) -> list[tuple[Counts, Counts]]:
        """Return the components of two regions that touch, in the prediction and in the reference."""
        if (others, tissues) in self._touched:
            return [(second, first) for first, second in self._touched[others, tissues]]
        if (tissues, others) not in self._touched:
            one, other = self.pair(tissues), self.pair(others)
            self._touched[tissues, others] = [
                touching(one.prediction, other.prediction),
                touching(one.reference, other.reference),
            ]
        return self._touched[tissues, others]


class _Region:
    """One region of a case under one profile."""

    def __init__(self, pair: SegmentationPair, profile: Profile, region: str) -> None:
        self.profile, self.region = profile, region
        self.shape = pair.shape
        self.pair = pair.pair(profile.parts[region])
        self.rule = profile.lesion_rules.get(region, profile.lesion_rules.get(""))
        self.groupings = pair.groupings(profile, region, self.rule) if self.rule else None
        #: The predicted components that the lesion rule keeps; None for all.
        self.kept = frozenset(np.flatnonzero(self.groupings[0]).tolist()) if self.groupings else None
        self.overlap = counts = self.pair.overlap(self.kept)
        self.is_empty = not counts.prediction and not counts.reference
        lacks_overlap = profile.needs_overlap and not counts.common
        self.is_one_sided = lacks_overlap or not counts.prediction or not counts.reference

    def scores(self) -> Iterator[tuple[Column, float]]:
        """Yield the scores that the profile names, in its order."""
        for metric in self.profile.metrics:
            for name, unit, value in self._values(metric):
                yield Column(self.region, name, unit), float(value)

    def _values(self, metric: str) -> list[tuple[str, str, float]]:
        unit = "mm" if self.profile.in_mm else "voxels"
        if metric == "hd95":
            return [(metric, unit, self._hd95())]
        if metric == "asd":
            return [(metric, unit, self._distances("elements").average)]
        if metric == "nsd":
            return [(f"nsd_{t:g}{unit}", "", self._nsd(t)) for t in self.profile.nsd]
        if metric == "lesion_nsd":
            name = "lesion_nsd_{:g}mm" if self.rule else "lesion_nsd"
            return [(name.format(t), "", value) for t, value in self._lesions.nsd.items()]
        if metric.startswith("lesion_"):
            value = getattr(self._lesions, metric.removeprefix("lesion_"))
            # brats-evaluation leaves the distance of lesions without a match infinite
            penalty = self.profile.penalty
            value = penalty if penalty is not None and math.isinf(value) else value
            return [(metric, _UNITS.get(metric, ""), value)]
        return [(metric, "", self._share(metric))]

    @cached_property
    def _lesions(self) -> LesionScores:
        if self.rule is None or self.groupings is None:
            return match_lesions(self.pair)
        return score_lesions(self.pair, self.rule, *self.groupings, tolerances_mm=self.profile.nsd)

    def _share(self, metric: str) -> float:
        counts = self.overlap
        value = float(getattr(counts, metric))
        divisors = {
            "sensitivity": counts.reference,
            "precision": counts.prediction,
            "specificity": counts.outside,
        }
        if metric in divisors:
            return math.nan if self.profile.is_strict and not divisors[metric] else value
        return self.profile.both_empty if self.is_empty else value

    def _hd95(self) -> float:
        profile = self.profile
        if self.is_empty:
            return profile.both_empty_hd95
        if self.is_one_sided:
            return math.hypot(*self.shape) if profile.penalty is None else profile.penalty
        distances = self._distances(profile.surface)
        return distances.pooled_hd95 if profile.surface == "voxels" else distances.greater_hd95

    def _nsd(self, tolerance: float) -> float:
        profile = self.profile
        if self.is_empty:
            return profile.both_empty
        if self.is_one_sided:
            return math.nan if profile.is_strict else 0.0
        distances = self._distances(profile.nsd_surface)
        is_voxels = profile.nsd_surface == "voxels"
        return distances.mean_share(tolerance) if is_voxels else distances.dice(tolerance)

    def _distances(self, kind: Kind) -> SurfaceDistances:
        spacing = self.pair.spacing if self.profile.in_mm else VOXEL_UNITS
        return self.pair.distances(kind, spacing, self.kept)
