"""Random variants of a head that no scanner made: other contrasts, fields of view, poses, slices, noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from heads import Floats, Head, Mask
from scipy import ndimage

Rng = np.random.Generator

#: Points of a random intensity curve, air at the first.
_POINTS = 7
#: Largest rotation about each axis, in degrees.
_TURN = 30.0
#: Largest share of the head cut away at the bottom, at the top, and at any other side.
_CUT_BOTTOM, _CUT_TOP, _CUT_SIDE = 0.45, 0.3, 0.15


def vary(head: Head, name: str, rng: Rng, *, recolours: float = 0.7) -> Head:
    """Return a random variant of ``head``; ``recolours`` is the chance of another contrast."""
    image, brain = head.image, head.brain
    if rng.random() < recolours:
        image = recolour(image, brain, rng)
    if rng.random() < 0.5:
        image, brain = image[::-1], brain[::-1]
    if rng.random() < 0.5:
        image, brain = turn(image, brain, rng)
    if rng.random() < 0.4:
        image = shade(image, rng)
    if rng.random() < 0.4:
        image = thicken(image, head.grid.spacing, rng)
    if rng.random() < 0.6:
        image = add_noise(image, rng)
    if rng.random() < 0.6:
        image, brain = cut(image, brain, rng)
    return head._replace(name=name, image=np.ascontiguousarray(image), brain=np.ascontiguousarray(brain))


def recolour(image: Floats, brain: Mask, rng: Rng) -> Floats:
    """Map intensities by one random curve inside the brain and by the same or another one outside."""
    values = image[image > 0]
    low, high = np.percentile(values, (1, 99.5))
    level = np.clip((image - low) / (high - low), 0, 1)
    inside, outside = _curve(rng), _curve(rng)
    if rng.random() < 0.4:
        outside = inside
    share = ndimage.gaussian_filter(brain.astype(np.float32), rng.uniform(0.4, 0.9))
    at = np.linspace(0, 1, _POINTS)
    found = share * np.interp(level, at, inside) + (1 - share) * np.interp(level, at, outside)
    return np.where(image > 0, 1e-3 + found, 0).astype(np.float32)


def _curve(rng: Rng) -> npt.NDArray[np.float64]:
    """Return values at equal steps of intensity: air stays dark, tissue takes any brightness."""
    found = rng.uniform(0.05, 1, _POINTS)
    if rng.random() < 0.5:  # half of them rise or fall nearly steadily, as real contrasts do
        found = np.sort(found)
        found[1:] = found[1:][:: int(rng.choice([1, -1]))]
    found[0] = rng.uniform(0, 0.05)
    return found


def turn(image: Floats, brain: Mask, rng: Rng) -> tuple[Floats, Mask]:
    """Rotate and stretch by a random amount."""
    degrees = rng.uniform(-_TURN, _TURN, 3) * rng.random()
    return rotate(image, brain, degrees, rng.uniform(0.88, 1.12, 3))


def rotate(
    image: Floats, brain: Mask, degrees: npt.NDArray[np.float64], stretch: npt.ArrayLike = (1, 1, 1)
) -> tuple[Floats, Mask]:
    """Rotate about each axis, and stretch, about the middle; 0 beyond the image."""
    angles = np.radians(degrees)
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = about_x @ about_y @ about_z @ np.diag(np.asarray(stretch))
    middle = (np.array(image.shape) - 1) / 2
    offset = middle - matrix @ middle
    there = ndimage.affine_transform((image > 0).astype(np.float32), matrix, offset, order=1)
    moved = ndimage.affine_transform(image, matrix, offset, order=1)
    mask = ndimage.affine_transform(brain.astype(np.float32), matrix, offset, order=1) >= 0.5
    return np.where(there > 0.99, moved, 0).astype(np.float32), mask & (there > 0.99)


def shade(image: Floats, rng: Rng) -> Floats:
    """Multiply by a smooth bias field of up to a factor of two either way, as near a surface coil."""
    knots = rng.uniform(-0.7, 0.7, (3, 3, 3))
    field = ndimage.zoom(knots, np.array(image.shape) / 3, order=1, grid_mode=True, mode="nearest")
    return (image * np.exp(field)).astype(np.float32)


def thicken(image: Floats, spacing: tuple[float, ...], rng: Rng) -> Floats:
    """Average over slices of 3 to 7 mm along one axis, and interpolate back."""
    axis, thickness = int(rng.choice(3, p=[0.2, 0.2, 0.6])), rng.uniform(3, 7)
    count = image.shape[axis]
    few = max(4, round(count * spacing[axis] / thickness))
    edges = np.linspace(0, count, few + 1)
    centres, low = (edges[1:] + edges[:-1]) / 2, edges[:-1].astype(int)
    sums = np.add.reduceat(image, low, axis=axis)
    sizes = np.diff(np.append(low, count))
    means = np.moveaxis(sums, axis, 0) / sizes[:, None, None]
    there = np.interp(np.arange(count) + 0.5, centres, np.arange(few))
    left = np.minimum(there.astype(int), few - 2)
    weight = (there - left)[:, None, None]
    found = np.moveaxis(means[left] * (1 - weight) + means[left + 1] * weight, 0, axis)
    return np.where(image > 0, np.maximum(found, 1e-6), 0).astype(np.float32)


def add_noise(image: Floats, rng: Rng) -> Floats:
    """Add noise as of a magnitude image: it never darkens the air (Rice's distribution)."""
    level = float(np.percentile(image[image > 0], 95)) * rng.uniform(0.005, 0.12)
    real, imaginary = (rng.normal(0, level, image.shape) for _ in range(2))
    return np.where(image > 0, np.hypot(image + real, imaginary) + 1e-6, 0).astype(np.float32)


def cut(image: Floats, brain: Mask, rng: Rng) -> tuple[Floats, Mask]:
    """Cut the field of view: mostly the neck, sometimes the crown or another side."""
    sides = []
    if rng.random() < 0.7:
        sides.append((2, 0, _CUT_BOTTOM))
    if rng.random() < 0.35:
        sides.append((2, 1, _CUT_TOP))
    if rng.random() < 0.25:
        sides.append((int(rng.integers(2)), int(rng.integers(2)), _CUT_SIDE))
    for axis, end, most in sides:
        count = round(image.shape[axis] * rng.uniform(0, most))
        kept = [slice(None)] * 3
        kept[axis] = slice(0, image.shape[axis] - count) if end else slice(count, None)
        image, brain = image[tuple(kept)], brain[tuple(kept)]
    return image, brain
