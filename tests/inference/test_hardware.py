"""What is asked of the machine, with answers as other machines give them."""

from __future__ import annotations

import os
import sys

import pytest

from gliomaseg.inference import hardware

MEMINFO = "MemTotal: 32 kB\nMemAvailable:    16 kB\n"


def answer(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    """Let these files be read, as on another machine; others are not there."""
    monkeypatch.setattr(hardware, "_read", lambda path: texts.get(str(path).replace(f"{GROUPS}/", ""), ""))


MEM = {"/proc/meminfo": "MemTotal: 32 kB\nMemAvailable:    16 kB\n"}
GROUPS = "/sys/fs/cgroup"
V1 = "9:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n0::/init\n"


@pytest.mark.parametrize(
    ("texts", "free"),
    [
        ({}, 16384),
        ({"memory.max": "9000\n", "memory.current": "5000\n"}, 4000),
        ({"memory.max": "max\n", "memory.current": "5000\n"}, 16384),
        ({"memory.max": "9000\n", "memory.current": "9500\n"}, 0),
        ({"memory.max": "99000\n", "memory.current": "5000\n"}, 16384),
        ({"/proc/self/cgroup": "0::/job/7\n", "job/7/memory.max": "9000", "job/7/memory.current": "1"}, 8999),
        ({"/proc/self/cgroup": "0::/job/7\n", "job/memory.max": "9000", "job/memory.current": "1"}, 8999),
        ({"memory/memory.limit_in_bytes": "9000", "memory/memory.usage_in_bytes": "5000"}, 4000),
        (
            {
                "/proc/self/cgroup": V1,
                "memory/docker/ab/memory.limit_in_bytes": "9000",
                "memory/docker/ab/memory.usage_in_bytes": "5000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "70000",
            },
            4000,
        ),
        (
            {
                "memory.max": "9000",
                "memory.current": "5000",
                "memory.stat": "anon 3000\ninactive_file 1500\n",
            },
            5500,
        ),
        (
            {
                "memory/memory.limit_in_bytes": "9000",
                "memory/memory.usage_in_bytes": "5000",
                "memory/memory.stat": "inactive_file 7\n odd\ntotal_cache x\ntotal_inactive_file 1500\nodd\n",
            },
            5500,
        ),
    ],
)
def test_what_the_control_groups_leave(
    monkeypatch: pytest.MonkeyPatch, texts: dict[str, str], free: int
) -> None:
    """Of both versions, of groups above too; what caches hold is free."""
    answer(monkeypatch, MEM | texts)
    assert hardware.free_memory() == free


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (
            {
                "/proc/self/cgroup": V1,
                "cpu/docker/ab/cpu.cfs_quota_us": "150000\n",
                "cpu/docker/ab/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_cores_of_a_container(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str], count: int) -> None:
    answer(monkeypatch, texts)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert hardware.cores() == count


def test_a_machine_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {})
    assert hardware.free_memory() is None


def test_cores_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert hardware.cores() == 1


def test_peak_memory_in_the_units_of_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    here = hardware.peak_memory()
    assert here is not None
    assert here > 10_000_000
    monkeypatch.setattr(sys, "platform", "win32")
    assert hardware.peak_memory() is None
