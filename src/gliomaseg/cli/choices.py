"""Choices of options, written out: importing them from the package would slow down every verb.

A test compares these lists with the package.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import typer

from gliomaseg.errors import UsageError

QUALITIES = ("fast", "standard", "best")
PRECISIONS = ("auto", "int8", "bf16", "fp32")
DEVICES = ("cpu", "cuda", "auto")
SCHEMES = ("brats2021", "brats2023", "brats2024", "brats2024-ped", "msd")
PRESETS = (
    *("attention_unet", "brain", "dynunet", "mednext", "residual_unet", "shipped", "smoke"),
    *("swin_unetr", "unet2d", "unet3d", "unet_plusplus", "unetr", "vnet"),
)
_TASKS = ("gli", "ssa", "ped", "men", "met")
RULES = (
    *(f"brats{year}" for year in range(2012, 2027)),
    *(f"brats{year}-{task}" for year in (2023, 2024) for task in _TASKS),
    "strict",
)


def choice(option: str, names: Sequence[str], text: str) -> Any:
    """Return a typer option that accepts one of ``names`` in any case, shows and completes them.

    Any other value is refused with UsageError (E-USAGE, E-PRESET), naming the option and the choices.
    """

    def check(value: str | None) -> str | None:
        if value is None or value.lower() in names:
            return value and value.lower()
        near = difflib.get_close_matches(value.lower(), names, n=1, cutoff=0.5)
        raise UsageError(
            "E-PRESET" if option == "--preset" else "E-USAGE",
            f"{option} {value}: there is no such choice",
            expected=f"one of {', '.join(names)}",
            remedy=f"did you mean {option} {near[0]}?" if near else f"give {option} one of them",
        )

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete.lower())]

    shown = f"[{'|'.join(names)}]"
    return typer.Option(option, metavar=shown, callback=check, autocompletion=complete, help=text)
