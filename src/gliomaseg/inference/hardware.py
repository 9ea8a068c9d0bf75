"""The hardware that this process may use: processor, cores, memory, GPU.

On Linux the limits of control groups (containers) count, of versions 1 and 2 and of every group above.
Elsewhere what can't be known is empty or None.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

#: Instruction sets that decide on the speed of a network, as Linux names them.
FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

_GROUPS = Path("/sys/fs/cgroup")
#: Files of each version of control groups: limit, use, and the line of memory.stat with the part of the use
#: that the kernel frees on demand (cached files).
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@cache
def _cpu_info() -> dict[str, str]:
    text = _read("/proc/cpuinfo").partition("\n\n")[0]
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor, as Linux names them; empty elsewhere."""
    return frozenset(_cpu_info().get("flags", "").split())


def cpu_name() -> str:
    """Return the processor's name."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use; a fraction of a core counts as one."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    count, share = len(os.sched_getaffinity(0)), _group_cores()
    return count if share is None else max(1, min(count, math.ceil(share)))


def threads(asked: int) -> int:
    """Return the number of threads to set in a library, at most one per core; 0: the library's choice."""
    if asked:
        return min(asked, cores())
    return cores() if sys.platform == "linux" and _group_cores() is not None else 0


def has_gpu() -> bool:
    """Return whether there is an NVIDIA GPU, without loading PyTorch, which takes seconds."""
    return Path("/dev/nvidia0").exists() or bool(shutil.which("nvidia-smi"))


def free_memory() -> int | None:
    """Return the free memory in bytes, of the machine or of the control groups if less; None if unknown."""
    info = dict(line.split(":") for line in _read("/proc/meminfo").splitlines())
    if "MemAvailable" not in info:
        return None
    free, left = int(info["MemAvailable"].split()[0]) * 1024, _group_memory()
    return free if left is None else min(free, left)


def peak_memory() -> int | None:
    """Return the largest memory of this process so far in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _group_memory() -> int | None:
    """Return the bytes that the control groups leave to this process; None without a limit."""
    left = []
    for folder in _group_folders("memory"):
        for limit, used, cached in _MEMORY:
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None:
                freed = re.search(rf"^{cached} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
                left.append(most - now + (min(now, int(freed[1])) if freed else 0))
    return max(min(left), 0) if left else None


def _group_cores() -> float | None:
    """Return the cores that the control groups grant on average; None without a limit."""
    shares = []
    for folder in _group_folders("cpu"):
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
        quota = quota or _read(folder / "cpu.cfs_quota_us").strip()
        period = period or _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def _group_folders(controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that may limit this process, and of those above them."""
    groups = {_GROUPS: "", _GROUPS / controller: ""}  # inside a container the outermost group is its own
    for line in _read("/proc/self/cgroup").splitlines():
        names, _, group = line.partition(":")[2].partition(":")
        if not names or controller in names.split(","):
            groups[_GROUPS / controller if names else _GROUPS] = group.strip("/ \n")
    for base, group in groups.items():
        for folder in (Path(group), *Path(group).parents) if group else (Path(),):
            yield base / folder


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: str | Path) -> str:
    """Return the text of a file of the kernel; empty if there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
