"""The main path on one screen: read, standardise, check, prepare, infer, label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gliomaseg.cases.arrays import case_of_arrays
from gliomaseg.cases.case import Case
from gliomaseg.cases.content import check_content
from gliomaseg.cases.headers import stored_size
from gliomaseg.cases.standardise import Standardised
from gliomaseg.exams.standardise import ExamOptions, standardise_exam
from gliomaseg.imaging.prepare import Prepared, prepare
from gliomaseg.imaging.volume import Grid, Segmentation, Volume
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.engine import choose_engine
from gliomaseg.inference.hardware import cores, threads
from gliomaseg.inference.memory import BRAIN, MemoryEstimate, memory_limit
from gliomaseg.inference.postprocess import label_regions, relabel
from gliomaseg.inference.predict import predict
from gliomaseg.inference.provenance import inputs_record, model_record, software_record
from gliomaseg.inference.uncertainty import Uncertainty, estimate_uncertainty, restored, uncertainty_maps
from gliomaseg.inference.window import Array
from gliomaseg.labels import BRATS2021, LabelScheme, Modality, Region
from gliomaseg.result import Result, timed
from gliomaseg.settings.loading import parse_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.storage import files

_SYNTHETIC = "Synthetic exam: a phantom, not a patient."

#: Called with the name of each stage when it begins.
OnStage = Callable[[str], None]


def _ignore(_stage: str) -> None:
    pass


@dataclass(frozen=True)
class ReadyCase:
    """A case that is ready for the network; ``window`` is the largest window that fits, in voxels."""

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

    def restore(self, probability: Array, onto: Modality | None = None) -> Array:
        """Return a map (x, y, z) of the prepared image on the case's own grid, or on that of ``onto``."""
        return np.asarray(self.standardised.restore(self.prepared.restore(probability), onto), np.float32)


