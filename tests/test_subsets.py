"""Cases with missing sequences: a model that supports them segments them, with a note."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gliomaseg import Segmenter, find_cases
from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.errors import CaseError
from gliomaseg.exams.check_cases import check_cases
from gliomaseg.inference.bundle import Bundle, seal, shipped_folder
from gliomaseg.labels import Modality

T1N, T1C, T2W, T2F = Modality
EXPECTED = {"wt": 0.81, "tc": 0.62, "et": 0.33}
Make = Callable[[float], Bundle]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return what gives the shipped network as if trained with that chance of a missing sequence."""

    def make(chance: float) -> Bundle:
        folder = tmp_path_factory.mktemp("model") / "bundle"
        shutil.copytree(shipped_folder(), folder)
        settings = json.loads((folder / "settings.json").read_text())
        settings["augment"]["drop_modality"] = chance
        (folder / "settings.json").write_text(json.dumps(settings))
        about = {k: v for k, v in Bundle.load().about.items() if k != "expected"}
        return seal(folder, about | {"expected": {"dice": {"t1c t2f": EXPECTED}}})

    return make


def test_missing_sequences_are_zeros_and_the_dice_to_expect_is_noted(
    model: Make, phantom_case: Case, tmp_path: Path
) -> None:
    segmenter = Segmenter(model(0.25))
    part = replace(phantom_case, images={m: phantom_case.images[m] for m in (T1C, T2F)})
    image = segmenter.prepare(part).prepared.image
    assert not image[[0, 2]].any()
    whole = segmenter.prepare(phantom_case).prepared.image
    np.testing.assert_array_equal(image[[1, 3]], whole[[1, 3]])
    result = segmenter.segment(part)
    (note,) = [n for n in result.notes if n.code == "W-MISSING"]
    assert "has no t1n, t2w" in note.what
    assert note.remedy == "Dice to expect without: WT 0.81, TC 0.62, ET 0.33"
    assert {region: found.dice for region, found in result.uncertainty.items()} == EXPECTED
    assert not any(found.range_ml for found in result.uncertainty.values())
    assert result.report.about.quality.name == "unreliable"
    reason = "With these sequences the model is often wrong about ET: its mean Dice on unseen cases was 0.33."
    assert reason in result.report.about.quality.reasons
    folder = result.save(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    assert record["missing"] == ["t1n", "t2w"]
    assert record["expected_dice"] == EXPECTED
    assert set(record["inputs"]) == {"t1c", "t2f"}
    page = (folder / "report.html").read_text()
    assert "Missing sequences: T1, T2." in page
    assert "mean Dice of unseen cases 0.62" in page
    assert "predicted Dice" not in page
    assert "Dice to expect without: WT 0.81" in page


@pytest.mark.parametrize("modality", Modality)
def test_one_sequence_alone_is_segmented(model: Make, phantom_case: Case, modality: Modality) -> None:
    alone = replace(phantom_case, images={modality: phantom_case.images[modality]})
    result = Segmenter(model(0.5)).segment(alone)
    assert result.images.channels == (modality,)
    (note,) = [n for n in result.notes if n.code == "W-MISSING"]
    assert note.remedy == "the Dice without was not measured"
    assert {found.dice for found in result.uncertainty.values()} == {None}
    assert result.overview.startswith(b"\x89PNG")


def test_without_missing_sequences_there_is_no_note(model: Make, phantom_case: Case) -> None:
    segmenter = Segmenter(model(0.25))
    result = segmenter.segment(phantom_case)
    assert not [n for n in result.notes if n.code == "W-MISSING"]
    assert all(found.range_ml for found in result.uncertainty.values())
    assert "90 % interval is expected to hold nine of ten" in result.report.page()
    assert segmenter.describe(phantom_case, phantom_case.scheme)["missing"] == []


@pytest.mark.parametrize(("chance", "kept"), [(0.0, (T1C, T2F)), (0.25, ())])
def test_what_the_model_needs_is_refused_when_missing(
    model: Make, phantom_case: Case, chance: float, kept: tuple[Modality, ...]
) -> None:
    part = replace(phantom_case, images={m: phantom_case.images[m] for m in kept})
    with pytest.raises(CaseError, match="has no t1n") as caught:
        Segmenter(model(chance)).segment(part)
    assert caught.value.code == "E-MODALITY"


def test_check_warns_and_training_refuses(copy_case: Callable[..., Path], tmp_path: Path) -> None:
    folder = copy_case("a", tmp_path / "data", without=(T2W,))
    cases = find_cases(folder)
    for deep in (False, True):
        (finding,) = check_cases(cases, deep=deep)
        assert finding.state == "warn"
        assert "has no t2w" in next(n.what for n in finding.notes if n.code == "W-MISSING")
    (finding,) = check_cases(cases, modalities=tuple(Modality))
    assert finding.error
    assert finding.error.code == "E-MODALITY"


def test_a_sequence_given_twice_is_found_among_two(copy_case: Callable[..., Path], tmp_path: Path) -> None:
    folder = copy_case("a", tmp_path / "data", without=(T1N, T2W))
    shutil.copy(folder / "a_t1ce.nii.gz", folder / "a_flair.nii.gz")
    (case,) = find_cases(folder)
    with pytest.raises(CaseError, match="same image"):
        read_case(case, case.present(tuple(Modality)))
