"""From a trained run to a bundle: OpenVINO IR, proven to agree with PyTorch."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gliomaseg import __version__, files
from gliomaseg.config import InferenceSettings, Settings
from gliomaseg.errors import ModelError, OutputError
from gliomaseg.inference.bundle import Bundle, seal
from gliomaseg.inference.engine import Engine, load_openvino
from gliomaseg.learning.network import build_network, count_parameters
from gliomaseg.learning.quantise import add_int8
from gliomaseg.learning.run import Run, averaged_weights, load_weights
from gliomaseg.learning.target import channel_count, probabilities

#: Largest difference of a probability between the exported network (weights stored as fp16,
#: computed in fp32) and PyTorch in fp32.
_TOLERANCE = 0.02


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def forward(self, image: Tensor) -> Tensor:
        return probabilities(self.network(image)[0], self.settings)


def export(
    run: Run,
    folder: Path,
    *,
    name: str | None = None,
    card: str = "",
    int8: Path | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Bundle:
    """Write the averaged network of ``run`` as a bundle into a new ``folder``.

    ``int8`` is the folder of the run's prepared cases; when given, the network is added in 8-bit numbers.
    Raises OutputError (E-EXISTS), ModelError (E-MODEL) when the export differs from PyTorch, and what
    ``quantise.add_int8`` raises.
    """
    _require_new(folder)
    network = build_network(run.settings.network, channel_count(run.settings))
    load_weights(network, averaged_weights(run))
    network.eval()
    with tempfile.TemporaryDirectory(prefix=files.draft_prefix(), dir=folder.parent) as temporary:
        draft = Path(temporary) / "bundle"
        draft.mkdir()
        about = _about(run, network, name or run.folder.resolve().name)
        _write_network(network, run, draft)
        files.write_json(draft / "settings.json", run.settings.model_dump(mode="json"))
        files.write_text(draft / "card.md", card or _card(about))
        about["difference_from_pytorch"] = _compare(network, run, draft, about)
        if int8:
            unsealed = Bundle(draft, run.settings, "", about | {"int8": {}})
            about["int8"] = add_int8(unsealed, run.read_split(), int8, progress=progress)
        seal(draft, about)
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    return Bundle.load(folder)


def _require_new(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(
            "E-EXISTS",
            f"{folder} is there already and is no empty folder",
            expected="a new folder for the bundle",
            remedy="choose another folder with -o, or remove it",
        )
    files.make_folder(folder.parent)


def _write_network(network: nn.Module, run: Run, folder: Path) -> None:
    openvino: Any = load_openvino()
    settings = run.settings.network
    example = torch.zeros(_example_shape(run))
    dynamic = [-1 if settings.dimensions == 2 else 1, len(settings.modalities)] + [-1] * settings.dimensions
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces with torch.jit, which warns that other shapes may differ: _compare proves one.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        model = openvino.convert_model(
            _Probabilities(network, run.settings), example_input=example, input=openvino.PartialShape(dynamic)
        )
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=True)


def _example_shape(run: Run) -> tuple[int, ...]:
    network = run.settings.network
    sizes = (64, 48, 32)[: network.dimensions]
    return (1 if network.dimensions == 3 else 2, len(network.modalities), *sizes)


def _compare(network: nn.Module, run: Run, folder: Path, about: dict[str, Any]) -> float:
    """Return the largest difference from PyTorch on a random image of another shape than the example."""
    shape = tuple(n + 16 * (i > 1) for i, n in enumerate(_example_shape(run)))
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = _Probabilities(network, run.settings)(image).numpy()
    bundle = Bundle(folder, run.settings, "", about)
    got = Engine(bundle, InferenceSettings(precision="fp32")).run(image.numpy())
    difference = float(np.abs(got - expected).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            "E-MODEL",
            f"the exported network differs from PyTorch by {difference:.3g}",
            expected=f"at most {_TOLERANCE}",
            remedy="report it with the run's settings.json: the export is not to be trusted",
        )
    return difference


def _about(run: Run, network: nn.Module, name: str) -> dict[str, Any]:
    history = run.read_history().rows
    scored = next((row for row in reversed(history) if row.dice), None)
    split = run.read_split()
    return {
        "name": name,
        "gliomaseg": __version__,
        "created": datetime.now(UTC).date().isoformat(),
        "parameters": count_parameters(network),
        "trained_on": list(split.train),
        "steps": history[-1].step if history else 0,
        "hours": round(history[-1].minutes / 60, 2) if history else 0,
        "held_out": {
            "cases": list(split.validation),
            "dice": {region.value: score for region, score in scored.dice.items()} if scored else None,
        },
    }


def _card(about: dict[str, Any]) -> str:
    dice = about["held_out"]["dice"]
    scores = ", ".join(f"{k.upper()} {v:.3f}" for k, v in dice.items()) if dice else "not measured"
    return (
        f"# {about['name']}\n\n"
        "Outlines brain tumours in pre-operative MRI. Research use only: not a medical device.\n\n"
        f"- Trained by gliomaseg {about['gliomaseg']} on {len(about['trained_on'])} cases, "
        f"{about['steps']} steps, {about['hours']} hours.\n"
        f"- Mean Dice on {len(about['held_out']['cases'])} held-out cases, BraTS 2020's rule: {scores}.\n"
        f"- {about['parameters']:,} parameters.\n"
    )
