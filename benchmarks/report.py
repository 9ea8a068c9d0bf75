"""Time pictures, reports and pages, and write docs/speed-report.md.

    python benchmarks/report.py ../shared/data/brats/BraTS2021_00000 --write docs/speed-report.md

Seconds are medians of --runs in one process, after one run to warm up. Pages are opened from a file in
Debian's Chromium (without a GPU) by Playwright: first contentful paint is the browser's own account.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gliomaseg.cases.find import find_case
from gliomaseg.cases.read import read_case
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.labels import Modality
from gliomaseg.measurement.measure import measure
from gliomaseg.report.cohort import Entry
from gliomaseg.report.make import ReportInputs, make_report
from gliomaseg.report.pages import cohort_page
from gliomaseg.report.picture import draw_overview, png

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
)
CASES = 1000
PAINT = (
    "() => performance.getEntriesByType('paint').find((e) => e.name === 'first-contentful-paint').startTime"
)


def timed(work: Callable[[], object], runs: int) -> str:
    """Return the median seconds of some work, least to most."""
    work()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def opened(pages: dict[str, Path], runs: int) -> list[str]:
    """Return a row for each page: seconds to first paint, and until all of it works."""
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        for name, path in pages.items():
            paints, whole = [], []
            for _ in range(runs + 1):
                page = browser.new_page()
                started = time.perf_counter()
                page.goto(path.as_uri(), wait_until="commit")
                page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
                whole.append(time.perf_counter() - started)
                paints.append(page.evaluate(PAINT) / 1000)
                page.close()
            paint, ready = statistics.median(paints[1:]), statistics.median(whole[1:])
            rows.append(
                f"| {name}: first paint | {paint:.2f} ({min(paints[1:]):.2f} to {max(paints[1:]):.2f}) | |"
            )
            rows.append(f"| {name}: every slice and control ready | {ready:.2f} | |")
        browser.close()
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    case = find_case(options.case)
    seg, images = read_labels(case.reference, case.scheme), read_case(case, tuple(Modality))
    sizes = measure(seg, images=images)
    overview = draw_overview(images, seg, title=case.id, sizes=sizes)
    exam = ReportInputs(case.id, seg, images, measurements=sizes, overview=overview)
    report = make_report(exam)

    def drawn() -> bytes:
        return png(draw_overview(images, seg, title=case.id, sizes=sizes))

    entries = [replace(Entry.of(report, f"case-{n}.html"), case_id=f"case-{n}") for n in range(CASES)]
    rows = [
        f"| measuring | {timed(lambda: measure(seg, images=images), options.runs)} | |",
        f"| overview.png | {timed(drawn, options.runs)} | {len(png(overview)) / 1e6:.1f} MB |",
        f"| report.html | {timed(lambda: make_report(exam).page(), options.runs)} "
        f"| {len(report.page()) / 1e6:.1f} MB |",
        f"| page of {CASES} cases | {timed(lambda: cohort_page(entries), options.runs)} "
        f"| {len(cohort_page(entries)) / 1e6:.1f} MB |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        pages = {
            "report in Chromium": Path(folder) / "a.html",
            f"{CASES} cases in Chromium": Path(folder) / "b.html",
        }
        for path, text in zip(pages.values(), (report.page(), cohort_page(entries)), strict=True):
            path.write_text(text, encoding="utf-8")
        rows += opened(pages, options.runs)
    lines = [
        "# Speed of pictures and pages",
        "",
        f"Medians of {options.runs} runs (least to most); {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.0f} when it ended; case `{case.id}`, "
        f"{'x'.join(map(str, seg.grid.shape))} voxels.",
        "",
        "    python benchmarks/report.py ../shared/data/brats/BraTS2021_00000 --write docs/speed-report.md",
        "",
        "| what | seconds | size |",
        "|---|---|---|",
        *rows,
        "",
    ]
    sys.stdout.write("\n".join(lines))
    if options.write:
        options.write.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
