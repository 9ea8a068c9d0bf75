"""What a head, movement and thick slices cost: real cases in drawn heads, segmented as they are.

    python benchmarks/model/folds.py take benchmarks/model/folds runs
    python benchmarks/raw_cases.py ../shared/data/brats runs/seventh-* --every 2 --write docs/raw-cases.md

Each case gets a drawn head around its brain, other ones than the brain network was trained on. T1c stays
where it is; T1, T2 and FLAIR are moved by up to 6 degrees about each axis and 12 mm along each, and sampled
once: at 1 mm, and as means of 5 mm. That raw exam is registered, stripped, resampled and segmented like a
user's, by the network of its fold, which has not seen the case (by all where none has). It is scored on
T1c's grid, beside the prepared case itself, and at 5 mm beside the same slices without head and movement.
What is known of each case is kept in runs/raw-cases, so that it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from gliomaseg import find_cases
from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.case import Case
from gliomaseg.cases.coverage import check_coverage
from gliomaseg.cases.read import read_case
from gliomaseg.cases.standardise import Standardised, standardise
from gliomaseg.evaluation.metrics import dice
from gliomaseg.exams.standardise import standardise_exam
from gliomaseg.imaging.nifti import Voxels, read_labels
from gliomaseg.imaging.phantom_head import add_head
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import Grid
from gliomaseg.labels import BRATS2021, Modality, Region
from gliomaseg.segmenter import Segmenter
from thick_slices import exported, networks_for, segmented, thicker

#: Points of Dice (WT, TC, ET) that a raw exam may lose: at 1 mm against the prepared case, at 5 mm against
#: the same slices without a head.
MOST = {"1": (2, 2, 4), "5": (1, 1, 1)}
KEPT = Path("runs/raw-cases")
ALL = tuple(Modality)


def main() -> None:
    """Segment every case that is not known yet, both ways, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="Only every n-th case.")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    record = {}
    with tempfile.TemporaryDirectory() as folder:
        segmenters = [exported(run, Path(folder) / run.name) for run in options.runs]
        for case in find_cases(options.data)[:: options.every]:
            path = KEPT / f"{case.id}.json"
            if not path.exists():
                found = measured(case, networks_for(case.id, segmenters))
                path.write_text(json.dumps(found) + "\n", encoding="utf-8")
                sys.stdout.write(f"{case.id} {found}\n")
                sys.stdout.flush()
            record[case.id] = json.loads(path.read_text(encoding="utf-8"))
    if options.write:
        options.write.write_text("\n".join(page(record)) + "\n", encoding="utf-8")


def measured(case: Case, segmenters: Sequence[Segmenter]) -> dict[str, object]:
    """Return the Dice of each region of a case, prepared and raw, at 1 mm and at 5 mm."""
    volume, reference = read_case(case, ALL), read_labels(Path(str(case.reference)), case.scheme)
    seed = zlib.crc32(case.id.encode()) | 1 << 20  # other heads than those of training
    head = add_head(volume.array, np.any(volume.array != 0, axis=0), volume.grid, seed=seed)
    found: dict[str, object] = {}
    for thickness, grid in (("1", head.grid), ("5", thicker(head.grid, 5))):
        wanted = {region: regrid(reference.mask(region), volume.grid, grid) >= 0.5 for region in Region}
        alone = [regrid(image, volume.grid, grid) for image in volume.array.astype(np.float32)]
        prepared = _case(case.id, {m: Voxels(a, grid, "") for m, a in zip(ALL, alone, strict=True)})
        raw = _case(case.id, _acquired(head.images, head.grid, grid, seed))
        try:
            exam = standardise_exam(raw, ALL)
        except Exception as error:  # noqa: BLE001 (counted as a failure)
            found[thickness] = {"error": str(error).splitlines()[0]}
            continue
        pair = {"prepared": standardise(prepared, ALL), "raw": exam}
        scores = {name: _score(each, case, segmenters, wanted) for name, each in pair.items()}
        notes = [note.code for note in exam.volume.notes]
        found[thickness] = {
            **scores,
            "lost_ml": _lost(exam, reference.mask(Region.WT), volume.grid),
            "notes": notes,
        }
    return found


