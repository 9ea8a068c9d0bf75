"""Networks: shapes, memory order, that they learn, and the check of bf16."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from gliomaseg.errors import SettingsError
from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import NetworkName
from gliomaseg.training.loss import build_loss
from gliomaseg.training.network import agrees_in_bf16, build_network, count_parameters, memory_format

SHAPES = {"unet3d": (2, 4, 32, 48, 32), "unet2d": (2, 4, 64, 48), "swin_unetr": (1, 4, 64, 64, 64)}
OUTPUTS = {"unet3d": 2, "dynunet": 4}
PRESETS = get_args(NetworkName)  # each network has a preset of its name
ORDERS = {"unet3d": torch.channels_last_3d, "unet2d": torch.channels_last}


def _without_dropout(module: nn.Module) -> None:
    """Chance would hide what two steps do."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        module.p = 0.0


def noise(preset: str) -> Tensor:
    shape = SHAPES.get(preset, (2, 4, 32, 32, 32))
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes(tiny, preset: str) -> None:
    network, image = build_network(tiny(preset=preset).network), noise(preset)
    with torch.no_grad():
        logits = network(image)
        assert [part.shape for part in logits] == [(len(image), 3, *image.shape[2:])] * OUTPUTS.get(preset, 1)
        assert [part.shape for part in network.eval()(image)] == [(len(image), 3, *image.shape[2:])]


def test_size_is_known() -> None:
    assert count_parameters(build_network(load_settings("unet3d").network)) == 4_568_880
    assert count_parameters(build_network(load_settings("unet2d").network)) == 1_948_595


FLAT = (
    "attention_unet",
    "unet_plusplus",
    "vnet",
    "residual_unet",
    "dynunet",
    "unetr",
    "swin_unetr",
    "mednext",
)


@pytest.mark.parametrize("preset", FLAT)
def test_those_of_both_kinds_see_slices_too(tiny, preset: str) -> None:
    flat = ["network.dimensions=2", "training.patch=[64, 64]"]
    window = ["network.window=[64, 64]"] if preset in ("unetr", "swin_unetr") else []
    network = build_network(tiny(*flat, *window, preset=preset).network).eval()
    assert network(torch.randn(2, 4, 64, 64))[0].shape == (2, 3, 64, 64)


@pytest.mark.parametrize(("preset", "widths"), [("unetr", "[16]"), ("swin_unetr", "[13]"), ("dynunet", "[]")])
def test_widths_that_do_not_fit(tiny, preset: str, widths: str) -> None:
    with pytest.raises(SettingsError, match=f"E-SETTING: network {preset} can't be built") as caught:
        build_network(tiny(f"network.filters={widths}", preset=preset).network)
    assert f"--preset {preset}" in caught.value.remedy


def test_a_v_net_has_no_three_sequences(tiny) -> None:
    with pytest.raises(SettingsError, match="E-SETTING"):
        build_network(tiny("network.modalities=[t1n, t1c, t2f]", preset="vnet").network)


def test_without_deep_supervision_there_is_one_output(tiny) -> None:
    network = build_network(tiny("network.deep_supervision=0").network)
    assert len(network(torch.randn(1, 4, 16, 16, 16))) == 1


def test_modalities_and_regions_are_counted(tiny) -> None:
    settings = tiny("network.modalities=[t1c, t2f]", "network.regions=[wt]",
                    "training.region_weights=[1]", "segment.thresholds=[0.5]").network  # fmt: skip
    assert build_network(settings)(torch.randn(2, 2, 16, 16, 16))[0].shape == (2, 1, 16, 16, 16)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_two_steps_lower_the_loss(tiny, preset: str) -> None:
    torch.manual_seed(0)
    settings = tiny(preset=preset)
    network, image = build_network(settings.network), noise(preset)
    loss_of = build_loss(settings)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.training.learning_rate)
    network.apply(_without_dropout)
    regions = torch.stack([image[:, 0] > 0, image[:, 1] > 0.5, image[:, 2] > 1], dim=1).float()
    losses = []
    for _ in range(3):
        loss = loss_of(network(image), regions)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
def test_channels_last_changes_the_order_not_the_result(tiny, preset: str) -> None:
    settings = tiny(preset=preset).network
    network, image = build_network(settings).eval(), noise(preset)
    with torch.no_grad():
        expected = network(image)[0]
        order = memory_format(settings.dimensions)
        ordered = network.to(memory_format=order)
        got = ordered(image.to(memory_format=order))[0]
    kernels = [p for p in ordered.parameters() if p.ndim == image.ndim]
    assert all(p.is_contiguous(memory_format=ORDERS[preset]) for p in kernels)
    assert torch.allclose(got, expected, atol=1e-4)


class Short(nn.Module):
    """A network that is off by so much in bf16."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error
        self.modes: list[bool] = []

    def forward(self, image: Tensor) -> list[Tensor]:
        self.modes.append(self.training)
        return [image * (1 + self.error * torch.is_autocast_enabled("cpu"))]


@pytest.mark.parametrize("training", [True, False])
def test_the_check_of_bf16_leaves_the_mode_as_it_was(tiny, training: bool) -> None:
    network = build_network(tiny().network).train(training)
    before = {name: value.clone() for name, value in network.named_buffers()}
    agrees_in_bf16(network, tiny().network)
    assert network.training == training
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())


@pytest.mark.parametrize(("error", "agrees"), [(0.01, True), (0.2, False), (float("nan"), False)])
@pytest.mark.parametrize("preset", ["unet3d", "unet2d"])
def test_a_wrong_bf16_is_found_out(tiny, error: float, agrees: bool, preset: str) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert not agrees_in_bf16(Short(0), tiny().network)
        pytest.skip("this CPU has no bf16")
    network = Short(error)
    assert agrees_in_bf16(network, tiny(preset=preset).network) == agrees
    assert network.modes == [False, False]
