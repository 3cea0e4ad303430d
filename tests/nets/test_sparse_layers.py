"""Sparse layers say what their values are now, and become whole again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zafu.nets.sparse import Sparse, sparse, thin, whole

LAYERS = {
    "linear": lambda: nn.Linear(9, 7),
    "no bias": lambda: nn.Linear(9, 7, bias=False),
    "convolution": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
}
READ = {"linear": (5, 9), "no bias": (5, 9), "convolution": (5, 4, 8, 8), "groups": (5, 4, 8, 8)}


def zeroed(name: str) -> nn.Linear | nn.Conv2d:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    with torch.no_grad():
        layer.weight[layer.weight.abs() < layer.weight.abs().median()] = 0
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_a_sparse_layer_computes_as_the_whole_one_and_becomes_it_again(name: str) -> None:
    layer, x = zeroed(name), torch.randn(READ[name])

    made = sparse(layer)
    again = whole(made)

    assert torch.equal(made(x), layer(x))
    assert torch.equal(again.weight, layer.weight)
    assert torch.equal(again(x), layer(x))


def test_a_sparse_layer_of_a_sparse_layer_has_its_form() -> None:
    made = sparse(zeroed("convolution"))

    again = Sparse(made, 5)

    assert (again.shape, again.conv) == (made.shape, made.conv)
    assert again.values.shape == (5,)
    with torch.device("meta"):
        assert Sparse(made, 5).mask.shape == made.mask.shape


def test_what_is_judged_is_what_a_fused_optimizer_has_left() -> None:
    """Fused kernels change tensors without a word: what is kept for judging may not outlive it."""
    net, x = nn.Sequential(sparse(zeroed("linear"))), torch.randn(5, 9)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        net.train()(x).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            judged = net.eval()(x)

        torch.testing.assert_close(judged, whole(thin(net)["0"])(x))
        torch.testing.assert_close(judged, net(x).detach())
