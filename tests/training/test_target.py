"""Channels by pencil: regions overlap, classes do not, and both end as probabilities of regions."""

from __future__ import annotations

import math

import pytest
import torch

from gliomaseg.training.target import as_target, channel_count, probabilities

LABELS = torch.tensor([0, 1, 2, 3], dtype=torch.uint8)  # nothing, necrosis, oedema, enhancing


def test_regions_overlap(tiny) -> None:
    assert channel_count(tiny()) == 3
    assert as_target(LABELS, tiny()).tolist() == [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]


def test_regions_come_in_the_order_of_the_network(tiny) -> None:
    assert as_target(LABELS, tiny("network.regions=[et, wt, tc]"))[0].tolist() == [0, 0, 0, 1]


def test_a_voxel_has_one_class(tiny) -> None:
    settings = tiny("training.target=classes")
    assert channel_count(settings) == 4
    assert torch.equal(as_target(LABELS, settings), torch.eye(4))


def test_probabilities_of_regions(tiny) -> None:
    found = probabilities(torch.tensor([[[0.0], [40.0], [-40.0]]]), tiny())
    assert found[0, :, 0].tolist() == pytest.approx([0.5, 1, 0])


def test_a_region_is_the_sum_of_its_classes(tiny) -> None:
    logits = torch.tensor([[math.log(4), math.log(3), math.log(2), math.log(1)]])[..., None]  # 4 : 3 : 2 : 1
    wt, tc, et = probabilities(logits, tiny("training.target=classes"))[0, :, 0].tolist()
    assert (wt, tc, et) == pytest.approx((0.6, 0.4, 0.1))
