"""Prepared cases on disk, folds by patient, and patches read from them on the fly.

Each case is prepared once into a folder of plain .npy files that are memory-mapped: a patch touches
only its own pages, so that memory does not grow with the number of cases. They are mapped anew for each
patch (0.2 ms): a map that is kept holds a file open, and 1251 cases of BraTS have more than a process may.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gliomaseg import console, files
from gliomaseg.config import Settings
from gliomaseg.errors import CaseError, TrainingError
from gliomaseg.imaging.case import Case
from gliomaseg.imaging.check import check_reference, read_case
from gliomaseg.imaging.content import check_content, check_reference_content
from gliomaseg.imaging.nifti import missing_file, read_labels
from gliomaseg.imaging.prepare import prepare
from gliomaseg.labels import BRATS2023, REGION_SHELL, REGION_TISSUES, Region, Tissue
from gliomaseg.learning.augment import augment
from gliomaseg.learning.lesion import paste_lesion
from gliomaseg.learning.patch import draw_warp, sample_patch

#: The scheme of prepared label maps, whatever the scheme of the source.
STORED = BRATS2023

#: Voxel places kept per kind (core, whole tumour, brain) to centre patches on.
_PLACES = 5000
_TUMOUR = 1
_FORMAT = 2


@dataclass(frozen=True)
class PreparedCase:
    """One case of the cache: ``image`` (c, x, y, z) float16 and ``label`` (x, y, z) uint8 under STORED."""

    id: str
    patient: str
    folder: Path
    et_voxels: int

    @property
    def image(self) -> npt.NDArray[np.float16]:
        """Map the z-scored image without reading it."""
        return np.asanyarray(np.load(self.folder / "image.npy", mmap_mode="r", allow_pickle=False))

    @property
    def label(self) -> npt.NDArray[np.uint8]:
        """Map the label map without reading it."""
        return np.asanyarray(np.load(self.folder / "label.npy", mmap_mode="r", allow_pickle=False))

    @cached_property
    def places(self) -> list[npt.NDArray[np.int16]]:
        """Return voxels (n, 3) of the tumour core, the whole tumour and the brain."""
        with np.load(self.folder / "places.npz", allow_pickle=False) as archive:
            return [archive[kind] for kind in ("core", "tumour", "brain")]


def prepare_cases(
    cases: Sequence[Case], settings: Settings, folder: Path, progress: Callable[[float, str], None]
) -> list[PreparedCase]:
    """Prepare every case into ``folder``, skipping those that are there and unchanged.

    Raises CaseError (E-NOREF), or what reading and checking a case raises.
    """
    prepared = []
    for number, case in enumerate(cases):
        progress(number / len(cases), f"preparing {case.id}")
        prepared.append(_prepare_case(case, settings, folder / case.id))
    return prepared


def _prepare_case(case: Case, settings: Settings, folder: Path) -> PreparedCase:
    if case.reference is None:
        raise CaseError(
            "E-NOREF",
            f"case {case.id} has no reference label map",
            expected="a _seg file beside the images of every training case",
            remedy="take the case out of the folder, or add its label map",
        )
    key = _key(case, settings)
    record = folder / "case.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    if known.get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
        files.make_folder(folder)
        known = {"key": key, "et_voxels": _write_case(case, settings, folder)}
        files.write_json(record, known)
    return PreparedCase(case.id, case.patient, folder, int(known["et_voxels"]))


def _key(case: Case, settings: Settings) -> str:
    modalities = settings.network.modalities
    paths = [case.require(modalities).images[m] for m in modalities] + [Path(str(case.reference))]
    for path in paths:
        if not path.is_file():
            raise missing_file(path)
    hashes = [files.sha256_of(path) for path in paths]
    text = json.dumps([_FORMAT, hashes, case.scheme.name, modalities, settings.prepare.model_dump()])
    return hashlib.sha256(text.encode()).hexdigest()


def _write_case(case: Case, settings: Settings, folder: Path) -> int:
    volume = check_content(read_case(case, settings.network.modalities), case.id)
    reference = read_labels(Path(str(case.reference)), case.scheme)
    check_reference(case, volume.grid, reference.grid)
    for note in (*volume.notes, *check_reference_content(volume, reference, case.id)):
        console.say(str(note))
    prepared = prepare(volume, settings.prepare)
    stored = np.zeros_like(reference.labels)
    for region, tissue in REGION_SHELL.items():
        stored[reference.mask(region)] = STORED.values[tissue]
    label = prepared.forward(stored)[prepared.valid].astype(np.uint8)
    image = prepared.image[(slice(None), *prepared.valid)].astype(np.float16)
    _save(folder / "image.npy", image)
    _save(folder / "label.npy", label)
    core, tumour = STORED.mask(label, Region.TC), STORED.mask(label, Region.WT)
    places = {"core": _some(core), "tumour": _some(tumour), "brain": _some(np.any(image != 0, axis=0))}
    with files.open_atomic(folder / "places.npz") as stream:
        np.savez(stream, **places)  # type: ignore[arg-type]
    return int(np.count_nonzero(label == STORED.values[Tissue.ENHANCING]))


def _save(path: Path, array: npt.NDArray[np.generic]) -> None:
    with files.open_atomic(path) as stream:
        np.save(stream, array, allow_pickle=False)


def _some(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    places = np.flatnonzero(mask)
    if places.size > _PLACES:
        places = np.random.default_rng(0).choice(places, _PLACES, replace=False)
    return np.stack(np.unravel_index(places, mask.shape), axis=-1).astype(np.int16)


@dataclass(frozen=True)
class Split:
    """Which cases are trained on and which are held out; no patient is in both."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


