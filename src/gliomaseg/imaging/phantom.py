"""A synthetic exam: an average brain with a drawn tumour, for the demo, the tests and pre-training.

The anatomy is the ICBM 152 atlas (``assets/ATLAS-LICENSE.txt``), bent a little by the seed; the tumour is
a noisy ball of necrosis in an enhancing rim, with oedema that runs along white matter and stops at CSF.
It looks like an exam and is none: nothing measured on it says how well a network does on patients.
Ignorant of torch and of how real images are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gliomaseg import files
from gliomaseg.errors import SettingsError
from gliomaseg.imaging import nifti
from gliomaseg.imaging.volume import Affine, Grid, Segmentation, Volume
from gliomaseg.labels import BRATS2021, Modality, Tissue

Image = npt.NDArray[np.float32]
Axes = tuple[Image, Image, Image]
Size = Literal["full", "small"]

#: Mean of each tissue in t1n, t1c, t2w, t2f, as z-scores inside the brain. Oedema and the enhancing rim:
#: medians over 29 BraTS 2018-2021 cases with all three tissues; CSF, grey and white matter: medians far from
#: the tumour in 51 cases. Necrosis: the same medians but for FLAIR, where BraTS has 2.6 (0.3 to 4.3):
#: here it is liquid, hence dark.
CONTRASTS: Mapping[str, tuple[float, float, float, float]] = {
    "csf": (-1.9, -1.4, 3.4, -1.75),
    "gm": (0.0, -0.1, 0.05, 0.3),
    "wm": (0.95, 0.45, -0.7, -0.35),
    Tissue.NECROSIS: (-0.4, -0.4, 2.0, 0.6),
    Tissue.OEDEMA: (0.05, -0.15, 1.2, 1.7),
    Tissue.ENHANCING: (-0.1, 1.5, 1.2, 1.2),
}

#: Mean over standard deviation inside the brain (medians of the same 51 cases), times 100: the intensity
#: that a z-score of 0 gets; one z-score is 100.
_LEVELS = (260.0, 190.0, 233.0, 200.0)
_UNIT = 100.0
#: Blur of each modality in mm (x, y, z): 2D sequences have thicker slices.
_BLURS = ((0.5, 0.5, 0.6), (0.5, 0.5, 0.6), (0.5, 0.5, 1.0), (0.6, 0.6, 1.2))
#: Noise in z-scores: in the white matter of the same cases, a voxel differs by 0.1 from its neighbours.
_NOISE = 0.1

_STEPS: Mapping[Size, int] = {"full": 1, "small": 3}
_BOX = (240, 240, 155)
#: Atlas mm (MNI, RAS+) times _SCALE plus _SHIFT are the mm of the BraTS box: the atlas's brain then fills
#: the median bounding box of the same 51 cases, x 50..187, y 43..213, z 0..140.
_SCALE = 0.93
_SHIFT = (-118.5, 127.0, 64.5)
#: Step in mm of the grid on which oedema spreads.
_SPREAD_STEP = 3


@dataclass(frozen=True)
class TumourSpec:
    """Where a tumour lies and how large it is; lengths in mm.

    ``centre_mm`` is (x, y, z) in MNI space, RAS+: x = +30 lies in the right hemisphere. ``core_mm`` is the
    mean radius of the enhancing rim's outside, ``rim_mm`` its mean thickness, ``oedema_mm`` how far
    oedema reaches in white matter, ``push_mm`` how far the tissue at the core's edge is displaced.
    ``roughness`` is the standard deviation of the radius relative to ``core_mm``.
    """

    centre_mm: tuple[float, float, float] = (30.0, -28.0, 24.0)
    core_mm: float = 18.0
    rim_mm: float = 5.5
    oedema_mm: float = 16.0
    push_mm: float = 5.0
    roughness: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class Phantom:
    """A synthetic exam: ``images`` (t1n, t1c, t2w, t2f; x, y, z) int16 and its ``reference``."""

    images: Volume
    reference: Segmentation


class _Part(NamedTuple):
    """The box of the grid in which the brain lies: its slices and the mm of its voxels along each axis."""

    box: tuple[slice, slice, slice]
    axes: Axes
    step: int


DEFAULT_TUMOUR = TumourSpec()


def make_phantom(
    size: Size = "full", *, seed: int = 0, tumour: TumourSpec | None = DEFAULT_TUMOUR
) -> Phantom:
    """Return a synthetic exam; the same arguments give the same voxels.

    "full" is the BraTS grid, 240 x 240 x 155 voxels of 1 mm stored x to the Left, y to the Posterior,
    z to the Superior; "small" covers the same box with 80 x 80 x 52 voxels of 3 mm and shows the same
    anatomy. ``seed`` bends the brain and draws the noise; ``tumour`` None leaves the brain healthy.
    Background is 0, the brain at least 1. Raises SettingsError (E-SETTING) if the tumour misses the brain.
    """
    grid = _make_grid(_STEPS[size])
    part = _find_part(grid, _STEPS[size])
    shape_random, image_random = np.random.default_rng(seed).spawn(2)
    tissues, brain = _draw_brain(part, shape_random, tumour)
    if tumour is not None:
        tissues = _draw_tumour(part, tissues, brain, tumour)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[part.box] = _label(tissues, brain)
    if tumour is not None and not labels.any():
        raise SettingsError("E-SETTING", f"the tumour at {tumour.centre_mm} mm is not in the brain")
    images = np.zeros((len(Modality), *grid.shape), dtype=np.int16)
    images[:, *part.box] = _draw_images(part, tissues, brain, image_random)
    return Phantom(Volume(images, grid, tuple(Modality)), Segmentation(labels, grid, BRATS2021))


def write_phantom(phantom: Phantom, folder: Path, *, case_id: str = "phantom-synthetic") -> Path:
    """Write the exam as ``folder/case_id`` in the BraTS 2021 layout and return that folder.

    A README.txt in it says that the exam is synthetic, from what it was made and under which licence.
    Raises OutputError.
    """
    case = folder / case_id
    case.mkdir(parents=True, exist_ok=True)
    for name, image in zip(("t1", "t1ce", "t2", "flair"), phantom.images.array, strict=True):
        nifti.write_image(case / f"{case_id}_{name}.nii.gz", image, phantom.images.grid)
    nifti.write_segmentation(case / f"{case_id}_seg.nii.gz", phantom.reference)
    licence = resources.files("gliomaseg") / "assets" / "ATLAS-LICENSE.txt"
    files.write_text(case / "README.txt", _README + licence.read_text(encoding="utf-8"))
    return case


_README = """\
THIS EXAM IS SYNTHETIC. It shows no patient and is of no use for a diagnosis or for judging a network.

