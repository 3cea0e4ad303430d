"""Gradients in place: their norm, clipping, noise."""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zafu.optim.gradient import Clip
from zafu.pieces import Piece


def norm(tensors: list[Tensor]) -> Tensor:
    """The norm of all tensors together, without dims; 0 if there are none.

    Equal, bit for bit, to `torch.nn.utils.get_total_norm` for tensors on one device, at less than
    half its time for small ones: 12 against 33 microseconds for an MLP of four tensors. To gather
    them in one tensor first is no faster there, and ten times slower for 20 million numbers.
    """
    if not tensors:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def squared_norm(tensors: list[Tensor], shares: list[float], *, like: Tensor) -> Tensor:
    """The sum of squares, each tensor's times its share, in double; on the device of `like`."""
    if not tensors:
        return torch.zeros((), dtype=torch.float64, device=like.device)
    squares = torch.stack(torch._foreach_norm(tensors)).double().square()
    return (squares * squares.new_tensor(shares)).sum()


def clip(
    gradients: list[Tensor],
    bounds: Clip,
    *,
    total: Tensor,
    norm: Callable[[list[Tensor]], Tensor] = norm,
) -> None:
    """In place: bring each number below `bounds.value`, then all together below `bounds.norm`.

    `total` is their norm, as `norm` gives it. The same as `clip_grad_value_` and `clip_grad_norm_`
    of torch. A process that has none takes part in the norm.
    """
    if bounds.value is not None:
        if gradients:
            torch._foreach_clamp_min_(gradients, -bounds.value)
            torch._foreach_clamp_max_(gradients, bounds.value)
        total = norm(gradients)
    if bounds.norm is None or not gradients:
        return
    if total.device.type == "cpu" and total.item() < 0.999 * bounds.norm:
        return  # the factor is 1, and where that is known without waiting no walk is needed
    torch._foreach_mul_(gradients, (bounds.norm / (total + 1e-6)).clamp(max=1.0))


def add_noise(pieces: Sequence[Piece], std: float, *, key: tuple[int, int]) -> None:
    """In place: add normal noise, a function of the key and of names, to gradients that are there.

    The key is a seed and a step. Whoever holds a piece adds the same numbers to it.
    """
    for piece in pieces:
        if (g := piece.own.grad) is None:
            continue
        text = f"gradient noise {key} {piece.name}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        generator = torch.Generator(g.device).manual_seed(int.from_bytes(digest) >> 1)
        noise = torch.randn(piece.shape, generator=generator, device=g.device, dtype=g.dtype)
        g.add_(piece.of(noise), alpha=std)
