"""Pruning of whole units and blocks: what is not needed goes first, and the rest makes good."""

from __future__ import annotations

import pytest
import torch
from digits import SIGNATURE, apart, compressed, learned, rows, said, trained
from torch import nn

from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.vit import ViT
from zafu.nets.units import keep
from zafu.signature import Signature, Tokens

DEAD = torch.arange(1, 64, 2)  # of the 64 neurons of a layer


def with_dead_units() -> nn.Module:
    """A trained perceptron, half of whose first neurons do nothing."""
    net = trained()
    first, second = (net.get_submodule(f"layers.{i}.linear") for i in (0, 1))
    with torch.no_grad():
        first.weight[DEAD], first.bias[DEAD] = 0, 0  # pyright: ignore
        second.weight[:, DEAD] = 0  # pyright: ignore
    return net


@pytest.mark.parametrize("score", ["taylor", "activation", "magnitude"])
def test_units_that_do_nothing_go_first(score: str) -> None:
    net = with_dead_units()
    layer: nn.Linear = net.get_submodule("layers.0.linear")  # pyright: ignore
    active = (layer(rows()) > 0).any(0)  # training left some others that are never so
    first = layer.weight.detach().clone()

    compressed(net, f"{{kind: prune, amount: 0.5, score: {score}, repair: false}}")

    left = net.get_parameter("layers.0.linear.weight")
    assert left.shape == (32, 64)
    kept = (first[:, None] == left[None]).all(2).any(1)
    assert kept[active].all()
    assert net.get_parameter("layers.1.linear.weight").shape == (32, 32)


def test_over_the_model_the_units_go_that_do_nothing() -> None:
    net = with_dead_units()
    before = said(net)

    compressed(net, "{kind: prune, amount: 0.3, score: activation, scope: model, repair: false}")

    first, second = (net.get_parameter(f"layers.{i}.linear.weight") for i in (0, 1))
    assert len(first) < len(second) < 64
    assert apart(said(net), before) < 0.05 * float(before.square().mean())


@pytest.mark.parametrize("score", ["activation", "magnitude", "random"])
def test_readers_that_are_fitted_to_what_is_left_lose_less(score: str) -> None:
    errors = list[float]()
    for repair in ("true", "false"):
        net = trained()
        before = said(net)
        compressed(net, f"{{kind: prune, amount: 0.5, score: {score}, repair: {repair}}}")
        errors.append(apart(said(net), before))

    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize(("multiple", "left"), [(1, 45), (8, 48), (32, 32)])
def test_what_is_left_is_a_multiple(multiple: int, left: int) -> None:
    net = trained()

    compressed(net, f"{{kind: prune, amount: 0.3, multiple: {multiple}, score: random}}")

    assert net.get_parameter("layers.0.linear.weight").shape[0] == left


def test_channels_that_are_normalized_together_lose_alike() -> None:
    net = ConvNet(width=16, groups=4, stages=1, blocks=1).build(SIGNATURE)
    norm = net.get_submodule("blocks.0.norm_2")
    with torch.no_grad():
        norm.weight.copy_(torch.arange(16))  # pyright: ignore

    compressed(net, "{kind: prune, amount: 0.5, repair: false, multiple: 1}")

    kept = net.get_parameter("blocks.0.norm_2.weight").int().tolist()
    assert [sum(c // 4 == group for c in kept) for group in range(4)] == [2, 2, 2, 2]


def test_a_group_of_queries_goes_with_its_key_and_value() -> None:
    """A decoder without a group that says nothing answers as before."""
    torch.manual_seed(0)
    spec = Decoder(width=32, heads=4, kv_heads=2, layers=1, hidden=64)
    net = spec.build(Signature(inputs=Tokens(vocab=32, context=16), outputs=32)).eval()
    (heads,) = (units for units in net.units() if units.what == "heads")  # pyright: ignore
    with torch.no_grad():
        net.get_parameter("model.layers.0.self_attn.o_proj.weight")[:, :16] = 0
    tokens = torch.arange(24).view(2, 12)
    before = net(tokens).detach()

    keep(net, heads, torch.tensor([1]))

    torch.testing.assert_close(net(tokens).detach(), before, rtol=1e-5, atol=1e-5)
    shapes = [net.get_parameter(f"model.layers.0.self_attn.{n}_proj.weight").shape for n in "qkvo"]
    assert shapes == [(16, 32), (8, 32), (8, 32), (32, 16)]


def test_the_block_that_does_nothing_goes_first() -> None:
    torch.manual_seed(0)
    net = ViT(width=16, heads=2, layers=3, patch=4).build(SIGNATURE)
    learned(net, epochs=6)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith("blocks.1."):
                parameter.zero_()
    before = said(net)

    (edit,) = compressed(net, "layers:1")

    assert edit.dump()["blocks"] == ["blocks.1"]
    torch.testing.assert_close(said(net), before, rtol=0, atol=0)
