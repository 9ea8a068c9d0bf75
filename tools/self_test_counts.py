"""Store what the shipped model finds in the synthetic exam, in fp32: python tools/self_test_counts.py.

To be run again whenever the shipped model or the phantom changes; ``gliomaseg doctor`` compares with it.
"""

import json
from pathlib import Path

from gliomaseg.cli.examine import segment_phantom
from gliomaseg.segmenter import Segmenter

STORED = Path(__file__).parents[1] / "src" / "gliomaseg" / "assets" / "self-test.json"

if __name__ == "__main__":
    segmenter = Segmenter.load(precision="fp32")
    stored = {"model": segmenter.bundle.sha256, "voxels": segment_phantom(segmenter)[0]}
    STORED.write_text(json.dumps(stored) + "\n", encoding="utf-8")
