"""Zeros that grow while a model is trained: how many, which, and that they stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zafu.errors import Damaged, RecipeError
from zafu.fit import Fit
from zafu.optim.averaging import EMA, SWA, Average
from zafu.optim.contract import Optimizer
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant
from zafu.optim.sgd import SGD
from zafu.optim.sparsity import Sparsity

STEPS = 20
SIZES = {"0.weight": 24 * 12, "2.weight": 5 * 24}
NAMES = tuple(SIZES)


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 5))


def updating(
    model: nn.Module,
    sparsity: dict[str, Any] | None,
    *,
    optimizer: Optimizer | None = None,
    average: Average | None = None,
) -> Update:
    return Update(
        model,
        optimizer=optimizer or SGD(lr=0.1),
        schedule=Constant(),
        average=average,
        sparsity=None if sparsity is None else Sparsity.parse({"every": 1, **sparsity}),
        seed=0,
    )


def backward(model: nn.Module, step: int) -> None:
    x = torch.randn(8, 12, generator=torch.Generator().manual_seed(step))
    model(x).square().mean().backward()


def moved(model: nn.Module, update: Update, first: int = 0, last: int = STEPS) -> None:
    for step in range(first, last):
        backward(model, step)
        update.gradients(step)
        update.step(step, step / STEPS)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def zeros(model: nn.Module) -> dict[str, int]:
    return {name: int((model.get_parameter(name) == 0).sum()) for name in NAMES}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[n]) for n, t in one.items())


@settings(deadline=None)
@given(
    amount=st.floats(0, 0.99),
    begin=st.floats(0, 0.8),
    length=st.floats(0.05, 0.2),
    spent=st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_the_share_rises_from_0_to_the_amount_and_ever_slower(
    amount: float, begin: float, length: float, spent: list[float]
) -> None:
    spec = Sparsity(amount=amount, begin=begin, end=begin + length)
    early, late = sorted(spent)

    assert spec.share(0.0) == 0
    assert spec.share(begin + length) == pytest.approx(amount)
    assert spec.share(early) <= spec.share(late) <= amount
    half = spec.share(begin + length / 2)  # Zhu & Gupta: 1 - (1 - 1/2)^3
    assert half == pytest.approx(7 / 8 * amount, abs=1e-9)


@pytest.mark.parametrize("score", ["magnitude", "movement"])
@pytest.mark.parametrize("scope", ["layer", "model"])
@pytest.mark.parametrize("every", [1, 3])
def test_at_each_step_as_many_are_0_as_the_schedule_says(
    score: str, scope: str, every: int
) -> None:
    settings = {"amount": 0.9, "begin": 0.1, "end": 0.7, "every": every, "skip": ()}
    spec = Sparsity.parse(settings | {"score": score, "scope": scope})
    model = network()
    update = updating(model, spec.dump())
    share = 0.0
    for step in range(STEPS):
        moved(model, update, step, step + 1)

        if step % every == 0 or step / STEPS >= 0.7:
            share = spec.share(step / STEPS)
        found = zeros(model)
        if scope == "layer":
            assert found == {name: round(share * size) for name, size in SIZES.items()}
        else:
            assert sum(found.values()) == round(share * sum(SIZES.values()))
    assert share == 0.9


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "adafactor", "lion", "schedule-free"])
@pytest.mark.parametrize("average", [None, EMA(decay=0.9), SWA(start=0.0)])
def test_what_is_gone_stays_0_in_what_is_trained_and_in_what_is_judged(
    optimizer: str, average: EMA | SWA | None
) -> None:
    if average and optimizer == "schedule-free":  # which averages itself
        return
    model = network()
    made = Optimizer.parse({"kind": optimizer, "weight_decay": 0.1})
    update = updating(model, {"amount": 0.8, "end": 0.5}, optimizer=made, average=average)
    gone = {name: torch.zeros(()) for name in NAMES}
    for step in range(STEPS):
        moved(model, update, step, step + 1)
        own = {name: model.get_parameter(name) == 0 for name in NAMES}
        assert all((own[name] >= gone[name].bool()).all() for name in NAMES)
        gone = {name: mask.float() for name, mask in own.items()}
        with update.evaluating():
            assert all((model.get_parameter(n)[gone[n].bool()] == 0).all() for n in NAMES)
    with update.evaluating():
        assert zeros(model) == {name: round(0.8 * size) for name, size in SIZES.items()}


def test_nothing_is_added_to_the_momentum_of_what_is_gone() -> None:
    model = network()
    spec = {"amount": 0.5, "end": 0.2}
    update = updating(model, spec, optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=0.1))
    moved(model, update, 0, 10)
    before = {name: t.clone() for name, t in update.tensors().items()}

    moved(model, update, 10, 15)

    after = update.tensors()
    for name in NAMES:
        gone, buffer = model.get_parameter(name) == 0, f"optimizer.0.momentum_buffer.{name}"
        assert gone.sum() == SIZES[name] // 2
        torch.testing.assert_close(after[buffer][gone], before[buffer][gone] * 0.9**5)


@pytest.mark.parametrize("score", ["magnitude", "movement"])
def test_amount_0_trains_the_same_bits(score: str) -> None:
    plain, model = network(), network()
    moved(plain, updating(plain, None, average=EMA()))

    moved(model, updating(model, {"amount": 0.0, "score": score}, average=EMA()))

    assert same(weights(model), weights(plain))


def test_movement_is_the_sum_of_what_each_step_does_to_the_weights_size() -> None:
    """By hand: sum of -w * dL/dw over the steps before the first zeros."""
    model = network()
    update = updating(model, {"score": "movement", "begin": 0.5, "end": 0.9, "skip": ()})
    wanted = {name: torch.zeros_like(model.get_parameter(name)) for name in NAMES}
    for step in range(10):
        backward(model, step)
        for name, total in wanted.items():
            weight = model.get_parameter(name)
            assert weight.grad is not None
            total.sub_(weight.detach() * weight.grad)
        update.gradients(step)
        update.step(step, step / STEPS)

    found = update.tensors()

    for name, total in wanted.items():
        torch.testing.assert_close(found[f"sparsity.{name}"], total)
    moved(model, update, 10, 12)  # the first zeros: those that moved most towards 0
    for name in NAMES:
        gone = model.get_parameter(name) == 0
        assert gone.any()
        assert wanted[name][gone].mean() < wanted[name][~gone].mean()


@pytest.mark.parametrize("score", ["magnitude", "movement"])
@pytest.mark.parametrize("average", [None, EMA()])
def test_gone_on_from_its_state_it_ends_with_the_same_bits(score: str, average: EMA | None) -> None:
    settings = {"amount": 0.9, "score": score, "every": 3, "end": 0.8}
    whole = network()
    update = updating(whole, settings, average=average)
    moved(whole, update, 0, 9)
    model, state = network(), {n: t.clone() for n, t in update.tensors().items()}
    model.load_state_dict(whole.state_dict())
    plain = update.plain()
    moved(whole, update, 9)

    again = updating(model, settings, average=average)
    again.load(state, plain)
    moved(model, again, 9)

    assert same(weights(model), weights(whole))
    assert same(again.tensors(), update.tensors())
    shown = updating(network(), settings, average=average)
    shown.load_shown({n: t for n, t in again.tensors().items() if shown.shows(n)}, again.plain())


def test_a_state_without_its_scores_is_refused() -> None:
    update = updating(network(), {})
    state = {n: t for n, t in update.tensors().items() if not n.startswith("sparsity.0")}

    with pytest.raises(Damaged, match=r"sparsity\.0\.weight: missing"):
        update.load(state, update.plain())


class Tied(nn.Module):
    """Two layers share a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(12, 12), nn.Linear(12, 12)
        self.three = nn.Linear(12, 12)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.one(x).tanh()).tanh())


