"""The layouts of data sets: a table with one row for each way of naming files. Add a new layout here.

Patterns match the end of a path without the file's ending; those with a slash see its folders. Their groups:

- ``id`` is the case; without it, ``patient`` and ``session`` from the folders' names are;
- ``sequence`` is one, by any name of ``labels.MODALITY_NAMES``;
- ``contrast`` matches if a T1 is one with contrast;
- ``channel`` is a number that dataset.json explains; a stack (all sequences in one file) has neither;
- ``lesser`` matches if another file of the same sequence takes precedence;
- ``set`` matches if images and label maps are in separate folders: those of one set and id are joined.

Sources: the organisers' distributions of BraTS 2018 to 2024; Kaggle's copies of BraTS 2020 (the reference
of case 355 is called W39_1998.09.19_Segm.nii) and of 2021 and 2023 (each file in a folder of its own); BIDS
1.10; nnU-Net's documentation/dataset_format.md; the Medical Segmentation Decathlon's dataset.json; the
documentation of the FeTS tool; TCIA's NIfTI packages of UCSF-PDGM (version 5), UPENN-GBM and BraTS-TCGA;
Suter et al. 2022 (LUMIERE). The last five were checked against public code that reads them, not on the data.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gliomaseg.imaging.formats import ENDING, is_image_name
from gliomaseg.labels import BRATS2021, BRATS2023, MODALITY_NAMES, UNSURE, LabelScheme, Modality

_ID = r"(?P<id>[^/]+)"
#: Labels of BIDS hold letters and digits only; hyphens and dots in them are common nevertheless.
_SUBJECT = r"(?P<id>sub-[^/_]+(?:_ses-[^/_]+)?)"
_ENTITIES = r"(?:_[a-z]+-[^/_]+)*"
#: Matches an entity for a contrast agent: the standard's ce-, or what is written after acq-.
_CONTRAST = (
    r"(?:(?=[^/]*_(?:ce-(?!none_)[^/_]+|"
    r"acq-(?:t1)?(?:c|ce|gd|gad|gadolinium|post|postgd|postcontrast|contrast))_)(?P<contrast>))?"
)
_UCSF = r"(?P<id>UCSF-PDGM-\d+(?:_FU\d+d)?)"
_UPENN = r"(?P<id>UPENN-GBM-\d+_\d+)"
_TCGA = r"(?P<id>TCGA-\w\w-\w{4}_\d{4}\.\d\d\.\d\d)"
_ANY_SEQUENCE = r"(?P<sequence>t1|t1w|t1n|t1c|t1ce|t1gd|ct1|t2|t2w|t2f|flair|t2flair)"


class Layout(NamedTuple):
    """One way of naming: patterns of images and of label maps, the scheme of the labels, and an example."""

    name: str
    images: str
    labels: str | None
    scheme: LabelScheme
    example: str


class ParsedName(NamedTuple):
    """The meaning of one file name: the case, and the role of the file in it."""

    case_id: str
    layout: Layout
    is_label: bool
    modality: Modality | None = None
    channel: int | None = None
    is_lesser: bool = False
    joined: str | None = None


#: The layout whose files are named after the sequence only: the folder is the case.
PLAIN = "plain"

LAYOUTS = (
    Layout(
        "BraTS-PED",  # labels as in the other challenges in 2023, different ones in 2024
        r"(?P<id>BraTS-PED-[^/]+)-(?P<sequence>t1n|t1c|t2w|t2f)",
        r"(?P<id>BraTS-PED-[^/]+)-seg",
        UNSURE,
        "BraTS-PED-00001-000/BraTS-PED-00001-000-t1n.nii.gz, -t1c, -t2w, -t2f, -seg",
    ),
    Layout(
        "BraTS 2023/2024",
        _ID + r"-(?P<sequence>t1n|t1c|t2w|t2f)",
        _ID + r"-seg",
        BRATS2023,
        "BraTS-GLI-00005-000/BraTS-GLI-00005-000-t1n.nii.gz, -t1c, -t2w, -t2f, -seg",
    ),
    Layout(
        "BIDS",
        _SUBJECT + _CONTRAST + _ENTITIES + r"_(?P<sequence>T1w|T2w|FLAIR)",
        _SUBJECT + _ENTITIES + r"_dseg",
        UNSURE,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz, _ce-gadolinium_T1w, _T2w, _FLAIR",
    ),
    Layout(
        "BIDS with names of BraTS",
        _SUBJECT + _CONTRAST + _ENTITIES + "_" + _ANY_SEQUENCE,
        _SUBJECT + _ENTITIES + "_seg",
        BRATS2021,
        "sub-01/ses-1/anat/sub-01_ses-1_space-SRI24_t1.nii.gz, _t1ce, _t2, _flair, _seg",
    ),
    Layout(
        "UCSF-PDGM",
        _UCSF + r"_(?P<sequence>T1|T1c|T1gad|T2|FLAIR)(?P<lesser>_bias)?",
        _UCSF + r"_tumor_segmentation",
        BRATS2021,
        "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1.nii.gz, _T1c, _T2, _FLAIR, _tumor_segmentation",
    ),
    Layout(
        "UPENN-GBM",
        _UPENN + r"_(?P<sequence>T1|T1GD|T2|FLAIR)(?P<lesser>_unstripped)?(?P<set>)",
        _UPENN + r"(?P<lesser>_automated_approx)?_segm(?P<set>)",
        BRATS2021,
        "images_structural/UPENN-GBM-00002_11/UPENN-GBM-00002_11_T1.nii.gz, _T1GD, _T2, _FLAIR, _segm",
    ),
    Layout(
        "BraTS-TCGA",
        _TCGA + r"_(?P<sequence>t1|t1gd|t2|flair)",
        _TCGA + r"_GlistrBoost(?:_ManuallyCorrected|(?P<lesser>))",
        BRATS2021,
        "TCGA-02-0006/TCGA-02-0006_1996.08.23_t1.nii.gz, _t1Gd, _t2, _flair, _GlistrBoost",
    ),
    Layout(
        "FeTS",
        _ID + r"_brain_" + _ANY_SEQUENCE,
        r"(?P<id>[^/]+?)(?:_brain)?_final_seg",
        BRATS2021,
        "Patient_001/Patient_001_brain_t1.nii.gz, _brain_t1ce, _brain_t2, _brain_t2flair, _final_seg",
    ),
    Layout(
        "BraTS 2018 to 2021",
        r"(?!sub-[^/]*_ce-)" + _ID + r"_(?P<sequence>t1|t1w|t1ce|t1gd|t1n|t1c|t2|t2w|t2f|flair)",
        _ID + r"_seg",
        BRATS2021,
        "BraTS2021_00005/BraTS2021_00005_t1.nii.gz, _t1ce, _t2, _flair, _seg",
    ),
    Layout(
        "LUMIERE",
        r"(?P<patient>Patient-\d+)/(?P<session>week-[\d-]+)/(?P<sequence>CT1|T1|T2|FLAIR)",
        None,
        UNSURE,
        "Patient-001/week-000-1/T1.nii.gz, CT1, T2, FLAIR",
    ),
    Layout(
        PLAIN,
        _ID + r"/" + _ANY_SEQUENCE,
        _ID + r"/(?P<lesser>)seg",
        BRATS2021,
        "case-7/t1.nii.gz, t1ce, t2, flair, seg",
    ),
    Layout(
        "nnU-Net",
        r"(?:images(?P<set>Tr|Ts|Val)/)?(?P<id>[^/]+)_(?P<channel>\d{4})",
        None,
        UNSURE,
        "dataset.json, imagesTr/case-7_0000.nii.gz, _0001, _0002, _0003, labelsTr/case-7.nii.gz",
    ),
    Layout(
        "MSD",
        r"images(?P<set>Tr|Ts|Val)/(?P<id>[^/]+)",
        r"labels(?P<set>Tr|Ts|Val)/(?P<id>[^/]+)",
        UNSURE,
        "dataset.json, imagesTr/BRATS_001.nii.gz (all sequences in one file), labelsTr/BRATS_001.nii.gz",
    ),
)

#: The layout that errors show, because most people know it.
EXAMPLE = next(layout.example for layout in LAYOUTS if layout.name == "BraTS 2018 to 2021")

#: A reference without the name of its case: it belongs to the only case of its folder.
STRAY_REFERENCE = re.compile(r".*_segm" + ENDING, re.IGNORECASE | re.DOTALL)

#: Other files beside the sequences in public data sets, by the end of their names.
_OTHERS = re.compile(
    r"(?:.*[_-])?(?:\w*mask|\w*seg(?:mentation)?|dseg|probseg|adc|asl|dti\w*|dwi|swi|bold|magnitude\d?|"
    r"phase\w*|t2star|pdw?|bias)(?:_bias)?" + ENDING,
    re.IGNORECASE | re.DOTALL,
)
#: The suffixes of BIDS 1.11 for images that are none of the four sequences. UNIT1 (a T1 of MP2RAGE) is not
#: among them: it is named as not understood, because it may be the missing T1.
_BIDS_OTHERS = re.compile(
    r"sub-[^/]+_(?:\w*map|angio|asl|bold|cbv|defacemask|epi|flash|inplanet[12]|irt1|m0scan|megre|mese|mp2rage|"
    r"mpm|mt[rsw]|pd|pdt2|phasediff|roi|sbref|t1rho|t2starw?|tb1\w+|vfa)" + ENDING,
    re.IGNORECASE | re.DOTALL,
)
#: A piece of a name that is likely to be a sequence's.
_SEQUENCE = re.compile(r"(?<![a-z])(?:c?t1|t2|fl|mpr|mp2?rage|spgr)", re.IGNORECASE)


#: Each pattern, for the end of a path, with its layout, whether it is of label maps, and sees folders.
_PATTERNS = [
    (layout, is_label, sees_folders, re.compile(start + pattern + ENDING, re.IGNORECASE | re.DOTALL))
    for layout in LAYOUTS
    for is_label, pattern in ((False, layout.images), (True, layout.labels))
    if pattern
    for sees_folders in ("/" in pattern.replace("[^/]", ""),)
    for start in ("(?:.*?/)??" if sees_folders else "",)
]


def parse_name(name: str, folders: str = "") -> ParsedName | None:
    """Return the meaning of a file name under the first layout that fits, or None.

    ``folders`` are the names of its last two folders, such as "Patient-001/week-000-1/".
    """
    for layout, is_label, sees_folders, pattern in _PATTERNS:
        match = pattern.fullmatch(folders + name if sees_folders else name)
        if not match:
            continue
        groups = match.groupdict()
        modality = MODALITY_NAMES.get((groups.get("sequence") or "").lower())
        is_lesser = groups.get("lesser") is not None
        if groups.get("contrast") is not None:
            # T2 and FLAIR without contrast are preferred
            is_lesser |= modality not in (Modality.T1N, Modality.T1C)
            modality = Modality.T1C if modality == Modality.T1N else modality
        case_id = groups.get("id") or f"{groups['patient']}_{groups['session']}"
        channel = int(groups["channel"]) if groups.get("channel") else None
        joined = groups["set"].lower() if groups.get("set") is not None else None
        return ParsedName(case_id, layout, is_label, modality, channel, is_lesser, joined)
    return None


def is_other_name(name: str) -> bool:
    """Return whether a name is that of another image than a sequence, such as a mask or a diffusion map."""
    return _OTHERS.fullmatch(name) is not None or _BIDS_OTHERS.fullmatch(name) is not None


def is_like_sequence(name: str) -> bool:
    """Return whether a name that no layout knows is likely to be a sequence's."""
    return is_image_name(name) and _SEQUENCE.search(name) is not None and not is_other_name(name)
