"""Several methods on the same cases, by pencil."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.comparison import compare, comparison_notes, difference_tables, ranking_table
from gliomaseg.evaluation.scores import Column, Evaluation
from gliomaseg.evaluation.tables import name_methods

NAN = math.nan
Make = Callable[..., Evaluation]


def test_paired_by_pencil(ours: Evaluation, theirs: Evaluation) -> None:
    comparison = compare([ours, theirs])
    assert comparison.cases == ("A", "B", "C")
    found = next(d for d in comparison.differences if d.column == Column("wt", "dice", ""))
    assert (found.first, found.other, found.summary.n) == ("ours", "theirs", 3)
    assert (found.first_mean, found.other_mean, found.summary.mean) == pytest.approx((0.8, 0.6, -0.2))
    assert found.summary.low < -0.2 < found.summary.high < 0
    assert found.test.p == 2 / 8
    assert list(comparison.ranking.mean_ranks) == [1, 2]
    assert comparison.ranking.p[0, 1] == 2 / 8
    assert comparison.ranking.cells == 3 * 6


def test_a_score_undefined_for_one_is_left_out_of_the_pair(ours: Evaluation, evaluation_of: Make) -> None:
    holed = evaluation_of("holed", A=NAN, B=0.6, C=0.4)
    comparison = compare([ours, holed])
    found = comparison.differences[0]
    assert (found.summary.n, found.first_mean, found.summary.mean) == (
        2,
        pytest.approx(0.75),
        pytest.approx(-0.25),
    )
    assert comparison.ranking.undefined == 6
    assert any("6 undefined" in line for line in comparison_notes(comparison))
    json.dumps(comparison.as_dict(), allow_nan=False)


def test_no_case_in_common_is_refused(ours: Evaluation, evaluation_of: Make) -> None:
    with pytest.raises(CaseError, match="ours, others") as caught:
        compare([ours, evaluation_of("others", X=0.5)])
    assert caught.value.code == "E-NOCASE"


def test_methods_of_one_name_are_numbered(ours: Evaluation, theirs: Evaluation) -> None:
    assert name_methods([ours, theirs, ours]) == ("ours (1)", "theirs", "ours (3)")


def test_three_methods_are_compared_with_the_first(
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
