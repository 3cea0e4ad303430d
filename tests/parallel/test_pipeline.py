"""A model on a pipeline learns what it learns on one process."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
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
        Shape(
            vocab=61,
            context=16,
            width=32,
            layers=8,
            heads=4,
            kv_heads=2,
            hidden=64,
            tied=tied,
        )
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


def local(x: Tensor) -> Tensor:
    return x.full_tensor() if isinstance(x, DTensor) else x


def gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def alone(net: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor) -> dict[str, Any]:
    """Losses, first gradients and last weights of one process."""
    losses: list[float] = []
    gradients: dict[str, Tensor] = {}
    for _ in range(STEPS):
        net.zero_grad()
        loss = summed(net(*inputs), targets)
        (loss / targets.numel()).backward()
        losses.append(loss.item())
        gradients = gradients or {n: gradient(p).clone() for n, p in net.named_parameters()}
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.sub_(LR * gradient(parameter))
    weights = {name: p.detach() for name, p in net.named_parameters()}
    return {"losses": losses, "gradients": gradients, "weights": weights}


def far(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()


def learn(
    pipeline: Pipeline,
    stages: Sequence[nn.Module],
    inputs: tuple[Tensor, ...],
    targets: Tensor,
    count: int,
) -> dict[str, Any]:
    losses: list[float] = []
    gradients: dict[str, Tensor] = {}
    for step in range(STEPS):
        for stage in stages:
            stage.zero_grad()
        losses.append(pipeline.backward(inputs, targets, 1 / count).item())
        pipeline.finish()
        for number, stage in pipeline.stages.items():
            for name, parameter in stage.named_parameters():
                if step == 0:
                    gradients[f"{number}:{name}"] = local(gradient(parameter)).clone()
                with torch.no_grad():
                    parameter.sub_(LR * gradient(parameter))
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


def trained(rank: int, layout: dict[str, Any], tied: bool = False, samples: int = 16) -> Any:
    world = World(Layout.parse(layout), rank)
    world.connect()
    inputs, targets = windows(samples)
    mine = world.index("data", "shard"), world.degree("data", "shard")
    part = slice(samples * mine[0] // mine[1], samples * (mine[0] + 1) // mine[1])
    net = decoder(tied=tied)
    numbers = held(world.layout.schedule, world.index("pipeline"), world.layout.pipeline)
    stages = [cut(net, number, world.layout.stages) for number in numbers]
    if world.layout.shard > 1:
        for stage in stages:
            shard(stage, world)
    pipeline = Pipeline(stages, world, summed)
    before = pipeline.forward((inputs[part],))

    found = learn(pipeline, stages, (inputs[part],), targets[part], targets.numel())

    after = pipeline.forward((inputs[part],))
    whole = decoder(tied=tied)
    expected = whole(inputs[part]).detach()
    found["losses"] = [
        world.add(torch.tensor(x, dtype=torch.float64), "data", "shard").item()
        for x in found["losses"]
    ]
    worst = compared(found, alone(whole, (inputs,), targets))
    worst["before"], worst["after"] = (
        far(before, expected),
        far(after, whole(inputs[part]).detach()),
    )
    worst["names"] = sorted({name for names in world.all_of(worst["names"]) for name in names})
    worst["copies"] = world.all_of(sorted(pipeline.copies))
    return worst


def shard(stage: nn.Module, world: World) -> None:
    """Parameters over the processes of `shard`, whose gradients are sums."""
    group = world.group("shard")
    assert group is not None
    mesh = DeviceMesh.from_group(group, "cpu", mesh_dim_names=("shard",))
    for module in [*stage.get_submodule("model.layers").children(), stage]:
        made = fully_shard(module, mesh=mesh, reshard_after_forward=False)
        made.set_gradient_divide_factor(1.0)
        made.set_force_sum_reduction_for_comms(True)


def is_one_process(found: list[dict[str, Any]], *, tied: bool = False) -> None:
    for worst in found:
        assert worst["loss"] < 1e-6
        assert max(worst["gradients"], worst["weights"], worst["before"], worst["after"]) < 2e-6
        assert worst["names"] == sorted(name for name, _ in decoder(tied=tied).named_parameters())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_two_processes_learn_what_one_learns(worlds: Callable[[int], Any], schedule: str) -> None:
    found = worlds(2)(trained, layout={"pipeline": 2, "schedule": schedule})

    is_one_process(found)


@pytest.mark.parametrize("schedule", ["1f1b", "zero-bubble", "dualpipe-v"])
def test_four_processes_learn_what_one_learns(worlds: Callable[[int], Any], schedule: str) -> None:
    layout = {"pipeline": 4, "schedule": schedule, "microbatches": 8}

    found = worlds(4)(trained, layout=layout)

    is_one_process(found)


@pytest.mark.parametrize("schedule", ["1f1b", "zero-bubble"])  # two ends on two processes, on one
def test_tied_ends_stay_one_and_are_counted_once(
    worlds: Callable[[int], Any], schedule: str
) -> None:
    found = worlds(2)(trained, layout={"pipeline": 2, "schedule": schedule}, tied=True)

    is_one_process(found, tied=True)
    copies = [name for names in found[0]["copies"] for name in names]
    assert copies == ["model.embed_tokens.weight"]


@pytest.mark.parametrize("samples", [3, 13])  # fewer than micro-batches, and not a multiple of them
def test_a_batch_need_not_divide_into_micro_batches(
    worlds: Callable[[int], Any], samples: int
) -> None:
    layout = {"pipeline": 2, "schedule": "1f1b", "microbatches": 4}

    found = worlds(2)(trained, layout=layout, samples=samples)

    is_one_process(found)


@pytest.mark.parametrize("schedule", ["1f1b", "zero-bubble"])
@pytest.mark.parametrize("tied", [False, True])
def test_stages_may_be_sharded(worlds: Callable[[int], Any], schedule: str, tied: bool) -> None:
    layout = {"pipeline": 2, "shard": 2, "schedule": schedule}

    found = worlds(4)(trained, layout=layout, tied=tied)

    is_one_process(found, tied=tied)


def batches_of_two_sizes(rank: int) -> Any:
    world = World(Layout(pipeline=2), rank)
    world.connect()
    net = decoder()
    pipeline = Pipeline([cut(net, rank, 2)], world, summed)
    sizes = []
    for samples in (8, 5, 16, 8):
        inputs, targets = windows(samples)
        loss = pipeline.backward((inputs,), targets, 1.0).item()
        sizes.append(abs(loss / summed(net(inputs), targets).item() - 1))
    return sizes


def test_batches_may_differ_in_size(worlds: Callable[[int], Any]) -> None:
    found = worlds(2)(batches_of_two_sizes)

    assert max(max(off) for off in found) < 1e-6
