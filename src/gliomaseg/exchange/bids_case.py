"""The files of one case in a BIDS data set, made from its result folder: label maps, brain mask, transforms.

Names and sidecars follow BIDS 1.10, "Derivatives: imaging data types". The space of an image has the name of
the sequence on whose grid it lies. Transforms are no part of BIDS yet: they have the names that fMRIPrep
gives them, and the text format of ITK, which ANTs, 3D Slicer and SimpleITK read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg import RESEARCH_USE
from gliomaseg.exams.prepared_case import BRAIN_MASK, TRANSFORMS
from gliomaseg.labels import TISSUE_TITLES, LabelScheme, Modality, find_scheme
from gliomaseg.storage.result_folder import LABELS, STANDARDISED, ResultFolder

#: How the space of each sequence is called.
SPACES: Mapping[Modality, str] = {
    Modality.T1N: "T1w",
    Modality.T1C: "T1c",
    Modality.T2W: "T2w",
    Modality.T2F: "FLAIR",
}
#: The integers of BIDS' own table of labels.
_BACKGROUND, _LESION = 0, 7
#: RAS+ mm to LPS+ mm and back: ITK's points have x to the left and y to the back.
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Raw:
    """The data set that encloses another one and holds its images: its folder, and the way to it."""

    folder: Path
    link: str

    @classmethod
    def around(cls, root: Path) -> Raw | None:
        """Return the nearest data set of raw images around ``root``; None if there is none."""
        for steps, parent in enumerate(root.resolve().parents, start=1):
            description = read_object(parent / "dataset_description.json")
            if description is not None and description.get("DatasetType", "raw") == "raw":
                return cls(parent, "/".join([".."] * steps))
        return None

    def uri(self, case_id: str, name: str) -> str | None:
        """Return the BIDS URI of an image of a case; None if there is no such file."""
        path = f"{case_id.replace('_', '/')}/anat/{name}"
        return f"bids:raw:{path}" if name and (self.folder / path).is_file() else None


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None for anything else, or no file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def json_text(content: object) -> str:
    """Return ``content`` as the JSON of a data set."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def case_files(folder: ResultFolder, stem: str, raw: Raw | None) -> dict[str, bytes]:
    """Return the content of each file of a case by its name, which begins with ``stem``.

    A label map that was corrected by hand is taken as it is. Raises CaseError (E-REPORT) for a damaged
    result.
    """
    made = _Made(folder, folder.read(), stem, raw)
    parts = (made.label_maps(), made.brain_mask(), made.transforms())
    return {name: content for part in parts for name, content in part}


@dataclass(frozen=True)
class _Made:
    """A result, and what is made from it."""

    folder: ResultFolder
    record: Mapping[str, Any]
    stem: str
    raw: Raw | None

    def label_maps(self) -> Iterator[tuple[str, bytes]]:
        """Yield each label map, its table and its sidecar."""
        table = _table(find_scheme(self.record["scheme"]))
        for modality, file in self.folder.label_maps().items():
            name = f"{self.stem}_space-{SPACES[modality]}_desc-gliomaseg_dseg"
            edited = file == LABELS and self.folder.edited()
            content = (self.folder.path / file).read_bytes() if edited else self.folder.bytes_of(file)
            yield f"{name}.nii.gz", content
            yield f"{name}.tsv", table.encode()
            yield f"{name}.json", _encoded(self._about_labels(modality, edited=edited))

    def _about_labels(self, modality: Modality, *, edited: bool) -> dict[str, object]:
        """Return the sidecar of a label map; what was measured doesn't hold for an edited one."""
        record = self.record
        measured = {} if edited else self.folder.measurements()
        by = f"gliomaseg {record['gliomaseg']}" + ", then corrected by hand" * edited
        what = [f"Brain tumour, segmented by {by}.", RESEARCH_USE, record.get("note", "")]
        return {
            "Description": " ".join(filter(None, what)),
            "Manual": edited,
            **self._sources(modality),
            "Gliomaseg": {
                "Case": self.folder.path.name,
                "Model": record["model"],
                "Scheme": record["scheme"],
                **({"Quality": measured["quality"], "Reasons": measured["reasons"]} if measured else {}),
                "Inputs": {key: found["sha256"] for key, found in record["inputs"].items()},
            },
        }

    def brain_mask(self) -> Iterator[tuple[str, bytes]]:
        """Yield the brain mask on the standard grid and its sidecar, if the exam was raw and a whole head."""
        file = f"{STANDARDISED}/{BRAIN_MASK}"
        if not self.folder.has(file):
            return
        size = f"{self.record['settings']['prepare']['spacing_mm']:g}"
        frame = next(iter(self.folder.label_maps()))
        space = f"space-{SPACES[frame]}_res-{size.replace('.', 'p')}mm"
        name = f"{self.stem}_{space}_desc-brain_mask"
        yield f"{name}.nii.gz", self.folder.bytes_of(file)
        by = "that was given to" if "brain_mask" in self.record["inputs"] else "by"
        about = {
            "Description": f"Brain mask {by} gliomaseg {self.record['gliomaseg']}. {RESEARCH_USE}",
            "Type": "Brain",
            "Resolution": f"{size} mm, isotropic: the grid on which the tumour was segmented",
            **self._sources(frame),
        }
        yield f"{name}.json", _encoded(about)

    def transforms(self) -> Iterator[tuple[str, bytes]]:
        """Yield how each sequence was moved to the first, if the exam was raw."""
        file = f"{STANDARDISED}/{TRANSFORMS}"
        if not self.folder.has(file):
            return
        frame = next(iter(self.folder.label_maps()))
        for modality, found in json.loads(self.folder.bytes_of(file))["sequences"].items():
            if modality != frame:
                ways = f"from-{SPACES[Modality(modality)]}_to-{SPACES[frame]}"
                text = itk_transform(np.array(found["matrix"], np.float64))
                yield f"{self.stem}_{ways}_mode-image_xfm.txt", text.encode()

    def _sources(self, modality: Modality) -> dict[str, object]:
        """Return the image on whose grid a file lies, and all images, if an enclosing data set has them."""
        inputs, uris = self.record["inputs"], {}
        if self.raw:
            case_id = self.folder.path.name
            uris = {key: self.raw.uri(case_id, found.get("file", "")) for key, found in inputs.items()}
        sources = [uri for uri in uris.values() if uri]
        reference = {"SpatialReference": uris.get(modality) or "orig"}
        return reference | ({"Sources": sources} if sources else {})


def itk_transform(matrix: npt.NDArray[np.float64]) -> str:
    """Return a transform as ITK's text: ``matrix`` (4, 4) maps points of the fixed space to the moving one.

    The matrix is in RAS+ mm, the text in LPS+ mm. Resampling with it brings a moving image to the fixed grid.
    """
    turned = _RAS_TO_LPS @ matrix @ _RAS_TO_LPS
    numbers = " ".join(f"{value:.12g}" for value in (*turned[:3, :3].ravel(), *turned[:3, 3]))
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )


def _table(scheme: LabelScheme) -> str:
    """Return what the integers of a label map mean, as BIDS' table of labels."""
    rows = [(_BACKGROUND, "background", "BG", _BACKGROUND)]
    rows += sorted((v, TISSUE_TITLES[t], t.value.upper(), _LESION) for t, v in scheme.values.items())
    lines = [("index", "name", "abbreviation", "mapping"), *rows]
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def _encoded(content: object) -> bytes:
    return json_text(content).encode(errors="backslashreplace")
