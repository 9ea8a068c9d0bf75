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
    from gliomaseg.inference.bundle import Bundle
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
