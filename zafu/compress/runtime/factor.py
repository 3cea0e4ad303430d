"""Factors of matrices: which ranks, and the two or three thin matrices themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.compress.runtime import cp
from zafu.compress.runtime.calibration import grams
from zafu.edits.contract import Edit
from zafu.edits.low_rank import LowRank as Edited
from zafu.errors import Refused
from zafu.nets import factored
from zafu.nets.factored import CPConv, FactoredConv, FactoredLinear
from zafu.nets.matrices import chosen
from zafu.nets.surgery import bias_of, put

if TYPE_CHECKING:
    from zafu.compress.low_rank import LowRank

DAMPING = 1e-3  # of the mean of a Gram matrix's diagonal, so that it has a root


class Spectrum(NamedTuple):
    """A matrix by its singular values, in the space of what the layer reads."""

    left: Tensor  # (outputs, k)
    values: Tensor  # (k,), falling
    right: Tensor  # (k, inputs), of the weights as they are


def factor(spec: LowRank, work: Work) -> Iterable[Edit]:
    """Put factored layers in place; their ranks."""
    thin = tuple(f"{name}.*" for name, layer in work.model.named_modules() if _factored(layer))
    able = chosen(work.model, spec.layers, (*spec.skip, *thin))
    if not able:
        raise Refused("low-rank: no whole linear layer or convolution of these names")
    if spec.keep == 1:
        return ()
    linear = {name: layer for name, layer in able.items() if isinstance(layer, nn.Linear)}
    seen = grams(work.model, work.batches, linear) if spec.whiten and linear else {}
    spectra = {
        name: spectrum(layer.weight.detach().double(), seen[name].mean if seen else None)
        for name, layer in linear.items()
    }
    ranks: dict[str, tuple[int, ...]] = {}
    for name, rank in dealt(spectra, spec.keep, uniform=spec.ranks == "uniform").items():
        put(work.model, name, split(linear[name], spectra[name], rank))
        ranks[name] = (rank,)
    for name, layer in able.items():
        if isinstance(layer, nn.Conv2d) and (
            found := CONVOLUTIONS[spec.convolutions](layer, spec.keep)
        ):
            put(work.model, name, found)
            ranks[name] = found.ranks
    work.note(f"low-rank: {len(ranks)} of {len(able)} layers are factored")
    return (Edited(ranks=ranks),) if ranks else ()


def _factored(layer: nn.Module) -> bool:
    return isinstance(layer, (FactoredLinear, FactoredConv, CPConv))


def spectrum(weight: Tensor, gram: Tensor | None) -> Spectrum:
    """Of a matrix `(outputs, inputs)`; with the mean of x^T x, of what it makes of such x."""
    if gram is None:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return Spectrum(left, values, right)
    damped = gram + DAMPING * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    root = torch.linalg.cholesky(damped)
    left, values, right = torch.linalg.svd(weight @ root, full_matrices=False)
    back = torch.linalg.solve_triangular(root, right, upper=False, left=False)
    return Spectrum(left, values, back)


def dealt(spectra: Mapping[str, Spectrum], keep: float, *, uniform: bool) -> dict[str, int]:
    """The rank of each matrix that becomes smaller by it, for a share of all their numbers.

    Greedily, what is the largest part of all that a matrix says, for the numbers that it costs,
    stays. A matrix that would not be smaller stays whole, and pays for that.
    """
    sizes = {name: (len(s.left), s.right.shape[1]) for name, s in spectra.items()}
    if uniform:
        wanted = {n: max(1, int(keep * o * i / (o + i))) for n, (o, i) in sizes.items()}
        return {n: r for n, r in wanted.items() if r < min(sizes[n])}
    whole, room = set[str](), keep * sum(o * i for o, i in sizes.values())
    while True:
        left = room - sum(sizes[name][0] * sizes[name][1] for name in whole)
        ranks = _greedy({n: s for n, s in spectra.items() if n not in whole}, sizes, left)
        dear = {n for n, r in ranks.items() if r * sum(sizes[n]) >= sizes[n][0] * sizes[n][1]}
        if not dear:
            return ranks
        whole |= dear


def _greedy(
    spectra: Mapping[str, Spectrum], sizes: Mapping[str, tuple[int, int]], room: float
) -> dict[str, int]:
    ranks = dict.fromkeys(spectra, 1)
    room -= sum(sum(sizes[name]) for name in spectra)
    steps = sorted(
        (
            (-part / sum(sizes[name]), name)
            for name, found in spectra.items()
            for part in (found.values.square() / found.values.square().sum())[1:].tolist()
        ),
    )
    for _, name in steps:
        if room < sum(sizes[name]):
            break
        room -= sum(sizes[name])
        ranks[name] += 1
    return ranks


def split(layer: nn.Linear, found: Spectrum, rank: int) -> FactoredLinear:
    """Two layers whose product is the nearest of this rank; each has a half of the values."""
    made = factored.linear(layer, rank)
    root = found.values[:rank].sqrt()
    with torch.no_grad():
        made.up.weight.copy_(found.left[:, :rank] * root)
        made.down.weight.copy_(root[:, None] * found.right[:rank])
        if (bias := bias_of(layer)) is not None:
            made.up.bias.copy_(bias)
    return made.eval()


def tucker(layer: nn.Conv2d, keep: float) -> FactoredConv | None:
    """Three convolutions by the leading channels that are read and written; None: not smaller."""
    weight = layer.weight.detach().double()
    outputs, inputs, *kernel = weight.shape
    area, whole = kernel[0] * kernel[1], weight.numel()
    if area == 1:
        return None
    low, high = 0.0, 1.0
    for _ in range(30):  # of both channels the same share
        share = (low + high) / 2
        read, written = max(1, round(share * inputs)), max(1, round(share * outputs))
        size = inputs * read + read * written * area + written * outputs
        low, high = (share, high) if size <= keep * whole else (low, share)
    read, written = max(1, round(low * inputs)), max(1, round(low * outputs))
    if inputs * read + read * written * area + written * outputs > keep * whole:
        return None
    by_output = torch.linalg.svd(weight.flatten(1), full_matrices=False)[0][:, :written]
    by_input = torch.linalg.svd(weight.transpose(0, 1).flatten(1), full_matrices=False)[0][:, :read]
    core = torch.einsum("oihw,oc,ir->crhw", weight, by_output, by_input)
    made = factored.conv(layer, read, written)
    with torch.no_grad():
        made.down.weight.copy_(by_input.T[:, :, None, None])
        made.core.weight.copy_(core)
        made.up.weight.copy_(by_output[:, :, None, None])
        if (bias := bias_of(layer)) is not None and made.up.bias is not None:
            made.up.bias.copy_(bias)
    return made.eval()


def summed(layer: nn.Conv2d, keep: float) -> CPConv | None:
    """Four convolutions that are a sum of products; None: not smaller."""
    weight = layer.weight.detach()
    outputs, inputs, *kernel = weight.shape
    rank = int(keep * weight.numel() / (outputs + inputs + sum(kernel)))
    if kernel == [1, 1] or not rank:
        return None
    made = factored.cp(layer, rank)
    cp.take(made, cp.terms(weight, rank))
    with torch.no_grad():
        if (bias := bias_of(layer)) is not None and made.up.bias is not None:
            made.up.bias.copy_(bias)
    return made.eval()


CONVOLUTIONS: dict[str, Callable[[nn.Conv2d, float], FactoredConv | CPConv | None]] = {
    "tucker": tucker,
    "cp": summed,
}
