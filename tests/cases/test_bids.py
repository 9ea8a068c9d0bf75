"""BIDS data sets as they are: other images beside the four sequences, several runs, invalid labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliomaseg.cases.find import find_cases
from gliomaseg.cases.layouts import is_other_name
from gliomaseg.errors import CaseError
from gliomaseg.labels import Modality

T1N, T1C, T2W, T2F = Modality
FOUR = ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")


def plant(root: Path, subject: str = "sub-1", names: tuple[str, ...] = FOUR, end: str = ".nii.gz") -> Path:
    """Write empty files ``SUBJECT_NAME`` into the subject's folder anat, and return it."""
    folder = root.joinpath(*subject.split("_"), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{subject}_{name}{end}").touch()
    return folder


def refusal(root: Path, case_id: str = "sub-1") -> CaseError:
    """Return the error that the case of this id carries."""
    error = {case.id: case for case in find_cases(root)}[case_id].error
    assert isinstance(error, CaseError)
    return error


def test_sidecars_and_tables_are_no_images(tmp_path: Path) -> None:
    folder = plant(tmp_path)
    plant(tmp_path, end=".json")
    for name in ("participants.tsv", "participants.json", "README", "CHANGES", "sub-1/sub-1_scans.tsv"):
        (tmp_path / name).write_text("x")
    (case,) = find_cases(tmp_path)
    assert [case.images[m].name for m in Modality] == [f"sub-1_{name}.nii.gz" for name in FOUR]
    assert (case.unknown, case.error, case.images[T1C].parent) == ((), None, folder)


@pytest.mark.parametrize(
    "name",
    ["T2starw", "T2star", "T2starmap", "PDw", "PD", "PDT2", "T1map", "T2map", "inplaneT2", "angio", "MTR",
     "MEGRE", "MESE", "FLASH", "inv-1_MP2RAGE", "T1rho", "ADC", "defacemask", "label-lesion_roi", "swi",
     "label-tumor_mask"],
)  # fmt: skip
def test_no_other_image_is_taken_for_a_sequence(tmp_path: Path, name: str) -> None:
    """Also where a sequence is missing: none of these may be the missing one."""
    plant(tmp_path, names=("T1w", "T2w", "FLAIR", name))
    (case,) = find_cases(tmp_path)
    assert list(case.images) == [T1N, T2W, T2F]
    assert (case.unknown, case.error) == ((), None)
    assert is_other_name(f"sub-1_{name}.nii.gz")


def test_the_t1_of_an_mp2rage_is_named_because_it_may_be_the_missing_one(tmp_path: Path) -> None:
    plant(tmp_path, names=(*FOUR[1:], "UNIT1"))
    error = refusal(tmp_path)
    assert (error.code, "sub-1_UNIT1.nii.gz" in error.what) == ("E-UNKNOWN", True)


@pytest.mark.parametrize("room", ["fmap/sub-1_TB1map", "fmap/sub-1_acq-T2_epi", "func/sub-1_task-rest_bold",
                                  "perf/sub-1_m0scan", "dwi/sub-1_sbref", "swi/sub-1_swi"])  # fmt: skip
def test_the_other_folders_of_a_subject_are_no_cases(tmp_path: Path, room: str) -> None:
    plant(tmp_path)
    path = tmp_path / "sub-1" / f"{room}.nii.gz"
    path.parent.mkdir()
    path.touch()
    assert [case.id for case in find_cases(tmp_path)] == ["sub-1"]


@pytest.mark.parametrize(
    ("names", "role", "named"),
    [
        (("run-1_T1w", "run-2_T1w"), "t1n", ("sub-1_run-1_T1w", "sub-1_run-2_T1w")),
        (("T1w", "space-MNI_T1w"), "t1n", ("sub-1_T1w", "sub-1_space-MNI_T1w")),
        (("T1w", "rec-norm_T1w"), "t1n", ("sub-1_T1w", "sub-1_rec-norm_T1w")),
        (("ce-gd_T1w", "ce-gadolinium_T1w"), "t1c", ("sub-1_ce-gd_T1w", "sub-1_ce-gadolinium_T1w")),
        (("ce-gd_run-1_T1w", "ce-gd_run-2_T1w"), "t1c", ("sub-1_ce-gd_run-1_T1w", "sub-1_ce-gd_run-2_T1w")),
        (("acq-Gd_T1w", "ce-x_T1w"), "t1c", ("sub-1_acq-Gd_T1w", "sub-1_ce-x_T1w")),
        (("echo-1_T2w", "echo-2_T2w"), "t2w", ("sub-1_echo-1_T2w", "sub-1_echo-2_T2w")),
        (("desc-a_dseg", "desc-b_dseg"), "seg", ("sub-1_desc-a_dseg", "sub-1_desc-b_dseg")),
    ],
)
def test_two_images_of_one_sequence_are_both_named(
    tmp_path: Path, names: tuple[str, str], role: str, named: tuple[str, str]
) -> None:
    plant(tmp_path, names=("FLAIR", *names))
    plant(tmp_path, "sub-2")
    error = refusal(tmp_path)
    assert error.code == "E-DUPID"
    assert f"two {role} images" in error.what
    assert all(f"{name}.nii.gz" in error.what for name in named)
    assert "CSV list" in error.remedy
    assert [case.error for case in find_cases(tmp_path) if case.id == "sub-2"] == [None]


@pytest.mark.parametrize("mark", ["dataset_description.json", ""])
def test_derivatives_and_sources_are_left_out(tmp_path: Path, mark: str) -> None:
    """Many data sets lack their dataset_description.json: the folders of subjects mark them, too."""
    plant(tmp_path)
    if mark:
        (tmp_path / mark).touch()
    plant(tmp_path / "derivatives" / "prep", names=("desc-preproc_T1w", "space-MNI_desc-preproc_T1w"))
    plant(tmp_path / "sourcedata")
    (case,) = find_cases(tmp_path)
    assert (case.error, len(case.images)) == (None, 4)
    assert case.images[T1N] == tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz"


def test_derivatives_beside_a_folder_of_raw_data_are_left_out(tmp_path: Path) -> None:
    plant(tmp_path / "rawdata")
    plant(tmp_path / "derivatives" / "prep")
    (case,) = find_cases(tmp_path)
    assert "rawdata" in case.images[T1N].parts


def test_derivatives_that_are_named_are_read(tmp_path: Path) -> None:
    plant(tmp_path)
    prep = tmp_path / "derivatives" / "prep"
    plant(prep, names=tuple(f"space-SRI24_desc-preproc_{name}" for name in ("T1w", "T2w", "FLAIR")))
    (prep / "dataset_description.json").touch()
    (case,) = find_cases(prep)
    assert list(case.images) == [T1N, T2W, T2F]


@pytest.mark.parametrize("subject", ["sub-TCGA-02-0006", "sub-1.5", "sub-1_ses-2001-02-03"])
def test_invalid_labels_keep_the_sequences_of_a_case_together(tmp_path: Path, subject: str) -> None:
    """Labels hold letters and digits only, but not in every data set: no T1 with contrast is lost by that."""
    plant(tmp_path, subject)
    (case,) = find_cases(tmp_path)
    assert (case.id, case.layout, case.error) == (subject, "BIDS", None)
    assert case.images[T1C].name == f"{subject}_ce-gadolinium_T1w.nii.gz"


def test_a_t1_with_contrast_is_never_a_case_of_its_own(tmp_path: Path) -> None:
    """An underscore in a label can't be told from an entity: the image is named as not understood."""
    folder = tmp_path / "sub-pre_op" / "anat"
    folder.mkdir(parents=True)
    for name in FOUR:
        (folder / f"sub-pre_op_{name}.nii.gz").touch()
    (case,) = find_cases(tmp_path)
    assert case.error is not None
    assert "sub-pre_op_ce-gadolinium_T1w.nii.gz" in case.error.what
