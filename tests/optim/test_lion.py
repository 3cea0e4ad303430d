import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zafu.optim.runtime.lion import Lion


def by_the_paper(w: Tensor, gradients: list[Tensor], lr: float, decay: float) -> Tensor:
    """Algorithm 2 of arXiv:2302.06675, term by term."""
    m = torch.zeros_like(w)
    for g in gradients:
        update = torch.sign(0.9 * m + (1 - 0.9) * g)
        w = w - lr * (update + decay * w)
        m = 0.99 * m + (1 - 0.99) * g
    return w


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), decay=st.sampled_from([0.0, 0.3]))
def test_lion_is_the_algorithm_of_its_paper(seed: int, decay: float) -> None:
    random = torch.Generator().manual_seed(seed)
    start = torch.randn(5, 4, generator=random, dtype=torch.float64)
    gradients = [torch.randn(5, 4, generator=random, dtype=torch.float64) for _ in range(20)]
    weight = torch.nn.Parameter(start.clone())
    lion = Lion([{"params": [weight]}], lr=0.01, weight_decay=decay)

    for gradient in gradients:
        weight.grad = gradient
        lion.step()

    torch.testing.assert_close(weight.detach(), by_the_paper(start, gradients, 0.01, decay))


def test_every_weight_moves_by_the_learning_rate() -> None:
    weight = torch.nn.Parameter(torch.zeros(100))
    weight.grad = torch.randn(100, generator=torch.Generator().manual_seed(0)) * 1e-6

    Lion([{"params": [weight]}], lr=0.25).step()

    assert torch.equal(weight.detach().abs(), torch.full((100,), 0.25))


def test_a_parameter_without_a_gradient_stays_and_has_no_state() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    lion = Lion([{"params": [weight]}], lr=0.1, weight_decay=0.1)

    lion.step()

    assert torch.equal(weight.detach(), torch.ones(3))
    assert not lion.state
