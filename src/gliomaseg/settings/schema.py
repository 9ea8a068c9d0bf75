"""Every setting, on one page: frozen and strict. Functions receive the section that they read."""

from __future__ import annotations

from collections.abc import Sized
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gliomaseg.labels import Modality, Region


class Section(BaseModel):
    """A group of settings, frozen and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0, le=1)]
Percentile = Annotated[float, Field(ge=0, le=100)]
Natural = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class PrepareSettings(Section):
    """From a volume to the input of a network."""

    clip_percentiles: tuple[Percentile, Percentile] = (0.1, 99.9)
    """Intensities inside the brain are clipped to these percentiles before the z-score."""
    bias_correction: Fraction = 0.0
    """Share of a smooth, left-right symmetric bias field that is removed (imaging/bias_field.py)."""
    spacing_mm: Positive = 1.0
    """Voxel size of the input; images within 0.8 to 1.25 times that along every axis are not resampled."""
    multiple: Natural = 16
    """The crop is padded to a multiple of this many voxels: the network's total stride."""


NetworkName = Literal["unet3d", "unet2d", "attention_unet", "unet_plusplus", "vnet", "residual_unet",
                      "dynunet", "unetr", "swin_unetr", "mednext"]  # fmt: skip


class NetworkSettings(Section):
    """The network's shape."""

    name: NetworkName = "unet3d"
    """unet3d works at half resolution inside (space-to-depth); unet2d is the original U-Net."""
    dimensions: Literal[2, 3] = 3
    """3: volumes; 2: axial slices. unet2d has 2 only, unet3d 3 only."""
    modalities: tuple[Modality, ...] = tuple(Modality)
    """Input channels, in this order."""
    regions: tuple[Region, ...] = tuple(Region)
    """Output channels, one sigmoid each; they overlap."""
    filters: tuple[Natural, ...] = (32, 64, 128, 192)
    """Channels at each level, from the finest; see training/network.py for exceptions."""
    deep_supervision: Fraction = 0.4
    """Weight of the loss of a coarser output (unet3d, dynunet), halved at each further one; 0: none."""
    window: tuple[Natural, ...] | None = None
    """Size of every input, (x, y, z) or (x, y), where a network has a fixed one (transformers); null: any."""


class AugmentSettings(Section):
    """Chances and strengths of training-time augmentation."""

    flip: Fraction = 0.5
    """Chance of mirroring along each axis."""
    affine: Fraction = 0.35
    """Chance of rotating and scaling a patch."""
    rotate_degrees: float = 20.0
    """Largest rotation about each axis."""
    scale: tuple[float, float] = (0.78, 1.28)
    """Range of the scaling factor."""
    elastic: Fraction = 0.0
    """Chance of an elastic deformation."""
    elastic_voxels: float = Field(4.0, ge=0)
    """Largest elastic displacement, in voxels along each axis."""
    paste: Fraction = 0.0
    """Chance of pasting the tumour of another training case into a patch."""
    lesion_contrast: Fraction = 0.0
    """Chance of lowering the contrast of a tumour to the brain in every sequence."""
    drop_modality: Fraction = 0.0
    """Chance of dropping one or more sequences, so that the network supports missing sequences."""
    drop_shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = None
    """Chance of each sequence to be among those dropped, given that not all or none are; null: 0.5 each."""
    truncate_fov: Fraction = 0.0
    """Chance that one of several sequences ends at a plane, as with a field of view that is too small."""
    thick_slices: Fraction = 0.0
    """Chance of thick slices in some sequences or in all, interpolated back to the grid of the case."""
    thick_voxels: tuple[Annotated[float, Field(ge=1)], Annotated[float, Field(ge=1)]] = (3.0, 6.0)
    """Range of their thickness in voxels."""
    misregister: Fraction = 0.0
    """Chance of a rigid shift and rotation of every sequence except T1 contrast (or else the first)."""
    misregister_voxels: float = Field(2.0, ge=0)
    """Largest shift of a misregistered sequence."""
    misregister_degrees: float = Field(3.0, ge=0)
    """Largest rotation of a misregistered sequence."""
    mask_errors: Fraction = 0.0
    """Chance of a wrong brain mask that lacks a rim, a piece of the surface, or all beyond a plane."""
    intensity: Fraction = 0.5
    """Chance, per channel, of a change of brightness, contrast and gamma."""
    brightness: float = 0.3
    """Largest shift, in standard deviations of the brain."""
    contrast: tuple[float, float] = (0.75, 1.3)
    """Range of the contrast factor."""
    gamma: tuple[float, float] = (0.7, 1.5)
    """Range of the exponent applied to intensities scaled to 0..1."""
    contrast_curve: Fraction = 0.0
    """Chance, per channel, of a random monotone intensity curve, as from another scanner's contrast."""
    bias: Fraction = 0.2
    """Chance, per channel, of a smooth bias field."""
    bias_strength: float = Field(0.3, ge=0)
    """Largest logarithm of the bias field."""
    noise: float = 0.1
    """Largest standard deviation of added Gaussian noise, in standard deviations of the brain."""
    noise_chance: Fraction = 0.3
    """Chance of noise."""
    blur: Fraction = 0.15
    """Chance, per channel, of Gaussian blur or of simulated low resolution."""


