"""What Muon's moves cost a step of unet3d, in bf16 and in fp32: python benchmarks/training/moves.py."""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import page
import torch

from gliomaseg.settings.loading import load_settings
from gliomaseg.training.network import agrees_in_bf16, build_network
from gliomaseg.training.optimiser import build_optimiser

MOVES = 5


def main() -> None:
    """Measure, print and write the page's section."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    torch.set_num_threads(1)
    settings = load_settings("unet3d")
    network = build_network(settings.network)
    chosen = "bf16" if agrees_in_bf16(network, settings.network) else "fp32"
    optimisers = {
        name: build_optimiser(network, settings.training, bf16=name == "bf16") for name in ("bf16", "fp32")
    }
    found: dict[str, list[float]] = {name: [] for name in optimisers}
    for number in range(1 + MOVES):  # the first warms up
        for name, optimiser in optimisers.items():
            for parameter in network.parameters():
                parameter.grad = torch.randn_like(parameter)
            started = time.process_time()
            optimiser.step()
            if number:
                found[name].append(time.process_time() - started)
    ratio = statistics.median(found["bf16"]) / statistics.median(found["fp32"])
    lines = [
        "Processor seconds of the last part of a step, in which Muon moves the weights of unet3d, by the "
        f"numbers that it computes in; taken in turn, medians (least to most) of {MOVES}, one thread.",
        "",
        "    python benchmarks/training/moves.py",
        "",
        page.machine(),
        "",
        "| | seconds |",
        "|---|---|",
        *(f"| {name} | {page.spread(seconds)} |" for name, seconds in found.items()),
        "",
        f"bf16 takes {ratio:.1f} times as long as fp32 here; training chose {chosen} on this machine.",
    ]
    page.write_section("Muon's moves", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
