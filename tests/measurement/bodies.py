"""Bodies of known size, drawn on any grid: what the measurements are checked against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """An ellipsoid or box by its half axes in mm."""

    kind: str
    half: tuple[float, float, float]

    @property
    def volume_mm3(self) -> float:
        product = math.prod(self.half)
        return 4 / 3 * math.pi * product if self.kind == "ellipsoid" else 8 * product

    @property
    def surface_mm2(self) -> float:
        a, b, c = self.half
        if self.kind == "box":
            return 8 * (a * b + b * c + a * c)
        grid = np.linspace(0, math.pi, 2001)
        turn = np.linspace(0, 2 * math.pi, 801)[:-1]
        t, p = np.meshgrid((grid[1:] + grid[:-1]) / 2, turn, indexing="ij")
        x, y, z = (
            b * c * np.sin(t) ** 2 * np.cos(p),
            a * c * np.sin(t) ** 2 * np.sin(p),
            a * b * np.sin(t) * np.cos(t),
        )
        element = np.sqrt(x**2 + y**2 + z**2)
        return float(element.sum() * (math.pi / 2000) * (2 * math.pi / 800))

    @property
    def longest_mm(self) -> float:
        return 2 * max(self.half) if self.kind == "ellipsoid" else 2 * math.hypot(*self.half)

    @property
    def sphericity(self) -> float:
        return math.pi ** (1 / 3) * (6 * self.volume_mm3) ** (2 / 3) / self.surface_mm2

    def draw(self, axes: Floats, turn: Floats, shift: Floats) -> Mask:
        """Return the voxels (x, y, z) whose centre lies in the body, turned and shifted in mm."""
        reach = np.abs(np.linalg.inv(axes)).sum(axis=1) * math.hypot(*self.half)
        ranges = [np.arange(-n, n + 1) for n in np.ceil(reach + 2).astype(int)]
        voxels = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1)
        places = (voxels @ axes.T - shift) @ turn / np.array(self.half)
        inside = (
            (places**2).sum(axis=-1) <= 1 if self.kind == "ellipsoid" else np.abs(places).max(axis=-1) <= 1
        )
        return np.asarray(inside)


BODIES = {
    "ball of radius 15": Body("ellipsoid", (15, 15, 15)),
    "ellipsoid 30, 20, 15": Body("ellipsoid", (30, 20, 15)),
    "box 50 x 30 x 20": Body("box", (25, 15, 10)),
    "ball of radius 6": Body("ellipsoid", (6, 6, 6)),
}


def turns(count: int, seed: int = 0) -> list[Floats]:
    """Return the identity and random rotations."""
    random = np.random.default_rng(seed)
    found = [np.eye(3)]
    while len(found) < count:
        matrix = np.linalg.qr(random.normal(size=(3, 3)))[0]
        found.append(matrix * np.sign(np.linalg.det(matrix)))
    return found
