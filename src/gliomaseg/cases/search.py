"""Which files make a case: found by their names, in one folder or in several.

Opened are dataset.json, and one file of a folder without images where cases lie: it may be DICOM.

Nothing is dropped in silence: an image that no layout knows is kept as not understood, a folder that can't
be read becomes a case with that error, and so does one that lies where cases lie but holds none that is
understood.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gliomaseg.cases import dataset_json
from gliomaseg.cases.dataset_json import Dataset
from gliomaseg.cases.folders import Folder, walk
from gliomaseg.cases.layouts import (
    PLAIN,
    STRAY_REFERENCE,
    Part,
    is_image_name,
    is_like_sequence,
    is_other_name,
    parse_name,
)
from gliomaseg.errors import CaseError, GliomasegError
from gliomaseg.imaging.header import kind_of
from gliomaseg.labels import UNSURE, LabelScheme, Modality


@dataclass(frozen=True)
class Piece:
    """One file of a case: ``channel`` is its volume where it holds several sequences."""

    path: Path
    scheme: LabelScheme
    channel: int | None = None
    is_lesser: bool = False


@dataclass
class Group:
    """The files of one case in one folder: ``images`` and ``labels`` may hold several where one is wanted."""

    case_id: str
    folder: Path
    depth: int = 0
    layout: str = ""
    patient: str = ""
    joined: str | None = None
    images: dict[Modality, list[Piece]] = field(default_factory=dict)
    labels: list[Piece] = field(default_factory=list)
    unknown: list[Path] = field(default_factory=list)
    error: GliomasegError | None = None

    @property
    def is_lesser(self) -> bool:
        """Return whether all images step back behind those of another group of the same id."""
        pieces = [piece for pieces in self.images.values() for piece in pieces]
        return bool(pieces) and all(piece.is_lesser for piece in pieces)


def search(root: Path) -> list[Group]:
    """Return the cases under ``root`` at any depth; raises ImageError (E-PERM) when it can't be read."""
    found = _Search()
    for folder in walk(root):
        if folder.error and folder.depth == 0:
            raise folder.error
        found.look(folder)
    return found.finish()


def label_scheme(path: Path) -> LabelScheme | None:
    """Return the scheme that a label map's name, folder or dataset.json implies, None where nothing does.

    Raises CaseError (E-MANIFEST) for a dataset.json that can't be understood.
    """
    folder = Folder(path.parent, 0, "".join(f"{name}/" for name in path.resolve().parts[-3:-1]))
    part = parse_name(path.name, folder.names)
    if part is None or not part.is_label:
        return None
    dataset = _Search().dataset(folder) if part.joined is not None else None
    return dataset.scheme if dataset else part.scheme


