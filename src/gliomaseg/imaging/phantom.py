"""A synthetic exam: an average brain with a drawn tumour, for the demo, the tests and pre-training.

The anatomy is the ICBM 152 atlas (``assets/ATLAS-LICENSE.txt``), deformed a little by the seed; the tumour
comes from ``phantom_tumour``. It is no real exam: no measurement on it predicts how a network does on
patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg.errors import SettingsError
from gliomaseg.imaging import nifti
from gliomaseg.imaging.phantom_tumour import (
    DEFAULT_TUMOUR,
    SCALE,
    SHIFT,
    Image,
    Mask,
    Site,
    TumourSpec,
    draw_tumour,
    interpolate,
    make_noise,
    push,
)
from gliomaseg.imaging.volume import Affine, Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, LabelScheme, Modality, Tissue
from gliomaseg.storage import files

Size = Literal["full", "small"]

#: Mean of each tissue in t1n, t1c, t2w, t2f, in hundreds of intensities around ``_LEVELS``. Chosen so that
#: the z-scores inside the full phantom's brain approximate the medians of BraTS 2018-2021: necrosis (-0.5,
#: -0.5, 1.8, 2.6), oedema (0.2, -0.2, 1.1, 2.2), enhancing (-0.1, 2.0, 1.1, 2.4) in 29 cases; CSF (-1.9,
#: -1.6, 3.2, -1.7), white matter (1.1, 0.6, -0.8, -0.4), grey matter about 0 in 51. FLAIR of necrosis is not
#: the median, but within its range (0.3 to 4.3): necrosis is liquid here, so that oedema is the brightest.
CONTRASTS: Mapping[str, tuple[float, float, float, float]] = {
    "csf": (-1.9, -1.4, 3.4, -1.75),
    "gm": (0.0, -0.1, 0.05, 0.3),
    "wm": (0.95, 0.45, -0.7, -0.35),
    Tissue.NECROSIS: (-0.4, -0.4, 2.2, 0.6),
    Tissue.OEDEMA: (0.05, -0.15, 1.3, 1.5),
    Tissue.ENHANCING: (-0.1, 1.3, 1.3, 1.1),
}

#: Intensity of a 0 of the table, high enough to keep CSF above 0: mean over standard deviation is 3 to 4
#: inside the brain (BraTS: 3.5, 2.9, 2.3, 2.7). ``_UNIT`` is the intensity of a 1.
_LEVELS = (260.0, 190.0, 233.0, 200.0)
_UNIT = 100.0
#: Noise: in the white matter of the same cases, a voxel differs by 0.1 z-scores from its neighbours.
_NOISE = 0.1 * _UNIT
#: Blur of each modality along x, y, z in mm: 2D sequences have thicker slices.
_BLURS = ((0.5, 0.5, 0.6), (0.5, 0.5, 0.6), (0.5, 0.5, 1.0), (0.6, 0.6, 1.2))

_STEPS: Mapping[Size, int] = {"full": 1, "small": 3}
_BOX = (240, 240, 155)
#: How many mm the deformed brain may extend beyond the atlas's: 4 standard deviations of the deformation.
_MARGIN = 12.0


@dataclass(frozen=True)
class Phantom:
    """A synthetic exam: ``images`` (t1n, t1c, t2w, t2f; x, y, z) int16 and its ``reference``."""

    images: Volume
    reference: Segmentation


def make_phantom(
    size: Size = "full", *, seed: int = 0, tumour: TumourSpec | None = DEFAULT_TUMOUR
) -> Phantom:
    """Return a synthetic exam; the same arguments give the same voxels.

    "full" is the BraTS grid, 240 x 240 x 155 voxels of 1 mm stored x to the Left, y to the Posterior,
    z to the Superior; "small" covers the same box with 80 x 80 x 52 voxels of 3 mm and shows the same
    anatomy. ``seed`` deforms the brain and draws the noise; without ``tumour`` the brain is healthy. The
    background is 0, the brain at least 1. Raises SettingsError (E-SETTING) if the tumour misses the brain.
    """
    grid = _make_grid(_STEPS[size])
    site = _find_site(grid, _STEPS[size])
    shape_random, image_random = np.random.default_rng(seed).spawn(2)
    tissues, brain = _draw_brain(site, shape_random, tumour)
    lesion = draw_tumour(site, tissues, brain, tumour) if tumour else np.zeros_like(tissues)
    fractions = np.concatenate([tissues * (1 - lesion.sum(axis=0)), lesion])
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[site.box] = _label(fractions, brain)
    if tumour is not None and not labels.any():
        raise SettingsError(
            "E-SETTING",
            f"a tumour centred at {tumour.centre_mm} mm is outside the brain or inside a ventricle",
            expected="a centre in brain tissue, as x, y, z in MNI mm (x to the Right)",
            remedy=f"move it, for example to {DEFAULT_TUMOUR.centre_mm}",
        )
    images = np.zeros((len(Modality), *grid.shape), dtype=np.int16)
    images[:, *site.box] = _draw_images(site, fractions, brain, image_random)
    return Phantom(Volume(images, grid, tuple(Modality)), Segmentation(labels, grid, BRATS2021))


def write_phantom(phantom: Phantom, folder: Path, *, case_id: str = "phantom-synthetic") -> Path:
    """Write the exam as ``folder/case_id`` in the BraTS 2021 layout and return that folder.

    Its README.txt states that the exam is synthetic, with its source and licence. Raises OutputError.
    """
    case = files.make_folder(folder / case_id)
    for name, image in zip(("t1", "t1ce", "t2", "flair"), phantom.images.array, strict=True):
        nifti.write_image(case / f"{case_id}_{name}.nii.gz", image, phantom.images.grid)
    nifti.write_segmentation(case / f"{case_id}_seg.nii.gz", phantom.reference)
    write_notice(case, phantom.reference.scheme)
    return case


def write_notice(case: Path, scheme: LabelScheme) -> None:
    """Write README.txt into the folder ``case``: that it is synthetic, its labels, the atlas's licence."""
    licence = resources.files("gliomaseg") / "assets" / "ATLAS-LICENSE.txt"
    text = _README.format(labels=scheme.describe())
    files.write_text(case / "README.txt", text + licence.read_text(encoding="utf-8"))


