"""Quantise a bundle's network again, calibrated on cases that it was trained on; all else stays.

    python tools/renew_int8.py src/gliomaseg/assets/model ../shared/data/brats --cache runs/cache

What int8 costs in Dice was measured in cross-validation and is kept: measure it again for a new quantiser.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gliomaseg import find_cases
from gliomaseg.inference.bundle import Bundle, seal
from gliomaseg.training.cache import prepare_cases
from gliomaseg.training.quantise import add_int8
from gliomaseg.training.split import Split


def main() -> None:
    """Write int8.xml and int8.bin, and seal the bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    seen = set(bundle.about["trained_on"])
    cases = [case for case in find_cases(options.data) if case.id in seen]
    prepare_cases(cases, bundle.settings, options.cache, lambda _fraction, _text: None)
    said = add_int8(bundle, Split(tuple(case.id for case in cases), ()), options.cache)
    kept = {**bundle.about["int8"], "calibrated_on": said["calibrated_on"]}
    seal(bundle.folder, {**bundle.about, "int8": kept})


if __name__ == "__main__":
    main()
