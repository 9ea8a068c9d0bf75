"""What a training asks of its process and of the system: signals, memory, several processes as one."""

from __future__ import annotations

import ctypes
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

#: Called with the fraction done and a line of text.
Progress = Callable[[float, str], None]

#: glibc's numbers of M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD, with what they are set to.
_MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 1 << 28}


def no_progress(_fraction: float, _text: str) -> None:
    """Report nothing: the default, and for all but one of several processes."""


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that a step is finished before the run is saved."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kept = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        stop.set()

    for kind in kept:
        signal.signal(kind, note)
    try:
        yield stop
    finally:
        for kind, handler in kept.items():
            signal.signal(kind, handler)
        handler = kept.get(signal.Signals(received[0])) if received else None
        if callable(handler):  # now that all is saved, the signal does what it would have done
            handler(received[0], None)


def quiet_worker(_: int) -> None:
    """Make a reading process use one thread and leave signals to the training process."""
    torch.set_num_threads(1)
    for kind in (signal.SIGINT, signal.SIGTERM):  # the training process saves first, then ends them
        signal.signal(kind, signal.SIG_IGN)


def mean_of_all(accelerator: Accelerator, value: float) -> float:
    """Return the mean of a number over processes."""
    return sum(_of_all(accelerator, value)) / float(accelerator.num_processes)


def greatest_of_all(accelerator: Accelerator, value: float) -> float:
    """Return the greatest of a number over processes, so that all of them decide alike."""
    return float(max(_of_all(accelerator, value)))


def _of_all(accelerator: Accelerator, value: float) -> list[float]:
    if accelerator.num_processes == 1:
        return [value]
    return [float(v) for v in accelerator.gather(torch.tensor([value], device=accelerator.device))]


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed for the next step; does nothing where there is no glibc.

    Each step allocates and frees the same large tensors. By default glibc fetches each from the kernel
    and gives it back, and clearing those pages takes 15-20 % of the time; kept, 3 % (2 cores, 96^3).
    It holds for the whole process: memory stays at its peak.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in _MALLOC_OPTIONS.items():
        mallopt(option, value)
