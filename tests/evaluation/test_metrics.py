"""Metrics against pencil cases, algebra, and two independent oracles: ITK and a naive loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gliomaseg.errors import CaseError
from gliomaseg.evaluation import metrics
from gliomaseg.evaluation.metrics import dice, overlap

VALUES = (1, 2, 4)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)
PAIRS = SHAPES.flatmap(lambda s: st.tuples(hnp.arrays(bool, s), hnp.arrays(bool, s)))
LABELS = st.sampled_from([0, *VALUES])
MAP_PAIRS = SHAPES.flatmap(
    lambda s: st.tuples(hnp.arrays(np.uint8, s, elements=LABELS), hnp.arrays(np.uint8, s, elements=LABELS))
)


def iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    return overlap(prediction, reference).iou


def mean_iou(prediction: np.ndarray, reference: np.ndarray, values: Sequence[int] = VALUES) -> float:
    """Return the mean IoU over background and the classes of these values."""
    maps = [metrics.class_numbers(labels, values) for labels in (prediction, reference)]
    return metrics.mean_iou(metrics.confusion(*maps, len(values) + 1))


def mask(text: str) -> np.ndarray:
    return np.array([c == "x" for c in text])


@pytest.mark.parametrize(
    ("prediction", "reference", "expected_dice", "expected_iou"),
    [
        ("xx..", ".xx.", 0.5, 1 / 3),
        ("xx..", "xx..", 1.0, 1.0),
        ("xx..", "..xx", 0.0, 0.0),
        ("x...", "xxx.", 0.5, 1 / 3),
        ("xxxx", "x...", 0.4, 0.25),
    ],
)
def test_pencil(prediction: str, reference: str, expected_dice: float, expected_iou: float) -> None:
    assert dice(mask(prediction), mask(reference)) == pytest.approx(expected_dice)
    assert iou(mask(prediction), mask(reference)) == pytest.approx(expected_iou)


@pytest.mark.parametrize("measure", [dice, iou])
def test_empty_masks_follow_brats_2020(measure) -> None:
    assert measure(mask("...."), mask("....")) == 1.0
    assert measure(mask("...."), mask("...x")) == 0.0
    assert measure(mask("...x"), mask("....")) == 0.0


@given(PAIRS)
def test_symmetric_and_bounded(pair) -> None:
    a, b = pair
    assert dice(a, b) == dice(b, a)
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= dice(a, b) <= 1


@given(PAIRS)
def test_identity(pair) -> None:
    assert dice(pair[0], pair[0]) == iou(pair[0], pair[0]) == 1


@given(PAIRS)
def test_flips_and_transposition_change_nothing(pair) -> None:
    a, b = pair
    for axis in range(a.ndim):
        assert dice(np.flip(a, axis), np.flip(b, axis)) == dice(a, b)
    assert iou(a.T, b.T) == iou(a, b)


@given(PAIRS)
def test_padding_changes_nothing(pair) -> None:
    a, b = pair
    assert dice(np.pad(a, 2), np.pad(b, 2)) == dice(a, b)
    assert iou(np.pad(a, 2), np.pad(b, 2)) == iou(a, b)


@given(PAIRS)
def test_dice_follows_from_iou(pair) -> None:
    a, b = pair
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))


def itk(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return ITK's Dice and IoU of two 3D masks under CaPTk's rule: 0 / 0 is 1 (ITK gives inf or DBL_MAX)."""
    measure = SimpleITK.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(SimpleITK.GetImageFromArray(m.astype(np.uint8)) for m in (b, a)))
    found = measure.GetDiceCoefficient(), measure.GetJaccardCoefficient()
    return min(found[0], 1.0), min(found[1], 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_itk(seed: int) -> None:
    random = np.random.default_rng(seed)
    share = random.uniform(0.02, 0.6)
    chances = [1 - share, share / 3, share / 3, share / 3]
    a, b = (random.choice([0, *VALUES], size=(9, 8, 7), p=chances).astype(np.uint8) for _ in range(2))
    counts = metrics.confusion(metrics.class_numbers(a, VALUES), metrics.class_numbers(b, VALUES), 4)
    for classes in ([1], [2], [3], [1, 3], [1, 2, 3]):
        parts = [np.isin(labels, [VALUES[c - 1] for c in classes]) for labels in (a, b)]
        found = metrics.overlap_of(counts, classes)
        assert (dice(*parts), iou(*parts)) == pytest.approx(itk(*parts))
        assert (found.dice, found.iou) == pytest.approx(itk(*parts))


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_agrees_with_itk_on_empty_and_full_masks(a: int, b: int) -> None:
    parts = [np.full((3, 3, 3), value, dtype=bool) for value in (a, b)]
    assert (dice(*parts), iou(*parts)) == itk(*parts)


def naive_mean_iou(a: np.ndarray, b: np.ndarray) -> float:
    found = []
    for value in (0, *VALUES):
        common = union = 0
        for x, y in zip(a.ravel(), b.ravel(), strict=True):
            common += x == value and y == value
            union += value in {x, y}
        if union:
            found.append(common / union)
    return sum(found) / len(found)


@given(MAP_PAIRS)
def test_mean_iou_agrees_with_a_naive_loop(pair) -> None:
    assert mean_iou(*pair) == pytest.approx(naive_mean_iou(*pair))


@given(MAP_PAIRS)
def test_overlap_from_the_confusion_matrix_is_that_of_the_masks(pair) -> None:
    a, b = pair
    counts = metrics.confusion(metrics.class_numbers(a, VALUES), metrics.class_numbers(b, VALUES), 4)
    assert counts.sum() == a.size
    assert metrics.overlap_of(counts, [1, 3]).dice == dice(np.isin(a, (1, 4)), np.isin(b, (1, 4)))


def test_mean_iou_of_keras_documentation() -> None:
    a, b = np.array([0, 1, 0, 1], np.uint8), np.array([0, 0, 1, 1], np.uint8)
    assert mean_iou(a, b, [1]) == pytest.approx(1 / 3)


def test_mean_iou_leaves_out_classes_in_neither_map() -> None:
    empty = np.zeros((2, 2, 2), np.uint8)
    assert mean_iou(empty, empty) == 1.0
    one = empty.copy()
    one[0, 0, 0] = 4
    assert mean_iou(one, empty) == pytest.approx((7 / 8 + 0) / 2)


def test_class_ious_are_nan_for_classes_in_neither_map() -> None:
    ious = metrics.class_ious(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))
    np.testing.assert_allclose(ious, [3 / 4, 2 / 3, np.nan])


