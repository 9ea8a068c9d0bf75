"""Evaluation of folders: every way of naming, what is missing, extra or broken, mixed label schemes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.errors import CODES, CaseError, ImageError
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, MSD, LabelScheme, Region, Tissue
from gliomaseg.results.evaluation import COLUMNS, Evaluation, evaluate, score_case
from gliomaseg.results.metrics import dice, iou, mean_iou_with_background
from gliomaseg.results.prediction import find_predictions

SHAPE = (4, 3, 2)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def labels_of(scheme: LabelScheme, *tissues: str, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return a label map whose first voxels (in C order) are the given tissues, '' for background."""
    array = np.zeros(shape, np.uint8)
    array.flat[: len(tissues)] = [scheme.values[Tissue(t)] if t else 0 for t in tissues]
    return array


def segmentation(scheme: LabelScheme, *tissues: str) -> Segmentation:
    return Segmentation(labels_of(scheme, *tissues), Grid(SHAPE, AFFINE), scheme)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def add_reference(root: Path, name: str, array: np.ndarray | None, separator: str = "_") -> None:
    """Write a case as BraTS distributes it; its image is never opened, so that a name is enough."""
    folder = root / name
    folder.mkdir(parents=True)
    modality = {"_": "t1ce", "-": "t1c"}[separator]
    (folder / f"{name}{separator}{modality}.nii.gz").touch()
    if array is not None:
        save(folder / f"{name}{separator}seg.nii.gz", array)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    folder.mkdir()
    return folder


@pytest.fixture
def references(tmp_path: Path) -> Path:
    folder = tmp_path / "references"
    folder.mkdir()
    return folder


# --- one case -------------------------------------------------------------------------------------


def test_a_case_by_pencil() -> None:
    prediction = segmentation(BRATS2021, "ncr", "et", "ed", "ed")
    reference = segmentation(BRATS2021, "ncr", "ncr", "ed", "")
    scores = score_case(prediction, reference)
    assert list(scores) == list(COLUMNS)
    assert scores["dice_wt"] == pytest.approx(6 / 7)
    assert scores["dice_tc"] == 1.0
    assert scores["dice_et"] == 0.0
    assert scores["dice_ncr"] == pytest.approx(2 / 3)
    assert scores["dice_ed"] == pytest.approx(2 / 3)
    assert scores["iou_wt"] == pytest.approx(3 / 4)
    assert scores["iou_ncr"] == pytest.approx(1 / 2)
    assert scores["mean_iou_with_background"] == pytest.approx((20 / 21 + 1 / 2 + 1 / 2 + 0) / 4)


def test_parts_empty_in_both_score_one() -> None:
    scores = score_case(segmentation(BRATS2021, "ed"), segmentation(BRATS2021, "ed"))
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize("scheme", [BRATS2021, BRATS2023, BRATS2024, MSD], ids=lambda s: s.name)
@pytest.mark.parametrize("other", [BRATS2021, BRATS2023, BRATS2024, MSD], ids=lambda s: s.name)
def test_schemes_may_differ(scheme: LabelScheme, other: LabelScheme) -> None:
    tissues = ("ncr", "ed", "ed", "et", "", "et")
    assert set(score_case(segmentation(scheme, *tissues), segmentation(other, *tissues)).values()) == {1.0}


def test_a_cavity_is_background() -> None:
    scores = score_case(segmentation(BRATS2024, "rc", "et"), segmentation(BRATS2021, "", "et"))
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize("seed", range(3))
def test_a_random_case_agrees_with_the_masks(seed: int) -> None:
    random = np.random.default_rng(seed)
    pair = [
        Segmentation(random.choice([0, 1, 2, 4], SHAPE).astype(np.uint8), Grid(SHAPE, AFFINE), BRATS2021)
        for _ in range(2)
    ]
    scores = score_case(*pair)
    for part in (*Region, Tissue.NECROSIS, Tissue.OEDEMA):
        masks = [s.mask(part) for s in pair]
        assert scores[f"dice_{part}"] == pytest.approx(dice(*masks))
        assert scores[f"iou_{part}"] == pytest.approx(iou(*masks))
    whole = mean_iou_with_background(*(s.labels for s in pair), (1, 2, 4))
    assert scores["mean_iou_with_background"] == pytest.approx(whole)


def test_other_shape_is_refused_naming_both() -> None:
    other = Segmentation(np.zeros((5, 3, 2), np.uint8), Grid((5, 3, 2), AFFINE), BRATS2021)
    with pytest.raises(CaseError, match="5 x 3 x 2 voxels, the reference 4 x 3 x 2") as caught:
        score_case(other, segmentation(BRATS2021, "et"))
    assert caught.value.code == "E-GRID"