gliomaseg made it (gliomaseg.imaging.phantom): an average brain, an artificial tumour, and the four sequences
t1, t1ce, t2, flair computed from a table of mean intensities. seg holds the tumour that was drawn:
1 necrosis, 2 oedema, 4 enhancing tumour. The brain's anatomy comes from this atlas:

"""


def _make_grid(step: int) -> Grid:
    x, y, z = (-(-n // step) for n in _BOX)
    affine: Affine = np.diag([-step, -step, step, 1.0])
    affine[:3, 3] = np.array([0.0, 239.0, 0.0]) + np.array([-1, -1, 1]) * (step - 1) / 2
    return Grid((x, y, z), affine)


def _find_part(grid: Grid, step: int) -> _Part:
    """Return the part of the grid within 6 mm of the atlas's brain."""
    _, lower, upper = _load_atlas()
    slices, axes = [], []
    for axis in range(3):
        mm = grid.affine[axis, 3] + grid.affine[axis, axis] * np.arange(grid.shape[axis])
        low, high = (_SCALE * edge[axis] + _SHIFT[axis] for edge in (lower, upper))
        near = np.flatnonzero((mm > low - 6) & (mm < high + 6))
        slices.append(slice(int(near[0]), int(near[-1]) + 1))
        axes.append(mm[slices[-1]].astype(np.float32))
    return _Part((slices[0], slices[1], slices[2]), (axes[0], axes[1], axes[2]), step)


@cache
def _load_atlas() -> tuple[Image, Affine, Affine]:
    """Return grey, white, brain (3, x, y, z) in 0..1 at 1 mm, and the first and last voxel in MNI mm."""
    with (resources.files("gliomaseg") / "assets" / "atlas.npz").open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
        half, affine, levels = stored["maps"], stored["affine"], float(stored["levels"])
    maps = np.concatenate([half[:, :0:-1], half], axis=1).astype(np.float32)
    maps[:2] /= levels
    upper = affine[:3, 3] + np.array(half.shape[1:]) - 1
    return maps, np.array([-upper[0], *affine[1:3, 3]]), upper


