"""Columns and their names; means and intervals of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from label_maps import segmentation

from gliomaseg.evaluation.scores import Column, Evaluation
from gliomaseg.evaluation.segmentation_pair import score_case
from gliomaseg.evaluation.tables import column_title
from gliomaseg.labels import BRATS2021

NAN = math.nan
Make = Callable[..., Evaluation]


@pytest.mark.parametrize(
    ("column", "name", "title"),
    [
        (Column("wt", "dice", ""), "dice_wt", "Dice"),
        (Column("et", "hd95", "voxels"), "hd95_et_voxels", "HD95 (voxels)"),
        (Column("tc", "nsd_1mm", ""), "nsd_1mm_tc", "NSD at 1 mm"),
        (Column("et", "lesion_fp", "lesions"), "lesion_fp_et", "false lesions"),
        (
            Column("all", "mean_iou_with_background", ""),
            "mean_iou_with_background",
            "mean IoU with background",
        ),
    ],
)
def test_columns_have_their_units(column: Column, name: str, title: str) -> None:
    assert (column.name, column_title(column)) == (name, title)


def test_an_undefined_case_is_not_the_worst(evaluation_of: Make) -> None:
    assert evaluation_of(A=NAN, B=0.2).worst(1) == ["B"]


def evaluation_of(*values: float) -> Evaluation:
    columns = {c.name: c for c in score_case(segmentation(BRATS2021), segmentation(BRATS2021))}
    cases = {f"case{i:03}": dict.fromkeys(columns, value) for i, value in enumerate(values)}
    return Evaluation("brats2020", cases, columns)


def test_interval_is_repeatable_and_surrounds_the_mean() -> None:
    evaluation = evaluation_of(*np.random.default_rng(1).uniform(0.5, 1, 40))
    low, high = evaluation.interval()["dice_wt"]
    assert low < evaluation.mean()["dice_wt"] < high
    assert (
        evaluation.interval() == evaluation_of(*[s["dice_wt"] for s in evaluation.cases.values()]).interval()
    )


def test_interval_of_equal_cases_has_no_width_and_of_one_case_is_none() -> None:
    assert evaluation_of(0.5, 0.5, 0.5).interval()["iou_et"] == (0.5, 0.5)
    assert evaluation_of(0.5).interval() == {}


def test_nothing_scored_has_no_mean() -> None:
    nothing = evaluation_of()
    assert nothing.mean() == nothing.median() == nothing.interval() == {}
    assert nothing.worst(3) == []
