"""The lesion-wise rules of BraTS 2023 and 2024, written down plainly: whole volumes, one lesion at a time.

No package computes them, so this is our second implementation, from the published pseudo-code and sharing
nothing with gliomaseg: cc3d for components, scipy for dilation and voxel distances, DeepMind's
surface-distance for HD95. It is slow as the official procedure is, which ``speed.py`` relies on.
"""

from __future__ import annotations

import cc3d
import numpy as np
import surface_distance
from scipy import ndimage

EIGHTEEN = ndimage.generate_binary_structure(3, 2)


def prepare_surface_distance() -> None:
    """Give the package, which is of 2018, the names that newer versions of NumPy have dropped."""
    for name, value in {"Inf": np.inf, "NaN": np.nan}.items():
        if not hasattr(np, name):
            setattr(np, name, value)


def number(mask: np.ndarray) -> np.ndarray:
    """Return the components (26) of a mask, numbered."""
    return cc3d.connected_components(mask.astype(np.uint8), connectivity=26).astype(np.int64)


def merge(mask: np.ndarray, dilation: int) -> np.ndarray:
    """Return the lesions of a mask: components whose dilations connect are one."""
    grown = ndimage.binary_dilation(mask, structure=EIGHTEEN, iterations=dilation)
    return number(grown) * mask


