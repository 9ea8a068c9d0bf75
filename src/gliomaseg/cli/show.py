"""What a verb shows when it is done: tables to stdout or JSON, words to stderr, the exit code.

Ignorant of how results are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.storage.result_folder import LABELS, OVERVIEW, REPORT

if TYPE_CHECKING:
    from gliomaseg.evaluation.comparison import Comparison
    from gliomaseg.evaluation.scores import Evaluation
    from gliomaseg.inference.bundle import Bundle
    from gliomaseg.labels import LabelScheme
    from gliomaseg.storage.outcome import Outcome


def report(outcomes: Sequence[Outcome], output: Path, *, as_json: bool) -> None:
    """Show what became of segmented cases; raises SystemExit: 1 when all failed, 3 when some did."""
    if as_json:
        console.show_json([outcome.as_dict() for outcome in outcomes])
    else:
        _show_outcomes(outcomes, output)
    console.end(sum(outcome.error is not None for outcome in outcomes), len(outcomes))


def _show_outcomes(outcomes: Sequence[Outcome], output: Path) -> None:
    from gliomaseg.storage.outcome import HEADS
    from gliomaseg.storage.summary import SUMMARY

    done = [outcome for outcome in outcomes if outcome.folder]
    if len(outcomes) == 1 and done:
        console.show_table(done[0].table(), title=f"{done[0].case_id} ({done[0].state})")
        console.say(done[0].quality_line())
        console.say(_where(done[0]))
    elif done:
        console.show_table([HEADS, *[outcome.cells() for outcome in outcomes]])
        has_reports = any((outcome.folder / REPORT).exists() for outcome in done if outcome.folder)
        what = f"reports: {output}/*/{REPORT}" if has_reports else f"label maps: {output}/*/{LABELS}"
        console.say(f"{what}; table: {output / SUMMARY}")
        console.say(f"next: gliomaseg report {output} -o cohort.html, or gliomaseg view {output}")
    for outcome in outcomes:
        for note in outcome.notes:
            console.say(str(note))
        if outcome.error:
            console.say(f"\n{outcome.case_id} {outcome.state}")
            console.show_error(outcome.error)
    _count(outcomes)
    console.say(RESEARCH_USE)


def _where(outcome: Outcome) -> str:
    """Return in words where the result of one case lies."""
    place = outcome.folder
    if place is None or not place.is_dir():
        return f"label map: {place}"
    if (place / REPORT).exists():
        return f"report: {place / REPORT}; picture: {place / OVERVIEW}"
    return f"label map: {place / LABELS}"


def _count(outcomes: Iterable[Outcome]) -> None:
    states = [outcome.state for outcome in outcomes]
    if len(states) > 1:
        console.say(
            ", ".join(
                f"{states.count(s)} {s}" for s in ("done", "unchanged", "failed", "locked") if s in states
            )
        )


def int8_summary(bundle: Bundle) -> str:
    """Return in words what the network loses in 8-bit numbers, and whether they are used unasked."""
    change = bundle.about["int8"]["dice_change"]
    if not change:
        return "int8: not measured, for want of held-out cases; used only with --precision int8"
    points = ", ".join(f"{region.upper()} {100 * value:+.2f}" for region, value in change.items())
    used = "used where the CPU is fit for it" if bundle.int8_is_as_good else "used only with --precision int8"
    return f"int8: Dice changes by {points} points on {bundle.about['int8']['cases']} held-out cases; {used}"


def report_scores(
    evaluations: Sequence[Evaluation], output: Path | None, *, scheme: LabelScheme | None, as_json: bool
) -> None:
    """Write scores and show them, compared if there are several; raises SystemExit when cases failed."""
    from gliomaseg.evaluation import comparison, tables
    from gliomaseg.report import score_folder

    compared = comparison.compare(evaluations) if len(evaluations) > 1 else None
    page = None
    if output:
        page = score_folder.write_scores(evaluations, output, comparison=compared, scheme=scheme)
    if as_json:
        console.show_json(tables.summary_dict(evaluations[0], compared))
    else:
        for evaluation in evaluations:
            _show_scores(evaluation)
        if compared:
            _show_comparison(compared, evaluations[0].shown)
        if page:
            console.say(f"page: {page}; tables: scores.csv, summary.json beside it")
        console.say(RESEARCH_USE)
    failed = sum(len(evaluation.failed) for evaluation in evaluations)
    console.end(failed, failed + sum(len(evaluation.cases) for evaluation in evaluations))


def _show_scores(evaluation: Evaluation) -> None:
    from gliomaseg.evaluation import tables

    rules = f"rules {evaluation.rules}"
    title = f"{evaluation.name}: mean [95 % interval] over {len(evaluation.cases)} cases, {rules}"
    if evaluation.cases:
        console.show_table(tables.summary_table(evaluation), title=title)
    if len(evaluation.cases) > 1:
        console.show_table(tables.worst_table(evaluation, 3), title=f"Worst cases, {rules}")
    for line in tables.notes(evaluation):
        console.say(line)


def _show_comparison(compared: Comparison, metrics: Sequence[str]) -> None:
    from gliomaseg.evaluation import tables

    rules = f"rules {compared.rules}"
    console.show_table(tables.ranking_table(compared), title=f"Ranking, 1 is best, {rules}")
    for title, table in tables.difference_tables(compared, metrics).items():
        console.show_table(table, title=f"{title}, paired, {rules}")
    for line in tables.comparison_notes(compared):
        console.say(line)
