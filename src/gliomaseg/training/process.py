"""The processes of a training: accelerators and trackers, signals, memory, and workers that read patches."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor
from torch.utils.data import DataLoader

from gliomaseg.errors import SettingsError
from gliomaseg.settings.schema import Settings
from gliomaseg.storage import files
from gliomaseg.training.dataset import PatchDataset

Batch = tuple[Tensor, Tensor]
#: Called with the fraction done and a line of text.
Progress = Callable[[float, str], None]

#: glibc's numbers of M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD, with what they are set to.
_MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 1 << 28}
#: How long processes wait for the one that prepares the cases (NCCL's own limit is 10 minutes).
_PREPARING = timedelta(hours=12)
#: Batches that each worker reads ahead.
_AHEAD = 4


def no_progress(_fraction: float, _text: str) -> None:
    """Report nothing: the default, and in all but one of several processes."""


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step; does nothing where there is no glibc.

    Each step allocates and frees the same large tensors. By default glibc fetches each from the kernel
    and gives it back, and clearing those pages takes 15-20 % of the time; kept, 3 % (2 cores, 96^3).
    It holds for the whole process: memory stays at its peak.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in _MALLOC_OPTIONS.items():
        mallopt(option, value)


def open_accelerator(folder: Path, settings: Settings) -> Accelerator:
    """Return the device and processes to train with; the loop itself casts to bf16.

    Raises SettingsError: E-EXTRA for a tracker that is not installed, E-SETTING for a batch that the
    processes can't share.
    """
    trackers = settings.training.track
    for name in trackers:
        if find_spec(name) is None:
            raise SettingsError(
                "E-EXTRA",
                f"training.track names {name}, which is not installed",
                expected=f"the extra [{name}]",
                remedy=f'pip install ".[train,{name}]" in the folder of gliomaseg, or leave it out: '
                "history.csv has the same",
            )
    accelerator = Accelerator(
        mixed_precision="no",
        log_with=[*trackers] or None,
        project_dir=folder / "tensorboard",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PREPARING)],
    )
    if settings.training.batch % accelerator.num_processes:
        raise SettingsError(
            "E-SETTING",
            f"a batch of {settings.training.batch} can't be shared by {accelerator.num_processes} processes",
            expected="as many patches for each process",
            remedy=f"use --set training.batch={accelerator.num_processes} or a multiple of it",
        )
    return accelerator


@contextmanager
def tracking(accelerator: Accelerator, settings: Settings, folder: Path) -> Iterator[None]:
    """Open the trackers of ``training.track`` in the run folder, offline, and close them after the block."""
    if not settings.training.track:
        yield
        return
    options = {}
    if "mlflow" in settings.training.track:
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # read on import
        import mlflow

        place = files.make_folder(folder.resolve() / "mlflow")
        mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
        options["mlflow"] = {"run_name": place.parent.name, "logging_dir": (place / "artifacts").as_uri()}
    tree = settings.model_dump(mode="json", exclude={"preset"})
    flat = {f"{section}.{name}": str(value) for section in tree for name, value in tree[section].items()}
    accelerator.init_trackers("gliomaseg", flat, options)
    try:
        yield
    finally:
        accelerator.end_training()


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
        if callable(handler):  # all is saved: now the signal has its usual effect
            handler(received[0], None)


def read_batches(patches: PatchDataset, numbers: Iterable[Sequence[int]], workers: int) -> Generator[Batch]:
    """Yield the patches of each sequence of numbers, stacked; read by this process without ``workers``.

    Use a batch before asking for the next: its memory is written again. Close the generator, also after an
    error: the workers ignore signals, and nothing else ends them.
    """
    yield from DataLoader(
        patches,
        batch_sampler=numbers,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_begin_worker,
        collate_fn=_Stack() if workers else None,
    )


def _begin_worker(_: int) -> None:
    """Use one thread, and leave signals to the training process: it saves first, then ends the workers."""
    torch.set_num_threads(1)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)


class _Stack:
    """Stacks patches in memory shared with the training process, in turn in the same few places.

    PyTorch's way, fresh memory for each batch, takes a fifth of the time of a patch, as the kernel clears
    it page by page. While a batch is being used, its worker can be no more than ``_AHEAD`` batches further.
    """

    def __init__(self) -> None:
        self._places: list[list[Tensor]] = []
        self._count = 0

    def __call__(self, patches: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
        parts = list(zip(*patches, strict=True))
        turn = self._count % (_AHEAD + 1)
        self._count += 1
        if turn == len(self._places):
            self._places.append([torch.stack(part).share_memory_() for part in parts])
            return self._places[turn]
        return [torch.stack(part, out=place) for part, place in zip(parts, self._places[turn], strict=True)]
