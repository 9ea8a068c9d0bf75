"""The fingerprint of a data set: numbers of its prepared cases that matter for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gliomaseg.labels import MODALITY_TITLES, Modality, Tissue
from gliomaseg.training.cache import PreparedCase


@dataclass(frozen=True)
class Range:
    """Minimum, median and maximum of a number over cases."""

    least: float
    median: float
    greatest: float

    def __str__(self) -> str:
        low, middle, high = (f"{value:.4g}" for value in (self.least, self.median, self.greatest))
        return middle if low == high else f"{middle} ({low} to {high})"


@dataclass(frozen=True)
class Fingerprint:
    """Numbers of a set of cases; spacing in mm, volumes in ml, axes x, y, z.

    ``box`` is the size of the brain's box in voxels, to which a case is cropped; ``intensities`` are means
    inside the brain before the z-score; ``without`` counts the cases that lack a tissue.
    """

    cases: int
    patients: int
    sequences: tuple[str, ...]
    spacing_mm: tuple[Range, ...]
    shape: tuple[Range, ...]
    box: tuple[Range, ...]
    intensities: dict[str, Range]
    volumes_ml: dict[str, Range]
    without: dict[str, int]

    def rows(self) -> list[tuple[str, str]]:
        """Return the fingerprint as text, (what, found)."""
        intensities = [f"{name} {mean}" for name, mean in self.intensities.items()]
        volumes = [f"{name.upper()} {volume}" for name, volume in self.volumes_ml.items()]
        lacking = [f"{count} without {name.upper()}" for name, count in self.without.items() if count]
        return [
            ("cases", ", ".join([f"{self.cases} of {self.patients} patients", *lacking])),
            ("sequences", ", ".join(MODALITY_TITLES[Modality(name)] for name in self.sequences)),
            ("voxel size, mm", " x ".join(map(str, self.spacing_mm))),
            ("image, voxels", " x ".join(map(str, self.shape))),
            ("brain's box, voxels", " x ".join(map(str, self.box))),
            ("mean intensity", ", ".join(intensities)),
            ("volume, ml", ", ".join(volumes)),
        ]


def take_fingerprint(cases: Sequence[PreparedCase]) -> Fingerprint:
    """Return the fingerprint of at least one case; reads no voxel."""
    facts = [case.facts for case in cases]
    voxel_ml = [float(np.prod(fact["spacing_mm"])) / 1000 for fact in facts]
    tissues = [Tissue(name) for name in facts[0]["voxels"]]
    sequences = tuple(facts[0]["intensities"])
    voxels = {tissue: [fact["voxels"][tissue] for fact in facts] for tissue in tissues}
    return Fingerprint(
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        sequences=sequences,
        spacing_mm=_by_axis(fact["spacing_mm"] for fact in facts),
        shape=_by_axis(fact["shape"] for fact in facts),
        box=_by_axis(case.label.shape for case in cases),
        intensities={name: _range(fact["intensities"][name]["mean"] for fact in facts) for name in sequences},
        volumes_ml={
            tissue.value: _range(n * ml for n, ml in zip(voxels[tissue], voxel_ml, strict=True))
            for tissue in tissues
        },
        without={tissue.value: voxels[tissue].count(0) for tissue in tissues},
    )


def _by_axis(sizes: Iterable[Sequence[float]]) -> tuple[Range, ...]:
    return tuple(_range(axis) for axis in zip(*sizes, strict=True))


def _range(values: Iterable[float]) -> Range:
    found = np.array(list(values), dtype=float)
    return Range(*(round(float(value), 4) for value in (found.min(), np.median(found), found.max())))
