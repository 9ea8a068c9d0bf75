"""Group the files below a folder into cases, by their names.

Only dataset.json is opened, and one file of a folder without images beside cases: it may be DICOM. No image
is skipped silently: one that no layout knows is kept as not understood; a folder that can't be read, or that
looks like a case without being one, becomes a case with an error.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from gliomaseg.cases.case import Case, list_unknown
from gliomaseg.cases.dataset_json import find_dataset
from gliomaseg.cases.folders import Folder, walk
from gliomaseg.cases.layouts import (
    EXAMPLE,
    PLAIN,
    STRAY_REFERENCE,
    ParsedName,
    is_like_sequence,
    is_other_name,
    parse_name,
)
from gliomaseg.errors import CaseError, GliomasegError
from gliomaseg.imaging.formats import format_of_file, is_image_name
from gliomaseg.labels import BRATS2021, UNSURE, LabelScheme, Modality


@dataclass(frozen=True)
class CaseFile:
    """One file of a case: ``channel`` is its volume if it holds several sequences."""

    path: Path
    scheme: LabelScheme
    channel: int | None = None
    is_lesser: bool = False


@dataclass
class Group:
    """The files of one case in one folder; a sequence may have several where one is expected."""

    case_id: str
    folder: Path
    depth: int = 0
    layout: str = ""
    patient: str = ""
    joined: str | None = None
    images: dict[Modality, list[CaseFile]] = field(default_factory=dict)
    labels: list[CaseFile] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)
    error: GliomasegError | None = None

    @property
    def is_lesser(self) -> bool:
        """Return whether another group of the same id takes precedence over all images of this one."""
        found = [file for files in self.images.values() for file in files]
        return bool(found) and all(file.is_lesser for file in found)


def search(root: Path, *, allow_missing: bool = False) -> list[Case]:
    """Return the cases under ``root`` at any depth; raises ImageError (E-PERM) if it can't be read.

    One that lacks sequences and has images that were not understood has an error, unless ``allow_missing``.
    """
    found = _Search()
    for folder in walk(root):
        if folder.error and folder.depth == 0:
            raise folder.error
        found.add_folder(folder)
    return [_case_of(group, allow_missing=allow_missing) for group in found.finish()]


class _Search:
    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._candidates: list[Group] = []  # folders without a case that may be one
        self._labels: dict[tuple[str, str | None], list[CaseFile]] = {}  # in other folders than their images
        self._dataset = cache(find_dataset)

    def add_folder(self, folder: Folder) -> None:
        """Add the cases of one folder."""
        cases: dict[str, Group] = {}
        unknown: list[Path] = []
        strays: list[Path] = []
        try:
            if folder.error:
                raise folder.error
            for name, path in folder.files:
                parsed = parse_name(name, folder.names)
                if parsed and self._add_file(parsed, path, folder, cases):
                    continue
                if STRAY_REFERENCE.fullmatch(name):
                    strays.append(path)
                elif is_image_name(name) and not is_other_name(name):
                    unknown.append(path)
        except GliomasegError as error:
            self._groups.append(Group(folder.path.name, folder.path, error=error))
            return
        found = [group for group in cases.values() if group.images]
        _assign_stray(strays, found)
        _assign_unknown(unknown, found)
        self._groups += found
        if not found and (any(is_like_sequence(path.name) for path in unknown) or not unknown):
            files = unknown or [path for _, path in folder.files[:1]]
            self._candidates.append(Group(folder.path.name, folder.path, folder.depth, unknown=files))

    def finish(self) -> list[Group]:
        """Return all cases with their label maps, and the folders that look like a case without being one."""
        for group in self._groups:
            group.labels = group.labels or self._labels.get((group.case_id, group.joined), [])
        depths = {group.depth for group in self._groups if group.images}
        candidates = [group for group in self._candidates if group.depth in depths and _may_be_case(group)]
        return _one_per_id(self._groups + candidates)

    def _add_file(self, parsed: ParsedName, path: Path, folder: Folder, cases: dict[str, Group]) -> bool:
        """Add a file to its case; returns False if its channel is not understood."""
        scheme = parsed.layout.scheme
        if parsed.is_label and parsed.joined is not None:
            dataset = self._dataset(folder.path) if scheme is UNSURE else None
            file = CaseFile(path, dataset.scheme if dataset else scheme, is_lesser=parsed.is_lesser)
            _add(self._labels.setdefault((parsed.case_id, parsed.joined), []), file)
            return True
        channels: dict[Modality, int | None] = {parsed.modality: None} if parsed.modality else {}
        if not parsed.is_label and not parsed.modality:
            dataset = self._dataset(folder.path)
            named = dataset.channels if dataset else {}
            numbers = named if parsed.channel is None else {parsed.channel} & named.keys()
            channels = {m: n if parsed.channel is None else None for n in numbers if (m := named[n])}
        if not channels and not parsed.is_label:
            return False
        group = cases.setdefault(parsed.case_id, Group(parsed.case_id, folder.path, folder.depth))
        for modality, channel in channels.items():
            _add(group.images.setdefault(modality, []), CaseFile(path, scheme, channel, parsed.is_lesser))
            group.layout, group.joined = parsed.layout.name, parsed.joined
        if parsed.is_label:
            _add(group.labels, CaseFile(path, scheme, is_lesser=parsed.is_lesser))
        return True


def _add(files: list[CaseFile], file: CaseFile) -> None:
    """Add a file to those of one role; one with precedence replaces lesser ones."""
    if files and files[0].is_lesser and not file.is_lesser:
        files.clear()
    if not files or files[0].is_lesser == file.is_lesser:
        files.append(file)


def _assign_stray(strays: list[Path], found: list[Group]) -> None:
    if len(found) == len(strays) == 1 and not found[0].labels:
        scheme = next(iter(found[0].images.values()))[0].scheme
        found[0].labels.append(CaseFile(strays[0], scheme))


def _assign_unknown(unknown: list[Path], found: list[Group]) -> None:
    """Assign each file to the case whose id its name begins with, else to all that lack a sequence."""
    for path in unknown:
        owners = [group for group in found if path.name.startswith(group.case_id)]
        if owners:
            max(owners, key=lambda group: len(group.case_id)).unknown.append(path)
            continue
        for group in found:
            if len(found) == 1 or len(group.images) < len(Modality):
                group.unknown.append(path)


def _may_be_case(group: Group) -> bool:
    """Return whether a folder beside cases holds sequences with other names or, by its first file, DICOM."""
    if not group.unknown or any(is_like_sequence(path.name) for path in group.unknown):
        return bool(group.unknown)
    file = group.unknown.pop()
    kind, remedy = (format_of_file(file) if file.is_file() else None) or ("", "")
    if "DICOM" not in kind:
        return False
    group.error = CaseError(
        "E-FORMAT",
        f"{group.folder} holds no image that can be read, but {kind}: {file.name}",
        expected="NIfTI images, named as in one of the layouts of docs/get-started.md",
        remedy=remedy,
    )
    return True


def _one_per_id(groups: list[Group]) -> list[Group]:
    """Return one group per id: plain ones are prefixed with the parent folder's name, others get an error."""
    counts = Counter(group.case_id.casefold() for group in groups)
    if any(group.layout == PLAIN and counts[group.case_id.casefold()] > 1 for group in groups):
        for group in groups:
            if group.layout == PLAIN:
                group.patient = group.folder.resolve().parent.name
                group.case_id = f"{group.patient}_{group.case_id}"
    by_id: dict[str, list[Group]] = {}
    for group in groups:
        by_id.setdefault(group.case_id.casefold(), []).append(group)
    return [_only(same) for same in by_id.values()]


