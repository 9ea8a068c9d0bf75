"""docs/training-speed.md, a section for each benchmark of this folder, and what they share."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "training-speed.md"
_HEAD = "# Training: speed, memory, and a notebook's task\n\nEach section is written by the command in it.\n"
_ORDER = (
    "Patches per second",
    "Memory",
    "Training steps",
    "Optimisers",
    "Muon's moves",
    "Smoke test",
    "A notebook's task",
)


def machine() -> str:
    """Return what was measured on, and how busy it was: its load now, less this process."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = next((line.split(":")[1].strip() for line in text.splitlines() if "model name" in line), "")
    load = os.getloadavg()[0]
    cores = os.cpu_count()
    return (
        f"{name or platform.processor()}, {cores} cores, Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d')}; load average at the end {load:.1f} on {cores} cores"
    )


def write_section(title: str, lines: Sequence[str]) -> None:
    """Put a section into the page, in place of the one of that name."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else _HEAD
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = {part.partition("\n")[0]: part for part in parts}
    sections[title] = "\n".join([title, "", *lines, "", ""])
    ordered = [sections[name].rstrip() for name in _ORDER if name in sections]
    PAGE.write_text("\n\n## ".join([head.rstrip(), *ordered]) + "\n", encoding="utf-8")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return 'median (least to most)'."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
