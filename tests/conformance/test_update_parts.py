"""The exam of every schedule, penalty and average, found by its kind."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zafu.errors import RecipeError
from zafu.fit import Fit
from zafu.optim.averaging import Average
from zafu.optim.contract import Optimizer
from zafu.optim.penalties import Penalty
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant, Schedule
from zafu.optim.sgd import SGD
from zafu.spec import Family

FAMILIES = {"schedule": Schedule, "penalties": Penalty, "average": Average}
ALL = [
    pytest.param(place, kind, id=f"{place} {name}")
    for place, family in FAMILIES.items()
    for name, kind in family.kinds().items()
]
BOUNDS = {"schedule": ("warmup", 1.0), "penalties": ("strength", -1.0)}
AVERAGE_BOUNDS = {"ema": ("decay", 1.0), "swa": ("every", 0)}


def recipe(place: str, value: object) -> dict[str, object]:
    return {"steps": 1, place: [value] if place == "penalties" else value}


@pytest.mark.parametrize(("place", "kind"), ALL)
def test_a_technique_prints_and_parses_back(place: str, kind: type[Family]) -> None:
    technique = kind()

    fit = Fit.parse(recipe(place, technique.dump()))
    by_name = Fit.parse(recipe(place, kind.tag()))

    assert fit == by_name
    assert fit.dump()[place] in (technique.dump(), [technique.dump()])


@pytest.mark.parametrize(("place", "kind"), ALL)
def test_a_value_out_of_range_is_refused_with_its_range_and_path(
    place: str, kind: type[Family]
) -> None:
    name, value = AVERAGE_BOUNDS[kind.tag()] if place == "average" else BOUNDS[place]

    with pytest.raises(RecipeError) as caught:
        Fit.parse(recipe(place, {"kind": kind.tag(), name: value}))

    (fault,) = caught.value.faults
    assert fault.path == (f"penalties.0.{name}" if place == "penalties" else f"{place}.{name}")
    assert fault.expected.startswith("a number ")


@pytest.mark.parametrize(("place", "kind"), ALL)
def test_every_setting_says_what_it_is(place: str, kind: type[Family]) -> None:
    silent = [name for name, f in kind.model_fields.items() if not f.description]

    assert silent == ["kind"]


@pytest.mark.parametrize("kind", Schedule.kinds())
@settings(deadline=None)
@given(warmup=st.floats(0, 0.6), spent=st.floats(0, 1.5))
def test_a_factor_is_between_0_and_1(kind: str, warmup: float, spent: float) -> None:
    schedule = Schedule.kinds()[kind](warmup=warmup)

    assert 0 <= schedule.factor(spent) <= 1


@pytest.mark.parametrize("kind", Schedule.kinds())
@settings(deadline=None)
@given(warmup=st.floats(0.001, 0.6), spent=st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_a_factor_grows_in_the_warm_up_and_never_after(
    kind: str, warmup: float, spent: list[float]
) -> None:
    schedule = Schedule.kinds()[kind](warmup=warmup)
    low, high = sorted(spent)
    ends = [(end - warmup) / (1 - warmup) for end in schedule.ends()]
    assume(not any(low <= end + 1e-9 and end - 1e-9 <= high for end in ends))

    assert schedule.factor(warmup * low) <= schedule.factor(warmup * high)
    after = (warmup + (1 - warmup) * low, warmup + (1 - warmup) * high)
    assert schedule.factor(after[0]) >= schedule.factor(after[1]) - 1e-12


@pytest.mark.parametrize("kind", Schedule.kinds())
@settings(deadline=None)
@given(warmup=st.floats(0.01, 0.6), spent=st.floats(0, 1))
def test_a_factor_does_not_jump(kind: str, warmup: float, spent: float) -> None:
    schedule = Schedule.kinds()[kind](warmup=warmup)
    assume(all(abs(spent - end) > 1e-6 for end in schedule.ends()))

    jump = abs(schedule.factor(spent + 1e-8) - schedule.factor(spent))

    assert jump < 1e-3  # the square root is steep where the decay begins


def update_of(model: nn.Module, optimizer: Optimizer, penalties: tuple[Penalty, ...]) -> Update:
    return Update(model, optimizer=optimizer, schedule=Constant(), penalties=penalties, seed=0)


@pytest.mark.parametrize("kind", Penalty.kinds())
def test_a_penalty_makes_matrices_smaller_and_leaves_vectors_alone(kind: str) -> None:
    model = nn.Linear(4, 3)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    update = update_of(model, SGD(lr=0.1), (Penalty.kinds()[kind](strength=0.1),))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    update.gradients(0)
    update.step(0, 0.0)

    assert (model.weight.abs() < weight.abs()).all()
    assert torch.equal(model.bias, bias)


@pytest.mark.parametrize("kind", Average.kinds())
@settings(deadline=None, max_examples=25)
@given(values=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=12))
def test_an_average_lies_between_what_entered_it(kind: str, values: list[float]) -> None:
    average = Average.kinds()[kind]()
    mean = 0.0

    for count, value in enumerate(values):
        mean += average.weight(count) * (value - mean)

    assert min(values) - 1e-6 <= mean <= max(values) + 1e-6


@pytest.mark.parametrize("kind", Average.kinds())
def test_the_average_is_judged_and_the_weights_come_back_to_the_bit(kind: str) -> None:
    model = nn.Linear(3, 2)
    update = Update(
        model, optimizer=SGD(), schedule=Constant(), average=Average.kinds()[kind](), seed=0
    )
    for step in range(10):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        update.step(step, step / 10)
    before = copies(model)

    with update.evaluating():
        shown = copies(model)
    after = copies(model)

    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before, shown, strict=True))


def copies(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]
