"""What settings were called in older versions: still read in files, bundles, run folders and ``--set``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: By former name: the present name, and how many of the former units make one of the present.
FORMER: Mapping[str, tuple[str, float]] = {
    "prepare.even_out": ("prepare.bias_correction", 1),
    "network.auxiliary": ("network.deep_supervision", 1),
    "augment.pale": ("augment.lesion_contrast", 1),
    "augment.cut": ("augment.truncate_fov", 1),
    "training.faint_times": ("training.oversample_small_et", 1),
    "training.muon_times": ("training.muon_learning_rate_factor", 1),
    "segment.least_et_voxels": ("segment.min_et_ml", 1000),  # then all networks saw voxels of 1 mm
    "segment.least_part": ("segment.min_component_fraction", 1),
}


def with_present_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree of settings of any version with the names and units of this one."""
    renamed: dict[str, Any] = dict(tree)
    for section, values in tree.items():
        if isinstance(values, Mapping):
            renamed[section] = {}
            for name, value in values.items():
                path, units = FORMER.get(f"{section}.{name}", (f"{section}.{name}", 1))
                is_scaled = units != 1 and isinstance(value, int | float)
                renamed[section][path.partition(".")[2]] = value / units if is_scaled else value
    if isinstance(network := renamed.get("network"), dict) and network.get("name") == "unet2d":
        renamed["network"] = {"dimensions": 2, **network}  # 0.1.0 didn't store it
    return renamed
