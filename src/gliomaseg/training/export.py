"""Export of trained runs to a bundle: OpenVINO IR, compared with PyTorch.

Several runs, such as the folds of one, become one network whose output is the mean of their probabilities.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from gliomaseg import __version__
from gliomaseg.errors import ModelError, OutputError
from gliomaseg.inference.bundle import ONNX, WEIGHTS, Bundle, seal
from gliomaseg.inference.openvino_engine import OpenVinoEngine, core, load_openvino
from gliomaseg.settings.loading import parse_settings
from gliomaseg.settings.schema import InferenceSettings
from gliomaseg.storage import files
from gliomaseg.training.cache import find_prepared
from gliomaseg.training.network import count_parameters
from gliomaseg.training.process import no_progress
from gliomaseg.training.quantise import add_int8
from gliomaseg.training.run import Run
from gliomaseg.training.torch_engine import TorchEngine
from gliomaseg.training.trained import Trained, load_trained, read_initial, write_weights

#: Largest difference of a probability between the exported network (weights stored as fp16,
#: computed in fp32) and PyTorch in fp32.
_TOLERANCE = 0.02
#: How ``pixelshuffle`` orders (batch, region, 2, 2, 2, x, y, z) before it joins 2 and x, 2 and y, 2 and z.
_SHUFFLE = [0, 1, 5, 2, 6, 3, 7, 4]


class Options(TypedDict, total=False):
    """Options of ``export``."""

    name: str
    """Name of the model; default: the first run's folder."""
    card: str
    """A model card, instead of a short one."""
    best: bool
    """Export the weights of the best validation, not the last."""
    average_with: Sequence[str]
    """Sources, as of training.init_from, whose weights are averaged with those of the run."""
    onnx: bool
    """Write the network as ONNX too."""
    int8: bool
    """Add the network in 8-bit numbers; needs ``cache``."""
    measured: Mapping[str, Any]
    """Results of cross-validating the recipe: settings of ``segment``, the ``expected`` Dice of each subset
    of sequences, ``uncertainty``, and the loss of Dice by ``int8``, used if this run held out no case."""
    cache: Path
    """Folder of prepared cases: the export is compared on one of them, int8 is calibrated on them."""
    progress: Callable[[float, str], None]
    """Called with the fraction done and a line of text."""


def export(runs: Run | Sequence[Run], folder: str | Path, **options: Unpack[Options]) -> Bundle:
    """Write the averaged network of a run, or the mean of several, as a bundle into a new ``folder``.

    Raises OutputError (E-EXISTS), ModelError (E-MODEL) when the export differs from PyTorch, TrainingError
    (E-RUN) when the runs don't fit together, and the errors of ``quantise.add_int8``.
    """
    folder = Path(folder)
    _require_new(folder)
    members = [runs] if isinstance(runs, Run) else list(runs)
    others = [read_initial(source) for source in options.get("average_with", ())]
    trained = load_trained(members, best=options.get("best", False), average_with=others)
    measured = options.get("measured", {})
    tree = trained.settings.model_dump(mode="json")
    trained.settings = parse_settings(tree | {"segment": tree["segment"] | measured.get("segment", {})})
    with files.draft_folder(folder.parent) as temporary:
        draft = temporary / "bundle"
        draft.mkdir()
        about = _about(trained, options.get("name") or members[0].folder.resolve().name)
        about |= {"averaged_with": [other.name for other in others]} if others else {}
        files.write_json(draft / "settings.json", trained.settings.model_dump(mode="json"))
        files.write_text(draft / "card.md", options.get("card") or _card(about, trained.settings.notes))
        about |= {key: measured[key] for key in ("expected", "uncertainty") if key in measured}
        seal(draft, about | _write_networks(trained, draft, about, options))
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    return Bundle.load(folder)


