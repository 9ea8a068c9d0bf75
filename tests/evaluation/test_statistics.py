"""Statistics over cases: by pencil, against recorded values of SciPy, and by their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gliomaseg.evaluation.statistics import (
    EXACT_CASES,
    bootstrap_interval,
    exchange_p,
    rank_methods,
    summarise,
    wilcoxon,
)

NAN = math.nan


# --- summaries ------------------------------------------------------------------------------------


def test_a_summary_by_pencil() -> None:
    (summary,) = summarise(np.array([[0.0], [0.25], [0.5], [1.0], [NAN]]))
    assert (summary.n, summary.undefined) == (4, 1)
    assert (summary.mean, summary.median) == (0.4375, 0.375)
    assert (summary.lower_quartile, summary.upper_quartile) == (0.1875, 0.625)
    assert (summary.least, summary.most) == (0.0, 1.0)
    assert 0 < summary.low < summary.mean < summary.high < 1


def test_a_column_without_a_value_is_nan_and_does_not_spoil_the_others() -> None:
    nothing, something = summarise(np.array([[NAN, 1.0], [NAN, 0.0]]))
    assert (nothing.n, nothing.undefined) == (0, 2)
    assert all(math.isnan(v) for v in (nothing.mean, nothing.low, nothing.median, nothing.most))
    assert (something.n, something.mean) == (2, 0.5)


def test_one_value_has_no_interval() -> None:
    low, high = bootstrap_interval(np.array([[0.5], [NAN]]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_the_interval_is_the_normal_one_for_many_cases() -> None:
    values = np.random.default_rng(2).normal(0.8, 0.05, (400, 1))
    half = 1.96 * values.std() / 20
    low, high = bootstrap_interval(values)
    assert (low[0], high[0]) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_nan_left_out_gives_the_interval_of_the_rest() -> None:
    values = np.random.default_rng(3).normal(0.8, 0.05, (300, 1))
    holed = np.concatenate([values, np.full((100, 1), NAN)])
    ends = [bootstrap_interval(matrix) for matrix in (values, holed)]
    assert ends[0][0] == pytest.approx(ends[1][0], abs=1e-3)
    assert ends[0][1] == pytest.approx(ends[1][1], abs=1e-3)


# --- Wilcoxon -------------------------------------------------------------------------------------


def test_wilcoxon_by_pencil() -> None:
    result = wilcoxon(
        np.array([1.0, 2.0, -3.0])
    )  # ranks 1, 2 up and 3 down: 6 of 8 signs give a sum <= 3 ...
    assert (result.statistic, result.pairs, result.exact) == (3.0, 3, True)
    assert result.p == 1.0  # ... on one side alone, so that both sides together give 1
    assert wilcoxon(np.array([1.0, 2.0, 3.0, 4.0])).p == 2 / 16


#: scipy.stats.wilcoxon 1.17.1, two-sided, zero_method "wilcox", no continuity correction.
RECORDED = [
    ([0.02, -0.01, 0.05, 0.07, 0.03, 0.11, -0.04, 0.06], 5.0, 0.078125, True),
    ([0.1, 0.1, -0.1, 0.2, 0.3, -0.2, 0.4], 6.5, 0.20082512269514552, False),
    ([0.0, 0.02, -0.01, 0.05, 0.0, 0.03], 1.0, 0.25, True),
]


@pytest.mark.parametrize(("differences", "statistic", "p", "exact"), RECORDED)
def test_wilcoxon_agrees_with_recorded_values(
    differences: list[float], statistic: float, p: float, exact: bool
) -> None:
    result = wilcoxon(np.array(differences))
    assert (result.statistic, result.exact) == (statistic, exact)
    assert result.p == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 10, 24, 25, 26, 60, 200])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_wilcoxon_is_scipys(n: int, shift: float) -> None:
    differences = np.random.default_rng(n).normal(shift, 1, n)
    expected = stats.wilcoxon(differences, correction=False, method="exact" if n <= 25 else "asymptotic")
    result = wilcoxon(differences)
    assert result.exact == (n <= 25)
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)


@pytest.mark.parametrize("n", [8, 25, 100])
def test_wilcoxon_with_ties_and_zeros_is_scipys(n: int) -> None:
    differences = np.random.default_rng(n).integers(-3, 5, n).astype(float)
    expected = stats.wilcoxon(differences, correction=False, method="asymptotic")
    result = wilcoxon(differences)
    assert not result.exact
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)


def test_nothing_that_differs_is_no_difference() -> None:
    result = wilcoxon(np.array([0.0, NAN, 0.0]))
    assert (result.p, result.pairs) == (1.0, 0)


@given(st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), max_size=40))
def test_wilcoxon_does_not_care_who_is_first(values: list[float]) -> None:
    one, other = wilcoxon(np.array(values, float)), wilcoxon(-np.array(values, float))
    assert one == other
    assert 0 <= one.p <= 1


# --- ranking --------------------------------------------------------------------------------------


def test_ranks_by_pencil() -> None:
    # Two cases, Dice and HD95; the first two methods share the first Dice.
    scores = np.array(
        [
            [[0.9, 3.0], [0.8, 5.0]],
            [[0.9, 2.0], [0.7, 6.0]],
            [[0.5, 9.0], [0.9, 4.0]],
        ]
    )
    ranking = rank_methods(scores, np.array([False, True]))
    assert ranking.mean_ranks == pytest.approx(
        [(1 + 2 + 2 + 2) / 4, (1 + 1 + 3 + 3) / 4, (3 + 3 + 1 + 1) / 4]
    )
    assert (ranking.cells, ranking.undefined) == (4, 0)
    # Team 1 beats method 0 by one rank in case 1 and loses by two in case 2: of four exchanges all are >= 1.
    assert ranking.p[0, 1] == ranking.p[1, 0] == 1.0


def test_a_cell_undefined_for_one_method_is_left_out_for_all() -> None:
    scores = np.array([[[0.9], [0.9], [NAN]], [[0.8], [1.0], [1.0]]])
    ranking = rank_methods(scores, np.array([False]))
    assert ranking.mean_ranks == pytest.approx([1.5, 1.5])
    assert (ranking.cells, ranking.undefined) == (2, 1)


def test_methods_without_a_defined_cell_have_no_rank() -> None:
    ranking = rank_methods(np.full((2, 1, 1), NAN), np.array([False]))
    assert np.isnan(ranking.mean_ranks).all()
    assert (ranking.cells, ranking.undefined) == (0, 1)


def test_the_permutation_test_by_pencil() -> None:
    assert exchange_p(np.ones(4)) == 2 / 16
    assert exchange_p(np.array([1.0, -1.0])) == 1.0
    assert exchange_p(np.zeros(5)) == 1.0


def test_random_and_exhaustive_exchanges_agree() -> None:
    differences = np.random.default_rng(0).normal(0.35, 1, EXACT_CASES)
    exact = exchange_p(differences)
    # A case that hardly counts makes it random without changing the answer.
    assert exchange_p(np.append(differences, 1e-7)) == pytest.approx(exact, abs=0.005)


@given(st.integers(2, 5), st.integers(1, 6), st.integers(0, 99))
def test_mean_ranks_follow_the_methods(methods: int, cases: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (methods, cases, 2)).astype(float)
    lower = np.array([False, True])
    ranking, turned = rank_methods(scores, lower), rank_methods(scores[::-1], lower)
    assert ranking.mean_ranks == pytest.approx(turned.mean_ranks[::-1])
    assert np.all((ranking.mean_ranks >= 1) & (ranking.mean_ranks <= methods))
    same = rank_methods(np.repeat(scores[:1], 3, axis=0), lower)
    assert list(same.mean_ranks) == [1, 1, 1]
    assert np.all(same.p == 1)
