"""The brain in one image of a whole head, of any sequence and on any grid: a mask by a small network.

The image is brought to 2 mm, cropped to the head, and goes through the network at once; the probabilities go
back to the image's own grid by linear interpolation. The network was trained on what ``head_volume`` returns,
so that air, background and field of view look alike there and here. Its bundle is in ``assets/brain``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.components import label_components
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.resample import regrid
from gliomaseg.imaging.volume import (
    Box,
    Grid,
    Volume,
    filled_box,
    standard_grid,
    turned_grid,
    turned_like,
    widened,
)
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine
from gliomaseg.inference.predict import predict

Image = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Voxel size of the network's input; images within 0.8 to 1.25 times that along every axis stay as they are.
SIZE_MM = 2.0
#: The head is where an image is brighter than this share of its mean; its box gets a margin in voxels.
_HEAD, _MARGIN = 0.5, 5
#: Extent below the top of the head that is kept: a long neck and shoulders are left out.
_TALLEST_MM = 250.0
#: Least brightness inside the field of view, as a share of the largest: 0 is outside.
_LEAST = 1e-3
_RAS = Grid((1, 1, 1), np.eye(4))
_NOWHERE = (slice(0, 1), slice(0, 1), slice(0, 1))
#: A voxel is brain above this probability, and unsure between these.
_THRESHOLD, _UNSURE = 0.5, (0.05, 0.95)


@dataclass(frozen=True)
class BrainMask:
    """The brain in one image: ``mask`` (x, y, z) on the image's own ``grid``.

    ``largest_share`` is the share of the network's brain voxels that are in its largest component, the only
    one kept. ``unsure`` is the number of voxels whose probability is neither near 0 nor near 1, as a share of
    those of the brain: the border of a head's brain, much more of what is no head.
    """

    mask: Mask
    grid: Grid
    largest_share: float = 1.0
    unsure: float = 0.0

    @property
    def volume_ml(self) -> float:
        """Return the volume of the mask in ml."""
        return float(np.count_nonzero(self.mask)) * self.grid.voxel_ml


def extract_brain(image: Image, grid: Grid, *, threads: int = 0, model: Path | None = None) -> BrainMask:
    """Return the brain in ``image`` (x, y, z), a whole head of any sequence, on its own ``grid``.

    A mask of no voxels is returned where the network finds no brain. ``threads`` are the network's, 0: one
    for each core. ``model`` is the folder of another bundle. Raises ImageError (E-CONSTANT) for an image
    without contrast, ModelError (E-MODEL) for a damaged bundle.
    """
    probability, places = brain_probability(image, grid, threads=threads, model=model)
    return mask_of(regrid(probability, places, grid), grid)


def brain_probability(
    image: Image, grid: Grid, *, threads: int = 0, model: Path | None = None
) -> tuple[Floats, Grid]:
    """Return the probability (x, y, z) of brain in a head, and its grid: 2 mm, axes nearest to RAS.

    Beyond that grid there is no brain. Arguments and errors are those of ``extract_brain``.
    """
    engine, bundle = _engine(model or brain_model(), threads)
    volume = head_volume(image, grid)
    prepared = prepare(volume, bundle.settings.prepare)
    found = predict(prepared.image, engine, bundle.settings)[0]
    return np.asarray(prepared.restore(found), np.float32), volume.grid


def brain_model() -> Path:
    """Return the folder of the brain network that comes with gliomaseg."""
    return Path(str(resources.files("gliomaseg") / "assets" / "brain"))


@cache
def _engine(folder: Path, threads: int) -> tuple[OpenVinoEngine, Bundle]:
    """Return the network, in 8-bit numbers if the bundle has them: everywhere the same mask."""
    bundle = Bundle.load(folder)
    precision = "int8" if bundle.has_int8 else "auto"
    asked = {"threads": threads, "precision": precision}
    return OpenVinoEngine(bundle, bundle.settings.inference.model_copy(update=asked)), bundle


def mask_of(probability: Floats, grid: Grid) -> BrainMask:
    """Return the largest component of what is probably brain (x, y, z) on ``grid``, with holes filled."""
    from scipy import ndimage  # slow to import

    mask = probability > _THRESHOLD
    numbers, count = label_components(mask)
    if not count:
        return BrainMask(mask, grid)
    low, high = _UNSURE
    unsure = np.count_nonzero((probability > low) & (probability < high)) / np.count_nonzero(mask)
    sizes = np.bincount(numbers.ravel())[1:]
    largest = 1 + int(np.argmax(sizes))
    box = filled_box(numbers == largest) or _NOWHERE
    kept = np.zeros_like(mask)
    kept[box] = ndimage.binary_fill_holes(numbers[box] == largest)
    return BrainMask(kept, grid, float(sizes.max() / sizes.sum()), float(unsure))


def head_volume(array: Image, grid: Grid) -> Volume:
    """Return the head in ``array`` (x, y, z) as one channel of 2 mm voxels, axes nearest to RAS.

    Every voxel inside the field of view is above 0, the value that is outside in ``prepare``. Voxels that are
    not finite become the darkest.
    """
    turned = turned_grid(grid, _RAS)
    fine = standard_grid(turned, SIZE_MM)
    values = turned_like(array, grid, _RAS).astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = values[finite].min() if finite.any() else 0
    found = regrid(values - values.min(), turned, fine)
    box = head_box(found, fine.spacing[2])
    crop = found[box] + _LEAST * float(found.max())
    x, y, z = crop.shape
    affine = fine.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    return Volume(crop[None], Grid((x, y, z), affine), ("t1n",))


def head_box(image: Floats, slice_mm: float) -> Box:
    """Return the box (x, y, z) around the head in an image on RAS axes: its largest bright component.

    It has a margin, and ends 250 mm below the top.
    """
    numbers, count = label_components(image > _HEAD * image.mean())
    sizes = np.bincount(numbers.ravel())[1:]
    whole = (slice(0, image.shape[0]), slice(0, image.shape[1]), slice(0, image.shape[2]))
    box = filled_box(numbers == 1 + np.argmax(sizes)) if count else None
    x, y, z = widened(box or whole, image.shape, _MARGIN)
    return x, y, slice(max(z.start, z.stop - math.ceil(_TALLEST_MM / slice_mm)), z.stop)
