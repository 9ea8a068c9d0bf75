"""nnU-Net's own predictor on one case, its BraTS 3d_fullres network with random weights.

    .venv/bin/python nnunet.py CASE_FOLDER OUTPUT --threads 2 [--mirror]

Time does not depend on the weights. Architecture, patch and normalisation are those that nnU-Net plans for
BraTS 2021 at 1 mm: six stages of two convolutions, 32 to 320 features, instance norm, 128^3 patches that
overlap by half.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

NAMES = ("t1", "t1ce", "t2", "flair")
STAGES = 6
PLANS = {
    "dataset_name": "Dataset001_BraTS",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
    "original_median_shape_after_transp": [140, 171, 137],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "experiment_planner_used": "ExperimentPlanner",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {str(i): {} for i in range(len(NAMES))},
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": [128, 128, 128],
            "median_image_size_in_voxels": [140.0, 171.0, 137.0],
            "spacing": [1.0, 1.0, 1.0],
            "normalization_schemes": ["ZScoreNormalization"] * 4,
            "use_mask_for_norm": [True] * 4,
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {
                "is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None,
            },
            "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {
                "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None,
            },
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": STAGES,
                    "features_per_stage": [32, 64, 128, 256, 320, 320],
                    "conv_op": "torch.nn.modules.conv.Conv3d",
                    "kernel_sizes": [[3, 3, 3]] * STAGES,
                    "strides": [[1, 1, 1], *[[2, 2, 2]] * (STAGES - 1)],
                    "n_conv_per_stage": [2] * STAGES,
                    "n_conv_per_stage_decoder": [2] * (STAGES - 1),
                    "conv_bias": True,
                    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
            "batch_dice": True,
        }
    },
}  # fmt: skip
DATASET = {
    "channel_names": {str(i): name for i, name in enumerate(NAMES)},
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
    "regions_class_order": [1, 2, 3],
    "numTraining": 1251,
    "file_ending": ".nii.gz",
}


def main() -> None:
    """Segment one case with nnU-Net's predictor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mirror", action="store_true")
    options = parser.parse_args()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, tempfile.gettempdir())  # it warns where they are not set
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    predictor = nnUNetPredictor(
        use_mirroring=options.mirror,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    manager = PlansManager(json.loads(json.dumps(PLANS)))
    plan = manager.get_configuration("3d_fullres")
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network = get_network_from_plans(
        plan.network_arch_class_name,
        plan.network_arch_init_kwargs,
        plan.network_arch_init_kwargs_req_import,
        4,
        3,
        deep_supervision=False,
    )
    print(f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f} million parameters", file=sys.stderr)
    predictor.manual_initialization(
        network, manager, plan, [network.state_dict()], DATASET, "nnUNetTrainer", (0, 1, 2)
    )
    files = [str(next(options.case.glob(f"*_{name}.nii*"))) for name in NAMES]
    options.output.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(
        [files], [str(options.output / "seg.nii.gz")], save_probabilities=False, overwrite=True
    )


if __name__ == "__main__":
    main()
