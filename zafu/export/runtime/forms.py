"""Forms: layers of ours as layers that other runtimes know, before a graph is taken of them.

A copy is made that shares its tensors with the module; only what has another form is new in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from zafu.export.contract import Source
from zafu.nets.adapters import Adapted
from zafu.nets.fake import Fake, straight
from zafu.nets.fp8 import Fp8Conv, Fp8Linear
from zafu.nets.half import Enter
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8Conv, Int8Linear
from zafu.nets.sparse import Sparse
from zafu.nets.surgery import bias_of
from zafu.nets.table import Table

Form = Callable[[Any], nn.Module]


def plain(root: nn.Module, more: Mapping[type[nn.Module], Form]) -> nn.Module:
    """A copy in which sparse, rounding and adapted layers are whole ones, and others as `more` has.

    Answers are the same as far as those of `more` are.
    """
    forms = {**PLAIN, **more}
    memo: dict[int, Any] = {id(t): t for t in (*root.parameters(), *root.buffers())}
    for layer in root.modules():
        if form := forms.get(type(layer)):
            memo[id(layer)] = form(layer)
    return deepcopy(root, memo)


def tell(source: Source, wide: Collection[type[nn.Module]]) -> None:
    """Say so where weights of these layers, or of 16 bits, become wide in the file."""
    narrow = [name for name, layer in source.module.named_modules() if type(layer) in wide]
    if narrow or any(t.dtype in HALVES for t in source.module.parameters()):
        what = f"layers in 8 or 4 bits ({narrow[0]} …)" if narrow else "weights in 16 bits"
        source.say(f"this form has no {what}: they are widened to 32, and the file grows")


def widened(source: Source) -> nn.Module:
    """A copy that computes in 32 bits alone; says so where weights had fewer."""
    tell(source, WIDE.keys())
    made = plain(source.module, WIDE)
    for module in made.modules():
        for name, value in [*module._parameters.items()]:  # pyright: ignore[reportPrivateUsage]
            if value is not None and value.dtype in HALVES:
                setattr(module, name, nn.Parameter(value.detach().float(), requires_grad=False))
    unhook(made)
    return made


def kept_narrow(root: nn.Module) -> None:
    """In place: weights in 16 bits stay so, and are widened as they are used."""
    for module in list(root.modules()):
        for name, value in [*module._parameters.items()]:  # pyright: ignore[reportPrivateUsage]
            if value is not None and value.dtype in HALVES:
                register_parametrization(module, name, _Widening(), unsafe=True)
    unhook(root)


class _Widening(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def unhook(root: nn.Module) -> None:
    """In place: what enters a model of 16 bits, or a part of one, is cast no more."""
    for module in root.modules():
        hooks = module._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
        for key in [key for key, hook in hooks.items() if isinstance(hook, Enter)]:
            del hooks[key]


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer of these weights `(outputs, inputs)`."""
    outputs, inputs = weight.shape
    made = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    return _filled(made, weight, bias)


def conv(weight: Tensor, bias: Tensor | None, how: Mapping[str, Any]) -> nn.Conv2d:
    """A convolution of these weights `(outputs, inputs / groups, height, width)`."""
    outputs, inputs, *_ = weight.shape
    size: Any = tuple(weight.shape[2:])
    made = nn.Conv2d(
        inputs * how["groups"], outputs, size, bias=bias is not None, device="meta", **how
    )
    return _filled(made, weight, bias)


def embedding(weight: Tensor) -> nn.Embedding:
    """A table of these vectors `(rows, dims)`."""
    rows, dims = weight.shape
    return _filled(nn.Embedding(rows, dims, device="meta"), weight, None)


def _filled(layer: Any, weight: Tensor, bias: Tensor | None) -> Any:
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer.eval()


def _sparse(layer: Sparse) -> nn.Module:
    with torch.no_grad():
        weight = layer.weight.clone()
    return (
        linear(weight, layer.bias) if layer.conv is None else conv(weight, layer.bias, layer.conv)
    )


HALVES = (torch.bfloat16, torch.float16)
EIGHT = (Int8Linear, Int8Conv)
PLAIN: dict[type[nn.Module], Form] = {
    Sparse: _sparse,
    Fake: lambda layer: linear(straight(layer.weight, layer.bits, layer.group), bias_of(layer)),
    Adapted: lambda layer: linear(layer.merged(), bias_of(layer)),
}
WIDE: dict[type[nn.Module], Form] = {
    Int8Linear: lambda layer: linear(layer.widened(), layer.bias),
    Int8Conv: lambda layer: conv(layer.widened(), layer.bias, layer.how),
    Int4Linear: lambda layer: linear(layer.widened(), layer.bias),
    Fp8Linear: lambda layer: linear(layer.widened(), layer.bias),
    Fp8Conv: lambda layer: conv(layer.widened(), layer.bias, layer.how),
    Table: lambda layer: embedding(layer.rows.widened()),
}
