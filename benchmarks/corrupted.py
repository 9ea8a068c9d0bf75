"""Deliberately corrupted copies of a case for content_checks.py, with the code that each should get."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from gliomaseg.imaging.volume import Volume
from gliomaseg.labels import Modality

RNG = np.random.default_rng(0)

Array = np.ndarray


def with_array(volume: Volume, array: Array) -> Volume:
    """Return the same case with other voxels."""
    return replace(volume, array=array)


def one_changed(volume: Volume, index: int, change: Callable[[Array], Array]) -> Volume:
    """Return a copy with one sequence changed."""
    array = volume.array.copy()
    array[index] = change(array[index])
    return with_array(volume, array)


def rotated(image: Array, degrees: float) -> Array:
    """Return ``image`` rotated about its z axis, by nearest neighbour."""
    from scipy.ndimage import rotate

    return rotate(image, degrees, (0, 1), reshape=False, order=0)


def ending(image: Array, value: int) -> Array:
    """Return ``image`` with one value in place of the last tenth of its nonzero voxels along x."""
    counts = np.cumsum((image != 0).sum(axis=(1, 2)))
    beyond = (counts > 0.9 * counts[-1])[:, None, None] & (image != 0)
    return np.where(beyond, value, image).astype(image.dtype)


def noisy_copy(volume: Volume) -> Volume:
    """Return a case whose T1 with contrast is the T1 once more: rescaled, with another gamma, noisy."""
    t1n = volume.array[0].astype(np.float32)
    spread = np.subtract(*np.percentile(t1n[t1n > 0], (75, 25)))
    copy = 1.3 * t1n**1.1 + RNG.normal(0, 0.15 * spread, t1n.shape)
    return one_changed(volume, 1, lambda _: np.where(t1n > 0, np.clip(copy, 1, 32767), 0))


def scalp(volume: Volume, background: bool) -> Volume:
    """Return a case with a bright shell of 15 mm around the brain, on noise or on 0."""
    from scipy.ndimage import binary_dilation

    brain = volume.array.any(axis=0)
    shell = binary_dilation(brain[::3, ::3, ::3], iterations=5).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    shell = shell[tuple(slice(0, n) for n in brain.shape)] & ~brain
    array = volume.array.astype(np.int32)
    for image in array:
        image[shell] = RNG.normal(1.5, 0.3, np.count_nonzero(shell)) * np.median(image[brain])
        if background:
            outside = ~brain & ~shell
            image[outside] = RNG.integers(1, 1 + np.median(image[brain]) // 10 + 1, np.count_nonzero(outside))
    return with_array(volume, np.clip(array, 0, 32767).astype(np.int16))


def shuffled(volume: Volume) -> Volume:
    """Return a case with the intensities of each sequence permuted inside the brain."""
    array = volume.array.copy()
    brain = array.any(axis=0)
    for image in array:
        image[brain] = RNG.permutation(image[brain])
    return with_array(volume, array)


def inverted(volume: Volume) -> Volume:
    """Return a case with dark and bright exchanged in two sequences, as in another kind of image."""
    array = volume.array.copy()
    for index in (1, 2):
        brain = array[index] > 0
        array[index][brain] = array[index].max() + 1 - array[index][brain]
    return with_array(volume, array)


def wrapped(image: Array, percentile: float) -> Array:
    """Return an image scaled so that voxels above a percentile of the brain overflow int16."""
    scale = 32767 / np.percentile(image[image != 0], percentile)
    return (image * scale).astype(np.int64).astype(np.int16)


def corrupted(volume: Volume, before: Volume | None) -> Iterator[tuple[str, str, Volume]]:
    """Yield (corruption, expected code, copy); ``before`` is another patient's case."""
    for order in itertools.permutations(range(4)):
        if order != (0, 1, 2, 3):
            name = "T1 and T1c swapped" if order == (1, 0, 2, 3) else "T2 and FLAIR swapped"
            known = order in ((1, 0, 2, 3), (0, 1, 3, 2))
            yield (
                name if known else "another order",
                "E-MODALITY-ORDER",
                with_array(volume, volume.array[list(order)]),
            )
    yield "T1 again in place of T1c, with 15 % noise", "W-CONTRAST or E-DUPLICATE", noisy_copy(volume)
    yield "with skull, noisy background", "E-SKULL", scalp(volume, True)
    yield "with skull, background 0", "E-SKULL", scalp(volume, False)
    yield "intensities at random positions", "E-NOTBRAIN", shuffled(volume)
    yield "T1c and T2 inverted", "E-NOTBRAIN", inverted(volume)
    yield (
        "a quarter of the brain",
        "E-NOTBRAIN",
        with_array(volume, np.where(QUARTER(volume), volume.array, 0)),
    )
    wide = with_array(volume, volume.array.astype(np.int32))
    for index, modality in enumerate(Modality):
        for percentile in (95, 99):
            copy = one_changed(wide, index, lambda image, p=percentile: wrapped(image, p))
            yield f"brightest {100 - percentile} % wrapped to negative values ({modality})", "E-WRAPPED", copy
    yield "cut off at the top", "W-EDGE", Volume(volume.array[..., :100], volume.grid, volume.channels)
    top = np.arange(volume.array.shape[3]) < 100
    yield "cut off at the top and filled with 0", "W-EDGE", with_array(volume, volume.array * top)
    binary = one_changed(volume, 3, lambda image: (image != 0) + (image > np.median(image[image != 0])))
    yield "two values in place of FLAIR", "E-NOTBRAIN", binary
    if before:
        mixed = np.concatenate([volume.array[:2], before.array[2:]])
        yield "T2 and FLAIR of another patient", "W-ALIGN", with_array(volume, mixed)