def hd95(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Return DeepMind's robust Hausdorff distance of two boolean masks; infinite if one is empty."""
    distances = surface_distance.compute_surface_distances(reference, prediction, spacing)
    return float(surface_distance.compute_robust_hausdorff(distances, 95))


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Return the Dice of two boolean masks, one of which is not empty."""
    return 2.0 * np.logical_and(prediction, reference).sum() / (prediction.sum() + reference.sum())


def surface_dice(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], tolerance: float
) -> float:
    """Return nnU-Net's surface Dice: the mean share of surface voxels within the tolerance."""
    if not prediction.any() or not reference.any():
        return float(not prediction.any() and not reference.any())
    one = surface_voxel_distances(prediction, reference, spacing)
    other = surface_voxel_distances(reference, prediction, spacing)
    near = np.sum(one <= tolerance) / len(one) + np.sum(other <= tolerance) / len(other)
    far = np.sum(one > tolerance) / len(one) + np.sum(other > tolerance) / len(other)
    return near / (near + far + 1e-8)


def surface_voxel_distances(mask: np.ndarray, other: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Return the distance of each surface voxel of a mask to the surface voxels of another one (MedPy)."""
    surfaces = [m & ~ndimage.binary_erosion(m) for m in (mask, other)]
    return ndimage.distance_transform_edt(~surfaces[1], sampling=spacing)[surfaces[0]]


def score_2023(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], dilation: int, threshold: float
) -> dict[str, float]:
    """Return the lesion-wise scores of two boolean masks by the rule of 2023."""
    return score_lesions(
        number(prediction), merge(reference, dilation), spacing, dilation, threshold=threshold, penalty=374.0
    )


def score_lesions(
    predicted: np.ndarray,
    expected: np.ndarray,
    spacing: tuple[float, ...],
    dilation: int,
    *,
    threshold: float,
    penalty: float,
    tolerances: tuple[float, ...] = (),
) -> dict[str, float]:
    """Return the lesion-wise scores of two numbered maps, every lesion in the whole volume."""
    hit_anywhere: set[int] = set()
    rows = []
    for lesion in range(1, int(expected.max()) + 1):
        mask = expected == lesion
        volume = mask.sum() * spacing[0] * spacing[1] * spacing[2]
        grown = ndimage.binary_dilation(mask, structure=EIGHTEEN, iterations=dilation)
        hits = [n for n in np.unique(predicted[grown]) if n != 0]
        hit_anywhere.update(hits)
        union = np.isin(predicted, hits) & (predicted > 0)
        distance = hd95(union, mask, spacing)
        nsd = [surface_dice(union, mask, spacing, tolerance) for tolerance in tolerances]
        rows.append((volume > threshold, bool(hits), dice(union, mask), min(distance, penalty), *nsd))
    wrong = len(set(np.unique(predicted)) - {0} - hit_anywhere)
    kept = [row for row in rows if row[0]]
    total = len(kept) + wrong
    sums = np.sum([row[2:] for row in kept], axis=0) if kept else np.zeros(2 + len(tolerances))
    sums = sums + np.array([0.0, penalty * wrong] + [0.0] * len(tolerances))
    means = sums / total if total else np.array([1.0, 0.0] + [1.0] * len(tolerances))
    found = sum(row[1] for row in kept)
    scores = {"lesion_dice": means[0], "lesion_hd95": means[1]}
    scores |= {f"lesion_nsd_{t:g}mm": value for t, value in zip(tolerances, means[2:], strict=True)}
    return scores | {"lesion_tp": found, "lesion_fp": wrong, "lesion_fn": len(kept) - found}


TASKS_2024 = {
    "gli": {
        "parts": {"wt": (1, 2, 3), "tc": (1, 3), "ncr": (1,), "ed": (2,), "et": (3,), "rc": (4,)},
        "partners": {
            "ncr": ("et", "rc"),
            "et": ("ncr", "rc"),
            "rc": ("et", "ncr"),
            "ed": ("et", "rc", "ncr"),
        },
        "dilation": lambda part: 5 if part in ("ncr", "rc") else 3,
        "threshold": lambda part: 10 if part == "et" else 20,
        "penalty": 337.0,
    },
    "ped": {
        "parts": {"wt": (1, 2, 3, 4), "tc": (1, 2, 3), "et": (1,), "ncr": (2,), "cc": (3,), "ed": (4,)},
        "partners": {},
        "dilation": lambda _part: 5,
        "threshold": lambda _part: 10,
        "penalty": 374.0,
    },
    "ssa": {
        "parts": {"wt": (1, 2, 3), "tc": (1, 3), "ncr": (1,), "et": (3,)},
        "partners": {"et": ("ncr",)},
        "dilation": lambda _part: 3,
        "threshold": lambda _part: 50,
        "penalty": 374.0,
    },
    "met": {
        "parts": {"wt": (1, 2, 3), "tc": (1, 3), "ncr": (1,), "et": (3,)},
        "partners": {"et": ("ncr",)},
        "dilation": lambda _part: 1,
        "threshold": lambda _part: 2,
        "penalty": 374.0,
    },
}


def score_2024(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], task: str
) -> dict[str, dict[str, float]]:
    """Return the scores of every part of two label maps by the rules of a task of 2024."""
    rules = TASKS_2024[task]
    predicted = lesion_maps(prediction, rules, prune=True)
    expected = lesion_maps(reference, rules, prune=False)
    scores = {}
    for part in rules["parts"]:
        whole = predicted[part] > 0, expected[part] > 0
        is_empty = not whole[0].any() and not whole[1].any()
        distance = 0.0 if is_empty else min(hd95(*whole, spacing), rules["penalty"])
        scores[part] = score_lesions(
            predicted[part],
            expected[part],
            spacing,
            rules["dilation"](part),
            threshold=rules["threshold"](part),
            penalty=rules["penalty"],
            tolerances=(0.5, 1.0),
        )
        scores[part] |= {"dice": 1.0 if is_empty else dice(*whole), "hd95": distance}
        scores[part] |= {f"nsd_{t:g}mm": surface_dice(*whole, spacing, t) for t in (0.5, 1.0)}
    return scores


def lesion_maps(labels: np.ndarray, rules: dict, *, prune: bool) -> dict[str, np.ndarray]:
    """Return the numbered lesions of every part: merged, without small ones, joined by partner tissues."""
    maps = {}
    for part, values in rules["parts"].items():
        lesions = merge(np.isin(labels, values), rules["dilation"](part))
        if prune:
            numbers, counts = np.unique(lesions, return_counts=True)
            lesions = np.where(np.isin(lesions, numbers[counts <= rules["threshold"](part)]), 0, lesions)
        maps[part] = lesions
    joined = dict(maps)
    for part, partners in rules["partners"].items():
        for partner in partners:
            joined[part] = join(joined[part], maps[partner])
    return {part: renumber(lesions) for part, lesions in joined.items()}


def join(lesions: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Return the lesions of a tissue in which those that touch one lesion of a partner tissue are one."""
    touching = []
    for one in np.unique(lesions[lesions > 0]):
        grown = ndimage.binary_dilation(lesions == one, structure=EIGHTEEN)
        touching += [(int(one), int(other)) for other in np.unique(partner[grown]) if other]
    if len(touching) <= 1:
        return lesions
    new_numbers: dict[int, int] = {}
    moves: dict[int, int] = {}
    for one, other in sorted(touching):
        new_numbers.setdefault(other, int(lesions.max()) + 1 + len(new_numbers))
        moves.setdefault(one, new_numbers[other])
    joined = lesions.copy()
    for one, new in moves.items():
        joined[lesions == one] = new
    return joined


def renumber(lesions: np.ndarray) -> np.ndarray:
    """Return the lesions numbered from 1 without gaps, in the same order."""
    numbers = np.unique(lesions[lesions > 0])
    return np.where(lesions > 0, np.searchsorted(numbers, lesions) + 1, 0)
