"""The command line: one function per verb.                                  [door: typer]"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliomaseg import console
from gliomaseg.errors import GliomasegError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _root() -> None:
    """Outline brain tumours in MRI. Research use only: not a medical device."""


@app.command()
def train(
    data: Path,
    output: Annotated[Path, typer.Option("--output", "-o")],
    preset: str = "unet3d",
    changes: Annotated[list[str], typer.Option("--set")] = [],
    cache: Path | None = None,
) -> None:
    """Train a network."""
    from gliomaseg.config import load_settings
    from gliomaseg.imaging.case import find_cases
    from gliomaseg.learning.training import train as train_network

    with console.progress() as progress:
        train_network(find_cases(data), output, load_settings(preset, changes), cache=cache, progress=progress)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except GliomasegError as error:
        console.show_error(error)
        raise SystemExit(error.exit_code) from None
