"""One score of every case: its region, metric and unit, its name in files and its title in tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

MEAN_IOU = "mean_iou_with_background"
#: The region of scores over all classes together.
ALL = "all"

METRIC_TITLES: Mapping[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95",
    "asd": "mean surface distance",
    "nsd_0.5voxels": "NSD at 0.5 voxels",
    "nsd_0.5mm": "NSD at 0.5 mm",
    "nsd_1mm": "NSD at 1 mm",
    "lesion_dice": "lesion Dice",
    "lesion_hd95": "lesion HD95",
    "lesion_tp": "lesions found",
    "lesion_fp": "false lesions",
    "lesion_fn": "lesions missed",
    "class_dice": "class Dice",
    "qu_brats": "QU-BraTS score",
    "qu_dice": "QU-BraTS Dice area",
    "qu_filtered_tp": "QU-BraTS filtered TP",
    "qu_filtered_tn": "QU-BraTS filtered TN",
    MEAN_IOU: "mean IoU with background",
}
#: Distances and counts of errors; every other metric is better when higher.
_ERRORS = ("hd95", "lesion_hd95", "asd", "lesion_fp", "lesion_fn", "qu_filtered_tp", "qu_filtered_tn")
_COUNTS = ("lesion_tp", "lesion_fp", "lesion_fn")
#: Units that are left out of names and titles.
_PLAIN_UNITS = ("", "1", "count", "lesions")


class Column(NamedTuple):
    """One score of every case: region, metric, and unit ("" for none)."""

    region: str
    metric: str
    unit: str = ""

    @property
    def metric_name(self) -> str:
        """Return the metric with its unit, such as ``hd95_mm``."""
        plain = self.unit in _PLAIN_UNITS or self.metric.endswith(f"_{self.unit}")
        return self.metric if plain else f"{self.metric}_{self.unit}"

    @property
    def name(self) -> str:
        """Return the column's name in files, such as ``dice_wt`` or ``hd95_wt_mm``."""
        if self.region == ALL:
            return self.metric
        name = f"{self.metric}_{self.region}"
        return name if self.unit in _PLAIN_UNITS else f"{name}_{self.unit}"

    @property
    def title(self) -> str:
        """Return the metric's title with its unit, such as ``HD95 (mm)``."""
        title = METRIC_TITLES.get(self.metric, self.metric.replace("_", " "))
        return title if self.unit in _PLAIN_UNITS else f"{title} ({self.unit})"

    @property
    def lower_is_better(self) -> bool:
        """Return whether the score is an error."""
        return self.metric in _ERRORS

    def text(self, value: float) -> str:
        """Return a value with its significant digits; a dash for NaN."""
        if math.isnan(value):
            return "–"
        is_ratio = self.unit in _PLAIN_UNITS and self.metric not in _COUNTS
        return f"{value:.3f}" if is_ratio else f"{value:.1f}"
