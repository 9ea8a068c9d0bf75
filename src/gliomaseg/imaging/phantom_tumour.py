"""The tumour of a phantom: a noisy ball of necrosis in an enhancing rim, with oedema around it.

Oedema runs along white matter and stops at CSF; the core pushes the tissue around it away. The place
(``Part``) and the smooth noise that brain and tumour share are here too. Ignorant of the atlas and of MRI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliomaseg.imaging.resample import interpolate
from gliomaseg.imaging.smooth import blur, neighbours

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Atlas mm (MNI, RAS+) times SCALE plus SHIFT are the mm of the BraTS box: the atlas's brain then fills
#: the median bounding box of 51 BraTS cases, x 50..187, y 43..213, z 0..140.
SCALE = 0.93
SHIFT = (-118.5, 127.0, 64.5)
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
    roughness: float = 0.25
    seed: int = 0


DEFAULT_TUMOUR = TumourSpec()


class Part(NamedTuple):
    """The part of the grid where the brain lies: its slices, its voxels' mm along each axis, its step."""

    box: tuple[slice, ...]
    axes: tuple[Image, ...]
    step: int


def make_noise(axes: tuple[Image, ...], scale_mm: float, random: np.random.Generator) -> Image:
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


def _offsets(axes: tuple[Image, ...], tumour: TumourSpec) -> list[Image]:
    """Return the distance from the tumour's centre along each axis in mm, broadcastable to (x, y, z)."""
    centre = [SCALE * mm + shift for mm, shift in zip(tumour.centre_mm, SHIFT, strict=True)]
    return list(np.ix_(*(mm - np.float32(c) for mm, c in zip(axes, centre, strict=True))))


def push(axes: tuple[Image, ...], tumour: TumourSpec) -> list[Image]:
    """Return how far tissue was pushed along each axis in mm: ``push_mm`` at the edge of the core."""
    offsets = [offset / np.float32(tumour.core_mm) for offset in _offsets(axes, tumour)]
    decay = np.exp(0.5 - sum(offset**2 for offset in offsets) / 2)
    return [tumour.push_mm * offset * decay for offset in offsets]


def draw_tumour(part: Part, tissues: Image, brain: Mask, tumour: TumourSpec) -> Image:
    """Return the fractions of necrosis, oedema and enhancing tumour (3, x, y, z)."""
    random = np.random.default_rng(tumour.seed)
    coarse, fine, rim, edge = (
        make_noise(part.axes, scale, random)
        for scale in (max(tumour.core_mm, 5.0), max(tumour.core_mm / 2.5, 3.0), 7.0, 12.0)
    )
    distance = np.sqrt(sum(offset**2 for offset in _offsets(part.axes, tumour)))
    outside = distance - tumour.core_mm * (1 + tumour.roughness * (0.8 * coarse + 0.6 * fine))
    inside = outside + tumour.rim_mm * np.maximum(1 + 0.5 * rim, 0.3)
    ventricle = blur(tissues[0], [2.5 / part.step] * 3) > 0.5
    core = np.clip(0.5 - outside / part.step, 0, 1) * (brain & ~ventricle)
    necrosis = np.minimum(core, np.clip(0.5 - inside / part.step, 0, 1))
    reach = tumour.oedema_mm * (1 + 0.2 * np.clip(edge, -2, 2))
    reach -= _spread(part, tissues, core > 0.5, 1.4 * tumour.oedema_mm + 4)
    permitted = tissues[2] + 0.45 * tissues[1]
    oedema = np.clip(0.5 + reach / 4, 0, 1) * permitted * (1 - core)
    return np.stack([necrosis, oedema, core - necrosis])


def _spread(part: Part, tissues: Image, core: Mask, limit_mm: float) -> Image:
    """Return how far each voxel lies from the core in mm of white matter, at most ``limit_mm``.

    Grey matter counts four times, CSF is a wall: Bellman-Ford steps over the 26 neighbours.
    """
    thin = _SPREAD_STEP // part.step
    csf, gm, wm = tissues[:, ::thin, ::thin, ::thin]
    cost = np.where((csf < 0.4) & (gm + wm > 0.3), _SPREAD_STEP / (wm + 0.25 * gm + 0.05), np.inf)
    far = np.where(core[::thin, ::thin, ::thin], 0.0, np.inf).astype(np.float32)
    for _ in range(int(limit_mm / _SPREAD_STEP)):
        steps = [seen + cost * distance for distance, seen in neighbours(far)]
        far = np.minimum(far, np.minimum.reduce(steps)).astype(np.float32)
    far = np.minimum(far, np.float32(limit_mm))
    return interpolate(far, np.ix_(*(np.arange(n) / thin for n in core.shape)))