def _make_noise(axes: Axes, scale_mm: float, random: np.random.Generator) -> Image:
    """Return smooth noise (x, y, z) of mean 0 and variance 1 at these mm: cubic B-splines on random knots.

    The knots lie ``scale_mm`` apart in the whole BraTS box, so that every grid sees the same noise.
    """
    count = int(np.ceil(240 / scale_mm)) + 4
    field = random.standard_normal((count, count, count), dtype=np.float32)
    for mm, start in zip(axes, (-240.0, 0.0, 0.0), strict=True):
        t = np.abs((mm[:, None] - start) / scale_mm - (np.arange(count) - 1))
        basis = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)
        field = np.tensordot(field, basis.astype(np.float32), axes=([0], [1]))
    return field / np.float32((151 / 315) ** 1.5)  # the mean of the summed squares of the basis


def _draw_brain(
    part: _Part, random: np.random.Generator, tumour: TumourSpec | None
) -> tuple[Image, npt.NDArray[np.bool_]]:
    """Return the fractions of CSF, grey and white matter (3, x, y, z), and where the brain is."""
    bent = [
        mm + 3.5 * _make_noise(part.axes, 45.0, random) + 1.0 * _make_noise(part.axes, 14.0, random)
        for mm in np.meshgrid(*part.axes, indexing="ij", sparse=True)
    ]
    brain = _sample(2, bent, part.step) > 0.5
    if tumour is not None:
        bent = [mm - push for mm, push in zip(bent, _push(part.axes, tumour), strict=True)]
    gm, wm = (_sample(index, bent, part.step) * brain for index in (0, 1))
    csf = np.clip(brain - gm - wm, 0, 1)
    # The atlas averages 152 young brains: a power sharpens it to one, the factor widens its sulci.
    sharp = np.stack([4.0 * csf**2.5, gm**2.5, wm**2.5])
    return sharp / np.maximum(sharp.sum(axis=0), 1e-6), brain


def _sample(index: int, mm: list[Image], step: int) -> Image:
    """Return one atlas map at positions in box mm, averaged over ``step`` voxels beforehand."""
    maps, lower, _ = _load_atlas()
    voxels = [(m - s) / _SCALE - low for m, s, low in zip(mm, _SHIFT, lower, strict=True)]
    source = maps[index] if step == 1 else ndimage.uniform_filter(maps[index], step)
    return np.asarray(ndimage.map_coordinates(source, voxels, order=1, output=np.float32))


def _offsets(axes: Axes, tumour: TumourSpec) -> list[Image]:
    """Return the distance from the tumour's centre along each axis in mm, broadcastable to (x, y, z)."""
    centre = [_SCALE * mm + shift for mm, shift in zip(tumour.centre_mm, _SHIFT, strict=True)]
    moved = [mm - np.float32(c) for mm, c in zip(axes, centre, strict=True)]
    return list(np.meshgrid(*moved, indexing="ij", sparse=True))


def _push(axes: Axes, tumour: TumourSpec) -> list[Image]:
    """Return how far tissue was pushed along each axis in mm: ``push_mm`` at the edge of the core."""
    offsets = [offset / np.float32(tumour.core_mm) for offset in _offsets(axes, tumour)]
    decay = np.exp(0.5 - sum(offset**2 for offset in offsets) / 2)
    return [tumour.push_mm * offset * decay for offset in offsets]


