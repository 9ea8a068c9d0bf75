"""What is asked of the machine, with answers as other machines give them."""

from __future__ import annotations

import os
import sys

import pytest

from gliomaseg.inference import machine

MEMINFO = "MemTotal: 32 kB\nMemAvailable:    16 kB\n"


def answer(monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    """Let files be read as if they held these texts, by the ends of their names; others are not there."""
    monkeypatch.setattr(
        machine, "_read", lambda path: next((t for n, t in texts.items() if str(path).endswith(n)), "")
    )


def test_free_memory_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, meminfo=MEMINFO)
    assert machine.free_memory() == 16 * 1024


def test_a_control_group_may_leave_less(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, meminfo=MEMINFO, cgroup="0::/job\n", max="9000\n", current="5000\n")
    assert machine.free_memory() == 4000
    answer(monkeypatch, meminfo=MEMINFO, max="max\n", current="5000\n")
    assert machine.free_memory() == 16 * 1024


def test_a_machine_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch)
    assert machine.free_memory() is None


def test_cores_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_peak_memory_in_the_units_of_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine.peak_memory()
    assert here is not None
    assert here > 10_000_000
    monkeypatch.setattr(sys, "platform", "win32")
    assert machine.peak_memory() is None
