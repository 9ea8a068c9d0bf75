"""Augmentation by artefacts: thick slices, and brain masks that lack a piece of the brain.

Intensities are z-scores, 0 outside the brain. Every function draws from the given generator and changes the
patch in place.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.settings.schema import AugmentSettings

Rng = np.random.Generator

#: Share of the patches with thick slices in which all sequences have the same slices, as in one protocol.
_ALIKE = 0.4
#: A missing rim is 1 to this many voxels deep.
_RIM = 4
#: Radius in voxels of a missing piece of the surface.
_PIECE = (5.0, 20.0)
#: Distance of a plane that cuts the brain from the patch's centre: at least this share of its width.
_PLANE = 0.2


def thicken(image: Tensor, settings: AugmentSettings, rng: Rng) -> None:
    """Give sequences of ``image`` (c, x, y, z) thick slices, interpolated back to the grid linearly.

    Either all have the same slices, or each has its own axis and thickness by a chance of 0.5; at least one.
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
    """Return the (size, size) matrix of slices of ``thickness`` voxels, from ``start`` on, along a line.

    Voxel i extends from i to i + 1. Each slice is the mean of the voxels in it; the line is interpolated
    linearly between the centres of slices, and constant beyond them.
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
    """Apply ``matrix`` along an axis; the background counts as the darkest brain, and is 0 again afterwards.

    Voxels stay where more than ``kept`` was brain: a mask of thick slices may be generous or not.
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
    """Set ``image`` (c, x, y, z) and ``label`` (x, y, z) to 0 where a wrong brain mask lacks brain.

    It lacks the rim of the brain, the side beyond a plane, or a round piece of the surface.
    """
    brain = torch.from_numpy(np.any(image.numpy() != 0, axis=0))
    lost = (_rim, _beyond, _piece)[int(rng.integers(3))](brain, rng)
    image *= ~lost
    label *= ~lost


def _rim(brain: Tensor, rng: Rng) -> Tensor:
    """Return the voxels within a few voxels of the background along an axis."""
    depth = int(rng.integers(1, _RIM + 1))
    outside = (~brain).float()[None, None]
    for axis in range(3):
        if brain.shape[axis] > 1:
            width = [2 * depth + 1 if a == axis else 1 for a in range(3)]
            outside = functional.max_pool3d(outside, width, stride=1, padding=[w // 2 for w in width])
    return outside[0, 0] > 0


def _beyond(brain: Tensor, rng: Rng) -> Tensor:
    """Return the voxels beyond a plane of random direction, away from the patch's centre."""
    normal = _direction(brain.shape, rng)
    size = float(np.abs(normal) @ brain.shape) / 2
    x, y, z = _offsets(brain.shape, (np.array(brain.shape) - 1) / 2)
    least = float(rng.uniform(2 * _PLANE, 1)) * size
    return torch.as_tensor(x * normal[0] + y * normal[1] + z * normal[2] > least)


def _piece(brain: Tensor, rng: Rng) -> Tensor:
    """Return a ball around a voxel of the brain's surface; no voxel where the patch has no surface."""
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
    """Return the offset of each voxel from ``centre`` along each axis, to be broadcast."""
    x, y, z = (torch.arange(n) - float(c) for n, c in zip(shape, centre, strict=True))
    return x[:, None, None], y[:, None], z