class Segmenter:
    """A trained model, ready to segment cases: ``Segmenter.load().segment(case).save("out")``."""

    def __init__(
        self,
        model: str | Path | Bundle = "shipped",
        *,
        force: bool = False,
        keep_names: bool = False,
        maps: bool = False,
        exam: ExamOptions = ExamOptions(),  # noqa: B008 (immutable)
        **options: object,
    ) -> None:
        """Load the shipped model, the bundle in a folder, or take one that is loaded.

        ``force`` segments images that fail the content checks; ``keep_names`` records the name of every file
        in run.json; ``maps`` adds each region's probability and entropy to the result. Without ``strip``, raw
        exams count as skull-stripped. ``native`` are sequences on whose own grids label maps are added to
        that on the grid of t1c, or of the first. ``keep_standardised`` adds what the network saw. ``options``
        are inference settings: ``quality`` (fast, standard, best), ``threads`` (0: one per core),
        ``precision`` (auto, int8, bf16, fp32), ``max_memory_gb``, ``device`` (cpu, cuda, auto). Raises
        ModelError, SettingsError.
        """
        self.bundle = model if isinstance(model, Bundle) else Bundle.load(model)
        self.force, self.keep_names, self.maps, self.exam = force, keep_names, maps, exam
        tree = self.bundle.settings.model_dump(mode="json")
        self.settings = parse_settings(tree | {"inference": tree["inference"] | options})
        self.engine = choose_engine(self.bundle, self.settings.inference)

    @classmethod
    def load(cls, model: str | Path = "shipped", **options: Any) -> Segmenter:
        """Return a segmenter for the shipped model or the bundle in a folder; options as of ``Segmenter``."""
        return cls(model, **options)

    def segment(self, case: Case, *, scheme: LabelScheme = BRATS2021, on_stage: OnStage = _ignore) -> Result:
        """Label every voxel of ``case`` under ``scheme``.

        Raises CaseError and ImageError for the case's files, ModelError for the network, and CaseError
        (E-MEM) when the case needs more memory than there is.
        """
        return self.label(self.prepare(case, scheme=scheme, on_stage=on_stage), on_stage=on_stage)

    def segment_arrays(
        self,
        images: Mapping[str, npt.ArrayLike],
        affine: npt.ArrayLike,
        *,
        case_id: str = "arrays",
        scheme: LabelScheme = BRATS2021,
    ) -> Result:
        """Label every voxel of a case in memory, without reading or writing any file.

        ``images`` are arrays (x, y, z) by sequence: t1n, t1c, t2w, t2f or another name of one of them, all on
        one grid, whose ``affine`` (4, 4) maps voxel indices to RAS+ mm. The labels, (x, y, z) uint8 on the
        same grid, are ``.segmentation.labels`` of the result; its ``save`` writes a folder named ``case_id``.
        Checks and labels are those of the same images in files.
        Raises CaseError and ImageError for the arrays, UsageError (E-USAGE) for the id, ModelError.
        """
        return self.segment(case_of_arrays(images, affine, case_id), scheme=scheme)

    def prepare(
        self, case: Case, *, scheme: LabelScheme = BRATS2021, on_stage: OnStage = _ignore
    ) -> ReadyCase:
        """Read, check and prepare a case while the network is compiled; ``label`` does the rest."""
        seconds: dict[str, float] = {}
        limit = memory_limit(self.settings.inference)
        with ThreadPoolExecutor(1) as background:
            compiling = background.submit(self.engine.compile)
            with _stage("read", on_stage, seconds):
                sequences = self.sequences(case)
                memory = self._estimate_memory(case)
                memory.fit(limit)  # a case that is too large is refused before it is read
                size_mm, many = self.settings.prepare.spacing_mm, threads(self.settings.inference.threads)
                standardised = standardise_exam(case, sequences, size_mm, self.exam, many, on_stage)
                images = check_content(standardised.volume, case.id, force=self.force)
            with _stage("prepare", on_stage, seconds):
                prepared = prepare(images, self.settings.prepare, self.settings.network.modalities)
                memory = replace(memory, brain=prepared.image[0].size)
                window = memory.fit(limit)
                more = (*self.bundle.missing_notes(case.id, sequences), *memory.notes(window, case.id))
                images = replace(images, notes=(*images.notes, *more))
            hashes = dict(zip(sequences, images.sha256, strict=True))
            provenance = self.describe(case, scheme, hashes=hashes, windowed=memory.is_windowed(window))
            provenance["window_voxels"] = window
            with _stage("compile", on_stage, seconds):
                compiling.result()
        standardised = replace(standardised, volume=images)
        seconds["read"] -= sum(standardised.seconds.values())
        seconds.update(standardised.seconds)
        return ReadyCase(case, standardised, prepared, window, scheme, provenance, seconds)

    def label(self, ready: ReadyCase, *, on_stage: OnStage = _ignore) -> Result:
        """Run the network on a case that is ready, and return its result; raises ModelError."""
        prepared, images, scheme = ready.prepared, ready.images, ready.scheme
        inference = self.settings.inference.model_copy(update={"window_voxels": ready.window})
        settings = self.settings.model_copy(update={"inference": inference})
        with _stage("infer", on_stage, ready.seconds):
            probabilities = predict(prepared.image, self.engine, settings)
        with _stage("label", on_stage, ready.seconds):
            labels = label_regions(probabilities, settings, scheme, images.grid.voxel_ml)
            restored_labels = prepared.restore(labels).astype(np.uint8, copy=False)
            standardised = Segmentation(restored_labels, images.grid, scheme)
            natives = self._on_own_grids(probabilities, labels, settings, ready)
            segmentation = standardised if ready.standardised.is_own else natives.pop(None)
            uncertainty = self._uncertainty(probabilities[(slice(None), *prepared.valid)], ready)
            maps = self._maps(probabilities, ready) if self.maps else {}
        return Result(
            ready.case,
            images,
            segmentation,
            standardised,
            ready.provenance,
            ready.seconds,
            uncertainty,
            maps,
            {m: natives.get(m, segmentation) for m in self._natives(ready)},
            ready.standardised,
        )

    def _on_own_grids(
        self, probabilities: Array, labels: npt.NDArray[np.uint8], settings: Settings, ready: ReadyCase
    ) -> dict[Modality | None, Segmentation]:
        """Return label maps on the grid of the case (under None) and on other grids that are wanted."""
        standardised = ready.standardised
        grids: dict[Modality | None, Grid] = {m: standardised.natives[m].stored for m in self._natives(ready)}
        grids = {m: grid for m, grid in grids.items() if grid is not standardised.own}
        if not standardised.is_own:
            grids[None] = standardised.own

        def put_back(onto: Modality | None) -> Segmentation:
            restore = partial(ready.restore, onto=onto)
            found = relabel(probabilities, labels, settings, ready.scheme, restore)
            return Segmentation(found, grids[onto], ready.scheme)

        with ThreadPoolExecutor(threads(settings.inference.threads) or cores()) as pool:
            return dict(zip(grids, pool.map(put_back, grids), strict=True))

    def _natives(self, ready: ReadyCase) -> list[Modality]:
        """Return the sequences on whose grids labels are wanted; raises CaseError (E-MODALITY)."""
        given = ready.standardised.natives
        if self.exam.native == "all":
            return list(given)
        ready.case.require(self.exam.native)
        return [m for m in given if m in self.exam.native]

    def sequences(self, case: Case) -> tuple[Modality, ...]:
        """Return the sequences of ``case`` that the network uses: all that it knows, or those available.

        Raises CaseError (E-MODALITY) if one is missing and the model doesn't support missing sequences.
        """
        known = self.settings.network.modalities
        if self.bundle.supports_missing_sequences:
            return case.present(known)
        case.require(known)
        return known

    def describe(
        self,
        case: Case,
        scheme: LabelScheme,
        *,
        hashes: Mapping[Modality, str] | None = None,
        windowed: bool | None = None,
    ) -> dict[str, Any]:
        """Return the provenance of a result of ``case``: software, model, settings and inputs.

        ``hashes`` are the SHA-256 of the bytes that were read of each sequence; by default the files are
        hashed now. ``windowed`` is whether the brain is cut into windows; by default it is estimated.
        """
        sequences = self.sequences(case)
        if windowed is None:
            limit = memory_limit(self.settings.inference)
            windowed = self._estimate_memory(case).needs_windows(limit)
        hashes = hashes or {m: files.sha256_of(case.images[m]) for m in sequences}
        return {
            **software_record(),
            "note": _SYNTHETIC if "phantom" in case.id else "",
            "case": case.id,
            "scheme": scheme.name,
            "labels": scheme.describe(),
            **model_record(self.bundle, case.id, sequences),
            "precision": self.engine.precision,
            "quality": self.settings.inference.quality,
            "maps": self.maps,
            "exam": self.exam._asdict() if self.exam != ExamOptions() else None,
            "windowed": windowed,
            "threads": threads(self.settings.inference.threads) or cores(),
            "inputs": inputs_record(case, hashes, keep_names=self.keep_names),
        }

    def _estimate_memory(self, case: Case) -> MemoryEstimate:
        """Return the memory of a case as estimated from the headers of its files."""
        voxels, stored = stored_size(case, self.sequences(case), self.settings.prepare.spacing_mm)
        short = self.engine.precision != "fp32"
        return MemoryEstimate(self.settings, voxels, int(voxels * BRAIN), stored, short, self.maps)

    def _uncertainty(self, probabilities: Array, ready: ReadyCase) -> dict[Region, Uncertainty]:
        """Return the uncertainty of each region; with a missing sequence only a mean Dice is known."""
        sequences = self.sequences(ready.case)
        if sequences == self.settings.network.modalities:
            return estimate_uncertainty(probabilities, self.settings, ready.images.grid.voxel_ml)
        dice = self.bundle.expected_dice(sequences)
        return {region: Uncertainty(dice=dice.get(region)) for region in self.settings.network.regions}

    def _maps(self, probabilities: Array, ready: ReadyCase) -> dict[str, npt.NDArray[np.generic]]:
        """Return uncertainty maps on the case's own grid, from the probabilities behind its labels."""
        if ready.standardised.is_own:
            found = uncertainty_maps(probabilities, self.settings)
            return {name: ready.prepared.restore(array) for name, array in found.items()}
        return uncertainty_maps(restored(probabilities, self.settings, ready.restore), self.settings)


@contextmanager
def _stage(name: str, on_stage: OnStage, seconds: dict[str, float]) -> Iterator[None]:
    on_stage(name)
    with timed(seconds, name):
        yield
