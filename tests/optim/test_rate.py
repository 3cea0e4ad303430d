"""`lr: auto`: what it does of a gradient and the step before, kept through a save, and said."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import zafu
from zafu.errors import Damaged, RecipeError
from zafu.fit import Fit
from zafu.optim.adam import Adam
from zafu.optim.adamw import AdamW
from zafu.optim.contract import Group, Optimizer
from zafu.optim.rate import Auto
from zafu.optim.runtime.rate import Rate, agreement
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant, Linear, Schedule
from zafu.recipe import Recipe
from zafu.run import prepared
from zafu.trial import Trial, outcome


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()


def backward(model: nn.Module, step: int) -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    (model(x) - 1).square().mean().backward()


def an_update(model: nn.Module, optimizer: Optimizer, schedule: Schedule | None = None) -> Update:
    return Update(model, optimizer=optimizer, schedule=schedule or Constant(), seed=0)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten().clone() for tensor in tensors])


@pytest.mark.parametrize("technique", [Adam, AdamW])
def test_the_rate_follows_the_cosine_of_each_gradient_with_the_step_before(
    technique: type[Adam | AdamW],
) -> None:
    """The step before is found from the weights themselves, which is what it was."""
    model = network()
    update = an_update(model, technique(lr=Auto(start=1e-2, rate=0.3), weight_decay=0.0))
    weights, expected, step = list(model.parameters()), 1e-2, None

    for index in range(12):
        backward(model, index)
        gradient = flat([p.grad for p in weights if p.grad is not None])
        if step is not None:
            expected *= math.exp(0.3 * torch.cosine_similarity(gradient, step, dim=0).item())
        before = flat(weights)
        used = update.step(index, 0.0)
        step = before - flat(weights)

        assert used == pytest.approx(expected, rel=1e-10)


def test_groups_keep_their_scale_of_what_is_found_and_schedules_their_factor() -> None:
    model = network()
    spec = AdamW(lr=Auto(), weight_decay=0.0, groups=(Group(match="2.*", lr_scale=0.1),))
    update = an_update(model, spec, Linear())
    for index in range(3):
        backward(model, index)
        used = update.step(index, 0.25 * index)

    found, _ = update.plain()["lr"]
    assert used == found * 0.5
    rates = {group["lr_scale"]: group["lr"] for o in update._optimizers for group in o.param_groups}
    assert rates == {1.0: pytest.approx(used), 0.1: pytest.approx(used / 10)}


def test_it_falls_no_lower_than_a_share_of_its_peak() -> None:
    rate = Rate(Auto(start=1e-3, rate=1.0, floor=0.05))

    rate.hears(1.0)
    for _ in range(50):
        rate.hears(-1.0)

    assert rate.lr == pytest.approx(0.05 * math.e * 1e-3)


def test_weights_in_many_portions_give_the_same_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    update = an_update(model, AdamW(lr=Auto()))
    backward(model, 0)
    update.step(0, 0.0)
    backward(model, 1)
    shares = dict.fromkeys(model.parameters(), 1.0)
    whole = agreement(update._optimizers, shares, None)

    monkeypatch.setattr("zafu.optim.runtime.rate._MOST", 5)

    assert agreement(update._optimizers, shares, None) == pytest.approx(whole, rel=1e-12)
    assert -1 < whole < 1


def test_a_state_comes_back_through_json_to_the_bit_and_a_damaged_one_is_named() -> None:
    model = network()
    update = an_update(model, AdamW(lr=Auto()))
    for index in range(5):
        backward(model, index)
        update.step(index, 0.0)
    plain = json.loads(json.dumps(update.plain()))
    again = an_update(network(), AdamW(lr=Auto()))

    again.load(update.tensors(), plain)

    assert again.plain() == update.plain()
    for lr in (None, [1.0], [2.0, 1.0], [math.nan, 1.0], "fast"):
        with pytest.raises(Damaged, match="learning rate and its peak"):
            again.load(update.tensors(), {**plain, "lr": lr})
    with pytest.raises(Damaged, match="unmoved and lr and averaged"):
        again.load(update.tensors(), {k: v for k, v in plain.items() if k != "lr"})


def test_a_user_types_auto_or_says_more() -> None:
    def lr_of(lr: object) -> object:
        return Fit.parse({"steps": 1, "optimizer": {"kind": "adam", "lr": lr}}).optimizer.lr

    assert lr_of("auto") == lr_of({"kind": "auto"}) == Auto()
    assert lr_of({"kind": "auto", "start": 1e-3}) == Auto(start=1e-3)
    assert AdamW(lr=Auto()).at("lr", 0.5).lr == 0.5
    assert AdamW(lr=0.5).at("lr", "auto").at("lr.rate", 0.2).lr == Auto(rate=0.2)


def test_a_rate_is_found_by_adam_and_adamw_alone() -> None:
    for kind in sorted(Optimizer.kinds().keys() - {"adam", "adamw"}):
        with pytest.raises(RecipeError) as caught:
            Fit.parse({"steps": 1, "optimizer": {"kind": kind, "lr": "auto"}})
        assert [fault.path for fault in caught.value.faults] == ["optimizer.lr"]


RECIPE = {
    "task": "classification",
    "data": "digits",
    "model": {"kind": "mlp", "width": 16, "dropout": 0.1},
    "fit": {"optimizer": {"kind": "adamw", "lr": "auto"}, "steps": 60, "trackers": []},
}


def test_metrics_say_the_rate_that_was_used(tmp_path: Path) -> None:
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(json.dumps(RECIPE))

    run = zafu.train(recipe, runs=tmp_path / "runs")

    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [row["lr"] for row in rows if "lr" in row]
    assert rates[-1] > 5 * Auto().start


def test_a_training_that_stopped_and_went_on_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = Recipe.parse(RECIPE)
    data = prepared(recipe, tmp_path)
    whole = outcome(Trial(recipe, data))
    half = outcome(Trial(recipe, data, until=0.5))

    rest = outcome(Trial(recipe, data, begin=half.state))

    assert whole.state is not None
    assert rest.state is not None
    assert rest.state.plain == whole.state.plain
    assert all(torch.equal(rest.weights[name], whole.weights[name]) for name in whole.weights)
