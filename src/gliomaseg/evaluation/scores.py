"""Scores of many cases by one year's rules: their columns, their summaries, and what was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import add
from typing import NamedTuple

import numpy as np

from gliomaseg.evaluation.pairing import Pair, Pairs
from gliomaseg.evaluation.rules import find_profile
from gliomaseg.evaluation.statistics import Summary, summarise
from gliomaseg.evaluation.uncertainty import Reliability
from gliomaseg.labels import Region

MEAN_IOU = "mean_iou_with_background"
#: The region of scores over all classes together.
ALL = "all"

#: Distances and counts of errors; every other metric is better when higher.
ERRORS = ("hd95", "lesion_hd95", "asd", "lesion_fp", "lesion_fn", "qu_filtered_tp", "qu_filtered_tn")
#: Units that are left out of names and titles.
PLAIN_UNITS = ("", "1", "count", "lesions")
#: The metrics of tables and pages, most informative first; all metrics are in scores.csv.
_SHOWN = (
    "lesion_dice",
    "lesion_hd95",
    "dice",
    "hd95",
    "nsd_1mm",
    "nsd_0.5voxels",
    "sensitivity",
    "precision",
)
_MOST_SHOWN = 4
_ALWAYS_SHOWN = "qu_brats"


class Column(NamedTuple):
    """One score of every case: region, metric, and unit ("" for none)."""

    region: str
    metric: str
    unit: str = ""

    @property
    def name(self) -> str:
        """Return the column's name in files, such as ``dice_wt`` or ``hd95_wt_mm``."""
        if self.region == ALL:
            return self.metric
        name = f"{self.metric}_{self.region}"
        return name if self.unit in PLAIN_UNITS else f"{name}_{self.unit}"


Scores = dict[Column, float]


@dataclass(frozen=True)
class Scored:
    """The outcome of one case: its scores, or the error for which it has none."""

    case_id: str
    scores: Mapping[Column, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    seen_in_training: bool = False
    edited: bool = False
    error: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Evaluation:
    """Scores of every case and what was left out: ``cases`` maps each id to one score per column name.

    ``rules`` is the profile of every number. ``missing`` references had no prediction (scored by the rule for
    an empty one), ``extra`` predictions no reference, ``failed`` cases an error (its ``as_dict``),
    ``skipped`` cases no reference label map. The model was trained on the cases ``seen_in_training``, so that
    a mean that includes them is no accuracy; a person changed the predictions of those ``edited``, whose
    scores are not the model's. ``notes`` belong to single cases; ``reliability`` maps regions to the
    calibration of all cases together.
    """

    rules: str
    cases: Mapping[str, Mapping[str, float]]
    columns: Mapping[str, Column]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    seen_in_training: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    name: str = "predictions"

    @cached_property
    def summaries(self) -> Mapping[str, Summary]:
        """Return the summary over cases of every column; empty without cases."""
        if not self.cases:
            return {}
        rows = [[scores.get(name, math.nan) for name in self.columns] for scores in self.cases.values()]
        return dict(zip(self.columns, summarise(np.array(rows, dtype=np.float64)), strict=True))

    def mean(self) -> dict[str, float]:
        """Return the plain mean over cases of every column; empty without cases."""
        return {name: summary.mean for name, summary in self.summaries.items()}

    def median(self) -> dict[str, float]:
        """Return the median over cases of every column; empty without cases."""
        return {name: summary.median for name, summary in self.summaries.items()}

    def interval(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % bootstrap interval of the mean of every column; empty below two cases."""
        found = self.summaries.items() if len(self.cases) > 1 else ()
        return {name: (summary.low, summary.high) for name, summary in found}

    @cached_property
    def headlines(self) -> tuple[str, str]:
        """Return the two metrics that rank: an overlap and a distance, lesion-wise where the rules are."""
        return find_profile(self.rules).headlines

    @cached_property
    def regions(self) -> list[str]:
        """Return the regions that the rules score, in their order."""
        return [c.region for c in self.columns.values() if c.metric == self.headlines[0]]

    @cached_property
    def ranked_regions(self) -> list[str]:
        """Return the regions that count for rank and order: WT, TC and ET; all in a lesion-wise year."""
        if self.headlines[0].startswith("lesion_"):
            return self.regions
        return [region for region in self.regions if region in tuple(Region)]

    @cached_property
    def shown(self) -> list[str]:
        """Return the metrics of tables and pages."""
        metrics = {column.metric for column in self.columns.values()}
        found = [metric for metric in _SHOWN if metric in metrics][:_MOST_SHOWN]
        return [*found, _ALWAYS_SHOWN] if _ALWAYS_SHOWN in metrics else found

    def column(self, region: str, metric: str) -> Column | None:
        """Return the column of a metric of a region, None when the rules have none."""
        return next((c for c in self.columns.values() if (c.region, c.metric) == (region, metric)), None)

    def columns_of(self, metric: str, regions: Sequence[str]) -> list[Column]:
        """Return the columns of a metric, for those of the regions that have it."""
        return [column for region in regions if (column := self.column(region, metric))]

    def overall(self, case_id: str) -> float:
        """Return a case's mean headline overlap over the ranked regions; 1 when none is defined."""
        columns = self.columns_of(self.headlines[0], self.ranked_regions)
        values = [self.cases[case_id].get(column.name, math.nan) for column in columns]
        defined = [value for value in values if not math.isnan(value)]
        return sum(defined) / len(defined) if defined else 1.0

    def worst(self, count: int) -> list[str]:
        """Return the ids of the worst cases, worst first, by ``overall``."""
        return sorted(self.cases, key=lambda name: (self.overall(name), name))[:count]


def collect(found: Pairs, done: Sequence[Scored], *, rules: str, name: str) -> Evaluation:
    """Return the evaluation of scored cases by ``rules``; ``name`` is that of the predictions."""
    whole = [scored for scored in done if scored.error is None]
    return Evaluation(
        rules=rules,
        cases={s.case_id: {c.name: value for c, value in s.scores.items()} for s in whole},
        columns={column.name: column for scored in whole for column in scored.scores},
        missing=tuple(pair.case_id for pair in found.pairs if pair.prediction is None),
        extra=found.extra,
        failed={s.case_id: s.error for s in done if s.error is not None},
        skipped=found.skipped,
        seen_in_training=tuple(s.case_id for s in whole if s.seen_in_training),
        edited=tuple(s.case_id for s in whole if s.edited),
        notes={s.case_id: s.notes for s in whole if s.notes},
        reliability={
            region: reduce(add, [s.reliability[region] for s in whole if region in s.reliability])
            for region in dict.fromkeys(region for s in whole for region in s.reliability)
        },
        pairs={pair.case_id: pair for pair in found.pairs},
        name=name,
    )