def corrupted_one(volume: Volume) -> Iterator[tuple[str, str, Volume]]:
    """Yield the same for each of the four sequences in turn."""
    for index, modality in enumerate(Modality):
        other = volume.array[(index + 1) % 4].astype(np.float32)
        copy = with_array(volume, volume.array.astype(np.float32))
        copy.array[index] = other * 0.7 + 3 * (other != 0)
        yield "a sequence given twice, once rescaled", "E-DUPLICATE", copy
        noisy = one_changed(copy, index, lambda image: image * RNG.normal(1, 0.15, image.shape))
        yield "a sequence given twice, once with 15 % noise", "W-CONTRAST or E-DUPLICATE", noisy
        for name, value in (("0", 0), ("one dark value", 1)):
            ended = one_changed(volume, index, lambda image, value=value: ending(image, value))
            yield f"a sequence ends inside the brain, then {name} ({modality})", "W-COVER", ended
        for name, change in MOVES.items():
            yield f"{name} ({modality})", "W-ALIGN", one_changed(volume, index, change)


def corrupted_few(volume: Volume) -> Iterator[tuple[str, str, Volume]]:
    """Yield the same for two or three of the sequences."""
    for few in some(volume):
        count, names = len(few.channels), " and ".join(few.channels)
        for order in list(itertools.permutations(range(count)))[1:]:
            yield f"another order of {names}", "E-MODALITY-ORDER", with_array(few, few.array[list(order)])
        if count == 2:
            first = few.array[0].astype(np.float32)
            moved = np.stack([first, np.roll(few.array[1], 6, 0)])
            yield "one of two shifted by 6 mm", "W-ALIGN", with_array(few, moved)
            twice = np.stack([first, first * RNG.normal(0.8, 0.1, first.shape)])
            yield (
                "one of two given twice, once with noise",
                "W-CONTRAST or E-DUPLICATE",
                with_array(few, twice),
            )


def some(volume: Volume) -> Iterator[Volume]:
    """Yield a case with two or three of its four sequences."""
    for count in (2, 3):
        for places in itertools.combinations(range(4), count):
            names = tuple(volume.channels[k] for k in places)
            yield replace(volume, array=volume.array[list(places)], channels=names)


MOVES: dict[str, Callable[[Array], Array]] = {
    "shifted by 4 mm": lambda image: np.roll(image, 4, 0),
    "shifted by 6 mm": lambda image: np.roll(image, 6, 1),
    "shifted by 10 mm": lambda image: np.roll(image, 10, 0),
    "rotated by 5 degrees": lambda image: rotated(image, 5),
    "rotated by 10 degrees": lambda image: rotated(image, 10),
}


def QUARTER(volume: Volume) -> Array:  # noqa: N802
    """Return a mask of the first quarter of the brain's voxels along x."""
    counts = np.cumsum(volume.array.any(axis=0).sum(axis=(1, 2)))
    return (counts < counts[-1] / 4)[:, None, None]
