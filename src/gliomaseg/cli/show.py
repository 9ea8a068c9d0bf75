"""What a verb shows when it is done: tables to stdout or JSON, words to stderr, the exit code.

Ignorant of how results are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console

if TYPE_CHECKING:
    from gliomaseg.inference.bundle import Bundle
    from gliomaseg.storage.summary import Outcome


def report(outcomes: Sequence[Outcome], output: Path, *, as_json: bool) -> None:
    """Show what became of segmented cases; raises SystemExit: 1 when all failed, 3 when some did."""
    if as_json:
        console.show_json([outcome.as_dict() for outcome in outcomes])
    else:
        _show_outcomes(outcomes, output)
    console.end(sum(outcome.error is not None for outcome in outcomes), len(outcomes))


def _show_outcomes(outcomes: Sequence[Outcome], output: Path) -> None:
    from gliomaseg.storage.result_folder import LABELS, REPORT
    from gliomaseg.storage.summary import SUMMARY

    done = [outcome for outcome in outcomes if outcome.folder]
    if len(outcomes) == 1 and done:
        console.show_table(_volumes(done[0]), title=f"{done[0].case_id} ({done[0].state})")
        console.say(_quality(done[0]))
        console.say(_where(done[0]))
    elif done:
        console.show_table([_HEADER, *map(_cells, outcomes)])
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


_HEADER = ["case", "state", "quality", "WT ml", "TC ml", "ET ml", "missing", "why"]


def _cells(outcome: Outcome) -> list[str]:
    """Return a case's cells under ``_HEADER``."""
    row = outcome.row()
    volumes = [_with_interval(row, region) for region in ("wt", "tc", "et")]
    why = row.get("reasons") or row.get("error")
    cells = [row["case"], row["state"], row.get("quality"), *volumes, row.get("missing"), why]
    return [str(cell or "") for cell in cells]


def _volumes(outcome: Outcome) -> list[list[str]]:
    """Return the volume of each label and region of one case, under a header."""
    found, row = outcome.measurements, outcome.row()
    labels = [[f"label {r['value']}", r["title"], f"{r['volume_ml']:.2f}"] for r in found["labels"]]
    regions = [[r["region"].upper(), r["title"], _with_interval(row, r["region"])] for r in found["regions"]]
    return [["part", "meaning", "volume ml (90 % interval)"], *labels, *regions]


def _with_interval(row: Mapping[str, object], region: str) -> str:
    """Return a volume in ml, and its 90 % interval if known."""
    names = ("volume_ml", "volume_low_ml", "volume_high_ml")
    volume, low, high = (row.get(f"{region}_{name}") for name in names)
    if volume is None:
        return ""
    return f"{volume:.2f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")


def _quality(outcome: Outcome) -> str:
    row = outcome.row()
    return f"quality: {row['quality']}" + f" ({row['reasons']})" * bool(row["reasons"])


def _where(outcome: Outcome) -> str:
    """Return in words where the result of one case lies."""
    from gliomaseg.storage.result_folder import LABELS, OVERVIEW, REPORT

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
