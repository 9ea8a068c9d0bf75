"""From a prepared image to probabilities: the network, the second pass, the boundary refinement."""

from __future__ import annotations

from gliomaseg.inference.boundaries import refine
from gliomaseg.inference.engine import Engine
from gliomaseg.inference.second_pass import second_pass
from gliomaseg.inference.window import Array, infer
from gliomaseg.settings.schema import Settings


def predict(image: Array, engine: Engine, settings: Settings) -> Array:
    """Return probabilities (region, x, y, z) of a prepared image (modality, x, y, z).

    ``inference.quality`` decides on the second pass: fast has none. ``segment.refine`` is the weight of the
    boundary refinement, 0 for none.
    """
    probabilities = infer(image, engine, settings)
    if settings.inference.quality != "fast":
        second_pass(probabilities, image, engine, settings)
    refine(probabilities, image, settings)
    return probabilities
