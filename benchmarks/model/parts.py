"""Print what the shipped model's rule for separate parts would leave out of the experts' own whole tumours.

    python benchmarks/model/parts.py ../shared/data/brats

The rule (``segment.min_component_fraction``) is chosen by cross-validation, where it removes false
components; this is its price.
"""

from __future__ import annotations

import sys

import numpy as np

from gliomaseg import find_cases
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.postprocess import label_regions
from gliomaseg.labels import Region


def main() -> None:
    """Give the experts' regions to the product's own rule as probabilities of 0 and 1."""
    settings, cases = Bundle.load().settings, find_cases(sys.argv[1])
    print(
        f"components below {settings.segment.min_component_fraction:.0%} of the largest, "
        f"{len(cases)} cases; lost of WT:"
    )
    for case in cases:
        reference = read_labels(case.reference, case.scheme)
        sure = np.stack([reference.mask(Region(r)) for r in settings.network.regions]).astype(np.float32)
        kept = np.count_nonzero(case.scheme.mask(label_regions(sure, settings, case.scheme), Region.WT))
        lost = 1 - kept / max(1, np.count_nonzero(reference.mask(Region.WT)))
        if lost >= 0.005:
            print(f"{case.id} {lost:.1%}")


if __name__ == "__main__":
    main()
