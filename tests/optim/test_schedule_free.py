import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zafu.errors import RecipeError
from zafu.optim.averaging import EMA
from zafu.optim.penalties import L1
from zafu.optim.runtime.schedule_free import ScheduleFreeAdamW
from zafu.optim.runtime.update import Update
from zafu.optim.schedule_free import ScheduleFree
from zafu.optim.schedules import Constant


def by_the_paper(
    start: Tensor, gradients: list[Tensor], lrs: list[float], decay: float
) -> tuple[Tensor, Tensor]:
    """Algorithm 1 of arXiv:2405.15682 with x, y and z kept apart; the last y and x."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    x = y = z = start
    v, total = torch.zeros_like(start), 0.0
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), 1):
        y = (1 - beta1) * z + beta1 * x
        v = beta2 * v + (1 - beta2) * g**2
        rate = lr * math.sqrt(1 - beta2**t)
        z = z - rate * g / (v.sqrt() + eps) - rate * decay * y
        total += rate**2
        c = rate**2 / total if total else 0.0
        x = (1 - c) * x + c * z
    return (1 - beta1) * z + beta1 * x, x


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    decay=st.sampled_from([0.0, 0.1]),
    lrs=st.lists(st.sampled_from([0.0, 0.003, 0.01]), min_size=1, max_size=15),
)
def test_schedule_free_is_the_algorithm_of_its_paper(
    seed: int, decay: float, lrs: list[float]
) -> None:
    random = torch.Generator().manual_seed(seed)
    start = torch.randn(6, dtype=torch.float64, generator=random)
    gradients = [torch.randn(6, dtype=torch.float64, generator=random) for _ in lrs]
    weight = nn.Parameter(start.clone())
    free = ScheduleFreeAdamW([{"params": [weight]}], lr=1.0, weight_decay=decay)

    for gradient, lr in zip(gradients, lrs, strict=True):
        free.param_groups[0]["lr"] = lr
        weight.grad = gradient
        free.step()

    y, x = by_the_paper(start, gradients, lrs, decay)
    torch.testing.assert_close(weight.detach(), y)
    torch.testing.assert_close(free.averages()[weight], x)


def test_the_average_is_judged_and_the_weights_come_back_to_the_bit() -> None:
    model = nn.Linear(3, 1)
    update = Update(model, optimizer=ScheduleFree(lr=0.1), schedule=Constant(), seed=0)
    for step in range(5):
        model(torch.ones(1, 3)).sum().backward()
        update.step(step, step / 5)
    trained = model.weight.detach().clone()

    with update.evaluating():
        judged = model.weight.detach().clone()

    assert torch.equal(model.weight, trained)
    # all gradients point one way, so the average of the way lags behind
    assert (judged > trained).all()


def test_a_second_average_and_a_proximal_step_are_refused_together() -> None:
    with pytest.raises(RecipeError) as caught:
        Update(
            nn.Linear(2, 2),
            optimizer=ScheduleFree(),
            schedule=Constant(),
            penalties=(L1(method="subgradient"), L1()),
            average=EMA(),
            seed=0,
        )

    paths = [fault.path for fault in caught.value.faults]
    assert paths == ["fit.average", "fit.penalties.1.method"]
