"""How the weights of a model are spread: a histogram over bins that all links share, and zeros.

Weights are those of matrices, kernels and tables; biases and scales of norms are few, and lie
elsewhere. Integer layers count by what their numbers stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zafu.nets.fp8 import Fp8
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8
from zafu.nets.sparse import Sparse

BINS = 61  # odd, so that 0 is in the middle of one
REACH = 4.0  # root mean squares of the weights before, to either side


@torch.no_grad()
def reach(root: nn.Module) -> float:
    """Where the histograms of a chain end, to either side of 0; of the model before."""
    total, count = 0.0, 0
    for weight in matrices(root):
        total += float(weight.double().square().sum())
        count += weight.numel()
    return REACH * (total / count) ** 0.5 if total > 0 else 1.0


@torch.no_grad()
def spread(root: nn.Module, end: float) -> dict[str, Any]:
    """Counts of weights from -end to end, what lies beyond in the last bins; the share of zeros."""
    counts, zeros = torch.zeros(BINS, dtype=torch.int64), 0
    for weight in matrices(root):
        at = ((weight.flatten() / end + 1) * (BINS / 2)).floor().clamp(0, BINS - 1)
        counts += torch.bincount(at.long(), minlength=BINS)
        zeros += int((weight == 0).sum())
    count = int(counts.sum())
    return {
        "histogram": {"low": -end, "high": end, "counts": counts.tolist()},
        "zeros": zeros / count if count else 0.0,
    }


def matrices(root: nn.Module) -> Iterator[Tensor]:
    """Each matrix, kernel and table of a model once, in float32."""
    seen = set[int]()
    for module in root.modules():
        if isinstance(module, (Int8, Int4Linear, Fp8)):
            yield module.widened().float().cpu()
        elif isinstance(module, Sparse):
            yield module.weight.float().cpu()
        else:
            for parameter in module.parameters(recurse=False):
                if parameter.dim() >= 2 and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield parameter.float().cpu()
