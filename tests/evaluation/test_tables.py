"""Scores as CSV, JSON, tables and notes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable

from gliomaseg.evaluation.comparison import compare, p_text
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.evaluation.tables import (
    case_table,
    notes,
    scores_csv,
    summary_dict,
    summary_table,
    worst_table,
)

NAN = math.nan
Make = Callable[..., Evaluation]


def test_p_values_are_written_as_usual() -> None:
    assert [p_text(p) for p in (0.0001, 0.0456, 1.0)] == ["< 0.001", "0.046", "1.000"]


def test_csv_is_tidy_and_exact_with_units_and_rules(ours: Evaluation, evaluation_of: Make) -> None:
    third = evaluation_of("third", A=1 / 3, B=NAN)
    rows = list(csv.DictReader(io.StringIO(scores_csv([ours, third]))))
    assert list(rows[0]) == ["predictions", "case", "rules", "region", "metric", "value"]
    assert len(rows) == (3 + 2) * len(ours.columns)
    assert {row["rules"] for row in rows} == {"brats2020"}
    assert {row["metric"] for row in rows} == {
        "dice",
        "hd95_mm",
        "class_dice",
        "mean_iou_with_background",
    }
    (found,) = (
        r
        for r in rows
        if (r["predictions"], r["case"], r["region"], r["metric"]) == ("third", "A", "wt", "dice")
    )
    assert float(found["value"]) == 1 / 3
    assert {r["value"] for r in rows if r["case"] == "B" and r["predictions"] == "third"} == {""}


def test_summary_holds_everything_and_no_nan(
    ours: Evaluation, theirs: Evaluation, evaluation_of: Make
) -> None:
    summary = summary_dict(evaluation_of(A=0.5, B=1.0, C=NAN), compare([ours, theirs]))
    text = json.dumps(summary, allow_nan=False)
    found = json.loads(text)
    assert (found["schema_version"], found["rules"], found["n"]) == (2, "brats2020", 3)
    assert found["mean"]["dice_wt"] == 0.75
    assert found["cases"]["C"]["dice_wt"] is None
    (row,) = (r for r in found["statistics"] if (r["region"], r["metric"]) == ("wt", "hd95_mm"))
    assert (row["n"], row["undefined"], row["mean"]) == (2, 1, 2.5)
    assert found["comparison"]["ranking"]["mean_rank"] == {"ours": 1, "theirs": 2}


def test_regions_are_rows_and_metrics_columns(ours: Evaluation, evaluation_of: Make) -> None:
    table = summary_table(ours)
    assert table[0] == ["region", "Dice", "HD95 (mm)"]
    assert [row[0] for row in table[1:]] == ["WT", "TC", "ET"]
    assert table[1][1].startswith("0.800 [0.7")
    assert summary_table(evaluation_of(A=0.5))[1] == ["WT", "0.500", "5.0"]


def test_the_worst_come_first(ours: Evaluation) -> None:
    assert [row[0] for row in worst_table(ours, 2)] == ["case", "C", "B"]
    assert worst_table(ours, 1)[1][1:] == ["0.700 / 0.700 / 0.700", "3.0 / 3.0 / 3.0"]
    assert case_table(ours, ["A"])[1] == ["A", "0.900", "0.900", "0.900", "1.0", "1.0", "1.0"]


def test_notes_on_the_numbers_of_notebooks_and_on_few_cases(evaluation_of: Make) -> None:
    lines = notes(evaluation_of(A=0.5, B=NAN))
    assert "mean IoU over four classes with background 0.500" in lines[0]
    assert "dice_wt in 1 of 2" in lines[1]
    assert "2 cases are few" in lines[2]


def test_many_names_are_cut_short() -> None:
    many = Evaluation("brats2020", {}, {}, extra=tuple("ABCDEFG"))
    assert notes(many) == ["7 without a reference, left out: A, B, C, D, E ... (7, see summary.json)"]
