"""Training samples per second: gliomaseg's 3D preset beside the SegResNet of MONAI's BraTS tutorial in fp32.

    python benchmarks/training/step.py

Both train on random patches that lie in memory, so that only steps are timed: forward, loss, backward,
optimiser. gliomaseg makes the very step of its training (loss at two depths, clipped gradient, averaged
weights, precision auto). One process; the contenders take turns, step by step. Medians of wall time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import page
import torch
from accelerate import Accelerator
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet

from gliomaseg.settings.loading import load_settings
from gliomaseg.training import train
from gliomaseg.training.dataset import PatchDataset
from gliomaseg.training.loss import build_loss
from gliomaseg.training.process import keep_freed_memory
from gliomaseg.training.run import open_run
from gliomaseg.training.state import begin

Size = tuple[int, int, int]
Step = Callable[[], None]
#: The crop of MONAI's tutorial (its step has one), and our patch (our step has two).
TUTORIAL, OURS = (224, 224, 144), (96, 96, 96)


def sample(batch: int, size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a random image (batch, 4, *size) and regions (batch, 3, *size)."""
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 4, *size, generator=draw)
    return image, (torch.rand(batch, 3, *size, generator=draw) < 0.1).float()


def gliomaseg(batch: int, folder: Path) -> tuple[Step, str]:
    """Return a step of gliomaseg train, and its precision."""
    settings = load_settings("unet3d", [f"training.batch={batch}", "training.steps=1000000"])
    state = begin(open_run(folder, settings), Accelerator(mixed_precision="no"))
    state.network.train()
    given, loss = sample(batch, OURS), build_loss(settings)
    patches = PatchDataset([], settings)
    return lambda: train._step(state, given, loss, patches), "bf16" if state.bf16 else "fp32"  # noqa: SLF001


def segresnet(batch: int, size: Size) -> Step:
    """Return a step of the tutorial's recipe in fp32."""
    network = SegResNet(
        blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), init_filters=16, in_channels=4, out_channels=3,
        dropout_prob=0.2,
    )  # fmt: skip
    loss_of = DiceLoss(smooth_nr=0, smooth_dr=1e-5, squared_pred=True, to_onehot_y=False, sigmoid=True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, weight_decay=1e-5)
    image, target = sample(batch, size)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(network(image), target).backward()
        optimizer.step()

    return step


def seconds_of(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Return seconds of each step, taken in turn, after one round to warm up."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(1 + rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number:
                found[name].append(time.perf_counter() - started)
                sys.stdout.write(f"{name} {found[name][-1]:.2f} s\n")
                sys.stdout.flush()
    return found


def main() -> None:
    """Measure, print and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tutorial-rounds", type=int, default=2, help="with the crop of the tutorial")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        ours, precision = gliomaseg(2, Path(folder, "two"))
        alone, _ = gliomaseg(1, Path(folder, "one"))
        name = f"gliomaseg unet3d, {precision}"
        rows = [  # name, patches a step, size, seconds
            (f"{name}, its own batch", 2, OURS),
            (name, 1, OURS),
            ("SegResNet, fp32", 1, OURS),
            ("SegResNet, fp32, the tutorial's crop", 1, TUTORIAL),
        ]
        makes = [ours, alone, segresnet(1, OURS)]
        found = seconds_of({row[0]: step for row, step in zip(rows, makes, strict=False)}, options.rounds)
        large = {name: alone, rows[3][0]: segresnet(1, TUTORIAL)}
        beside = seconds_of(large, options.tutorial_rounds)
        found[rows[3][0]] = beside[rows[3][0]]
    middle = {row[0]: statistics.median(found[row[0]]) for row in rows}
    voxels = {row[0]: row[1] * row[2][0] * row[2][1] * row[2][2] for row in rows}
    peer = middle[rows[2][0]]
    tutorial = statistics.median(beside[rows[3][0]]) / voxels[rows[3][0]]
    same_run = tutorial / (statistics.median(beside[name]) / voxels[name])
    lines = [
        f"Steps taken in turn in one process, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
        f"; medians (least to most) of {options.rounds}, of {options.tutorial_rounds} at the large crop. "
        "SegResNet with 16 filters, Dice loss and Adam, as in MONAI's BraTS tutorial but fp32. Random "
        "patches: reading is timed above.",
        "",
        "    python benchmarks/training/step.py",
        "",
        page.machine(),
        "",
        "| | patch | patches per step | seconds per step | patches per second | million voxels per second |",
        "|---|---|---|---|---|---|",
        *(
            f"| {label} | {'x'.join(map(str, size))} | {batch} | {page.spread(found[label])} "
            f"| {batch / middle[label]:.3f} | {voxels[label] / middle[label] / 1e6:.2f} |"
            for label, batch, size in rows
        ),
        "",
        f"**{peer / middle[name]:.1f} times** SegResNet's samples per second at the same patch and batch, "
        f"{2 * peer / middle[rows[0][0]]:.1f} times with our own batch of 2; per voxel "
        f"**{same_run:.1f} times** the tutorial's crop (aim: 3 or more).",
    ]
    page.write_section("Training steps", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
