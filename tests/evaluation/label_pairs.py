"""Pairs of small label maps to score: pencil cases, adversarial ones, and random ones from a seed.

Needs numpy alone, so that the oracles' own environment can make the very same pairs (benchmarks/oracles).
All arithmetic is on integers: every machine makes the same bytes, and ``checksum`` proves it.
Labels are 1 to 4; what they mean is up to the rules that score them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SHAPE = (24, 26, 22)
ISOTROPIC = (1.0, 1.0, 1.0)
SPACINGS = (ISOTROPIC, (1.0, 1.0, 3.0), (0.5, 0.75, 2.0), (2.0, 1.0, 1.25), ISOTROPIC, (1.0, 1.0, 1.0))
BLOBS = 110
NOISES = 32


class LabelPair(NamedTuple):
    """Two label maps (x, y, z) uint8 on one grid, spacing in mm."""

    name: str
    prediction: np.ndarray
    reference: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def checksum(self) -> str:
        """Return a checksum of these two label maps."""
        return f"{zlib.crc32(self.prediction.tobytes() + self.reference.tobytes()):08x}"


def label_pairs() -> list[LabelPair]:
    """Return all pairs, always the same."""
    adversarial = list(_adversarial())
    anisotropic = [
        pair._replace(name=f"{pair.name}, 1 x 1 x 2.5 mm", spacing=(1.0, 1.0, 2.5)) for pair in adversarial
    ]
    return [*adversarial, *anisotropic, *_blobs(), *_noises()]


def _empty() -> np.ndarray:
    return np.zeros(SHAPE, dtype=np.uint8)


def _box(*corners: tuple[int, int, int, int, int, int], label: int = 3) -> np.ndarray:
    labels = _empty()
    for x0, x1, y0, y1, z0, z1 in corners:
        labels[x0:x1, y0:y1, z0:z1] = label
    return labels


def _line(voxels: int, at: tuple[int, int] = (4, 4)) -> np.ndarray:
    """Return a snake of that many voxels in layers of 10 x 5."""
    labels = _empty()
    for i in range(voxels):
        labels[at[0] + i % 10, at[1] + i // 10 % 5, 4 + i // 50] = 3
    return labels


def _adversarial() -> Iterator[LabelPair]:
    cube = (6, 12, 6, 12, 6, 12)
    for name, prediction, reference in (
        *_trivial(cube),
        *_borders(),
        *_lesions(cube),
        *_volumes(),
        *_tissues(),
    ):
        yield LabelPair(name, prediction, reference, ISOTROPIC)


def _trivial(cube: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    full = np.full(SHAPE, 3, dtype=np.uint8)
    voxel, near = _box((8, 9, 8, 9, 8, 9)), _box((10, 11, 8, 9, 8, 9))
    hollow = _box(cube)
    hollow[7:11, 7:11, 7:11] = 0
    chequers = (np.indices(SHAPE).sum(axis=0) % 2 * 3).astype(np.uint8)
    yield "both empty", _empty(), _empty()
    yield "prediction empty", _empty(), _box(cube)
    yield "reference empty", _box(cube), _empty()
    yield "reference empty, a speck", voxel, _empty()
    yield "one voxel", voxel, voxel
    yield "two voxels 2 apart", near, voxel
    yield "one voxel in a cube", voxel, _box(cube)
    yield "equal cubes", _box(cube), _box(cube)
    yield "full volumes", full, full
    yield "full prediction", full, _box(cube)
    yield "full reference", _box(cube), full
    yield "full prediction, reference empty", full, _empty()
    yield "hollow cube", hollow, _box(cube)
    yield "chequers", chequers, _box(cube)
    yield "one plane", _box((8, 9, 2, 20, 2, 20)), _box((10, 11, 2, 20, 2, 20))
    yield "one line", _box((8, 9, 8, 9, 2, 20)), _box((9, 10, 9, 10, 0, 22))


def _borders() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    yield "in a corner", _box((0, 3, 0, 3, 0, 3)), _box((0, 4, 0, 4, 0, 4))
    yield "in the last corner", _box((20, 24, 22, 26, 18, 22)), _box((21, 24, 23, 26, 19, 22))
    yield "on a face", _box((0, 2, 5, 12, 5, 12)), _box((0, 3, 6, 13, 5, 12))
    yield "across", _box((0, 24, 5, 12, 5, 12)), _box((0, 24, 6, 13, 5, 12))
    yield "far corners", _box((0, 4, 0, 4, 0, 4)), _box((20, 24, 22, 26, 18, 22))


def _lesions(cube: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for gap in range(1, 9):
        two = _box((2, 6, 4, 9, 4, 9), (6 + gap, 10 + gap, 4, 9, 4, 9))
        yield f"two lesions {gap} apart", _box((2, 6, 4, 9, 4, 9)), two
        yield f"two predictions {gap} apart", two, _box((2, 6, 4, 9, 4, 9))
    for gap in range(1, 6):
        ends = _box((2, 6, 2, 6, 2, 6), (6 + gap, 10 + gap, 6 + gap, 10 + gap, 2, 6))
        corner = _box((2, 6, 2, 6, 2, 6), (6 + gap, 10 + gap, 6 + gap, 10 + gap, 6 + gap, 10 + gap))
        yield f"two lesions {gap} apart over an edge", ends, corner
        yield f"two lesions {gap} apart over a corner", corner, ends
    speck, close = (20, 21, 20, 21, 18, 19), (14, 15, 8, 9, 8, 9)
    yield "a speck too many", _box(cube, speck), _box(cube)
    yield "a speck missed", _box(cube), _box(cube, speck)
    yield "a speck within reach", _box(cube, close), _box(cube)
    yield "only a speck within reach", _box(close), _box(cube)
    yield "a bridge", _box((2, 16, 4, 9, 4, 9)), _box((2, 5, 4, 9, 4, 9), (13, 16, 4, 9, 4, 9))
    yield "bridged lesion", _box((2, 5, 4, 9, 4, 9), (13, 16, 4, 9, 4, 9)), _box((2, 16, 4, 9, 4, 9))
    three = _box((1, 4, 2, 7, 2, 7), (9, 12, 2, 7, 2, 7), (18, 22, 2, 7, 2, 7))
    yield "one of three", _box((9, 12, 3, 8, 2, 7)), three
    yield "three for one", three, _box((8, 13, 2, 7, 2, 7))
    yield "a bridge of specks", _box((2, 5, 4, 9, 4, 9), (9, 10, 6, 7, 6, 7), (14, 17, 4, 9, 4, 9)), three


def _volumes() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for voxels in (1, 2, 3, 9, 10, 11, 19, 20, 21, 49, 50, 51):
        lesion, speck = _line(voxels), _line(2, at=(4, 18))
        yield f"lesion of {voxels}, found", lesion, lesion
        yield f"lesion of {voxels}, missed", speck, lesion
        yield f"lesion of {voxels} too many", lesion, speck


def _tissues() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield lesions of one tissue that touch those of another, whole and split."""
    reference = _box((4, 9, 4, 9, 4, 9), (17, 22, 4, 9, 4, 9))
    reference[9:17, 4:9, 4:9] = 1
    prediction = np.roll(reference, 1, axis=1)
    yield "necrosis between two", prediction, reference
    shell = _box((3, 19, 3, 19, 3, 19), label=2)
    shell[6:16, 6:16, 6:16] = 3
    shell[8:14, 8:14, 8:14] = 1
    yield "nested", np.roll(shell, 2, axis=0), shell
    treated = shell.copy()
    treated[10:13, 3:19, 3:19] = 4
    yield "cut by a cavity", np.roll(treated, 1, axis=2), treated
    yield "cavity missed", shell, treated
    yield "only oedema", np.where(shell > 0, 2, 0).astype(np.uint8), shell


