"""Augmentation of a patch: mirroring and intensities.

Every function draws from the given generator. Intensities are z-scores; the background is 0 and stays 0.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.settings.schema import AugmentSettings
from gliomaseg.training.artefacts import cut_brain, thicken

Rng = np.random.Generator

#: Least share of the intensity range for which a logarithm is taken.
_LEAST = 1e-7
#: Pieces of a contrast curve, and the range of their slopes before scaling.
_PIECES, _SLOPES = 4, (0.4, 1.6)
#: Planes between two channels in the same drawn noise.
_APART = 8


def augment(image: Tensor, label: Tensor, settings: AugmentSettings, rng: Rng) -> tuple[Tensor, Tensor]:
    """Return the patch mirrored and with changed intensities; image (c, x, y, z), label (x, y, z)."""
    axes = [axis for axis in range(3) if rng.random() < settings.flip]
    image, label = image.flip([axis + 1 for axis in axes]), label.flip(axes)
    noise = _draw_noise(image.shape, settings, rng)
    for index, channel in enumerate(image):
        brain = channel.numpy() != 0  # PyTorch compares six times slower
        _change(channel, brain, settings, rng)
        if noise:
            channel.add_(noise[index])
        channel.numpy()[...] *= brain
    if settings.thick_slices and rng.random() < settings.thick_slices:
        thicken(image, settings, rng)
    if settings.mask_errors and rng.random() < settings.mask_errors:
        cut_brain(image, label, rng)
    if rng.random() < settings.drop_modality:
        image[_dropped(settings.drop_shares or (0.5,) * len(image), rng)] = 0
    if rng.random() < settings.truncate_fov:
        _cut([channel for channel in image if channel.any()], rng)
    return image, label


def _change(channel: Tensor, brain: npt.NDArray[np.bool_], settings: AugmentSettings, rng: Rng) -> None:
    """Change the intensities of one sequence (x, y, z), each change by its chance."""
    if rng.random() < settings.blur:
        _soften(channel, rng)
    if rng.random() < settings.intensity:
        _recolour(channel, settings, rng)
    if settings.contrast_curve and rng.random() < settings.contrast_curve:
        _bend_contrast(channel, brain, rng)
    if rng.random() < settings.bias:
        _shade(channel, settings, rng)


def _draw_noise(shape: torch.Size, settings: AugmentSettings, rng: Rng) -> list[Tensor]:
    """Return Gaussian noise (x, y, z) of each channel, or none: the same numbers, ``_APART`` planes on."""
    if rng.random() >= settings.noise_chance:
        return []
    channels, width, *plane = shape
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    drawn = torch.randn(width + _APART * channels, *plane, generator=generator)
    drawn *= float(rng.uniform(0, settings.noise))
    return [drawn[_APART * channel :][:width] for channel in range(channels)]


def _recolour(channel: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    low, high = float(channel.min()), float(channel.max())
    if low < high:
        span, gamma = high - low, float(rng.uniform(*settings.gamma))
        share = channel.sub_(low).div_(span).clamp_(_LEAST, 1).numpy()
        np.exp(gamma * np.log(share), out=share)  # share ** gamma takes five times as long
        channel.mul_(span).add_(low)
    channel.mul_(float(rng.uniform(*settings.contrast)))
    channel.add_(float(rng.uniform(-settings.brightness, settings.brightness)))


def _bend_contrast(channel: Tensor, brain: npt.NDArray[np.bool_], rng: Rng) -> None:
    """Map intensities by a rising curve of straight pieces; mean and spread of the brain stay."""
    steps = rng.uniform(*_SLOPES, _PIECES)
    curve = torch.from_numpy(np.concatenate([[0], np.cumsum(steps)]).astype(np.float32))
    values = channel.numpy()[brain]
    if values.size == 0 or values.min() == values.max():
        return
    low, high = float(values.min()), float(values.max())
    share = torch.from_numpy(values).sub(low).mul_(_PIECES / (high - low)).clamp_(0, _PIECES)
    piece = share.int().clamp_(max=_PIECES - 1)
    bent = curve[piece].lerp_(curve[piece + 1], share - piece)
    bent.sub_(bent.mean()).mul_(float(values.std()) / bent.std(correction=0)).add_(float(values.mean()))
    channel.numpy()[brain] = bent.numpy()


def _shade(channel: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    """Multiply by a smooth bias field; the darkest voxel doesn't change."""
    knots = rng.uniform(-settings.bias_strength, settings.bias_strength, [min(3, n) for n in channel.shape])
    smooth = _enlarged(torch.from_numpy(knots.astype(np.float32)).exp(), channel.shape, align_corners=True)
    low = float(channel.min())
    channel.sub_(low).mul_(smooth).add_(low)


def _cut(channels: list[Tensor], rng: Rng) -> None:
    """Set one of several channels to 0 on one side of a plane across a random axis of size > 1."""
    if len(channels) < 2:
        return
    channel = channels[int(rng.integers(len(channels)))]
    axes = [axis for axis, size in enumerate(channel.shape) if size > 1]
    axis = axes[int(rng.integers(len(axes)))]
    size = channel.shape[axis]
    at = int(rng.integers(1, size))
    start, stop = (0, at) if rng.random() < 0.5 else (at, size)
    channel.narrow(axis, start, stop - start).zero_()


def _dropped(shares: tuple[float, ...], rng: Rng) -> list[int]:
    """Return the channels to drop, at least one and not all, each by its chance."""
    if len(shares) < 2:
        return []
    sets = list(itertools.product([False, True], repeat=len(shares)))[1:-1]
    chances = np.where(sets, shares, np.subtract(1, shares)).prod(axis=1)
    chosen = sets[rng.choice(len(sets), p=chances / chances.sum())]
    return list(np.flatnonzero(chosen))


def _soften(channel: Tensor, rng: Rng) -> None:
    """Lower the resolution: average over blocks and interpolate back."""
    factors = [float(rng.uniform(1.0, 2.5)) if n > 1 else 1.0 for n in channel.shape]
    small = [max(1, round(n / f)) for n, f in zip(channel.shape, factors, strict=True)]
    low = functional.interpolate(channel[None, None], size=small, mode="area")
    channel.copy_(_enlarged(low[0, 0], channel.shape, align_corners=False))


def _enlarged(field: Tensor, shape: torch.Size, *, align_corners: bool) -> Tensor:
    """Interpolate linearly, an axis at a time: two to three times faster than all at once."""
    for size in shape:
        knots = torch.eye(len(field))[None]
        shares = functional.interpolate(knots, size=size, mode="linear", align_corners=align_corners)[0]
        field = torch.tensordot(field, shares, dims=([0], [0]))
    return field
