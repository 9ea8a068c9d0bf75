"""What this machine is: its processor's name and instructions, the cores and the memory that are free.

Linux tells all of it in files; elsewhere what can't be known is empty or None, and nothing depends on it.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
from functools import cache
from pathlib import Path

from gliomaseg.inference import control_group

#: Instructions that decide how fast a network runs, as Linux calls them.
FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@cache
def _cpu_info() -> dict[str, str]:
    text = control_group.read("/proc/cpuinfo").partition("\n\n")[0]
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor by Linux's names; empty elsewhere."""
    return frozenset(_cpu_info().get("flags", "").split())


def cpu_name() -> str:
    """Return the processor's name."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use; half a core of a container counts as one."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    share = control_group.cores()
    count = len(os.sched_getaffinity(0))
    return count if share is None else max(1, min(count, math.ceil(share)))


def threads(asked: int) -> int:
    """Return how many threads to ask of a library, 0 for its own choice: never more than there are cores."""
    if asked:
        return min(asked, cores())
    return cores() if sys.platform == "linux" and control_group.cores() is not None else 0


def has_gpu() -> bool:
    """Return whether there is an NVIDIA GPU, without asking its libraries: PyTorch takes seconds to load."""
    return Path("/dev/nvidia0").exists() or bool(shutil.which("nvidia-smi"))


def free_memory() -> int | None:
    """Return how many bytes can be had: of the machine, or of this process's control group if less."""
    info = dict(line.split(":") for line in control_group.read("/proc/meminfo").splitlines())
    if "MemAvailable" not in info:
        return None
    free, left = int(info["MemAvailable"].split()[0]) * 1024, control_group.free_memory()
    return free if left is None else min(free, left)


def peak_memory() -> int | None:
    """Return the largest memory of this process so far in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
