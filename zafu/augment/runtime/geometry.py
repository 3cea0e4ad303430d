"""The maps of geometric steps, from places in the result to places in the picture."""

from __future__ import annotations

import math

from torch import Tensor

from zafu.augment.runtime.affine import Affine, Size
from zafu.augment.runtime.step import Draw


def rotation(draw: Draw, size: Size) -> Affine:
    """Turned about the center by up to `degrees` either way; counter-clockwise is positive."""
    angle = draw.signed(0) * (draw.magnitudes["degrees"] * (math.pi / 180))
    cosine, sine = angle.cos(), angle.sin()
    return Affine(a=cosine, b=-sine, c=sine, d=cosine)


def scaling(draw: Draw, size: Size) -> Affine:
    """Enlarged by `factor ** u`, u uniform from -1 to 1."""
    factor = draw.magnitudes["factor"]
    log = factor.log() if isinstance(factor, Tensor) else math.log(factor)
    inverse = (draw.signed(0) * -log).exp()
    return Affine(a=inverse, d=inverse)


def translation(draw: Draw, size: Size) -> Affine:
    """Moved by up to `share` of the width and of the height either way."""
    share = draw.magnitudes["share"]
    left = draw.signed(0) * (share * -size.width)
    return Affine(left=left, top=draw.signed(1) * (share * -size.height))


def shear_x(draw: Draw, size: Size) -> Affine:
    """Lines moved in proportion to their height: uprights lean by up to `degrees`."""
    return Affine(b=-_slope(draw, 0))


def shear_y(draw: Draw, size: Size) -> Affine:
    """Columns moved in proportion to their place: levels lean by up to `degrees`."""
    return Affine(c=-_slope(draw, 0))


def shear_both(draw: Draw, size: Size) -> Affine:
    """Leaning along x, then along y, by angles of their own."""
    return Affine(b=-_slope(draw, 0)).after(Affine(c=-_slope(draw, 1)))


def mirrored_x(draw: Draw, size: Size) -> Affine:
    """Left and right exchanged."""
    return Affine(a=-1.0)


def mirrored_y(draw: Draw, size: Size) -> Affine:
    """Top and bottom exchanged."""
    return Affine(d=-1.0)


def moved(draw: Draw, size: Size) -> Affine:
    """Moved by a whole number of pixels, uniform from -`padding` to `padding` on each axis."""
    padding = float(draw.magnitudes["padding"])
    left, top = ((u * (2 * padding + 1)).floor() - padding for u in draw.uniform)
    return Affine(left=left, top=top)


def zoomed(draw: Draw, size: Size) -> Affine:
    """A cut-out of some area and ratio of sides, inside the picture, brought to its size."""
    low, high = (float(draw.magnitudes[name]) for name in ("smallest", "largest"))
    stretch = math.log(float(draw.magnitudes["ratio"]))
    root = (draw.uniform[0] * (high - low) + low).sqrt()
    half_log = draw.signed(1) * (stretch / 2)
    across, down = ((root * (sign * half_log).exp()).clamp(max=1) for sign in (1, -1))
    return Affine(
        a=across,
        left=draw.signed(2) * (1 - across) * (size.width / 2),
        d=down,
        top=draw.signed(3) * (1 - down) * (size.height / 2),
    )


def _slope(draw: Draw, row: int) -> Tensor:
    return (draw.signed(row) * (draw.magnitudes["degrees"] * (math.pi / 180))).tan()
