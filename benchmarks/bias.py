"""What correcting the bias field is worth: the present step, N4, both or none, on fields as coils make them.

    python benchmarks/model/folds.py take benchmarks/model/folds runs
    python benchmarks/bias.py ../shared/data/brats runs/seventh-* --raw ../shared/data/raw/TCGA-FG-6692

Each sequence of a case is multiplied by a field of its own: the sum of two smooth spots beside the head,
from darkest to brightest brain a factor of e^0.5. A case is segmented by the network of its fold, which
has not seen it. N4 is SimpleITK's, on every fourth voxel inside the brain. The raw exam is compared with
an automatic fusion of other programs, on the shipped model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 (its usual name)

from gliomaseg import Segmenter, find_case, find_cases
from gliomaseg.cases.read import read_case
from gliomaseg.evaluation.metrics import dice
from gliomaseg.exams.standardise import standardise_exam
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.inference.predict import predict
from gliomaseg.labels import BRATS2021, Modality, Region
from raw_exam import in_the_space_of_the_reference
from thick_slices import exported, networks_for

#: Name of each way: the share of the present step, and whether N4 comes first.
WAYS = {"none": (0.0, False), "present": (0.5, False), "N4": (0.0, True), "N4, then present": (0.5, True)}
STRENGTH = 0.5
ALL = tuple(Modality)
Image = npt.NDArray[np.float32]


def main() -> None:
    """Print the mean Dice of each way, on cases as they are, with fields, and on the raw exam."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=6, help="Only every n-th case.")
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        segmenters = [exported(run, Path(folder) / run.name) for run in options.runs]
        for case in find_cases(options.data)[:: options.every]:
            volume, reference = read_case(case, ALL), read_labels(Path(str(case.reference)), case.scheme)
            wanted = [reference.mask(region) for region in Region]
            for field, images in (("as it is", volume.array), ("with a field", _biased(volume, case.id))):
                for way in WAYS:
                    labels = _segmented(volume, np.asarray(images), way, networks_for(case.id, segmenters))
                    scores = [
                        dice(BRATS2021.mask(labels.labels, r), w) for r, w in zip(Region, wanted, strict=True)
                    ]
                    found[field, way].append(scores)
                    sys.stdout.write(f"{case.id} {field} {way} {' '.join(f'{s:.3f}' for s in scores)}\n")
                    sys.stdout.flush()
    if options.raw:
        exam = standardise_exam(find_case(options.raw), ALL).volume
        for way in WAYS:
            labels = _segmented(exam, exam.array, way, [Segmenter.load()])
            found["raw exam", way].append(
                list(in_the_space_of_the_reference(options.raw, exam, labels).values())
            )
    sys.stdout.write("| images | correction | cases | WT | TC | ET |\n|---|---|---|---|---|---|\n")
    for (field, way), scores in found.items():
        means = " | ".join(f"{value:.3f}" for value in np.mean(scores, axis=0))
        sys.stdout.write(f"| {field} | {way} | {len(scores)} | {means} |\n")


def _segmented(volume: Volume, images: Image, way: str, segmenters: Sequence[Segmenter]) -> Segmentation:
    """Return the label map on the grid of ``volume``, after one way of correction."""
    share, n4 = WAYS[way]
    stack = images.astype(np.float32)
    if n4:
        started = time.perf_counter()
        stack = np.stack([_n4(image) for image in stack])
        sys.stdout.write(f"N4: {time.perf_counter() - started:.1f} s\n")
    given = Volume(stack, volume.grid, volume.channels)
    settings = segmenters[0].settings
    chosen = settings.prepare.model_copy(update={"bias_correction": share})
    prepared = prepare(given, chosen, settings.network.modalities)
    probabilities = np.mean([predict(prepared.image, s.engine, settings) for s in segmenters], axis=0)
    labels = label_regions(probabilities, settings, BRATS2021, volume.grid.voxel_ml)
    return Segmentation(prepared.restore(labels).astype(np.uint8), volume.grid, BRATS2021)


def _n4(image: Image) -> Image:
    """Return an image (x, y, z) without the field that N4 finds inside the brain."""
    whole = sitk.GetImageFromArray(image.T)
    mask = sitk.Cast(whole != 0, sitk.sitkUInt8)
    filter_ = sitk.N4BiasFieldCorrectionImageFilter()
    filter_.SetMaximumNumberOfIterations([50, 50, 30])
    filter_.Execute(sitk.Shrink(whole, [4] * 3), sitk.Shrink(mask, [4] * 3))
    field = sitk.GetArrayFromImage(filter_.GetLogBiasFieldAsImage(whole)).T
    return np.asarray(image * np.exp(-field), np.float32)


def _biased(volume: Volume, case_id: str) -> Image:
    """Return the images (channel, x, y, z), each with a field of its own."""
    random = np.random.default_rng(zlib.crc32(case_id.encode()))
    brain = np.any(volume.array != 0, axis=0)
    places = np.moveaxis(np.indices(brain.shape), 0, -1) - np.argwhere(brain).mean(axis=0)
    images = []
    for image in volume.array:
        field = np.zeros(brain.shape, np.float32)
        for _ in range(2):
            spot = random.normal(size=3)
            spot *= random.uniform(60, 110) / np.linalg.norm(spot)
            field += np.exp(-((places - spot) ** 2).sum(axis=-1) / (2 * random.uniform(60, 90) ** 2))
        low, high = np.percentile(field[brain], (1, 99))
        images.append(image * np.exp(STRENGTH * (field - low) / (high - low)))
    return np.asarray(images, np.float32)


if __name__ == "__main__":
    main()
