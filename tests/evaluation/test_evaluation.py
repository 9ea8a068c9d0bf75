"""Evaluation of folders: every way of naming, what is missing, extra or broken, mixed label schemes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gliomaseg.errors import CODES, CaseError, ImageError, SettingsError
from gliomaseg.evaluation.evaluation import evaluate, evaluate_methods
from gliomaseg.evaluation.metrics import class_numbers, confusion, mean_iou, overlap
from gliomaseg.evaluation.pairing import find_predictions
from gliomaseg.evaluation.scores import Evaluation
from gliomaseg.evaluation.scoring import score_case
from gliomaseg.evaluation.tables import case_table, notes, summary_dict
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, MSD, LabelScheme, Region, Tissue

SHAPE = (4, 3, 2)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def labels_of(scheme: LabelScheme, *tissues: str, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return a label map whose first voxels (in C order) are the given tissues, '' for background."""
    array = np.zeros(shape, np.uint8)
    array.flat[: len(tissues)] = [scheme.values[Tissue(t)] if t else 0 for t in tissues]
    return array


def segmentation(scheme: LabelScheme, *tissues: str) -> Segmentation:
    return Segmentation(labels_of(scheme, *tissues), Grid(SHAPE, AFFINE), scheme)


def scored(prediction: Segmentation, reference: Segmentation, rules: str = "brats2020") -> dict[str, float]:
    return {column.name: v for column, v in score_case(prediction, reference, rules=rules).items()}


def overlaps(scores: Mapping[str, float]) -> set[float]:
    """Return the different values of every Dice and IoU, and of the mean IoU."""
    return {v for name, v in scores.items() if "dice" in name or "iou" in name}


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
    scores = scored(prediction, reference)
    assert scores["dice_wt"] == pytest.approx(6 / 7)
    assert scores["dice_tc"] == 1.0
    assert scores["dice_et"] == 0.0
    assert scores["dice_ncr"] == pytest.approx(2 / 3)
    assert scores["dice_ed"] == pytest.approx(2 / 3)
    assert scores["iou_wt"] == pytest.approx(3 / 4)
    assert scores["iou_ncr"] == pytest.approx(1 / 2)
    assert scores["mean_iou_with_background"] == pytest.approx((20 / 21 + 1 / 2 + 1 / 2 + 0) / 4)
    assert [scores[f"class_dice_{t}"] for t in ("ncr", "ed", "et")] == pytest.approx([2 / 3, 2 / 3, 0])


def test_parts_empty_in_both_score_one() -> None:
    assert overlaps(scored(segmentation(BRATS2021, "ed"), segmentation(BRATS2021, "ed"))) == {1.0}


@pytest.mark.parametrize("scheme", [BRATS2021, BRATS2023, BRATS2024, MSD], ids=lambda s: s.name)
@pytest.mark.parametrize("other", [BRATS2021, BRATS2023, BRATS2024, MSD], ids=lambda s: s.name)
def test_schemes_may_differ(scheme: LabelScheme, other: LabelScheme) -> None:
    tissues = ("ncr", "ed", "ed", "et", "", "et")
    assert overlaps(scored(segmentation(scheme, *tissues), segmentation(other, *tissues))) == {1.0}


def test_a_cavity_is_background() -> None:
    assert overlaps(scored(segmentation(BRATS2024, "rc", "et"), segmentation(BRATS2021, "", "et"))) == {1.0}


@pytest.mark.parametrize("rules", ["brats2020", "brats2023", "brats2024", "brats2026", "strict"])
def test_every_year_has_the_notebooks_numbers(rules: str) -> None:
    pair = segmentation(BRATS2021, "ncr", "et", "ed", "ed"), segmentation(BRATS2021, "ncr", "ncr", "ed", "")
    scores = scored(*pair, rules)
    assert scores["class_dice_ncr"] == pytest.approx(2 / 3)
    assert scores["mean_iou_with_background"] == pytest.approx((20 / 21 + 1 / 2 + 1 / 2 + 0) / 4)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_case_agrees_with_the_masks(seed: int) -> None:
    random = np.random.default_rng(seed)
    pair = [
        Segmentation(random.choice([0, 1, 2, 4], SHAPE).astype(np.uint8), Grid(SHAPE, AFFINE), BRATS2021)
        for _ in range(2)
    ]
    scores = scored(*pair)
    for part in (*Region, Tissue.NECROSIS, Tissue.OEDEMA):
        masks = [s.mask(part) for s in pair]
        assert scores[f"dice_{part}"] == pytest.approx(overlap(*masks).dice)
        assert scores[f"iou_{part}"] == pytest.approx(overlap(*masks).iou)
    counts = confusion(*(class_numbers(s.labels, (1, 2, 4)) for s in pair), 4)
    assert scores["mean_iou_with_background"] == pytest.approx(mean_iou(counts))


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
    assert evaluation.worst(2) == ["C", "B"]


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
    assert case_table(evaluation, ["A", "B"])[2][0] == "B (no prediction)"
    lines = "\n".join(notes(evaluation))
    assert "1 without a prediction, scored as empty by the rules: B" in lines
    assert "2 without a reference, left out: D, C" in lines


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
    assert overlaps(evaluate(predictions, references).cases["A"]) == {1.0}


