"""Measure the content checks on real cases and on copies spoilt on purpose; write docs/content-checks.md.

    python benchmarks/content_checks.py ../shared/data/brats          # measure, write the page
    python benchmarks/content_checks.py ../shared/data/brats --fit    # fit assets/appearance.json first

For the order of the sequences the model is fitted without the case that is judged (leave one out).
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

from gliomaseg.cases import appearance, content
from gliomaseg.cases.find import find_cases
from gliomaseg.cases.read import read_case
from gliomaseg.errors import GliomasegError
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.labels import Modality
from spoilt import some, spoilt, spoilt_few, spoilt_one

ROOT = Path(__file__).parents[1]
ASSET = ROOT / "src" / "gliomaseg" / "assets" / "appearance.json"
PAGE = ROOT / "docs" / "content-checks.md"
#: Said of real cases with a sequence that does end within the brain.
COVER = ": W-COVER"

Array = np.ndarray


def codes_of(volume: Volume) -> set[str]:
    """Return what is said about a case."""
    try:
        return {note.code for note in content.check_content(volume, "x").notes}
    except GliomasegError as error:
        return {error.code}


def main() -> None:
    """Measure and write the page."""
    cases = find_cases(sys.argv[1])
    print(f"{len(cases)} cases", file=sys.stderr)
    rows = [appearance.features(appearance.pair_features(look_at(case).channels)) for case in cases]
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


def look_at(case: object) -> object:
    """Return the coarse view of a case."""
    return content._sample(read_case(case, tuple(Modality)), "x")  # noqa: SLF001


def measure(
    case: object, before: Volume | None, hits: dict, false: list, seconds: list, ranges: dict
) -> Volume:
    """Judge one case and its spoilt copies, one with a part of the case ``before``; return its images."""
    volume = read_case(case, tuple(Modality))
    reference = read_labels(case.reference, case.scheme)
    started = time.perf_counter()
    said = codes_of(volume)
    seconds.append(time.perf_counter() - started)
    said |= reference_codes(volume, reference)
    if said:
        false.append(f"{case.id}: {', '.join(sorted(said))}")
    look = content._sample(volume, "x")  # noqa: SLF001
    pairs = appearance.pair_features(look.channels)
    found = appearance.likeness(pairs)
    ranges["distance from the other cases, as given"].append(found.as_given)
    ranges["the same minus that in the best order"].append(found.as_given - found.best)
    alike = content.similarity(volume.array, volume.grid.spacing)
    ranges["similarity of T1 and T1c"].append(alike[0, 1])
    ranges["similarity of other sequences, most"].append(
        max(alike[0, 2:].max(), alike[1, 2:].max(), alike[2, 3])
    )
    ratios = content.alignment(look.channels, look.grid)
    ranges["alignment ratio, weakest link"].append(weakest(ratios))
    ranges["alignment ratio of any two"] += ratios[np.triu_indices(4, 1)].tolist()
    ranges["ml that are not 0"].append(np.count_nonzero(look.brain) * look.grid.voxel_ml)
    for few in some(volume):
        hits["two or three of the sequences as they are", "nothing"].append(not codes_of(few) - {"W-COVER"})
    for name, wanted, copy in itertools.chain(spoilt(volume, before), spoilt_one(volume), spoilt_few(volume)):
        hits[name, wanted].append(bool(codes_of(copy) & set(wanted.split(" or "))))
    for axis, name in enumerate(("left-right", "front-back", "top-bottom")):
        mirrored = replace(reference, labels=np.flip(reference.labels, axis))
        hits[f"reference mirrored {name}", "E-FLIP"].append("E-FLIP" in reference_codes(volume, mirrored))
    moved = replace(reference, labels=np.roll(reference.labels, 100, 0))
    hits["reference moved by 100 voxels", "W-OUTSIDE or E-FLIP"].append(bool(reference_codes(volume, moved)))
    return volume


def weakest(ratios: Array) -> float:
    """Return the largest ratio by which all sequences hang together."""
    return max(ratio for ratio in ratios[np.triu_indices(4, 1)] if len(content.groups(ratios, ratio)) == 1)


def reference_codes(volume: Volume, reference: Segmentation) -> set[str]:
    """Return what is said about a reference."""
    try:
        return {note.code for note in content.check_reference_content(volume, reference, "x")}
    except GliomasegError as error:
        return {error.code}


def page(count: int, hits: dict, false: list, seconds: list, ranges: dict) -> str:
    """Return the page."""
    lines = [
        "# Content checks, measured",
        "",
        "What headers can't tell is looked for in the voxels; [bad inputs](bad-inputs.md) lists the codes.",
        f"Measured on {count} BraTS cases (2018, 2019, 2021) and on copies of them spoilt in memory, with",
        "",
        "    python benchmarks/content_checks.py BRATS_FOLDER",
        "",
        "For the order of the sequences and for what is no brain, the model is fitted without the judged",
        "case. The copies are made by arithmetic: how often it would be found in the wild is unknown.",
        "",
        f"**False alarms: {sum(not line.endswith(COVER) for line in false)} of {count} real cases.** "
        f"Time: {1000 * np.median(seconds):.0f} ms a case (median). `W-COVER` was looked at in "
        "pictures and is true.",
        *[f"- {line}" for line in false],
        "",
        "| what was done to a copy | should say | found |",
        "|---|---|---|",
    ]
    for (name, wanted), found in merged(hits).items():
        lines.append(f"| {name} | {wanted} | {sum(found)} of {len(found)} ({np.mean(found):.1%}) |")
    lines += ["", "| measured on the real cases | least | median | most |", "|---|---|---|---|"]
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
