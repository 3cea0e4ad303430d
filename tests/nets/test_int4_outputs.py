"""4-bit layers of any number of outputs, where the kernel takes multiples of 16 alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from zafu.nets.int4 import Int4Linear


@pytest.mark.parametrize("outputs", [8, 16, 88, 96])
def test_one_row_is_answered_as_by_the_widened_weights(outputs: int) -> None:
    torch.manual_seed(0)
    layer = Int4Linear(nn.Linear(64, outputs, bias=False), 32)
    levels = torch.randint(0, 16, (outputs, 64))
    layer.take(levels, torch.full((outputs, 2), 0.125), torch.full((outputs, 2), -1.0))
    x = torch.randn(1, 64)

    found = layer(x)

    # both round to bfloat16, of three digits, in sums of 64
    torch.testing.assert_close(found, functional.linear(x, layer.widened()), rtol=0.02, atol=0.1)