def test_without_run_json_the_scheme_is_that_of_the_reference(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2023, "et", "ncr"), separator="-")
    save(predictions / "A" / "seg.nii.gz", labels_of(BRATS2023, "et", "ncr"))
    (predictions / "A" / "run.json").write_text(json.dumps({"model": "x"}))
    assert overlaps(evaluate(predictions, references).cases["A"]) == {1.0}


def test_the_option_overrides_both(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et", "ed", "ncr"))
    save(predictions / "A" / "seg.nii.gz", labels_of(MSD, "et", "ed", "ncr"))
    (predictions / "A" / "run.json").write_text(json.dumps({"scheme": "brats2023"}))
    assert evaluate(predictions, references).mean()["dice_ed"] == 0.0
    assert overlaps(evaluate(predictions, references, scheme=MSD).mean()) == {1.0}


def test_the_scheme_of_the_references_can_be_named(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2024, "et", "rc"), separator="-")
    save(predictions / "A.nii.gz", labels_of(BRATS2024, "et", "rc"))
    assert evaluate(predictions, references).failed["A"]["code"] == "E-LABELS"
    evaluation = evaluate(predictions, references, reference_scheme=BRATS2024)
    assert overlaps(evaluation.mean()) == {1.0}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "E-REPORT"),
        ('{"a":' * 200_000, "E-REPORT"),
        ('{"scheme": ["brats2021"]}', "E-REPORT"),
        ('{"scheme": "brats1999"}', "E-SETTING"),
    ],
)
def test_a_run_json_that_makes_no_sense_fails_its_case(
    predictions: Path, references: Path, text: str, code: str
) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A" / "seg.nii.gz", labels_of(BRATS2021, "et"))
    (predictions / "A" / "run.json").write_text(text)
    evaluation = evaluate(predictions, references)
    assert evaluation.failed["A"]["code"] == code
    assert evaluation.mean() == evaluation.median() == {}
    json.dumps(summary_dict(evaluation), allow_nan=False)


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


# --- what users bring -----------------------------------------------------------------------------


def test_a_float_label_map_nearly_whole_is_rounded_and_noted(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et", "ed"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et", "ed") - np.float32(0.004))
    evaluation = evaluate(predictions, references)
    assert evaluation.mean()["dice_wt"] == 1.0
    assert "A.nii.gz" in evaluation.notes["A"][0]
    assert any("rounded" in line for line in notes(evaluation))


