"""A model that computes in 16 bits between borders of float32. Kalamkar et al., 2019
(arXiv:1905.12322).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Enter:
    """A hook: floats are cast as they enter a module."""

    dtype: torch.dtype

    def __call__(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the module is given instead."""
        return tuple(_cast(x, self.dtype) for x in args)


def narrow(root: nn.Module, dtype: Literal["bf16", "fp16"]) -> None:
    """In place: float weights in 16 bits; floats are cast as they enter and as they leave."""
    kind = TYPES[dtype]
    for name, parameter in list(root.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        narrowed = nn.Parameter(parameter.detach().to(kind), requires_grad=False)
        setattr(root.get_submodule(owner), leaf, narrowed)

    def leave(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.float()

    root.register_forward_pre_hook(Enter(kind))
    root.register_forward_hook(leave)


def _cast(x: Any, kind: torch.dtype) -> Any:
    return x.to(kind) if isinstance(x, Tensor) and x.is_floating_point() else x
