"""Raw exams on the grid of the networks, and the way back; prepared cases as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine

from gliomaseg.cases.arrays import ArrayCase
from gliomaseg.cases.case import Case
from gliomaseg.cases.standardise import Standardised, standardise
from gliomaseg.errors import CaseError, ImageError, SettingsError
from gliomaseg.exams import register as registration
from gliomaseg.exams.standardise import ExamOptions, standardise_exam
from gliomaseg.imaging.nifti import Voxels, read_image, write_image
from gliomaseg.imaging.volume import Grid, is_usual
from gliomaseg.labels import Modality

from .conftest import RawCase

ALL = tuple(Modality)


@pytest.fixture(scope="module")
def exam(raw: RawCase) -> Standardised:
    return standardise_exam(raw.masked, ALL)


class TestPreparedCases:
    def test_unchanged(self, phantom_case: Case) -> None:
        found, plain = standardise_exam(phantom_case, ALL), standardise(phantom_case, ALL)
        assert np.array_equal(found.volume.array, plain.volume.array)
        assert found.volume.grid.matches(plain.volume.grid)
        assert found.volume.array.dtype == plain.volume.array.dtype
        assert found.brain is None
        assert all(native.moved_mm == 0 for native in found.natives.values())

    def test_nothing_is_registered(self, phantom_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gliomaseg.exams.standardise.register", None)
        standardise_exam(phantom_case, ALL)


class TestRawExam:
    def test_on_one_grid_of_1_mm_in_the_frame_of_t1c(self, exam: Standardised, raw: RawCase) -> None:
        volume, own = exam.volume, raw.truth.reference.grid
        assert volume.channels == ALL
        assert is_usual(volume.grid.spacing)
        assert exam.own.matches(own)
        turned = np.linalg.inv(volume.grid.affine[:3, :3]) @ own.affine[:3, :3]
        assert np.allclose(np.abs(turned).max(axis=0), own.spacing)  # axes along those of t1c

    def test_sequences_are_where_they_belong(self, exam: Standardised, raw: RawCase) -> None:
        brain = apply_affine(raw.truth.reference.grid.affine, np.argwhere(raw.truth.brain)[::20])
        for modality in ALL:
            native = exam.natives[modality]
            wrong = apply_affine(native.matrix, brain) - apply_affine(raw.truth.moves[modality], brain)
            assert np.linalg.norm(wrong, axis=1).mean() <= 1, modality
            assert native.residual_mm <= 2
        assert exam.natives[Modality.T1C].moved_mm == 0

    def test_one_note_names_the_sequences_that_were_far_away(self, exam: Standardised) -> None:
        far = {m: native.moved_mm for m, native in exam.natives.items() if native.moved_mm > 5}
        (note,) = (note for note in exam.volume.notes if note.code == "W-MOVED")
        assert far
        for modality in Modality:
            assert (f"{modality} by" in note.what) == (modality in far)
        assert all(f"{m} by {mm:.0f} mm" in note.what for m, mm in far.items())

    def test_only_the_brain_is_left(self, exam: Standardised, raw: RawCase) -> None:
        assert exam.brain is not None
        ml = np.count_nonzero(exam.brain) * exam.volume.grid.voxel_ml
        assert ml == pytest.approx(
            np.count_nonzero(raw.truth.brain) * raw.truth.reference.grid.voxel_ml, rel=0.02
        )
        assert not exam.volume.array[:, ~exam.brain].any()
        inside = exam.volume.array[:, exam.brain]
        assert np.count_nonzero(inside) > 0.97 * inside.size

    def test_intensities_are_those_of_the_files(self, exam: Standardised, raw: RawCase) -> None:
        """At the centres of stored voxels deep in the brain, one interpolation changes little."""
        image = raw.truth.images[Modality.T1C]
        places = np.argwhere(exam.volume.array[1] != 0)
        few = places[:: max(1, len(places) // 500)]
        there = apply_affine(np.linalg.inv(image.grid.affine) @ exam.volume.grid.affine, few)
        near = np.rint(there).astype(int)
        stored = image.array[tuple(near.T)].astype(float)
        found = exam.volume.array[1][tuple(few.T)]
        assert np.corrcoef(stored, found)[0, 1] > 0.9

    @pytest.mark.parametrize("modality", ALL)
    def test_the_way_back_to_every_grid(self, exam: Standardised, raw: RawCase, modality: Modality) -> None:
        """A ball at the tumour comes back with its volume and to the place that the truth says."""
        centre = apply_affine(
            raw.truth.reference.grid.affine, np.argwhere(raw.truth.reference.labels > 0).mean(axis=0)
        )
        places = np.moveaxis(np.indices(exam.volume.grid.shape), 0, -1)
        distance = np.linalg.norm(apply_affine(exam.volume.grid.affine, places) - centre, axis=-1)
        ball = np.clip(20.5 - distance, 0, 1).astype(np.float32)
        back = exam.restore(ball, modality)
        native = raw.truth.images[modality].grid
        assert back.shape == native.shape
        weights = back / back.sum()
        found = apply_affine(native.affine, [float((weights * i).sum()) for i in np.indices(native.shape)])
        truth = apply_affine(raw.truth.moves[modality], centre)
        assert np.linalg.norm(found - truth) < 1.2
        assert back.sum() * native.voxel_ml == pytest.approx(ball.sum() * exam.volume.grid.voxel_ml, rel=0.02)

    def test_the_reference_comes_along(self, exam: Standardised, raw: RawCase) -> None:
        moved = exam.forward(raw.truth.reference)
        ml = np.count_nonzero(moved.labels) * moved.grid.voxel_ml
        wanted = np.count_nonzero(raw.truth.reference.labels) * raw.truth.reference.grid.voxel_ml
        assert ml == pytest.approx(wanted, rel=0.05)

    @pytest.mark.slow
    def test_the_same_exam_gives_the_same_bytes(self, exam: Standardised, raw: RawCase) -> None:
        again = standardise_exam(raw.masked, ALL)
        assert np.array_equal(again.volume.array, exam.volume.array)

    @pytest.mark.slow
    def test_without_strip_the_head_is_left(self, raw: RawCase) -> None:
        found = standardise_exam(raw.case, ALL, options=ExamOptions(strip=False))
        assert found.brain is None
        assert found.natives[Modality.T2F].moved_mm > 0

    def test_one_sequence_needs_no_registration(self, raw: RawCase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gliomaseg.exams.standardise.register", None)
        found = standardise_exam(raw.masked, (Modality.T1C,))
        assert found.volume.channels == (Modality.T1C,)


class TestBrain:
    def test_found_without_a_mask(self, raw: RawCase, exam: Standardised) -> None:
        found = standardise_exam(raw.case, ALL)
        assert found.brain is not None
        assert exam.brain is not None
        there = found.restore(found.brain.astype(np.float32)) > 0.5
        both = 2 * np.count_nonzero(there & raw.truth.brain)
        assert both / (np.count_nonzero(there) + np.count_nonzero(raw.truth.brain)) > 0.93
        tumour = raw.truth.reference.labels > 0
        assert np.count_nonzero(tumour & ~there) < 0.01 * np.count_nonzero(tumour)

    def test_some_sequences_stripped_and_others_not(self, raw: RawCase, exam: Standardised) -> None:
        """Each head is stripped on its own, and nothing else of it is left."""
        arrays = {m: (v.array, v.grid.affine) for m, v in raw.truth.images.items()}
        assert exam.brain is not None
        brain = exam.restore(exam.brain.astype(np.float32), Modality.T2W) > 0.5
        image, affine = arrays[Modality.T2W]
        found = standardise_exam(_case_of({**arrays, Modality.T2W: (np.where(brain, image, 0), affine)}), ALL)
        (note,) = (n for n in found.volume.notes if n.code == "W-SKULL")
        assert "t1n, t1c, t2f showed the whole head" in note.what
        for image in found.volume.array:
            ml = np.count_nonzero(image) * found.volume.grid.voxel_ml
            assert 900 < ml < 2000
        centre = found.natives[Modality.T2W].matrix - raw.truth.moves[Modality.T2W]
        assert np.abs(centre[:3, 3]).max() < 2

    @pytest.mark.parametrize("what", ["bottle", "cylinder", "knee", "noise"])
    def test_what_is_no_head(self, what: str) -> None:
        """A water phantom, round or not, something like a knee, and air."""
        grid = Grid((100, 100, 90), np.diag([2.0, 2, 2, 1]))
        x, y, z = (2 * np.indices(grid.shape).T - grid.shape).T
        radius = np.hypot(x, y)
        images = {
            "bottle": np.where(np.hypot(radius, z) < 85, 400, 0),
            "cylinder": np.where((radius < 75) & (abs(z) < 85), np.where(radius < 60, 400, 150), 0),
            "knee": np.where(radius < 75, np.where(radius < 65, np.where(radius < 28, 300, 120), 400), 0),
            "noise": np.zeros(grid.shape),
        }
        noise = np.random.default_rng(0).normal(0, 8, grid.shape)
        array = np.abs(images[what] + noise).astype(np.int16)
        with pytest.raises(CaseError) as error:
            standardise_exam(_case_of({Modality.T1C: (array, grid.affine)}), (Modality.T1C,))
        assert error.value.code == "E-STRIP"

    def test_a_mask_that_cuts_the_tumour_is_noted(self, raw: RawCase, tmp_path: Path) -> None:
        grid, labels = raw.truth.reference.grid, raw.truth.reference.labels
        filled = np.argwhere(labels > 0)
        cut = raw.truth.brain.copy()
        cut[: int(np.median(filled[:, 0]))] = False
        write_image(tmp_path / "mask.nii.gz", cut.astype(np.uint8), grid)
        found = standardise_exam(replace(raw.case, brain_mask=tmp_path / "mask.nii.gz"), ALL)
        doubts = [note.what for note in found.volume.notes if note.code == "W-STRIP"]
        assert any("cuts through bright tissue in FLAIR" in what for what in doubts)

    def test_an_empty_mask(self, raw: RawCase, tmp_path: Path) -> None:
        grid = raw.truth.reference.grid
        write_image(tmp_path / "mask.nii.gz", np.zeros(grid.shape, np.uint8), grid)
        with pytest.raises(CaseError) as error:
            standardise_exam(replace(raw.case, brain_mask=tmp_path / "mask.nii.gz"), ALL)
        assert error.value.code == "E-STRIP"


class TestStrippedButMoved:
    def test_registered_without_a_mask(self, exam: Standardised) -> None:
        """Brains alone, far apart by their headers, as other programs leave them."""
        volume, images = exam.volume, {}
        for name, image in zip(volume.channels, volume.array, strict=True):
            affine = volume.grid.affine.copy()
            if name == Modality.T2W:
                affine[:3, 3] += (9, -7, 12)
            images[Modality(name)] = (image[::2, ::2, ::2], affine @ np.diag([2, 2, 2, 1.0]))
        case = _case_of(images)
        found = standardise_exam(case, ALL, 2.0)
        assert found.brain is None
        moved = found.natives[Modality.T2W].matrix[:3, 3]
        assert np.allclose(moved, (9, -7, 12), atol=0.5)
        assert found.natives[Modality.T1N].moved_mm < 1


class TestRefusals:
    def test_a_mask_on_another_grid(self, raw: RawCase, tmp_path: Path) -> None:
        mask, grid = read_image(raw.masked.brain_mask or Path())
        write_image(
            tmp_path / "mask.nii.gz", mask[1:], Grid((mask.shape[0] - 1, *mask.shape[1:]), grid.affine)
        )
        with pytest.raises(CaseError, match="grid of none of its sequences") as error:
            standardise_exam(replace(raw.case, brain_mask=tmp_path / "mask.nii.gz"), ALL)
        assert error.value.code == "E-GRID"

    @pytest.mark.slow
    def test_a_mask_drawn_on_flair(self, raw: RawCase, exam: Standardised, tmp_path: Path) -> None:
        assert exam.brain is not None
        grid = raw.truth.images[Modality.T2F].grid
        mask = exam.restore(exam.brain.astype(np.float32), Modality.T2F) > 0.5
        write_image(tmp_path / "mask.nii.gz", mask.astype(np.uint8), grid)
        found = standardise_exam(replace(raw.case, brain_mask=tmp_path / "mask.nii.gz"), ALL)
        assert found.brain is not None
        ml = found.brain.sum() * found.volume.grid.voxel_ml
        assert ml == pytest.approx(exam.brain.sum() * exam.volume.grid.voxel_ml, rel=0.03)

    def test_a_missing_mask(self, raw: RawCase, tmp_path: Path) -> None:
        with pytest.raises(ImageError) as error:
            standardise_exam(replace(raw.case, brain_mask=tmp_path / "no.nii.gz"), ALL)
        assert error.value.code == "E-NOFILE"

    def test_without_the_extra(self, raw: RawCase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registration, "find_spec", lambda _name: None)
        with pytest.raises(SettingsError, match="raw") as error:
            standardise_exam(raw.masked, ALL)
        assert error.value.code == "E-EXTRA"


def _case_of(images: dict[Modality, tuple[np.ndarray, np.ndarray]]) -> Case:
    """Return a case in memory whose sequences lie on different grids."""
    voxels = {m: Voxels(array, Grid(array.shape, affine), m) for m, (array, affine) in images.items()}
    return ArrayCase("moved", {m: Path(m) for m in voxels}, voxels=voxels)