def test_other_place_is_refused_naming_it() -> None:
    moved = Segmentation(np.zeros(SHAPE, np.uint8), Grid(SHAPE, np.eye(4)), BRATS2021)
    with pytest.raises(CaseError, match="lie elsewhere") as caught:
        score_case(moved, segmentation(BRATS2021, "et"))
    assert caught.value.code == "E-GRID"


# --- finding predictions --------------------------------------------------------------------------


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


def test_nothing_found_says_what_was_looked_for(predictions: Path) -> None:
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


# --- many cases -----------------------------------------------------------------------------------


def test_mean_and_median_by_pencil(predictions: Path, references: Path) -> None:
    truth = labels_of(BRATS2021, "et", "et")
    for name, prediction in {
        "A": truth,
        "B": labels_of(BRATS2021, "", "et", "et"),
        "C": labels_of(BRATS2021),
    }.items():
        add_reference(references, name, truth)
        save(predictions / f"{name}.nii.gz", prediction)
    evaluation = evaluate(predictions, references)
    assert evaluation.rules == "brats2020"
    assert [evaluation.cases[c]["dice_wt"] for c in "ABC"] == [1.0, 0.5, 0.0]
    assert evaluation.mean()["dice_wt"] == pytest.approx(0.5)
    assert evaluation.median()["iou_wt"] == pytest.approx(1 / 3)
    assert evaluation.mean()["dice_ed"] == 1.0


def test_missing_extra_and_skipped_are_listed(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    add_reference(references, "B", labels_of(BRATS2021, "et"))
    add_reference(references, "C", None)
    for name in "ACD":
        save(predictions / f"{name}.nii.gz", labels_of(BRATS2021, "et"))
    evaluation = evaluate(predictions, references)
    assert (evaluation.missing, evaluation.extra, evaluation.skipped) == (("B",), ("D",), ("C",))
    assert list(evaluation.cases) == ["A", "B"]
    scores = evaluation.cases["B"]
    assert (scores["dice_et"], scores["dice_wt"], scores["dice_ed"]) == (0.0, 0.0, 1.0)
    assert scores["mean_iou_with_background"] == pytest.approx((23 / 24 + 0) / 2)
    assert evaluation.table()[2][0] == "B (no prediction)"


def test_a_failing_case_is_listed_and_the_others_go_on(predictions: Path, references: Path) -> None:
    truth = labels_of(BRATS2021, "et")
    for name in "ABCDE":
        add_reference(references, name, truth)
    save(predictions / "A.nii.gz", np.zeros((4, 3, 3), np.uint8))
    save(predictions / "B.nii.gz", labels_of(BRATS2023, "et"))
    whole = save(predictions / "C.nii.gz", truth).read_bytes()
    (predictions / "C.nii.gz").write_bytes(whole[:-9])
    save(predictions / "D.nii.gz", truth, np.eye(4))
    save(predictions / "E.nii.gz", truth)
    evaluation = evaluate(predictions, references)
    assert list(evaluation.cases) == ["E"]
    codes = {name: error["code"] for name, error in evaluation.failed.items()}
    assert codes == {"A": "E-GRID", "B": "E-LABELS", "C": "E-TRUNCATED", "D": "E-GRID"}
    assert not evaluation.missing


def test_a_broken_reference_fails_its_case_only(predictions: Path, references: Path) -> None:
    for name in "AB":
        add_reference(references, name, labels_of(BRATS2021, "et"))
        save(predictions / f"{name}.nii.gz", labels_of(BRATS2021, "et"))
    (references / "A" / "A_seg.nii.gz").write_bytes(b"")
    evaluation = evaluate(predictions, references)
    assert list(evaluation.cases) == ["B"]
    assert evaluation.failed["A"]["code"] == "E-EMPTY"


def test_run_json_names_the_scheme_of_a_prediction(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2023, "et", "ncr"), separator="-")
    save(predictions / "A" / "seg.nii.gz", labels_of(BRATS2021, "et", "ncr"))
    (predictions / "A" / "run.json").write_text(json.dumps({"scheme": "brats2021"}))
    assert set(evaluate(predictions, references).cases["A"].values()) == {1.0}


def test_without_run_json_the_scheme_is_that_of_the_reference(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2023, "et", "ncr"), separator="-")
    save(predictions / "A" / "seg.nii.gz", labels_of(BRATS2023, "et", "ncr"))
    (predictions / "A" / "run.json").write_text(json.dumps({"model": "x"}))
    assert set(evaluate(predictions, references).cases["A"].values()) == {1.0}


