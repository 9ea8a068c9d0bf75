"""The scores of one case by the rules of one year; the rules themselves are data, in ``rules``.

A ``SegmentationPair`` keeps what its parts share, so that a second profile costs little. Tissues are
compared, never integers: the two label maps may follow different schemes. Ignorant of files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gliomaseg.evaluation.lesions import (
    Grouping,
    LesionRule,
    LesionScores,
    match_lesions,
    merge_by_partner,
    predicted_lesions,
    score_lesions,
)
from gliomaseg.evaluation.mask_pair import Counts, Mask, MaskPair, touching
from gliomaseg.evaluation.metrics import Overlap, check_shapes
from gliomaseg.evaluation.rules import Profile
from gliomaseg.evaluation.surface import VOXEL_UNITS, Ids, Kind, SurfaceDistances, bounding_box
from gliomaseg.imaging.volume import Segmentation
from gliomaseg.labels import Tissue

_UNITS = {"lesion_hd95": "mm", "lesion_tp": "lesions", "lesion_fp": "lesions", "lesion_fn": "lesions"}


@dataclass(frozen=True)
class Score:
    """One number: of which region, which metric, in which unit ("" for a ratio)."""

    region: str
    metric: str
    unit: str
    value: float


def score(prediction: Segmentation, reference: Segmentation, profile: Profile) -> list[Score]:
    """Return every score of a profile, part by part; both label maps lie on the reference's grid.

    Raises CaseError (E-GRID) when the shapes differ.
    """
    return SegmentationPair(prediction, reference).score(profile)


class SegmentationPair:
    """A prediction beside its reference, to be scored by any number of profiles."""

    def __init__(self, prediction: Segmentation, reference: Segmentation) -> None:
        check_shapes(prediction.labels, reference.labels)
        self._maps = prediction, reference
        self._box = bounding_box((prediction.labels | reference.labels) != 0)
        self._pairs: dict[frozenset[Tissue], MaskPair] = {}
        self._touched: dict[tuple[frozenset[Tissue], frozenset[Tissue]], list[tuple[Counts, Counts]]] = {}
        self.shape = reference.labels.shape

    def score(self, profile: Profile) -> list[Score]:
        """Return every score of a profile, part by part in its order."""
        return [found for part in profile.parts for found in _Part(self, profile, part).scores()]

    def pair(self, tissues: frozenset[Tissue]) -> MaskPair:
        """Return the masks of the union of some tissues."""
        if tissues not in self._pairs:
            prediction, reference = (_mask(labels, tissues, self._box) for labels in self._maps)
            spacing = self._maps[1].grid.spacing
            self._pairs[tissues] = MaskPair(prediction, reference, spacing, within=(self._box, self.shape))
        return self._pairs[tissues]

    def groupings(self, profile: Profile, part: str, rule: LesionRule) -> tuple[Grouping, Grouping]:
        """Return which lesion each component of a part belongs to, in the prediction and the reference."""
        pair = self.pair(profile.parts[part])
        predicted, expected = predicted_lesions(pair.prediction, rule), pair.reference.grown(rule.dilation)[1]
        for partner in profile.partners.get(part, ()):
            tissue = frozenset({Tissue(partner)})
            its_rule = profile.lesion_rule(partner) or rule
            theirs = self.pair(tissue)
            ours = predicted_lesions(theirs.prediction, its_rule)
            touched = self._touching(profile.parts[part], tissue)
            predicted = merge_by_partner(predicted, ours, touched[0])
            expected = merge_by_partner(expected, theirs.reference.grown(its_rule.dilation)[1], touched[1])
        return predicted, expected

    def _touching(self, tissues: frozenset[Tissue], others: frozenset[Tissue]) -> list[tuple[Counts, Counts]]:
        """Return which components of two parts touch, in the prediction and in the reference."""
        if (others, tissues) in self._touched:
            return [(second, first) for first, second in self._touched[others, tissues]]
        if (tissues, others) not in self._touched:
            one, other = self.pair(tissues), self.pair(others)
            self._touched[tissues, others] = [
                touching(one.prediction, other.prediction),
                touching(one.reference, other.reference),
            ]
        return self._touched[tissues, others]


class _Part:
    """One part of a case under one profile."""

    def __init__(self, pair: SegmentationPair, profile: Profile, part: str) -> None:
        self.profile, self.part = profile, part
        self.shape = pair.shape
        self.pair = pair.pair(profile.parts[part])
        self.rule = profile.lesion_rule(part)
        self.groupings = pair.groupings(profile, part, self.rule) if self.rule else None

    def scores(self) -> Iterator[Score]:
        """Yield the scores that the profile names, in its order."""
        for metric in self.profile.metrics:
            for name, unit, value in self._values(metric):
                yield Score(self.part, name, unit, float(value))

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
            return [(name.format(t), "", value) for t, value in self.lesions.nsd.items()]
        if metric.startswith("lesion_"):
            value = getattr(self.lesions, metric.removeprefix("lesion_"))
            return [(metric, _UNITS.get(metric, ""), self._limited(value))]
        return [(metric, "", self._share(metric))]

    @cached_property
    def kept(self) -> Ids | None:
        """Return the predicted components that the lesion rule doesn't delete; None for all."""
        return None if self.groupings is None else frozenset(np.flatnonzero(self.groupings[0]).tolist())

    @cached_property
    def overlap(self) -> Overlap:
        """Return the voxel counts of the part."""
        return self.pair.overlap(self.kept)

    @cached_property
    def lesions(self) -> LesionScores:
        """Return the scores lesion by lesion."""
        if self.rule is None or self.groupings is None:
            return match_lesions(self.pair)
        return score_lesions(self.pair, self.rule, *self.groupings, tolerances_mm=self.profile.nsd)

    @property
    def _is_one_sided(self) -> bool:
        counts = self.overlap
        lacks = self.profile.needs_overlap and not counts.common
        return lacks or not counts.prediction or not counts.reference

    def _share(self, metric: str) -> float:
        counts = self.overlap
        undefined = {
            "sensitivity": not counts.reference,
            "precision": not counts.prediction,
            "specificity": not counts.outside,
        }
        if metric in undefined:
            return (
                math.nan if undefined[metric] and self.profile.is_strict else float(getattr(counts, metric))
            )
        is_empty = not counts.prediction and not counts.reference
        return self.profile.both_empty if is_empty else float(getattr(counts, metric))

    def _hd95(self) -> float:
        profile, counts = self.profile, self.overlap
        if not counts.prediction and not counts.reference:
            return profile.both_empty_hd95
        if self._is_one_sided:
            return math.hypot(*self.shape) if profile.penalty is None else profile.penalty
        distances = self._distances(profile.surface)
        return distances.pooled_hd95 if profile.surface == "voxels" else distances.greater_hd95

    def _nsd(self, tolerance: float) -> float:
        profile, counts = self.profile, self.overlap
        if not counts.prediction and not counts.reference:
            return profile.both_empty
        if self._is_one_sided:
            return math.nan if profile.is_strict else 0.0
        distances = self._distances(profile.nsd_surface)
        is_voxels = profile.nsd_surface == "voxels"
        return distances.mean_share(tolerance) if is_voxels else distances.dice(tolerance)

    def _distances(self, kind: Kind) -> SurfaceDistances:
        spacing = self.pair.spacing if self.profile.in_mm else VOXEL_UNITS
        return self.pair.distances(kind, spacing, self.kept)

    def _limited(self, value: float) -> float:
        """Return the penalty for an infinite distance: brats-evaluation leaves that of lesions infinite."""
        return value if not math.isinf(value) or self.profile.penalty is None else self.profile.penalty


def _mask(segmentation: Segmentation, tissues: frozenset[Tissue], box: tuple[slice, ...]) -> Mask:
    values = segmentation.scheme.values
    table = np.zeros(256, dtype=bool)
    table[[values[tissue] for tissue in tissues if tissue in values]] = True
    return table[segmentation.labels[box]]