class _Search:
    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._strangers: list[Group] = []
        self._labels: dict[tuple[str, str | None], list[Piece]] = {}  # those that lie apart from their images
        self._datasets: dict[Path, Dataset | None] = {}

    def look(self, folder: Folder) -> None:
        """Take in what one folder holds."""
        cases: dict[str, Group] = {}
        unknown: list[Path] = []
        strays: list[Path] = []
        try:
            if folder.error:
                raise folder.error
            for name, path in folder.files:
                part = parse_name(name, folder.names)
                if part and self._take(part, path, folder, cases):
                    continue
                if STRAY_REFERENCE.fullmatch(name):
                    strays.append(path)
                elif is_image_name(name) and not is_other_name(name):
                    unknown.append(path)
        except GliomasegError as error:
            self._groups.append(Group(folder.path.name, folder.path, error=error))
            return
        found = [group for group in cases.values() if group.images]
        _give_stray(strays, found)
        _give_unknown(unknown, found)
        self._groups += found
        if not found and (any(is_like_sequence(path.name) for path in unknown) or not unknown):
            files = unknown or [path for _, path in folder.files[:1]]
            self._strangers.append(Group(folder.path.name, folder.path, folder.depth, unknown=files))

    def finish(self) -> list[Group]:
        """Return all cases with their label maps, and folders that look like one but are not understood."""
        for group in self._groups:
            group.labels = group.labels or self._labels.get((group.case_id, group.joined), [])
        depths = {group.depth for group in self._groups if group.images}
        strangers = [group for group in self._strangers if group.depth in depths and _may_be_case(group)]
        return _tell_apart(self._groups + strangers)

    def _take(self, part: Part, path: Path, folder: Folder, cases: dict[str, Group]) -> bool:
        """Put a file where it belongs; returns False if it turns out not to be understood."""
        scheme = part.scheme
        if part.is_label and part.joined is not None:
            dataset = self.dataset(folder) if scheme is UNSURE else None
            piece = Piece(path, dataset.scheme if dataset else scheme, is_lesser=part.is_lesser)
            _add(self._labels.setdefault((part.case_id, part.joined), []), piece)
            return True
        channels: dict[Modality, int | None] = {part.modality: None} if part.modality else {}
        if not part.is_label and not part.modality:
            dataset = self.dataset(folder)
            named = dataset.channels if dataset else {}
            numbers = named if part.channel is None else {part.channel} & named.keys()
            channels = {m: n if part.channel is None else None for n in numbers if (m := named[n])}
        if not channels and not part.is_label:
            return False
        group = cases.setdefault(part.case_id, Group(part.case_id, folder.path, folder.depth))
        for modality, channel in channels.items():
            _add(group.images.setdefault(modality, []), Piece(path, scheme, channel, part.is_lesser))
            group.layout, group.joined = part.layout.name, part.joined
        if part.is_label:
            _add(group.labels, Piece(path, scheme, is_lesser=part.is_lesser))
        return True

    def dataset(self, folder: Folder) -> Dataset | None:
        """Return what the dataset.json in or above a folder says; raises CaseError (E-MANIFEST)."""
        if folder.path not in self._datasets:
            places = (folder.path, folder.path.resolve().parent)
            paths = [place / dataset_json.FILE_NAME for place in places]
            path = next((path for path in paths if path.is_file()), None)
            self._datasets[folder.path] = dataset_json.read_dataset(path) if path else None
        return self._datasets[folder.path]


def _add(pieces: list[Piece], piece: Piece) -> None:
    """Add a file to those that fit; it replaces lesser ones, and gives way to better ones."""
    if pieces and pieces[0].is_lesser and not piece.is_lesser:
        pieces.clear()
    if not pieces or pieces[0].is_lesser == piece.is_lesser:
        pieces.append(piece)


def _give_stray(strays: list[Path], found: list[Group]) -> None:
    if len(found) == len(strays) == 1 and not found[0].labels:
        scheme = next(iter(found[0].images.values()))[0].scheme
        found[0].labels.append(Piece(strays[0], scheme))


def _give_unknown(unknown: list[Path], found: list[Group]) -> None:
    """Give each file to the case whose id its name begins with, else to all that lack a sequence."""
    for path in unknown:
        owners = [group for group in found if path.name.startswith(group.case_id)]
        if owners:
            max(owners, key=lambda group: len(group.case_id)).unknown.append(path)
            continue
        for group in found:
            if len(found) == 1 or len(group.images) < len(Modality):
                group.unknown.append(path)


def _may_be_case(stranger: Group) -> bool:
    """Return whether a folder where cases lie holds sequences of other names or, by its first file, DICOM."""
    if not stranger.unknown or any(is_like_sequence(path.name) for path in stranger.unknown):
        return bool(stranger.unknown)
    file = stranger.unknown.pop()
    kind, remedy = (kind_of(file) if file.is_file() else None) or ("", "")
    if "DICOM" not in kind:
        return False
    stranger.error = CaseError(
        "E-FORMAT",
        f"{stranger.folder} holds no image that is read, but {kind}: {file.name}",
        expected="NIfTI images, named as in one of the layouts of docs/get-started.md",
        remedy=remedy,
    )
    return True


def _tell_apart(groups: list[Group]) -> list[Group]:
    """Return one group for each id: plain ones get the name of the folder above theirs, others an error."""
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
    better = [group for group in same if not group.is_lesser] or same
    if len(better) > 1:
        first, second = better[:2]
        for other in better[1:]:
            first.unknown += [
                piece.path for pieces in other.images.values() for piece in pieces
            ] + other.unknown
        first.error = CaseError(
            "E-DUPID",
            f"two cases are called {first.case_id}: in {first.folder} and in {second.folder}",
            expected="one case per id (upper and lower case count as the same)",
            remedy="rename one of them, or name a folder that holds only one",
        )
    return better[0]
