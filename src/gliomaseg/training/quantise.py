"""The network in 8-bit numbers: calibrated on training cases, measured on held-out ones, with NNCF.

Post-training quantisation: the range of each activation comes from whole prepared brains, as at inference,
and the bias of each layer is corrected with all earlier layers in 8 bits. On the eight cases in which the
shipped network is least certain, probabilities near the border of a region then differ from fp32 by 0.012 on
average; with NNCF's default ranges and its fast bias correction by 0.026, and the whole tumour is too small.
The first and the last convolution stay in floating point: their inputs and outputs, z-scores and logits, have
long tails. On the 12 held-out cases of the shipped model, patches instead of whole brains cost 0.4 points of
whole-tumour Dice, and quantising those two layers 0.1 points of enhancing-tumour Dice.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gliomaseg.errors import SettingsError
from gliomaseg.imaging.prepare import Image
from gliomaseg.inference.bundle import INT8, Bundle
from gliomaseg.inference.openvino_engine import OpenVinoEngine, core, load_openvino
from gliomaseg.labels import Region
from gliomaseg.settings.schema import InferenceSettings, Settings
from gliomaseg.training.cache import PreparedCase, find_prepared
from gliomaseg.training.history import mean_scores
from gliomaseg.training.process import Progress, no_progress
from gliomaseg.training.split import Split
from gliomaseg.training.validation import validate, with_room

#: Whole brains to calibrate on, at most; slices of each, if the network takes slices.
_BRAINS = 20
_SLICES = 16
#: Share of each activation's values that may be clipped at either end: 256 steps over the full range are too
#: coarse, and 1e-4 clips values of bright images.
_CLIPPED = 1e-5


def add_int8(draft: Bundle, cases: Split, cache: Path, *, progress: Progress = no_progress) -> dict[str, Any]:
    """Write int8.xml and int8.bin into the unfinished bundle, and return their record.

    ``cache`` holds the run's prepared cases. The change in Dice is that of whole held-out cases from fp32;
    without such cases it is None, and the network is used only on request. Raises TrainingError (E-RUN) when
    a case is not in the cache, SettingsError (E-EXTRA) without NNCF.
    """
    step = -(-len(cases.train) // _BRAINS)
    brains = [find_prepared(case, draft.settings, cache) for case in cases.train[::step]]
    held_out = [find_prepared(case, draft.settings, cache) for case in cases.validation]
    progress(0, f"calibrating int8 on {len(brains)} cases")
    _quantise(draft, brains)
    whole = _dice(draft, "fp32", held_out, lambda f, text: progress(0.6 + 0.25 * f, text))
    short = _dice(draft, "int8", held_out, lambda f, text: progress(0.85 + 0.15 * f, text))
    change = {region: round(short[region] - whole[region], 5) for region in whole}
    return {"calibrated_on": len(brains), "cases": len(held_out), "dice_change": change or None}


def _quantise(draft: Bundle, cases: Sequence[PreparedCase]) -> None:
    load_openvino()  # first: it turns NNCF's telemetry off, too
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise SettingsError(
            "E-EXTRA",
            f"int8 needs {error.name}, which is not installed",
            expected="the extra [train]",
            remedy='pip install ".[train]" in the folder of gliomaseg',
        ) from error
    nncf.set_log_level(logging.ERROR)
    known = nncf.quantization.range_estimator
    end = known.StatisticsCollectorParameters(  # the mean over cases, outliers clipped in each
        statistics_type=known.StatisticsType.QUANTILE,
        aggregator_type=known.AggregatorType.MEAN,
        quantile_outlier_prob=_CLIPPED,
    )
    model = core().read_model(draft.network("fp32"))
    layers = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # NNCF's, about optional libraries
        small = nncf.quantize(
            model,
            nncf.Dataset(list(cases), lambda case: _input(case, draft.settings)),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=[layers[0], layers[-1]]),
            subset_size=len(cases),
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=known.RangeEstimatorParameters(min=end, max=end)
            ),
        )
    load_openvino().save_model(small, draft.folder / INT8[0], compress_to_fp16=True)


def _input(case: PreparedCase, settings: Settings) -> Image:
    room, _ = with_room(case.image, settings)
    if settings.network.dimensions == 3:
        return room[None]
    steps = np.linspace(0, room.shape[-1] - 1, _SLICES).round().astype(int)
    return np.ascontiguousarray(np.moveaxis(room[..., steps], -1, 0))


def _dice(
    draft: Bundle, precision: Literal["int8", "fp32"], cases: Sequence[PreparedCase], progress: Progress
) -> dict[Region, float]:
    """Return the mean Dice of each region over whole cases; empty without cases."""
    engine = OpenVinoEngine(draft, InferenceSettings(precision=precision))
    scores = []
    for number, case in enumerate(cases):
        progress(number / len(cases), f"{precision}: {case.id}")
        scores.append(validate(engine, case, draft.settings))
    means = mean_scores(scores) if scores else {}
    return {r: means[f"dice_{r}"] for r in draft.settings.network.regions if scores}
