"""The SegResNet of MONAI's BraTS tutorial, trained for as long as a fold of ours on the same patients.

    python benchmarks/model/segresnet.py ../shared/data/brats runs/fold1 --hours 0.75 --write FILE.json

The tutorial's network, loss, optimiser, rates and augmentation. Two things differ, both to its gain: its crop
of 224 x 224 x 144 voxels would take half a minute a step on two cores, so that --crop is smaller and it makes
more steps; and results lose small enhancing tumours as ours do. Resumes from FILE.pt. Writes a record as
cross_validation.py does.

Source of the recipe: MONAI's tutorial brats_segmentation_3d (blocks 1-2-2-4, 16 filters, dropout 0.2; Dice
loss of squares; Adam 1e-4 with decay 1e-5, half a cosine; z-score inside the brain; flips, intensities scaled
and shifted by up to 0.1; mixed precision).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from cross_validation import BRAIN, scores
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gliomaseg import find_cases
from gliomaseg.labels import Region
from gliomaseg.settings.loading import load_settings
from gliomaseg.training.cache import STORED, PreparedCase, prepare_cases
from gliomaseg.training.process import keep_freed_memory
from gliomaseg.training.run import load_run
from gliomaseg.training.validation import with_room

#: Prepared as the tutorial does: a z-score of what is not 0, nothing clipped.
SETTINGS = load_settings("unet3d", ["prepare.clip_percentiles=[0, 100]", "prepare.bias_correction=0"])
RATE, CHANGE = 1e-4, 0.1
SAVE_MINUTES = 5


def main() -> None:
    """Train, segment the cases that the run held out, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path, help="a run of gliomaseg train: its split is taken")
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--write", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    cases = {c.id: c for c in prepare_cases(find_cases(options.data), SETTINGS, options.cache, said)}
    split = load_run(options.run).read_split()
    network = build()
    steps = train(network, [cases[name] for name in split.train], options)
    about = {
        "preset": "MONAI SegResNet",
        "modalities": list(SETTINGS.network.modalities),
        "settings": {"crop": options.crop},
        "gflops": round(operations() / 1e9, 1),
        "steps": steps,
        "hours": options.hours,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    key = " ".join(SETTINGS.network.modalities)
    found = {n: {"run": "segresnet", "dice": {key: score(network, cases[n])}} for n in split.validation}
    options.write.write_text(json.dumps({"runs": {"segresnet": about}, "cases": found}) + "\n", "utf-8")


def said(_done: float, what: str) -> None:
    """Say what is being prepared."""
    sys.stdout.write(f"{what}\n")


def build() -> SegResNet:
    """Return the tutorial's network."""
    return SegResNet(
        blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), init_filters=16, in_channels=4, out_channels=3,
        dropout_prob=0.2,
    )  # fmt: skip


def train(network: SegResNet, cases: list[PreparedCase], options: argparse.Namespace) -> int:
    """Train for the hours that are left; return the count of all steps."""
    loss_of = DiceLoss(smooth_nr=0, smooth_dr=1e-5, squared_pred=True, to_onehot_y=False, sigmoid=True)
    optimizer = torch.optim.Adam(network.parameters(), RATE, weight_decay=1e-5)
    kept, step, spent = options.write.with_suffix(".pt"), 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    rng, saved = np.random.default_rng(step), spent
    network.train()
    while spent < 3600 * options.hours:
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * spent / (3600 * options.hours)))
        image, target = draw(cases[int(rng.integers(len(cases)))], options.crop, rng)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            found = network(image)
        loss = loss_of(found.float(), target)
        loss.backward()
        optimizer.step()
        step, spent = step + 1, spent + time.perf_counter() - started
        if step % 20 == 0:
            sys.stdout.write(f"step {step}  {spent / 60:.1f} min  loss {loss.item():.3f}\n")
            sys.stdout.flush()
        if spent - saved > 60 * SAVE_MINUTES or spent >= 3600 * options.hours:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": step, "spent": spent}, kept)
            saved = spent
    return step


def draw(case: PreparedCase, crop: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a random crop (1, 4, crop, crop, crop), flipped, scaled and shifted, and its regions."""
    shape = case.image.shape[1:]
    at = [int(rng.integers(max(0, n - crop) + 1)) for n in shape]
    where = tuple(slice(a, a + crop) for a in at)
    image = np.asarray(case.image[(slice(None), *where)], np.float32)
    label = np.asarray(case.label[where])
    target = np.stack([STORED.mask(label, region) for region in Region]).astype(np.float32)
    axes = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
    image, target = np.flip(image, axes).copy(), np.flip(target, axes).copy()
    image *= 1 + rng.uniform(-CHANGE, CHANGE)
    image += rng.uniform(-CHANGE, CHANGE)
    short = [max(0, crop - n) for n in shape]
    edge = (0, short[2], 0, short[1], 0, short[0])
    pair = (functional.pad(torch.from_numpy(array)[None], edge) for array in (image, target))
    return next(pair), next(pair)


def score(network: SegResNet, case: PreparedCase) -> dict[str, float]:
    """Return the Dice of each region of the whole brain in one pass."""
    network.eval()
    room, valid = with_room(case.image, SETTINGS)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = torch.sigmoid(network(torch.from_numpy(room)[None]).float())[0].numpy()
    found = found[(slice(None), *valid)]
    truth = {region: STORED.mask(np.asarray(case.label), region) for region in Region}
    dice = scores(found, SETTINGS, truth)
    sys.stdout.write(f"{case.id} {dice}\n")
    sys.stdout.flush()
    return dice


def operations() -> int:
    """Return the operations of a large brain's convolutions."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build()(torch.empty(1, 4, *BRAIN))
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