_README = """\
THIS EXAM IS SYNTHETIC. It shows no patient and is of no use for a diagnosis or for judging a network.

gliomaseg made it (gliomaseg.imaging.phantom): an average brain, an artificial tumour, and four sequences (T1,
T1 with contrast, T2, FLAIR) computed from a table of mean intensities. seg holds the tumour that was drawn:
{labels}.
The brain's anatomy comes from this atlas:

"""


def _make_grid(step: int) -> Grid:
    x, y, z = (-(-n // step) for n in _BOX)
    affine: Affine = np.diag([-step, -step, step, 1.0])
    affine[:3, 3] = np.array([0.0, 239.0, 0.0]) + np.array([-1, -1, 1]) * (step - 1) / 2
    return Grid((x, y, z), affine)


def _find_site(grid: Grid, step: int) -> Site:
    """Return the voxels of the grid within ``_MARGIN`` of the atlas's brain."""
    _, lower, upper = _load_atlas()
    slices, axes = [], []
    for axis in range(3):
        mm = grid.affine[axis, 3] + grid.affine[axis, axis] * np.arange(grid.shape[axis])
        low, high = (SCALE * edge[axis] + SHIFT[axis] for edge in (lower, upper))
        near = np.flatnonzero((mm > low - _MARGIN) & (mm < high + _MARGIN))
        slices.append(slice(int(near[0]), int(near[-1]) + 1))
        axes.append(mm[slices[-1]].astype(np.float32))
    return Site(tuple(slices), tuple(axes), step)


@cache
def _load_atlas() -> tuple[Image, Affine, Affine]:
    """Return grey matter, white matter and brain (3, x, y, z; 0 to 1) at 1 mm, and two corners in MNI mm."""
    with (resources.files("gliomaseg") / "assets" / "atlas.npz").open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
        half, affine, levels = stored["maps"], stored["affine"], float(stored["levels"])
    maps = np.concatenate([half[:, :0:-1], half], axis=1).astype(np.float32)
    maps[:2] /= levels
    upper = affine[:3, 3] + np.array(half.shape[1:]) - 1
    return maps, np.array([-upper[0], *affine[1:3, 3]]), upper


def _draw_brain(site: Site, random: np.random.Generator, tumour: TumourSpec | None) -> tuple[Image, Mask]:
    """Return the fractions of CSF, grey and white matter (3, x, y, z), and the mask of the brain."""
    bent = [
        mm + 2.5 * make_noise(site.axes, 45.0, random) + 1.0 * make_noise(site.axes, 14.0, random)
        for mm in np.ix_(*site.axes)
    ]
    brain = _sample(2, bent, site.step) > 0.5
    if tumour is not None:
        bent = [mm - moved for mm, moved in zip(bent, push(site.axes, tumour), strict=True)]
    gm, wm = (_sample(index, [mm[brain] for mm in bent], site.step) for index in (0, 1))
    csf = np.clip(1 - gm - wm, 0, 1)
    # The atlas averages 152 young brains: a power sharpens it to one, the factor widens its sulci.
    sharp = np.stack([4.0 * csf**2.5, gm**2.5, wm**2.5])
    tissues = np.zeros((3, *brain.shape), dtype=np.float32)
    tissues[:, brain] = sharp / sharp.sum(axis=0)
    return tissues, brain


def _sample(index: int, mm: list[Image], step: int) -> Image:
    """Return one atlas map, averaged over ``step`` voxels, at positions in mm of the box."""
    maps, lower, _ = _load_atlas()
    voxels = [(m - s) / SCALE - float(low) + 1 for m, s, low in zip(mm, SHIFT, lower, strict=True)]
    return interpolate(np.pad(ndimage.uniform_filter(maps[index], step), 1), voxels)  # 0 beyond the atlas


def _label(fractions: Image, brain: Mask) -> npt.NDArray[np.uint8]:
    """Return the label map under BRATS2021: the commonest tumour tissue where tumour is the majority."""
    values = [BRATS2021.values[Tissue(name)] for name in list(CONTRASTS)[3:]]
    commonest = np.array(values, dtype=np.uint8)[fractions[3:].argmax(axis=0)]
    return np.where((fractions[3:].sum(axis=0) > 0.5) & brain, commonest, 0).astype(np.uint8)


def _draw_images(
    site: Site, fractions: Image, brain: Mask, random: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return the four sequences (channel, x, y, z): mixed, textured, blurred, shaded and noisy."""
    table = np.array(list(CONTRASTS.values()), dtype=np.float32)
    tumour = fractions[3:].sum(axis=0)
    texture = 0.12 * make_noise(site.axes, 2.5, random) + 0.15 * tumour * make_noise(site.axes, 4.0, random)
    thin = np.clip(fractions[0] - ndimage.gaussian_filter(fractions[0], 3 / site.step), 0, 1)
    # Vessels in the sulci and at the surface enhance too: not everything bright is tumour.
    vessels = 9 * thin * np.clip(make_noise(site.axes, 5.0, random) - 0.8, 0, 1)
    images = np.zeros((len(Modality), *brain.shape), dtype=np.int16)
    for channel, (modality, sigmas) in enumerate(zip(Modality, _BLURS, strict=True)):
        z = np.tensordot(table[:, channel], fractions, axes=1) + texture
        if modality is Modality.T1C:
            z += vessels
        signal = ndimage.gaussian_filter(_LEVELS[channel] + _UNIT * z, [s / site.step for s in sigmas])
        signal *= 1 + 0.05 * make_noise(site.axes, 70.0, random)
        noise = _NOISE * random.standard_normal((2, *brain.shape), dtype=np.float32)
        rician = np.hypot(signal + noise[0], noise[1])
        images[channel] = np.where(brain, np.clip(np.round(rician), 1, None), 0)
    return images
