"""A model that computes in 16 bits between borders of float32. Kalamkar et al., 2019
(arXiv:1905.12322).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Enter:
    """A hook: floats are cast as they enter a module."""

    dtype: torch.dtype

    def __call__(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the module is given instead."""
        return tuple(_cast(x, self.dtype) for x in args)


def narrow(root: nn.Module, dtype: Literal["bf16", "fp16"]) -> None:
    """In place: float weights in 16 bits; floats are cast as they enter and as they leave.

    Batch norm keeps its numbers, which torch wants as wide as its statistics.
    """
    kind = TYPES[dtype]
    for name, parameter in list(root.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        module = root.get_submodule(owner)
        if not isinstance(module, NORMS):
            narrowed = nn.Parameter(parameter.detach().to(kind), requires_grad=False)
            setattr(module, leaf, narrowed)

    def leave(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.float()

    root.register_forward_pre_hook(Enter(kind), prepend=True)  # before those that name the inputs
    root.register_forward_hook(leave)


def _cast(x: Any, kind: torch.dtype) -> Any:
    return x.to(kind) if isinstance(x, Tensor) and x.is_floating_point() else x