def _require_new(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(
            "E-EXISTS",
            f"{folder} exists already and is not an empty folder",
            expected="a new folder for the bundle",
            remedy="choose another folder with -o, or remove it",
        )
    files.make_folder(folder.parent)


def _write_networks(trained: Trained, draft: Path, about: dict[str, Any], options: Options) -> dict[str, Any]:
    """Write the network in every requested form, and return the record of each."""
    cache = options.get("cache")
    image, compared_on = _real_image(trained, cache) if cache else (_noise(trained, 16), "random numbers")
    _write_openvino(trained, draft)
    bundle = Bundle(draft, trained.settings, "", about)
    found = OpenVinoEngine(bundle, InferenceSettings(precision="fp32")).run(image.numpy())
    record: dict[str, Any] = {
        "difference_from_pytorch": _in_agreement(_difference(trained, image, found)),
        "compared_on": compared_on,
        "weights": _write_weights(bundle, trained, image),
    }
    if options.get("onnx"):
        record["onnx"] = {"difference_from_pytorch": _write_onnx(trained, draft, image)}
    if options.get("int8") and cache:
        unsealed = Bundle(draft, trained.settings, "", about | {"int8": {}})
        cost = add_int8(unsealed, trained.split, cache, progress=options.get("progress", no_progress))
        elsewhere = options.get("measured", {}).get("int8", {})
        record["int8"] = cost if trained.split.validation else cost | elsewhere
    return record


def _write_weights(bundle: Bundle, trained: Trained, image: Tensor) -> dict[str, Any]:
    """Write the weights for PyTorch; returns their record, with the difference that rounding makes."""
    record = write_weights(trained, bundle.folder / WEIGHTS)
    if record["networks"] == len(trained.networks):
        again = replace(bundle, about={**bundle.about, "weights": record})
        found = TorchEngine.load(again, InferenceSettings(precision="fp32"), "cpu").run(image.numpy())
        record["difference_from_pytorch"] = _difference(trained, image, found)
    return record


def _write_openvino(trained: Trained, folder: Path) -> None:
    openvino: Any = load_openvino()
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces with torch.jit, which warns that other shapes may differ: one is compared.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        model = openvino.convert_model(
            trained, example_input=_noise(trained), input=openvino.PartialShape(_shape_known(trained))
        )
    _join_shuffles(model)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=True)


def _join_shuffles(model: Any) -> None:
    """Replace the three operations of each ``pixelshuffle`` by the one that OpenVINO has for it.

    Its input has the channel order of convolutions, and the sigmoid is fused with it: on a BraTS brain the
    network in int8 then needs a tenth less processor time.
    """
    shuffle = load_openvino().opset13.depth_to_space
    for op in model.get_ordered_ops():
        if op.get_type_name() == "Transpose" and _source(op, 1).get_data().tolist() == _SHUFFLE:
            (last,) = (target.get_node() for target in op.output(0).get_target_inputs())
            joined = shuffle(_source(_source(op, 0), 0), "depth_first", 2)
            for target in last.output(0).get_target_inputs():
                target.replace_source_output(joined.output(0))


def _source(op: Any, number: int) -> Any:
    return op.input(number).get_source_output().get_node()


