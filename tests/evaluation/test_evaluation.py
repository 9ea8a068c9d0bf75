"""Evaluation of folders: what is missing, extra or broken, mixed label schemes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from label_maps import SHAPE, add_reference, labels_of, overlaps, save

from gliomaseg.errors import CODES, CaseError, SettingsError
from gliomaseg.evaluation.evaluation import evaluate, evaluate_methods
from gliomaseg.evaluation.tables import case_table, notes, summary_dict
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, MSD, LabelScheme

# --- many cases --------------------------------------------------------------------------------------


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


def test_progress_reports_every_id(predictions: Path, references: Path) -> None:
    for name in "BA":
        add_reference(references, name, labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et"))
    calls: list[str] = []
    evaluate(predictions, references, progress=lambda _, name: calls.append(name))
    assert calls == ["A", "B"]


def test_failed_cases_carry_known_codes(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", np.full(SHAPE, 9, np.uint8))
    failed = summary_dict(evaluate(predictions, references))["failed"]
    assert isinstance(failed, dict)
    assert failed["A"]["code"] in CODES


# --- what users bring --------------------------------------------------------------------------------


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


def test_an_empty_folder_is_an_error(predictions: Path, references: Path) -> None:
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


# --- many processes ----------------------------------------------------------------------------------


def test_processes_change_nothing(predictions: Path, references: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(42):
        truth = random.choice([0, 0, 0, 1, 2, 4], SHAPE).astype(np.uint8)
        add_reference(references, f"case{number:02}", truth)
        save(predictions / f"case{number:02}.nii.gz", np.roll(truth, 1, 0))
    (predictions / "case07.nii.gz").write_bytes(b"")
    calls: list[float] = []
    alone = evaluate(predictions, references)
    several = evaluate(
        predictions, references, workers=2, progress=lambda fraction, _: calls.append(fraction)
    )
    assert several == alone
    assert list(several.cases) == sorted(several.cases)
    assert len(several.cases) == 41
    assert several.failed["case07"]["code"] == "E-EMPTY"
    assert calls == sorted(calls)
    assert (len(calls), calls[-1]) == (42, 1.0)


def test_methods_are_named_in_the_progress(predictions: Path, references: Path) -> None:
    add_reference(references, "A", labels_of(BRATS2021, "et"))
    save(predictions / "A.nii.gz", labels_of(BRATS2021, "et"))
    calls: list[tuple[float, str]] = []
    found = evaluate_methods(
        [predictions, predictions],
        references,
        progress=lambda fraction, text: calls.append((fraction, text)),
    )
    assert len(found) == 2
    assert calls == [(0.5, "predictions: A"), (1.0, "predictions: A")]
