"""MONAI's public BraTS bundle on one case: its SegResNet, transforms and inferer, with random weights.

    .venv/bin/python monai_bundle.py CASE_FOLDER OUTPUT --threads 2

Settings as in inference.json of the bundle brats_mri_segmentation: SegResNet with 16 initial filters, blocks
1 2 2 4 down and 1 1 1 up, channel-wise z-score of the voxels that are not 0, windows of 240x240x160 that
overlap by half, sigmoid, threshold 0.5. Time does not depend on the weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

NAMES = ("t1ce", "t1", "t2", "flair")


def main() -> None:
    """Segment one case as the bundle does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch
    from monai.inferers import SlidingWindowInferer
    from monai.networks.nets import SegResNet
    from monai.transforms import (
        Activationsd,
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        LoadImaged,
        NormalizeIntensityd,
        SaveImage,
    )

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = SegResNet(
        blocks_down=[1, 2, 2, 4], blocks_up=[1, 1, 1], init_filters=16, in_channels=4, out_channels=3,
        dropout_prob=0.2,
    ).eval()  # fmt: skip
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )
    after = Compose([Activationsd("pred", sigmoid=True), AsDiscreted("pred", threshold=0.5)])
    files = [next(options.case.glob(f"*_{name}.nii*")) for name in NAMES]
    case = before({"image": files})
    inferer = SlidingWindowInferer(roi_size=[240, 240, 160], sw_batch_size=1, overlap=0.5)
    with torch.no_grad():
        logits = inferer(case["image"][None], network)[0]
    regions = after({"pred": logits})["pred"]  # TC, WT, ET
    labels = torch.where(regions[2] > 0, 4, torch.where(regions[0] > 0, 1, torch.where(regions[1] > 0, 2, 0)))
    save = SaveImage(output_dir=options.output, output_dtype="uint8", separate_folder=False, print_log=False)
    save(labels[None].to(torch.uint8))


if __name__ == "__main__":
    main()
