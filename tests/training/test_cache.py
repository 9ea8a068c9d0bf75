"""Preparing once, and what is kept of a case."""

from __future__ import annotations

import resource
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gliomaseg.cases.case import Case
from gliomaseg.cases.find import find_case
from gliomaseg.errors import CaseError, ImageError
from gliomaseg.imaging.nifti import read_labels, write_segmentation
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, Modality, Region, Tissue
from gliomaseg.storage import files
from gliomaseg.training.cache import STORED, PreparedCase, prepare_cases
from gliomaseg.training.dataset import PatchDataset


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def stamps(folder: Path) -> dict[str, int]:
    """Return what changes when a prepared case is written again: the inode of each file."""
    return {path.name: path.stat().st_ino for path in sorted(folder.iterdir())}


@pytest.fixture
def own(cases: list[Case], tmp_path: Path) -> Case:
    """Return a copy of one phantom whose files may be changed."""
    source = next(iter(cases[0].images.values())).parent
    return find_case(shutil.copytree(source, tmp_path / "own" / cases[0].id))


class TestPrepareCases:
    def test_unchanged_cases_are_skipped(self, own: Case, tmp_path: Path, tiny) -> None:
        told: list[tuple[float, str]] = []
        prepare_cases([own], tiny(), tmp_path / "cache", lambda *what: told.append(what))
        (folder,) = (tmp_path / "cache").glob(f"*/{own.id}")
        before = stamps(folder)
        prepare_cases([own], tiny("training.batch=3"), tmp_path / "cache", quiet)
        assert stamps(folder) == before
        assert told == [(0.0, f"preparing {own.id}")]

    @pytest.mark.parametrize("name", ["image.npy", "label.npy", "places.npz", "case.json"])
    @pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
    def test_a_damaged_file_is_prepared_again(
        self, own: Case, tmp_path: Path, tiny, name: str, damage: str
    ) -> None:
        (first,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        image, before = np.array(first.image), stamps(first.folder)
        path = first.folder / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
        if damage == "gone":
            path.unlink()
        (again,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        np.testing.assert_array_equal(again.image, image)
        assert path.read_bytes() == content
        assert stamps(again.folder).keys() == before.keys()

    def test_a_case_that_another_process_prepares_is_waited_for(
        self, own: Case, tmp_path: Path, tiny
    ) -> None:
        (made,) = prepare_cases([own], tiny(), tmp_path / "made", quiet)
        folder = tmp_path / "cache" / made.folder.parent.name / own.id
        folder.parent.mkdir(parents=True)
        with ThreadPoolExecutor(1) as pool:
            with files.claim(folder):
                other = pool.submit(prepare_cases, [own], tiny(), tmp_path / "cache", quiet)
                time.sleep(0.5)
                assert not other.done()
                shutil.copytree(made.folder, folder)
                before = stamps(folder)
            assert other.result(timeout=60)[0].folder == folder
        assert stamps(folder) == before

    @pytest.mark.parametrize(
        "change", ["prepare.clip_percentiles=[1, 99]", "network.modalities=[t2f, t1c, t1n, t2w]"]
    )
    def test_another_setting_prepares_again(self, own: Case, tmp_path: Path, tiny, change: str) -> None:
        (first,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        image = np.array(first.image)
        (second,) = prepare_cases([own], tiny(change), tmp_path / "cache", quiet)
        assert not np.array_equal(image, second.image)

    def test_other_settings_leave_each_other_alone(self, own: Case, tmp_path: Path, tiny) -> None:
        (first,) = prepare_cases([own], tiny(), tmp_path, quiet)
        before = stamps(first.folder)
        (second,) = prepare_cases([own], tiny("network.modalities=[t1c, t2f]"), tmp_path, quiet)
        assert (len(first.image), len(second.image)) == (4, 2)
        assert stamps(first.folder) == before

    def test_facts(self, own: Case, tmp_path: Path, tiny) -> None:
        (case,) = prepare_cases([own], tiny(), tmp_path, quiet)
        reference = read_labels(own.reference, own.scheme)
        assert case.facts["shape"] == [80, 80, 52]
        assert case.facts["spacing_mm"] == [3, 3, 3]
        assert case.facts["brain_voxels"] == np.any(case.image != 0, axis=0).sum()
        for tissue in (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING):
            assert case.facts["voxels"][tissue] == reference.mask(tissue).sum()
        assert set(case.facts["intensities"]) == {"t1n", "t1c", "t2w", "t2f"}
        spread = case.facts["intensities"]["t1c"]
        assert spread["least"] < spread["mean"] < spread["greatest"]
        assert spread["std"] > 0

    def test_another_input_prepares_again(self, own: Case, tmp_path: Path, tiny) -> None:
        (first,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        healthy = read_labels(own.reference, own.scheme)
        write_segmentation(own.reference, replace(healthy, labels=np.zeros_like(healthy.labels)))
        (second,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        assert first.et_voxels > 0
        assert second.et_voxels == 0
        assert not second.label.any()

    def test_what_a_killed_preparation_left_is_done_again(self, own: Case, tmp_path: Path, tiny) -> None:
        (case,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        before = np.array(case.image)
        (case.folder / "case.json").unlink()
        (case.folder / "image.npy").write_bytes(b"half")
        (again,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        assert np.array_equal(again.image, before)

    def test_arrays_are_mapped_not_read(self, prepared: list[PreparedCase]) -> None:
        case = prepared[0]
        assert isinstance(case.image, np.memmap)
        assert isinstance(case.label, np.memmap)
        assert case.image.dtype == np.float16
        assert case.label.dtype == np.uint8
        assert case.image.shape == (4, *case.label.shape)

    def test_labels_are_stored_under_one_scheme(
        self, cases: list[Case], prepared: list[PreparedCase]
    ) -> None:
        for case, stored in zip(cases, prepared, strict=True):
            reference = read_labels(case.reference, BRATS2021)
            for tissue in (Tissue.NECROSIS, Tissue.OEDEMA, Tissue.ENHANCING):
                assert STORED.mask(stored.label, tissue).sum() == reference.mask(tissue).sum() > 0
            assert stored.et_voxels == reference.mask(Region.ET).sum()

    def test_images_are_z_scores_on_a_background_of_0(self, prepared: list[PreparedCase]) -> None:
        image = prepared[0].image.astype(np.float64)
        brain = np.any(image != 0, axis=0)
        for channel in image:
            assert channel[brain].mean() == pytest.approx(0, abs=0.01)
            assert channel[brain].std() == pytest.approx(1, abs=0.02)
        for axis in range(3):  # nothing but brain is kept: every face of the box touches it
            others = tuple(a for a in range(3) if a != axis)
            assert brain.any(axis=others)[[0, -1]].all()

    def test_places_lie_where_they_say(self, prepared: list[PreparedCase]) -> None:
        case = prepared[0]
        core, tumour, brain = (tuple(places.T) for places in map(case.places, range(3)))
        assert STORED.mask(case.label, Region.TC)[core].all()
        assert STORED.mask(case.label, Region.WT)[tumour].all()
        assert np.any(case.image != 0, axis=0)[brain].all()
        assert [len(core[0]), len(brain[0])] == [min(5000, STORED.mask(case.label, Region.TC).sum()), 5000]

    def test_no_reference(self, own: Case, tmp_path: Path, tiny) -> None:
        with pytest.raises(CaseError, match="E-NOREF"):
            prepare_cases([replace(own, reference=None)], tiny(), tmp_path / "cache", quiet)

    def test_reference_on_another_grid(self, own: Case, tmp_path: Path, tiny) -> None:
        reference = read_labels(own.reference, own.scheme)
        moved = reference.grid.affine.copy()
        moved[0, 3] += 5
        away = Segmentation(reference.labels, Grid(reference.grid.shape, moved), reference.scheme)
        write_segmentation(own.reference, away)
        with pytest.raises(CaseError, match="E-GRID"):
            prepare_cases([own], tiny(), tmp_path / "cache", quiet)

    @pytest.mark.parametrize("which", [Modality.T2W, None])
    def test_a_file_that_is_not_there(self, own: Case, tmp_path: Path, tiny, which: Modality | None) -> None:
        (own.images[which] if which else own.reference).unlink()
        with pytest.raises(ImageError, match="E-NOFILE"):
            prepare_cases([own], tiny(), tmp_path / "cache", quiet)

    def test_a_real_case(self, real_cases: list[Case], tmp_path: Path, tiny) -> None:
        case = real_cases[0]
        (stored,) = prepare_cases([case], tiny("prepare.spacing_mm=1"), tmp_path, quiet)
        reference = read_labels(case.reference, case.scheme)
        for region in Region:
            assert STORED.mask(stored.label, region).sum() == reference.mask(region).sum() > 0
        brain = np.any(stored.image != 0, axis=0)
        assert brain[stored.label > 0].mean() > 0.99
        wt, tc, et = PatchDataset([stored], tiny("training.centre_on=[1, 0, 0]"))[0][1]
        assert wt.sum() >= tc.sum() >= et.sum()
        assert tc.any()

    def test_more_cases_than_a_process_may_open_files(self, prepared: list[PreparedCase], tiny) -> None:
        many = [replace(prepared[0], id=str(number)) for number in range(60)]
        patches = PatchDataset(many, tiny())
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 20, hard))
        try:
            for number in range(60):
                patches[number]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
