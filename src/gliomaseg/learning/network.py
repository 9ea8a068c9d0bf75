"""Networks by name. Door: monai.networks.

A network maps (batch, modality, *space) to a list of logits (batch, region, *space), the full
resolution first, then the auxiliary output if there is one.
"""

from __future__ import annotations

from typing import Any, overload

import torch
from monai.networks.nets import BasicUNet, DynUNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

from gliomaseg.config import NetworkSettings


class HalfResolutionUNet(nn.Module):
    """A 3D U-Net that computes at half resolution: few costly voxels, all of the detail.

    Each 2x2x2 block of voxels becomes the channels of one (space to depth), and back at the end.
    Batch norm folds into the convolutions on export; instance norm would not.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        levels = len(settings.filters)
        self.regions = len(settings.regions)
        self.auxiliary = settings.auxiliary > 0
        self.body = DynUNet(
            spatial_dims=3,
            in_channels=8 * len(settings.modalities),
            out_channels=8 * self.regions,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(settings.filters),
            norm_name="batch",
            deep_supervision=self.auxiliary,
            deep_supr_num=1,
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits at 1 and, in training, at half the inner resolution brought to full."""
        out = self.body(pixelunshuffle(image, 3, 2))
        if self.training and self.auxiliary:
            return [pixelshuffle(part, 3, 2) for part in out.unbind(1)]
        return [pixelshuffle(out, 3, 2)]


class SliceUNet(nn.Module):
    """The classical U-Net on axial slices: double convolutions, skip connections, 2x2 pooling."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        features = settings.filters
        self.body = BasicUNet(
            spatial_dims=2,
            in_channels=len(settings.modalities),
            out_channels=len(settings.regions),
            features=(*features, features[0]),
            norm=("batch", {"affine": True}),
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits."""
        return [self.body(image)]


def build_network(settings: NetworkSettings) -> nn.Module:
    """Return the network with fresh weights."""
    return HalfResolutionUNet(settings) if settings.name == "unet3d" else SliceUNet(settings)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained numbers."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@overload
def channels_last(what: Tensor, dimensions: int) -> Tensor: ...
@overload
def channels_last(what: nn.Module, dimensions: int) -> nn.Module: ...
def channels_last(what: Any, dimensions: int) -> Any:
    """Return a network or a batch in the memory order in which CPUs convolve fastest."""
    return what.to(memory_format=torch.channels_last_3d if dimensions == 3 else torch.channels_last)


def agrees_in_bf16(network: nn.Module, settings: NetworkSettings) -> bool:
    """Return whether this CPU computes in bf16, and to nearly the logits of fp32.

    Some builds of PyTorch are reported to convolve wrongly in bf16, so the two are compared once.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 (the only name in PyTorch 2.6-2.12)
        return False
    size = (1, len(settings.modalities), *(32,) * settings.dimensions)
    image = torch.randn(size, generator=torch.Generator().manual_seed(0))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        exact = network(image)[0]
        with torch.autocast("cpu", torch.bfloat16):
            short = network(image)[0].float()
    network.train(was_training)
    return bool((short - exact).abs().mean() <= 0.05 * exact.abs().mean() + 1e-3)
