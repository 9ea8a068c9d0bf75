"""A bundle's network on PyTorch, for machines with a GPU: the same file, each operation by PyTorch.

A bundle holds its network once, as OpenVINO IR. Its operations are few, so they are looked up in a table
instead of keeping a second copy of the weights. Ignorant of how the network was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gliomaseg.config import InferenceSettings
from gliomaseg.errors import ModelError
from gliomaseg.inference.bundle import Bundle
from gliomaseg.inference.engine import core

_CONVOLVE = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
_TRANSPOSED = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d, 5: functional.conv_transpose3d}
_POOL = {4: functional.max_pool2d, 5: functional.max_pool3d}


class TorchEngine:
    """Runs windows of any shape on a device of PyTorch; raises ModelError without such a device."""

    def __init__(self, bundle: Bundle, settings: InferenceSettings, device: str = "cuda") -> None:
        if settings.precision == "int8":
            raise _refuse("int8 runs on the CPU only", "use --precision auto with --device cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise _refuse("PyTorch finds no CUDA device", "use --device cpu, or install PyTorch for CUDA")
        self.precision = "fp32" if settings.precision == "auto" else settings.precision
        self._bundle = bundle
        self._device = torch.device(device)

    def compile(self) -> None:
        """Read the network, once; raises ModelError."""
        self._graph  # noqa: B018 (kept from now on)

    @cached_property
    def _graph(self) -> list[_Node]:
        try:
            model = core().read_model(self._bundle.network("fp32"))
        except RuntimeError as error:
            raise _refuse(str(error).strip().splitlines()[-1], "export the model again") from error
        nodes = [_Node(op, self._device) for op in model.get_ordered_ops()]
        unknown = {node.kind for node in nodes} - _OPERATIONS.keys() - {"Constant", "Parameter", "Result"}
        if unknown:
            raise _refuse(
                f"PyTorch is not told how to compute {', '.join(sorted(unknown))}", "use --device cpu"
            )
        return nodes

    def kernels(self) -> dict[str, int]:
        """Return nothing: PyTorch does not tell."""
        return {}

    @torch.inference_mode()
    def run(self, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return probabilities (batch, region, *space) of ``window`` (batch, modality, *space)."""
        uses = Counter(name for node in self._graph for name in node.inputs)
        values: dict[str, Tensor] = {}
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            for node in self._graph:
                if node.kind == "Parameter":
                    values[node.name] = torch.from_numpy(window).to(self._device)
                elif node.kind == "Result":
                    return np.asarray(values[node.inputs[0]].float().cpu().numpy())
                else:
                    values[node.name] = node.compute([values[name] for name in node.inputs])
                uses.subtract(node.inputs)
                for name in node.inputs:  # nothing is kept longer than it is needed
                    if uses[name] == 0:
                        values.pop(name, None)
        raise _refuse("the network has no result", "export the model again")


class _Node:
    """One operation of the network: its kind, its attributes and whose outputs it takes."""

    def __init__(self, op: Any, device: torch.device) -> None:
        self.kind = op.get_type_name()
        self.name = op.get_friendly_name()
        self.inputs = [v.get_source_output().get_node().get_friendly_name() for v in op.inputs()]
        self._options = {k: v for k, v in op.get_attributes().items() if k != "element_type"}
        self._constant: Tensor | None = None
        if self.kind == "Constant":
            constant = torch.from_numpy(np.array(op.get_data()))
            self._constant = constant.to(device).float() if constant.is_floating_point() else constant

    def compute(self, inputs: list[Tensor]) -> Tensor:
        if self._constant is not None:
            return self._constant
        return _OPERATIONS[self.kind](self._options, *inputs)


Options = dict[str, Any]


def _convolve(options: Options, x: Tensor, weight: Tensor) -> Tensor:
    return _CONVOLVE[x.ndim](x, weight, None, options["strides"], _padding(options), options["dilations"])


def _convolve_transposed(options: Options, x: Tensor, weight: Tensor) -> Tensor:
    found: Tensor = _TRANSPOSED[x.ndim](x, weight, None, options["strides"], _padding(options))
    return found


def _pool(options: Options, x: Tensor) -> Tensor:
    found: Tensor = _POOL[x.ndim](x, options["kernel"], options["strides"], _padding(options))
    return found


def _padding(options: Options) -> list[int]:
    if list(options["pads_begin"]) != list(options["pads_end"]):
        raise _refuse("the network pads its images on one side only", "use --device cpu")
    return list(options["pads_begin"])


def _reshape(_: Options, x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def _gather(_: Options, x: Tensor, index: Tensor, axis: Tensor) -> Tensor:
    found = x.index_select(int(axis), index.reshape(-1))
    return found.reshape([*x.shape[: int(axis)], *index.shape, *x.shape[int(axis) + 1 :]])


def _unsqueeze(_: Options, x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes.reshape(-1).tolist()):
        x = x.unsqueeze(axis)
    return x


def _depth_to_space(options: Options, x: Tensor) -> Tensor:
    step, axes = options["block_size"], x.ndim - 2
    split = x.reshape(x.shape[0], -1, *[step] * axes, *x.shape[2:])
    pairs = [axis for n in range(axes) for axis in (2 + axes + n, 2 + n)]
    return split.permute(0, 1, *pairs).reshape(x.shape[0], -1, *[step * n for n in x.shape[2:]])


_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, a, b: a + b,
    "Concat": lambda options, *parts: torch.cat(parts, dim=options["axis"]),
    "Convert": lambda _, x: x,
    "Convolution": _convolve,
    "ConvolutionBackpropData": _convolve_transposed,
    "DepthToSpace": _depth_to_space,
    "Divide": lambda _, a, b: a / b if a.is_floating_point() else a // b,
    "Floor": lambda _, x: x.floor() if x.is_floating_point() else x,
    "Gather": _gather,
    "MaxPool": _pool,
    "Multiply": lambda _, a, b: a * b,
    "PRelu": lambda _, x, slope: functional.prelu(x, slope.reshape(-1).to(x.dtype)),
    "Reshape": _reshape,
    "ShapeOf": lambda _, x: torch.tensor(x.shape),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Transpose": lambda _, x, order: x.permute(order.tolist()),
    "Unsqueeze": _unsqueeze,
}


def _refuse(what: str, remedy: str) -> ModelError:
    return ModelError("E-MODEL", what, expected="a network and a device that go together", remedy=remedy)
