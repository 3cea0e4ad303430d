"""Blur, noise and erasing: what no map and no tint can do."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from zafu.augment.runtime.affine import in_cache
from zafu.augment.runtime.draws import bits, normal
from zafu.augment.runtime.step import Draw, Scene
from zafu.batch import Batch

REACH = 3  # standard deviations at which a Gaussian is cut: 0.3 % of it are beyond


def blur(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """Each picture convolved with a Gaussian of its own, 0 < sigma <= the magnitude `sigma`.

    Beyond the edges the outermost pixels go on. Sums are made tap by tap: a library's convolution
    may choose its order by the batch's size.
    """
    (pictures,) = batch.inputs
    most = torch.as_tensor(draw.magnitudes["sigma"], dtype=torch.float64)
    sigma = (1 - draw.uniform[0]) * most
    radius = max(1, math.ceil(REACH * most.item()))
    taps = torch.arange(radius + 1, dtype=torch.float64)[:, None]
    weights = (-(taps.square()) / (2 * sigma.square())).exp()  # (taps, batch); the rest mirrors
    weights = weights / (2 * weights.sum(0) - 1)

    def blurred(some: slice) -> Tensor:
        found = _floating(pictures[some])
        own = weights[:, some, None, None, None].to(found)
        return _along(_along(found, own, 3), own, 2)

    return _with(batch, _where_on(draw, pictures, _by_piece(pictures, blurred)))


def noise(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """A normal number of its own added to each value, of standard deviation `std` times white."""
    (pictures,) = batch.inputs
    std = draw.magnitudes["std"] * scene.white

    def noisy(some: slice) -> Tensor:
        found = _floating(pictures[some])
        added = normal(draw.keys[some], found[0].numel(), found).view_as(found)
        return (found + added * std).clamp(0, scene.white)

    return _with(batch, _where_on(draw, pictures, _by_piece(pictures, noisy)))


def erasing(batch: Batch, draw: Draw, scene: Scene, *, value: str) -> Batch:
    """A rectangle inside each picture gives way to zeros, to the picture's mean or to noise."""
    (pictures,) = batch.inputs
    _, channels, height, width = pictures.shape
    inside = _rectangles(draw, height, width).to(pictures.device)
    if value == "zeros":
        found = pictures.masked_fill(inside[:, None], 0)
    elif value == "mean":
        mean = _floating(pictures).double().mul(256).round().mean((2, 3), keepdim=True) / 256
        found = torch.where(inside[:, None], mean.round().to(pictures.dtype), pictures)
    else:
        count = channels * height * width
        drawn = bits(draw.keys, -(-count // 8), pictures.device).view(torch.uint8)[:, :count]
        drawn = drawn.reshape(pictures.shape)
        if scene.white != 255:
            drawn = drawn * (scene.white / 255)
        found = torch.where(inside[:, None], drawn.to(pictures.dtype), pictures)
    return _with(batch, found)


def _rectangles(draw: Draw, height: int, width: int) -> Tensor:
    """Which pixels are erased, `(batch, height, width)` bool."""
    low, high = (float(draw.magnitudes[name]) for name in ("smallest", "largest"))
    stretch = math.log(float(draw.magnitudes["ratio"]))
    area = (draw.uniform[0] * (high - low) + low) * (height * width)
    half_log = draw.signed(1) * (stretch / 2)
    root = area.sqrt()
    down = (root * half_log.exp()).round().clamp(1, height)
    across = (root * (-half_log).exp()).round().clamp(1, width)
    top = (draw.uniform[2] * (height - down + 1)).floor()
    left = (draw.uniform[3] * (width - across + 1)).floor()
    y, x = torch.arange(height), torch.arange(width)
    lines = (y >= top[:, None]) & (y < (top + down)[:, None])
    columns = (x >= left[:, None]) & (x < (left + across)[:, None])
    inside = lines[:, :, None] & columns[:, None, :]
    return inside if draw.on is None else inside & draw.on[:, None, None]


def _along(pictures: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Pictures convolved along one side with the taps 0, 1, ... and their mirror image."""
    radius, side = len(weights) - 1, pictures.shape[dim]
    sides = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
    wide = functional.pad(pictures, sides, mode="replicate")
    found = pictures * weights[0]
    for tap in range(1, radius + 1):
        left, right = (wide.narrow(dim, radius + sign * tap, side) for sign in (-1, 1))
        found = found + (left + right) * weights[tap]
    return found


def _floating(pictures: Tensor) -> Tensor:
    return pictures if pictures.is_floating_point() else pictures.float()


def _by_piece(pictures: Tensor, change: Callable[[slice], Tensor]) -> Tensor:
    if torch.is_grad_enabled():
        return change(slice(None))
    return torch.cat([change(some) for some in in_cache(pictures)])


def _where_on(draw: Draw, before: Tensor, after: Tensor) -> Tensor:
    if draw.on is None:
        return after
    on = draw.on.to(before.device)[:, None, None, None]
    return torch.where(on, after, before.to(after.dtype))


def _with(batch: Batch, pictures: Tensor) -> Batch:
    return batch._replace(inputs=(pictures,))
