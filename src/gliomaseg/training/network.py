"""Networks by name, from MONAI.

A network maps (batch, modality, *space) to a list of logits (batch, channel, *space), the full
resolution first, then coarser outputs if there are any (in training only), brought to full size.

``filters`` are channels from the finest level down. Exceptions: ``unet_plusplus`` takes six (five levels and
the last), ``vnet`` none, ``residual_unet`` doubles the first at each level, ``unetr`` takes the channels of
its convolutions and the width of its tokens (a multiple of 12), ``swin_unetr`` the width of its tokens (a
multiple of 12), ``mednext`` the channels of its stem.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from monai.networks.nets import (
    UNETR,
    AttentionUnet,
    BasicUNet,
    BasicUNetPlusPlus,
    DynUNet,
    MedNeXt,
    SegResNet,
    SwinUNETR,
    VNet,
)
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from gliomaseg.errors import SettingsError
from gliomaseg.settings.schema import NetworkSettings, Settings

#: Coarser outputs of nnU-Net's topology with deep supervision (all except the two coarsest, at most three).
_DEEP_OUTPUTS = 3
#: For each weight, in fp32: itself, its gradient, two moments, its average.
_BYTES_PER_WEIGHT = 5 * 4


class HalfResolutionUNet(nn.Module):
    """A 3D U-Net that computes at half resolution: few costly voxels, all of the detail.

    Each 2x2x2 block of voxels becomes the channels of one (space to depth), and back at the end.
    Batch norm folds into the convolutions on export; instance norm would not.
    """

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        self.is_deep = settings.deep_supervision > 0
        self.body = _dynunet(settings, 8 * len(settings.modalities), 8 * channels, "batch", 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits at 1 and, in training, at half the inner resolution brought to full."""
        out = self.body(pixelunshuffle(image, 3, 2))
        if self.training and self.is_deep:
            return [pixelshuffle(part, 3, 2) for part in out.unbind(1)]
        return [pixelshuffle(out, 3, 2)]


class Listed(nn.Module):
    """A network of MONAI whose output, whatever its form, becomes a list of logits."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits; those of deep supervision come stacked along a second axis."""
        out = self.body(image)
        if isinstance(out, list | tuple):
            return list(out)
        return list(out.unbind(1)) if out.ndim > image.ndim else [out]


def _dynunet(settings: NetworkSettings, given: int, channels: int, norm: str, deep: int) -> Any:
    levels = len(settings.filters)
    return DynUNet(
        spatial_dims=settings.dimensions,
        in_channels=given,
        out_channels=channels,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=list(settings.filters),
        norm_name=norm,
        deep_supervision=settings.deep_supervision > 0,
        deep_supr_num=max(1, min(deep, levels - 2)),
    )


def _residual_unet(settings: NetworkSettings, channels: int) -> Any:
    levels = len(settings.filters)
    return SegResNet(
        settings.dimensions,
        init_filters=settings.filters[0],
        in_channels=len(settings.modalities),
        out_channels=channels,
        blocks_down=(1, *[2] * (levels - 2), 4),
        blocks_up=(1,) * (levels - 1),
    )


def _unetr(settings: NetworkSettings, channels: int) -> Any:
    features, tokens = settings.filters
    return UNETR(
        len(settings.modalities),
        channels,
        settings.window or (),
        feature_size=features,
        hidden_size=tokens,
        mlp_dim=4 * tokens,
        spatial_dims=settings.dimensions,
    )


def _swin_unetr(settings: NetworkSettings, channels: int) -> Any:
    (tokens,) = settings.filters
    given = len(settings.modalities)
    return SwinUNETR(given, channels, feature_size=tokens, spatial_dims=settings.dimensions)


def _mednext(settings: NetworkSettings, channels: int) -> Any:
    (stem,) = settings.filters
    return MedNeXt(
        settings.dimensions,
        init_filters=stem,
        in_channels=len(settings.modalities),
        out_channels=channels,
        kernel_size=3,
        use_residual_connection=True,
    )