def test_tied_and_frozen_and_skipped_matrices_stay_whole() -> None:
    tied = Tied()
    moved(tied, updating(tied, {"end": 0.5}))
    frozen = network()
    frozen[0].weight.requires_grad_(False)
    moved(frozen, updating(frozen, {"end": 0.5}))
    skipped = network()
    moved(skipped, updating(skipped, {"end": 0.5, "skip": ("2",)}))

    assert (tied.one.weight != 0).all()
    assert (tied.three.weight == 0).sum() == round(0.8 * 144)
    assert zeros(frozen) == {"0.weight": 0, "2.weight": 96}
    assert zeros(skipped) == {"0.weight": 230, "2.weight": 0}


def test_patterns_that_fit_nothing_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"fit\.sparsity\.layers: expected .*, found x\*"):
        updating(network(), {"layers": ("x*",)})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"amount": 1}, "sparsity.amount: expected a number < 1"),
        ({"amount": -0.1}, "sparsity.amount: expected a number >= 0"),
        ({"begin": 0.8, "end": 0.5}, "sparsity.end: expected a share > begin, 0.8, found 0.5"),
        ({"end": 1.5}, "sparsity.end: expected a number <= 1"),
        ({"every": 0}, "sparsity.every: expected a number >= 1"),
        ({"score": "size"}, "sparsity.score: expected"),
    ],
)
def test_a_bad_setting_is_refused_with_its_range(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Fit.parse({"epochs": 1, "sparsity": given})

    assert str(refused.value.faults[0]).startswith(said)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"seconds": 5.0}, "seconds: expected a budget in steps"),
        ({"epochs": 1, "early_stopping": {}}, "early_stopping: expected none with sparsity"),
    ],
)
def test_what_it_cannot_be_had_with_is_refused(others: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Fit.parse({"sparsity": {}, **others})
