"""Predictions on disk: every way of naming, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_maps import labels_of, save

from gliomaseg.errors import CaseError, ImageError
from gliomaseg.evaluation.pairing import find_predictions
from gliomaseg.labels import BRATS2021


@pytest.mark.parametrize(
    "name",
    [
        "BraTS20_Training_001/seg.nii.gz",
        "BraTS20_Training_001/seg.nii",
        "BraTS20_Training_001.nii.gz",
        "BraTS20_Training_001.nii",
        "BraTS20_Training_001_seg.nii.gz",
        "BraTS20_Training_001_seg.nii",
        "BraTS20_Training_001-seg.nii.gz",
    ],
)
def test_every_way_of_naming(predictions: Path, name: str) -> None:
    path = save(predictions / name, labels_of(BRATS2021, "et"))
    assert find_predictions(predictions) == {"BraTS20_Training_001": path}


def test_a_result_folder_alone_is_named_by_itself(predictions: Path) -> None:
    path = save(predictions / "A" / "seg.nii.gz", labels_of(BRATS2021))
    assert find_predictions(predictions / "A") == {"A": path}


def test_other_files_are_passed_over(predictions: Path) -> None:
    save(predictions / "A.nii.gz", labels_of(BRATS2021))
    save(predictions / "._A_seg.nii.gz", labels_of(BRATS2021))
    save(predictions / "B" / "probabilities.nii.gz", labels_of(BRATS2021))
    (predictions / "scores.csv").write_text("id\n")
    assert list(find_predictions(predictions)) == ["A"]


@pytest.mark.parametrize("second", ["A.nii", "A-seg.nii.gz", "A/seg.nii.gz"])
def test_two_predictions_of_a_case_are_refused(predictions: Path, second: str) -> None:
    for name in ("A.nii.gz", second):
        save(predictions / name, labels_of(BRATS2021))
    with pytest.raises(CaseError, match="case A has two predictions") as caught:
        find_predictions(predictions)
    assert caught.value.code == "E-DUPID"


def test_nothing_found_names_the_expected_files(predictions: Path) -> None:
    with pytest.raises(CaseError) as caught:
        find_predictions(predictions)
    assert caught.value.code == "E-NOCASE"
    assert "<id>/seg.nii.gz" in caught.value.expected


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        find_predictions(tmp_path / "nowhere")
    assert caught.value.code == "E-NOFILE"


def test_a_file_instead_of_a_folder(predictions: Path) -> None:
    with pytest.raises(CaseError) as caught:
        find_predictions(save(predictions / "A.nii.gz", labels_of(BRATS2021)))
    assert caught.value.code == "E-NOFILE"
