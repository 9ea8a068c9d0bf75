"""Augmented patches per second, beside MONAI's PersistentDataset and TorchIO's Queue.

    python benchmarks/training/data_path.py ../shared/data/brats

Each measurement is a process of its own, in turn: all three, then all three again. Caches are warm. The
peers are installed into build/peers, on top of the environment that runs this. Wall time decides;
CPU time, of the process and its workers, is told since it depends less on what else a machine does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import site
import statistics
import subprocess
import sys
import time
import venv
from itertools import islice
from pathlib import Path

import page

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "build" / "peers"
#: Patches that are timed, and before those (whole queues of TorchIO, which fills one at a time).
PATCHES, WARM_UP = 80, 40


def peers_python() -> Path:
    """Return a Python with TorchIO beside everything that this one has."""
    python = PEERS / "bin" / "python"
    if not (PEERS / "ready").exists():
        venv.create(PEERS, with_pip=True, clear=True)
        packages = subprocess.check_output(
            [python, "-c", "import site; print(site.getsitepackages()[0])"], text=True
        ).strip()
        Path(packages, "base.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
        subprocess.run([python, "-m", "pip", "install", "-q", "torch==2.13.0", "torchio"], check=True)
        (PEERS / "ready").touch()
    return python


def cpu_seconds() -> float:
    """Return the CPU time so far of this process and its workers, those that ended too (Linux)."""
    ended = os.times()
    ticks = (ended.children_user + ended.children_system) * os.sysconf("SC_CLK_TCK")
    for pid in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(name: str, data: Path, cache: Path, count: int, size: int, workers: int) -> tuple[float, float]:
    """Return patches per second, and CPU milliseconds per patch."""
    import torch
    from contenders import BATCH, CONTENDERS, Task

    from gliomaseg.cases.find import find_cases

    torch.set_num_threads(1)  # the reading process only collects
    cases = find_cases(data)
    task = Task(cases[:: max(1, len(cases) // count)][:count], cache, (size, size, size), workers)
    batches = CONTENDERS[name](task)
    for _ in islice(batches, WARM_UP // BATCH):
        pass
    started, cpu = time.perf_counter(), cpu_seconds()
    shapes = {tuple(image.shape) for image, _ in islice(batches, PATCHES // BATCH)}
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    if shapes != {(BATCH, 4, size, size, size)}:
        raise SystemExit(f"{name} gave {shapes}")
    return PATCHES / seconds, 1000 * cpu / PATCHES


def rows(results: dict[str, list[tuple[float, float]]]) -> tuple[list[str], float]:
    """Return the lines of a table, and the ratio of gliomaseg to the faster peer in the median."""
    lines = ["| | patches per second | CPU ms per patch |", "|---|---|---|"]
    for name, pairs in results.items():
        rate, cpu = ([pair[i] for pair in pairs] for i in (0, 1))
        lines.append(f"| {name} | {page.spread(rate)} | {page.spread(cpu, 0)} |")
    median = {name: statistics.median(rate for rate, _ in pairs) for name, pairs in results.items()}
    ours = median.pop("gliomaseg")
    faster = max(median, key=lambda name: median[name])
    cpu = {name: statistics.median(c for _, c in pairs) for name, pairs in results.items()}
    ratio = ours / median[faster]
    lines += [
        "",
        f"**{ratio:.1f} times the faster peer, {faster}** (aim: 3 or more); "
        f"in CPU time {cpu[faster] / cpu['gliomaseg']:.1f} times.",
        "",
    ]
    return lines, ratio


def main() -> None:
    """Measure in turn, print and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", type=int, default=17)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "peers-cache")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shared = (options.data.resolve(), options.cache.resolve(), options.cases)
    if options.measure:
        found = measure(options.measure, *shared, options.sizes[0], options.workers[0])
        sys.stdout.write(json.dumps(found) + "\n")
        return
    lines = [
        f"{options.cases} cases, warm caches, batches of 2; medians of {options.repeats} processes each "
        "(least to most), taken in turn. gliomaseg: its default augmentation (mirroring, "
        "rotation and scaling, intensities, uneven coil, noise, lost resolution) and tumour "
        "oversampled. MONAI: "
        "`PersistentDataset` with the transforms of its BraTS tutorial (random crop, mirroring, "
        "intensities). TorchIO: `Queue`, "
        "10 patches of each volume, with z-score, mirroring, affine and noise at gliomaseg's chances.",
        "",
        "    python benchmarks/training/data_path.py ../shared/data/brats",
        "",
        page.machine(),
    ]
    python = peers_python()
    for size in options.sizes:
        for workers in options.workers:
            results: dict[str, list[tuple[float, float]]] = {}
            for _ in range(options.repeats):
                for name in ("gliomaseg", "MONAI", "TorchIO"):
                    command = [python, __file__, *sys.argv[1:], "--measure", name]
                    command += ["--sizes", str(size), "--workers", str(workers)]
                    found = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
                    results.setdefault(name, []).append(tuple(json.loads(found.splitlines()[-1])))
                    sys.stdout.write(f"{size} {workers} {name} {results[name][-1]}\n")
                    sys.stdout.flush()
            table, _ = rows(results)
            lines += ["", f"Patch {size}x{size}x{size}, {workers} worker{'s' * (workers > 1)}:", "", *table]
    page.write_section("Patches per second", lines)
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
