import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from zafu.errors import Damaged
from zafu.optim.adamw import AdamW
from zafu.optim.averaging import SWA
from zafu.optim.contract import Group
from zafu.optim.gradient import Clip, Noise
from zafu.optim.penalties import L1, L2
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant, Linear
from zafu.optim.sgd import SGD
from zafu.tensors import read, write


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def backward(model: nn.Module, step: int) -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
    model(x).square().mean().backward()


def stepped(model: nn.Module, steps: int) -> Update:
    update = Update(model, optimizer=AdamW(), schedule=Constant(), seed=0)
    for step in range(steps):
        backward(model, step)
        update.step(step, step / steps)
    return update


def test_a_step_uses_the_lr_of_its_schedule_and_clears_the_gradients() -> None:
    model = network()
    spec = SGD(lr=0.5, groups=(Group(match="2.*", lr_scale=0.1),))
    update = Update(model, optimizer=spec, schedule=Linear(), seed=0)
    before = [p.detach().clone() for p in model.parameters()]
    backward(model, 0)
    gradients = [p.grad.clone() for p in model.parameters()]

    used = update.step(5, 0.75)

    assert used == 0.5 * 0.25
    scales = [1, 1, 0.1, 0.1]
    for p, old, g, scale in zip(model.parameters(), before, gradients, scales, strict=True):
        torch.testing.assert_close(p.detach(), old - used * scale * g)
    assert all(p.grad is None for p in model.parameters())


def test_the_norm_is_that_before_clipping_with_penalties_and_noise_in_it() -> None:
    model = network()
    backward(model, 0)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
    update = Update(
        model,
        optimizer=SGD(),
        schedule=Constant(),
        penalties=(L2(strength=0.5),),
        noise=Noise(eta=0.01),
        clip=Clip(norm=1e-3),
        seed=4,
    )

    found = update.gradients(2)

    after = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert after.norm().item() == pytest.approx(1e-3, rel=1e-4)
    direction = after / after.norm() * found
    penalized = torch.cat(
        [
            (g + 0.5 * p.detach() * (p.ndim > 1)).flatten()
            for g, p in zip(gradients.values(), model.parameters(), strict=True)
        ]
    )
    noise = direction - penalized
    assert noise.std().item() == pytest.approx(Noise(eta=0.01).std(2), rel=0.5)  # of 23 draws


def test_discarded_gradients_move_nothing() -> None:
    model = network()
    update = Update(model, optimizer=SGD(), schedule=Constant(), seed=0)
    backward(model, 0)

    update.discard()

    assert all(p.grad is None for p in model.parameters())
    assert update.gradients(0).item() == 0


def test_the_state_goes_by_names_and_through_safetensors_and_json(tmp_path: Path) -> None:
    model = network()
    update = stepped(model, 3)

    write(tmp_path / "state.safetensors", update.tensors())
    fresh = Update(network(), optimizer=AdamW(), schedule=Constant(), seed=0)
    fresh.load(read(tmp_path / "state.safetensors"), json.loads(json.dumps(update.plain())))

    expected = {
        f"optimizer.0.{key}.{name}"
        for key in ("step", "exp_avg", "exp_avg_sq")
        for name, _ in model.named_parameters()
    }
    assert update.tensors().keys() == expected
    assert all(torch.equal(t, fresh.tensors()[name]) for name, t in update.tensors().items())


def test_a_loaded_state_is_a_copy() -> None:
    update = stepped(network(), 1)
    model = network()
    fresh = Update(model, optimizer=AdamW(), schedule=Constant(), seed=0)
    fresh.load(update.tensors(), update.plain())
    before = {name: t.clone() for name, t in update.tensors().items()}

    backward(model, 1)
    fresh.step(1, 0.5)

    assert all(torch.equal(t, before[name]) for name, t in update.tensors().items())


def test_a_state_that_does_not_fit_is_refused_by_names_and_changes_nothing() -> None:
    update = stepped(network(), 1)
    tensors = dict(update.tensors())
    del tensors["optimizer.0.exp_avg.0.bias"]
    tensors["optimizer.0.exp_avg.0.basi"] = torch.zeros(3)
    tensors["optimizer.0.exp_avg.2.bias"] = torch.zeros(9)
    fresh = Update(network(), optimizer=AdamW(), schedule=Constant(), seed=0)

    with pytest.raises(Damaged) as caught:
        fresh.load(tensors, update.plain())

    text = str(caught.value)
    assert "optimizer.0.exp_avg.0.bias: missing" in text
    assert "optimizer.0.exp_avg.0.basi: unexpected" in text
    assert "optimizer.0.exp_avg.2.bias: expected shape (2,), found (9,)" in text
    assert fresh.tensors() == {}


def test_plain_data_of_another_kind_is_damaged() -> None:
    update = stepped(network(), 1)

    with pytest.raises(Damaged, match="expected unmoved and averaged"):
        update.load(update.tensors(), {"averaged": 0})


def test_a_parameter_that_never_had_a_gradient_is_saved_as_unmoved() -> None:
    model = network()
    update = Update(model, optimizer=AdamW(), schedule=Constant(), seed=0)
    backward(model, 0)
    model[0].bias.grad = None
    update.step(0, 0.0)

    fresh = Update(network(), optimizer=AdamW(), schedule=Constant(), seed=0)
    fresh.load(update.tensors(), update.plain())

    assert update.plain()["unmoved"] == ["0.bias"]
    assert fresh.tensors().keys() == update.tensors().keys()


def test_an_average_is_a_part_of_the_state() -> None:
    model = network()
    update = Update(model, optimizer=SGD(), schedule=Constant(), average=SWA(start=0.5), seed=0)
    backward(model, 0)
    update.step(0, 0.0)
    assert update.tensors() == {}
    backward(model, 1)
    update.step(1, 0.5)

    assert update.plain()["averaged"] == 1
    assert update.tensors().keys() == {f"average.{n}" for n, _ in model.named_parameters()}


def test_an_error_while_evaluating_brings_the_weights_back() -> None:
    model = network()
    update = Update(model, optimizer=SGD(), schedule=Constant(), average=SWA(start=0.0), seed=0)
    for step in range(3):
        backward(model, step)
        update.step(step, step / 3)
    before = {name: t.clone() for name, t in model.state_dict().items()}

    with pytest.raises(KeyError), update.evaluating():
        raise KeyError

    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_measurements_count_the_zeros_that_l1_made() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(0.05)
        model[2].weight.fill_(1.0)
    update = Update(
        model, optimizer=SGD(lr=0.1), schedule=Constant(), penalties=(L1(strength=0.6),), seed=0
    )

    update.step(0, 0.0)

    found = update.measurements()
    assert found["zero_share"] == pytest.approx(12 / 18)
    assert found["weight_norm"] == pytest.approx(0.94 * math.sqrt(6))
