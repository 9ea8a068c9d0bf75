"""How weights move."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gliomaseg.settings.loading import load_settings
from gliomaseg.settings.schema import TrainingSettings
from gliomaseg.training.optimiser import Muon, build_optimiser, orthogonal


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ConvTranspose3d(4, 2, 2))


def learn(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        network(noise(1, 2, 5, 5, 5)).square().mean().backward()
        optimiser.step()


class TestOrthogonal:
    @pytest.mark.parametrize("bf16", [False, True])
    @pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 12), (12, 1)])
    def test_same_singular_vectors_and_values_near_one(self, shape: tuple[int, int], bf16: bool) -> None:
        u, _, v = torch.linalg.svd(noise(*shape), full_matrices=False)
        spread = torch.linspace(0.2, 3, min(shape))
        found = u.T @ orthogonal(u * spread @ v, bf16=bf16) @ v.T
        values = found.diagonal()
        assert values.min() > 0.6
        assert values.max() < 1.3
        assert (found - values.diag()).abs().max() < 0.1

    def test_scale_does_not_matter(self) -> None:
        matrix = noise(5, 9)
        assert torch.allclose(orthogonal(matrix), orthogonal(matrix / 1024), atol=1e-3)

    def test_short_numbers_are_as_good(self) -> None:
        exact, short = (orthogonal(noise(16, 40), bf16=bf16) for bf16 in (False, True))
        assert not torch.equal(exact, short)
        assert torch.allclose(exact, short, atol=0.02)

    def test_nothing_stays_nothing(self) -> None:
        assert not orthogonal(torch.zeros(3, 4)).any()


class TestMuon:
    def test_the_first_step_by_hand(self) -> None:
        network = small()
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        settings = TrainingSettings(
            optimiser="muon", learning_rate=0.01, muon_learning_rate_factor=5, weight_decay=0.1
        )
        optimiser = build_optimiser(network, settings)
        for group in optimiser.param_groups:
            group["lr"] *= group["times"]
        network(noise(1, 2, 5, 5, 5)).square().mean().backward()
        slopes = {name: p.grad.clone() for name, p in network.named_parameters()}  # type: ignore[union-attr]
        optimiser.step()
        for name, sides in (("0.weight", (4, 54)), ("2.weight", (4, 16))):
            move = orthogonal(slopes[name].view(sides)).view_as(slopes[name])
            wanted = before[name] * (1 - 0.05 * 0.1) - 0.05 * 0.2 * max(sides) ** 0.5 * move
            got = network.get_parameter(name)
            assert torch.allclose(got, wanted, atol=2e-3)
            assert (got - before[name]).abs().max() > 0.02

    def test_the_rest_moves_as_with_adamw(self) -> None:
        one, other = small(), small()
        for name, parameter in one.named_parameters():
            parameter.requires_grad_(parameter.ndim == 1)
            other.get_parameter(name).requires_grad_(parameter.ndim == 1)
        learn(one, build_optimiser(one, TrainingSettings(optimiser="muon", weight_decay=0.1)))
        learn(
            other, torch.optim.AdamW([p for p in other.parameters() if p.ndim == 1], 1.5e-3, weight_decay=0.1)
        )
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        assert not torch.equal(one[1].weight, small()[1].weight)

    def test_adamw_is_pytorchs(self) -> None:
        one, other = small(), small()
        learn(one, build_optimiser(one, TrainingSettings(optimiser="adamw", weight_decay=0.1)))
        learn(other, torch.optim.AdamW(other.parameters(), 1.5e-3, weight_decay=0.1))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    def test_goes_on_from_its_state(self) -> None:
        settings = TrainingSettings(optimiser="muon")
        network = small()
        optimiser = build_optimiser(network, settings)
        learn(network, optimiser)
        again = copy.deepcopy(network)
        resumed = build_optimiser(again, settings)
        resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
        learn(network, optimiser, 2)
        learn(again, resumed, 2)
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))

    def test_a_parameter_without_gradient_stays(self) -> None:
        network = small()
        before = network[2].weight.detach().clone()
        optimiser = build_optimiser(network, TrainingSettings(optimiser="muon"))
        network[0](noise(1, 2, 5, 5, 5)).sum().backward()
        optimiser.step()
        assert torch.equal(network[2].weight, before)

    def test_order_in_memory_does_not_matter(self) -> None:
        one, other = small(), small().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        for network in (one, other):
            learn(network, build_optimiser(network, TrainingSettings(optimiser="muon")), 1)
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, atol=2e-3)


def test_our_own_network_is_trained_by_muon_the_others_as_they_were_published() -> None:
    assert load_settings("unet3d").training.optimiser == "muon"
    assert {load_settings(p).training.optimiser for p in ("unet2d", "dynunet", "unetr")} == {"adamw"}
    network = small()
    optimiser = build_optimiser(network, load_settings("unet3d").training)
    assert isinstance(optimiser, Muon)
    assert [[p.ndim for p in group["params"]] for group in optimiser.param_groups] == [[1] * 4, [5, 5]]