LossName = Literal["dice", "dice_ce", "generalised_dice", "tversky", "focal", "dice_focal", "focal_tversky"]


class TrainingSettings(Section):
    """How a network is trained."""

    loss: LossName = "dice_ce"
    """The loss; each is defined in training/loss.py."""
    target: Literal["regions", "classes"] = "regions"
    """regions: one sigmoid for each (they overlap); classes: a softmax over background, NCR, ED, ET."""
    dice_over: Literal["batch", "sample"] = "batch"
    """Dice sums over all patches of a step, or is the mean over patches."""
    region_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Weight of each region's loss, in the order of network.regions; with classes, of NCR, ED, ET."""
    patch: tuple[Natural, ...] = (96, 96, 96)
    """Patch size in voxels, (x, y, z) or (x, y)."""
    batch: Natural = 2
    """Patches per step, over all processes together."""
    steps: Natural = 4000
    """Length of the training; the learning rate falls to 0 over it."""
    hours: float | None = Field(None, gt=0)
    """If given, stop after this time of training; the learning rate falls to 0 over it."""
    pause_at: int | None = Field(None, ge=1)
    """Pause after this step, with a checkpoint: resume the run without it, or with a later one."""
    schedule: Literal["poly", "cosine", "trapezoid", "plateau"] = "poly"
    """How the learning rate falls; plateau halves it after every ``patience`` validations without gain."""
    decay_share: Fraction = 0.2
    """The last share of the training over which the schedule trapezoid falls; it is constant until then."""
    patience: Natural = 10
    """Validations without a better mean Dice that count as a plateau."""
    early_stop: bool = False
    """End the training at a plateau (with the schedule plateau: at the fifth)."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """muon updates matrices (all weights of convolutions) its own way, the rest like adamw."""
    learning_rate: float = Field(1.5e-3, gt=0)
    """Peak learning rate of AdamW."""
    muon_learning_rate_factor: float = Field(20.0, gt=0)
    """Learning rate of Muon's matrices, as a multiple of ``learning_rate``."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay of either."""
    warmup_steps: int = Field(50, ge=0)
    """Steps over which the learning rate rises from 0."""
    clip_gradient: float = Field(12.0, gt=0)
    """Largest norm of the gradient (12: nnU-Net's)."""
    ema: Fraction = 0.995
    """Decay per step of the EMA of the weights, which is validated and exported."""
    centre_on: tuple[float, float, float] = (0.45, 0.35, 0.2)
    """Chances that a patch is centred on the tumour core, on the whole tumour, anywhere in the brain."""
    oversample_small_et: Natural = 1
    """Factor on the number of patches from cases with at most 1 ml of enhancing tumour."""
    folds: int = Field(4, ge=2)
    """Number of folds into which the patients are split."""
    fold: int | None = 0
    """The fold held out for validation; null trains on every case."""
    held_out: tuple[str, ...] | None = None
    """If given, the patients held out, instead of a fold: such folds stay when patients are added."""
    max_patients: Natural | None = None
    """If given, use at most this many patients, the first by name."""
    fractions: tuple[Fraction, Fraction, Fraction] | None = None
    """If given, shares of patients for training, validation and a test set, instead of folds."""
    validate_minutes: float = Field(15.0, gt=0)
    """Minutes between validations on whole held-out cases."""
    checkpoint_minutes: float = Field(2.0, gt=0)
    """Minutes between checkpoints."""
    workers: int = Field(1, ge=0)
    """Processes that read and augment patches; 0 does it in the training process."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 is about twice as fast where the CPU has it; auto checks it against fp32 first."""
    init_from: str | None = None
    """Initial weights: shipped, the folder of a bundle, or that of a run; null: random ones."""
    track: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Trackers of the log besides history.csv and curves.png; each needs the extra of its name."""
    seed: int = 0
    """Seed of weights, order, patches and augmentation."""


class InferenceSettings(Section):
    """How a trained network is used."""

    precision: Literal["auto", "int8", "bf16", "fp32"] = "auto"
    """auto is int8 where the bundle and the CPU support it, else bf16 where the CPU does, else fp32."""
    quality: Literal["fast", "standard", "best"] = "fast"
    """fast: one look; standard: a closer one around what was found; best: eight, in mirror images."""
    threads: int = Field(0, ge=0)
    """CPU threads of the network; 0: one for each core."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """cuda needs PyTorch; auto is cuda where there is an NVIDIA GPU and PyTorch for it, else cpu."""
    window_voxels: Natural = 12_000_000
    """Largest window in voxels; larger brains are tiled (a BraTS brain has about 4 million)."""
    max_memory_gb: float | None = Field(None, gt=0)
    """If given, windows are small enough for the process to stay below it; else for the free memory."""


class SegmentSettings(Section):
    """From probabilities to labels."""

    thresholds: tuple[Fraction, ...] = (0.5, 0.5, 0.5)
    """A voxel is in a region above this probability, in the order of network.regions."""
    min_et_ml: float = Field(0.1, ge=0)
    """Less enhancing tumour than this in the whole case becomes non-enhancing core."""
    min_component_fraction: Fraction = 0.0
    """Components of the outermost region smaller than this share of the largest one are removed."""
    refine: float = Field(0.0, ge=0)
    """Weight of the boundary refinement by the case's own intensities (inference/boundaries.py); 0: none."""
    temperatures: tuple[Positive, ...] | None = None
    """Temperature of each region, by which its logits are divided (calibration); null: 1."""
    dice_lines: tuple[tuple[float, float] | None, ...] | None = None
    """For each region (a, b): predicted Dice = a + b x Dice of a strict with a generous mask; null: none."""
    volume_widths: tuple[Positive | None, ...] | None = None
    """Width of each region's volume interval, an exponent (inference/uncertainty.py); null: no interval."""


