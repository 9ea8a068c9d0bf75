"""Optimisers: AdamW, or Muon for the matrices of the network and AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) moves a matrix along its momentum with
all singular values brought near to 1: directions that seldom occur count as much as common ones. PyTorch's
own takes matrices only; a convolution's matrix maps its inputs (channels x kernel) to its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from gliomaseg.settings.schema import TrainingSettings

#: Coefficients of a quintic whose iteration brings singular values from (0, 1] to about 0.7 to 1.2; and how
#: often it is applied (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
#: Share of the past in the momentum (Jordan et al. 2024).
_MOMENTUM = 0.95
#: With this factor on the square root of its longer side, a matrix moves as far as with AdamW at the same
#: learning rate (Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982).
_LIKE_ADAMW = 0.2


class Muon(torch.optim.AdamW):
    """AdamW for all parameters except those in groups that are marked ``"is_matrices": True``."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"] if group["is_matrices"] else ():
                if parameter.grad is not None:
                    self._update(parameter, group)
                    parameter.grad = None  # AdamW skips parameters without a gradient
        return super().step(closure)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        kept, gradient, rate = self.state[parameter], cast(Tensor, parameter.grad), group["lr"]
        if not kept:
            kept["step"], kept["momentum"] = torch.tensor(0.0), torch.zeros_like(parameter)
        kept["step"] += 1
        momentum = kept["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        ahead = gradient.lerp(momentum, _MOMENTUM)  # Nesterov's
        update = orthogonal(ahead.flatten(1), bf16=group["bf16"]).view_as(ahead)
        longer = math.sqrt(max(len(parameter), parameter[0].numel()))
        parameter.mul_(1 - rate * group["weight_decay"]).add_(update, alpha=-rate * _LIKE_ADAMW * longer)


def orthogonal(matrix: Tensor, *, bf16: bool = False) -> Tensor:
    """Return a matrix (n, m) of the same singular vectors, float32, with singular values of about 1.

    bf16 is precise enough: faster on hardware that has it, ten times slower elsewhere.
    """
    is_wide = len(matrix) <= len(matrix.T)
    found: Tensor = (matrix if is_wide else matrix.T).to(torch.bfloat16 if bf16 else torch.float32)
    found = found / (found.norm() + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = found @ found.T
        found = a * found + (b * square + c * square @ square) @ found
    return (found if is_wide else found.T).float()


def build_optimiser(network: nn.Module, settings: TrainingSettings, *, bf16: bool = False) -> Muon:
    """Return the optimiser of ``network``; each group has ``times``, a factor on the learning rate.

    ``bf16``: compute Muon's updates in bf16.
    """
    is_muon = settings.optimiser == "muon"
    matrices = [p for p in network.parameters() if p.ndim > 1 and is_muon]
    others = [p for p in network.parameters() if p.ndim <= 1 or not is_muon]
    factor = settings.muon_learning_rate_factor
    return Muon(
        [
            {"params": others, "is_matrices": False, "times": 1.0},
            {"params": matrices, "is_matrices": True, "times": factor, "bf16": bf16},
        ],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