def test_the_option_overrides_both(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et", "ed", "ncr"))
    save(predictions / "A" / "seg.nii.gz", labels_of(MSD, "et", "ed", "ncr"))
    (predictions / "A" / "run.json").write_text(json.dumps({"scheme": "brats2023"}))
    assert evaluate(predictions, references).mean()["dice_ed"] == 0.0
    assert set(evaluate(predictions, references, scheme=MSD).mean().values()) == {1.0}


def test_the_scheme_of_the_references_can_be_named(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2024, "et", "rc"), separator="-")
    save(predictions / "A.nii.gz", labels_of(BRATS2024, "et", "rc"))
    assert evaluate(predictions, references).failed["A"]["code"] == "E-LABELS"
    evaluation = evaluate(predictions, references, reference_scheme=BRATS2024)
    assert set(evaluation.mean().values()) == {1.0}


@pytest.mark.parametrize("text", ["{", '{"scheme": "brats1999"}'])
def test_a_run_json_that_makes_no_sense_fails_its_case(
    predictions: Path, references: Path, text: str
) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A" / "seg.nii.gz", labels_of(BRATS2021, "et"))
    (predictions / "A" / "run.json").write_text(text)
    evaluation = evaluate(predictions, references)
    assert evaluation.failed["A"]["code"] == "E-SETTING"
    assert evaluation.mean() == evaluation.median() == {}
    assert len(evaluation.table()) == 1
    json.dumps(evaluation.as_dict(), allow_nan=False)


def test_no_reference_at_all(predictions: Path, references: Path) -> None:
    add_reference(references, "A", None)
    save(predictions / "A.nii.gz", labels_of(BRATS2021))
    with pytest.raises(CaseError) as caught:
        evaluate(predictions, references)
    assert caught.value.code == "E-NOREF"


def test_no_id_in_common_is_an_error_not_a_zero(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "case_A.nii.gz", labels_of(BRATS2021, "et"))
    with pytest.raises(CaseError, match="has the id of a reference") as caught:
        evaluate(predictions, references)
    assert caught.value.code == "E-NOCASE"
    assert "case_A" in caught.value.expected


def test_progress_is_told_every_id(predictions: Path, references: Path) -> None:
    for name in "BA":
        add_reference(references, name, labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et"))
    told: list[str] = []
    evaluate(predictions, references, progress=lambda _, name: told.append(name))
    assert told == ["A", "B"]


# --- summaries ------------------------------------------------------------------------------------


def evaluation_of(*values: float) -> Evaluation:
    return Evaluation({f"case{i:03}": dict.fromkeys(COLUMNS, value) for i, value in enumerate(values)})


def test_interval_is_repeatable_and_surrounds_the_mean() -> None:
    evaluation = evaluation_of(*np.random.default_rng(1).uniform(0.5, 1, 40))
    low, high = evaluation.interval()["dice_wt"]
    assert low < evaluation.mean()["dice_wt"] < high
    assert evaluation.interval() == evaluation.interval()


def test_interval_agrees_with_the_normal_one_for_many_cases() -> None:
    values = np.random.default_rng(2).normal(0.8, 0.05, 400)
    half = 1.96 * values.std() / 20
    assert evaluation_of(*values).interval()["dice_wt"] == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )


def test_interval_of_equal_cases_has_no_width_and_of_one_case_is_none() -> None:
    assert evaluation_of(0.5, 0.5, 0.5).interval()["iou_et"] == (0.5, 0.5)
    assert evaluation_of(0.5).interval() == {}


def test_csv_is_tidy_and_exact() -> None:
    rows = list(csv.DictReader(io.StringIO(evaluation_of(1 / 3, 1.0).csv())))
    assert list(rows[0]) == ["id", *COLUMNS]
    assert [row["id"] for row in rows] == ["case000", "case001"]
    assert float(rows[0]["dice_wt"]) == 1 / 3


def test_table_has_every_case_and_two_summaries() -> None:
    table = evaluation_of(0.25, 0.5, 1.0).table()
    assert table[0][:4] == ["case", "Dice WT", "Dice TC", "Dice ET"]
    assert [row[0] for row in table[1:]] == ["case000", "case001", "case002", "mean", "median"]
    assert table[-2][1:3] == ["0.583", "0.583"]
    assert table[-1][1] == "0.500"
    assert {len(row) for row in table} == {len(COLUMNS) + 1}


def test_write_gives_both_files(tmp_path: Path) -> None:
    evaluation = evaluation_of(0.5, 1.0)
    evaluation.write(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["scores.csv", "summary.json"]
    assert (folder / "scores.csv").read_text() == evaluation.csv()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == evaluation.as_dict()
    assert (summary["schema_version"], summary["rules"], summary["n"]) == (1, "brats2020", 2)
    assert summary["mean"]["dice_wt"] == 0.75


def test_failed_cases_carry_known_codes(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", np.full(SHAPE, 9, np.uint8))
    failed = evaluate(predictions, references).as_dict()["failed"]
    assert isinstance(failed, dict)
    assert failed["A"]["code"] in CODES
