"""Training-time augmentation of patches: place and shape first, then intensities.

Rotation and scaling happen while the patch is cut out of the case, so that no corner is ever empty
that had anatomy. Every function draws from the generator that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.config import AugmentSettings

Rng = np.random.Generator


@dataclass(frozen=True)
class Warp:
    """How a patch of ``size`` (x, y, z) lies in its case: ``matrix`` (3, 3) maps patch to case offsets."""

    size: tuple[int, ...]
    matrix: npt.NDArray[np.float64]

    @property
    def is_straight(self) -> bool:
        """Return whether the patch is a plain crop."""
        return bool(np.array_equal(self.matrix, np.eye(3)))


def draw_warp(rng: Rng, settings: AugmentSettings, size: tuple[int, ...]) -> Warp:
    """Return a random rotation and scaling, or none; slices (z size 1) turn in their plane only."""
    if rng.random() >= settings.affine:
        return Warp(size, np.eye(3))
    angles = np.radians(rng.uniform(-settings.rotate_degrees, settings.rotate_degrees, 3))
    scale = np.full(3, rng.uniform(*settings.scale))
    if size[2] == 1:
        angles[:2], scale[2] = 0, 1
    return Warp(size, _rotation(angles) / scale)


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z)


def sample_patch(
    image: npt.NDArray[np.float16], label: npt.NDArray[np.uint8], centre: npt.NDArray[np.int16], warp: Warp
) -> tuple[Tensor, Tensor]:
    """Return (image (c, *size), label (*size)) around ``centre``; 0 outside the case."""
    reach = np.abs(warp.matrix) @ (np.array(warp.size) / 2)
    wide = np.array(warp.size) if warp.is_straight else (2 * np.ceil(reach)).astype(int) + 2
    wide = np.where(np.array(warp.size) == 1, 1, wide)
    start = centre.astype(int) - wide // 2
    if warp.is_straight:  # stay inside the case where it is large enough
        room = np.array(label.shape) - wide
        start = np.clip(start, np.minimum(0, room), np.maximum(0, room))
    crop = torch.from_numpy(_crop(image, start, wide).astype(np.float32))
    mask = torch.from_numpy(_crop(label[None], start, wide))
    if warp.is_straight:
        return crop, mask[0]
    grid = _sampling_grid(warp, wide)
    crop = functional.grid_sample(crop[None], grid, mode="bilinear", align_corners=True)[0]
    mask = functional.grid_sample(mask[None].float(), grid, mode="nearest", align_corners=True)[0]
    return crop, mask[0].to(torch.uint8)


def _crop(
    array: npt.NDArray[np.generic], start: npt.NDArray[np.int_], size: npt.NDArray[np.int_]
) -> npt.NDArray[np.generic]:
    shape = np.array(array.shape[1:])
    low, high = np.clip(start, 0, shape), np.clip(start + size, 0, shape)
    crop = np.zeros((array.shape[0], *size), dtype=array.dtype)
    into = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out_of = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    crop[(slice(None), *into)] = array[(slice(None), *out_of)]
    return crop


def _sampling_grid(warp: Warp, wide: npt.NDArray[np.int_]) -> Tensor:
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in warp.size]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    offsets = offsets @ torch.from_numpy(warp.matrix.T.astype(np.float32))
    half = torch.tensor([max((n - 1) / 2, 0.5) for n in wide.tolist()])
    return (offsets / half).flip(-1)[None]  # grid_sample wants the last axis first


def augment(image: Tensor, label: Tensor, settings: AugmentSettings, rng: Rng) -> tuple[Tensor, Tensor]:
    """Return the patch mirrored and with changed intensities; image (c, x, y, z), label (x, y, z)."""
    axes = [axis for axis in range(3) if rng.random() < settings.flip]
    image = image.flip([axis + 1 for axis in axes]).contiguous()
    label = label.flip(axes)
    brain = image != 0
    for channel in image:
        if rng.random() < settings.blur:
            _soften(channel, rng)
        if rng.random() < settings.intensity:
            _recolour(channel, settings, rng)
    if rng.random() < settings.noise_chance:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image += torch.randn(image.shape, generator=generator) * float(rng.uniform(0, settings.noise))
    return image * brain, label


def _recolour(channel: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    low, high = float(channel.min()), float(channel.max())
    if low < high:
        span, gamma = high - low, float(rng.uniform(*settings.gamma))
        channel.sub_(low).div_(span).clamp_(0, 1).pow_(gamma).mul_(span).add_(low)
    channel.mul_(float(rng.uniform(*settings.contrast)))
    channel.add_(float(rng.uniform(-settings.brightness, settings.brightness)))


def _soften(channel: Tensor, rng: Rng) -> None:
    """Lose detail: average over blocks and interpolate back, as a thick-slice scan would."""
    factors = [float(rng.uniform(1.0, 2.5)) if n > 1 else 1.0 for n in channel.shape]
    small = [max(1, round(n / f)) for n, f in zip(channel.shape, factors, strict=True)]
    low = functional.interpolate(channel[None, None], size=small, mode="area")
    back = functional.interpolate(low, size=channel.shape, mode="trilinear", align_corners=False)
    channel.copy_(back[0, 0])
