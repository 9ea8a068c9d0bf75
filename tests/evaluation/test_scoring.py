"""One case: by pencil, and under every label scheme."""

from __future__ import annotations

import numpy as np
import pytest
from label_maps import AFFINE, SHAPE, overlaps, scored, segmentation

from gliomaseg.errors import CaseError
from gliomaseg.evaluation.metrics import class_numbers, confusion, mean_iou, overlap
from gliomaseg.evaluation.segmentation_pair import score_case
from gliomaseg.imaging.volume import Grid, Segmentation
from gliomaseg.labels import BRATS2021, BRATS2023, BRATS2024, MSD, LabelScheme, Region, Tissue


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
    with pytest.raises(CaseError, match="another affine") as caught:
        score_case(moved, segmentation(BRATS2021, "et"))
    assert caught.value.code == "E-GRID"
