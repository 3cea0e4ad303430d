import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from zafu import loop
from zafu.data.arrays import Rows
from zafu.loading.order import Order
from zafu.optim.runtime.update import Update
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.signature import Pixels, Signature

ROOT = Path(__file__).parents[2]
STEPS, BATCH = 60, 32


def recipe(**fit: object) -> Recipe:
    settings = {"clip": {"norm": 1.0}, "batch": BATCH, "steps": STEPS, "threads": 1}
    return Recipe.parse(
        {
            "task": "classification",
            "data": {"kind": "digits"},
            "model": {"kind": "mlp", "width": 64, "layers": 1},
            "fit": {**settings, **fit},
        }
    )


def digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    data = recipe().data
    split = data.open(prepared(recipe(), folder), "train")
    batch = split.batch(np.arange(len(split)))
    return batch.inputs[0].numpy(), batch.targets.numpy()


def fresh() -> nn.Module:
    torch.manual_seed(0)
    pixels = Pixels(channels=1, height=8, width=8)
    return recipe().model.build(Signature(inputs=pixels, outputs=10))


def bare(x: np.ndarray, y: np.ndarray) -> tuple[nn.Module, list[float]]:
    model, losses, order = fresh(), [], Order(len(x), seed=0)
    large = [p for p in model.parameters() if p.ndim >= 2]
    small = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": large}, {"params": small, "weight_decay": 0.0}], lr=1e-3, fused=True
    )
    for step in range(STEPS):
        ids = order.positions(step * BATCH, BATCH)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(torch.from_numpy(x[ids])), torch.from_numpy(y[ids]))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def by_zafu(x: np.ndarray, y: np.ndarray) -> tuple[nn.Module, list[float]]:
    model, chosen = fresh(), recipe()
    spec = chosen.fit
    update = Update(
        model, optimizer=spec.optimizer, schedule=spec.schedule, clip=spec.clip, seed=chosen.seed
    )
    objective = loop.Objective(model, chosen.task, Rows((x,), y), spec, chosen.seed)
    losses = [step.loss for step in loop.fit(objective, update, loop.begin(spec))]
    return model, losses


def test_the_loop_computes_bit_for_bit_what_a_bare_loop_computes(tmp_path: Path) -> None:
    x, y = digits(tmp_path)
    expected, bare_losses = bare(x, y)

    found, losses = by_zafu(x, y)

    assert losses == bare_losses
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name


@pytest.mark.slow
def test_the_benchmark_measures_each_loop_beside_the_bare_one(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/loop/run.py"), "--quick"]

    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    loops = results["sizes"]["small"]["loops"]
    assert loops.keys() == {"bare", "zafu-fit", "zafu-train"}
    assert loops["bare"]["ratio_wall"]["median"] == 1
    assert (tmp_path / "results.md").read_text() in done.stdout
