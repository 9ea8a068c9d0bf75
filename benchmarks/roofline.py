"""The least time this machine could need: operations of the network over the peak rate of its convolutions.

The peak is what the engine's own convolution reaches in a network of nothing else, with the same precision
and threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gliomaseg.inference.openvino_engine import OpenVinoEngine, core, load_openvino

#: The convolutions that the peak is measured on: so many in a row, 128 channels, 3x3x3, on so many voxels.
_DEPTH, _CHANNELS, _SIDES = 4, 128, (36, 44, 36)


def operations(engine: OpenVinoEngine, shape: tuple[int, ...]) -> float:
    """Return the multiplications and additions of the convolutions for a window (batch, modality, *space)."""
    model = core().read_model(engine.network)
    model.reshape(list(shape))
    total = 0.0
    for op in model.get_ordered_ops():
        if op.get_type_name() in ("Convolution", "ConvolutionBackpropData"):
            forward = op.get_type_name() == "Convolution"
            places = list(op.output(0).get_shape() if forward else op.input(0).get_shape())[2:]
            total += 2.0 * math.prod(op.input(1).get_shape()) * math.prod(places) * shape[0]
    return total


def peak_rate(engine: OpenVinoEngine) -> float:
    """Return operations per second of the engine's convolutions, the best of several runs."""
    compiled = core().compile_model(_convolutions(engine.precision == "int8"), "CPU", engine.options)
    image = np.random.default_rng(0).uniform(-1, 1, (1, _CHANNELS, *_SIDES)).astype(np.float32)
    per_run = 2.0 * _DEPTH * 27 * _CHANNELS**2 * math.prod(_SIDES)
    return per_run / fastest(lambda: compiled({0: image}, share_inputs=True))


def fastest(run: Callable[[], Any], times: int = 7) -> float:
    """Return the least seconds that a call takes."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _convolutions(quantised: bool) -> Any:
    openvino = load_openvino()
    ops = openvino.opset13
    image = found = ops.parameter([1, _CHANNELS, *_SIDES], np.float32)
    rng = np.random.default_rng(0)
    for _ in range(_DEPTH):
        weights = ops.constant(rng.uniform(-0.02, 0.02, (_CHANNELS, _CHANNELS, 3, 3, 3)).astype(np.float32))
        if quantised:
            found = ops.fake_quantize(found, *(np.float32(v) for v in (-1, 1, -1, 1)), 256)
            weights = ops.fake_quantize(weights, *(np.float32(v) for v in (-0.02, 0.02, -0.02, 0.02)), 255)
        found = ops.convolution(found, weights, [1] * 3, [1] * 3, [1] * 3, [1] * 3)
    return openvino.Model([found], [image])
