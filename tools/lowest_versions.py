"""Prove that the lowest versions that pyproject.toml declares are enough: python tools/lowest_versions.py.

A throw-away environment gets exactly those, and the synthetic exam goes through every verb but train's. Newer
ones are what all other tests run with. Python 3.11 alone has builds of all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lowest() -> list[str]:
    """Return each dependency of the core and of [raw] at its lowest version, such as numpy==1.26."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["raw"]]
    return [re.sub(r">=", "==", requirement, count=1) for requirement in wanted]


def main() -> None:
    """Make the environment and run the verbs; exit with the code of the first that fails."""
    if sys.version_info[:2] != (3, 11):
        sys.exit(print("lowest versions: left out, as this is not Python 3.11"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv" / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *lowest()], check=True)
        out, exam = folder / "out", folder / "out" / "exam"
        for words in (
            ["--help"],
            ["demo", "-o", out],
            ["demo", "--raw", "-o", folder / "raw"],
            ["check", exam, "--deep"],
            ["segment", exam, "-o", folder / "maps", "--maps", "--quality", "standard"],
            ["segment", exam, "-o", folder / "seg.nii.gz", "--precision", "fp32", "--threads", "1"],
            ["report", folder / "maps", "-o", folder / "cohort.html"],
            ["evaluate", folder / "maps", exam, "-o", folder / "scores"],
            ["doctor"],
        ):
            command = [python, "-m", "gliomaseg", "--debug", *map(str, words)]
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                capture_output=True,
                text=True,
                check=False,
            )
            print(f"lowest versions: gliomaseg {words[0]}: exit {done.returncode}")
            if done.returncode:
                sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
