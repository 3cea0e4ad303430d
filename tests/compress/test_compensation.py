"""Rounding and removing of weights, with and without making good for what is lost by it."""

from __future__ import annotations

import pytest
import torch
from digits import apart, compressed, learned, pictures, planted, rows, said, trained
from torch import Tensor, nn

from zafu import tensors
from zafu.nets.sparse import Sparse, packed, unpacked


def alone(layer: nn.Module) -> nn.Sequential:
    """A net that is this one layer, of digits as rows."""
    return nn.Sequential(nn.Flatten(), layer)


def first_layer() -> nn.Linear:
    """What a net that learned the digits reads them with."""
    return trained().get_submodule("layers.0.linear")  # pyright: ignore


def lost(how: str) -> float:
    """The squared error of a trained layer's output for digits that were not seen."""
    layer = first_layer()
    net = alone(layer)
    with torch.no_grad():
        before = layer(rows(held_out=True))

    compressed(net, how)

    return apart(said(net), before)


def weights(net: nn.Module, name: str = "1") -> Tensor:
    layer = net.get_submodule(name)
    assert isinstance(layer, Sparse)
    return layer.weight.detach()


@pytest.mark.parametrize("group", [32, 64])
def test_rounding_that_is_made_good_for_loses_less_of_what_a_layer_says(group: int) -> None:
    """GPTQ against the same grid without compensation, on inputs that are much alike."""
    nearest = lost(f"{{kind: int4, group: {group}, compensate: false}}")

    assert lost(f"int4:{group}") < 0.6 * nearest


def test_of_half_the_weights_sparsegpt_loses_less_than_wanda_and_that_less_than_size() -> None:
    errors = [
        lost(f"{{kind: sparsify, amount: 0.5, score: {score}}}")
        for score in ("sparsegpt", "wanda", "magnitude", "random")
    ]

    assert errors == sorted(errors)
    assert errors[0] < 0.8 * errors[1]


def test_wanda_keeps_the_largest_products_of_weight_and_what_it_reads() -> None:
    layer = planted(48, 64)
    x, before = rows(), layer.weight.detach().clone()
    net = alone(layer)

    compressed(net, "{kind: sparsify, amount: 0.25, score: wanda}")

    scores = before.abs() * x.square().mean(0).sqrt()
    most = scores.topk(48, dim=1).values[:, -1:]
    seen = scores > 0  # pixels that are always dark tie with each other
    stays = weights(net) != 0
    assert torch.equal(stays[seen], (scores >= most)[seen])
    assert (stays.sum(1) == 48).all()
    assert torch.equal(weights(net)[stays], before[stays])


@pytest.mark.parametrize("score", ["sparsegpt", "wanda", "magnitude", "random"])
def test_two_of_each_four_neighbours_are_zero(score: str) -> None:
    net = alone(planted(48, 64))

    compressed(net, f"{{kind: sparsify, pattern: '2:4', score: {score}}}")

    assert ((weights(net) == 0).unflatten(1, (-1, 4)).sum(2) == 2).all()


@pytest.mark.parametrize("score", ["sparsegpt", "wanda", "magnitude"])
def test_a_layer_that_is_sparse_already_is_stored_exactly_in_fewer_bytes(score: str) -> None:
    layer, random = planted(48, 64), torch.Generator().manual_seed(0)
    read = rows().amax(0) > 0  # wanda sees nothing in a pixel that is always dark
    with torch.no_grad():
        layer.weight *= read
        for row in layer.weight:
            places = read.nonzero().flatten()
            row[places[torch.randperm(len(places), generator=random)[: len(places) - 32]]] = 0
    net, before = alone(layer), layer.weight.detach().clone()
    size = tensors.size(tensors.of_module(net))

    compressed(net, f"{{kind: sparsify, amount: 0.5, score: {score}}}")

    assert torch.equal(weights(net), before)
    small = tensors.size(tensors.of_module(net))
    assert small == size - 4 * before.numel() // 2 + before.numel() // 8


def test_of_the_whole_model_the_smallest_weights_go() -> None:
    net = nn.Sequential(nn.Flatten(), planted(32, 64), nn.ReLU(), planted(16, 32, seed=1))
    every = torch.cat([p.detach().flatten() for n, p in net.named_parameters() if "weight" in n])

    compressed(net, "{kind: sparsify, amount: 0.3, score: magnitude, scope: model}")

    left = torch.cat([weights(net, name).flatten() for name in ("1", "3")])
    gone = left == 0
    assert int(gone.sum()) == round(0.3 * len(every))
    assert every[gone].abs().max() < every[~gone].abs().min()


def test_zeros_stay_zero_while_the_others_learn() -> None:
    net = trained()
    compressed(net, "sparsify:0.8")
    before = weights(net, "layers.0.linear")

    losses = learned(net, epochs=3)

    after = weights(net, "layers.0.linear")
    assert losses[-1] < losses[0]
    assert torch.equal(after == 0, before == 0)
    assert not torch.equal(after, before)


def test_a_sparse_convolution_says_what_the_whole_one_with_zeros_says() -> None:
    torch.manual_seed(0)
    whole = nn.Conv2d(1, 6, 3, stride=2, padding=1, dilation=2)
    net = nn.Sequential(whole)

    compressed(net, "{kind: sparsify, amount: 0.5, score: magnitude}")

    with torch.no_grad():
        expected = whole(pictures()[0])  # whose weights were set to 0 in place
        torch.testing.assert_close(net(pictures()[0]), expected, rtol=0, atol=0)
    assert (whole.weight == 0).sum() == whole.weight.numel() // 2


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_bits_of_a_mask_come_back(count: int) -> None:
    stays = torch.rand(count, generator=torch.Generator().manual_seed(count)) < 0.4

    assert torch.equal(unpacked(packed(stays), count), stays.nonzero().flatten())
