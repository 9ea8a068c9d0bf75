"""Prepared cases on disk: CACHE/SETTINGS/CASE.

Each case is prepared once, into a folder of .npy files that are memory-mapped: a patch reads only its own
pages, so that memory does not grow with the number of cases. They are mapped anew for each patch (0.2 ms): a
map that is kept holds a file open, and 1251 cases of BraTS exceed the limit of a process.

SETTINGS is a hash of the settings that preparation depends on, so that runs with other settings can share a
cache. A case whose files changed is prepared again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content, check_reference_content
from gliomaseg.cases.headers import check_reference
from gliomaseg.cases.standardise import standardise
from gliomaseg.errors import CaseError, OutputError, TrainingError
from gliomaseg.imaging.nifti import read_grid, read_labels
from gliomaseg.imaging.prepare import prepare
from gliomaseg.imaging.stored_file import missing_file
from gliomaseg.imaging.volume import Volume
from gliomaseg.inference.hardware import cores
from gliomaseg.labels import BRATS2023, REGION_SHELL, REGION_TISSUES, Region, Tissue
from gliomaseg.settings.schema import Settings
from gliomaseg.storage import files

_log = logging.getLogger(__name__)

#: The scheme of prepared label maps, whatever the scheme of the source.
STORED = BRATS2023
#: Kinds of voxels that patches are centred on, by number; places of each are kept with a prepared case.
KINDS = ("core", "tumour", "brain")
CORE, TUMOUR, BRAIN = range(3)

#: Written last: a case without it is not complete.
_RECORD = "case.json"
#: Places kept of each kind.
_PLACES = 5000
_FORMAT = 6
#: Cases prepared at once: each needs about 0.5 GB while it is.
_THREADS = 4
#: Seconds to wait before asking again whether another process has prepared a case.
_WAIT = 0.2
#: Share of the image inside the brain's box: 140 x 175 x 140 of 240 x 240 x 155 voxels in BraTS.
_BOX_SHARE = 0.4


@dataclass(frozen=True)
class PreparedCase:
    """One case of the cache: ``image`` (c, x, y, z) float16 and ``label`` (x, y, z) uint8 in STORED.

    ``facts`` holds shape and spacing (mm) as prepared, voxels of each tissue, mean, standard deviation,
    minimum and maximum of each sequence inside the brain, and notes.
    """

    id: str
    patient: str
    folder: Path
    facts: Mapping[str, Any]

    @property
    def voxel_ml(self) -> float:
        """Return the volume of a voxel in ml."""
        return float(math.prod(self.facts["spacing_mm"]) / 1000)

    @property
    def et_voxels(self) -> int:
        """Return the number of voxels of enhancing tumour."""
        return int(self.facts["voxels"][Tissue.ENHANCING])

    @property
    def et_ml(self) -> float:
        """Return the volume of enhancing tumour in ml."""
        return self.et_voxels * self.voxel_ml

    @property
    def image(self) -> npt.NDArray[np.float16]:
        """Map the z-scored image without reading it."""
        return np.asanyarray(np.load(self.folder / "image.npy", mmap_mode="r", allow_pickle=False))

    @property
    def label(self) -> npt.NDArray[np.uint8]:
        """Map the label map without reading it."""
        return np.asanyarray(np.load(self.folder / "label.npy", mmap_mode="r", allow_pickle=False))

    def places(self, kind: int) -> npt.NDArray[np.int16]:
        """Return voxels (n, 3) of one of KINDS."""
        with np.load(self.folder / "places.npz", allow_pickle=False) as archive:
            return np.asarray(archive[KINDS[kind]])


def prepare_cases(
    cases: Sequence[Case], settings: Settings, cache: Path, progress: Callable[[float, str], None]
) -> list[PreparedCase]:
    """Prepare every case into ``cache``, skipping those that are there and unchanged.

    Raises OutputError (E-DISK) without enough free space, CaseError (E-NOREF, E-GRID), and the errors of
    reading and checking a case.
    """
    _require_references(cases)
    folder = files.make_folder(_folder(cache, settings), room=count_room(cases, settings, cache))
    files.clear_leftovers(folder)
    prepared: list[PreparedCase] = []
    pool = ThreadPoolExecutor(min(_THREADS, cores()))
    try:
        for case in pool.map(partial(_prepare_case, settings=settings, cache=folder), cases):
            progress(len(prepared) / len(cases), f"preparing {case.id}")
            prepared.append(case)
            for note in case.facts["notes"]:
                _log.info(note)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return prepared


def _require_references(cases: Sequence[Case]) -> None:
    without = [case.id for case in cases if case.reference is None]
    if without:
        more = f", nor have {len(without) - 1} others" if len(without) > 1 else ""
        raise CaseError(
            "E-NOREF",
            f"case {without[0]} has no reference label map{more}",
            expected="a _seg file beside the images of every training case",
            remedy="take such cases out of the folder, or add their label maps",
        )


def count_room(cases: Sequence[Case], settings: Settings, cache: Path) -> int:
    """Return an estimate of the bytes that the cases missing in ``cache`` will take, by the first of them."""
    folder = _folder(cache, settings)
    missing = [case for case in cases if not (folder / case.id / _RECORD).exists()]
    if not missing:
        return 0
    case, modalities = missing[0].require(settings.network.modalities), settings.network.modalities
    shape = read_grid(case.images[modalities[0]], channel=case.channels.get(modalities[0])).shape
    each = int(np.prod(shape, dtype=np.int64)) * (2 * len(modalities) + 1)
    return round(len(missing) * _BOX_SHARE * each)


def find_prepared(case_id: str, settings: Settings, cache: Path) -> PreparedCase:
    """Return a case from the cache; raises TrainingError (E-RUN) if it is not there."""
    folder = _folder(cache, settings) / case_id
    if known := _read_record(folder):
        return PreparedCase(case_id, case_id, folder, known["facts"])
    raise TrainingError(
        "E-RUN",
        f"the prepared case {case_id} is not in {cache}",
        expected="the cases that the run was trained with, prepared by gliomaseg train",
        remedy="name their folder with --cache, or repeat gliomaseg train: it prepares them again",
    )


def _folder(cache: Path, settings: Settings) -> Path:
    shaping = json.dumps([_FORMAT, settings.network.modalities, settings.prepare.model_dump()])
    return cache / hashlib.sha256(shaping.encode()).hexdigest()[:12]


def _prepare_case(case: Case, settings: Settings, cache: Path) -> PreparedCase:
    folder = cache / case.id
    record, key = _read_record(folder), _key(case, settings)
    if record.get("key") != key:
        with ExitStack() as stack:
            while True:  # of several trainings that share the cache, one prepares and the others wait
                try:
                    stack.enter_context(files.claim(folder))
                    break
                except OutputError as error:
                    if error.code != "E-LOCKED":
                        raise
                    time.sleep(_WAIT)
            record = _read_record(folder)
            if record.get("key") != key:
                with files.open_folder(folder) as draft:
                    record = {"key": key, "facts": _write_case(case, settings, draft)}
                    files.write_json(draft / _RECORD, record)
    return PreparedCase(case.id, case.patient, folder, record["facts"])


def _read_record(folder: Path) -> dict[str, Any]:
    """Return the content of case.json; {} if a file of the prepared case is missing, cut or damaged.

    The arrays are opened, which compares their headers with their lengths, but not read.
    """
    try:
        known = dict(json.loads((folder / _RECORD).read_text(encoding="utf-8")))
        for name in ("image.npy", "label.npy"):
            np.load(folder / name, mmap_mode="r", allow_pickle=False)
        with (folder / "places.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            for kind in KINDS:
                archive[kind]  # its checksum is compared
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile):
        return {}
    return known if {"key", "facts"} <= known.keys() else {}


def _key(case: Case, settings: Settings) -> str:
    modalities = settings.network.modalities
    paths = [case.require(modalities).images[m] for m in modalities] + [Path(str(case.reference))]
    for path in paths:
        if not path.is_file():
            raise missing_file(path)
    text = json.dumps([case.scheme.name, *(files.sha256_of(path) for path in paths)])
    return hashlib.sha256(text.encode()).hexdigest()


def _write_case(case: Case, settings: Settings, folder: Path) -> dict[str, Any]:
    """Prepare a case into ``folder``; returns its facts."""
    standardised = standardise(case, settings.network.modalities, settings.prepare.spacing_mm)
    volume = check_content(standardised.volume, case.id, force=True)
    read = read_labels(Path(str(case.reference)), case.scheme)
    check_reference(case, standardised.own, read.grid)
    reference = standardised.forward(read)
    notes = (*volume.notes, *check_reference_content(volume, reference, case.id, force=True))
    stored = np.zeros_like(reference.labels)
    for region, tissue in REGION_SHELL.items():
        stored[reference.mask(region)] = STORED.values[tissue]
    prepared = prepare(volume, settings.prepare)
    image = prepared.image[(slice(None), *prepared.valid)].astype(np.float16)
    label = prepared.forward(stored)[prepared.valid].astype(np.uint8)
    masks = [STORED.mask(label, Region.TC), STORED.mask(label, Region.WT), np.any(image != 0, axis=0)]
    places = {kind: _some(mask) for kind, mask in zip(KINDS, masks, strict=True)}
    facts = {**_facts(volume, label, settings), "notes": [str(note) for note in notes]}
    for name, array in (("image.npy", image), ("label.npy", label)):
        with files.open_atomic(folder / name) as stream:
            np.save(stream, array, allow_pickle=False)
    with files.open_atomic(folder / "places.npz") as stream:
        np.savez(stream, **places)  # type: ignore[arg-type]
    return facts


def _facts(volume: Volume, label: npt.NDArray[np.uint8], settings: Settings) -> dict[str, Any]:
    brain = np.any(volume.array != 0, axis=0)
    return {
        "shape": list(volume.grid.shape),
        "spacing_mm": [round(float(size), 4) for size in volume.grid.spacing],
        "brain_voxels": int(np.count_nonzero(brain)),
        "voxels": {
            tissue: int(np.count_nonzero(label == STORED.values[tissue]))
            for tissue in sorted(REGION_TISSUES[Region.WT] & STORED.values.keys())
        },
        "intensities": {
            modality: _spread(channel[brain])
            for modality, channel in zip(settings.network.modalities, volume.array, strict=True)
        },
    }


def _spread(values: npt.NDArray[np.floating]) -> dict[str, float]:
    return {
        "mean": float(values.mean(dtype=np.float64)),
        "std": float(values.std(dtype=np.float64)),
        "least": float(values.min()),
        "greatest": float(values.max()),
    }


def _some(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """Return the places (n, 3) of at most ``_PLACES`` voxels of a mask."""
    places = np.flatnonzero(mask)
    if places.size > _PLACES:
        places = np.random.default_rng(0).choice(places, _PLACES, replace=False)
    return np.stack(np.unravel_index(places, mask.shape), axis=-1).astype(np.int16)
