"""Integer layers against the floats that they stand for, and training that foresees rounding."""

from __future__ import annotations

import pytest
import torch
from digits import compressed, learned, planted, rows, said, trained
from torch import Tensor, nn

from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8Conv, Int8Linear, together

BF16 = 2**-8  # what rounding to bfloat16 changes at most, as a part


def int4(outputs: int, inputs: int = 64, group: int = 32) -> tuple[Int4Linear, Tensor]:
    random = torch.Generator().manual_seed(0)
    layer = Int4Linear(planted(outputs, inputs), group)
    levels = torch.randint(0, 16, (outputs, inputs), generator=random, dtype=torch.uint8)
    sizes = (outputs, inputs // group)
    layer.take(levels, torch.rand(sizes, generator=random) / 9, -torch.rand(sizes) / 2)
    return layer, levels


def gap(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm() / expected.norm()).detach())


def test_two_weights_in_a_byte_come_back() -> None:
    layer, levels = int4(32)

    assert torch.equal(layer.unpacked(), levels)
    assert layer.levels.numel() * 2 == levels.numel()


@pytest.mark.parametrize("outputs", [48, 40, 1])  # the kernel itself makes 16 at a time
@pytest.mark.parametrize("count", [1, 100])
def test_four_bits_multiply_as_the_floats_that_they_are(outputs: int, count: int) -> None:
    layer, _ = int4(outputs)
    x = rows()[100 : 100 + count]

    expected = nn.functional.linear(x, layer.widened(), layer.bias)

    assert gap(layer(x), expected) < 2 * BF16


@pytest.mark.parametrize("reads", ["dynamic", "static", "float"])
@pytest.mark.parametrize("count", [1, 40])
def test_eight_bits_multiply_as_the_floats_that_they_are(reads: str, count: int) -> None:
    whole, x = planted(24, 64), rows()[100 : 100 + count] - 0.3
    layer = Int8Linear(whole, reads)  # pyright: ignore[reportArgumentType]
    layer.take(whole.weight)
    if reads == "static":
        layer.seen.copy_(torch.stack(x.aminmax()))

    expected = nn.functional.linear(x, layer.widened(), layer.bias)

    assert gap(layer(x), expected) < 0.01  # half a step of 256 in what is read
    assert gap(expected, whole(x)) < 0.01


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("kinds", [("dynamic", "dynamic"), ("dynamic", "float"), ("static", None)])
def test_layers_that_read_together_answer_as_each_alone(
    kinds: tuple[str | None, ...], count: int
) -> None:
    layers = list[nn.Module]()
    for seed, reads in enumerate(kinds):
        whole = planted(24, 64, seed=seed)
        layer = Int8Linear(whole, reads) if reads else whole  # pyright: ignore[reportArgumentType]
        if isinstance(layer, Int8Linear):
            layer.take(whole.weight)
        layers.append(layer)
    x, called = rows()[100 : 100 + count].view(count, 1, 64) - 0.3, list[nn.Module]()
    for layer in layers:
        layer.register_forward_hook(lambda layer, *_: called.append(layer))

    found = together(x, *layers)

    assert called == layers
    assert all(torch.equal(one, layer(x)) for one, layer in zip(found, layers, strict=True))


@pytest.mark.parametrize("reads", ["dynamic", "float"])
@pytest.mark.parametrize(
    "how", [{}, {"stride": 2}, {"groups": 4}, {"dilation": 2}, {"padding": 2, "bias": False}]
)
def test_a_convolution_of_eight_bits_is_the_whole_one(how: dict[str, int], reads: str) -> None:
    torch.manual_seed(0)
    whole = nn.Conv2d(4, 8, 3, **how)  # pyright: ignore[reportArgumentType]
    layer = Int8Conv(whole, reads)  # pyright: ignore[reportArgumentType]
    layer.take(whole.weight)
    with torch.no_grad():
        for count in (16, 1):  # what was packed for many serves one
            x = rows()[:count].view(-1, 1, 8, 8) * torch.tensor([1, -1, 0.5, 2]).view(1, 4, 1, 1)

            assert gap(layer(x), whole(x)) < 0.015


@pytest.mark.parametrize("bits", [4, 8])
def test_a_layer_that_foresaw_its_rounding_is_rounded_to_what_it_saw(bits: int) -> None:
    net = trained()
    compressed(net, f"aware:{bits}")
    losses = learned(net, epochs=4)
    before = said(net)

    compressed(net, "int4" if bits == 4 else "int8:float")

    assert losses[-1] < losses[0]
    assert gap(said(net), before) < 2 * BF16  # in which few rows are multiplied


def test_gradients_pass_through_rounding_as_if_it_were_not_there() -> None:
    net = nn.Sequential(nn.Flatten(), planted(8, 64))
    compressed(net, "aware:8")

    net(rows()).sum().backward()

    grad = net[1].weight.grad
    torch.testing.assert_close(grad, rows().sum(0).expand(8, -1), rtol=1e-5, atol=1e-4)


def test_fresh_adapters_change_nothing_and_alone_learn_and_merge_into_the_same_answer() -> None:
    net = trained()
    before, answer = {n: p.clone() for n, p in net.named_parameters()}, said(net)

    compressed(net, "lora:4")
    assert torch.equal(said(net), answer)
    learned(net, epochs=2)
    moved = said(net)
    frozen = {n: p for n, p in net.named_parameters() if n in before}
    assert all(torch.equal(p, before[n]) for n, p in frozen.items())
    compressed_by_merge(net)

    assert not torch.allclose(moved, answer, atol=1e-2)
    torch.testing.assert_close(said(net), moved, rtol=1e-4, atol=1e-4)  # another order of sums
    assert {n for n, p in net.named_parameters() if p.requires_grad} == before.keys()


def compressed_by_merge(net: nn.Module) -> None:
    from digits import work

    from zafu.compress.lora import Merge

    tuple(Merge().apply(work(net)))
