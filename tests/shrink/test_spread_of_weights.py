"""Spread of weights: every weight is counted once, by what it stands for."""

import numpy as np
import pytest
import torch
from torch import nn

from zafu.nets.int8 import Int8Linear
from zafu.nets.sparse import sparse
from zafu.shrink.weights import BINS, reach, spread


def test_counts_are_those_of_numpy_and_what_is_beyond_is_in_the_last_bins() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    end = float(layer.weight.detach().abs().max()) / 2
    clipped = layer.weight.detach().double().clamp(-end, end).numpy()

    found = spread(layer, end)["histogram"]

    expected, edges = np.histogram(clipped, BINS, (-end, end))
    assert (found["low"], found["high"]) == pytest.approx((edges[0], edges[-1]))
    assert np.abs(np.cumsum(found["counts"]) - np.cumsum(expected)).max() <= 1  # on an edge
    assert sum(found["counts"]) == layer.weight.numel()


def test_the_bins_end_at_four_root_mean_squares() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -3.0], [4.0, -4.0]]))

    assert reach(layer) == pytest.approx(4 * 12.5**0.5)
    assert reach(nn.ReLU()) == 1.0


def test_integers_count_by_what_they_stand_for() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 16)
    small = Int8Linear(layer, "dynamic")
    small.take(layer.weight)
    end = reach(layer)

    counts = [np.cumsum(spread(of, end)["histogram"]["counts"]) for of in (layer, small)]

    assert counts[1][-1] == 64 * 16
    assert np.abs(counts[0] - counts[1]).max() <= 0.02 * 64 * 16  # rounding passes few edges


def test_zeros_of_a_sparse_layer_are_counted_after_it_has_answered() -> None:
    layer = nn.Linear(10, 10)
    with torch.no_grad():
        layer.weight[:3] = 0
    model = nn.Sequential(sparse(layer))
    with torch.inference_mode():
        model(torch.ones(1, 10))

    found = spread(model, 1.0)

    assert found["zeros"] == pytest.approx(0.3)
    assert sum(found["histogram"]["counts"]) == 100


def test_a_matrix_that_two_layers_share_counts_once_and_biases_do_not() -> None:
    table, head = nn.Embedding(7, 5), nn.Linear(5, 7)
    head.weight = table.weight

    found = spread(nn.Sequential(table, head, nn.LayerNorm(7)), 1.0)

    assert sum(found["histogram"]["counts"]) == 35
