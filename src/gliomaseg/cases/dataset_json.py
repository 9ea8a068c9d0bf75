"""dataset.json of nnU-Net and the Medical Segmentation Decathlon: the meaning of channels and labels.

nnU-Net 2 has ``channel_names`` and labels by name ({"edema": 1} or, nested, {"whole tumor": [1, 2, 3]});
nnU-Net 1 and the Decathlon have ``modality`` and labels by number ({"1": "edema"}).
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

#: Larger files are not read completely; the Decathlon's has 43 kB.
_MOST_BYTES = 1 << 24

#: Patterns of the names of each tissue; the first that fits decides.
_TISSUES = {
    Tissue.CAVITY: r"\brc\b|cavity",
    Tissue.CYST: r"\bcc\b|cyst",
    Tissue.OEDEMA: r"\bo?edema|\bed\b|snfh",
    Tissue.NECROSIS: r"necro|non[- _]?enhanc|\b(?:ncr[/_ ]?)?netc?\b|\bncr\b",
    Tissue.ENHANCING: r"enhanc|\bet\b",
}
#: The same for nested regions: whole tumour, core, enhancing tumour.
_NESTED = (r"whole|\bwt\b", r"core|\btc\b", r"enhanc|\bet\b")


@dataclass(frozen=True)
class Dataset:
    """The sequence of each channel (None for another one), and the label scheme."""

    channels: Mapping[int, Modality | None]
    scheme: LabelScheme


def find_dataset(folder: Path) -> Dataset | None:
    """Return the dataset.json in a folder or above it, or None; raises CaseError (E-MANIFEST)."""
    paths = [place / "dataset.json" for place in (folder, folder.resolve().parent)]
    path = next((path for path in paths if path.is_file()), None)
    return _read(path) if path else None


def _read(path: Path) -> Dataset:
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_MOST_BYTES))
        names = content.get("channel_names") or content["modality"]
        channels = {int(number): _modality(str(name)) for number, name in names.items()}
        return Dataset(channels, _scheme(content.get("labels")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CaseError(
            "E-MANIFEST",
            f"{path} has no channel names that can be read ({type(error).__name__})",
            expected='JSON with "channel_names", such as {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}',
            remedy="correct it (nnU-Net's dataset_format.md shows how), or give a CSV list of the cases",
        ) from error


def _modality(name: str) -> Modality | None:
    return MODALITY_NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def _scheme(labels: Any) -> LabelScheme:
    """Return the known scheme with these labels, else the one that refuses every label."""
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
    """Return the tissue of each region that is not in the next inner one."""
    sets = {name: set(v) if isinstance(v, list) else {v} for name, v in regions.items()}
    nested: list[set[Any]] = [
        next((v for name, v in sets.items() if re.search(words, name, re.IGNORECASE)), set())
        for words in _NESTED
    ]
    shells = [outer - inner for outer, inner in zip(nested, [*nested[1:], set()], strict=True)]
    pairs = zip((Tissue.OEDEMA, Tissue.NECROSIS, Tissue.ENHANCING), shells, strict=True)
    return {tissue: int(next(iter(shell))) for tissue, shell in pairs if len(shell) == 1}
