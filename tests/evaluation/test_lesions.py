"""Lesion by lesion, with a pencil. The oracles are in test_oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomaseg.evaluation.lesions import (
    LesionScores,
    match_lesions,
    merge_by_partner,
    predicted_lesions,
    score_lesions,
)
from gliomaseg.evaluation.mask_pair import MaskPair
from gliomaseg.evaluation.rules import LesionRule

SPACING = (1.0, 1.0, 1.0)
SHAPE = (40, 12, 12)
NEAR, TIGHT = LesionRule(dilation=3, threshold_mm3=2), LesionRule(dilation=1, threshold_mm3=2)
MERGED = LesionRule(dilation=3, threshold_mm3=20, merge_prediction=True)
MASKS = hnp.arrays(bool, (5, 4, 6), elements=st.integers(0, 9).map(lambda n: n == 0))


def lesion_wise(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, float, float],
    rule: LesionRule | None = None,
) -> LesionScores:
    rule, pair = rule or LesionRule(), MaskPair(prediction, reference, spacing)
    groupings = predicted_lesions(pair.prediction, rule), pair.reference.grown(rule.dilation)[1]
    return score_lesions(pair, rule, *groupings)


def matched_lesions(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]
) -> LesionScores:
    return match_lesions(MaskPair(prediction, reference, spacing))


def cubes(*starts: int, side: int = 4) -> np.ndarray:
    """Return cubes at these places along x: 64 voxels each."""
    mask = np.zeros(SHAPE, dtype=bool)
    for start in starts:
        mask[start : start + side, 4 : 4 + side, 4 : 4 + side] = True
    return mask


def counts(scores: LesionScores) -> tuple[int, int, int]:
    return scores.tp, scores.fp, scores.fn


def test_equal_masks_are_perfect() -> None:
    scores = lesion_wise(cubes(2, 20), cubes(2, 20), SPACING)
    assert (scores.dice, scores.hd95) == (1, 0)
    assert counts(scores) == (2, 0, 0)


def test_no_lesion_in_either_is_perfect() -> None:
    scores = lesion_wise(cubes(), cubes(), SPACING)
    assert (scores.dice, scores.hd95) == (1, 0)
    assert counts(scores) == (0, 0, 0)


def test_a_missed_and_a_wrong_lesion_cost_the_penalty() -> None:
    missed = lesion_wise(cubes(2), cubes(2, 20), SPACING)
    assert (missed.dice, missed.hd95) == (0.5, 187)
    assert counts(missed) == (1, 0, 1)
    wrong = lesion_wise(cubes(2, 20), cubes(2), SPACING)
    assert (wrong.dice, wrong.hd95) == (0.5, 187)
    assert counts(wrong) == (1, 1, 0)


@pytest.mark.parametrize(("prediction", "reference"), [(cubes(2), cubes()), (cubes(), cubes(2))])
def test_one_empty_mask(prediction: np.ndarray, reference: np.ndarray) -> None:
    scores = lesion_wise(prediction, reference, SPACING)
    assert (scores.dice, scores.hd95) == (0, 374)


@pytest.mark.parametrize(
    ("gap", "near", "tight"), [(1, 1, 1), (2, 1, 1), (3, 1, 2), (5, 1, 2), (6, 1, 2), (7, 2, 2)]
)
def test_lesions_merge_over_twice_the_dilation(gap: int, near: int, tight: int) -> None:
    both = cubes(2, 6 + gap)
    assert lesion_wise(both, both, SPACING, NEAR).tp == near
    assert lesion_wise(both, both, SPACING, TIGHT).tp == tight


def test_half_of_a_merged_lesion() -> None:
    # one lesion of 128 voxels, of which 64 are found
    assert lesion_wise(cubes(2), cubes(2, 11), SPACING, NEAR).dice == pytest.approx(2 * 64 / (64 + 128))
    assert counts(lesion_wise(cubes(2), cubes(2, 11), SPACING, TIGHT)) == (1, 0, 1)


def test_a_bridge_serves_both_lesions_with_all_of_itself() -> None:
    bridge = np.zeros(SHAPE, dtype=bool)
    bridge[2:24, 4:8, 4:8] = True
    scores = lesion_wise(bridge, cubes(2, 20), SPACING)
    assert scores.dice == pytest.approx(2 * 64 / (64 + 22 * 16))
    assert counts(scores) == (2, 0, 0)


def test_a_component_near_a_lesion_belongs_to_it() -> None:
    speck = cubes(2)
    speck[8, 5, 5] = True
    scores = lesion_wise(speck, cubes(2), SPACING)
    assert counts(scores) == (1, 0, 0)
    assert scores.dice == pytest.approx(2 * 64 / 129)
    speck[8, 5, 5], speck[9, 5, 5] = False, True
    assert counts(lesion_wise(speck, cubes(2), SPACING)) == (1, 1, 0)


@pytest.mark.parametrize(("voxels", "counted"), [(49, 0), (50, 0), (51, 1)])
def test_a_lesion_at_the_threshold_is_left_out(voxels: int, counted: int) -> None:
    lesion = np.zeros((60, 5, 5), dtype=bool)
    lesion[2 : 2 + voxels, 2, 2] = True
    missed = lesion_wise(np.zeros_like(lesion), lesion, SPACING)
    assert (missed.dice, missed.fn) == (1 - counted, counted)
    found = lesion_wise(lesion, lesion, SPACING)
    assert counts(found) == (counted, 0, 0)
    assert found.dice == 1


def test_the_threshold_is_in_cubic_millimetres() -> None:
    lesion = np.zeros((60, 5, 5), dtype=bool)
    lesion[2:28, 2, 2] = True
    assert lesion_wise(lesion, lesion, SPACING).tp == 0
    assert lesion_wise(lesion, lesion, (1.0, 1.0, 2.0)).tp == 1


def test_small_predictions_count_unless_the_rule_deletes_them() -> None:
    speck = cubes(2)
    speck[30, 5, 5] = True
    assert counts(lesion_wise(speck, cubes(2), SPACING)) == (1, 1, 0)
    assert counts(lesion_wise(speck, cubes(2), SPACING, MERGED)) == (1, 0, 0)


def test_merged_predictions_are_one_false_lesion() -> None:
    prediction = cubes(20, 26)
    assert lesion_wise(prediction, cubes(2), SPACING).fp == 2
    assert lesion_wise(prediction, cubes(2), SPACING, MERGED).fp == 1


def test_lesions_join_over_a_partner() -> None:
    groups = np.array([0, 1, 2, 3], dtype=np.int32)
    partner = np.array([0, 1, 2], dtype=np.int32)

    def joined(*touching: tuple[int, int]) -> list[int]:
        ours, theirs = np.array(touching).reshape(-1, 2).T
        return merge_by_partner(groups, partner, (ours, theirs)).tolist()

    assert joined() == [0, 1, 2, 3]
    assert joined((1, 1)) == [0, 1, 2, 3]
    apart = joined((1, 1), (2, 2))
    assert len(set(apart)) == 4
    one = joined((1, 1), (2, 1))
    assert one[1] == one[2] != one[3]
    first = joined((1, 1), (2, 1), (2, 2), (3, 2))
    assert first[1] == first[2] != first[3]


def test_matching_is_one_to_one() -> None:
    bridge = np.zeros(SHAPE, dtype=bool)
    bridge[2:24, 4:8, 4:8] = True
    scores = matched_lesions(bridge, cubes(2, 20), SPACING)
    assert counts(scores) == (1, 0, 1)
    assert scores.dice == pytest.approx(2 * 64 / (64 + 22 * 16))
    assert counts(matched_lesions(cubes(2, 20), bridge, SPACING)) == (1, 1, 0)


def test_matching_without_a_pair() -> None:
    nothing = matched_lesions(cubes(), cubes(), SPACING)
    assert math.isnan(nothing.dice)
    assert math.isnan(nothing.hd95)
    apart = matched_lesions(cubes(2), cubes(20), SPACING)
    assert (apart.dice, apart.hd95) == (0, math.inf)
    assert counts(apart) == (0, 1, 1)
    assert apart.nsd == {1.0: 0.0}


@given(MASKS, MASKS)
def test_flips_and_padding_change_nothing(prediction: np.ndarray, reference: np.ndarray) -> None:
    for rule in (TIGHT, LesionRule(dilation=1, threshold_mm3=0, merge_prediction=True)):
        expected = lesion_wise(prediction, reference, SPACING, rule)
        for masks in (
            [np.flip(mask, 0) for mask in (prediction, reference)],
            [mask.transpose(2, 0, 1) for mask in (prediction, reference)],
            [np.pad(mask, 3) for mask in (prediction, reference)],
        ):
            found = lesion_wise(*masks, SPACING, rule)
            assert counts(found) == counts(expected)
            assert (found.dice, found.hd95) == pytest.approx((expected.dice, expected.hd95))


@given(MASKS, MASKS)
def test_matches_are_bounded(prediction: np.ndarray, reference: np.ndarray) -> None:
    scores = matched_lesions(prediction, reference, SPACING)
    back = matched_lesions(reference, prediction, SPACING)
    assert (scores.tp, scores.fp, scores.fn) == (back.tp, back.fn, back.fp)
    assert math.isnan(scores.dice) or 0 <= scores.dice <= 1
