"""Each layout as a tree of files: which cases it makes, of whom, and what belongs to them."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomaseg.cases.case import Case, is_id
from gliomaseg.cases.find import find_cases
from gliomaseg.cases.headers import read_headers
from gliomaseg.cases.layouts import LAYOUTS, parse_name
from gliomaseg.errors import GliomasegError
from gliomaseg.labels import BRATS2021, BRATS2023, MSD, UNSURE, LabelScheme, Modality

Run = Callable[..., tuple[int, str, str]]

T1N, T1C, T2W, T2F = Modality
NNUNET = {"channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}, "file_ending": ".nii.gz"}
#: As the Medical Segmentation Decathlon distributes it, without the list of files.
DECATHLON = {
    "name": "BRATS",
    "tensorImageSize": "4D",
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}


class Tree(NamedTuple):
    """The files of one case in a layout; ``files`` are T1, T1 with contrast, T2, FLAIR and the label map."""

    layout: str
    files: str
    case_id: str
    patient: str
    session: str = ""
    scheme: LabelScheme = BRATS2021
    more: tuple[str, ...] = ()
    dataset: object = None


UCSF = "UCSF-PDGM-0429_FU003d"
UPENN = "UPENN-GBM-00002_11"
TREES = [
    Tree("BraTS 2018 to 2021", "BraTS2021_00005/BraTS2021_00005_{t1,t1ce,t2,flair,seg}.nii.gz",
         "BraTS2021_00005", "BraTS2021_00005"),
    Tree("BraTS 2018 to 2021", "BraTS2021_00005/BraTS2021_00005_{T1,T1CE,T2,FLAIR,SEG}.NII.GZ",
         "BraTS2021_00005", "BraTS2021_00005"),
    Tree("BraTS 2018 to 2021", "a/BraTS2021_00005_{t1/7_brain_t1,t1ce/7_brain_t1ce,t2/7_brain_t2,"
         "flair/7_brain_flair,seg/7_final_seg}.nii", "BraTS2021_00005", "BraTS2021_00005"),
    Tree("BraTS 2023/2024", "BraTS-GLI-00006-101/BraTS-GLI-00006-101-{t1n,t1c,t2w,t2f,seg}.nii.gz",
         "BraTS-GLI-00006-101", "BraTS-GLI-00006", "101", BRATS2023),
    Tree("BraTS 2023/2024", "x/BraTS-GLI-00006-000-{t1n.nii/116_brain_t1,t1c.nii/116_brain_t1ce,"
         "t2w.nii/116_brain_t2,t2f.nii/0000_brain_flair,seg.nii/116_final_seg}.nii",
         "BraTS-GLI-00006-000", "BraTS-GLI-00006", "000", BRATS2023),
    Tree("BraTS-PED", "BraTS-PED-00001-000/BraTS-PED-00001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz",
         "BraTS-PED-00001-000", "BraTS-PED-00001", "000", UNSURE),
    Tree("BIDS", "sub-01/ses-pre/anat/sub-01_ses-pre_{T1w,ce-gadolinium_T1w,T2w,FLAIR,dseg}.nii.gz",
         "sub-01_ses-pre", "sub-01", "ses-pre", UNSURE,
         ("dataset_description.json", "participants.tsv", "sub-01/ses-pre/dwi/sub-01_ses-pre_dwi.nii.gz",
          "derivatives/t/sub-01/ses-pre/anat/sub-01_ses-pre_T1w.nii.gz",
          "sourcedata/sub-01/ses-pre/anat/sub-01_ses-pre_T1w.nii.gz")),
    Tree("BIDS", "sub-x/anat/sub-x_{acq-3D_run-1_T1w,acq-3D_ce-Gd_run-1_T1w,run-02_echo-1_T2w,acq-cube_FLAIR,"
         "desc-expert_dseg}.nii.gz", "sub-x", "sub-x", scheme=UNSURE),
    Tree("BIDS", "sub-x/anat/sub-x_{T1w,acq-postgd_T1w,T2w,FLAIR,dseg}.nii", "sub-x", "sub-x", scheme=UNSURE),
    Tree("BIDS", "sub-TCGA-02-0006/ses-2001-02-03/anat/sub-TCGA-02-0006_ses-2001-02-03_"
         "{T1w,ce-gd_T1w,T2w,FLAIR,dseg}.nii.gz", "sub-TCGA-02-0006_ses-2001-02-03", "sub-TCGA-02-0006",
         "ses-2001-02-03", UNSURE),
    Tree("BIDS with names of BraTS", "sub-1/ses-2/anat/sub-1_ses-2_space-SRI24_{t1,t1ce,t2,flair,seg}.nii.gz",
         "sub-1_ses-2", "sub-1", "ses-2"),
    Tree("BIDS with names of BraTS", "sub-1/anat/sub-1_acq-3D_{T1n,ce-gd_T1c,T2w,FLAIR,seg}.nii.gz", "sub-1",
         "sub-1"),
    Tree("UCSF-PDGM", f"{UCSF}_nifti/{UCSF}_{{T1,T1c,T2,FLAIR,tumor_segmentation}}.nii.gz",
         UCSF, "UCSF-PDGM-0429", "FU003d", more=tuple(
             f"{UCSF}_nifti/{UCSF}_{name}.nii.gz" for name in (
                 "T1_bias", "T1c_bias", "T2_bias", "FLAIR_bias", "SWI", "SWI_bias", "DWI", "DWI_bias", "ADC",
                 "ASL", "DTI_eddy_FA", "DTI_eddy_L1", "DTI_eddy_noreg", "brain_segmentation",
                 "brain_parenchyma_segmentation"))),
    Tree("UCSF-PDGM", "x/UCSF-PDGM-0004_{T1_bias,T1gad_bias,T2_bias,FLAIR_bias,tumor_segmentation}.nii.gz",
         "UCSF-PDGM-0004", "UCSF-PDGM-0004"),
    Tree("UPENN-GBM", f"images_s{{tructural/x/{UPENN}_T1,tructural/x/{UPENN}_T1GD,tructural/x/{UPENN}_T2,"
         f"tructural/x/{UPENN}_FLAIR,egm/{UPENN}_segm}}.nii.gz", UPENN, "UPENN-GBM-00002", "11", more=(
             f"automated_segm/{UPENN}_automated_approx_segm.nii.gz",
             *(f"images_structural_unstripped/{UPENN}/{UPENN}_{part}_unstripped.nii.gz"
               for part in ("T1", "T1GD", "T2", "FLAIR")))),
    Tree("BraTS-TCGA", "x/TCGA-02-0006_1996.08.23_{t1,t1Gd,t2,flair,GlistrBoost_ManuallyCorrected}.nii.gz",
         "TCGA-02-0006_1996.08.23", "TCGA-02-0006", "1996.08.23",
         more=("x/TCGA-02-0006_1996.08.23_GlistrBoost.nii.gz",)),
    Tree("FeTS", "Patient_001/Patient_001_{brain_t1,brain_t1ce,brain_t2,brain_t2flair,final_seg}.nii.gz",
         "Patient_001", "Patient_001"),
    Tree("LUMIERE", "Patient-042/week-000-1/{T1,CT1,T2,FLAIR}.nii.gz", "Patient-042_week-000-1",
         "Patient-042", "week-000-1", UNSURE, (
             "Patient-042/week-000-1/HD-GLIO-AUTO-segmentation/registered/CT1_r2s_bet_reg.nii.gz",
             "Patient-042/week-000-1/HD-GLIO-AUTO-segmentation/registered/segmentation.nii.gz",
             "Patient-042/week-000-1/DeepBraTumIA-segmentation/atlas/skull_strip/ct1_skull_strip.nii.gz")),
    Tree("plain", "case 7/{t1,t1ce,t2,flair,seg}.nii.gz", "case 7", "case 7"),
    Tree("plain", "EGD-0001/{T1,T1GD,T2,FLAIR,seg}.nii.gz", "EGD-0001", "EGD-0001",
         more=("EGD-0001/MASK.nii.gz",)),
    Tree("nnU-Net", "D/{imagesTr/a_0000,imagesTr/a_0001,imagesTr/a_0002,imagesTr/a_0003,labelsTr/a}.nii.gz",
         "a", "a", scheme=UNSURE, more=("D/imagesTr/b_0000.nii.gz", "D/imagesTs/c_0000.nii.gz"),
         dataset=NNUNET | {"labels": {"background": 0, "lesion": 1}}),
    Tree("nnU-Net", "D/{imagesTs/a_0000,imagesTs/a_0001,imagesTs/a_0002,imagesTs/a_0003}.nii.gz", "a", "a",
         scheme=UNSURE, dataset=NNUNET),
    Tree("nnU-Net", "D/{a_0003,a_0002,a_0001,a_0000}.nrrd", "a", "a", scheme=UNSURE,
         dataset={"modality": {"0": "flair", "1": "T2-w", "2": "T1 Gd", "3": "T1W"}}),
]  # fmt: skip


def expand(files: str) -> list[str]:
    start, _, rest = files.partition("{")
    inside, _, end = rest.partition("}")
    return [start + part + end for part in inside.split(",")]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def plant(root: Path, tree: Tree) -> list[Path]:
    names = expand(tree.files)
    touch(root, *names, *tree.more)
    if tree.dataset:
        (root / "D" / "dataset.json").write_text(json.dumps(tree.dataset))
    return [root / name for name in names]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{tree.layout}: {tree.files[:40]}")
def test_a_tree_is_its_case(tree: Tree, tmp_path: Path) -> None:
    files = plant(tmp_path, tree)
    case = next(case for case in find_cases(tmp_path) if case.id == tree.case_id)
    assert list(case.images.items()) == list(zip(Modality, files[:4], strict=True))
    assert case.reference == (files[4] if len(files) > 4 else None)
    assert (case.patient, case.session) == (tree.patient, tree.session)
    assert (case.layout, case.scheme) == (tree.layout, tree.scheme)
    assert (case.error, case.unknown, case.channels) == (None, (), {})
    if not tree.dataset:
        assert find_cases(tmp_path) == [case]


def test_every_layout_has_a_tree_and_an_example() -> None:
    assert {tree.layout for tree in TREES} | {"MSD"} == {layout.name for layout in LAYOUTS}
    assert all(layout.example for layout in LAYOUTS)
    page = (Path(__file__).parents[2] / "docs" / "get-started.md").read_text(encoding="utf-8")
    assert [layout.name for layout in LAYOUTS if layout.name not in page] == []


def test_four_sequences_in_one_file_are_split_by_dataset_json(tmp_path: Path) -> None:
    touch(tmp_path, "Task01/imagesTr/BRATS_001.nii.gz", "Task01/labelsTr/BRATS_001.nii.gz")
    touch(tmp_path, "Task01/imagesTs/BRATS_485.nii.gz")
    (tmp_path / "Task01" / "dataset.json").write_text(json.dumps(DECATHLON))
    one, two = find_cases(tmp_path)
    assert (one.layout, one.scheme, two.reference) == ("MSD", MSD, None)
    assert one.reference == tmp_path / "Task01" / "labelsTr" / "BRATS_001.nii.gz"
    for case in (one, two):
        assert len(set(case.images.values())) == 1
        assert case.channels == {T1N: 1, T1C: 2, T2W: 3, T2F: 0}
    (tmp_path / "Task01" / "dataset.json").unlink()  # nothing names the channels: no guess is made
    with pytest.raises(GliomasegError, match="no case") as caught:
        find_cases(tmp_path)
    assert "dataset.json" in caught.value.expected


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        ({"background": 0, "edema": 1, "non-enhancing tumor": 2, "enhancing tumor": 3}, MSD),
        ({"0": "background", "1": "NCR", "2": "ED", "4": "ET"}, BRATS2021),
        ({"background": 0, "NETC": 1, "SNFH": 2, "ET": 3}, BRATS2023),
        ({"background": 0, "necrotic core": 1, "oedema": 2, "enhancing": 3}, BRATS2023),
        ({"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": 3}, BRATS2023),
        ({"background": 0, "WT": [1, 2, 3], "TC": [2, 3], "ET": [3]}, MSD),
        ({"background": 0, "lesion": 1}, UNSURE),
        ({"background": 0, "a": 1, "b": 2, "c": 3}, UNSURE),
        (None, UNSURE),
    ],
)
def test_label_schemes_of_dataset_json(tmp_path: Path, labels: object, scheme: LabelScheme) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps(NNUNET | {"labels": labels}))
    (case,) = find_cases(tmp_path)
    assert case.scheme is scheme
    assert case.reference is not None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 9**5, '{"channel_names": 3}', '{"channel_names": {"a": "T1"}}'], ids=len
)
def test_a_dataset_json_that_can_not_be_understood(tmp_path: Path, content: str) -> None:
    touch(tmp_path, "D/imagesTr/a_0000.nii.gz", "b/b_t1.nii.gz")
    (tmp_path / "D" / "dataset.json").write_text(content)
    intact, broken = find_cases(tmp_path)
    assert intact.error is None
    assert broken.error is not None
    assert broken.error.code == "E-MANIFEST"
    assert str(tmp_path / "D" / "dataset.json") in broken.error.what


# Patients and sessions


def test_a_patient_with_twelve_sessions(tmp_path: Path) -> None:
    touch(tmp_path, "dataset_description.json")
    for number in range(12):
        touch(
            tmp_path,
            *expand(f"sub-01/ses-{number}/anat/sub-01_ses-{number}_{{T1w,ce-x_T1w,T2w,FLAIR}}.nii.gz"),
        )
    cases = find_cases(tmp_path)
    assert len(cases) == len({case.id for case in cases}) == 12
    assert {case.patient for case in cases} == {"sub-01"}
    assert {case.session for case in cases} == {f"ses-{number}" for number in range(12)}


def test_plain_folders_of_one_name_are_sessions_of_the_folders_above(tmp_path: Path) -> None:
    for where in ("p1/2020", "p1/2021", "p2/2020"):
        touch(tmp_path / where, "t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz", "flair.nii.gz")
    assert [(c.id, c.patient) for c in find_cases(tmp_path)] == [
        ("p1_2020", "p1"), ("p1_2021", "p1"), ("p2_2020", "p2"),
    ]  # fmt: skip
    assert [c.id for c in find_cases(tmp_path / "p1")] == ["2020", "2021"]


def test_two_t1c_in_one_session_are_refused_and_the_others_go_on(tmp_path: Path) -> None:
    for subject in ("1", "2"):
        touch(tmp_path, *expand(f"sub-{subject}/anat/sub-{subject}_{{T1w,ce-gd_T1w,T2w,FLAIR}}.nii.gz"))
    touch(tmp_path, "sub-2/anat/sub-2_acq-2D_ce-gd_T1w.nii.gz")
    one, two = find_cases(tmp_path)
    assert one.error is None
    assert two.error is not None
    assert two.error.code == "E-DUPID"
    assert "two t1c images: sub-2_acq-2D_ce-gd_T1w.nii.gz and sub-2_ce-gd_T1w.nii.gz" in two.error.what
    assert "--draft" in two.error.remedy


def test_flair_without_contrast_is_preferred(tmp_path: Path) -> None:
    touch(tmp_path, *expand("sub-1/anat/sub-1_{T1w,ce-gd_T1w,T2w,FLAIR,ce-gd_FLAIR}.nii.gz"))
    (case,) = find_cases(tmp_path)
    assert case.error is None
    assert case.images[T2F].name == "sub-1_FLAIR.nii.gz"


@pytest.mark.parametrize(
    ("case_id", "patient", "session"),
    [
        ("BraTSReg_002_00", "BraTSReg_002", "00"),
        ("BraTSReg_002_01_0262", "BraTSReg_002", "01_0262"),
        ("BraTS-MET-00005-001", "BraTS-MET-00005", "001"),
        ("Brats18_CBICA_AAB_1", "Brats18_CBICA_AAB_1", ""),
        ("BraTS2021_00005", "BraTS2021_00005", ""),
        ("sub-01", "sub-01", ""),
    ],
)
def test_an_id_names_its_patient_wherever_it_comes_from(case_id: str, patient: str, session: str) -> None:
    assert (Case(case_id, {}).patient, Case(case_id, {}).session) == (patient, session)
    assert Case(case_id, {}, patient="other", session="x").patient == "other"


# Names that are not understood


@pytest.mark.parametrize("odd", ["a_t1_ce", "a_T1wCE", "a_fl", "a-T1post", "T1 with Gd"])
@pytest.mark.parametrize("end", [".nii.gz", ".nrrd", ".mhd", ".mgz"])
def test_a_sequence_with_an_unknown_name_is_named_and_refused(tmp_path: Path, odd: str, end: str) -> None:
    touch(tmp_path / "a", "a_t1.nii.gz", "a_t2.nii.gz", "a_flair.nii.gz", odd + end)
    touch(tmp_path / "b", *expand("b_{t1,t1ce,t2,flair}.nii.gz"))
    one, two = find_cases(tmp_path)
    assert one.error is not None
    assert one.error.code == "E-UNKNOWN"
    assert odd + end in one.error.what
    assert "has no t1c" in one.error.what
    assert "--allow-missing" in one.error.remedy
    assert two.error is None
    (allowed, _) = find_cases(tmp_path, allow_missing=True)
    assert allowed.error is None
    assert [note.code for note in allowed.notes] == ["W-UNKNOWN"]
    assert odd + end in allowed.notes[0].what


def test_other_images_beside_four_sequences_are_only_noted(tmp_path: Path) -> None:
    touch(
        tmp_path / "a",
        *expand("a_{t1,t1ce,t2,flair,seg,cbv,brain_mask,adc}.nii.gz"),
        "a_t1.json",
        "notes.txt",
    )
    (case,) = find_cases(tmp_path)
    assert case.error is None
    assert [path.name for path in case.unknown] == ["a_cbv.nii.gz"]
    assert "a_cbv.nii.gz" in case.notes[0].what


def test_in_a_flat_folder_a_file_belongs_to_the_case_of_its_prefix(tmp_path: Path) -> None:
    touch(
        tmp_path, *expand("p1_{t1,t1ce,t2,flair}.nii"), *expand("p10_{t1,t2,flair}.nii"), "p10_contrast.nii"
    )
    one, ten = find_cases(tmp_path)
    assert (one.unknown, one.error) == ((), None)
    assert ten.unknown == (tmp_path / "p10_contrast.nii",)
    assert ten.error is not None


def test_a_case_with_only_unknown_names_is_not_lost(tmp_path: Path) -> None:
    touch(tmp_path / "a", *expand("a_{t1,t1ce,t2,flair}.nii.gz"))
    touch(tmp_path / "b", "T1_3D.nii.gz", "T1_3D_Gd.nii.gz")
    touch(tmp_path / "masks", "a_mask.nii.gz", "core.nii.gz")
    touch(tmp_path / "a" / "deeper", "T1_3D.nii.gz")
    one, two = find_cases(tmp_path)
    assert (one.id, one.error, two.id) == ("a", None, "b")
    assert two.error is not None
    assert (two.error.code, two.images) == ("E-UNKNOWN", {})
    assert find_cases(tmp_path, allow_missing=True)[1].error is not None  # there is nothing to go on with


def test_a_folder_of_dicom_among_cases_is_not_lost(tmp_path: Path) -> None:
    touch(tmp_path / "a", *expand("a_{t1,t1ce,t2,flair}.nii.gz"))
    touch(tmp_path, "notes/read.txt", "code/x.py")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(400))
    one, two = find_cases(tmp_path)
    assert (one.id, one.error, two.id) == ("a", None, "b")
    assert two.error is not None
    assert (two.error.code, "dcm2niix" in two.error.remedy) == ("E-FORMAT", True)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40))
def test_a_name_is_understood_whatever_the_id(case_id: str) -> None:
    for end in ("_t1ce.nii.gz", "-t1c.NII.GZ", "_brain_t1ce.nii"):
        part = parse_name(case_id + end)
        assert part is not None
        assert (part.case_id, part.modality) == (case_id, T1C)


@given(st.text(min_size=1, max_size=300))
def test_an_id_can_be_a_folder_and_a_lock(case_id: str) -> None:
    if not is_id(case_id):
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / case_id).mkdir()
        (Path(folder) / f".lock-{case_id}").touch()


@pytest.mark.parametrize("name", ["x" * 220, "trailing ", "nul"])
def test_an_id_that_segment_can_not_write_is_refused_when_it_is_found(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "b", f"{name}_t1.nii.gz")
    touch(tmp_path / "a", "a_t1.nii.gz")
    errors = [case.error.code if case.error else "" for case in find_cases(tmp_path)]
    assert sorted(errors) == ["", "E-ID"]


# What can't be read


def test_what_is_no_file_is_kept_and_reading_it_raises(tmp_path: Path) -> None:
    target = tmp_path / "a"
    touch(target, *expand("a_{t1,t2,flair}.nii.gz"))
    image = target / "a_t1ce.nii.gz"
    with socket.socket(socket.AF_UNIX) as listener:
        makers = {
            "is a link to gone": lambda: image.symlink_to("gone"),
            "is a link to a_t1ce.nii.gz": lambda: image.symlink_to("a_t1ce.nii.gz"),
            "pipe or device": lambda: os.mkfifo(image),
            "a pipe or device": lambda: image.symlink_to(os.devnull),
            "is a folder": image.mkdir,
            "a git-annex link": lambda: image.symlink_to(".git/annex/objects/x"),
        }
        for words, make in makers.items():
            make()
            (case,) = find_cases(target)
            assert list(case.images) == list(Modality), words
            with pytest.raises(GliomasegError) as caught:
                read_headers(case, (T1C,))
            assert words in caught.value.what
            assert str(image) in caught.value.what
            assert caught.value.code == ("E-POINTER" if "annex" in words else "E-NOFILE")
            image.rmdir() if image.is_dir() and not image.is_symlink() else image.unlink()
        listener.bind(str(image)) if len(str(image)) < 100 else os.mkfifo(image)
        (case,) = find_cases(target)
        assert T1C in case.images


@pytest.fixture
def shared_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder that another user may enter, and be one during the test: root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        if hasattr(os, "seteuid") and os.getuid() == 0:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the permissions of POSIX")
def test_an_unreadable_folder_is_a_case_with_that_error(shared_folder: Path) -> None:
    for name in ("a", "b"):
        touch(shared_folder / name, *expand(f"{name}_{{t1,t1ce,t2,flair}}.nii.gz"))
    (shared_folder / "b").chmod(0o000)
    if os.getuid() == 0:
        os.seteuid(65534)
    one, two = find_cases(shared_folder)
    with pytest.raises(GliomasegError) as caught:
        find_cases(shared_folder / "b")
    if os.getuid() == 0:
        os.seteuid(0)
    (shared_folder / "b").chmod(0o755)
    assert (one.id, one.error, two.id) == ("a", None, "b")
    assert two.error is not None
    assert two.error.code == caught.value.code == "E-PERM"
    assert str(shared_folder / "b") in two.error.what


@pytest.mark.skipif(sys.platform == "win32", reason="needs the permissions of POSIX")
def test_a_read_only_data_set(shared_folder: Path) -> None:
    touch(shared_folder / "a", *expand("a_{t1,t1ce,t2,flair}.nii.gz"))
    for folder in (shared_folder / "a", shared_folder):
        folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)
    (case,) = find_cases(shared_folder)
    if os.getuid() == 0:
        os.seteuid(0)
    shared_folder.chmod(0o755)
    assert (case.error, len(case.images)) == (None, 4)


def test_many_cases_are_found_without_opening_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        touch(tmp_path / f"c{number}", *expand(f"c{number}_{{t1,t1ce,t2,flair,seg}}.nii.gz"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(Path, "open", refuse)
    cases = find_cases(tmp_path)
    assert len(cases) == 100
    assert all(isinstance(case, Case) and case.reference for case in cases)


def test_dicom_files_outside_cases_are_shown(tmp_path: Path, run: Run) -> None:
    touch(tmp_path / "d", "a/a_t1.nii", "a/a_t1.dcm", "a/raw/t1/1.dcm", "a/raw/t1/2.IMA", "b/x/y/DICOMDIR")
    touch(tmp_path / "d", "a/raw/notes.txt", "b/x/y/.hidden.dcm")
    _, _, err = run("check", tmp_path / "d")
    shown = " ".join(err.split())
    assert "left out: 3 DICOM files in" in shown
    assert "and in 1 other folder;" in shown
    assert f"dcm2niix -z y {tmp_path / 'd' / 'a' / 'raw' / 't1'}" in shown
    touch(tmp_path / "e", "a/a_t1.nii")
    assert "DICOM" not in run("check", tmp_path / "e")[2]
