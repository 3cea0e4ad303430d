import pytest
import torch
from torch import nn

from zafu.optim.contract import Optimizer
from zafu.optim.runtime.implementation import choose
from zafu.optim.runtime.parameters import parameter_groups


def test_fused_is_taken_where_it_is_there() -> None:
    groups = [{"params": [("a", torch.zeros(1)), ("b", torch.zeros(1, dtype=torch.float64))]}]

    assert choose(groups, fused=("cpu",)) == (False, True)
    assert choose(groups, fused=("cuda",)) == (False, False)


def test_on_a_device_without_kernels_the_loop_is_taken() -> None:
    groups = [{"params": [("a", torch.zeros(1, device="meta"))]}]

    assert choose(groups, fused=("cpu", "cuda")) == (False, False)


def test_whole_numbers_and_mixed_devices_are_left_to_the_loop() -> None:
    mixed = [("a", torch.zeros(1)), ("b", torch.zeros(1, device="meta"))]

    assert choose([{"params": mixed}], fused=("cpu", "meta")) == (False, False)
    whole = [("a", torch.zeros(1, dtype=torch.int64))]
    assert choose([{"params": whole}], fused=("cpu",)) == (False, False)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "adagrad"])
def test_fused_agrees_with_the_loop_after_a_hundred_steps(kind: str) -> None:
    spec = Optimizer.kinds()[kind].parse(
        {"weight_decay": 0.1} | ({"momentum": 0.9} if kind == "sgd" else {})
    )
    fused, loop = (nn.Linear(16, 8) for _ in range(2))
    loop.load_state_dict(fused.state_dict())
    (ours,) = spec.build(parameter_groups(fused, spec))
    (theirs,) = spec.build(parameter_groups(loop, spec))
    for group in theirs.param_groups:
        group["fused"] = False
    random = torch.Generator().manual_seed(0)

    for _ in range(100):
        for a, b in zip(fused.parameters(), loop.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=random)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()

    torch.testing.assert_close(fused.state_dict(), loop.state_dict(), rtol=1e-5, atol=1e-5)
