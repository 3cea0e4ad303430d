"""Products: layers that read the same numbers as one, stored as few rows are multiplied fastest.

On a CPU a single row goes through a float32 matrix whose inputs are its rows about half as fast
again as through torch's own order, and through one in 16 bits fastest as matrix times vector. A
norm by the root mean square (Zhang & Sennrich, 2019, arXiv:1910.07467) before it is three calls: a
length, its sum with epsilon, a division; its weight goes into the matrix. Layers of few bits are
put side by side where their numbers can be; others are called one by one.
"""

# torch's kernels for few bits have no public names
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets import int4, int8
from zafu.nets.factored import FactoredLinear
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import Int8Linear, Reads
from zafu.nets.sparse import Sparse
from zafu.nets.surgery import bias_of

Product = Callable[[Tensor], Tensor]  # (rows, inputs) -> (rows, outputs)


def product(
    layers: Sequence[nn.Module], *, norm: nn.RMSNorm | None = None, order: Tensor | None = None
) -> Product:
    """What layers make of the same rows, side by side, with the weights that they have now.

    `norm` comes before them; `order` says which of all their outputs stands where.
    """
    if all(plain(layer) for layer in layers):
        weight, bias = _matrix(layers, order)
        if weight.dtype is torch.float32 and weight.device.type == "cpu":
            return _turned(weight, bias, norm)
        return _after(norm, _upright(weight, bias))
    if (joined := beside(layers, order)) is not None:
        return _after(norm, _single(joined))
    each = [_single(layer) for layer in layers]
    together = each[0] if len(each) == 1 else lambda x: torch.cat([one(x) for one in each], -1)
    return _after(norm, together if order is None else lambda x: together(x)[:, order])


def added(layer: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Rows, and what a layer makes of others, as their sum."""
    if plain(layer):
        weight, bias = _matrix([layer], None)
        if weight.dtype is torch.float32 and weight.device.type == "cpu" and bias is None:
            turned = weight.t().contiguous()
            return lambda x, read: torch.addmm(x, read, turned)
    call = product([layer])
    return lambda x, read: x + call(read)


def plain(layer: nn.Module) -> bool:
    """Whether a layer is no more than a product with its matrix."""
    known = type(layer) in (nn.Linear, nn.Embedding)
    known = known or (isinstance(layer, Sparse) and layer.conv is None)
    return known and not layer._forward_hooks and not layer._forward_pre_hooks


def beside(layers: Sequence[nn.Module], order: Tensor | None) -> nn.Module | None:
    """A layer of few bits that makes what these do, side by side; None where there is none."""
    first, width = layers[0], sum(cast(int, layer.out_features) for layer in layers)
    biased = any(layer._buffers.get("bias") is not None for layer in layers)
    if len({type(layer) for layer in layers}) > 1 or (len(layers) == 1 and order is None) or biased:
        return None
    like = nn.Linear(cast(int, first.in_features), width, bias=False, device="meta")
    match first:
        case Int8Linear() if first.reads != "static":
            same = all(cast(Int8Linear, layer).reads == first.reads for layer in layers)
            made, names = Int8Linear(like, cast(Reads, first.reads)), ("weight", "scale")
        case Int4Linear():
            same = all(cast(Int4Linear, layer).group == first.group for layer in layers)
            made, names = Int4Linear(like, first.group), ("levels", "scale", "low")
        case _:
            return None
    if not same:
        return None
    for name in names:
        numbers = torch.cat([layer.get_buffer(name) for layer in layers])
        setattr(made, name, numbers if order is None else numbers[order])
    return made


def _single(layer: nn.Module) -> Product:
    if isinstance(layer, FactoredLinear):
        down, up = product([layer.down]), product([layer.up])
        return lambda x: up(down(x))
    if isinstance(layer, (Int8Linear, Int4Linear)):
        return _few_bits(layer)
    return product([layer]) if plain(layer) else layer


def _few_bits(layer: Int8Linear | Int4Linear) -> Product:
    """The layer, less what it asks and casts at each call where few rows go through a kernel."""
    if next(layer.buffers()).device.type != "cpu" or layer.bias is not None:
        return layer
    if isinstance(layer, Int8Linear) and layer.reads == "float":
        eights, scale = layer.weight, layer.scale.bfloat16()

        def by_eights(x: Tensor) -> Tensor:
            if len(x) >= int8.FEW:
                return layer(x)
            return torch._weight_int8pack_mm(x.bfloat16(), eights, scale).to(x.dtype)

        return by_eights
    if isinstance(layer, Int4Linear) and not layer.out_features % int4.OUTPUTS:
        (fours, grids), group = layer._kernel(), layer.group
        multiply = torch.ops.aten._weight_int4pack_mm_for_cpu

        def by_fours(x: Tensor) -> Tensor:
            if len(x) > int4.FEW:
                return layer(x)
            return multiply(x.bfloat16(), fours, group, grids).to(x.dtype)

        return by_fours
    return layer


def _after(norm: nn.RMSNorm | None, call: Product) -> Product:
    if norm is None:
        return call
    if norm.weight.dtype is not torch.float32:
        return lambda x: call(norm(x))
    weight, least = _of_norm(norm)
    return lambda x: call(x / _length(x, least) * weight)


def _of_norm(norm: nn.RMSNorm) -> tuple[Tensor, Tensor]:
    """What a vector over its length is multiplied by, and the least length there is."""
    root = math.sqrt(norm.weight.numel())
    eps = norm.eps or torch.finfo(torch.float32).eps
    return norm.weight.detach() * root, norm.weight.new_full((1, 1), root * math.sqrt(eps))


def _length(x: Tensor, least: Tensor) -> Tensor:
    return torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), least)


def _matrix(layers: Sequence[nn.Module], order: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Weights of plain layers one below another, and their biases, if one has some."""
    parts = [cast(Tensor, layer.weight).detach() for layer in layers]
    biases, weight = [bias_of(layer) for layer in layers], torch.cat(parts)
    bias = None
    if any(one is not None for one in biases):
        given = zip(biases, parts, strict=True)
        bias = torch.cat([of.new_zeros(len(of)) if b is None else b.detach() for b, of in given])
    if order is None:
        return weight, bias
    return weight[order], None if bias is None else bias[order]


def _turned(weight: Tensor, bias: Tensor | None, norm: nn.RMSNorm | None) -> Product:
    """In float32 on a CPU."""
    scale, least = (1.0, None) if norm is None else _of_norm(norm)
    turned = (weight * scale).t().contiguous()

    def call(x: Tensor) -> Tensor:
        return torch.mm(x, turned) if bias is None else torch.addmm(bias, x, turned)

    return call if least is None else lambda x: call(x / _length(x, least))


def _upright(weight: Tensor, bias: Tensor | None) -> Product:
    """In 16 bits, or elsewhere."""

    def call(x: Tensor) -> Tensor:
        if len(x) > 1 or bias is not None or weight.device.type != "cpu":
            return functional.linear(x, weight, bias)
        return torch.mv(weight, x[0])[None]

    return call