class Settings(Section):
    """The whole tree; saved with every run, bundle and result."""

    preset: str = "unet3d"
    """The preset that these settings are based on."""
    prepare: PrepareSettings = PrepareSettings()
    network: NetworkSettings = NetworkSettings()
    augment: AugmentSettings = AugmentSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    segment: SegmentSettings = SegmentSettings()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what users of a network with these settings must know; shown with its run, plan and card."""
        return ("a smoke test: the network has learned nothing",) if self.preset == "smoke" else ()

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        network = self.network
        per_region = ("thresholds", "temperatures", "dice_lines", "volume_widths")
        lengths: dict[str, tuple[Sized | None, int]] = {
            "training.region_weights": (self.training.region_weights, len(network.regions)),
            **{f"segment.{n}": (getattr(self.segment, n), len(network.regions)) for n in per_region},
            "augment.drop_shares": (self.augment.drop_shares, len(network.modalities)),
            "training.patch": (self.training.patch, network.dimensions),
            "network.window": (network.window, network.dimensions),
        }
        for name, (values, wanted) in lengths.items():
            if values is not None and len(values) != wanted:
                raise ValueError(f"{name} has {len(values)} values, network needs {wanted}")
        self._check_network()
        return self

    def _check_network(self) -> None:
        only = {"unet2d": 2, "unet3d": 3}.get(self.network.name, self.network.dimensions)
        if self.network.dimensions != only:
            raise ValueError(f"network {self.network.name} has {only} dimensions only")
        if self.network.window and self.network.window != self.training.patch:
            raise ValueError("network.window and training.patch differ")
        if self.training.target == "classes" and set(self.network.regions) != set(Region):
            raise ValueError("training.target classes needs all three regions")
