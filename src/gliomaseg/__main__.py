"""The command ``gliomaseg``, and ``python -m gliomaseg``."""

from __future__ import annotations

import contextlib
import os
import sys

from gliomaseg.cli import main


def run() -> None:
    """Run the command line, and end at once when all went well.

    All files are closed by then, and unloading OpenVINO takes more than a tenth of a second. Where PyTorch
    was loaded the interpreter ends as usual: its readers and logs have ends of their own.
    """
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    if "torch" not in sys.modules:
        with contextlib.suppress(OSError):  # then the interpreter ends as usual, and tells of it
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            os._exit(0)


if __name__ == "__main__":
    run()
