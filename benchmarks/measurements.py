"""Check the measurements on bodies of known size and on real cases, and write docs/measurements.md.

    python benchmarks/measurements.py ../shared/data/brats --write docs/measurements.md

Bodies are turned at random and shifted by part of a voxel; RANO lines are compared with the axes of the
ellipse in which the axial plane cuts an ellipsoid. The real cases give the seconds and
the spread of the symmetry plane.
"""

from __future__ import annotations

import argparse
import os
import runpy
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from gliomaseg import find_cases
from gliomaseg.cases.read import read_case
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.planes import turned_to_ras
from gliomaseg.labels import Modality
from gliomaseg.measurement.diameters import find_diameters
from gliomaseg.measurement.measure import measure
from gliomaseg.measurement.shape import longest_mm, sphericity, surface_mm2
from gliomaseg.measurement.symmetry import find_symmetry_plane

ROOT = Path(__file__).parents[1]
SHAPES = runpy.run_path(str(ROOT / "tests" / "results" / "bodies.py"))
GRIDS = {"1 x 1 x 1": (1, 1, 1), "1 x 1 x 3": (1, 1, 3), "0.5 x 0.5 x 5": (0.5, 0.5, 5)}
TURNS = 12
HEAD = """| body, mm | voxels, mm | volume | surface | sphericity | longest 3D | RANO lines |
|---|---|---|---|---|---|---|"""


def ellipse(half: tuple[float, float, float], turn: np.ndarray) -> list[float]:
    """Return the axes in mm, longest first, of an ellipsoid's section through its centre, across z."""
    form = turn @ np.diag([1 / h**2 for h in half]) @ turn.T
    return sorted((2 / np.sqrt(np.linalg.eigvalsh(form[:2, :2]))).tolist(), reverse=True)


def errors(body: object, spacing: tuple[float, ...]) -> dict[str, list[float]]:
    """Return the errors of every number over many turns of one body."""
    axes, random = np.diag(spacing).astype(float), np.random.default_rng(1)
    found: dict[str, list[float]] = {
        name: [] for name in ("volume", "surface", "sphericity", "longest", "rano")
    }
    for turn in SHAPES["turns"](TURNS):
        mask = body.draw(axes, turn, random.uniform(-0.5, 0.5, 3) * spacing)
        volume, surface = np.count_nonzero(mask) * np.prod(spacing), surface_mm2(mask, axes)
        found["volume"].append(100 * (volume / body.volume_mm3 - 1))
        found["surface"].append(100 * (surface / body.surface_mm2 - 1))
        found["sphericity"].append(100 * (sphericity(volume, surface) / body.sphericity - 1))
        found["longest"].append(longest_mm(mask, axes) - body.longest_mm)
        if body.kind == "ellipsoid":
            lines = find_diameters(mask, axes)
            true = ellipse(body.half, turn)
            found["rano"].append(lines.longest.length_mm - true[0])
            found["rano"].append(lines.perpendicular.length_mm - true[1])
    return found


def spread(values: list[float], unit: str) -> str:
    """Return the median of errors and their range."""
    if not values:
        return ""
    return f"{statistics.median(values):+.1f} ({min(values):+.1f} to {max(values):+.1f}) {unit}"


def body_rows() -> list[str]:
    """Return the rows of the table of bodies."""
    rows = []
    for name, body in SHAPES["BODIES"].items():
        for grid, spacing in GRIDS.items():
            found = errors(body, spacing)
            units = {"volume": "%", "surface": "%", "sphericity": "%", "longest": "mm", "rano": "mm"}
            rows.append(
                f"| {name} | {grid} | " + " | ".join(spread(found[k], u) for k, u in units.items()) + " |"
            )
            print(rows[-1])
    return rows


def real_lines(data: Path) -> list[str]:
    """Return what real cases tell: seconds, symmetry planes, ranges."""
    cases = [case for case in find_cases(data) if case.reference]
    seconds, middles = [], []
    for case in cases:
        images = read_case(case, (Modality.T1C,))
        reference = read_labels(case.reference, case.scheme)
        image, affine = turned_to_ras(images.array[0], images.grid)
        plane = find_symmetry_plane(image, affine)
        centre = affine[:3, :3] @ (np.array(image.shape) / 2) + affine[:3, 3]
        middles.append(plane.offset + plane.slopes[0] * centre[1] + plane.slopes[1] * centre[2])
        started = time.perf_counter()
        measure(reference, images=images)
        seconds.append(time.perf_counter() - started)
    return [
        f"- All measurements of a case take {statistics.median(seconds):.2f} s (median of {len(cases)} real "
        f"cases, {max(seconds):.2f} s at most) on {os.cpu_count()} cores, {load()}.",
        f"- {len(cases)} BraTS cases, all registered to one template: the brain mask's symmetry plane at "
        f"the middle of the image is the same within {statistics.stdev(middles):.1f} mm (standard deviation; "
        f"{min(middles):.1f} to {max(middles):.1f} mm).",
    ]


def load() -> str:
    """Return how busy the machine was, where it tells."""
    return f"load average {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else "load unknown"


def filled(text: str, name: str, content: str) -> str:
    """Return a page with new content between the two comments of a name."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    return text.partition(start)[0] + start + content + "\n" + end + text.partition(end)[2]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    rows, real = "\n".join(body_rows()), "\n".join(real_lines(options.data))
    sys.stdout.write(f"{rows}\n{real}\n")
    if options.write:
        text = filled(options.write.read_text(encoding="utf-8"), "bodies", f"{HEAD}\n{rows}")
        options.write.write_text(filled(text, "real cases", real), encoding="utf-8")


if __name__ == "__main__":
    main()
