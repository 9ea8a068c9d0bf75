#!/bin/sh
# Make the peers' own environment in benchmarks/peers/.venv: they are never dependencies of gliomaseg.
# PyTorch is named first, so that its CPU build is what gets installed where one is at hand. nnU-Net's packages
# come without their dependencies: those would bring torchvision, and with it a CUDA PyTorch.
set -e
cd "$(dirname "$0")"
${PYTHON:-python3} -m venv .venv
.venv/bin/python -m pip install --quiet torch==2.13.0
.venv/bin/python -m pip install --quiet --no-deps nnunetv2==2.8.1 dynamic-network-architectures==0.4.4 \
    acvl-utils==0.2.6 batchgenerators==0.25.5 batchgeneratorsv2==0.3.6
.venv/bin/python -m pip install --quiet torch==2.13.0 monai==1.6.1 nibabel SimpleITK scipy scikit-image scikit-learn \
    tqdm einops pandas matplotlib seaborn threadpoolctl blosc2 requests tifffile imagecodecs yacs graphviz
