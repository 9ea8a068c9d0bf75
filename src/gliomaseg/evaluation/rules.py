"""The scoring rules of every BraTS year, as data: which regions, which metrics, what an empty mask gives.

They follow the official code, named in each ``source``, even where it contradicts its own intent.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gliomaseg.errors import SettingsError
from gliomaseg.labels import (
    BRATS2021,
    BRATS2023,
    BRATS2024,
    BRATS2024_PED,
    REGION_TISSUES,
    LabelScheme,
    Region,
    Tissue,
)

Parts = Mapping[str, frozenset[Tissue]]


@dataclass(frozen=True)
class LesionRule:
    """What forms one lesion, and which lesions count; the defaults are those of glioma in 2023.

    Components of the reference are one lesion if they connect after ``dilation`` steps (18 neighbours).
    Lesions up to ``threshold_mm3`` are left out. Missed and false lesions have the HD95 ``penalty_mm``.
    With ``merge_prediction`` (2024) the predicted components are merged in the same way, and those of up to
    ``threshold_mm3`` voxels (voxels!) are deleted before anything is scored.
    """

    dilation: int = 3
    threshold_mm3: float = 50.0
    penalty_mm: float = 374.0
    merge_prediction: bool = False


@dataclass(frozen=True)
class Profile:
    """The rules of one challenge.

    ``parts`` are the regions and tissues that are scored; ``metrics`` are those of a whole region and of its
    lesions (``lesion_``). ``surface`` is the definition of HD95, ``nsd_surface`` that of NSD (see
    ``surface``); both are in mm or, without ``in_mm``, in voxels. ``nsd`` are the tolerances.

    If both masks of a region are empty, overlaps are ``both_empty`` and HD95 is ``both_empty_hd95``; if one
    is, HD95 is ``penalty`` (None: the diagonal of the image in voxels) and NSD 0. If ``is_strict``, dividing
    by zero gives NaN; if ``needs_overlap``, masks without a common voxel count as if one was empty.

    ``lesion_rules`` maps each region to its rule, "" to that of all others, and ``partners`` maps it to the
    tissues whose lesions join its own. Without a rule, lesions match one to one.

    ``scheme`` is the year's label scheme, for references whose names imply none. ``headlines`` are the
    overlap and the distance that rank.
    """

    name: str
    source: str
    parts: Parts
    metrics: tuple[str, ...]
    scheme: LabelScheme = BRATS2021
    headlines: tuple[str, str] = ("dice", "hd95")
    surface: Literal["voxels", "elements"] = "elements"
    in_mm: bool = True
    is_strict: bool = False
    needs_overlap: bool = False
    both_empty: float = 1.0
    both_empty_hd95: float = 0.0
    penalty: float | None = 374.0
    nsd: tuple[float, ...] = ()
    nsd_surface: Literal["voxels", "elements"] = "voxels"
    lesion_rules: Mapping[str, LesionRule] = field(default_factory=dict)
    partners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_REGIONS: Parts = {region.value: REGION_TISSUES[region] for region in Region}
_GLIOMA: Parts = {**_REGIONS, **{t.value: frozenset({t}) for t in (Tissue.NECROSIS, Tissue.OEDEMA)}}
_TREATED: Parts = {**_GLIOMA, Tissue.CAVITY.value: frozenset({Tissue.CAVITY})}
_PAEDIATRIC: Parts = {**_GLIOMA, Tissue.CYST.value: frozenset({Tissue.CYST})}

_WHOLE = ("dice", "hd95", "sensitivity", "specificity")
_BY_LESION = ("lesion_dice", "lesion_hd95")
_LESIONS = ("lesion_dice", "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn")

_STRICT = Profile(
    name="strict",
    source="no challenge: each definition as in its paper, NaN where it divides by zero or lacks a surface",
    parts=_TREATED,
    metrics=(
        "dice",
        "iou",
        "hd95",
        "asd",
        "nsd",
        "sensitivity",
        "specificity",
        "precision",
        "volume_similarity",
    ),
    is_strict=True,
    both_empty=math.nan,
    both_empty_hd95=math.nan,
    penalty=math.nan,
    nsd=(1.0,),
    nsd_surface="elements",
)

_BRATS2020 = Profile(
    name="brats2020",
    source="BraTS 2012 to 2022: CaPTk GetBraTSLabelStatistics; HD95 by MedPy in voxels (FeTS Hausdorff95.py)",
    parts=_GLIOMA,
    metrics=("dice", "hd95", "sensitivity", "specificity", "iou", "precision", "volume_similarity"),
    surface="voxels",
    in_mm=False,
    penalty=None,
)

_BRATS2026 = Profile(
    name="brats2026",
    source="BraTS 2025 and 2026: brats-evaluation 0.0.10, config_gli, on panoptica 2.1; its HD95 and NSD of "
    "a whole part leave the spacing out (NSD at half a voxel) and need a voxel in common",
    parts=_TREATED,
    scheme=BRATS2024,
    metrics=("dice", "hd95", "nsd", *_LESIONS[:2], "lesion_nsd", *_LESIONS[2:]),
    surface="voxels",
    in_mm=False,
    both_empty=math.nan,
    both_empty_hd95=math.nan,
    penalty=373.0,
    needs_overlap=True,
    nsd=(0.5,),
)


def _brats2023(task: str, rule: LesionRule) -> Profile:
    return Profile(
        name=f"brats2023-{task}",
        source="BraTS 2023: rachitsaluja/BraTS-2023-Metrics",
        parts=_REGIONS,
        metrics=(*_LESIONS, *_WHOLE),
        scheme=BRATS2023,
        headlines=_BY_LESION,
        lesion_rules={"": rule},
    )


def _brats2024(
    task: str,
    parts: Parts,
    rules: Mapping[str, LesionRule],
    partners: Mapping[str, tuple[str, ...]] | None = None,
    scheme: LabelScheme = BRATS2023,
) -> Profile:
    """Return the rules of a task of 2024.

    The official code computes HD95, sensitivity and specificity of a whole region from numbered lesions, so
    that they are right for a single lesion only; here they come from the masks.
    """
    return Profile(
        name=f"brats2024-{task}",
        source="BraTS 2024: rachitsaluja/BraTS-2024-Metrics; HD95, sensitivity and specificity of a whole "
        "part from masks, not from numbered lesions as there",
        parts=parts,
        metrics=(*_LESIONS[:2], "lesion_nsd", *_LESIONS[2:], "dice", "hd95", "nsd", *_WHOLE[2:]),
        scheme=scheme,
        headlines=_BY_LESION,
        penalty=rules[""].penalty_mm,
        nsd=(0.5, 1.0),
        lesion_rules=rules,
        partners=partners or {},
    )


#: The rule of oedema has 5 steps in the official code of 2024, but its name is misspelled there: 3 apply.
_TREATED_RULES = {
    "": LesionRule(3, 20, 337, merge_prediction=True),
    "et": LesionRule(3, 10, 337, merge_prediction=True),
    "ncr": LesionRule(5, 20, 337, merge_prediction=True),
    "rc": LesionRule(5, 20, 337, merge_prediction=True),
}
_TREATED_PARTNERS = {
    "ncr": ("et", "rc"),
    "et": ("ncr", "rc"),
    "rc": ("et", "ncr"),
    "ed": ("et", "rc", "ncr"),
}

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        _BRATS2020,
        _brats2023("gli", LesionRule(3, 50)),
        _brats2023("ssa", LesionRule(3, 50)),
        _brats2023("ped", LesionRule(3, 50)),
        _brats2023("men", LesionRule(1, 50)),
        _brats2023("met", LesionRule(1, 2)),
        _brats2024("gli", _TREATED, _TREATED_RULES, _TREATED_PARTNERS, BRATS2024),
        _brats2024("ssa", _REGIONS, {"": LesionRule(3, 50, merge_prediction=True)}, {"et": ("ncr",)}),
        _brats2024("ped", _PAEDIATRIC, {"": LesionRule(5, 10, merge_prediction=True)}, scheme=BRATS2024_PED),
        _brats2024("men", _REGIONS, {"": LesionRule(1, 50)}),
        _brats2024("met", _REGIONS, {"": LesionRule(1, 2, merge_prediction=True)}, {"et": ("ncr",)}),
        _BRATS2026,
        _STRICT,
    )
}

#: Other names of the same rules: a year without a task is glioma.
ALIASES: Mapping[str, str] = {
    **{f"brats{year}": "brats2020" for year in (*range(2012, 2020), 2021, 2022)},
    "brats2023": "brats2023-gli",
    "brats2024": "brats2024-gli",
    "brats2025": "brats2026",
}


def find_profile(name: str) -> Profile:
    """Return the profile of that name, in any case; raises SettingsError (E-SETTING) with the nearest one."""
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key in PROFILES:
        return PROFILES[key]
    near = difflib.get_close_matches(key, [*PROFILES, *ALIASES], n=1, cutoff=0.5)
    raise SettingsError(
        "E-SETTING",
        f"there are no rules named {name!r}",
        expected="one of " + ", ".join(PROFILES),
        remedy=f"did you mean {near[0]}?" if near else "take brats2023-gli for glioma, strict for a paper",
    )
