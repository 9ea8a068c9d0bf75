"""Peak memory of the data path, training process and workers together, with 51 cases and with 510.

    python benchmarks/training/memory.py ../shared/data/brats

The 510 are the prepared cases ten times under other names (links in the cache). Each measurement is a process
of its own, which reads --patches patches through two workers. Memory is what the kernel says is private or
shared in proportion (PSS), so that pages shared by processes count once; sampled twenty times a second.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import page

ROOT = Path(__file__).parents[2]


def pss_mb() -> tuple[float, float]:
    """Return the memory now of this process and its workers in MB: all, and without mapped files (Linux)."""
    total = files = 0
    for pid in (None, *(child.pid for child in multiprocessing.active_children())):
        try:
            text = Path(f"/proc/{pid or 'self'}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:  # it has just ended
            continue
        kb = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
        total += kb["Pss"]
        files += kb["Pss_File"]
    return total * 1024 / 1e6, (total - files) * 1024 / 1e6


def measure(data: Path, cache: Path, links: Path, copies: int, patches: int) -> tuple[int, float, float]:
    """Return how many cases there are, and the peaks of pss_mb while patches are read."""
    from gliomaseg.cases.find import find_cases
    from gliomaseg.settings.loading import load_settings
    from gliomaseg.training.cache import PreparedCase, prepare_cases
    from gliomaseg.training.dataset import PatchDataset
    from gliomaseg.training.process import keep_freed_memory, read_batches

    keep_freed_memory()
    settings = load_settings("unet3d")
    prepared = prepare_cases(find_cases(data), settings, cache, lambda _done, _text: None)
    many: list[PreparedCase] = []
    for case in prepared:
        for copy in range(copies):
            link = links / f"{case.id}-{copy}"
            link.symlink_to(case.folder)
            many.append(replace(case, id=link.name, patient=link.name, folder=link))
    numbers = (range(n, n + 2) for n in range(0, patches, 2))
    batches = read_batches(PatchDataset(many, settings), numbers, 2)
    peaks, done = [(0.0, 0.0)], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peaks.append(pss_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in batches:
        pass
    done.set()
    watcher.join()
    return len(many), max(p[0] for p in peaks), max(p[1] for p in peaks)


def main() -> None:
    """Measure in turn, print and write the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--patches", type=int, default=520, help="each of 510 cases is read once, and more")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "peers-cache" / "gliomaseg")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        import tempfile

        with tempfile.TemporaryDirectory() as links:
            shared = (options.data.resolve(), options.cache.resolve(), Path(links))
            sys.stdout.write(json.dumps(measure(*shared, options.measure, options.patches)) + "\n")
        return
    command = [sys.executable, __file__, *sys.argv[1:]]
    subprocess.run([*command, "--measure", "1", "--patches", "2"], check=True)  # prepares: none does so below
    found: dict[int, list[Sequence[float]]] = {1: [], 10: []}
    for _ in range(options.repeats):
        for copies, results in found.items():
            text = subprocess.check_output([*command, "--measure", str(copies)], text=True)
            results.append(json.loads(text.splitlines()[-1]))
            sys.stdout.write(f"{results[-1]}\n")
    few, many = ([max(r[i] for r in found[copies]) for i in range(3)] for copies in (1, 10))
    lines = [
        f"Peak of the training process without its network, and of 2 workers, over {options.patches} patches "
        f"of 96x96x96 in batches of 2; the larger of {options.repeats} runs each, in turn.",
        "",
        "    python benchmarks/training/memory.py ../shared/data/brats",
        "",
        page.machine(),
        "",
        "| cases | peak (PSS) | of it not mapped from files |",
        "|---|---|---|",
        *(f"| {n:.0f} | {total:.0f} MB | {own:.0f} MB |" for n, total, own in (few, many)),
        "",
        f"**{100 * (many[1] / few[1] - 1):+.1f} %** with ten times as many cases (aim: within 10 %).",
    ]
    page.write_section("Memory", lines)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
