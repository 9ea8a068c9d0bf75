"""Statistics of scores over cases: summaries, bootstrap intervals, paired tests, ranks.

Everything random has a fixed seed, so that the same scores always give the same numbers. NaN is a score that
its rules leave undefined: it is left out and counted. Plain NumPy: importing scipy.stats takes 0.6 s, and the
Wilcoxon test is a page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES = 2000
PERMUTATIONS = 100_000
#: Up to this many pairs the distribution of the signed ranks is exact, not approximated.
EXACT_PAIRS = 25
#: Up to this many cases every exchange of two methods is tried: 2**14 of them.
EXACT_CASES = 14
#: Differences of scores closer than this are ties: 0.8 - 0.7 and 0.6 - 0.5 are one tenth each.
_DECIMALS = 12
_SEED = 0
_CHUNK = 2000


@dataclass(frozen=True)
class Summary:
    """One score over cases: ``n`` defined and ``undefined`` values, their mean, quartiles and range.

    ``low`` and ``high`` are the 95 % bootstrap interval of the mean, NaN below two values. Without a defined
    value every number is NaN.
    """

    n: int
    undefined: int
    mean: float
    low: float
    high: float
    median: float
    lower_quartile: float
    upper_quartile: float
    least: float
    most: float


@dataclass(frozen=True)
class Wilcoxon:
    """Wilcoxon's signed-rank test: smaller rank sum, two-sided p, pairs that differ, whether p is exact."""

    statistic: float
    p: float
    pairs: int
    exact: bool


@dataclass(frozen=True)
class Ranking:
    """Methods ranked the BraTS way: mean rank of each method (1 is best) and p of each pair's difference.

    ``p`` is (method, method), symmetric, 1 on the diagonal; ``cells`` counts the case x score cells ranked,
    ``undefined`` those left out because a method's score was NaN.
    """

    mean_ranks: Array
    p: Array
    cells: int
    undefined: int


def summarise(matrix: Array) -> list[Summary]:
    """Return the summary of each column of a (case, column) matrix; NaN is left out and counted."""
    summaries = []
    for column, low, high in zip(matrix.T, *bootstrap_interval(matrix), strict=True):
        values = column[~np.isnan(column)]
        numbers = [math.nan] * 8
        if values.size:
            lower, median, upper = np.percentile(values, [25, 50, 75])
            numbers = [values.mean(), low, high, median, lower, upper, values.min(), values.max()]
        summaries.append(Summary(len(values), len(column) - len(values), *map(float, numbers)))
    return summaries


def bootstrap_interval(matrix: Array) -> tuple[Array, Array]:
    """Return the ends (column,) of the 95 % interval of the mean of each column of (case, column).

    Percentiles of 2000 means of n cases drawn with replacement, the same draw for every column. NaN
    below two defined values. With fewer than about 20 cases the interval is too narrow.
    """
    n, columns = matrix.shape
    defined = ~np.isnan(matrix)
    low, high = np.full((2, columns), np.nan)
    enough = defined.sum(axis=0) >= 2
    if not enough.any():
        return low, high
    drawn = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    sums = drawn @ np.where(defined, matrix, 0.0)[:, enough]
    counts = drawn @ defined[:, enough].astype(float)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    low[enough], high[enough] = np.nanpercentile(means, [2.5, 97.5], axis=0)
    return low, high


def wilcoxon(differences: Array) -> Wilcoxon:
    """Test whether paired ``differences`` are symmetric about 0; zeros and NaN are left out.

    Two-sided. Up to 25 pairs without ties the p value is exact, else that of the normal approximation with
    correction for ties and without one for continuity. No pair that differs: p = 1.
    Source: Wilcoxon 1945; the same numbers as ``scipy.stats.wilcoxon`` with ``zero_method="wilcox"``.
    """
    rounded = np.round(differences[~np.isnan(differences)], _DECIMALS)
    moved = rounded[rounded != 0]
    n = len(moved)
    if n == 0:
        return Wilcoxon(0.0, 1.0, 0, exact=True)
    ranks, ties = _average_ranks(np.abs(moved))
    statistic = float(min(ranks[moved > 0].sum(), ranks[moved < 0].sum()))
    is_exact = n <= EXACT_PAIRS and not np.any(ties > 1)
    if is_exact:
        counts = _rank_sum_counts(n)
        p = min(1.0, 2 * float(counts[: int(statistic) + 1].sum()) / 2.0**n)
    else:
        variance = (n * (n + 1) * (2 * n + 1) - float((ties**3 - ties).sum()) / 2) / 24
        p = math.erfc(abs(statistic - n * (n + 1) / 4) / math.sqrt(2 * variance))
    return Wilcoxon(statistic, p, n, exact=is_exact)


def _average_ranks(values: Array) -> tuple[Array, Array]:
    """Return ranks from 1 on, ties sharing their mean, and the number of values of each rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse], counts.astype(float)


def _rank_sum_counts(n: int) -> npt.NDArray[np.int64]:
    """Return the number of the 2**n subsets of 1..n with each sum, from 0 on."""
    counts = np.zeros(n * (n + 1) // 2 + 1, dtype=np.int64)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] = counts[rank:] + counts[:-rank]
    return counts


def rank_methods(scores: Array, lower_is_better: npt.NDArray[np.bool_]) -> Ranking:
    """Rank methods by (method, case, column) scores as in BraTS; ``lower_is_better`` is (column,).

    In each case and column methods are ranked, equals sharing the best rank; a method's result is the mean
    of all its ranks. p is the probability of a difference as large when, case by case, the ranks of two
    methods are exchanged at random (two-sided; every exchange up to 14 cases, else 100 000 of them). A cell
    where any method's score is NaN is left out. Source: BraTS 2017 to 2020, Bakas et al. 2018.
    """
    errors = np.where(lower_is_better, scores, -scores)
    better = errors[None] < errors[:, None] - 10.0**-_DECIMALS  # (method, other method, case, column)
    ranks = 1.0 + better.sum(axis=1)
    defined = ~np.isnan(scores).any(axis=0)
    ranks[:, ~defined] = np.nan
    cells = int(defined.sum())
    methods = len(scores)
    if not cells:
        return Ranking(np.full(methods, np.nan), np.ones((methods, methods)), 0, defined.size)
    by_case = np.nansum(ranks, axis=2)
    p = np.ones((methods, methods))
    for one in range(methods):
        for other in range(one):
            p[one, other] = p[other, one] = exchange_p(by_case[one] - by_case[other])
    return Ranking(by_case.sum(axis=1) / cells, p, cells, defined.size - cells)


def exchange_p(differences: Array) -> float:
    """Return the share of random signs that bring the sum of ``differences`` (case,) as far from 0."""
    moved = differences[differences != 0]
    observed = abs(float(moved.sum())) - 1e-9
    if not moved.size:
        return 1.0
    if moved.size <= EXACT_CASES:
        numbers = np.arange(2**moved.size)[:, None] >> np.arange(moved.size)
        return float(np.mean(np.abs((1 - 2 * (numbers & 1)) @ moved) >= observed))
    random = np.random.default_rng(_SEED)
    hits = 0
    for _ in range(PERMUTATIONS // _CHUNK):
        signs = 1 - 2 * random.integers(0, 2, (_CHUNK, moved.size), dtype=np.int8)
        hits += int(np.count_nonzero(np.abs(signs @ moved) >= observed))
    return (hits + 1) / (PERMUTATIONS + 1)
