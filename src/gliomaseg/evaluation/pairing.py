"""Which prediction belongs to which reference, by id; and the maps that go with a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_cases
from gliomaseg.cases.search import label_scheme
from gliomaseg.errors import CaseError
from gliomaseg.evaluation.prediction import find_predictions
from gliomaseg.evaluation.scores import Pair
from gliomaseg.imaging.raw_file import missing_file
from gliomaseg.labels import LabelScheme


@dataclass(frozen=True)
class Pairs:
    """Every reference with its prediction, and what has no counterpart."""

    pairs: tuple[Pair, ...]
    extra: tuple[str, ...]
    skipped: tuple[str, ...]


def pair_up(
    predictions: Path,
    references: Path,
    *,
    scheme: LabelScheme | None = None,
    fallback: LabelScheme,
) -> Pairs:
    """Return each reference with the prediction of its id, sorted by id.

    ``scheme`` is that of the references; without it, what their layout implies, and ``fallback`` where
    the names imply none. Raises ImageError (E-NOFILE) and CaseError (E-NOCASE: nothing found or no id in
    common; E-NOREF, E-DUPID, E-PERM).
    """
    found = find_predictions(predictions)
    listed = _find_references(references, scheme, fallback)
    for case in listed:
        if case.error and case.reference is None and case.error.code != "E-UNKNOWN":  # which needs no images
            raise case.error
    pairs = tuple(
        Pair(case.id, case.reference, case.scheme, found.get(case.id), case.images, channels=case.channels)
        for case in listed
        if case.reference is not None
    )
    _check_pairs(predictions, references, list(found), [pair.case_id for pair in pairs])
    return Pairs(
        pairs,
        extra=tuple(sorted(found.keys() - {case.id for case in listed})),
        skipped=tuple(case.id for case in listed if case.reference is None and case.id in found),
    )


def _find_references(path: Path, scheme: LabelScheme | None, fallback: LabelScheme) -> list[Case]:
    """Return the cases of a data set, or of a folder that holds nothing but label maps."""
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


def find_maps(folder: Path | None, case_id: str, names: Mapping[str, str]) -> dict[str, Path]:
    """Return the file of each region in ``names`` that a folder holds for a case; none without a folder.

    Looked for are ``<case>/<case>_<name>``, ``<case>/<name>`` and ``<case>_<name>`` as .nii.gz or .nii.
    """
    if folder is None:
        return {}
    starts = (f"{case_id}/{case_id}_", f"{case_id}/", f"{case_id}_")
    found: dict[str, Path] = {}
    for region, name in names.items():
        candidates = (folder / f"{start}{name}{end}" for start in starts for end in (".nii.gz", ".nii"))
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is not None:
            found[region] = path
    return found


def require_maps(folder: Path | None, pairs: Sequence[Pair], names: Mapping[str, str]) -> None:
    """Raise CaseError (E-NOCASE) when a folder was given that holds no map of any case."""
    if folder is None or any(find_maps(folder, pair.case_id, names) for pair in pairs):
        return
    if not folder.exists():
        raise missing_file(folder)
    example = next(iter(names.values()))
    raise CaseError(
        "E-NOCASE",
        f"{folder} holds no map of any of the {len(pairs)} cases",
        expected=f"files such as {pairs[0].case_id}/{example}.nii.gz or {pairs[0].case_id}_{example}.nii.gz",
        remedy=f"name the maps {', '.join(names.values())}, after their cases",
    )
