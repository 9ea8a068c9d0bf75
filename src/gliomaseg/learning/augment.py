"""Training-time augmentation of a patch that is cut out: mirroring and intensities.

Every function draws from the generator that it is given. Intensities are z-scores, 0 outside the brain,
and stay 0 there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.config import AugmentSettings

Rng = np.random.Generator


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
        if rng.random() < settings.bias:
            _shade(channel, settings, rng)
    if rng.random() < settings.noise_chance:
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image += torch.randn(image.shape, generator=generator) * float(rng.uniform(0, settings.noise))
    image *= brain
    if rng.random() < settings.drop_modality:
        image[_dropped(len(image), rng)] = 0
    return image, label


def _recolour(channel: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    low, high = float(channel.min()), float(channel.max())
    if low < high:
        span, gamma = high - low, float(rng.uniform(*settings.gamma))
        channel.sub_(low).div_(span).clamp_(0, 1).pow_(gamma).mul_(span).add_(low)
    channel.mul_(float(rng.uniform(*settings.contrast)))
    channel.add_(float(rng.uniform(-settings.brightness, settings.brightness)))


def _shade(channel: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    """Multiply by a smooth field, as an uneven receiver coil does; the darkest voxel stays as it is."""
    knots = rng.uniform(-settings.bias_strength, settings.bias_strength, [min(3, n) for n in channel.shape])
    smooth = torch.from_numpy(knots.astype(np.float32)).exp()
    for size in channel.shape:  # an axis at a time: three times faster than all at once
        knot = torch.eye(len(smooth))[None]
        shares = functional.interpolate(knot, size=size, mode="linear", align_corners=True)[0]
        smooth = torch.tensordot(smooth, shares, dims=([0], [0]))
    low = float(channel.min())
    channel.sub_(low).mul_(smooth).add_(low)


def _dropped(count: int, rng: Rng) -> list[int]:
    """Return which channels are left out: any number but none and all, each set as likely as another."""
    if count < 2:
        return []
    chosen = int(rng.integers(1, 2**count - 1))
    return [channel for channel in range(count) if chosen >> channel & 1]


def _soften(channel: Tensor, rng: Rng) -> None:
    """Lose detail: average over blocks and interpolate back, as a thick-slice scan would."""
    factors = [float(rng.uniform(1.0, 2.5)) if n > 1 else 1.0 for n in channel.shape]
    small = [max(1, round(n / f)) for n, f in zip(channel.shape, factors, strict=True)]
    low = functional.interpolate(channel[None, None], size=small, mode="area")
    back = functional.interpolate(low, size=channel.shape, mode="trilinear", align_corners=False)
    channel.copy_(back[0, 0])
