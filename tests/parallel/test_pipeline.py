"""A model on a pipeline learns what it learns on one process."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.layout import Layout
from zafu.nets.decoder import Decoder, Shape
from zafu.parallel.pipeline import Pipeline
from zafu.parallel.schedules import held
from zafu.parallel.stages import cut
from zafu.parallel.world import World

SCHEDULES = ["gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe-v"]
LR, STEPS = 0.1, 3


def decoder(*, tied: bool = False) -> Decoder:
    torch.manual_seed(0)
    net = Decoder(
        Shape(vocab=61, context=16, width=32, heads=4, kv_heads=2, hidden=64, layers=8, tied=tied)
    )
    with torch.no_grad():  # larger than at birth, so that faults are larger too
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return net


def summed(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum")


def windows(samples: int) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(61, (samples, 17), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def local(x: Tensor | None) -> Tensor:
    assert x is not None
    return x


def alone(net: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor) -> dict[str, Any]:
    """Losses, first gradients and last weights of one process."""
    losses: list[float] = []
    gradients: dict[str, Tensor] = {}
    for _ in range(STEPS):
        net.zero_grad()
        loss = summed(net(*inputs), targets)
        (loss / targets.numel()).backward()
        losses.append(loss.item())
        gradients = gradients or {n: local(p.grad).clone() for n, p in net.named_parameters()}
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.sub_(local(parameter.grad), alpha=LR)
    weights = {name: p.detach() for name, p in net.named_parameters()}
    return {"losses": losses, "gradients": gradients, "weights": weights}


def far(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()


def learn(
    pipeline: Pipeline, stages: Sequence[nn.Module], inputs: tuple[Tensor, ...], targets: Tensor
) -> dict[str, Any]:
    losses: list[float] = []
    gradients: dict[str, Tensor] = {}
    for step in range(STEPS):
        for stage in stages:
            stage.zero_grad()
        losses.append(pipeline.backward(inputs, targets, 1 / targets.numel()).item())
        for number, stage in pipeline.stages.items():
            for name, parameter in stage.named_parameters():
                if step == 0:
                    gradients[f"{number}:{name}"] = local(parameter.grad).clone()
                with torch.no_grad():
                    parameter.sub_(local(parameter.grad), alpha=LR)
    weights = {
        f"{number}:{name}": local(p).detach()
        for number, stage in pipeline.stages.items()
        for name, p in stage.named_parameters()
    }
    return {"losses": losses, "gradients": gradients, "weights": weights}


def compared(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The largest differences, and which tensors were compared."""
    worst: dict[str, Any] = {
        kind: max(far(x, expected[kind][key.split(":")[1]]) for key, x in found[kind].items())
        for kind in ("gradients", "weights")
    }
    pairs = zip(found["losses"], expected["losses"], strict=True)
    worst["loss"] = max(abs(a / b - 1) for a, b in pairs)
    worst["names"] = sorted({key.split(":")[1] for key in found["weights"]})
    return worst


def trained(rank: int, layout: dict[str, Any], tied: bool, samples: int, lost: str = "") -> Any:
    world = World(Layout.parse(layout), rank)
    world.connect()
    inputs, targets = windows(samples)
    net = decoder(tied=tied)
    numbers = held(world.layout.schedule, world.index("pipeline"), world.layout.pipeline)
    stages = [cut(net, number, world.layout.stages) for number in numbers]
    pipeline = Pipeline(stages, world, summed)
    if lost == "tie":
        pipeline.tie = lambda: None
    before = pipeline.forward((inputs,))
    worst = compared(
        learn(pipeline, stages, (inputs,), targets), alone(decoder(tied=tied), (inputs,), targets)
    )
    worst["before"] = far(before, decoder(tied=tied)(inputs).detach())
    after = pipeline.forward((inputs,))
    worst["names"] = world.all_of(worst["names"])
    worst["heard"] = after.shape == before.shape and not after.equal(before)
    return worst


def is_one_process(found: list[dict[str, Any]], *, tied: bool) -> None:
    for worst in found:
        assert worst["loss"] < 1e-6
        assert worst["gradients"] < 5e-6
        assert worst["weights"] < 2e-6
        assert worst["before"] < 2e-6
        assert worst["heard"]
        everyone = {name for names in worst["names"] for name in names}
        assert everyone == {name for name, _ in decoder(tied=tied).named_parameters()}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_two_processes_learn_what_one_learns(worlds: Callable[[int], Any], schedule: str) -> None:
    layout = {"pipeline": 2, "schedule": schedule}

    found = worlds(2)(trained, layout=layout, tied=False, samples=16)

    is_one_process(found, tied=False)
