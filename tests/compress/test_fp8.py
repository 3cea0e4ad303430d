"""8-bit floats against torch's own, and against the floats that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from digits import compressed, planted, rows, said, trained
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from zafu import tensors
from zafu.errors import NonFinite
from zafu.nets.fp8 import KIND, Fp8Conv, Fp8Linear, widened

HALF = 2**-4  # of the distance of two neighbours, as a share of the number
E4M3 = torch.arange(256, dtype=torch.uint8).view(KIND)


def layer(outputs: int = 48, inputs: int = 64) -> tuple[Fp8Linear, nn.Linear]:
    whole = planted(outputs, inputs)
    made = Fp8Linear(whole)
    made.take(whole.weight)
    return made, whole


def test_every_finite_number_of_the_type_is_widened_as_torch_does() -> None:
    expected = E4M3.float()
    finite = expected.isfinite()

    assert int(finite.sum()) == 254
    assert torch.equal(widened(E4M3)[finite], expected[finite])


@given(st.floats(1e-6, 1e6), st.integers(0, 99))
def test_a_weight_is_off_by_a_sixteenth_at_most_whatever_the_scale(size: float, seed: int) -> None:
    whole = planted(8, 64, seed=seed)
    with torch.no_grad():
        whole.weight.mul_(size)
    made = Fp8Linear(whole)

    made.take(whole.weight)

    least = made.scale[:, None] * 2**-10  # half of the smallest number of the type
    away = (made.widened() - whole.weight).abs()
    assert (away <= torch.maximum(HALF * whole.weight.abs(), least) * 1.001).all()


def test_it_multiplies_as_the_floats_that_it_is() -> None:
    made, _ = layer()
    x = rows()[100:140]

    expected = nn.functional.linear(x, made.widened(), made.bias)

    assert torch.equal(made(x), expected)


def test_the_product_by_scales_is_the_same_but_for_what_rounding_reads_costs() -> None:
    """The way of devices that multiply 8-bit floats, as torch computes it on any."""
    made, _ = layer()
    x = rows()[100:148] - 0.3

    found, expected = made.by_scales(x), made(x)

    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert (found - expected).norm() < HALF * expected.norm()


@pytest.mark.parametrize("how", [{}, {"stride": 2, "groups": 4}, {"padding": "same"}])
def test_a_convolution_is_that_of_its_widened_weights(how: dict[str, int]) -> None:
    whole = nn.Conv2d(4, 8, 3, **how)  # pyright: ignore[reportArgumentType]
    made = Fp8Conv(whole)
    made.take(whole.weight)
    x = rows()[:64].view(-1, 4, 8, 8)

    found = made(x)
    with torch.no_grad():
        whole.weight.copy_(made.widened())

    assert torch.equal(found, whole(x))


def test_a_trained_net_is_a_quarter_as_large_and_says_nearly_the_same() -> None:
    net = trained()
    before, size = said(net), tensors.size(tensors.of_module(net))

    compressed(net, "fp8")

    assert tensors.size(tensors.of_module(net)) < 0.3 * size
    assert (said(net) - before).norm() < HALF * before.norm()
    assert (said(net).argmax(1) == before.argmax(1)).float().mean() > 0.97


def test_a_number_that_is_none_is_not_written(tmp_path: Path) -> None:
    bad = {"a": torch.tensor([1.0, float("nan")]).to(KIND)}

    with pytest.raises(NonFinite):
        tensors.write(tmp_path / "a.safetensors", bad)
