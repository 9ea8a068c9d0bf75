"""The QU-BraTS score and calibration: by pencil, against plain loops over the definition."""

from __future__ import annotations

import numpy as np
import pytest

from gliomaseg.errors import ImageError
from gliomaseg.evaluation.uncertainty import BINS, count_reliability, score_uncertainty

SHAPE = (6, 5, 4)


def _masks(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    prediction, reference = random.random((2, *SHAPE)) > 0.6
    return prediction, reference, random.uniform(0, 100, SHAPE), random.random(SHAPE) > 0.2


def test_certainty_everywhere_costs_nothing_and_gains_nothing() -> None:
    prediction, reference, _, brain = _masks(0)
    found = score_uncertainty(prediction, reference, uncertainty=np.zeros(SHAPE), brain=brain)
    dice = 2 * (prediction & reference).sum() / (prediction.sum() + reference.sum())
    assert found["qu_dice"] == pytest.approx(dice)
    assert (found["qu_filtered_tp"], found["qu_filtered_tn"]) == (0, 0)
    assert found["qu_brats"] == pytest.approx((dice + 2) / 3)


def test_doubt_just_where_it_is_wrong_is_the_best() -> None:
    prediction, reference, _, brain = _masks(1)
    wrong = np.where(prediction != reference, 100, 0)
    found = score_uncertainty(prediction, reference, uncertainty=wrong, brain=brain)
    dice = 2 * (prediction & reference).sum() / (prediction.sum() + reference.sum())
    # The Dice is 1 at the first 40 thresholds; at 100 everything is kept: 39 whole steps and a slope.
    assert found["qu_dice"] == pytest.approx((39 + (1 + dice) / 2) / 40)
    assert (found["qu_filtered_tp"], found["qu_filtered_tn"]) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_definition_in_plain_loops(seed: int) -> None:
    prediction, reference, doubt, brain = _masks(seed)
    curves: list[tuple[float, float, float]] = []
    eps = float(np.finfo(np.float32).eps)
    for threshold in np.arange(0, 100 + eps, 2.5):
        kept = doubt <= threshold
        both, either = (
            (prediction & reference & kept).sum(),
            (prediction & kept).sum() + (reference & kept).sum(),
        )
        right = [prediction & reference & brain, ~prediction & ~reference & brain]
        left_out = [(mask.sum() - (mask & kept).sum()) / (mask.sum() + eps) for mask in right]
        curves.append((2 * both / either if either else 1.0, *left_out))
    areas = np.trapezoid(np.array(curves), dx=2.5, axis=0) / 100
    found = score_uncertainty(prediction, reference, uncertainty=doubt, brain=brain)
    assert (found["qu_dice"], found["qu_filtered_tp"], found["qu_filtered_tn"]) == pytest.approx(tuple(areas))
    assert found["qu_brats"] == pytest.approx((areas[0] + 2 - areas[1] - areas[2]) / 3)


def test_empty_masks_have_a_dice_of_one() -> None:
    nothing = np.zeros(SHAPE, bool)
    found = score_uncertainty(nothing, nothing, uncertainty=np.zeros(SHAPE), brain=nothing)
    assert (found["qu_dice"], found["qu_filtered_tp"], found["qu_filtered_tn"], found["qu_brats"]) == (
        1,
        0,
        0,
        1,
    )


# --- calibration ----------------------------------------------------------------------------------


def test_a_reliable_probability_by_pencil() -> None:
    probability = np.array([0.75] * 4 + [0.25] * 4)
    reference = np.array([True] * 3 + [False] + [True] + [False] * 3)
    found = count_reliability(probability, reference, inside=np.ones(8, bool))
    assert found.ece == 0
    assert found.curve() == [(0.25, 0.25, 4), (0.75, 0.75, 4)]


def test_overconfidence_by_pencil() -> None:
    probability, reference = np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, False, False, False])
    found = count_reliability(probability, reference, inside=np.ones(4, bool))
    assert found.ece == 0.25
    assert len(found.voxels) == BINS


def test_cases_add_up_to_their_whole() -> None:
    random = np.random.default_rng(0)
    probability, inside = random.random((2, 100)), random.random((2, 100)) > 0.3
    reference = random.random((2, 100)) < probability
    one, other = (
        count_reliability(p, r, inside=i) for p, r, i in zip(probability, reference, inside, strict=True)
    )
    whole = count_reliability(probability.ravel(), reference.ravel(), inside=inside.ravel())
    assert (one + other).ece == pytest.approx(whole.ece)
    assert np.array((one + other).curve()) == pytest.approx(np.array(whole.curve()))


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ImageError, match="from 0 to 87") as caught:
        count_reliability(np.array([0.0, 87.0]), np.array([False, True]), inside=np.ones(2, bool))
    assert caught.value.code == "E-VALUES"


def test_nothing_inside_has_no_error() -> None:
    found = count_reliability(np.zeros(3), np.zeros(3, bool), inside=np.zeros(3, bool))
    assert np.isnan(found.ece)
    assert found.curve() == []