def test_values_outside_the_classes_are_background() -> None:
    assert metrics.class_numbers(np.array([0, 1, 2, 3, 4, 255], np.uint8), VALUES).tolist() == [
        0,
        1,
        2,
        0,
        3,
        0,
    ]


def test_memory_order_of_the_two_maps_may_differ() -> None:
    a = np.random.default_rng(0).integers(0, 4, (4, 5, 6), dtype=np.uint8)
    mixed = metrics.confusion(np.asfortranarray(a), np.ascontiguousarray(a), 4)
    assert np.array_equal(mixed, np.diag(np.bincount(a.ravel(), minlength=4)))


@pytest.mark.parametrize("measure", [dice, iou])
def test_shapes_must_be_equal_even_if_they_broadcast(measure) -> None:
    with pytest.raises(CaseError, match=r"\(1,\), the reference \(4,\)") as caught:
        measure(mask("x"), mask("xx.."))
    assert caught.value.code == "E-GRID"


def test_a_whole_brats_case_takes_a_fraction_of_a_second() -> None:
    a = np.zeros((240, 240, 155), np.uint8, order="F")
    a[60:120, 70:140, 40:100] = 4
    start = time.perf_counter()
    mean_iou(a, np.roll(a, 3, axis=0))
    assert time.perf_counter() - start < 2  # about 0.06 s; generous for a busy machine
