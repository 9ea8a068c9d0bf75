"""Predictions and references on disk, paired by case id, with the maps of each case."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases, label_scheme
from gliomaseg.errors import CaseError
from gliomaseg.imaging.stored_file import missing_file
from gliomaseg.inference.uncertainty import PROBABILITY_NAMES, UNCERTAINTY_NAMES
from gliomaseg.labels import LabelScheme, Modality
from gliomaseg.storage.result_folder import LABELS

_OWN_NAMES = (LABELS, "seg.nii")
_ENDINGS = tuple(part + end for part in ("", "_seg", "-seg") for end in (".nii.gz", ".nii"))
_NAME = re.compile(r"(?P<id>.+?)(?:[_-]seg)?\.nii(?:\.gz)?")


class Options(TypedDict, total=False):
    """How to evaluate, beyond the rules; everything may be left out.

    ``scheme`` is the label scheme of the predictions; by default, the one named in ``run.json`` beside a
    prediction, else that of its reference. ``reference_scheme`` overrides the one that the references' layout
    implies. ``predicted_only`` leaves out references without a prediction instead of scoring them as empty.
    ``ignore_affine`` takes the voxels of predictions in the reference's order, if they have its shape.
    ``uncertainty`` and ``probabilities`` are folders of maps per case (``_find_maps``). ``workers`` is the
    number of processes: 1 (the default) for this one alone, 0 for all cores; more than one needs a script
    that guards its own work with ``if __name__ == "__main__"``.
    """

    scheme: LabelScheme | None
    reference_scheme: LabelScheme | None
    predicted_only: bool
    uncertainty: Path | None
    probabilities: Path | None
    workers: int
    ignore_affine: bool


@dataclass(frozen=True)
class Pair:
    """The files of one case: its reference, its prediction if there is one, its images and maps.

    ``scheme`` is that of the reference, ``prediction_scheme`` that of the prediction, if it is known.
    ``uncertainty`` and ``probabilities`` map regions to files; ``channels`` are the indices of images
    in files of several. With ``ignore_affine`` a prediction of the reference's shape is taken voxel by voxel.
    """

    case_id: str
    reference: Path
    scheme: LabelScheme
    prediction: Path | None = None
    images: Mapping[Modality, Path] = field(default_factory=dict)
    channels: Mapping[Modality, int] = field(default_factory=dict)
    uncertainty: Mapping[str, Path] = field(default_factory=dict)
    probabilities: Mapping[str, Path] = field(default_factory=dict)
    prediction_scheme: LabelScheme | None = None
    ignore_affine: bool = False


@dataclass(frozen=True)
class Pairs:
    """Every reference with its prediction; ids of predictions without a reference, of cases without one."""

    pairs: tuple[Pair, ...]
    extra: tuple[str, ...]
    skipped: tuple[str, ...]


def pair_up(predictions: Path, references: Path, *, fallback: LabelScheme, options: Options) -> Pairs:
    """Return each reference with the prediction of its id, sorted by id.

    The scheme of the references is ``fallback`` where neither the options nor their layout name one.
    Raises ImageError (E-NOFILE) and CaseError (E-NOCASE: nothing found or no id in common; E-NOREF, E-DUPID,
    E-PERM).
    """
    found = find_predictions(predictions)
    listed = _find_references(references, options.get("reference_scheme"), fallback)
    for case in listed:
        if case.error and case.reference is None and case.error.code != "E-UNKNOWN":  # about images only
            raise case.error
    expert = [case.id for case in listed if case.reference]
    _check_pairs(predictions, references, list(found), expert)
    kept = [c for c in listed if c.reference and (c.id in found or not options.get("predicted_only"))]
    ids = [case.id for case in kept]
    uncertainty = _find_maps(options.get("uncertainty"), ids, UNCERTAINTY_NAMES)
    probabilities = _find_maps(options.get("probabilities"), ids, PROBABILITY_NAMES)
    pairs = tuple(
        Pair(
            case.id,
            case.reference,
            case.scheme,
            found.get(case.id),
            case.images,
            case.channels,
            uncertainty.get(case.id, {}),
            probabilities.get(case.id, {}),
            options.get("scheme"),
            options.get("ignore_affine", False),
        )
        for case in kept
        if case.reference
    )
    return Pairs(
        pairs,
        extra=tuple(sorted(found.keys() - {case.id for case in listed})),
        skipped=tuple(case.id for case in listed if case.reference is None and case.id in found),
    )


def find_predictions(folder: Path) -> dict[str, Path]:
    """Return the label map of each case id in a folder, sorted by file name.

    Recognised are ``<id>/seg.nii.gz`` (results of gliomaseg; such a folder alone, too), ``<id>.nii.gz``,
    ``<id>_seg.nii.gz`` and ``<id>-seg.nii.gz``, these also in a folder ``<id>`` and as .nii.
    Raises ImageError (E-NOFILE), CaseError (E-NOFILE, E-PERM, E-DUPID, E-NOCASE).
    """
    found: dict[str, Path] = {}
    for path in _label_maps(folder):
        match = _NAME.fullmatch(path.name)
        name = match["id"] if match and path.name not in _OWN_NAMES else path.resolve().parent.name
        if name in found:
            raise CaseError(
                "E-DUPID",
                f"case {name} has two predictions: {found[name]} and {path}",
                expected="one label map per case",
                remedy="move one of them out of the folder",
            )
        found[name] = path
    if not found:
        raise CaseError(
            "E-NOCASE",
            f"no prediction was found in {folder}",
            expected="<id>/seg.nii.gz, <id>.nii.gz, <id>_seg.nii.gz or <id>-seg.nii.gz (or .nii)",
            remedy="name the folder that directly holds these files or folders",
        )
    return found


def _label_maps(folder: Path) -> Iterator[Path]:
    if not folder.exists():
        raise missing_file(folder)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CaseError(
            "E-PERM" if folder.is_dir() else "E-NOFILE",
            f"{folder} can't be read as a folder: {error.strerror}",
            expected="a readable folder with predictions",
            remedy="name the folder that holds the label maps; check its permissions",
        ) from error
    for entry in entries:
        if entry.is_dir():
            names = (*_OWN_NAMES, *(entry.name + ending for ending in _ENDINGS))
            yield from (path for name in names if (path := entry / name).is_file())
        elif _NAME.fullmatch(entry.name) and not entry.name.startswith("."):
            yield entry


def _find_references(path: Path, scheme: LabelScheme | None, fallback: LabelScheme) -> list[Case]:
    """Return the cases of a data set, or of a folder of label maps alone."""
    try:
        return find_cases(path, scheme=scheme)
    except CaseError as error:
        if error.code != "E-NOCASE":
            raise
        try:
            maps = find_predictions(path)
        except CaseError:
            raise error from None
    return [
        Case(name, {}, file, scheme or label_scheme(file) or fallback) for name, file in sorted(maps.items())
    ]


def _check_pairs(predictions: Path, references: Path, found: list[str], expert: list[str]) -> None:
    if not expert:
        raise CaseError(
            "E-NOREF",
            f"no case in {references} has a reference label map",
            expected="cases with a reference, such as <id>/<id>_seg.nii.gz beside the images",
            remedy="name the folder of a data set with expert label maps",
        )
    if set(found).isdisjoint(expert):
        raise CaseError(
            "E-NOCASE",
            f"no prediction in {predictions} has the id of a reference in {references}",
            expected=f"ids such as {', '.join(expert[:3])}; found were {', '.join(found[:3])}",
            remedy="rename the predictions after their cases, or name the other folder",
        )


def _find_maps(
    folder: Path | None, case_ids: list[str], names: Mapping[str, str]
) -> dict[str, dict[str, Path]]:
    """Return the file of each region in ``names`` that a folder holds for each case; none without a folder.

    They are ``<case>/<case>_<name>``, ``<case>/<name>`` or ``<case>_<name>``, as .nii.gz or .nii. Raises
    CaseError (E-NOCASE) when a folder holds no map of any case, ImageError (E-NOFILE) when it doesn't exist.
    """
    if folder is None:
        return {}
    found: dict[str, dict[str, Path]] = {case_id: {} for case_id in case_ids}
    for case_id, maps in found.items():
        starts = (f"{case_id}/{case_id}_", f"{case_id}/", f"{case_id}_")
        for region, name in names.items():
            candidates = (folder / f"{start}{name}{end}" for start in starts for end in (".nii.gz", ".nii"))
            if path := next((candidate for candidate in candidates if candidate.is_file()), None):
                maps[region] = path
    if any(found.values()):
        return found
    if not folder.exists():
        raise missing_file(folder)
    case_id, example = case_ids[0], next(iter(names.values()))
    raise CaseError(
        "E-NOCASE",
        f"{folder} holds no map of any of the {len(case_ids)} cases",
        expected=f"files such as {case_id}/{example}.nii.gz or {case_id}_{example}.nii.gz",
        remedy=f"name the maps {', '.join(names.values())}, after their cases",
    )
