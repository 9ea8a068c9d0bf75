"""How data sets name their files, as a table. Ignorant of folders and of file content.

Sources: the organisers' distributions of BraTS 2018 to 2024 and Kaggle's copy of BraTS 2020, in which
the reference of case 355 is called W39_1998.09.19_Segm.nii.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gliomaseg.labels import BRATS2021, BRATS2023, MODALITY_NAMES, LabelScheme, Modality

_NIFTI = r"\.nii(?:\.gz)?$"


class Layout(NamedTuple):
    """One way of naming: ``pattern`` has the groups ``id`` and ``part``."""

    name: str
    pattern: re.Pattern[str]
    scheme: LabelScheme
    example: str


class Part(NamedTuple):
    """What one file name says: its case, its modality (None: the reference) and its label scheme."""

    case_id: str
    modality: Modality | None
    scheme: LabelScheme


LAYOUTS = (
    Layout(
        "BraTS 2023/2024",
        re.compile(r"(?P<id>.+)-(?P<part>t1n|t1c|t2w|t2f|seg)" + _NIFTI, re.IGNORECASE),
        BRATS2023,
        "BraTS-GLI-00005-000/BraTS-GLI-00005-000-t1n.nii.gz, -t1c, -t2w, -t2f, -seg",
    ),
    Layout(
        "BraTS 2018 to 2021",
        re.compile(r"(?P<id>.+)_(?P<part>t1|t1ce|t1gd|t1n|t1c|t2|t2w|t2f|flair|seg)" + _NIFTI, re.IGNORECASE),
        BRATS2021,
        "BraTS2021_00005/BraTS2021_00005_t1.nii.gz, _t1ce, _t2, _flair, _seg",
    ),
)

#: A reference that doesn't bear its case's name: it belongs to the only case of its folder.
STRAY_REFERENCE = re.compile(r".*_segm" + _NIFTI, re.IGNORECASE)


def parse_name(name: str) -> Part | None:
    """Return what a file name says under the first layout that it fits, or None."""
    for layout in LAYOUTS:
        match = layout.pattern.fullmatch(name)
        if match:
            part = match["part"].lower()
            return Part(match["id"], MODALITY_NAMES.get(part), layout.scheme)
    return None
