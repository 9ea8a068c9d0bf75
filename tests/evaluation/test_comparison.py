"""Several methods on the same cases: by pencil, and what the tables say of it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable

import pytest

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.comparison import compare, name_methods
from gliomaseg.evaluation.scores import Column, Evaluation
from gliomaseg.evaluation.tables import (
    case_table,
    comparison_notes,
    difference_tables,
    notes,
    p_text,
    ranking_table,
    scores_csv,
    summary_dict,
    summary_table,
    worst_table,
)

NAN = math.nan
Make = Callable[..., Evaluation]


@pytest.fixture
def ours(evaluation_of: Make) -> Evaluation:
    return evaluation_of("ours", A=0.9, B=0.8, C=0.7)


@pytest.fixture
def theirs(evaluation_of: Make) -> Evaluation:
    return evaluation_of("theirs", A=0.8, B=0.6, C=0.4, D=0.1)


def test_paired_by_pencil(ours: Evaluation, theirs: Evaluation) -> None:
    comparison = compare([ours, theirs])
    assert comparison.cases == ("A", "B", "C")
    found = next(d for d in comparison.differences if d.column == Column("wt", "dice", ""))
    assert (found.first, found.other, found.n) == ("ours", "theirs", 3)
    assert (found.first_mean, found.other_mean, found.mean) == pytest.approx((0.8, 0.6, -0.2))
    assert found.low < -0.2 < found.high < 0
    assert found.test.p == 2 / 8
    assert list(comparison.ranking.mean_ranks) == [1, 2]
    assert comparison.ranking.p[0, 1] == 2 / 8
    assert comparison.ranking.cells == 3 * 6


def test_a_score_undefined_for_one_is_left_out_of_the_pair(ours: Evaluation, evaluation_of: Make) -> None:
    holed = evaluation_of("holed", A=NAN, B=0.6, C=0.4)
    comparison = compare([ours, holed])
    found = comparison.differences[0]
    assert (found.n, found.first_mean, found.mean) == (2, pytest.approx(0.75), pytest.approx(-0.25))
    assert comparison.ranking.undefined == 6
    assert any("6 undefined" in line for line in comparison_notes(comparison))
    json.dumps(comparison.as_dict(), allow_nan=False)


def test_no_case_in_common_is_refused(ours: Evaluation, evaluation_of: Make) -> None:
    with pytest.raises(CaseError, match="ours, others") as caught:
        compare([ours, evaluation_of("others", X=0.5)])
    assert caught.value.code == "E-NOCASE"


def test_teams_of_one_name_are_numbered(ours: Evaluation, theirs: Evaluation) -> None:
    assert name_methods([ours, theirs, ours]) == ("ours (1)", "theirs", "ours (3)")


def test_three_teams_are_all_set_against_the_first(
    ours: Evaluation, theirs: Evaluation, evaluation_of: Make
) -> None:
    comparison = compare([ours, theirs, evaluation_of("perfect", A=1, B=1, C=1)])
    assert list(comparison.ranking.mean_ranks) == [2, 3, 1]
    tables = difference_tables(comparison, ["dice", "hd95"])
    assert list(tables) == ["theirs against ours", "perfect against ours"]
    assert tables["perfect against ours"][0] == ["region", "metric", "ours", "perfect", "difference", "p"]
    assert tables["perfect against ours"][1][:4] == ["WT", "Dice", "0.800", "1.000"]
    assert tables["perfect against ours"][1][4].startswith("+0.200 [+0.1")
    assert [row[0] for row in ranking_table(comparison)] == ["predictions", "perfect", "ours", "theirs"]


def test_p_values_are_written_as_usual() -> None:
    assert [p_text(p) for p in (0.0001, 0.0456, 1.0)] == ["< 0.001", "0.046", "1.000"]


# --- tables ---------------------------------------------------------------------------------------


def test_csv_is_tidy_exact_and_bears_units_and_rules(ours: Evaluation, evaluation_of: Make) -> None:
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


def test_an_undefined_case_is_not_the_worst(evaluation_of: Make) -> None:
    assert evaluation_of(A=NAN, B=0.2).worst(1) == ["B"]


def test_notes_say_what_notebooks_say_and_how_few_the_cases_are(evaluation_of: Make) -> None:
    lines = notes(evaluation_of(A=0.5, B=NAN))
    assert "mean IoU over four classes with background 0.500" in lines[0]
    assert "dice_wt in 1 of 2" in lines[1]
    assert "2 cases are few" in lines[2]


def test_many_names_are_cut_short() -> None:
    many = Evaluation("brats2020", {}, {}, extra=tuple("ABCDEFG"))
    assert notes(many) == ["7 without a reference, left out: A, B, C, D, E ... (7, see summary.json)"]


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
def test_columns_bear_their_units(column: Column, name: str, title: str) -> None:
    assert (column.name, column.title) == (name, title)
