"""Preparing once, splitting by patient, and patches by number."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gliomaseg.config import Settings
from gliomaseg.errors import CaseError, ImageError, TrainingError
from gliomaseg.imaging.case import Case
from gliomaseg.imaging.nifti import read_labels, write_segmentation
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, Modality, Region, Tissue
from gliomaseg.learning.dataset import STORED, PatchDataset, PreparedCase, prepare_cases, split_by_patient

NO_AUGMENT = ("augment.flip=0", "augment.affine=0", "augment.intensity=0", "augment.noise_chance=0")
PLAIN = (*NO_AUGMENT, "augment.blur=0", "augment.bias=0")

Store = Callable[[Path, np.ndarray, np.ndarray], PreparedCase]


def quiet(_fraction: float, _text: str) -> None:
    """Say nothing."""


def stamps(folder: Path) -> dict[str, int]:
    """Return what changes when a prepared case is written again: the inode of each file."""
    return {path.name: path.stat().st_ino for path in sorted(folder.iterdir())}


@pytest.fixture
def own(cases: list[Case], tmp_path: Path) -> Case:
    """Return a copy of one phantom whose files may be changed."""
    source = next(iter(cases[0].images.values())).parent
    return Case.from_folder(shutil.copytree(source, tmp_path / "own" / cases[0].id))


class TestPrepareCases:
    def test_unchanged_cases_are_skipped(self, own: Case, tmp_path: Path, tiny) -> None:
        told: list[tuple[float, str]] = []
        prepare_cases([own], tiny(), tmp_path / "cache", lambda *what: told.append(what))
        before = stamps(tmp_path / "cache" / own.id)
        prepare_cases([own], tiny("training.batch=3"), tmp_path / "cache", quiet)
        assert stamps(tmp_path / "cache" / own.id) == before
        assert told == [(0.0, f"preparing {own.id}")]

    @pytest.mark.parametrize(
        "change", ["prepare.clip_percentiles=[1, 99]", "network.modalities=[t2f, t1c, t1n, t2w]"]
    )
    def test_another_setting_prepares_again(self, own: Case, tmp_path: Path, tiny, change: str) -> None:
        (first,) = prepare_cases([own], tiny(), tmp_path / "cache", quiet)
        image = np.array(first.image)
        (second,) = prepare_cases([own], tiny(change), tmp_path / "cache", quiet)
        assert not np.array_equal(image, second.image)

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
        core, tumour, brain = (tuple(places.T) for places in case.places)
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
        (stored,) = prepare_cases([case], tiny(), tmp_path, quiet)
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


def made_up(names: list[str], et: list[int] | None = None) -> list[PreparedCase]:
    """Return cases that exist by name alone."""
    patients = [Case(name, {}).patient for name in names]
    volumes = et or [0] * len(names)
    return [PreparedCase(n, p, Path(), v) for n, p, v in zip(names, patients, volumes, strict=True)]


class TestSplit:
    names = tuple(f"BraTS2021_{n:05}" for n in range(23))

    def test_folds_are_disjoint_and_cover_all(self) -> None:
        cases = made_up(list(self.names), list(range(23)))
        splits = [split_by_patient(cases, folds=4, fold=fold) for fold in range(4)]
        for split in splits:
            assert set(split.train).isdisjoint(split.validation)
            assert set(split.train) | set(split.validation) == set(self.names)
        held_out = [name for split in splits for name in split.validation]
        assert sorted(held_out) == sorted(self.names)
        assert sorted(len(split.validation) for split in splits) == [5, 6, 6, 6]

    def test_folds_are_balanced_by_enhancing_tumour(self) -> None:
        cases = made_up(list(self.names[:20]), [n**3 for n in range(20)])
        et = {case.id: case.et_voxels for case in cases}
        for seed in range(5):
            splits = [split_by_patient(cases, folds=4, fold=f, seed=seed) for f in range(4)]
            for hand in range(0, 20, 4):  # each fold holds exactly one of every four in order of size
                four = set(self.names[hand : hand + 4])
                assert all(len(four & set(split.validation)) == 1 for split in splits)
            totals = [sum(et[name] for name in split.validation) for split in splits]
            assert max(totals) < 2.5 * min(totals)

    def test_timepoints_of_one_patient_stay_together(self) -> None:
        names = [
            f"BraTS-GLI-{patient:05}-{time:03}" for patient in range(10) for time in range(1 + patient % 3)
        ]
        cases = made_up(names)
        assert len({case.patient for case in cases}) == 10
        for fold in range(5):
            split = split_by_patient(cases, folds=5, fold=fold)
            of_train, of_validation = ({n[:15] for n in part} for part in (split.train, split.validation))
            assert of_train.isdisjoint(of_validation)
            assert len(of_validation) == 2

    def test_it_is_the_same_whatever_the_order_of_cases(self) -> None:
        cases = made_up(list(self.names))
        one, other = (split_by_patient(c, folds=4, fold=1) for c in (cases, cases[::-1]))
        assert set(one.validation) == set(other.validation)

    def test_no_fold_trains_on_all(self) -> None:
        split = split_by_patient(made_up(["a"]), folds=4, fold=None)
        assert (split.train, split.validation) == (("a",), ())

    @pytest.mark.parametrize(("count", "fold"), [(3, 0), (8, 4), (8, -1), (0, 0)])
    def test_too_few_patients(self, count: int, fold: int) -> None:
        with pytest.raises(TrainingError, match="E-FEWCASES") as caught:
            split_by_patient(made_up(list(self.names[:count])), folds=4, fold=fold)
        assert "training.folds=2" in caught.value.remedy

    def test_timepoints_do_not_count_as_patients(self) -> None:
        with pytest.raises(TrainingError, match="1 patients"):
            split_by_patient(made_up([f"BraTS-GLI-00001-{n:03}" for n in range(9)]), folds=2, fold=0)


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class TestPatches:
    def test_a_number_always_gives_the_same_patch(self, prepared: list[PreparedCase], tiny) -> None:
        settings: Settings = tiny("augment.affine=1", "augment.blur=1", "augment.noise_chance=1")
        one, other = PatchDataset(prepared, settings), PatchDataset(prepared, settings)
        forwards = [one[number] for number in range(6)]
        backwards = [other[number] for number in reversed(range(6))][::-1]
        assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
        assert not any(same(forwards[0], patch) for patch in forwards[1:])

    def test_another_seed_gives_another_patch(self, prepared: list[PreparedCase], tiny) -> None:
        one, other = (PatchDataset(prepared, tiny(f"training.seed={seed}")) for seed in (0, 1))
        assert not same(one[0], other[0])

    @pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
    def test_shapes_and_kinds(self, prepared: list[PreparedCase], tiny, preset: str) -> None:
        settings = tiny("network.regions=[tc, wt]", "training.region_weights=[1, 1]",
                        "segment.thresholds=[0.5, 0.5]", preset=preset)  # fmt: skip
        image, regions = PatchDataset(prepared, settings)[3]
        assert image.shape == (4, *settings.training.patch)
        assert regions.shape == (2, *settings.training.patch)
        assert image.dtype == regions.dtype == torch.float32

    @pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
    def test_regions_are_nested(self, prepared: list[PreparedCase], tiny, preset: str) -> None:
        patches = PatchDataset(prepared, tiny("augment.affine=1", preset=preset))
        wt, tc, et = torch.stack([patches[number][1] for number in range(12)], dim=1)
        assert set(wt.unique().tolist()) == {0, 1}
        assert (wt >= tc).all()
        assert (tc >= et).all()
        assert wt.sum() > tc.sum() > et.sum() > 0

    def test_every_case_comes_once_per_round(self, tmp_path: Path, tiny, store: Store) -> None:
        cases = [
            store(tmp_path / str(n), np.full((4, 8, 8, 8), n + 1.0), np.zeros((8, 8, 8))) for n in range(5)
        ]
        patches = PatchDataset(cases, tiny(*PLAIN, "training.patch=[4, 4, 4]"))
        seen = [int(patches[number][0][0, 0, 0, 0]) for number in range(15)]
        rounds = [seen[:5], seen[5:10], seen[10:]]
        assert [sorted(r) for r in rounds] == [[1, 2, 3, 4, 5]] * 3
        assert rounds[0] != rounds[1] or rounds[1] != rounds[2]

    @pytest.mark.parametrize("kind", [0, 1, 2])
    def test_patches_are_centred_where_wanted(self, tmp_path: Path, tiny, store: Store, kind: int) -> None:
        label = np.zeros((24, 24, 24))
        label[4:10, 12, 12], label[5, 12, 12] = 2, 1  # oedema along x, one voxel of core
        image = np.zeros((4, 24, 24, 24))
        image[:, 4:20, 12, 12] = np.arange(4, 20)
        chances = ["[1, 0, 0]", "[0, 1, 0]", "[0, 0, 1]"][kind]
        settings = tiny(*PLAIN, "training.patch=[2, 2, 2]", f"training.centre_on={chances}")
        patches = PatchDataset([store(tmp_path / "a", image, label)], settings)
        centres = {int(patches[number][0][0, 1, 1, 1]) for number in range(60)}
        assert centres == [{5}, set(range(4, 10)), set(range(4, 20))][kind]

    def test_a_patch_larger_than_the_case_is_padded_with_0(self, tmp_path: Path, tiny, store: Store) -> None:
        label = np.zeros((20, 40, 8))
        label[10:12, 18:22, 2:4] = 3
        case = store(tmp_path / "a", np.ones((4, 20, 40, 8)), label)
        image, regions = PatchDataset([case], tiny(*PLAIN))[0]
        assert image.shape == (4, 32, 32, 32)
        assert image.sum() == 4 * 20 * 32 * 8
        assert [int(region.sum()) for region in regions] == [8, 8, 8]

    def test_a_case_without_tumour(self, tmp_path: Path, tiny, store: Store) -> None:
        image = np.random.default_rng(0).normal(size=(4, 40, 40, 40))
        case = store(tmp_path / "a", image, np.zeros((40, 40, 40)))
        patches = PatchDataset([case], tiny("training.centre_on=[1, 0, 0]"))
        for number in range(3):
            patch, regions = patches[number]
            assert patch.any()
            assert not regions.any()