def _write_onnx(trained: Trained, folder: Path, image: Tensor) -> float:
    """Write model.onnx and return the largest difference between OpenVINO, reading it, and PyTorch."""
    axes = {0: "batch", **{2 + n: axis for n, axis in enumerate("xyz"[: trained.dimensions])}}
    kept = [axis for axis, size in enumerate(_shape_known(trained)) if size != -1]
    names = {axis: name for axis, name in axes.items() if axis not in kept}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without further dependencies is deprecated
        torch.onnx.export(
            trained,
            (_noise(trained),),
            str(folder / ONNX),
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_axes={"image": names, "probabilities": names},
            dynamo=False,
        )
    compiled = core().compile_model(str(folder / ONNX), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return _in_agreement(_difference(trained, image, compiled(image.numpy())[0]))


def _shape_known(trained: Trained) -> list[int]:
    """Return the shape (batch, modality, *space) that the exported network takes; -1: any size."""
    settings = trained.settings.network
    space = settings.window or (-1,) * settings.dimensions
    return [1 if settings.dimensions == 3 else -1, len(settings.modalities), *space]


def _noise(trained: Trained, more: int = 0) -> Tensor:
    """Return random z-scores of a small shape, larger by ``more`` along all axes except the first."""
    settings = trained.settings.network
    free = [n + more * (axis > 0) for axis, n in enumerate((64, 48, 32)[: settings.dimensions])]
    step = trained.settings.prepare.multiple
    space = settings.window or tuple(-(-n // step) * step for n in free)
    shape = (1 if settings.dimensions == 3 else 2, len(settings.modalities), *space)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _real_image(trained: Trained, cache: Path) -> tuple[Tensor, str]:
    """Return the middle of a prepared training case, cut or padded to the shape of ``_noise``."""
    case = find_prepared(trained.split.train[0], trained.settings, cache)
    image = np.asarray(case.image, dtype=np.float32)
    shape = _noise(trained, 16).shape
    if trained.dimensions == 2:
        image = image[..., image.shape[-1] // 2]
    out = np.zeros(shape[1:], dtype=np.float32)
    spans = np.minimum(image.shape, out.shape)[1:]
    starts = (image.shape[1:] - spans) // 2
    middle = tuple(slice(start, start + n) for start, n in zip(starts, spans, strict=True))
    out[(slice(None), *map(slice, spans))] = image[(slice(None), *middle)]
    return torch.from_numpy(out).expand(shape).contiguous(), "a patch of a training case"


def _difference(trained: Trained, image: Tensor, found: np.ndarray[Any, Any]) -> float:
    """Return the largest difference of a probability from PyTorch's."""
    with torch.no_grad():
        return float(np.abs(found - trained(image).numpy()).max())


def _in_agreement(difference: float) -> float:
    """Return a difference; raises ModelError if it is too large."""
    if not difference <= _TOLERANCE:
        raise ModelError(
            "E-MODEL",
            f"the exported network differs from PyTorch by {difference:.3g}",
            expected=f"at most {_TOLERANCE}",
            remedy="report it with the run's settings.json: the export is not to be trusted",
        )
    return difference


def _about(trained: Trained, name: str) -> dict[str, Any]:
    rows = [run.read_history().rows for run in trained.runs]
    scored = [row for row in rows[0] if row.dice] if len(rows) == 1 else []
    return {
        "name": name,
        "gliomaseg": __version__,
        "created": datetime.now(UTC).date().isoformat(),
        "parameters": count_parameters(trained),
        "networks": len(trained.networks),
        "trained_on": list(trained.split.train),
        "steps": sum(history[-1].step for history in rows if history),
        "hours": round(sum(history[-1].minutes for history in rows if history) / 60, 2),
        "held_out": {
            "cases": list(trained.split.validation),
            "dice": {region.value: score for region, score in scored[-1].dice.items()} if scored else None,
        },
    }


def _card(about: dict[str, Any], notes: Sequence[str]) -> str:
    dice = about["held_out"]["dice"]
    scores = ", ".join(f"{k.upper()} {v:.3f}" for k, v in dice.items()) if dice else "not measured"
    return (
        f"# {about['name']}\n\n"
        + "".join(f"**This is {note}.**\n\n" for note in notes)
        + "Outlines brain tumours in pre-operative MRI. Research use only: not a medical device.\n\n"
        f"- Trained by gliomaseg {about['gliomaseg']} on {len(about['trained_on'])} cases, "
        f"{about['steps']} steps, {about['hours']} hours.\n"
        f"- Mean Dice on {len(about['held_out']['cases'])} held-out cases, BraTS 2020's rule: {scores}.\n"
        f"- {about['parameters']:,} parameters.\n"
    )
