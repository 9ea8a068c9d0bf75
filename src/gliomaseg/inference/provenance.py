"""What a result was computed with, as run.json records it: software, model and inputs."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.inference.bundle import Bundle
from gliomaseg.labels import Modality
from gliomaseg.storage import files
from gliomaseg.storage.record import RUN_SCHEMA

if TYPE_CHECKING:
    from gliomaseg.cases.case import Case

_LIBRARIES = ("numpy", "scipy", "nibabel", "isal", "openvino", "pillow")


def software_record() -> dict[str, Any]:
    """Return the schema of run.json and the versions of everything that computes."""
    return {
        "schema_version": RUN_SCHEMA,
        "notice": RESEARCH_USE,
        "gliomaseg": __version__,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def model_record(bundle: Bundle, case_id: str, sequences: Sequence[Modality]) -> dict[str, Any]:
    """Return the model's hash and settings, and its expected Dice for a case with these ``sequences``."""
    return {
        "model": {"name": bundle.name, "sha256": bundle.sha256},
        "missing": [m.value for m in bundle.settings.network.modalities if m not in sequences],
        "expected_dice": bundle.expected_dice(sequences),
        "seen_in_training": case_id in bundle.about["trained_on"],
        "settings": bundle.settings.model_dump(
            mode="json", include={"prepare", "network", "inference", "segment"}
        ),
    }


def inputs_record(case: Case, hashes: Mapping[Modality, str], *, keep_names: bool) -> dict[str, Any]:
    """Return the hash of each sequence and of the brain mask if given, and the volume of a file with several.

    The name of a file is recorded if ``keep_names``, or if it begins with the case's id: others may name the
    patient.
    """
    found: dict[str, Any] = {}
    for modality, digest in hashes.items():
        name = case.images[modality].name
        found[modality] = {"file": name} if keep_names or name.startswith(case.id) else {}
        if modality in case.channels:
            found[modality]["channel"] = case.channels[modality]
        found[modality]["sha256"] = digest
    if case.brain_mask:
        found["brain_mask"] = {"sha256": files.sha256_of(case.brain_mask)}
    return found
