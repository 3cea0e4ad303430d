"""The tints of color steps; factors are uniform from 1 - amount to 1 + amount."""

from __future__ import annotations

import math

from torch import Tensor

from zafu.augment.runtime.step import Draw
from zafu.augment.runtime.tint import Tint


def brightness(draw: Draw, before: Tint, mean: Tensor) -> Tint:
    """All channels times a factor, as Pillow's `ImageEnhance.Brightness`."""
    return before.scaled(_factor(draw))


def contrast(draw: Draw, before: Tint, mean: Tensor) -> Tint:
    """Distances from the picture's mean luma times a factor, as `ImageEnhance.Contrast`."""
    factor = _factor(draw)
    return before.scaled(factor, (1 - factor) * (before.luma * mean + before.offset))


def saturation(draw: Draw, before: Tint, mean: Tensor) -> Tint:
    """Distances from each pixel's luma times a factor, as `ImageEnhance.Color`."""
    return before.saturated(_factor(draw))


def hue(draw: Draw, before: Tint, mean: Tensor) -> Tint:
    """Chroma turned in the I-Q plane by up to `degrees` either way; luma stays."""
    angle = draw.signed(0) * (draw.magnitudes["degrees"] * (math.pi / 180))
    return before.turned(angle.cos(), angle.sin())


def _factor(draw: Draw) -> Tensor:
    return draw.signed(0) * draw.magnitudes["amount"] + 1
