"""How weights are spread, a small picture a model, and which layers suffer most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, number
from zafu.report.scale import TINY, Axis, linear, tick
from zafu.report.words import NARROW, short
from zafu.units import Count

WIDTH, HEIGHT, BASE = 200.0, 96.0, 78.0  # of a picture; where its bars stand
MOST_BINS, MOST_LAYERS = 512, 16
LETTERS = 44
CLIPPED = 3.0  # a bin's height at most, in heights of the highest before: 4 bits make spikes


class Spread(NamedTuple):
    """The weights of a model."""

    name: str
    low: float
    high: float
    shares: np.ndarray  # of all weights, those in each bin that are not 0
    zeros: float  # the share of weights that are 0
    total: float  # of weights

    @property
    def said(self) -> str:
        """How many weights there are, and how many of them are 0."""
        zeros = f"{self.zeros * 100:.2g}{NARROW}% zero" if self.zeros else "none zero"
        return f"{Count(int(self.total))} weights, {zeros}"


def spread(name: str, row: dict[str, Any]) -> Spread | None:
    """What a row says of its weights, None where that is nothing that can be drawn."""
    said = mapping(row.get("histogram"))
    low, high, zeros = number(said.get("low")), number(said.get("high")), number(row.get("zeros"))
    listed = said.get("counts")
    found = [number(x) for x in listed] if isinstance(listed, list) else []
    if not 0 < len(found) <= MOST_BINS or not high - low > TINY:
        return None
    counts = np.array(found)
    count = float(counts.sum())
    if not (np.isfinite(count) and counts.min() >= 0 and count >= 1):
        return None
    zeros = min(max(zeros, 0.0), 1.0) if math.isfinite(zeros) else 0.0
    shares = counts / count
    if low <= 0 < high:
        at = min(int(len(found) * (0 - low) / (high - low)), len(found) - 1)
        shares[at] = max(shares[at] - zeros, 0.0)
    return Spread(name, low, high, shares, zeros, count)


def spreads(found: Sequence[Spread]) -> Element | None:
    """A picture of each model, the first one pale behind the others; None where none was read."""
    if not found:
        return None
    first = found[0]
    most = max(float(one.shares.max()) for one in found)
    top = min(most, CLIPPED * max(float(first.shares.max()), TINY)) or 1.0
    drawn: list[Child] = []
    for one in found:
        caption = h("figcaption", h("strong", one.name), h("span", one.said))
        drawn.append(h("figure", caption, _picture(one, first, top)))
    return h("div.spreads", drawn)


def suffering(name: str, said: object) -> Element | None:
    """Bars of the loss that each layer costs alone, the dearest first; None where none is known."""
    pairs = [(layer, mapping(own)) for layer, own in mapping(said).items()]
    known = [(layer, number(own.get("loss")), number(own.get("bits"))) for layer, own in pairs]
    ranked = sorted((one for one in known if math.isfinite(one[1])), key=lambda one: -one[1])
    ranked = ranked[:MOST_LAYERS]
    if not ranked:
        return None
    inside: list[Child] = []
    largest = max(ranked[0][1], TINY)
    for index, (layer, loss, bits) in enumerate(ranked):
        y = 20.0 * index
        text = layer if len(layer) <= LETTERS else f"…{layer[1 - LETTERS :]}"
        bar = {"x": 0, "y": y + 15, "width": 400 * max(loss, 0.0) / largest, "height": 3}
        value = {"x": 400, "y": y + 11, "text-anchor": "end"}
        between = _between(mapping(mapping(said).get(layer)))
        inside += [
            h("text.name", {"x": 0, "y": y + 11}, text),
            h("text", value, f"{short(loss)}{between}{f' in {bits:.3g} bits' if bits > 0 else ''}"),
            h("rect.tenth", bar),
        ]
    shape = {"viewBox": f"0 0 400 {20 * len(ranked)}", "role": "img"}
    title = h("title", f"{name}: the loss that each layer costs alone")
    caption = h("figcaption", h("strong", name), h("span", "loss that each layer costs alone"))
    return h("figure", caption, h("svg", shape, title, inside))


def _between(row: dict[str, Any]) -> str:
    """The interval of a loss, where one is known."""
    low, high = number(row.get("low")), number(row.get("high"))
    known = math.isfinite(low) and math.isfinite(high)
    return f" [{short(low)}, {short(high)}]" if known else ""


def _picture(one: Spread, first: Spread, top: float) -> Element:
    ends = linear(np.array([one.low, one.high]), 4)
    inside_ = tuple(t for t in ends.ticks if one.low <= t <= one.high)
    x = Axis(one.low, one.high, inside_)
    marks: list[Child] = []
    for at, share in zip(x.ticks, x.place(np.array(x.ticks)).tolist(), strict=True):
        place = {"x": share * WIDTH, "y": HEIGHT - 4, "text-anchor": "middle"}
        marks.append(h("text", place, tick(at, x)))
    behind = None
    if one is not first and (one.low, one.high) == (first.low, first.high):
        behind = h("path.raw", {"d": _steps(first.shares, top)})
    base = h("line.axis", {"x1": 0, "x2": WIDTH, "y1": BASE, "y2": BASE})
    own = h("path.spread", {"d": _steps(one.shares, top)})
    shape = {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img"}
    return h("svg", shape, h("title", f"{one.name}: {one.said}"), own, behind, base, marks)


def _steps(shares: np.ndarray, top: float) -> str:
    wide = WIDTH / len(shares)
    high = BASE - np.minimum(shares / top, 1.0) * (BASE - 4)
    path = "".join(f"V{y:.1f}H{(i + 1) * wide:.1f}" for i, y in enumerate(high.tolist()))
    return f"M0 {BASE:g}{path}V{BASE:g}"
