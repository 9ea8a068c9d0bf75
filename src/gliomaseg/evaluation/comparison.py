"""Several sets of predictions of the same cases: paired differences, and the ranking of BraTS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.scores import Column, Evaluation
from gliomaseg.evaluation.statistics import (
    Array,
    Ranking,
    Summary,
    Wilcoxon,
    plain,
    rank_methods,
    summarise,
    wilcoxon,
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
            "metric": self.column.metric_name,
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
    lower = np.array([columns[number].lower_is_better for number in ranked], dtype=bool)
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


def name_methods(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return the names of the folders, numbered where two have the same."""
    names = [evaluation.name for evaluation in evaluations]
    return tuple(
        f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)
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
