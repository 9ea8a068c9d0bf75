"""What Linux's control groups, version 1 or 2, leave to this process, as in a container.

A limit of any group above counts too. Where nothing is known nothing is limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
#: Files of each version: the limit, what is used, and what of that the kernel gives back when asked (cached
#: files that nobody reads), as a line of memory.stat.
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_memory() -> int | None:
    """Return how many bytes the groups leave; None if they limit nothing."""
    left = []
    for folder in _folders("memory"):
        for limit, used, cached in _MEMORY:
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None:
                left.append(most - now + min(now, _stat(folder).get(cached, 0)))
    return max(min(left), 0) if left else None


def cores() -> float | None:
    """Return how many cores the groups let this process use on average; None if they limit nothing."""
    shares = []
    for folder in _folders("cpu"):
        quota, _, period = read(folder / "cpu.max").strip().partition(" ")
        quota = quota or read(folder / "cpu.cfs_quota_us").strip()
        period = period or read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that may limit this process, those above them too."""
    groups = {_ROOT: "", _ROOT / controller: ""}  # in a container the outermost one is its own
    for line in read("/proc/self/cgroup").splitlines():
        names, _, group = line.partition(":")[2].partition(":")
        if not names or controller in names.split(","):
            groups[_ROOT / controller if names else _ROOT] = group.strip("/ \n")
    for base, group in groups.items():
        for folder in (Path(group), *Path(group).parents) if group else (Path(),):
            yield base / folder


def _number(path: Path) -> int | None:
    text = read(path).strip()
    return int(text) if text.isdigit() else None


def _stat(folder: Path) -> dict[str, int]:
    lines = (line.split() for line in read(folder / "memory.stat").splitlines())
    return {pair[0]: int(pair[1]) for pair in lines if len(pair) == 2 and pair[1].isdigit()}


def read(path: str | Path) -> str:
    """Return what a file of the kernel says; nothing where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
