"""Several sets of predictions of the same cases: paired differences, and the ranking of BraTS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.scores import ALL, ERRORS, Column, Evaluation
from gliomaseg.evaluation.statistics import (
    Array,
    Ranking,
    Summary,
    Wilcoxon,
    rank_methods,
    summarise,
    wilcoxon,
)
from gliomaseg.evaluation.tables import (
    Table,
    column_title,
    mean_text,
    metric_name,
    name_methods,
    plain,
    value_text,
)


@dataclass(frozen=True)
class Difference:
    """One score of two methods over the cases of both; the summary is of ``other`` minus ``first``."""

    column: Column
    first: str
    other: str
    first_mean: float
    other_mean: float
    summary: Summary
    test: Wilcoxon

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON; NaN as None."""
        return {
            "first": self.first,
            "other": self.other,
            "region": self.column.region,
            "metric": metric_name(self.column),
            "n": self.summary.n,
            "mean_first": plain(self.first_mean),
            "mean_other": plain(self.other_mean),
            "mean_difference": plain(self.summary.mean),
            "low_95": plain(self.summary.low),
            "high_95": plain(self.summary.high),
            "wilcoxon_statistic": self.test.statistic,
            "wilcoxon_p": self.test.p,
            "wilcoxon_exact": self.test.exact,
        }


@dataclass(frozen=True)
class Comparison:
    """Methods on the cases that all of them were scored on; ``ranked`` are the columns of the ranking."""

    rules: str
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    differences: tuple[Difference, ...]
    ranking: Ranking
    ranked: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        ranks = map(plain, self.ranking.mean_ranks.tolist())
        return {
            "rules": self.rules,
            "methods": list(self.methods),
            "cases": list(self.cases),
            "ranking": {
                "columns": list(self.ranked),
                "mean_rank": dict(zip(self.methods, ranks, strict=True)),
                "p": self.ranking.p.tolist(),
                "cells": self.ranking.cells,
                "undefined_cells": self.ranking.undefined,
            },
            "differences": [difference.as_dict() for difference in self.differences],
        }


def compare(evaluations: Sequence[Evaluation]) -> Comparison:
    """Compare two or more evaluations of the same references by the same rules.

    Each is compared with the first, score by score; all are ranked by the rules' two headline metrics. Only
    cases that all of them scored count. Raises CaseError (E-NOCASE) without any.
    """
    first, methods = evaluations[0], name_methods(evaluations)
    cases = tuple(name for name in first.cases if all(name in e.cases for e in evaluations))
    if not cases:
        raise CaseError(
            "E-NOCASE",
            f"no case was scored for all of {', '.join(methods)}",
            expected="predictions of the same cases in every folder",
            remedy="compare predictions of one data set",
        )
    columns = [c for name, c in first.columns.items() if all(name in e.columns for e in evaluations)]
    names = [column.name for column in columns]
    scores = np.array(
        [[[e.cases[case].get(name, math.nan) for name in names] for case in cases] for e in evaluations],
        dtype=np.float64,
    )
    ranked = [
        number
        for number, column in enumerate(columns)
        if column.metric in first.headlines and column.region in first.ranked_regions
    ]
    lower = np.array([columns[number].metric in ERRORS for number in ranked], dtype=bool)
    return Comparison(
        first.rules,
        methods,
        cases,
        tuple(
            found
            for method, matrix in zip(methods[1:], scores[1:], strict=True)
            for found in _differences((methods[0], method), scores[0], matrix, columns)
        ),
        rank_methods(scores[:, :, ranked], lower),
        tuple(names[number] for number in ranked),
    )


def _differences(
    methods: tuple[str, str], first: Array, other: Array, columns: Sequence[Column]
) -> list[Difference]:
    """Return the difference of every column of two methods' (case, column) scores."""
    found = []
    for number, (column, summary) in enumerate(zip(columns, summarise(other - first), strict=True)):
        moved = other[:, number] - first[:, number]
        both = ~np.isnan(moved)
        one, two = (float(m[both, number].mean()) if both.any() else math.nan for m in (first, other))
        found.append(Difference(column, *methods, one, two, summary, wilcoxon(moved)))
    return found


def ranking_table(comparison: Comparison) -> Table:
    """Return the methods by mean rank, best first, with p of their difference from the best."""
    ranking = comparison.ranking
    order = sorted(range(len(comparison.methods)), key=lambda method: ranking.mean_ranks[method])
    rows = [
        [
            comparison.methods[method],
            "–" if math.isnan(ranking.mean_ranks[method]) else f"{ranking.mean_ranks[method]:.3f}",
            "" if method == order[0] else p_text(float(ranking.p[method, order[0]])),
        ]
        for method in order
    ]
    return [["predictions", "mean rank", "p against the best"], *rows]


def difference_tables(comparison: Comparison, metrics: Sequence[str]) -> dict[str, Table]:
    """Return the paired differences of some metrics, a table for each method against the first."""
    tables: dict[str, Table] = {}
    for found in comparison.differences:
        column = found.column
        if column.metric not in metrics or column.region == ALL:
            continue
        header = ["region", "metric", found.first, found.other, "difference", "p"]
        row = [
            column.region.upper(),
            column_title(column),
            value_text(column, found.first_mean),
            value_text(column, found.other_mean),
            mean_text(column, found.summary, signed=True),
            p_text(found.test.p),
        ]
        tables.setdefault(f"{found.other} against {found.first}", [header]).append(row)
    return tables


def p_text(p: float) -> str:
    """Return a p value to three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_notes(comparison: Comparison) -> list[str]:
    """Return notes on how the numbers of a comparison are computed."""
    tests = len({(d.column.name, d.other) for d in comparison.differences})
    lines = [
        f"paired over {len(comparison.cases)} cases; brackets: 95 % bootstrap interval of the mean "
        "difference; p: Wilcoxon signed-rank test, two-sided",
        f"{tests} tests in summary.json, not corrected for their number: judge by the interval",
        "mean rank: methods ranked per case on " + ", ".join(comparison.ranked) + "; p by permutation",
    ]
    if comparison.ranking.undefined:
        lines.append(f"{comparison.ranking.undefined} undefined cells left out of the ranking")
    return lines
