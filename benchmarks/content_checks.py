"""Measure the content checks on real cases and on corrupted copies; write docs/content-checks.md.

    python benchmarks/content_checks.py ../shared/data/brats          # measure, write the page
    python benchmarks/content_checks.py ../shared/data/brats --fit    # fit assets/appearance.json first

For the order of the sequences the model is fitted without the case under test (leave one out).
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from corrupted import corrupted, corrupted_few, corrupted_one, some
from gliomaseg.cases import alignment, appearance, content
from gliomaseg.cases.find import find_cases
from gliomaseg.cases.read import read_case
from gliomaseg.errors import GliomasegError
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.labels import Modality

ROOT = Path(__file__).parents[1]
ASSET = ROOT / "src" / "gliomaseg" / "assets" / "appearance.json"
PAGE = ROOT / "docs" / "content-checks.md"
#: The code of real cases with a sequence that does end inside the brain.
COVER = ": W-COVER"

Array = np.ndarray


def codes_of(volume: Volume) -> set[str]:
    """Return the codes of a case."""
    try:
        return {note.code for note in content.check_content(volume, "x").notes}
    except GliomasegError as error:
        return {error.code}


def main() -> None:
    """Measure and write the page."""
    cases = find_cases(sys.argv[1])
    print(f"{len(cases)} cases", file=sys.stderr)
    rows = [appearance.features(appearance.pair_features(coarse_of(case).channels)) for case in cases]
    if "--fit" in sys.argv:
        model = appearance.fit(np.array(rows))
        stored = {
            "source": f"benchmarks/content_checks.py --fit on {len(cases)} BraTS cases (2018, 2019, 2021)",
            "mean": model.mean.round(5).tolist(),
            "precision": model.precision.round(4).tolist(),
        }
        ASSET.write_text(json.dumps(stored) + "\n", encoding="utf-8")
    hits: dict[tuple[str, str], list[bool]] = defaultdict(list)
    false: list[str] = []
    seconds: list[float] = []
    ranges: dict[str, list[float]] = defaultdict(list)
    before = None
    for number, case in enumerate(cases):
        without = appearance.fit(np.array(rows[:number] + rows[number + 1 :]))
        appearance._shipped = lambda without=without: without  # noqa: SLF001
        before = measure(case, before, hits, false, seconds, ranges)
        print(number + 1, case.id, false[-1:] or "", file=sys.stderr)
    PAGE.write_text(page(len(cases), hits, false, seconds, ranges), encoding="utf-8")


def coarse_of(case: object) -> object:
    """Return the coarse sample of a case."""
    return content._sample(read_case(case, tuple(Modality)), "x")  # noqa: SLF001


def measure(
    case: object, before: Volume | None, hits: dict, false: list, seconds: list, ranges: dict
) -> Volume:
    """Check one case and its corrupted copies, one mixed with the case ``before``; return its images."""
    volume = read_case(case, tuple(Modality))
    reference = read_labels(case.reference, case.scheme)
    started = time.perf_counter()
    codes = codes_of(volume)
    seconds.append(time.perf_counter() - started)
    codes |= reference_codes(volume, reference)
    if codes:
        false.append(f"{case.id}: {', '.join(sorted(codes))}")
    coarse = content._sample(volume, "x")  # noqa: SLF001
    pairs = appearance.pair_features(coarse.channels)
    found = appearance.likeness(pairs)
    ranges["distance from the other cases, as given"].append(found.as_given)
    ranges["the same minus that in the best order"].append(found.as_given - found.best)
    alike = appearance.similarity(volume.array, volume.grid.spacing)
    ranges["similarity of T1 and T1c"].append(alike[0, 1])
    ranges["similarity of other sequences, largest"].append(
        max(alike[0, 2:].max(), alike[1, 2:].max(), alike[2, 3])
    )
    ratios = alignment.alignment(coarse.channels, coarse.grid)
    ranges["alignment ratio, weakest link"].append(weakest(ratios))
    ranges["alignment ratio of any two"] += ratios[np.triu_indices(4, 1)].tolist()
    ranges["ml of nonzero voxels"].append(np.count_nonzero(coarse.brain) * coarse.grid.voxel_ml)
    for few in some(volume):
        hits["two or three of the sequences, unchanged", "nothing"].append(not codes_of(few) - {"W-COVER"})
    for name, wanted, copy in itertools.chain(
        corrupted(volume, before), corrupted_one(volume), corrupted_few(volume)
    ):
        hits[name, wanted].append(bool(codes_of(copy) & set(wanted.split(" or "))))
    for axis, name in enumerate(("left-right", "front-back", "top-bottom")):
        mirrored = replace(reference, labels=np.flip(reference.labels, axis))
        hits[f"reference mirrored {name}", "E-FLIP"].append("E-FLIP" in reference_codes(volume, mirrored))
    moved = replace(reference, labels=np.roll(reference.labels, 100, 0))
    hits["reference shifted by 100 voxels", "W-OUTSIDE or E-FLIP"].append(
        bool(reference_codes(volume, moved))
    )
    return volume


def weakest(ratios: Array) -> float:
    """Return the largest ratio that links all sequences."""
    return max(ratio for ratio in ratios[np.triu_indices(4, 1)] if len(alignment.groups(ratios, ratio)) == 1)


def reference_codes(volume: Volume, reference: Segmentation) -> set[str]:
    """Return the codes of a reference."""
    try:
        return {note.code for note in content.check_reference_content(volume, reference, "x")}
    except GliomasegError as error:
        return {error.code}


def page(count: int, hits: dict, false: list, seconds: list, ranges: dict) -> str:
    """Return the page."""
    lines = [
        "# Content checks, measured",
        "",
        "These faults are found in the voxels, because headers don't reveal them;",
        "[bad inputs](bad-inputs.md) lists the codes. Measured on",
        f"{count} BraTS cases (2018, 2019, 2021) and on copies of them corrupted in memory, with",
        "",
        "    python benchmarks/content_checks.py BRATS_FOLDER",
        "",
        "For the order of the sequences and for images without a brain, the model is fitted without the case",
        "under test. The copies are made by arithmetic: the rates on real faults are unknown.",
        "",
        f"**False alarms: {sum(not line.endswith(COVER) for line in false)} of {count} real cases.** "
        f"Time: {1000 * np.median(seconds):.0f} ms a case (median). Each `W-COVER` was "
        "confirmed in pictures.",
        *[f"- {line}" for line in false],
        "",
        "| corruption of a copy | expected | found |",
        "|---|---|---|",
    ]
    for (name, wanted), found in merged(hits).items():
        lines.append(f"| {name} | {wanted} | {sum(found)} of {len(found)} ({np.mean(found):.1%}) |")
    lines += ["", "| measured on the real cases | minimum | median | maximum |", "|---|---|---|---|"]
    for name, values in ranges.items():
        lines.append(f"| {name} | {min(values):.3g} | {np.median(values):.3g} | {max(values):.3g} |")
    return "\n".join([*lines, ""])


def merged(hits: dict) -> dict:
    """Return the counts with the four sequences of a move together."""
    result: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for (name, wanted), found in hits.items():
        result[name.split(" (t")[0], wanted] += found
    return result


if __name__ == "__main__":
    main()