def _only(same: list[Group]) -> Group:
    first, *others = [group for group in same if not group.is_lesser] or same
    for other in others:
        first.unknown += [file.path for files in other.images.values() for file in files] + other.unknown
    if others:
        first.error = CaseError(
            "E-DUPID",
            f"two cases have the id {first.case_id}: in {first.folder} and in {others[0].folder}",
            expected="one case per id (upper and lower case count as the same)",
            remedy="rename one of them, or give a folder that holds only one",
        )
    return first


def _case_of(group: Group, *, allow_missing: bool) -> Case:
    found = {m: group.images[m] for m in Modality if m in group.images}
    single = {m: files[0] for m, files in found.items() if len(files) == 1}
    label = group.labels[0] if len(group.labels) == 1 else None
    scheme = label or next((files[0] for files in found.values()), None)
    roles: list[tuple[str, list[CaseFile]]] = [*found.items(), ("seg", group.labels)]
    several = [(role, files) for role, files in roles if len(files) > 1]
    case = Case(
        group.case_id,
        {m: file.path for m, file in single.items()},
        label.path if label else None,
        scheme.scheme if scheme else BRATS2021,
        patient=group.patient,
        layout=group.layout,
        channels={m: file.channel for m, file in single.items() if file.channel is not None},
        unknown=(*group.unknown, *(file.path for _, files in several for file in files)),
        error=group.error or (_two_files(group, *several[0]) if several else None),
    )
    lacks = len(case.images) < len(Modality) and case.unknown
    if not case.error and lacks and not (allow_missing and case.images):
        return replace(case, error=_not_understood(case))
    return case


def _two_files(group: Group, role: str, files: list[CaseFile]) -> CaseError:
    first, second = (file.path for file in files[:2])
    return CaseError(
        "E-DUPID",
        f"case {group.case_id} has two {role} images: {first.name} and {second.name}",
        expected="one file per sequence",
        remedy=f"move one of them out of {first.parent}, or give a CSV list with the right one: "
        "gliomaseg check FOLDER --draft cases.csv writes a draft",
    )


def _not_understood(case: Case) -> CaseError:
    missing = ", ".join(m for m in Modality if m not in case.images)
    otherwise = "if it is none of these sequences: --allow-missing" if case.images else "or remove the folder"
    return CaseError(
        "E-UNKNOWN",
        f"case {case.id} has no {missing}; in {case.unknown[0].parent}, {list_unknown(case.unknown)}",
        expected="names as in one of the layouts of docs/get-started.md, such as " + EXAMPLE,
        remedy="rename the file, or give a CSV list with it: gliomaseg check FOLDER --draft cases.csv "
        f"writes a draft; {otherwise}",
    )
