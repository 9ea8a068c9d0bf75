"""The main path on one screen: read, prepare, infer, restore, label, save."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.cases.arrays import case_of_arrays
from gliomaseg.cases.case import Case
from gliomaseg.cases.check import stored_size
from gliomaseg.cases.content import check_content
from gliomaseg.cases.standardise import Standardised, standardise
from gliomaseg.imaging.prepare import Prepared, prepare
from gliomaseg.imaging.volume import Segmentation, Volume
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.engine import choose_engine
from gliomaseg.inference.hardware import cores, free_memory, threads
from gliomaseg.inference.memory import BRAIN, Demand
from gliomaseg.inference.postprocess import label_regions, relabel
from gliomaseg.inference.predict import predict
from gliomaseg.inference.uncertainty import Uncertainty, estimate_uncertainty, restored, uncertainty_maps
from gliomaseg.inference.window import Array
from gliomaseg.labels import BRATS2021, LabelScheme, Modality, Region
from gliomaseg.result import Result, timed
from gliomaseg.settings.loading import parse_settings
from gliomaseg.storage import files

RUN_SCHEMA = 3
_LIBRARIES = ("numpy", "scipy", "nibabel", "isal", "openvino", "pillow")

_SYNTHETIC = "Synthetic exam: a phantom, not a patient."

Stage = Callable[[str], None]


@dataclass(frozen=True)
class Opened:
    """One case read and prepared: what the network waits for, and the largest window, in voxels, for it."""

    case: Case
    standardised: Standardised
    prepared: Prepared
    window: int
    scheme: LabelScheme
    provenance: Mapping[str, Any]
    seconds: dict[str, float]

    @property
    def images(self) -> Volume:
        """Return the sequences (channel, x, y, z) on the grid that is labelled and measured."""
        return self.standardised.volume

    def restore(self, probability: Array) -> Array:
        """Return a map (x, y, z) of the prepared image on the case's own grid."""
        return np.asarray(self.standardised.restore(self.prepared.restore(probability)), np.float32)