_BATCH_NORM = ("batch", {"affine": True})
#: Functions of (settings, output channels) by the name of the network.
_BODIES: dict[str, Callable[[NetworkSettings, int], Any]] = {
    "unet2d": lambda s, c: BasicUNet(
        s.dimensions, len(s.modalities), c, (*s.filters, s.filters[0]), norm=_BATCH_NORM
    ),
    "attention_unet": lambda s, c: AttentionUnet(
        s.dimensions, len(s.modalities), c, s.filters, [2] * (len(s.filters) - 1)
    ),
    "unet_plusplus": lambda s, c: BasicUNetPlusPlus(
        s.dimensions, len(s.modalities), c, s.filters, norm=_BATCH_NORM
    ),
    "vnet": lambda s, c: VNet(s.dimensions, len(s.modalities), c, dropout_dim=s.dimensions),
    "residual_unet": _residual_unet,
    "dynunet": lambda s, c: _dynunet(s, len(s.modalities), c, "instance", _DEEP_OUTPUTS),
    "unetr": _unetr,
    "swin_unetr": _swin_unetr,
    "mednext": _mednext,
}


def build_network(settings: NetworkSettings, channels: int | None = None) -> Any:
    """Return the network with fresh weights and ``channels`` outputs (default: one for each region).

    Raises SettingsError (E-SETTING) for widths that the network can't have.
    """
    channels = channels or len(settings.regions)
    try:
        if settings.name == "unet3d":
            return HalfResolutionUNet(settings, channels)
        return Listed(_BODIES[settings.name](settings, channels))
    except (ValueError, IndexError, TypeError, RuntimeError, AssertionError) as error:
        raise SettingsError(
            "E-SETTING",
            f"network {settings.name} can't be built: {str(error) or type(error).__name__}",
            expected=f"filters and modalities that it can have, not {list(settings.filters)} and "
            f"{len(settings.modalities)}",
            remedy=f"begin from --preset {settings.name}, whose widths fit together",
        ) from error


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_memory(network: nn.Module, settings: Settings, batch: int) -> int:
    """Return the bytes of weights and of the tensors kept for the backward pass in fp32.

    A copy on the device "meta" processes a batch there: nothing is computed.
    """
    kept: dict[StorageWeakRef, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[StorageWeakRef(storage)] = storage
        return tensor

    empty = copy.deepcopy(network).to("meta").train()
    image = torch.zeros(batch, len(settings.network.modalities), *settings.training.patch, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _outputs = empty(image)  # as long as these are there, so is what they need
    weights = {StorageWeakRef(parameter.untyped_storage()) for parameter in empty.parameters()}
    passed = sum(int(storage.nbytes()) for key, storage in kept.items() if key not in weights)
    return passed + _BYTES_PER_WEIGHT * count_parameters(network)


def memory_format(dimensions: int) -> torch.memory_format:
    """Return the memory format in which CPUs convolve fastest: channels last."""
    return torch.channels_last_3d if dimensions == 3 else torch.channels_last


def computes_bf16(network: nn.Module, settings: NetworkSettings, device: torch.device) -> bool:
    """Return whether a device supports bf16; a CPU's result is also compared with fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and agrees_in_bf16(network, settings)


def agrees_in_bf16(network: nn.Module, settings: NetworkSettings) -> bool:
    """Return whether this CPU supports bf16, with nearly the same logits as fp32.

    Some builds of PyTorch are reported to convolve wrongly in bf16, so the two are compared once.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 (the only name in PyTorch 2.6-2.12)
        return False
    size = (1, len(settings.modalities), *(settings.window or (64,) * settings.dimensions))
    image = torch.randn(size, generator=torch.Generator().manual_seed(0))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        exact = network(image)[0]
        with torch.autocast("cpu", torch.bfloat16):
            short = network(image)[0].float()
    network.train(was_training)
    return bool((short - exact).abs().mean() <= 0.05 * exact.abs().mean() + 1e-3)