def _blobs() -> Iterator[LabelPair]:
    """Yield ellipsoids of several tissues, and what a fair segmenter might make of them."""
    for seed in range(BLOBS):
        random = np.random.default_rng(seed)
        reference, prediction = _empty(), _empty()
        for _ in range(int(random.integers(1, 6))):
            centre = random.integers(0, SHAPE)
            radii = random.integers(1, 8, size=3)
            tissues = random.permutation([1, 2, 3, 4])[: int(random.integers(1, 4))]
            if random.integers(6):
                _paint(reference, centre, radii, tissues)
            if random.integers(6):
                shifted = centre + random.integers(-2, 3, size=3)
                _paint(prediction, shifted, np.maximum(radii + random.integers(-1, 2, size=3), 1), tissues)
        for labels in (reference, prediction):
            for _ in range(int(random.integers(0, 4))):
                labels[tuple(random.integers(0, SHAPE))] = random.integers(1, 5)
        yield LabelPair(f"blobs {seed}", prediction, reference, SPACINGS[seed % len(SPACINGS)])


def _paint(labels: np.ndarray, centre: np.ndarray, radii: np.ndarray, tissues: np.ndarray) -> None:
    """Paint nested ellipsoids, the first tissue outermost."""
    offsets = np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))
    for shrink, tissue in enumerate(tissues):
        a, b, c = (int(r) for r in np.maximum(radii - 2 * shrink, 1))
        x, y, z = offsets**2
        labels[x * (b * c) ** 2 + y * (a * c) ** 2 + z * (a * b) ** 2 <= (a * b * c) ** 2] = tissue


def _noises() -> Iterator[LabelPair]:
    """Yield scattered voxels, from few to a third of all, in small volumes."""
    for seed in range(NOISES):
        random = np.random.default_rng(10_000 + seed)
        one_in = (400, 150, 60, 25, 12, 8, 5, 3)[seed % 8]
        maps = []
        for _ in range(2):
            labels = random.integers(1, 5, size=(14, 13, 12))
            maps.append((labels * (random.integers(one_in, size=labels.shape) == 0)).astype(np.uint8))
        yield LabelPair(f"noise {seed}", maps[0], maps[1], SPACINGS[seed // 8])
