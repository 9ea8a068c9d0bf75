"""Options that several verbs share: one name, one meaning, one text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gliomaseg.cli.choices import SCHEMES, choice

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that gliomaseg did not write.")]
Scheme = Annotated[str | None, choice("--scheme", SCHEMES, "Label scheme; default: by file names.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0: one per core.")]
Data = Annotated[
    Path | None, typer.Option(help="Data set with the images (and references, if any), matched by case id.")
]
