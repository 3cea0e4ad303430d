"""Chance as a function: uniform numbers and noise from counters, the same bits in any batch.

The generator is SplitMix64 (Steele, Lea & Flood, 2014): state key + j * gamma, then the finalizer.
On tensors it runs in int64, whose products wrap alike on a CPU and on CUDA. Normal numbers come
in pairs by Box & Muller, 1958; there the last bits depend on a device's logarithm and cosine.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_ADD, _FIRST, _SECOND = (
    x - 2**64 for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def bits(keys: np.ndarray, count: int, device: torch.device) -> Tensor:
    """`(batch, count)` int64 on a device, 64 random bits each, those of `hashing.mix`."""
    start = torch.from_numpy(keys.view(np.int64)).to(device)
    x = torch.arange(1, count + 1, device=device) * _ADD + start[:, None]
    x ^= (x >> 30) & (1 << 34) - 1  # the mask: shifts of int64 bring in the sign
    x *= _FIRST
    x ^= (x >> 27) & (1 << 37) - 1
    x *= _SECOND
    x ^= (x >> 31) & (1 << 33) - 1
    return x


def chance(keys: np.ndarray, count: int, device: torch.device) -> Tensor:
    """`(batch, count)` int64, uniform over 0 to 2^53 - 1: compare with `threshold`."""
    return (bits(keys, count, device) >> 11) & (1 << 53) - 1


def threshold(probability: float) -> int:
    """The number below which a share `probability` of `chance` lies."""
    return round(probability * 2**53)


def normal(keys: np.ndarray, count: int, like: Tensor) -> Tensor:
    """`(batch, count)` standard normal numbers, of a floating tensor's dtype and device."""
    half = -(-count // 2)
    random = bits(keys, half, like.device)
    first = ((random >> 32) & 0xFFFFFFFF).to(like.dtype)
    second = (random & 0xFFFFFFFF).to(like.dtype)
    radius = first.add_(0.5).mul_(2.0**-32).log_().mul_(-2).clamp_(min=0).sqrt_()
    angle = second.mul_(2 * math.pi * 2.0**-32)
    found = torch.empty(len(keys), 2 * half, dtype=like.dtype, device=like.device)
    torch.mul(radius, angle.cos(), out=found[:, :half])
    torch.mul(radius, angle.sin(), out=found[:, half:])
    return found[:, :count]
