"""Print the table of presets in docs/train.md: parameters and memory are counted, nothing is trained."""

from __future__ import annotations

from gliomaseg.settings.loading import load_settings, preset_names
from gliomaseg.settings.schema import Settings
from gliomaseg.training.network import build_network, count_memory, count_parameters

PAPERS = {
    "unet3d": "this project; after Çiçek et al. 2016",
    "shipped": "`unet3d`, trained as the shipped model was",
    "smoke": "a tiny `unet3d`, to test an installation",
    "brain": "a small `unet3d` on whole heads at 2 mm, one sequence, one region",
    "unet2d": "Ronneberger et al. 2015",
    "attention_unet": "Oktay et al. 2018",
    "unet_plusplus": "Zhou et al. 2018",
    "vnet": "Milletari et al. 2016",
    "residual_unet": "Myronenko 2018 (SegResNet, without its VAE)",
    "dynunet": "Isensee et al. 2021 (nnU-Net 3d_fullres)",
    "unetr": "Hatamizadeh et al. 2022",
    "swin_unetr": "Hatamizadeh et al. 2022",
    "mednext": "Roy et al. 2023 (MedNeXt-S)",
}
DIMENSIONS = {"unet3d": "3", "shipped": "3", "smoke": "3", "brain": "3", "unet2d": "2"}


def row(name: str) -> str:
    """Return the line of one preset."""
    settings: Settings = load_settings(name)
    network = build_network(settings.network)
    training = settings.training
    memory = count_memory(network, settings, training.batch) / 1e9
    patch = " x ".join(map(str, training.patch))
    dimensions = DIMENSIONS.get(name, "3, 2")
    millions = count_parameters(network) / 1e6
    return (
        f"| `{name}` | {PAPERS[name]} | {millions:.1f} M | {dimensions} | {training.batch} x {patch} "
        f"| {memory:.1f} GB |"
    )


def main() -> None:
    """Print the lines in the order of the docs."""
    for name in PAPERS:
        assert name in preset_names()  # noqa: S101
        print(row(name))


if __name__ == "__main__":
    main()
