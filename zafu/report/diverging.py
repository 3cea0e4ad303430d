"""Colors of values on both sides of 0: even steps of a value are even steps to the eye.

Mixed in OKLab (Ottosson, 2020), in which straight lines between two colors pass through what lies
between them for the eye: blue speaks against, white is 0, orange speaks for. What has no sign goes
from white to green. The ends differ in lightness from the middle alike, and are told apart with any
common blindness to colors.
"""

from __future__ import annotations

import numpy as np

from zafu.report.element import Element, h
from zafu.report.picture import uri

_WHITE = (0.985, 0.0, 0.0)  # lightness, and the two hues of OKLab
_FOR, _AGAINST, _MUCH = (0.58, 0.125, 0.1), (0.45, -0.02, -0.13), (0.47, -0.09, -0.005)
_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def colors(values: np.ndarray, *, signed: bool) -> np.ndarray:
    """Values -1 to 1 (or 0 to 1) of any shape as `(..., 3)` uint8."""
    share = np.abs(np.clip(values, -1, 1))[..., None]
    ends = np.where(values[..., None] < 0, _AGAINST, _FOR) if signed else np.array(_MUCH)
    lab = np.array(_WHITE) + share * (ends - np.array(_WHITE))
    linear = np.clip((lab @ _TO_LMS.T) ** 3 @ _TO_RGB.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved).astype(np.uint8)


def drawn(values: np.ndarray, *, signed: bool) -> str:
    """A map `(height, width)` as a PNG in a data URI; its largest value has the full color."""
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    shown = colors(values / most, signed=signed)
    return uri(np.ascontiguousarray(shown.transpose(2, 0, 1)))


def legend() -> Element:
    """What the colors say."""
    both, one = np.linspace(-1, 1, 65)[None], np.linspace(0, 1, 33)[None]
    parts = [
        h("span", "speaks against"),
        h("img.ramp", {"src": drawn(both, signed=True), "alt": "blue to white to orange"}),
        h("span", "speaks for"),
        h("span.gap", "matters little"),
        h("img.ramp", {"src": drawn(one, signed=False), "alt": "white to green"}),
        h("span", "matters much (no sign)"),
    ]
    return h("p.legend.ramps", parts)
