"""One random operation of random strength on each picture, as TrivialAugment draws them.

The operations are Pillow's; those that move or tint pixels are maps and tints of our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from zafu.augment.contract import Fill
from zafu.augment.runtime.affine import Affine, warp
from zafu.augment.runtime.step import Draw, Scene
from zafu.augment.runtime.tint import Tint, colored, mean_luma
from zafu.batch import Batch

OPERATIONS = (
    "identity",
    "shear-x",
    "shear-y",
    "translate-x",
    "translate-y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
STRENGTHS = 31  # 0 to 30, as in the paper
_MOST_SHEAR, _MOST_DEGREES, _MOST_PIXELS, _MOST_AMOUNT = 0.99, 135.0, 32.0, 0.99
_MOST_SHARE = 0.45  # of a side: pictures of less than 72 pixels are not moved out of sight


def trivial_augment(batch: Batch, draw: Draw, scene: Scene, *, fill: Fill) -> Batch:
    """Each picture changed by one operation; values are rounded to bytes' steps before it."""
    (pictures,) = batch.inputs
    chosen = (draw.uniform[0] * len(OPERATIONS)).long()
    strength = (draw.uniform[1] * STRENGTHS).floor() / (STRENGTHS - 1)  # 0 to 1
    sign = torch.where(draw.uniform[2] < 0.5, -1.0, 1.0).double()
    if draw.on is not None:
        chosen = chosen.masked_fill(~draw.on, 0)
    to_bytes = 255 / scene.white
    found = (pictures.float() * to_bytes).round() if to_bytes != 1 else pictures.float().round()
    for index, name in enumerate(OPERATIONS):
        some = (chosen == index).nonzero()[:, 0]
        if index and len(some):
            place = some.to(found.device)
            changed = operate(name, found[place], strength[some], sign[some], fill)
            found[place] = changed.clamp(0, 255)
    return batch._replace(inputs=(found / to_bytes,))


def operate(name: str, pictures: Tensor, strength: Tensor, sign: Tensor, fill: Fill) -> Tensor:
    """Pictures of 0 to 255 in whole steps, each under `name` with its strength, 0 to 1."""
    if name in _MAPS:
        height, width = pictures.shape[2:]
        rows = _MAPS[name](strength * sign, width, height).rows(len(pictures))
        return warp(pictures, rows, fill)
    if name in _TINTS:
        rows = _TINTS[name](strength * sign * _MOST_AMOUNT + 1, mean_luma(pictures))
        return colored(pictures, rows.rows, turns=False)
    if name == "sharpness":
        factor = (strength * sign * _MOST_AMOUNT + 1).to(pictures)[:, None, None, None]
        smooth = _smooth(pictures)
        return smooth + (pictures - smooth) * factor
    whole = strength.to(pictures)[:, None, None, None]
    if name == "posterize":
        step = 2 ** (whole * 6).round()
        return (pictures / step).floor() * step
    if name == "solarize":
        return torch.where(pictures < (255 * (1 - whole)), pictures, 255 - pictures)
    return autocontrast(pictures) if name == "autocontrast" else equalize(pictures)


def autocontrast(pictures: Tensor) -> Tensor:
    """Each channel stretched to reach from 0 to 255, as Pillow's `autocontrast` rounds."""
    low, high = pictures.amin((2, 3), keepdim=True), pictures.amax((2, 3), keepdim=True)
    scale = 255 / (high - low).clamp(min=1).double()
    stretched = (pictures * scale - low * scale).floor().clamp(0, 255).to(pictures)
    return torch.where(high > low, stretched, pictures)


def equalize(pictures: Tensor) -> Tensor:
    """Each channel's values spread by their ranks, as Pillow's `equalize` does."""
    batch, channels, height, width = pictures.shape
    values = pictures.long().reshape(batch * channels, height * width)
    counts = torch.zeros(len(values), 256, dtype=torch.int64, device=values.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    last = counts.gather(1, values.amax(1, keepdim=True))  # of the largest value that occurs
    step = (height * width - last) // 255
    before = counts.cumsum(1) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(0, 255)
    table = torch.where(step > 0, table, torch.arange(256, device=values.device))
    return table.gather(1, values).view(pictures.shape).to(pictures)


def _smooth(pictures: Tensor) -> Tensor:
    """Pillow's SMOOTH: the mean of 3x3 pixels, the middle one five times; the border stays."""
    height, width = pictures.shape[2:]
    if height < 3 or width < 3:
        return pictures
    total = pictures[..., 1:-1, 1:-1] * 4
    for down in range(3):
        for right in range(3):
            total = total + pictures[..., down : height - 2 + down, right : width - 2 + right]
    inner = (total / 13).round()
    ring = functional.pad(torch.ones_like(inner, dtype=torch.bool), (1, 1, 1, 1))
    return torch.where(ring, functional.pad(inner, (1, 1, 1, 1)), pictures)


def _pixels(strength: Tensor, side: int) -> Tensor:
    return strength * -min(_MOST_PIXELS, _MOST_SHARE * side)


def _turned(strength: Tensor, width: int, height: int) -> Affine:
    angle = strength * (_MOST_DEGREES * math.pi / 180)
    return Affine(a=angle.cos(), b=-angle.sin(), c=angle.sin(), d=angle.cos())


_MAPS: dict[str, Callable[[Tensor, int, int], Affine]] = {
    "shear-x": lambda s, width, height: Affine(b=s * -_MOST_SHEAR),
    "shear-y": lambda s, width, height: Affine(c=s * -_MOST_SHEAR),
    "translate-x": lambda s, width, height: Affine(left=_pixels(s, width)),
    "translate-y": lambda s, width, height: Affine(top=_pixels(s, height)),
    "rotate": _turned,
}
_TINTS: dict[str, Callable[[Tensor, Tensor], Tint]] = {
    "brightness": lambda factor, mean: Tint().scaled(factor),
    "color": lambda factor, mean: Tint().saturated(factor),
    "contrast": lambda factor, mean: Tint().scaled(factor, (1 - factor) * mean),
}
