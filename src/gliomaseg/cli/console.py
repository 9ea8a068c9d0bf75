"""Output: messages and progress to stderr, data to stdout.

A terminal gets a progress bar with the time left, anything else a plain line every half minute.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gliomaseg.errors import GliomasegError, exit_code, strip_folders
from gliomaseg.storage import files
from gliomaseg.storage.tables import json_text, printable

#: Seconds between progress lines without a terminal.
_QUIET_SECONDS = 30.0


def echo(text: str) -> None:
    """Write a line to stderr; if stderr is gone, the work goes on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(printable(text, lines=True) + "\n")
        sys.stderr.flush()


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        echo(self.format(record))


def show_log() -> None:
    """Show what the package logs on stderr. Calling it again changes nothing."""
    logger = logging.getLogger("gliomaseg")
    if not any(isinstance(handler, _Echo) for handler in logger.handlers):
        logger.addHandler(_Echo())
        logger.setLevel(logging.INFO)


def show_error(error: GliomasegError) -> None:
    """Write an error in three lines (what, expected, remedy), with --debug after its traceback.

    With --log FILE the traceback is appended to that file, without folder names.
    """
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    if _log:
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        with (
            contextlib.suppress(OSError),
            _log[0].open("a", encoding="utf-8", errors="backslashreplace") as stream,
        ):
            stream.write(f"{when}\n{strip_folders(''.join(traceback.format_exception(error)))}\n")
    echo(str(error))


_log: list[Path] = []


def keep_log(path: Path) -> None:
    """Append the tracebacks of errors to a file from now on; raises OutputError if it can't be written."""
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise files.output_error(error, path) from error
    _log[:] = [path]


def end(failed: int, cases: int) -> None:
    """Raise SystemExit where cases failed: 1 for all of them, 3 for some of several."""
    if code := exit_code(failed, cases):
        raise SystemExit(code)


def show_json(content: object) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json_text(content) + "\n")


def show_table(rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Write a table to stdout, first row the header, numbers aligned right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    header, *body = rows
    table = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for index, name in enumerate(header):
        is_number = bool(body) and all(_is_number(row[index]) for row in body)
        table.add_column(Text(printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in body:
        table.add_row(*[Text(printable(cell)) for cell in row])
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] in "-–"


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """On Ctrl-C or SIGTERM, report that finished work is kept and how to resume.

    SIGTERM ends the block as Ctrl-C does, so that it cleans up; the exit code is then 143.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if is_main else None
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        echo("stopped; what is finished is kept: the same command again goes on from there")
        raise
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


class Terminated(SystemExit):
    """SIGTERM."""


def _terminate(*_: object) -> None:
    raise Terminated(128 + signal.SIGTERM)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[float, str], None]]:
    """Yield a function of (fraction done, text) that shows progress on stderr."""
    if sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield _lines()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        BarColumn(24),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=printable(text))


def _lines() -> Callable[[float, str], None]:
    last = -_QUIET_SECONDS
    begun: tuple[float, float] | None = None  # time and fraction of the first progress

    def update(fraction: float, text: str) -> None:
        nonlocal last, begun
        now = time.monotonic()
        if begun is None and fraction > 0:
            begun = now, fraction
        if now - last < _QUIET_SECONDS:
            return
        left = ""
        if begun and fraction - begun[1] > 0.005:
            seconds = (now - begun[0]) * (1 - fraction) / (fraction - begun[1])
            left = f", {seconds / 60:.0f} min left" if seconds > 90 else f", {seconds:.0f} s left"
        echo(f"{100 * fraction:3.0f} %{left}  {text}")
        last = now

    return update
