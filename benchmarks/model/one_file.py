"""A run in one file of at most 16 MB: its averaged weights, and what else is needed to go on from them.

    python benchmarks/model/one_file.py write runs/long/fold0 fold0.safetensors
    python benchmarks/model/one_file.py take fold0.safetensors runs/gpu/fold0

Weights of two axes and more are in half precision; settings, split and log are notes of the file. ``take``
makes a run again; the state of the optimiser is not kept, so that a training begins anew from the weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from gliomaseg.storage import files
from gliomaseg.training.run import load_run, read_checkpoint

#: What else of a run is kept; initial.json is there only if it began with the weights of another.
ABOUT = ("settings.json", "split.json", "initial.json", "history.csv")


def main() -> None:
    """Write or take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=("write", "take"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    {"write": write, "take": take}[options.verb](options.source, options.target)


def write(folder: Path, path: Path) -> dict[str, str]:
    """Write a run into one file, whole or not at all; return its step and seconds."""
    run = load_run(folder)
    tensors, about = read_checkpoint(run.checkpoint)
    average = {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}
    short = {k: v.half() if v.ndim > 1 else v for k, v in average.items()}
    notes = {name: (folder / name).read_text(encoding="utf-8") for name in ABOUT if (folder / name).exists()}
    files.make_folder(path.parent)
    files.write_bytes(path, save(short, metadata=about | notes))
    return about


def take(path: Path, folder: Path) -> None:
    """Make a run in ``folder`` of a file."""
    with safe_open(path, framework="pt") as archive:
        notes = archive.metadata()
        weights = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    files.make_folder(folder)
    for name in ABOUT:
        if name in notes:
            files.write_text(folder / name, notes[name])
    tensors = {
        f"{part}.{name}": tensor.float() if tensor.dtype == torch.float16 else tensor.clone()
        for part in ("network", "average")
        for name, tensor in weights.items()
    }
    about = {name: notes[name] for name in ("step", "seconds")}
    files.write_bytes(folder / "checkpoint.safetensors", save(tensors, metadata=about))


if __name__ == "__main__":
    main()