def test_a_whole_float_label_map_is_not_worth_a_note(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et").astype(np.float32))
    assert not evaluate(predictions, references).notes


def test_a_fractional_label_map_is_refused(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et") * np.float32(0.6))
    error = evaluate(predictions, references).failed["A"]
    assert error["code"] == "E-LABEL"
    assert "nearest neighbour" in error["remedy"]


def test_the_old_enhancing_label_under_2023_gets_the_remedy(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2023, "et", "ncr"), separator="-")
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et", "ncr"))
    error = evaluate(predictions, references, rules="brats2023").failed["A"]
    assert (error["code"], "label 4" in error["what"]) == ("E-LABELS", True)
    assert "--prediction-scheme brats2021" in error["remedy"]
    again = evaluate(predictions, references, rules="brats2023", scheme=BRATS2021)
    assert again.mean()["lesion_dice_et"] == 1.0


@pytest.mark.parametrize("name", ["A.nii.gz", "A_seg.nii.gz", "A/A_seg.nii.gz", "A/seg.nii.gz"])
def test_references_may_be_a_folder_of_label_maps(predictions: Path, references: Path, name: str) -> None:
    save(references / name, labels_of(BRATS2021, "et", "ed"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et", "ed"))
    assert evaluate(predictions, references).mean()["dice_et"] == 1.0


@pytest.mark.parametrize(
    ("rules", "scheme"), [("brats2020", BRATS2021), ("brats2023", BRATS2023), ("brats2024", BRATS2024)]
)
def test_label_maps_without_a_layout_are_of_the_rules_year(
    predictions: Path, references: Path, rules: str, scheme: LabelScheme
) -> None:
    for folder in (predictions, references):
        save(folder / "A.nii.gz", labels_of(scheme, "et", "ed", "ncr"))
    evaluation = evaluate(predictions, references, rules=rules)
    assert not evaluation.failed
    assert evaluation.mean()["mean_iou_with_background"] == evaluation.mean()["class_dice_et"] == 1.0


def test_unknown_rules_and_options_are_refused(predictions: Path, references: Path) -> None:
    with pytest.raises(SettingsError, match="brats2032"):
        evaluate(predictions, references, rules="brats2032")
    with pytest.raises(TypeError, match="'rule'"):
        evaluate(predictions, references, rule="brats2020")  # type: ignore[call-arg]


def test_an_empty_folder_says_so(predictions: Path, references: Path) -> None:
    for one, other in ((predictions, references), (references, predictions)):
        with pytest.raises(CaseError) as caught:
            evaluate(one, other)
        assert caught.value.code == "E-NOCASE"


def test_missing_predictions_follow_the_year(predictions: Path, references: Path) -> None:
    for name in "AB":
        add_reference(references, name, labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et"))
    found = {
        r: evaluate(predictions, references, rules=r).cases["B"] for r in ("brats2020", "brats2023", "strict")
    }
    diagonal = math.sqrt(sum(n * n for n in SHAPE))
    assert found["brats2020"]["hd95_et_voxels"] == pytest.approx(diagonal)
    assert found["brats2023"]["hd95_et_mm"] == 374
    assert math.isnan(found["strict"]["hd95_et_mm"])
    assert math.isnan(found["strict"]["dice_ed"])
    assert found["brats2020"]["dice_ed"] == 1


# --- many processes -------------------------------------------------------------------------------


def test_processes_change_nothing(predictions: Path, references: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(42):
        truth = random.choice([0, 0, 0, 1, 2, 4], SHAPE).astype(np.uint8)
        add_reference(references, f"case{number:02}", truth)
        save(predictions / f"case{number:02}.nii.gz", np.roll(truth, 1, 0))
    (predictions / "case07.nii.gz").write_bytes(b"")
    told: list[float] = []
    alone = evaluate(predictions, references)
    several = evaluate(predictions, references, workers=2, progress=lambda fraction, _: told.append(fraction))
    assert several == alone
    assert list(several.cases) == sorted(several.cases)
    assert len(several.cases) == 41
    assert several.failed["case07"]["code"] == "E-EMPTY"
    assert told == sorted(told)
    assert (len(told), told[-1]) == (42, 1.0)


def test_teams_are_told_apart_in_the_progress(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et"))
    told: list[tuple[float, str]] = []
    found = evaluate_methods(
        [predictions, predictions], references, progress=lambda fraction, text: told.append((fraction, text))
    )
    assert len(found) == 2
    assert told == [(0.5, "predictions: A"), (1.0, "predictions: A")]


# --- summaries ------------------------------------------------------------------------------------


def evaluation_of(*values: float) -> Evaluation:
    columns = {c.name: c for c in score_case(segmentation(BRATS2021), segmentation(BRATS2021))}
    cases = {f"case{i:03}": dict.fromkeys(columns, value) for i, value in enumerate(values)}
    return Evaluation("brats2020", cases, columns)


def test_interval_is_repeatable_and_surrounds_the_mean() -> None:
    evaluation = evaluation_of(*np.random.default_rng(1).uniform(0.5, 1, 40))
    low, high = evaluation.interval()["dice_wt"]
    assert low < evaluation.mean()["dice_wt"] < high
    assert (
        evaluation.interval() == evaluation_of(*[s["dice_wt"] for s in evaluation.cases.values()]).interval()
    )


def test_interval_of_equal_cases_has_no_width_and_of_one_case_is_none() -> None:
    assert evaluation_of(0.5, 0.5, 0.5).interval()["iou_et"] == (0.5, 0.5)
    assert evaluation_of(0.5).interval() == {}


def test_nothing_scored_has_no_mean() -> None:
    nothing = evaluation_of()
    assert nothing.mean() == nothing.median() == nothing.interval() == {}
    assert nothing.worst(3) == []


def test_failed_cases_carry_known_codes(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", np.full(SHAPE, 9, np.uint8))
    failed = summary_dict(evaluate(predictions, references))["failed"]
    assert isinstance(failed, dict)
    assert failed["A"]["code"] in CODES
