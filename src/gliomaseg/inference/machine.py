"""What this machine is: its processor's name and instructions, the cores and the memory that are free.

Linux tells all of it in files; elsewhere what can't be known is empty or None, and nothing depends on it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from functools import cache
from pathlib import Path

#: Instructions that decide how fast a network runs, as Linux calls them.
FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@cache
def _cpu_info() -> dict[str, str]:
    text = _read("/proc/cpuinfo").partition("\n\n")[0]
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor by Linux's names; empty elsewhere."""
    return frozenset(_cpu_info().get("flags", "").split())


def cpu_name() -> str:
    """Return the processor's name."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu() -> bool:
    """Return whether there is an NVIDIA GPU, without asking its libraries: PyTorch takes seconds to load."""
    return Path("/dev/nvidia0").exists() or bool(shutil.which("nvidia-smi"))


def free_memory() -> int | None:
    """Return how many bytes can be had: of the machine, or of this process's control group if less."""
    info = dict(line.split(":") for line in _read("/proc/meminfo").splitlines())
    if "MemAvailable" not in info:
        return None
    free = int(info["MemAvailable"].split()[0]) * 1024
    group = _read("/proc/self/cgroup").rpartition("::")[2].strip().lstrip("/")
    for folder in {Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup") / group}:
        limit, used = (_read(folder / name).strip() for name in ("memory.max", "memory.current"))
        if limit.isdigit() and used.isdigit():
            free = min(free, int(limit) - int(used))
    return max(free, 0)


def peak_memory() -> int | None:
    """Return the largest memory of this process so far in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
