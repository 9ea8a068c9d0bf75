"""Whole held-out cases: padding, slices, and scores of networks that are known to be right or wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gliomaseg.labels import Region
from gliomaseg.training.history import SCORES, mean_scores
from gliomaseg.training.network import build_network
from gliomaseg.training.torch_engine import TorchEngine
from gliomaseg.training.validation import predict_padded, score, validate


class Shown(nn.Module):
    """Takes each region's logit from a channel of the image: above 0.5 is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [40 * (image[:, :3] - 0.5)]


@pytest.fixture
def shown_case(tmp_path, store):
    """Return a case whose first three channels show WT, TC and ET."""
    label = np.zeros((20, 17, 9))
    label[4:12, 4:12, 2:7], label[6:10, 6:10, 3:6], label[7:10, 7:10, 3:6] = 2, 1, 3
    image = np.stack([label > 0, (label == 1) | (label == 3), label == 3, np.ones_like(label)])
    return store(tmp_path / "shown", image, label)


@pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
@pytest.mark.parametrize("shape", [(20, 17, 35), (16, 32, 16)])
def test_predictions_are_those_of_the_padded_image(tiny, preset: str, shape: tuple[int, ...]) -> None:
    settings = tiny(preset=preset)
    network = build_network(settings.network).eval()
    image = torch.randn(4, *shape)
    x, y, z = ((-n) % 16 for n in shape)
    padded = functional.pad(image, (0, z, 0, y, 0, x))
    with torch.no_grad():
        if preset == "unet3d":
            whole = network(padded[None])[0][0]
        else:
            whole = torch.stack(
                [network(padded[None, ..., k])[0][0] for k in range(padded.shape[-1])], dim=-1
            )
    expected = whole[:, : shape[0], : shape[1], : shape[2]].sigmoid()
    got = torch.from_numpy(predict_padded(image.numpy(), TorchEngine([network], settings), settings))
    assert got.shape == (3, *shape)
    assert torch.allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
def test_a_perfect_network_scores_1(tiny, shown_case, preset: str) -> None:
    settings = tiny("segment.min_et_ml=0", preset=preset)
    scores = validate(TorchEngine([Shown()], settings), shown_case, settings)
    assert scores == dict.fromkeys(SCORES, 1.0)


def test_small_enhancing_tumour_is_taken_away(tiny, shown_case) -> None:
    assert shown_case.et_voxels == 27
    settings = tiny("segment.min_et_ml=0.028")
    scores = validate(TorchEngine([Shown()], settings), shown_case, settings)
    assert [scores[f"dice_{region}"] for region in Region] == [1, 1, 0]
    assert scores["dice_ncr"] == pytest.approx(2 * 21 / (21 + 48))


def test_scores_are_means_over_cases(tiny, shown_case, tmp_path, store) -> None:
    healthy = store(tmp_path / "healthy", np.array(shown_case.image), np.zeros(shown_case.label.shape))
    settings = tiny("segment.min_et_ml=0")
    engine = TorchEngine([Shown()], settings)
    scores = mean_scores([validate(engine, case, settings) for case in (shown_case, healthy)])
    assert [scores[f"dice_{region}"] for region in Region] == [0.5] * 3


def test_only_the_regions_of_the_network_are_scored(tiny, shown_case) -> None:
    settings = tiny(
        "network.regions=[wt, tc]", "training.region_weights=[1, 1]", "segment.thresholds=[0.5, 0.5]"
    )
    scores = validate(TorchEngine([Shown()], settings), shown_case, settings)
    measures = ("dice", "precision", "sensitivity", "specificity")
    assert scores == {f"{m}_{r}": 1 for m in measures for r in ("wt", "tc")}


def test_scores_by_pencil() -> None:
    reference = np.array([0, 0, 0, 0, 1, 2, 2, 3], dtype=np.uint8).reshape(8, 1, 1)
    labels = np.array([0, 0, 0, 2, 1, 2, 3, 3], dtype=np.uint8).reshape(8, 1, 1)
    scores = score(labels, reference, tuple(Region))
    assert scores["dice_wt"] == pytest.approx(8 / 9)
    assert scores["dice_tc"] == pytest.approx(4 / 5)
    assert (scores["dice_ncr"], scores["dice_ed"]) == (1, 0.5)
    assert (scores["precision_wt"], scores["sensitivity_wt"], scores["specificity_wt"]) == (4 / 5, 1, 3 / 4)
    assert scores["mean_iou"] == pytest.approx((3 / 4 + 1 + 1 / 3 + 1 / 2) / 4)


def test_bf16_agrees_with_fp32(tiny) -> None:
    settings = tiny()
    network = build_network(settings.network).eval()
    image = torch.randn(4, 32, 32, 32)
    exact, short = (
        predict_padded(image.numpy(), TorchEngine([network], settings, bf16=bf16), settings)
        for bf16 in (False, True)
    )
    assert short.dtype == np.float32
    np.testing.assert_allclose(exact, short, atol=0.05)
    assert not np.array_equal(exact, short)
