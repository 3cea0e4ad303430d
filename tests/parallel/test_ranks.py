"""Replicas and shards compute what one process computes, for every parameter."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zafu.batch import Batch
from zafu.build import looked_at_whole
from zafu.errors import Refused
from zafu.layout import Layout
from zafu.loading.contract import Request
from zafu.loading.requests import dealt
from zafu.nets.decoder import Decoder, Shape
from zafu.optim.averaging import EMA
from zafu.optim.contract import Optimizer
from zafu.optim.gradient import Clip, Noise
from zafu.optim.penalties import L1
from zafu.optim.runtime.parameters import parameter_groups
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.parallel.ranks import Ranks, staged
from zafu.parallel.spread import ALONE, Spread
from zafu.parallel.world import World
from zafu.task import LanguageModeling

TASK = LanguageModeling()
SIZES = {
    "vocab": 41, "context": 12, "width": 24, "layers": 4, "heads": 4, "kv_heads": 2, "hidden": 40
}  # fmt: skip


def network() -> Decoder:
    torch.manual_seed(0)
    shape = Shape(**SIZES, tied=True)  # pyright: ignore[reportArgumentType]
    return Decoder(shape)


def tokens(step: int, batch: int) -> torch.Tensor:
    found = torch.randint(0, 41, (batch, 13), generator=torch.Generator().manual_seed(step))
    found[0, 3:] = -1  # samples have different numbers of targets
    return found


def trained(
    world: World, optimizer: dict[str, Any], *, batch: int, micro: int | None
) -> tuple[list[float], Update, Spread, nn.Module]:
    model, spec = network(), Optimizer.parse(optimizer)
    with torch.device("meta"):
        names = network()
    averages = spec.kind == "schedule-free"  # then it takes no average of ours
    spread: Spread = ALONE
    if not world.alone:
        spread = Ranks(model, world, TASK, looked_at_whole(spec, parameter_groups(model, spec)))
    update = Update(
        model if world.alone else names,
        optimizer=spec,
        schedule=Constant(),
        penalties=(L1(strength=1e-3, method="subgradient" if averages else "proximal"),),
        clip=Clip(norm=0.5),
        noise=Noise(eta=1e-4),
        average=None if averages else EMA(decay=0.5),
        seed=0,
        held=spread.held,
    )
    numbers: list[float] = []
    for step in range(3):
        whole = tokens(step, batch)
        targets = int((whole[:, 1:] >= 0).sum())
        index, of = spread.dealt
        ids = np.arange(batch)
        parts = dealt(Request(ids, ids), micro, index=index, of=of)
        loss = torch.zeros(1)
        for number, part in enumerate(parts):
            rows = whole[torch.from_numpy(part.request.ids)]
            inputs, wanted = (
                rows[:, :-1].clamp(min=0),
                rows[:, 1:].masked_fill(rows[:, 1:] < 0, -100),
            )
            with spread.passing(last=number == len(parts) - 1):
                factor = part.counts / targets
                given = Batch((inputs,), wanted, part.request.ids)
                found = spread.backward(TASK, model, given, factor, nullcontext)
            loss += part.counts * found
        spread.finish()
        numbers.append(spread.total(loss).item() / targets)
        numbers.append(update.gradients(step).item())
        update.step(step, 0.0)
    return numbers, update, spread, model


def against_one(rank: int, layout: dict[str, Any], **told: Any) -> dict[str, float]:
    """The largest relative differences of numbers, weights and means to those of one process."""
    told["optimizer"] = json.loads(told["optimizer"])
    expected, update, _, model = trained(World(Layout()), **told)
    world = World(Layout.parse(layout), rank)
    world.connect()
    found, own_update, spread, _ = trained(world, **told)
    assert spread.held
    named = dict(model.named_parameters())
    weights = max(
        float((p.own - p.of(named[p.name])).abs().max() / named[p.name].abs().max())
        for p in spread.held.pieces
        if p.own.numel()
    )
    means = update.tensors()
    own_means = own_update.tensors()
    mean = max(
        float((own_means[name] - p.of(means[name])).abs().max())
        for p in spread.held.pieces
        for name in {f"average.{p.name}", f"optimizer.0.z.{p.name}"} & means.keys()
        if p.own.numel()
    )
    numbers = max(abs(a - b) / abs(a) for a, b in zip(expected, found, strict=True))
    held = sum(p.own.numel() for p in spread.held.pieces if p.first)
    return {"numbers": numbers, "weights": weights, "means": mean, "held": held}


def whole() -> int:
    return sum(p.numel() for p in network().parameters())


SGD = {"kind": "sgd", "lr": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    "layout",
    [
        {"data": 2},
        {"shard": 2},
        {"shard": 2, "level": "gradients"},
        {"shard": 2, "level": "optimizer"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize(("batch", "micro"), [(8, 2), (5, None), (5, 1), (1, None)])
def test_two_processes_do_what_one_does(
    worlds: Callable[[int], Any], layout: dict[str, Any], batch: int, micro: int | None
) -> None:
    told = {"layout": layout, "batch": batch, "micro": micro, "optimizer": json.dumps(SGD)}

    for found in worlds(2)(against_one, **told):
        assert found["numbers"] <= 5e-6
        assert found["weights"] <= 2e-6
        assert found["means"] <= 2e-6


@pytest.mark.parametrize("layout", [{"data": 4}, {"shard": 4}, {"data": 2, "shard": 2}], ids=str)
def test_four_processes_do_what_one_does(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    told = {"layout": layout, "batch": 8, "micro": 1, "optimizer": json.dumps(SGD)}

    for found in worlds(4)(against_one, **told):
        assert found["numbers"] <= 5e-6
        assert found["weights"] <= 2e-6


@pytest.mark.parametrize(
    "layout",
    [
        {"pipeline": 2, "schedule": "gpipe", "microbatches": 2},
        {"pipeline": 2, "schedule": "1f1b"},
        {"pipeline": 2, "schedule": "interleaved", "microbatches": 4},
        {"pipeline": 2, "schedule": "zero-bubble", "microbatches": 4},
        {"pipeline": 2, "schedule": "dualpipe-v", "microbatches": 4},
        {"context": 2},
        {"tensor": 2},
    ],
    ids=json.dumps,
)
def test_stages_and_shares_of_windows_do_what_one_process_does(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    told = {"layout": layout, "batch": 8, "micro": None, "optimizer": json.dumps(SGD)}

    found = worlds(2)(against_one, **told)

    assert sum(there["held"] for there in found) == whole()
    for there in found:
        assert there["numbers"] <= 5e-6
        assert there["weights"] <= 2e-6
        assert there["means"] <= 2e-6


@pytest.mark.parametrize(
    "layout",
    [
        {"shard": 2, "pipeline": 2},
        {"shard": 2, "pipeline": 2, "schedule": "zero-bubble", "microbatches": 4},
        {"data": 2, "pipeline": 2, "schedule": "zero-bubble", "microbatches": 4},
        {"data": 2, "pipeline": 2, "schedule": "dualpipe-v", "microbatches": 4},
        {"context": 2, "shard": 2},
        {"context": 2, "data": 2},
        {"context": 2, "pipeline": 2},
        {"tensor": 2, "shard": 2},
        {"tensor": 2, "data": 2},
        {"tensor": 2, "context": 2},
        {"tensor": 2, "pipeline": 2},
        {"tensor": 2, "pipeline": 2, "schedule": "zero-bubble", "microbatches": 4},
    ],
    ids=json.dumps,
)
def test_two_axes_do_what_one_process_does(
    worlds: Callable[[int], Any], layout: dict[str, Any]
) -> None:
    told = {"layout": layout, "batch": 8, "micro": None, "optimizer": json.dumps(SGD)}

    found = worlds(4)(against_one, **told)

    assert sum(there["held"] for there in found) == whole()
    for there in found:
        assert there["numbers"] <= 5e-6
        assert there["weights"] <= 2e-6


@pytest.mark.parametrize("kind", sorted(Optimizer.kinds()))
def test_every_optimizer_moves_shards_as_it_moves_the_whole(
    worlds: Callable[[int], Any], kind: str
) -> None:
    optimizer = json.dumps({"kind": kind, "lr": 1e-3, "weight_decay": 0.01})
    told = {"layout": {"shard": 2}, "batch": 4, "micro": None, "optimizer": optimizer}

    for found in worlds(2)(against_one, **told):
        assert found["numbers"] <= 1e-4
        assert found["weights"] <= 2e-3  # adaptive steps divide by numbers near 0


def test_a_stage_without_parameters_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Identity())

    with pytest.raises(Refused, match="stage 1 of 2 would have no parameters"):
        staged(model, World(Layout(pipeline=2), rank=1))


def test_a_norm_over_the_batch_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    with pytest.raises(Refused, match="1 normalizes over the samples of a batch"):
        Ranks(model, World(Layout(data=2)), TASK)