def _draw_tumour(
    part: _Part, tissues: Image, brain: npt.NDArray[np.bool_], tumour: TumourSpec
) -> Image:
    """Return the fractions of all tissues in the order of CONTRASTS (6, x, y, z)."""
    random = np.random.default_rng(tumour.seed)
    coarse, fine, rim, edge = (
        _make_noise(part.axes, scale, random)
        for scale in (tumour.core_mm, tumour.core_mm / 2.5, 7.0, 12.0)
    )
    distance = np.sqrt(sum(offset**2 for offset in _offsets(part.axes, tumour)))
    outside = distance - tumour.core_mm * (1 + tumour.roughness * (0.8 * coarse + 0.6 * fine))
    inside = outside + tumour.rim_mm * np.maximum(1 + 0.5 * rim, 0.3)
    ventricle = ndimage.gaussian_filter(tissues[0], 2.5 / part.step) > 0.5
    core = np.clip(0.5 - outside / max(1, part.step), 0, 1) * (brain & ~ventricle)
    necrosis = np.minimum(core, np.clip(0.5 - inside / max(1, part.step), 0, 1))
    reach = tumour.oedema_mm * (1 + 0.2 * np.clip(edge, -2, 2))
    reach -= _spread(part, tissues, core > 0.5, 1.4 * tumour.oedema_mm + 4)
    permitted = tissues[2] + 0.45 * tissues[1]
    oedema = np.clip(0.5 + reach / 4, 0, 1) * permitted * (1 - core)
    return np.concatenate([tissues * (1 - core - oedema), [necrosis, oedema, core - necrosis]])


def _spread(part: _Part, tissues: Image, core: npt.NDArray[np.bool_], limit_mm: float) -> Image:
    """Return how far each voxel lies from the core in mm of white matter, at most ``limit_mm``.

    Grey matter counts four times, CSF is a wall: Bellman-Ford steps over the 26 neighbours.
    """
    thin = _SPREAD_STEP // part.step
    csf, gm, wm = tissues[:, ::thin, ::thin, ::thin]
    cost = np.where((csf < 0.4) & (gm + wm > 0.3), _SPREAD_STEP / (wm + 0.25 * gm + 0.05), np.inf)
    far = np.where(core[::thin, ::thin, ::thin], 0.0, np.inf).astype(np.float32)
    rings = [ndimage.generate_binary_structure(3, order) for order in (1, 2, 3)]
    for _ in range(int(limit_mm / _SPREAD_STEP)):
        steps = [
            ndimage.minimum_filter(far, footprint=ring, mode="nearest") + cost * np.sqrt(order)
            for order, ring in enumerate(rings, start=1)
        ]
        far = np.minimum.reduce([far, *steps]).astype(np.float32)
    far = np.minimum(far, np.float32(limit_mm))
    scale = [1 / thin] * 3
    return np.asarray(ndimage.affine_transform(far, scale, output_shape=core.shape, order=1, mode="nearest"))


def _label(fractions: Image, brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the label map under BRATS2021: the commonest tumour tissue where tumour is the majority."""
    if len(fractions) == 3:
        return np.zeros(brain.shape, dtype=np.uint8)
    values = [BRATS2021.values[Tissue(name)] for name in list(CONTRASTS)[3:]]
    commonest = np.array(values, dtype=np.uint8)[fractions[3:].argmax(axis=0)]
    return np.where((fractions[3:].sum(axis=0) > 0.5) & brain, commonest, 0).astype(np.uint8)


def _draw_images(
    part: _Part, fractions: Image, brain: npt.NDArray[np.bool_], random: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return the four sequences (channel, x, y, z): mixed, textured, blurred, shaded and noisy."""
    table = np.array(list(CONTRASTS.values()), dtype=np.float32)[: len(fractions)]
    tumour = fractions[3:].sum(axis=0)
    texture = 0.12 * _make_noise(part.axes, 2.5, random) + 0.15 * tumour * _make_noise(part.axes, 4.0, random)
    vessels = 6 * fractions[0] * np.clip(_make_noise(part.axes, 5.0, random) - 0.8, 0, 1)
    images = np.zeros((len(Modality), *brain.shape), dtype=np.int16)
    for channel, blur in enumerate(_BLURS):
        z = np.tensordot(table[:, channel], fractions, axes=1) + texture
        if channel == 1:
            z += vessels
        signal = ndimage.gaussian_filter(_LEVELS[channel] + _UNIT * z, np.array(blur) / part.step)
        signal *= 1 + 0.05 * _make_noise(part.axes, 70.0, random)
        noise = _UNIT * _NOISE * random.standard_normal((2, *brain.shape), dtype=np.float32)
        rician = np.hypot(signal + noise[0], noise[1])
        images[channel] = np.where(brain, np.clip(np.round(rician), 1, None), 0)
    return images
