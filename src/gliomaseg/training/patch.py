"""Cutting a patch out of a case, rotated, scaled and elastically deformed in one interpolation.

As the patch is cut from the whole case, no corner with anatomy is left empty. Every function draws from the
given generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.labels import Modality
from gliomaseg.settings.schema import AugmentSettings

Rng = np.random.Generator


#: A patch may extend by an eighth of its size, at most this many voxels, beyond the box of the brain: a whole
#: case is padded with 0 there, too.
_MARGIN = 8
#: Elastic displacements are drawn on a grid of this many points along each axis, 0 on its faces.
_KNOTS = 6
#: No motion.
_STILL = np.eye(3, 4)


@dataclass(frozen=True)
class Warp:
    """The map from a patch of ``size`` (x, y, z) to its case.

    ``matrix`` (3, 3) maps offsets from the patch's centre to offsets in the case; ``bend`` (3, k, k, k)
    adds displacements in voxels of the patch, interpolated between its knots. ``motions`` (c, 3, 4) move each
    sequence, but not the label, by a rotation about the patch's centre and a shift, in voxels of the case.
    """

    size: tuple[int, ...]
    matrix: npt.NDArray[np.float64]
    bend: npt.NDArray[np.float32] | None = None
    motions: npt.NDArray[np.float64] | None = None

    @property
    def is_straight(self) -> bool:
        """Return whether the patch is a plain crop."""
        is_moved = self.bend is not None or self.motions is not None
        return not is_moved and bool(np.array_equal(self.matrix, np.eye(3)))

    @property
    def reach(self) -> npt.NDArray[np.float64]:
        """Return the extent of the patch from its centre along each axis of the case, in voxels."""
        half = np.array(self.size) / 2 + (0.0 if self.bend is None else float(np.abs(self.bend).max()))
        moves = [_STILL] if self.motions is None else self.motions
        each = [np.abs(move[:, :3] @ self.matrix) @ half + np.abs(move[:, 3]) for move in moves]
        return np.asarray(np.max(each, axis=0))


def draw_warp(
    rng: Rng, settings: AugmentSettings, size: tuple[int, ...], modalities: tuple[Modality, ...] = ()
) -> Warp:
    """Return a random rotation and scaling, elastic deformation, and misregistration of ``modalities``.

    Slices (z size 1) stay in their plane.
    """
    is_turned, is_bent = rng.random() < settings.affine, rng.random() < settings.elastic
    matrix = _draw_matrix(rng, settings, size) if is_turned else np.eye(3)
    bend = _draw_bend(rng, settings, size) if is_bent else None
    is_misregistered = len(modalities) > 1 and settings.misregister and rng.random() < settings.misregister
    return Warp(
        size, matrix, bend, _draw_motions(rng, settings, size, modalities) if is_misregistered else None
    )


def _draw_bend(rng: Rng, settings: AugmentSettings, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    inner = rng.uniform(-settings.elastic_voxels, settings.elastic_voxels, (3, *[_KNOTS - 2] * 3))
    bend = np.pad(inner, [(0, 0), (1, 1), (1, 1), (1, 1)]).astype(np.float32)
    if size[2] == 1:
        bend[2] = 0
    return bend


def _draw_matrix(rng: Rng, settings: AugmentSettings, size: tuple[int, ...]) -> npt.NDArray[np.float64]:
    angles = np.radians(rng.uniform(-settings.rotate_degrees, settings.rotate_degrees, 3))
    scale = np.full(3, rng.uniform(*settings.scale))
    if size[2] == 1:
        angles[:2], scale[2] = 0, 1
    return np.asarray(_rotation(angles) / scale)


def _draw_motions(
    rng: Rng, settings: AugmentSettings, size: tuple[int, ...], modalities: tuple[Modality, ...]
) -> npt.NDArray[np.float64]:
    """Return (c, 3, 4): a shift and a rotation, of any direction, of each sequence but the leading one."""
    leader = modalities.index(Modality.T1C) if Modality.T1C in modalities else 0
    plane = np.array([1.0, 1, 0]) if size[2] == 1 else np.ones(3)
    motions = np.stack([_STILL] * len(modalities))
    for index in set(range(len(modalities))) - {leader}:
        shift, turn = _direction(rng, plane), _direction(rng, 1 - plane if size[2] == 1 else plane)
        motions[index, :, 3] = shift * rng.uniform(0, settings.misregister_voxels)
        motions[index, :, :3] = _rotation(np.radians(turn * rng.uniform(0, settings.misregister_degrees)))
    return motions


def _direction(rng: Rng, axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    drawn = rng.normal(size=3) * axes
    return np.asarray(drawn / np.linalg.norm(drawn))


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
    wide = np.array(warp.size) if warp.is_straight else (2 * np.ceil(warp.reach)).astype(int) + 2
    wide = np.where(np.array(warp.size) == 1, 1, wide)
    start = centre.astype(int) - wide // 2
    if warp.is_straight:  # stay near the brain where it is large enough
        room = np.array(label.shape) - wide
        margin = np.where(room > 0, np.minimum(_MARGIN, wide // 8), 0)
        start = np.clip(start, np.minimum(0, room) - margin, np.maximum(0, room) + margin)
    crop = torch.from_numpy(_crop(image, start, wide))
    mask = torch.from_numpy(_crop(label[None], start, wide)[0])
    if warp.is_straight:
        return crop.float(), mask  # NumPy converts five times slower
    places = _places(warp, wide)
    if warp.motions is None:
        return _interpolated(crop, places), _nearest(mask, places)
    each = [crop[i : i + 1] for i in range(len(crop))]
    moved = [
        _interpolated(channel, _moved(places, move, wide))
        for channel, move in zip(each, warp.motions, strict=True)
    ]
    return torch.cat(moved), _nearest(mask, places)


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


def _places(warp: Warp, wide: npt.NDArray[np.int_]) -> Tensor:
    """Return (3, *size): the coordinates of each voxel of the patch in a crop of ``wide`` voxels."""
    middle = torch.from_numpy((wide - 1) / 2).float()[:, None, None, None]
    matrix = torch.from_numpy(warp.matrix).float()[..., None, None, None]
    x, y, z = (torch.arange(n) - (n - 1) / 2 for n in warp.size)
    places = middle + matrix[:, 0] * x[:, None, None] + matrix[:, 1] * y[:, None] + matrix[:, 2] * z
    if warp.bend is not None:
        knots = torch.tensordot(matrix[..., 0, 0, 0], torch.from_numpy(warp.bend), dims=1)[None]
        places += functional.interpolate(knots, size=warp.size, mode="trilinear", align_corners=True)[0]
    return places


def _moved(places: Tensor, motion: npt.NDArray[np.float64], wide: npt.NDArray[np.int_]) -> Tensor:
    """Return ``places`` (3, *size) after a rotation about the middle of ``wide`` voxels and a shift."""
    if np.array_equal(motion, _STILL):
        return places
    middle = torch.from_numpy((wide - 1) / 2).float()
    turn, shift = (torch.from_numpy(part).float() for part in (motion[:, :3], motion[:, 3]))
    fixed = middle - turn @ middle + shift
    return torch.as_tensor(torch.tensordot(turn, places, dims=1).add_(fixed[:, None, None, None]))


def _interpolated(crop: Tensor, places: Tensor) -> Tensor:
    """Return (c, *size) float32: a crop (c, x, y, z) at ``places`` inside it, linearly, within 0.03 voxels.

    PyTorch interpolates in pictures twice as fast as in volumes, so the crop is read as one tall picture
    (row, z). For each x it has the planes (y, z) of all channels, one below the other: c planes further down
    are those of the next x. Thus 2 c pictures, each beginning a plane lower, hold both neighbours in x.
    """
    channels, width, height, depth = crop.shape
    planes = crop.transpose(0, 1).contiguous().float()
    rows = (channels * (width - 2) + 1) * height
    tall = planes.as_strided((1, 2 * channels, rows, depth), (1, height * depth, depth, 1))
    x, y, z = places
    left = x.floor()
    row, column = left * (channels * height) + y, z
    grid = torch.stack([column * (2 / max(depth - 1, 1)) - 1, row * (2 / (rows - 1)) - 1], dim=-1)
    found = functional.grid_sample(tall, grid.flatten(0, 1)[None], mode="bilinear", align_corners=True)
    both = found.view(2, channels, *x.shape)
    return both[0].lerp_(both[1], x - left)


def _nearest(mask: Tensor, places: Tensor) -> Tensor:
    """Return (*size): a mask (x, y, z) at the voxels nearest to ``places``."""
    _, height, depth = mask.shape
    x, y, z = places.round().int()
    return mask.take(((x * height + y) * depth + z).long())
