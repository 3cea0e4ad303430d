"""Replicas let the same weights go as one process does; other layouts are refused by name."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zafu.batch import Batch
from zafu.errors import RecipeError
from zafu.layout import Layout
from zafu.optim.averaging import EMA
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.optim.sgd import SGD
from zafu.optim.sparsity import Score, Sparsity
from zafu.parallel.ranks import Ranks
from zafu.parallel.spread import ALONE, Spread
from zafu.parallel.world import World
from zafu.recipe import Recipe
from zafu.task import Classification

TASK, STEPS = Classification(), 12


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 5))


def trained(world: World, score: Score) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The judged weights after some steps, and the scores."""
    model, names = network(), network()
    spread: Spread = ALONE if world.alone else Ranks(model, world, TASK)
    update = Update(
        model if world.alone else names,
        optimizer=SGD(lr=0.1, momentum=0.9),
        schedule=Constant(),
        average=EMA(decay=0.9),
        sparsity=Sparsity(amount=0.8, score=score, every=2, end=0.7, skip=()),
        seed=0,
        held=spread.held,
    )
    index, of = spread.dealt
    for step in range(STEPS):
        random = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 12, generator=random), torch.arange(8) % 5
        own = slice(index * 8 // of, (index + 1) * 8 // of)
        with spread.passing(last=True):
            batch = Batch((x[own],), y[own], np.arange(8)[own])
            spread.backward(TASK, model, batch, 1 / 8, nullcontext)
        spread.finish()
        update.gradients(step)
        update.step(step, step / STEPS)
    with update.evaluating():
        judged = {name: p.detach().clone() for name, p in model.named_parameters()}
    scores = {n: t for n, t in update.tensors().items() if n.startswith("sparsity.")}
    return judged, scores


def against_one(rank: int, score: Score) -> dict[str, Any]:
    """Whether the same weights are gone, how far the others are off, and what the scores sum to."""
    expected, _ = trained(World(Layout()), score)
    world = World(Layout(data=2), rank)
    world.connect()
    found, scores = trained(world, score)
    return {
        "gone": {n: int((t == 0).sum()) for n, t in found.items() if t.ndim == 2},
        "same": all(bool(((t == 0) == (expected[n] == 0)).all()) for n, t in found.items()),
        "off": max(float((t - expected[n]).abs().max()) for n, t in found.items()),
        "bits": [float(t.double().sum()) for t in (*found.values(), *scores.values())],
    }


@pytest.mark.parametrize("score", ["magnitude", "movement"])
def test_two_replicas_let_go_what_one_process_lets_go(worlds: Any, score: str) -> None:
    one, other = worlds(2)(against_one, score=score)

    assert one["gone"] == {"0.weight": round(0.8 * 288), "2.weight": 96}
    assert one["same"]
    assert one["off"] < 1e-6
    assert one == other


@pytest.mark.parametrize("axis", ["shard", "tensor", "pipeline", "context"])
def test_layouts_in_which_nobody_has_whole_matrices_are_refused(axis: str) -> None:
    recipe: dict[str, Any] = {
        "task": "classification",
        "data": "digits",
        "model": {"kind": "vit", "patch": 2},
        "fit": {"epochs": 1, "sparsity": {}},
    }

    with pytest.raises(RecipeError, match=rf"layout\.{axis}: expected 1 with fit\.sparsity"):
        Recipe.parse({**recipe, "layout": {axis: 2}})

    assert Recipe.parse({**recipe, "layout": {"data": 2}})
