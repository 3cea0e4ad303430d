import math

import pytest
import torch
from torch.optim import lr_scheduler

from zafu.errors import RecipeError
from zafu.optim.schedules import WSD, Constant, Cosine, Cyclic, Linear, Schedule


def torchs(build: object, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = build(optimizer)  # pyright: ignore
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def ours(schedule: Schedule, steps: int) -> list[float]:
    return [schedule.factor(step / steps) for step in range(steps)]


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cosine_is_torchs(floor: float) -> None:
    peer = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 50, eta_min=floor), 50)

    assert ours(Cosine(floor=floor), 50) == pytest.approx(peer, abs=1e-12)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_cycles_are_torchs_warm_restarts(floor: float) -> None:
    peer = torchs(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, eta_min=floor), 50)

    found = ours(Cyclic(cycles=5, floor=floor), 50)

    assert found == pytest.approx(peer, abs=1e-12)
    assert Cyclic(cycles=5, floor=floor).factor(1.0) == pytest.approx(floor)


def test_cycles_end_evenly_behind_the_warm_up() -> None:
    assert Cyclic(cycles=4, warmup=0.2).ends() == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert Cosine().ends() == ()


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_linear_is_torchs(floor: float) -> None:
    peer = torchs(
        lambda o: lr_scheduler.LinearLR(o, start_factor=1, end_factor=floor, total_iters=50), 50
    )

    assert ours(Linear(floor=floor), 50) == pytest.approx(peer, abs=1e-12)


def test_a_warm_up_is_torchs_line_before_the_rest() -> None:
    def build(o: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        tiny = 1e-12  # torch refuses to start from 0
        first = lr_scheduler.LinearLR(o, start_factor=tiny, end_factor=1, total_iters=10)
        rest = lr_scheduler.CosineAnnealingLR(o, 40)
        return lr_scheduler.SequentialLR(o, [first, rest], milestones=[10])

    peer = torchs(build, 50)

    assert ours(Cosine(warmup=0.2), 50) == pytest.approx(peer, abs=1e-9)


def test_wsd_stays_and_then_falls_by_a_square_root() -> None:
    schedule = WSD(warmup=0.1, decay=0.4)

    assert [schedule.factor(p) for p in (0.05, 0.1, 0.3, 0.6)] == pytest.approx([0.5, 1, 1, 1])
    assert schedule.factor(0.8) == pytest.approx(1 - math.sqrt(0.5))
    assert schedule.factor(1.0) == pytest.approx(0)


def test_wsd_with_a_line_ends_at_its_floor() -> None:
    schedule = WSD(decay=0.5, shape="linear", floor=0.2)

    assert [schedule.factor(p) for p in (0.5, 0.75, 1.0)] == pytest.approx([1, 0.6, 0.2])


def test_a_warm_up_and_a_decay_that_overlap_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        WSD.parse({"warmup": 0.5, "decay": 0.6})

    assert [f.path for f in caught.value.faults] == ["decay"]


def test_a_budget_that_ran_over_counts_as_spent() -> None:
    assert Cosine(floor=0.1).factor(1.7) == Cosine(floor=0.1).factor(1.0) == pytest.approx(0.1)
    assert Constant().factor(1.7) == 1