class Segmenter:
    """A trained model, ready to segment cases: ``Segmenter.load().segment(case).save("out")``."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        force: bool = False,
        keep_names: bool = False,
        maps: bool = False,
        **options: object,
    ) -> None:
        """Take the settings of the bundle, with ``options`` in place of some of inference."""
        self.bundle = bundle
        self.force, self.keep_names, self.maps = force, keep_names, maps
        tree = bundle.settings.model_dump(mode="json")
        self.settings = parse_settings(tree | {"inference": tree["inference"] | options})
        self.engine = choose_engine(bundle, self.settings.inference)

    @classmethod
    def load(
        cls,
        model: str | Path = "shipped",
        *,
        force: bool = False,
        keep_names: bool = False,
        maps: bool = False,
        **options: object,
    ) -> Segmenter:
        """Return a segmenter for the shipped model or the bundle in a folder.

        ``options`` are settings of inference: ``quality`` (fast, standard, best), ``threads`` (0: one for
        each core), ``precision`` (auto, int8, bf16, fp32), ``max_memory_gb``, ``device`` (cpu, cuda, auto).
        With ``force`` images that don't look like what they should be are segmented all the same; with
        ``keep_names`` run.json names every file; with ``maps`` results hold probabilities and their entropy.
        Raises ModelError, SettingsError.
        """
        return cls(Bundle.load(model), force=force, keep_names=keep_names, maps=maps, **options)

    def sequences(self, case: Case) -> tuple[Modality, ...]:
        """Return which sequences of ``case`` the network will see: all it knows, or what there is.

        Raises CaseError (E-MODALITY) when one is missing and the model was not trained to do without.
        """
        wanted = self.settings.network.modalities
        if self.bundle.takes_any_subset:
            return case.present(wanted)
        case.require(wanted)
        return wanted

    def segment(
        self, case: Case, *, scheme: LabelScheme = BRATS2021, stage: Stage = lambda _: None
    ) -> Result:
        """Label every voxel of ``case`` under ``scheme``; ``stage`` is told what is being done.

        Raises CaseError and ImageError for the case's files, ModelError for the network, and CaseError
        (E-MEM) when the case asks for more memory than there is.
        """
        return self.label(self.open(case, scheme=scheme, stage=stage), stage=stage)

    def segment_arrays(
        self,
        images: Mapping[str, npt.ArrayLike],
        affine: npt.ArrayLike,
        *,
        case_id: str = "arrays",
        scheme: LabelScheme = BRATS2021,
    ) -> Result:
        """Label every voxel of a case in memory: arrays in, arrays out, and no file touched.

        ``images`` are arrays (x, y, z) by sequence: t1n, t1c, t2w, t2f or another name of one of them, all on
        one grid, whose ``affine`` (4, 4) maps voxel indices to RAS+ mm. The labels, (x, y, z) uint8 on the
        same grid, are ``.segmentation.labels`` of what is returned; its ``save`` writes a folder called
        ``case_id``. The same checks are made, and the same labels found, as when the arrays lie in files.
        Raises CaseError and ImageError for the arrays, UsageError (E-USAGE) for the id, ModelError.
        """
        return self.segment(case_of_arrays(images, affine, case_id), scheme=scheme)

    def open(
        self,
        case: Case,
        *,
        scheme: LabelScheme = BRATS2021,
        stage: Stage = lambda _: None,
    ) -> Opened:
        """Read and prepare a case while the network is compiled; ``label`` does the rest of ``segment``."""
        seconds: dict[str, float] = {}
        limit = self._memory_limit()
        with ThreadPoolExecutor(1) as background:
            compiling = background.submit(self.engine.compile)
            with _stage("read", stage, seconds):
                sequences = self.sequences(case)
                demand = self._demand(case, sequences)
                self._window(demand, limit)
                found = standardise(case, sequences, self.settings.prepare.spacing_mm)
                images = check_content(found.volume, case.id, force=self.force)
            with _stage("prepare", stage, seconds):
                prepared = prepare(images, self.settings.prepare, self.settings.network.modalities)
                demand = replace(demand, brain=prepared.image[0].size)
                window = self._window(demand, limit)
                notes = (*self.bundle.gaps(case.id, sequences), *demand.notes(self.settings, window, case.id))
                images = replace(images, notes=(*images.notes, *notes))
            with _stage("compile", stage, seconds):
                compiling.result()
        read = dict(zip(sequences, images.sha256, strict=True))
        windowed = demand.is_cut(self.settings, window)
        provenance = self.describe(case, scheme, read=read, windowed=windowed) | {"window_voxels": window}
        return Opened(case, replace(found, volume=images), prepared, window, scheme, provenance, seconds)

    def label(self, opened: Opened, *, stage: Stage = lambda _: None) -> Result:
        """Return the result of a case that was opened; raises ModelError."""
        prepared, seconds = opened.prepared, opened.seconds
        inference = self.settings.inference.model_copy(update={"window_voxels": opened.window})
        settings = self.settings.model_copy(update={"inference": inference})
        with _stage("infer", stage, seconds):
            probabilities = predict(prepared.image, self.engine, settings)
        with _stage("label", stage, seconds):
            labels = label_regions(probabilities, settings, opened.scheme, opened.images.grid.voxel_ml)
            on_images = prepared.restore(labels).astype(np.uint8, copy=False)
            segmentation = shown = Segmentation(on_images, opened.images.grid, opened.scheme)
            if not opened.standardised.is_own:
                labels = relabel(probabilities, labels, settings, opened.scheme, opened.restore)
                segmentation = Segmentation(labels, opened.standardised.own, opened.scheme)
            uncertainty = self._uncertainty(probabilities[(slice(None), *prepared.valid)], opened)
            maps = self._maps(probabilities, opened) if self.maps else {}
        about = opened.provenance
        return Result(opened.case, opened.images, segmentation, shown, about, seconds, uncertainty, maps)

    def _uncertainty(self, probabilities: Array, opened: Opened) -> dict[Region, Uncertainty]:
        """Return how sure the model is; where a sequence is missing, all that is known is a mean Dice."""
        sequences = self.sequences(opened.case)
        if sequences == self.settings.network.modalities:
            return estimate_uncertainty(probabilities, self.settings, opened.images.grid.voxel_ml)
        dice = self.bundle.expected_dice(sequences)
        return {region: Uncertainty(dice=dice.get(region)) for region in self.settings.network.regions}

    def _maps(self, probabilities: Array, opened: Opened) -> dict[str, npt.NDArray[np.generic]]:
        """Return uncertainty maps on the case's own grid, from the probabilities behind its labels."""
        if opened.standardised.is_own:
            found = uncertainty_maps(probabilities, self.settings)
            return {name: opened.prepared.restore(array) for name, array in found.items()}
        return uncertainty_maps(restored(probabilities, self.settings, opened.restore), self.settings)

    def _memory_limit(self) -> float:
        """Return how many bytes this process may use: as asked, or what is free on this machine."""
        asked = self.settings.inference.max_memory_gb
        return asked * 1e9 if asked else float(free_memory() or math.inf)

    def _demand(self, case: Case, sequences: Sequence[Modality]) -> Demand:
        """Return what a case will ask for, as far as its headers tell."""
        voxels, stored = stored_size(case, sequences, self.settings.prepare.spacing_mm)
        return Demand(voxels, int(voxels * BRAIN), stored, self.maps)

    def _needs_windows(self, case: Case, sequences: Sequence[Modality]) -> bool:
        """Return whether memory is too short, as far as headers tell, for the whole brain at once."""
        demand, limit = self._demand(case, sequences), self._memory_limit()
        return not demand.fits_whole(self.settings, limit, short=self.engine.precision != "fp32")

    def _window(self, demand: Demand, limit: float) -> int:
        return demand.fit(self.settings, limit, short=self.engine.precision != "fp32")

    def describe(
        self,
        case: Case,
        scheme: LabelScheme,
        *,
        read: Mapping[Modality, str] | None = None,
        windowed: bool | None = None,
    ) -> dict[str, Any]:
        """Return what a result of ``case`` depends on: versions, model, inputs and settings.

        ``read`` is the SHA-256 of the bytes of each sequence that was read; else the files are hashed.
        ``windowed`` is whether the brain is seen in windows; else as free memory tells.
        """
        sequences = self.sequences(case)
        windowed = self._needs_windows(case, sequences) if windowed is None else windowed
        read = read or {m: files.sha256_of(case.images[m]) for m in sequences}
        return {
            "schema_version": RUN_SCHEMA,
            "notice": RESEARCH_USE,
            "note": _SYNTHETIC if "phantom" in case.id else "",
            "case": case.id,
            "scheme": scheme.name,
            "labels": scheme.describe(),
            **_versions(),
            "model": {"name": self.bundle.name, "sha256": self.bundle.sha256},
            "missing": [m.value for m in self.settings.network.modalities if m not in sequences],
            "expected_dice": self.bundle.expected_dice(sequences),
            "seen_in_training": case.id in self.bundle.about["trained_on"],
            "precision": self.engine.precision,
            "quality": self.settings.inference.quality,
            "maps": self.maps,
            "windowed": windowed,
            "threads": threads(self.settings.inference.threads) or cores(),
            "inputs": {m: self._describe_input(case, m, read[m]) for m in sequences},
            "settings": {
                section: getattr(self.bundle.settings, section).model_dump(mode="json")
                for section in ("prepare", "network", "inference", "segment")
            },
        }

    def _describe_input(self, case: Case, modality: Modality, sha256: str) -> dict[str, Any]:
        """Return an input's hash, and its name if wanted or where it tells no more than the case's id."""
        name = case.images[modality].name
        is_told = self.keep_names or name.startswith(case.id)
        volume = {"channel": case.channels[modality]} if modality in case.channels else {}
        return {**({"file": name} if is_told else {}), **volume, "sha256": sha256}


def _versions() -> dict[str, Any]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"gliomaseg": __version__, "python": platform.python_version(), "libraries": libraries}


@contextmanager
def _stage(name: str, tell: Stage, seconds: dict[str, float]) -> Iterator[None]:
    tell(name)
    with timed(seconds, name):
        yield