def _acquired(images: npt.NDArray[np.float32], grid: Grid, target: Grid, seed: int) -> dict[Modality, Voxels]:
    """Return the head's images (channel, x, y, z) on ``target``, each but T1c moved."""
    random = np.random.default_rng(seed)
    centre = grid.affine @ [*(np.array(grid.shape) / 2), 1.0]
    found = {}
    for modality, image in zip(ALL, images, strict=True):
        move = np.eye(4) if modality is Modality.T1C else _move(random, centre[:3])
        seen = Grid(target.shape, np.linalg.inv(move) @ target.affine)
        found[modality] = Voxels(regrid(image, grid, seen), target, "")
    return found


def _move(random: np.random.Generator, centre: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a turn about ``centre`` and a shift (4, 4)."""
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", random.uniform(-6, 6, 3), degrees=True).as_matrix()
    move[:3, 3] = centre - move[:3, :3] @ centre + random.uniform(-12, 12, 3)
    return move


def _case(case_id: str, voxels: Mapping[Modality, Voxels]) -> ArrayCase:
    return ArrayCase(case_id, {m: Path(m) for m in voxels}, voxels=voxels)


def _score(
    standardised: Standardised,
    case: Case,
    segmenters: Sequence[Segmenter],
    wanted: Mapping[Region, npt.NDArray[np.bool_]],
) -> dict[str, float]:
    volume = check_coverage(standardised.volume, case.id)
    labels = segmented(replace(standardised, volume=volume), case, segmenters).labels
    return {r.value: round(dice(BRATS2021.mask(labels, r), mask), 5) for r, mask in wanted.items()}


def _lost(exam: Standardised, tumour: npt.NDArray[np.bool_], grid: Grid) -> float:
    """Return the ml of the whole tumour that the brain mask cuts away."""
    if exam.brain is None:
        return 0.0
    there = regrid(tumour, grid, exam.volume.grid) >= 0.5
    kept = float(np.count_nonzero(there & exam.brain)) * exam.volume.grid.voxel_ml
    return round(float(np.count_nonzero(tumour)) * grid.voxel_ml - kept, 3)


def page(record: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return docs/raw-cases.md."""
    rows, failures, none = [], [], []
    for thickness, limits in MOST.items():
        known = {c: r[thickness] for c, r in record.items() if thickness in r}
        failures += [f"{c} at {thickness} mm: {r['error']}" for c, r in known.items() if "error" in r]
        sound = [r for r in known.values() if "error" not in r]
        none += [
            f"{c} at {thickness} mm"
            for c, r in known.items()
            if "error" not in r and {r["prepared"]["et"], r["raw"]["et"]} == {0.0, 1.0}
        ]
        lost = max((r["lost_ml"] for r in sound), default=0.0)
        cells = [_cell(sound, region, most) for region, most in zip(Region, limits, strict=True)]
        rows.append(f"| {thickness} mm | {len(sound)} | {' | '.join(cells)} | {lost:.1f} |")
    return [
        "# Raw exams against prepared cases",
        "",
        "Real cases put into drawn heads; T1, T2 and FLAIR moved by up to 6 degrees about each axis and "
        "12 mm along each; registered, stripped and segmented like a user's exam, by networks that have "
        "not seen the case. Dice on the grid of T1c: prepared, raw, and the difference in points with "
        "its standard error and what it may be.",
        "",
        "| slices | cases | WT | TC | ET | most of a tumour cut away (ml) |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"Refused or failed: {'; '.join(failures) or 'none'}. Where no expert drew "
        f"enhancing tumour and one way found a speck (Dice of ET 0 or 1): {', '.join(none) or 'none'}.",
        "",
        "The heads are drawn, and the brain network was trained on heads drawn alike (with other seeds): "
        "real heads are in [brain-extraction.md](brain-extraction.md). Moving a case interpolates it "
        "once more than a scanner would.",
        "",
        "    python benchmarks/model/folds.py take benchmarks/model/folds runs",
        "    python benchmarks/raw_cases.py ../shared/data/brats runs/seventh-* --every 2 "
        "--write docs/raw-cases.md",
    ]


def _cell(cases: Sequence[Mapping[str, Any]], region: Region, most: int) -> str:
    pairs = np.array([[c["prepared"][region.value], c["raw"][region.value]] for c in cases])
    points = 100 * (pairs[:, 1] - pairs[:, 0])
    error = points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else float("nan")
    one, other = pairs.mean(axis=0)
    return f"{one:.3f}, {other:.3f}: {points.mean():+.1f} ({error:.1f}), at most -{most}"


if __name__ == "__main__":
    main()
