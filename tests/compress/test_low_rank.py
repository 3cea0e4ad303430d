"""Factors of matrices and convolutions against the theory of the nearest ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from digits import SIGNATURE, apart, compressed, pictures, planted, rows, said, trained
from torch import Tensor, nn

from zafu.compress.runtime.cp import take, terms, whole
from zafu.models.convnet import ConvNet
from zafu.nets.factored import CPConv, FactoredConv, FactoredLinear, cp


def of_rank(rank: int, outputs: int = 48, inputs: int = 64) -> nn.Linear:
    layer = planted(outputs, inputs)
    random = torch.Generator().manual_seed(1)
    up, down = (torch.randn(*s, generator=random) for s in ((outputs, rank), (rank, inputs)))
    with torch.no_grad():
        layer.weight.copy_(up @ down / inputs)
    return layer


def alone(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), layer)


def product(net: nn.Module, name: str = "1") -> tuple[Tensor, int]:
    layer = net.get_submodule(name)
    assert isinstance(layer, FactoredLinear)
    return layer.up.weight.detach() @ layer.down.weight.detach(), layer.rank


@pytest.mark.parametrize("whiten", ["true", "false"])
@pytest.mark.parametrize("ranks", ["global", "uniform"])
def test_a_matrix_of_low_rank_is_reproduced_exactly(whiten: str, ranks: str) -> None:
    layer = of_rank(3)
    net = alone(layer)

    compressed(net, f"{{kind: low-rank, keep: 0.15, whiten: {whiten}, ranks: {ranks}}}")

    found, rank = product(net)
    assert 3 <= rank <= 0.15 * 48 * 64 / (48 + 64)
    torch.testing.assert_close(found, layer.weight.detach(), rtol=0, atol=1e-5)


def test_the_error_is_the_spectrum_that_was_cut() -> None:
    """Parity with theory (Eckart-Young): the squared error is the sum of dropped squares."""
    layer = planted(48, 64)
    values = torch.linalg.svdvals(layer.weight.detach())
    net = alone(layer)

    compressed(net, "{kind: low-rank, keep: 0.5, whiten: false}")

    found, rank = product(net)
    gap = (layer.weight.detach() - found).square().sum()
    torch.testing.assert_close(gap, values[rank:].square().sum(), rtol=1e-4, atol=1e-5)


def test_with_the_inputs_known_less_of_the_output_is_lost() -> None:
    errors = list[float]()
    for whiten in ("true", "false"):
        layer: nn.Linear = trained().get_submodule("layers.0.linear")  # pyright: ignore
        before, net = layer(rows(held_out=True)).detach(), alone(layer)
        compressed(net, f"{{kind: low-rank, keep: 0.4, whiten: {whiten}}}")
        errors.append(apart(said(net), before))

    assert errors[0] < 0.7 * errors[1]


def test_ranks_go_to_the_matrix_that_needs_them() -> None:
    net = nn.Sequential(nn.Flatten(), of_rank(2, 64), nn.ReLU(), planted(64, 64))

    compressed(net, "{kind: low-rank, keep: 0.45, whiten: false}")

    ranks = {name: product(net, name)[1] for name in ("1", "3")}
    assert ranks["3"] > 5 * ranks["1"]
    assert sum(ranks.values()) * 128 <= 0.45 * 2 * 64 * 64


def test_a_convolution_of_few_channels_is_reproduced_exactly() -> None:
    random = torch.Generator().manual_seed(0)
    up, core, down = (
        torch.randn(*s, generator=random, dtype=torch.float64)
        for s in ((16, 3), (3, 2, 3, 3), (2, 16))
    )
    whole = nn.Conv2d(16, 16, 3, stride=2, padding=1)
    with torch.no_grad():
        whole.weight.copy_(torch.einsum("oc,crhw,ri->oihw", up, core, down))
    x = pictures()[0][:16].expand(-1, 16, -1, -1) * torch.rand(1, 16, 1, 1, generator=random)
    net = nn.Sequential(whole)

    compressed(net, "{kind: low-rank, keep: 0.2, whiten: false}")

    assert isinstance(net[0], FactoredConv)
    with torch.no_grad():
        torch.testing.assert_close(net(x), whole(x), rtol=1e-4, atol=1e-4)


def test_what_is_factored_is_not_factored_again() -> None:
    net = trained()
    compressed(net, "{kind: low-rank, keep: 0.4, layers: ['layers.0.*']}")
    first = product(net, "layers.0.linear")[0]

    edits = compressed(net, "low-rank:0.4")

    assert [list(edit.dump()["ranks"]) for edit in edits] == [["layers.1.linear"]]
    assert torch.equal(product(net, "layers.0.linear")[0], first)


def planted_terms(rank: int, sizes: tuple[int, ...], seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(n, rank, generator=random, dtype=torch.float64) for n in sizes]


@pytest.mark.parametrize("seed", range(3))
def test_a_kernel_that_is_a_sum_of_products_is_found_again(seed: int) -> None:
    kernel = whole(planted_terms(4, (8, 6, 3, 3), seed))

    found = terms(kernel, 4)

    torch.testing.assert_close(whole(found), kernel, rtol=0, atol=1e-6)
    assert all(torch.equal(one, other) for one, other in zip(found, terms(kernel, 4), strict=True))


@pytest.mark.parametrize(
    "how",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 5), "padding": (0, 2), "stride": (2, 1)},
        {"kernel_size": (2, 3), "padding": "same", "dilation": (1, 2)},
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_four_thin_convolutions_say_what_one_says(how: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **how)
    factors = planted_terms(3, (6, 4, *layer.kernel_size), 0)
    with torch.no_grad():
        layer.weight.copy_(whole(factors))
    made = cp(layer, 3)

    take(made, factors)
    with torch.no_grad():
        made.up.bias.copy_(layer.bias)  # pyright: ignore

    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(made(x), layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_a_sum_of_products_is_of_the_size_that_was_asked_for(keep: float) -> None:
    torch.manual_seed(0)
    spec = ConvNet(width=16, groups=4, stages=1, blocks=1)
    net, base = spec.build(SIGNATURE).eval(), spec.build(SIGNATURE)
    kernel = net.get_parameter("blocks.0.conv_1.weight").numel()

    edits = compressed(net, f"{{kind: low-rank, keep: {keep}, convolutions: cp}}")

    made = net.get_submodule("blocks.0.conv_1")
    assert isinstance(made, CPConv)
    left = sum(p.numel() for p in made.parameters())
    assert keep * kernel - 38 < left <= keep * kernel  # a term has 16 + 16 + 3 + 3 numbers
    for edit in edits:
        edit.apply(base)
    base.load_state_dict(net.state_dict())
    torch.testing.assert_close(said(base), said(net), rtol=0, atol=0)
