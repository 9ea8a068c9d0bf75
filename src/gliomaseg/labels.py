"""What the integers of a label map mean, as tables: modalities, tissues, regions, label schemes.

No other module writes a label integer. BraTS changed the integer of enhancing tumour from 4 to 3 in
2023 and gave 4 to the resection cavity in 2024, so that code with integers in it is wrong for some year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gliomaseg.errors import LabelError, SettingsError


class Modality(StrEnum):
    """The four MRI sequences, in the order of every channel axis."""

    T1N = "t1n"
    T1C = "t1c"
    T2W = "t2w"
    T2F = "t2f"


#: How each modality is called in file names, CSV columns and options, lower case.
MODALITY_NAMES: Mapping[str, Modality] = {
    **{m.value: m for m in Modality},
    "t1": Modality.T1N,
    "t1w": Modality.T1N,
    "t1ce": Modality.T1C,
    "t1gd": Modality.T1C,
    "t1gad": Modality.T1C,
    "ct1": Modality.T1C,
    "t2": Modality.T2W,
    "flair": Modality.T2F,
    "t2flair": Modality.T2F,
}

MODALITY_TITLES: Mapping[Modality, str] = {
    Modality.T1N: "T1",
    Modality.T1C: "T1 contrast",
    Modality.T2W: "T2",
    Modality.T2F: "FLAIR",
}


class Tissue(StrEnum):
    """The exclusive classes that a label map distinguishes."""

    NECROSIS = "ncr"
    OEDEMA = "ed"
    ENHANCING = "et"
    CAVITY = "rc"
    CYST = "cc"


TISSUE_TITLES: Mapping[Tissue, str] = {
    Tissue.NECROSIS: "necrotic / non-enhancing core",
    Tissue.OEDEMA: "oedema",
    Tissue.ENHANCING: "enhancing tumour",
    Tissue.CAVITY: "resection cavity",
    Tissue.CYST: "cystic component",
}


class Region(StrEnum):
    """The nested regions that BraTS scores, outermost first: WT contains TC contains ET."""

    WT = "wt"
    TC = "tc"
    ET = "et"


REGION_TITLES: Mapping[Region, str] = {
    Region.WT: "whole tumour",
    Region.TC: "tumour core",
    Region.ET: "enhancing tumour",
}

REGION_TISSUES: Mapping[Region, frozenset[Tissue]] = {
    Region.WT: frozenset({Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING, Tissue.CYST}),
    Region.TC: frozenset({Tissue.NECROSIS, Tissue.ENHANCING, Tissue.CYST}),
    Region.ET: frozenset({Tissue.ENHANCING}),
}

#: The tissue of a voxel whose innermost region this is; a cyst counts as non-enhancing core.
REGION_SHELL: Mapping[Region, Tissue] = {
    Region.WT: Tissue.OEDEMA,
    Region.TC: Tissue.NECROSIS,
    Region.ET: Tissue.ENHANCING,
}


@dataclass(frozen=True)
class LabelScheme:
    """Which integer stands for which tissue; 0 is always background."""

    name: str
    values: Mapping[Tissue, int]

    @property
    def allowed(self) -> frozenset[int]:
        """Return every integer that a label map under this scheme may hold."""
        return frozenset(self.values.values()) | {0}

    def mask(self, labels: npt.NDArray[np.uint8], part: Region | Tissue) -> npt.NDArray[np.bool_]:
        """Return where ``labels`` (any shape) belong to a region or tissue; all false if never."""
        tissues = REGION_TISSUES[part] if isinstance(part, Region) else {part}
        found = np.zeros_like(labels, dtype=bool)
        for value in {self.values[tissue] for tissue in tissues & self.values.keys()}:
            found |= labels == value  # ten times as fast as looking values up in a table
        return found

    def check(
        self, labels: npt.NDArray[np.generic], name: str, *, option: str = "--scheme"
    ) -> npt.NDArray[np.uint8]:
        """Return ``labels`` as uint8 after proving that they are whole numbers of this scheme.

        Values within 0.01 of a whole number are rounded: label maps saved under a scaled integer
        header come back as 2.99999999930. Raises LabelError (E-LABEL, E-LABELS) naming ``name``, and
        ``option`` as the one that names another scheme.
        """
        values, counts = np.unique(labels, return_counts=True)
        whole = np.round(values.astype(np.float64))
        odd = values[~np.isclose(values, whole, rtol=0, atol=0.01) | ~np.isfinite(whole)][:3]
        if odd.size:
            raise LabelError(
                "E-LABEL",
                f"{name} holds fractional values, for example {', '.join(f'{v:g}' for v in odd)}",
                expected="a label map with whole numbers",
                remedy="it was probably resampled with linear interpolation: resample the original "
                "label map with nearest neighbour",
            )
        strange = [(int(v), int(n)) for v, n in zip(whole, counts, strict=True) if v not in self.allowed]
        if strange or not self.values:
            raise self._contradiction(name, strange, {int(v) for v in whole}, option)
        return np.asarray(
            labels if labels.dtype == np.uint8 else np.round(labels.astype(np.float64)), np.uint8
        )

    def _contradiction(
        self, name: str, strange: list[tuple[int, int]], found: set[int], option: str
    ) -> LabelError:
        fits = [
            f"{option} {scheme.name}, if it means {scheme.describe()};"
            for scheme in SCHEMES.values()
            if found <= scheme.allowed and scheme is not self
        ]
        if {3, 4} <= found:
            fits.append(
                "if 3 is non-enhancing core and 4 enhancing (BraTS 2012 to 2016): write 1 in place of 3"
            )
        listed = ", ".join(f"{value} ({count} voxels)" for value, count in strange[:5])
        what = f"{name} holds the label {listed}, which scheme {self.name} does not have"
        if not self.values:
            listed = ", ".join(map(str, sorted(found)))
            what = f"{name} holds the labels {listed}, and nothing says which tissue each stands for"
        return LabelError(
            "E-LABELS",
            what,
            expected=f"{self.name}: {self.describe()}" if self.values else "a known label scheme",
            remedy=" or ".join(fits)
            if fits
            else "no scheme known here has these labels: convert the file to one of " + ", ".join(SCHEMES),
        )

    def describe(self) -> str:
        """Return the scheme in words, such as ``1 necrotic / non-enhancing core, 2 oedema``."""
        pairs = sorted((value, TISSUE_TITLES[tissue]) for tissue, value in self.values.items())
        return ", ".join(f"{value} {title}" for value, title in pairs)


BRATS2021 = LabelScheme("brats2021", {Tissue.NECROSIS: 1, Tissue.OEDEMA: 2, Tissue.ENHANCING: 4})
BRATS2023 = LabelScheme("brats2023", {Tissue.NECROSIS: 1, Tissue.OEDEMA: 2, Tissue.ENHANCING: 3})
BRATS2024 = LabelScheme(
    "brats2024",
    {Tissue.NECROSIS: 1, Tissue.OEDEMA: 2, Tissue.ENHANCING: 3, Tissue.CAVITY: 4},
)
BRATS2024_PED = LabelScheme(
    "brats2024-ped",
    {Tissue.ENHANCING: 1, Tissue.NECROSIS: 2, Tissue.CYST: 3, Tissue.OEDEMA: 4},
)
MSD = LabelScheme("msd", {Tissue.OEDEMA: 1, Tissue.NECROSIS: 2, Tissue.ENHANCING: 3})
#: What a layout implies that says nothing about the integers of its label maps: every label is refused.
UNSURE = LabelScheme("unsure", {})

#: brats2021 stands for every year up to 2021 (2022 too); brats2024 for the post-treatment task,
#: brats2024-ped for the paediatric one.
SCHEMES: Mapping[str, LabelScheme] = {
    s.name: s for s in (BRATS2021, BRATS2023, BRATS2024, BRATS2024_PED, MSD)
}


def find_scheme(name: str) -> LabelScheme:
    """Return the scheme of that name; raises SettingsError (E-SETTING) listing the known ones."""
    try:
        return SCHEMES[name.lower()]
    except KeyError:
        raise SettingsError(
            "E-SETTING",
            f"there is no label scheme {name!r}",
            expected="one of " + ", ".join(SCHEMES),
            remedy="brats2021 is for BraTS up to 2022 (1, 2, 4), brats2023 for 1, 2, 3, "
            "brats2024 for 1, 2, 3 and 4 = resection cavity",
        ) from None
