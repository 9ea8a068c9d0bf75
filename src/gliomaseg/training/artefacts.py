"""Thick slices and a brain mask that cuts the brain: what a patch may have suffered before it was given.

Intensities are z-scores, 0 outside the brain. Every function draws from the generator that it is given and
changes the patch in place.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.settings.schema import AugmentSettings

Rng = np.random.Generator

#: Of patches with thick slices, the share in which all sequences have the same, as of one protocol.
_ALIKE = 0.4
#: A rim that a mask eats is 1 to this many voxels deep.
_RIM = 4
#: Radius in voxels of a piece of the surface that a mask leaves out.
_PIECE = (5.0, 20.0)
#: A plane that ends the brain lies at least this share of the patch's width from its centre.
_PLANE = 0.2


def thicken(image: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    """Give some sequences of ``image`` (c, x, y, z), or all, thick slices, brought back to the grid linearly.

    All have the same slices, or each has, by half a chance, its own axis and thickness; one at least.
    """
    shape = image.shape[1:]
    is_alike = rng.random() < _ALIKE
    slices = [_draw_slices(shape, settings, rng) for _ in image]
    chosen = np.arange(len(image)) if is_alike else np.flatnonzero(rng.random(len(image)) < 0.5)
    if not len(chosen):
        chosen = rng.integers(len(image), size=1)
    kept = float(rng.uniform(0, 0.5))
    for index in chosen:
        axis, thickness, start = slices[0 if is_alike else index]
        _average(image[index], axis, slab_matrix(shape[axis], thickness, start), kept)


def _draw_slices(shape: torch.Size, settings: AugmentSettings, rng: Rng) -> tuple[int, float, float]:
    """Return an axis, a thickness, and where the first slice begins: at 0 or before."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    thickness = float(rng.uniform(*settings.thick_voxels))
    return axes[int(rng.integers(len(axes)))], thickness, -float(rng.uniform(0, thickness))


def slab_matrix(size: int, thickness: float, start: float) -> npt.NDArray[np.float32]:
    """Return (size, size): what slices of ``thickness`` voxels from ``start`` on make of a line of voxels.

    Voxel i is from i to i + 1. Each slice is the mean of what of it lies within the line; voxels are
    interpolated linearly between the centres of slices, and are the nearest one beyond them.
    """
    edges = np.arange(start, size + thickness, thickness)
    voxels = np.arange(size)
    overlap = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    overlap = overlap.clip(0)[overlap.max(axis=1) > 0]
    means = overlap / overlap.sum(axis=1, keepdims=True)
    centres = (edges[:-1] + edges[1:])[: len(means)] / 2
    back = np.stack([np.interp(voxels + 0.5, centres, one) for one in np.eye(len(means))], axis=1)
    return np.asarray(back @ means, dtype=np.float32)


def _average(channel: Tensor, axis: int, matrix: npt.NDArray[np.float32], kept: float) -> None:
    """Apply ``matrix`` along an axis; outside the brain counts as its darkest, and is 0 again afterwards.

    Voxels stay of which more than ``kept`` was brain: a mask of thick slices may be generous or not.
    """
    weights = torch.from_numpy(matrix)
    brain = torch.from_numpy((channel.numpy() != 0).astype(np.float32))
    low = float(channel.min())
    found = _along(channel + low * (1 - brain), weights, axis)
    found *= _along(brain, weights, axis) > kept
    channel.copy_(found)


def _along(array: Tensor, matrix: Tensor, axis: int) -> Tensor:
    found: Tensor = torch.tensordot(matrix, array, dims=([1], [axis])).movedim(0, axis)
    return found


def cut_brain(image: Tensor, label: Tensor, rng: Rng) -> None:
    """Set to 0 what a wrong brain mask takes from all of ``image`` (c, x, y, z), and its ``label`` (x, y, z).

    Either the rim of the brain, or what lies beyond a plane, or a round piece of its surface.
    """
    brain = torch.from_numpy(np.any(image.numpy() != 0, axis=0))
    lost = (_rim, _beyond, _piece)[int(rng.integers(3))](brain, rng)
    image *= ~lost
    label *= ~lost


def _rim(brain: Tensor, rng: Rng) -> Tensor:
    """Return what lies within a few voxels, along axes, of the background."""
    depth = int(rng.integers(1, _RIM + 1))
    outside = (~brain).float()[None, None]
    for axis in range(3):
        if brain.shape[axis] > 1:
            width = [2 * depth + 1 if a == axis else 1 for a in range(3)]
            outside = functional.max_pool3d(outside, width, stride=1, padding=[w // 2 for w in width])
    return outside[0, 0] > 0


def _beyond(brain: Tensor, rng: Rng) -> Tensor:
    """Return what lies beyond a plane of any direction that leaves the patch's centre alone."""
    normal = _direction(brain.shape, rng)
    size = float(np.abs(normal) @ brain.shape) / 2
    x, y, z = _offsets(brain.shape, (np.array(brain.shape) - 1) / 2)
    least = float(rng.uniform(2 * _PLANE, 1)) * size
    return torch.as_tensor(x * normal[0] + y * normal[1] + z * normal[2] > least)


def _piece(brain: Tensor, rng: Rng) -> Tensor:
    """Return a ball around a voxel of the brain's surface; nothing where the patch has no surface."""
    surface = np.flatnonzero((brain[1:] != brain[:-1]).numpy())
    if not len(surface):
        return torch.zeros_like(brain)
    place = int(surface[rng.integers(len(surface))])
    x, y, z = _offsets(brain.shape, np.array(np.unravel_index(place, (len(brain) - 1, *brain.shape[1:]))))
    return torch.as_tensor(x**2 + y**2 + z**2 < float(rng.uniform(*_PIECE)) ** 2)


def _direction(shape: torch.Size, rng: Rng) -> npt.NDArray[np.float64]:
    drawn = rng.normal(size=3) * (np.array(shape) > 1)
    return np.asarray(drawn / np.linalg.norm(drawn))


def _offsets(shape: torch.Size, centre: npt.NDArray[np.number]) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far each voxel lies from ``centre`` along each axis, to be broadcast."""
    x, y, z = (torch.arange(n) - float(c) for n, c in zip(shape, centre, strict=True))
    return x[:, None, None], y[:, None], z
