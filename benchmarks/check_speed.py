"""Time ``gliomaseg check`` on 1000 case folders by their headers: python benchmarks/check_speed.py."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gliomaseg.imaging.phantom import make_phantom, write_phantom

CASES = 1000


def main() -> None:
    """Make the folders (links to the synthetic exam of 240 x 240 x 155 voxels) and time the command."""
    with tempfile.TemporaryDirectory() as home:
        source = write_phantom(make_phantom("full"), Path(home, "source"), case_id="x")
        for number in range(CASES):
            folder = Path(home, "data", f"case-{number:04}")
            folder.mkdir(parents=True)
            for file in source.glob("*.nii.gz"):
                os.link(file, folder / file.name.replace("x_", f"{folder.name}_", 1))
        command = [sys.executable, "-m", "gliomaseg", "check", str(Path(home, "data")), "--json"]
        seconds, before = [], os.times()
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        after = os.times()
    low, median, high = sorted(seconds)
    used = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{CASES} cases of 5 files: {median:.1f} s ({low:.1f} to {high:.1f}), median of 3; ", end="")
    print(f"{used / 3:.1f} s of processor time each")


if __name__ == "__main__":
    main()
