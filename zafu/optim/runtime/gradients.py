"""Gradients in place: their norm, clipping, noise."""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

import hashlib

import torch
from torch import Tensor

from zafu.optim.gradient import Clip


def norm(tensors: list[Tensor]) -> Tensor:
    """The norm of all tensors together, without dims; 0 if there are none.

    Equal, bit for bit, to `torch.nn.utils.get_total_norm` for tensors on one device, at less than
    half its time for small ones: 12 against 33 microseconds for an MLP of four tensors. To gather
    them in one tensor first is no faster there, and ten times slower for 20 million numbers.
    """
    if not tensors:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def clip(gradients: list[Tensor], bounds: Clip, *, total: Tensor) -> None:
    """In place: bring each number below `bounds.value`, then all together below `bounds.norm`.

    `total` is their norm. The same as `clip_grad_value_` and `clip_grad_norm_` of torch.
    """
    if bounds.value is not None:
        torch._foreach_clamp_min_(gradients, -bounds.value)
        torch._foreach_clamp_max_(gradients, bounds.value)
        total = norm(gradients)
    if bounds.norm is None:
        return
    if total.device.type == "cpu" and total.item() < 0.999 * bounds.norm:
        return  # the factor is 1, and where that is known without waiting no walk is needed
    torch._foreach_mul_(gradients, (bounds.norm / (total + 1e-6)).clamp(max=1.0))


def add_noise(gradients: list[Tensor], std: float, *, key: tuple[int, int]) -> None:
    """In place: add normal noise that is a function of the key, a seed and a step."""
    if not gradients:
        return
    digest = hashlib.blake2b(f"gradient noise {key}".encode(), digest_size=8).digest()
    device = gradients[0].device
    generator = torch.Generator(device).manual_seed(int.from_bytes(digest) >> 1)
    for g in gradients:
        noise = torch.randn(g.shape, generator=generator, device=device, dtype=g.dtype)
        g.add_(noise, alpha=std)
