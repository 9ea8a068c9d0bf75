"""Losses by pencil."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gliomaseg.errors import SettingsError
from gliomaseg.training.loss import build_loss
from gliomaseg.training.target import as_target


def certain(*values: str) -> Tensor:
    """Return logits (1, region, 4, 1, 1) that say x or . with uncertainty."""
    return torch.tensor([[[40.0 if c == "x" else -40.0 for c in v] for v in values]])[..., None, None]


def truth(*values: str) -> Tensor:
    """Return regions (1, region, 4, 1, 1)."""
    return torch.tensor([[[float(c == "x") for c in v] for v in values]])[..., None, None]


@pytest.mark.parametrize(
    ("predicted", "expected"), [("x...", 0), ("xx..", 1 / 3), ("xxx.", 1 / 2), (".x..", 1), ("....", 1)]
)
def test_dice_by_pencil(tiny, predicted: str, expected: float) -> None:
    loss_of = build_loss(tiny("training.loss=dice"))
    loss = loss_of([certain(predicted, predicted, predicted)], truth("x...", "x...", "x..."))
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_half_probabilities_by_pencil(tiny) -> None:
    loss_of = build_loss(tiny("training.loss=dice"))
    loss = loss_of([torch.zeros(1, 3, 4, 1, 1)], truth("x...", "x...", "x..."))
    assert loss.item() == pytest.approx(1 - 2 * 0.5 / (4 * 0.5 + 1), abs=1e-4)


@pytest.mark.parametrize("kind", ["dice", "dice_ce"])
def test_perfect_prediction_costs_nothing(tiny, kind: str) -> None:
    masks = ("xxx.", "xx..", "....")
    loss = build_loss(tiny(f"training.loss={kind}"))([certain(*masks)], truth(*masks))
    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_cross_entropy_is_added(tiny) -> None:
    logits, regions = torch.zeros(1, 3, 4, 1, 1), truth("x...", "xx..", "....")
    dice, both = (
        build_loss(tiny(f"training.loss={kind}"))([logits], regions) for kind in ("dice", "dice_ce")
    )
    assert (both - dice).item() == pytest.approx(math.log(2), abs=1e-5)


def test_an_empty_region_may_be_found_empty(tiny) -> None:
    loss_of = build_loss(tiny("training.loss=dice"))
    empty = truth("....", "....", "....")
    assert loss_of([certain("....", "....", "....")], empty).item() == pytest.approx(0, abs=1e-4)
    assert loss_of([certain("x...", "x...", "x...")], empty).item() == pytest.approx(1, abs=1e-4)


def test_dice_sums_over_the_batch(tiny) -> None:
    loss_of = build_loss(tiny("training.loss=dice"))
    logits = torch.cat([certain(*["xx.."] * 3), certain(*["x..."] * 3)])
    regions = torch.cat([truth(*["xx.."] * 3), truth(*["...."] * 3)])
    # 2 of 3 predicted voxels are right and none is missed: 1 - 2 * 2 / (3 + 2), not (0 + 1) / 2
    assert loss_of([logits], regions).item() == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize("kind", ["dice", "dice_ce"])
@pytest.mark.parametrize(("weights", "share"), [("[1, 1, 2]", 0.5), ("[3, 1, 0]", 0), ("[0, 0, 7]", 1)])
def test_region_weights(tiny, kind: str, weights: str, share: float) -> None:
    settings = [f"training.loss={kind}", "network.deep_supervision=0.4"]
    logits, regions = [certain("x...", "x...", "xx..")], truth("x...", "x...", "x...")
    only = build_loss(tiny(*settings, "training.region_weights=[0, 0, 1]"))(logits, regions)
    loss = build_loss(tiny(*settings, f"training.region_weights={weights}"))(logits, regions)
    assert only.item() > 0.3
    assert loss.item() == pytest.approx(share * only.item(), abs=1e-3)


def test_coarser_outputs_count_less(tiny) -> None:
    loss_of = build_loss(tiny("training.loss=dice", "network.deep_supervision=0.25"))
    right, wrong = certain(*["x..."] * 3), certain(*[".x.."] * 3)
    regions = truth(*["x..."] * 3)
    assert loss_of([right, wrong], regions).item() == pytest.approx(0.25, abs=1e-4)
    assert loss_of([wrong, right], regions).item() == pytest.approx(1, abs=1e-4)


def test_slices_and_bf16_logits_are_taken(tiny) -> None:
    loss_of = build_loss(tiny())
    logits = torch.randn(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    loss = loss_of([logits], (torch.rand(2, 3, 8, 8) > 0.5).float())
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(logits.grad).all()


EACH = ["dice", "dice_ce", "generalised_dice", "tversky", "focal", "dice_focal", "focal_tversky"]


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("target", ["regions", "classes"])
@pytest.mark.parametrize("over", ["batch", "sample"])
def test_every_loss_is_least_where_the_network_is_right(tiny, kind: str, target: str, over: str) -> None:
    settings = tiny(f"training.loss={kind}", f"training.target={target}", f"training.dice_over={over}")
    loss_of = build_loss(settings)
    labels = torch.tensor([[0, 0, 1, 2, 2, 3], [0, 0, 0, 2, 3, 3]], dtype=torch.uint8)
    truth_of = torch.stack([as_target(row, settings) for row in labels])[..., None].float()
    losses = [loss_of([40 * sign * (truth_of - 0.5)], truth_of).item() for sign in (1, 0, -1)]
    assert losses[0] == pytest.approx(0, abs=1e-3)
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("kind", EACH)
def test_every_loss_has_a_slope(tiny, kind: str) -> None:
    logits = torch.zeros(2, 3, 8, 8, 8, requires_grad=True)
    regions = (torch.rand(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    build_loss(tiny(f"training.loss={kind}"))([logits], regions).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.any()


def test_dice_over_samples_is_their_mean(tiny) -> None:
    logits = torch.cat([certain(*["xx.."] * 3), certain(*["x..."] * 3)])
    regions = torch.cat([truth(*["xx.."] * 3), truth(*["...."] * 3)])
    loss_of = build_loss(tiny("training.loss=dice", "training.dice_over=sample"))
    assert loss_of([logits], regions).item() == pytest.approx((0 + 1) / 2, abs=1e-4)


def test_tversky_counts_a_missed_voxel_more(tiny) -> None:
    loss_of, focal_of = (build_loss(tiny(f"training.loss={kind}")) for kind in ("tversky", "focal_tversky"))
    regions = truth(*["xx.."] * 3)
    missed, false = certain(*["x..."] * 3), certain(*["xxx."] * 3)
    assert loss_of([missed], regions).item() == pytest.approx(1 - 1 / (1 + 0.7), abs=1e-4)
    assert loss_of([false], regions).item() == pytest.approx(1 - 2 / (2 + 0.3), abs=1e-4)
    assert focal_of([missed], regions).item() == pytest.approx((1 - 1 / 1.7) ** 0.75, abs=1e-4)


def test_focal_by_pencil(tiny) -> None:
    loss_of = build_loss(tiny("training.loss=focal"))
    loss = loss_of([torch.full((1, 3, 4, 1, 1), math.log(3))], truth(*["xxxx"] * 3))  # p = 3/4
    assert loss.item() == pytest.approx(0.25**2 * -math.log(0.75), abs=1e-5)


def test_softmax_leaves_the_background_out_of_dice(tiny) -> None:
    loss_of = build_loss(tiny("training.loss=dice", "training.target=classes"))
    background = certain("xxxx", "....", "....", "....")
    assert loss_of([background], truth("xxx.", "...x", "....", "....")).item() == pytest.approx(
        1 / 3, abs=1e-4
    )


def test_generalised_dice_weighs_by_itself(tiny) -> None:
    with pytest.raises(SettingsError, match=r"E-SETTING.*weighs the regions itself"):
        build_loss(tiny("training.loss=generalised_dice", "training.region_weights=[1, 1, 2]"))
