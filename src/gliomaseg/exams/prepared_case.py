"""A standardised exam as a folder: a case like those of BraTS, for other tools and for training.

The folder holds CASE_t1n.nii.gz to CASE_t2f.nii.gz (1 mm, on each other), brain_mask.nii.gz if heads were
stripped, CASE_seg.nii.gz if the case has a reference, and transforms.json: how each sequence was moved, and
the SHA-256 of the file that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content
from gliomaseg.cases.headers import check_reference, target_of
from gliomaseg.cases.standardise import Standardised
from gliomaseg.errors import GliomasegError, Note, OutputError, as_coded
from gliomaseg.exams.standardise import ExamOptions, standardise_exam
from gliomaseg.imaging.nifti import read_labels, write_image, write_segmentation
from gliomaseg.labels import Modality
from gliomaseg.storage import files
from gliomaseg.storage.guard import BROWSERS_OWN, refuse_inputs

TRANSFORMS = "transforms.json"
BRAIN_MASK = "brain_mask.nii.gz"


@dataclass(frozen=True)
class PreparedCase:
    """The outcome of one case: its folder and the content of transforms.json, or an error."""

    case_id: str
    state: Literal["done", "unchanged", "failed"]
    folder: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    error: GliomasegError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "case": self.case_id,
            "state": self.state,
            "folder": self.folder.name if self.folder else None,
            "transforms": self.record or None,
            "notes": [note._asdict() for note in self.notes],
            "error": self.error.as_dict() if self.error else None,
        }


def prepare_cases(
    cases: Sequence[Case],
    output: str | Path,
    *,
    strip: bool = True,
    threads: int = 0,
    overwrite: bool = False,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Iterator[PreparedCase]:
    """Standardise each case into its folder under ``output``, and yield its outcome.

    A folder made from the same files by the same version is unchanged. Without ``strip``, images count as
    brains. ``threads`` 0: one per core. An error becomes part of the outcome, and the other cases go on.
    """
    for number, case in enumerate(cases):

        def notify(stage: str, number: int = number, case: Case = case) -> None:
            progress(number / len(cases), f"{number + 1}/{len(cases)} {case.id}: {stage}")

        try:
            notify("read")
            yield _prepare(case, Path(output), strip, threads, overwrite, notify)
        except Exception as error:  # noqa: BLE001 (the other cases go on after any error)
            yield PreparedCase(case.id, "failed", error=as_coded(error).reworded(case.anonymous))


def _prepare(
    case: Case,
    output: Path,
    strip: bool,
    threads: int,
    overwrite: bool,
    notify: Callable[[str], None],
) -> PreparedCase:
    target, modalities = output / case.id, case.present(tuple(Modality))
    refuse_inputs(output, [target], case.files)
    files.make_folder(output)
    with files.claim(target):
        source = _source(case, modalities, strip)
        record = _record_of(target)
        if record.get("source") == source and not overwrite:
            return PreparedCase(case.id, "unchanged", target, record)
        standardised = standardise_exam(
            case, modalities, options=ExamOptions(strip), threads=threads, notify=notify
        )
        volume = check_content(standardised.volume, case.id)
        notify("save")
        standardised = replace(standardised, volume=volume)
        folder = save_prepared_case(case, standardised, output, source=source, overwrite=overwrite)
        return PreparedCase(case.id, "done", folder, _record_of(folder), volume.notes)


def _source(case: Case, modalities: Sequence[Modality], strip: bool) -> dict[str, Any]:
    """Return what decides about a standardised exam: the files by SHA-256, the options, the version."""
    paths = {
        **{m.value: case.images[m] for m in modalities},
        "reference": case.reference,
        "mask": case.brain_mask,
    }
    hashes = {name: files.sha256_of(path) for name, path in paths.items() if path}
    return {"gliomaseg": __version__, "strip": strip, "files": hashes}


def _record_of(folder: Path) -> dict[str, Any]:
    """Return the content of transforms.json in ``folder``; {} if there is none that can be read."""
    try:
        return dict(files.read_json(folder / TRANSFORMS))
    except (OSError, ValueError, TypeError):
        return {}


def save_prepared_case(
    case: Case,
    standardised: Standardised,
    output: Path,
    *,
    source: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the case's folder into ``output``, whole or not at all, and return it.

    A reference comes along: each voxel gets the label of most of its extent. ``source`` is added to
    transforms.json. Raises OutputError (E-EXISTS if
    the folder exists and ``overwrite`` is false, or was not written by this function; E-OUTPUT if it holds an
    input), CaseError (E-GRID) for a reference on another grid than the case.
    """
    target = output / case.id
    refuse_inputs(output, [target], case.files)
    _require_replaceable(target, overwrite=overwrite)
    with files.open_folder(target) as draft:
        write_standardised(draft, case, standardised)
        if case.reference:
            read = read_labels(case.reference, case.scheme)
            check_reference(case, standardised.own, read.grid)
            write_segmentation(draft / f"{case.id}_seg.nii.gz", standardised.forward(read))
        outputs = {path.name: files.sha256_of(path) for path in sorted(draft.iterdir())}
        record = {**transforms(standardised), "source": dict(source or {}), "outputs": outputs}
        files.write_json(draft / TRANSFORMS, record)
    return target


