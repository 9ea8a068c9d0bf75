"""Several sets of predictions of the same cases: paired differences, and the ranking that BraTS makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.scores import Column, Evaluation
from gliomaseg.evaluation.statistics import Array, Ranking, Wilcoxon, rank_methods, summarise, wilcoxon


@dataclass(frozen=True)
class Difference:
    """One score of two methods over the cases of both: ``other`` minus ``first``.

    ``mean`` has the 95 % bootstrap interval ``low`` to ``high`` over cases, NaN below two; ``n`` cases
    have the score defined for both methods.
    """

    column: Column
    first: str
    other: str
    n: int
    first_mean: float
    other_mean: float
    mean: float
    low: float
    high: float
    test: Wilcoxon

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON; NaN as None."""
        numbers = {
            "mean_first": self.first_mean,
            "mean_other": self.other_mean,
            "mean_difference": self.mean,
            "low_95": self.low,
            "high_95": self.high,
            "wilcoxon_statistic": self.test.statistic,
            "wilcoxon_p": self.test.p,
        }
        return {
            "first": self.first,
            "other": self.other,
            "region": self.column.region,
            "metric": self.column.metric_name,
            "n": self.n,
            **{name: None if math.isnan(value) else value for name, value in numbers.items()},
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
        ranks = [None if math.isnan(rank) else rank for rank in self.ranking.mean_ranks.tolist()]
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

    Every other is set against the first, score by score; all are ranked by the rules' two headline
    metrics. Only cases that all of them scored count. Raises CaseError (E-NOCASE) without any.
    """
    methods = name_methods(evaluations)
    cases = [name for name in evaluations[0].cases if all(name in e.cases for e in evaluations)]
    if not cases:
        raise CaseError(
            "E-NOCASE",
            f"no case was scored for all of {', '.join(methods)}",
            expected="predictions of the same cases in every folder",
            remedy="compare predictions of one data set",
        )
    columns = {n: c for n, c in evaluations[0].columns.items() if all(n in e.columns for e in evaluations)}
    scores = np.stack([_matrix(e, cases, columns) for e in evaluations])
    first = evaluations[0]
    ranked = [
        n for n, c in columns.items() if c.metric in first.headlines and c.region in first.ranked_regions
    ]
    chosen = [list(columns).index(name) for name in ranked]
    lower = np.array([columns[name].lower_is_better for name in ranked], dtype=bool)
    return Comparison(
        evaluations[0].rules,
        methods,
        tuple(cases),
        tuple(_differences(methods, scores, list(columns.values()))),
        rank_methods(scores[:, :, chosen], lower),
        tuple(ranked),
    )


def name_methods(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return the folders' names, numbered where two bear the same."""
    names = [evaluation.name for evaluation in evaluations]
    return tuple(
        f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)
    )


def _matrix(evaluation: Evaluation, cases: Sequence[str], columns: Mapping[str, Column]) -> Array:
    rows = [[evaluation.cases[case].get(name, math.nan) for name in columns] for case in cases]
    return np.array(rows, dtype=np.float64)


def _differences(methods: Sequence[str], scores: Array, columns: Sequence[Column]) -> list[Difference]:
    found = []
    for method, matrix in zip(methods[1:], scores[1:], strict=True):
        moved = matrix - scores[0]
        for number, (column, summary) in enumerate(zip(columns, summarise(moved), strict=True)):
            both = ~np.isnan(moved[:, number])
            first, other = (
                float(each[both, number].mean()) if both.any() else math.nan for each in (scores[0], matrix)
            )
            found.append(
                Difference(
                    column,
                    methods[0],
                    method,
                    summary.n,
                    first,
                    other,
                    summary.mean,
                    summary.low,
                    summary.high,
                    wilcoxon(moved[:, number]),
                )
            )
    return found
