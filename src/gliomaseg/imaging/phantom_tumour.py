"""The tumour of a phantom: a noisy ball of necrosis in an enhancing rim, with oedema around it.

Oedema spreads along white matter and stops at CSF; the core displaces the tissue around it. The position in
the grid (``Site``) and the smooth noise, which brain and tumour share, are here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Atlas mm (MNI, RAS+) times SCALE plus SHIFT are the mm of the BraTS box: the atlas's brain then fills
#: the median bounding box of 51 BraTS cases, x 50..187, y 43..213, z 0..140.
SCALE = 0.93
SHIFT = (-118.5, 127.0, 64.5)
#: Step in mm of the grid on which oedema spreads.
_SPREAD_STEP = 3
#: For each of the 27 voxels of a cube, the number of axes along which it differs from the middle.
_NEIGHBOURS = np.abs(np.indices((3, 3, 3)) - 1).sum(axis=0)


@dataclass(frozen=True)
class TumourSpec:
    """Position and size of a tumour; lengths in mm.

    ``centre_mm`` is (x, y, z) in MNI space, RAS+: x = +30 is in the right hemisphere. ``core_mm`` is the mean
    outer radius of the enhancing rim, ``rim_mm`` its mean thickness, ``oedema_mm`` the extent of oedema in
    white matter, ``push_mm`` the displacement of tissue at the edge of the core. ``roughness`` is the
    standard deviation of the radius relative to ``core_mm``.
    """

    centre_mm: tuple[float, float, float] = (30.0, -28.0, 24.0)
    core_mm: float = 18.0
    rim_mm: float = 5.5
    oedema_mm: float = 16.0
    push_mm: float = 5.0
    roughness: float = 0.25
    seed: int = 0


DEFAULT_TUMOUR = TumourSpec()


class Site(NamedTuple):
    """The voxels of the grid around the brain: slices, mm along each axis, and step."""

    box: tuple[slice, ...]
    axes: tuple[Image, ...]
    step: int


def make_noise(
    axes: tuple[Image, ...],
    scale_mm: float,
    random: np.random.Generator,
    *,
    starts: tuple[float, float, float] = (-240.0, 0.0, 0.0),
    extent_mm: float = 240.0,
) -> Image:
    """Return smooth noise (x, y, z) of mean 0 and variance 1 at these mm: cubic B-splines on random knots.

    The knots are ``scale_mm`` apart in a whole box of ``extent_mm``, that of BraTS by default, so that the
    noise is the same on every grid.
    """
    count = int(np.ceil(extent_mm / scale_mm)) + 4
    field = random.standard_normal((count, count, count), dtype=np.float32)
    for mm, start in zip(axes, starts, strict=True):
        t = np.abs((mm[:, None] - start) / scale_mm - (np.arange(count) - 1))
        basis = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)
        field = np.tensordot(field, basis.astype(np.float32), axes=([0], [1]))
    return field / np.float32((151 / 315) ** 1.5)  # the mean of the summed squares of the basis


def _offsets(axes: tuple[Image, ...], tumour: TumourSpec) -> list[Image]:
    """Return the distance from the tumour's centre along each axis in mm, broadcastable to (x, y, z)."""
    centre = [SCALE * mm + shift for mm, shift in zip(tumour.centre_mm, SHIFT, strict=True)]
    return list(np.ix_(*(mm - np.float32(c) for mm, c in zip(axes, centre, strict=True))))


def push(axes: tuple[Image, ...], tumour: TumourSpec) -> list[Image]:
    """Return the displacement of tissue along each axis in mm: ``push_mm`` at the edge of the core."""
    offsets = [offset / np.float32(tumour.core_mm) for offset in _offsets(axes, tumour)]
    decay = np.exp(0.5 - sum(offset**2 for offset in offsets) / 2)
    return [tumour.push_mm * offset * decay for offset in offsets]


def draw_tumour(site: Site, tissues: Image, brain: Mask, tumour: TumourSpec) -> Image:
    """Return the fractions of necrosis, oedema and enhancing tumour (3, x, y, z)."""
    random = np.random.default_rng(tumour.seed)
    coarse, fine, rim, edge = (
        make_noise(site.axes, scale, random)
        for scale in (max(tumour.core_mm, 5.0), max(tumour.core_mm / 2.5, 3.0), 7.0, 12.0)
    )
    distance = np.sqrt(sum(offset**2 for offset in _offsets(site.axes, tumour)))
    outside = distance - tumour.core_mm * (1 + tumour.roughness * (0.8 * coarse + 0.6 * fine))
    inside = outside + tumour.rim_mm * np.maximum(1 + 0.5 * rim, 0.3)
    ventricle = ndimage.gaussian_filter(tissues[0], 2.5 / site.step) > 0.5
    core = np.clip(0.5 - outside / site.step, 0, 1) * (brain & ~ventricle)
    necrosis = np.minimum(core, np.clip(0.5 - inside / site.step, 0, 1))
    reach = tumour.oedema_mm * (1 + 0.2 * np.clip(edge, -2, 2))
    reach -= _spread(site, tissues, core > 0.5, 1.4 * tumour.oedema_mm + 4)
    permitted = tissues[2] + 0.45 * tissues[1]
    oedema = np.clip(0.5 + reach / 4, 0, 1) * permitted * (1 - core)
    return np.stack([necrosis, oedema, core - necrosis])


def _spread(site: Site, tissues: Image, core: Mask, limit_mm: float) -> Image:
    """Return the distance of each voxel from the core in mm of white matter, at most ``limit_mm``.

    Grey matter counts four times and CSF can't be crossed: Bellman-Ford steps over the 26 neighbours.
    """
    thin = _SPREAD_STEP // site.step
    csf, gm, wm = tissues[:, ::thin, ::thin, ::thin]
    cost = np.where((csf < 0.4) & (gm + wm > 0.3), _SPREAD_STEP / (wm + 0.25 * gm + 0.05), np.inf)
    far = np.where(core[::thin, ::thin, ::thin], 0.0, np.inf).astype(np.float32)
    steps = np.empty((3, *far.shape), dtype=np.float32)
    for _ in range(int(limit_mm / _SPREAD_STEP)):
        for kind in (1, 2, 3):  # neighbours that share a face, an edge, a corner
            nearest = ndimage.minimum_filter(far, footprint=kind == _NEIGHBOURS, mode="nearest")
            steps[kind - 1] = nearest + cost * np.float32(kind**0.5)
        far = np.minimum(far, steps.min(axis=0))
    far = np.minimum(far, np.float32(limit_mm))
    return interpolate(far, np.ix_(*(np.arange(n) / thin for n in core.shape)))


def interpolate(image: Image, places: Sequence[npt.NDArray[np.floating]]) -> Image:
    """Return ``image`` at fractional voxels (three arrays that broadcast), linear, edges repeated."""
    found = ndimage.map_coordinates(image, np.broadcast_arrays(*places), order=1, mode="nearest")
    return np.asarray(found, dtype=np.float32)
