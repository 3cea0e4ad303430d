import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel

from zafu.optim.averaging import EMA, SWA, Average
from zafu.optim.runtime.averaging import Averaging
from zafu.pieces import held_by


@settings(deadline=None)
@given(decay=st.floats(0.01, 0.999), values=st.lists(st.floats(-9, 9), min_size=1, max_size=20))
def test_an_ema_is_the_mean_weighted_by_age(decay: float, values: list[float]) -> None:
    """Without bias: the weights d^age add up to what they are divided by."""
    average, mean = EMA(decay=decay), 0.0

    for count, value in enumerate(values):
        mean += average.weight(count) * (value - mean)

    ages = [decay**age for age in range(len(values))][::-1]
    weighted = sum(a * v for a, v in zip(ages, values, strict=True)) / sum(ages)
    assert mean == pytest.approx(weighted, abs=1e-8)


def averaging_of(model: nn.Module, average: Average) -> Averaging:
    held = held_by(model)
    floats = {n: b for n, b in held.buffers.items() if b.is_floating_point()}
    return Averaging({p.name: p.own for p in held.pieces} | floats, average)


def walk(model: nn.Module, averaging: Averaging, steps: int) -> list[torch.Tensor]:
    """Move all weights at random and average them; what they were after each step."""
    visited = []
    random = torch.Generator().manual_seed(0)
    for step in range(steps):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=random))
        averaging.add(step, step / steps)
        visited.append(next(model.parameters()).detach().clone())
    return visited


def test_swa_is_torchs_averaged_model() -> None:
    model = nn.Linear(4, 3)
    averaging, peer = averaging_of(model, SWA(start=0.0)), AveragedModel(model)

    for _ in range(10):
        walk(model, averaging, 1)
        peer.update_parameters(model)

    mean = averaging.averages()[model.weight]
    torch.testing.assert_close(mean, peer.module.weight.detach())


def test_swa_takes_what_is_due_and_nothing_else() -> None:
    model = nn.Linear(4, 3)
    averaging = averaging_of(model, SWA(start=0.5, every=2))

    visited = walk(model, averaging, 10)

    assert averaging.count == 2
    expected = (visited[6] + visited[8]) / 2
    torch.testing.assert_close(averaging.averages()[model.weight], expected)


def test_before_anything_is_averaged_there_is_nothing_to_judge_instead() -> None:
    averaging = averaging_of(nn.Linear(1, 1), SWA())

    averaging.add(0, 0.0)

    assert averaging.averages() == {}
    assert averaging.tensors() == {}


@pytest.mark.parametrize("average", [EMA(), SWA(start=0.0)])
def test_saved_buffers_are_averaged_like_weights(average: Average) -> None:
    model = nn.BatchNorm1d(2)
    model.register_buffer("table", torch.ones(2), persistent=False)
    averaging = averaging_of(model, average)

    averaging.add(0, 0.0)

    names = {name.removeprefix("average.") for name in averaging.tensors()}
    assert names == {"weight", "bias", "running_mean", "running_var"}


def test_the_mean_of_bfloat16_weights_is_kept_in_float32() -> None:
    model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    averaging = averaging_of(model, EMA(decay=0.999))
    nn.init.zeros_(model.weight)
    averaging.add(0, 0.0)
    nn.init.ones_(model.weight)

    for step in range(1, 1000):
        averaging.add(step, 0.0)

    mean = averaging.averages()[model.weight]
    expected = 1 - 0.999**999 * (1 - 0.999) / (1 - 0.999**1000)
    assert mean.item() == pytest.approx(expected, rel=1e-4)