def _require_replaceable(target: Path, *, overwrite: bool) -> None:
    """Raise OutputError (E-EXISTS) unless a folder is free, or is ours, unchanged and may be replaced."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    outputs, others = _record_of(target).get("outputs", {}), []
    for path in target.iterdir() if target.is_dir() else [target]:
        is_ours = path.name in outputs and files.sha256_of(path) == outputs[path.name]
        if not is_ours and path.name not in {TRANSFORMS, *BROWSERS_OWN}:
            others.append(path.name)
    what = "exists already"
    if others:
        what = f"holds files that gliomaseg did not write: {', '.join(sorted(others)[:3])}"
    if others or not overwrite:
        raise OutputError(
            "E-EXISTS",
            f"{target} {what}",
            expected="a case folder that is not there yet",
            remedy="move it away to keep it, or choose another folder with -o"
            + ("" if others else "; --overwrite replaces it"),
        )


def write_standardised(
    folder: Path, case: Case, standardised: Standardised, *, sequences: bool = True
) -> None:
    """Write the sequences, the brain mask and the transforms of a standardised exam into a draft folder."""
    files.make_folder(folder)
    volume = standardised.volume
    for name, image in zip(volume.channels, volume.array, strict=True) if sequences else ():
        write_image(folder / f"{case.id}_{name}.nii.gz", image, volume.grid)
    if standardised.brain is not None:
        write_image(folder / BRAIN_MASK, standardised.brain.astype(np.uint8), volume.grid)
    files.write_json(folder / TRANSFORMS, transforms(standardised))


def transforms(standardised: Standardised) -> dict[str, Any]:
    """Return the content of transforms.json; see ``placement``."""
    content = placement(standardised)
    for entry, digest in zip(content["sequences"].values(), standardised.volume.sha256, strict=True):
        entry["sha256"] = digest
    return {"notice": RESEARCH_USE, "gliomaseg": __version__, **content}


def placement(standardised: Standardised) -> dict[str, Any]:
    """Return where the sequences lay, for transforms.json and run.json.

    ``matrix`` of each sequence is 4 x 4 in RAS mm, from the space of the standardised images (fixed) to that
    of the file of the sequence (moving): the value at a point of the first is found at matrix @ point of the
    second.
    """
    return {
        "direction": "fixed to moving, RAS mm",
        "frame": target_of(tuple(standardised.natives)).value,
        "sequences": {
            modality.value: {
                "matrix": np.round(native.matrix, 9).tolist(),
                "moved_mm": round(native.moved_mm, 3),
                "there_and_back_mm": round(native.residual_mm, 3),
                "shape": list(native.stored.shape),
                "voxel_mm": [round(length, 4) for length in native.stored.spacing],
            }
            for modality, native in standardised.natives.items()
        },
        "brain_ml": None
        if standardised.brain is None
        else round(float(standardised.brain.sum()) * standardised.volume.grid.voxel_ml, 1),
    }