def split_by_patient(cases: Sequence[PreparedCase], *, folds: int, fold: int | None, seed: int = 0) -> Split:
    """Return fold ``fold`` of ``folds``, balanced for the amount of enhancing tumour.

    Patients are sorted by their ET volume and dealt out like cards, each round in random order.
    Raises TrainingError (E-FEWCASES).
    """
    et: dict[str, int] = {}
    for case in cases:
        et[case.patient] = et.get(case.patient, 0) + case.et_voxels
    if fold is None:
        return Split(tuple(c.id for c in cases), ())
    if len(et) < folds or not 0 <= fold < folds:
        raise TrainingError(
            "E-FEWCASES",
            f"fold {fold} of {folds} with {len(et)} patients",
            expected="a fold from 0 to folds - 1, and at least one patient in each",
            remedy="add cases, choose fewer folds with --set training.folds=2, or train on every "
            "case with --set training.fold=null",
        )
    rng = np.random.default_rng(seed)
    ranked = sorted(et, key=lambda patient: (et[patient], patient))
    held_out: set[str] = set()
    for start in range(0, len(ranked), folds):
        hand = ranked[start : start + folds]
        seats = rng.permutation(folds)[: len(hand)]
        held_out.update(patient for patient, seat in zip(hand, seats, strict=True) if seat == fold)
    train = tuple(c.id for c in cases if c.patient not in held_out)
    return Split(train, tuple(c.id for c in cases if c.patient in held_out))


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented patches by number: the same number and seed always give the same patch.

    An item is (image (c, *patch) float32, regions (r, *patch) float32). A resumed training goes on
    with the patches that an uninterrupted one would have seen. There is no last number, so no length.
    """

    def __init__(self, cases: Sequence[PreparedCase], settings: Settings) -> None:
        self.cases = list(cases)
        self.settings = settings

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        training = self.settings.training
        rng = np.random.default_rng([training.seed, number])
        case = self.cases[_shuffled(number, len(self.cases), training.seed)]
        kind = int(rng.choice(3, p=training.centre_on))
        image, label = self._cut(case, kind, rng)
        if rng.random() < self.settings.augment.paste:
            donor = self.cases[int(rng.integers(len(self.cases)))]
            image, label = paste_lesion(image, label, self._cut(donor, _TUMOUR, rng), rng)
        image, label = augment(image, label, self.settings.augment, rng)
        target = _as_regions(label, self.settings.network.regions)
        return (image, target) if len(training.patch) == 3 else (image[..., 0], target[..., 0])

    def _cut(self, case: PreparedCase, kind: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a patch around a random voxel of a kind, turned and scaled: (c, x, y, z), (x, y, z)."""
        size = (*self.settings.training.patch, 1)[:3]
        warp = draw_warp(rng, self.settings.augment, size)
        return sample_patch(case.image, case.label, _centre(case, kind, rng), warp)


def _shuffled(number: int, count: int, seed: int) -> int:
    epoch, place = divmod(number, count)
    return int(np.random.default_rng([seed, epoch, 1]).permutation(count)[place])


def _centre(case: PreparedCase, kind: int, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    places = next(p for p in case.places[kind:] if len(p))
    return np.asarray(places[rng.integers(len(places))])


def _as_regions(label: Tensor, regions: Sequence[Region]) -> Tensor:
    table = torch.zeros(len(regions), 256)
    for row, region in enumerate(regions):
        for tissue in REGION_TISSUES[region] & STORED.values.keys():
            table[row, STORED.values[tissue]] = 1
    return table[:, label.long()]
