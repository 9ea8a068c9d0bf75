"""What networks make of cases that they never saw, as these are and spoilt in the ways of clinical exams.

    python benchmarks/model/robust.py ../shared/data/brats runs/long/fold* --write FILE.json
    python benchmarks/model/robust.py ../shared/data/brats runs/new --write new.json --against old.json

Each run's averaged weights, as they are in its last checkpoint, segment the cases that it holds out, in fp32
by PyTorch, with the shipped model's post-processing: cross-validation of a training that goes on. Spoilt
cases are kept in the cache. With --against, differences by case to another record, with their standard error.

- plain: as prepared
- thick: means of five axial slices, interpolated back to 1 mm linearly
- moved: T1, T2 and FLAIR moved by 2 mm against T1 contrast, each along another axis
- t1c+t2f: T1 and T2 left out
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cross_validation import SHIPPED, changed

from gliomaseg import find_cases
from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.volume import Volume
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.labels import BRATS2021, Modality, Region
from gliomaseg.settings.schema import Settings
from gliomaseg.training.artefacts import slab_matrix
from gliomaseg.training.run import load_run
from gliomaseg.training.torch_engine import TorchEngine
from gliomaseg.training.trained import load_trained
from gliomaseg.training.validation import predict_padded

Array = npt.NDArray[Any]
#: By how many voxels along x, y and z each sequence is moved.
MOVES = {Modality.T1N: (0, 0, 2), Modality.T2W: (0, -2, 0), Modality.T2F: (2, 0, 0)}


def main() -> None:
    """Score every run in every way; write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--ways", default=",".join(WAYS), help="some of plain,thick,moved,t1c+t2f")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = {case.id: case for case in find_cases(options.data)}
    record: dict[str, dict[str, dict[str, float]]] = {way: {} for way in options.ways.split(",")}
    for folder in options.runs:
        score(folder, cases, options.cache, record)
        options.write.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    other = json.loads(options.against.read_text(encoding="utf-8")) if options.against else {}
    print("\n".join(table(record, other)))


def score(folder: Path, cases: dict[str, Case], cache: Path, record: dict[str, Any]) -> None:
    """Add the Dice of each case that a run holds out, by way and region."""
    run = load_run(folder)
    network = load_trained([run]).networks[0].to(memory_format=torch.channels_last_3d)
    settings = changed(run.settings, SHIPPED)
    engine = TorchEngine([network], settings)
    for case in run.read_split().validation:
        for way, found in record.items():
            image, truth = spoilt(cases[case], way, settings, cache)
            labels = label_regions(predict_padded(image, engine, settings), settings, BRATS2021)
            found[case] = {r.value: round(dice(BRATS2021.mask(labels, r), BRATS2021.mask(truth, r)), 5)
                           for r in Region}  # fmt: skip
            print(folder.name, case, way, *found[case].values(), flush=True)


def spoilt(case: Case, way: str, settings: Settings, cache: Path) -> tuple[Array, Array]:
    """Return the prepared image (modality, x, y, z) and the experts' labels of its box, kept in ``cache``."""
    path = cache / "spoilt" / f"{case.id}-{way}-{settings.prepare.bias_correction}.npz"
    if not path.exists():
        volume = WAYS[way](read_case(case, settings.network.modalities))
        prepared = prepare(volume, settings.prepare)
        reference = read_labels(Path(str(case.reference)), BRATS2021).labels
        image = prepared.image[(slice(None), *prepared.valid)]
        if way == "t1c+t2f":
            image = image * np.array([m in {"t1c", "t2f"} for m in volume.channels])[:, None, None, None]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, image=image.astype(np.float16), label=prepared.forward(reference)[prepared.valid])
    with np.load(path) as archive:
        return archive["image"], archive["label"]


def as_it_is(volume: Volume) -> Volume:
    """Return the case itself."""
    return volume


def thick(volume: Volume) -> Volume:
    """Return the case as means of five axial slices, interpolated back linearly."""
    matrix = slab_matrix(volume.array.shape[3], 5, 0)
    return replace(volume, array=(volume.array.astype(np.float32) @ matrix.T).astype(np.float32))


def moved(volume: Volume) -> Volume:
    """Return the case with all sequences but T1 contrast moved; what enters is background."""
    array = volume.array.copy()
    for index, modality in enumerate(volume.channels):
        if modality in MOVES:
            array[index] = np.roll(array[index], MOVES[modality], (0, 1, 2))
    return replace(volume, array=array)


WAYS: dict[str, Callable[[Volume], Volume]] = {
    "plain": as_it_is,
    "thick": thick,
    "moved": moved,
    "t1c+t2f": as_it_is,
}


def table(record: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return a line for each way: means of regions, and against another record the mean differences."""
    lines = ["| way | cases | WT | TC | ET |", "|---|---|---|---|---|"]
    for way, found in record.items():
        cells = [f"{np.mean([one[r] for one in found.values()]):.4f}" for r in ("wt", "tc", "et")]
        both = sorted(found.keys() & other.get(way, {}).keys())
        if both:
            gains = [[found[case][r] - other[way][case][r] for case in both] for r in ("wt", "tc", "et")]
            cells = [f"{cell} ({difference(gain)})" for cell, gain in zip(cells, gains, strict=True)]
        lines.append("| " + " | ".join([way, str(len(found)), *cells]) + " |")
    return lines


def difference(gains: Sequence[float]) -> str:
    """Return a mean in points of Dice with its standard error."""
    error = np.std(gains, ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return f"{100 * np.mean(gains):+.1f} ± {100 * error:.1f}"


if __name__ == "__main__":
    main()
