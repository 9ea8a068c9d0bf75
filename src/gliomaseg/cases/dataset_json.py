"""dataset.json, of nnU-Net and of the Medical Segmentation Decathlon: what channels and labels mean.

nnU-Net 2 says ``channel_names`` and labels by name ({"edema": 1} or, nested, {"whole tumor": [1, 2, 3]}),
nnU-Net 1 and the Decathlon say ``modality`` and labels by number ({"1": "edema"}).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliomaseg.errors import CaseError
from gliomaseg.labels import MODALITY_NAMES, SCHEMES, UNSURE, LabelScheme, Modality, Tissue

FILE_NAME = "dataset.json"
#: No such file is larger; the Decathlon's has 43 kB.
_MOST_BYTES = 1 << 24

#: How the tissue of a label is told from its name: the first that fits.
_TISSUES = {
    Tissue.CAVITY: r"\brc\b|cavity",
    Tissue.CYST: r"\bcc\b|cyst",
    Tissue.OEDEMA: r"\bo?edema|\bed\b|snfh",
    Tissue.NECROSIS: r"necro|non[- _]?enhanc|\b(?:ncr[/_ ]?)?netc?\b|\bncr\b",
    Tissue.ENHANCING: r"enhanc|\bet\b",
}
#: The same of a nested region: whole tumour, core, enhancing tumour.
_NESTED = (r"whole|\bwt\b", r"core|\btc\b", r"enhanc|\bet\b")


@dataclass(frozen=True)
class Dataset:
    """What a dataset.json says: the sequence of each channel (None: none of ours), and the label scheme."""

    channels: Mapping[int, Modality | None]
    scheme: LabelScheme


def read_dataset(path: Path) -> Dataset:
    """Return what a dataset.json says; raises CaseError (E-MANIFEST) for one that can't be understood."""
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_MOST_BYTES))
        names = content.get("channel_names") or content["modality"]
        channels = {int(number): _modality(str(name)) for number, name in names.items()}
        return Dataset(channels, _scheme(content.get("labels")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CaseError(
            "E-MANIFEST",
            f"{path} can't be understood: {type(error).__name__}",
            expected='JSON with "channel_names", such as {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}',
            remedy="write it so, as nnU-Net's documentation says, or give a CSV list of the cases",
        ) from error


def _modality(name: str) -> Modality | None:
    return MODALITY_NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def _scheme(labels: Any) -> LabelScheme:
    """Return the known scheme that these labels are of, else one that refuses every label."""
    if not isinstance(labels, dict):
        return UNSURE
    is_nested = any(isinstance(values, list) for values in labels.values())
    values = _unnest(labels) if is_nested else _by_tissue(labels)
    return next((scheme for scheme in SCHEMES.values() if scheme.values == values), UNSURE)


def _by_tissue(labels: Mapping[str, Any]) -> dict[Tissue, int]:
    found = {}
    for key, value in labels.items():
        name, number = (value, key) if isinstance(value, str) else (key, value)
        tissue = next((t for t, words in _TISSUES.items() if re.search(words, name, re.IGNORECASE)), None)
        if tissue is not None:
            found[tissue] = int(number)
    return found


def _unnest(regions: Mapping[str, Any]) -> dict[Tissue, int]:
    """Return the tissue that each region holds beyond the next inner one."""
    sets = {name: set(v) if isinstance(v, list) else {v} for name, v in regions.items()}
    nested: list[set[Any]] = [
        next((v for name, v in sets.items() if re.search(words, name, re.IGNORECASE)), set())
        for words in _NESTED
    ]
    shells = [outer - inner for outer, inner in zip(nested, [*nested[1:], set()], strict=True)]
    pairs = zip((Tissue.OEDEMA, Tissue.NECROSIS, Tissue.ENHANCING), shells, strict=True)
    return {tissue: int(next(iter(shell))) for tissue, shell in pairs if len(shell) == 1}
