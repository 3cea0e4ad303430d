"""How sure the model is: reliability before and after its temperature, as a picture with counts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zafu.measure import Measurement
from zafu.report.chart import Frame, framed, plane
from zafu.report.element import Child, Element, h
from zafu.report.folder import Folder, mapping, mappings, measurement, number, words
from zafu.report.scale import Axis
from zafu.report.words import NARROW, bare, digits, figure, short

UNIT = Axis(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
FEW = 10  # samples of a bin below which its whisker is drawn pale
COUNTS = 56.0  # height of the bars of counts, under the diagram


class Bin(NamedTuple):
    """Samples of about the same confidence."""

    low: float
    high: float
    confidence: float
    accuracy: Measurement


def reliability(folder: Folder) -> Element | None:
    """Confidence against the share of right answers, as trained and with its temperature."""
    said = mapping(folder.judged.get("calibration"))
    before, after = (mapping(said.get(name)) for name in ("before", "after"))
    if not _bins(before):
        return None
    degree = number(said.get("temperature"))
    figures = [_figure("as trained", before)]
    if _bins(after) and degree > 0:
        figures.append(_figure(f"with temperature {figure(degree, 2)}", after))
    return h(
        "section",
        h("h2", "How sure it is"),
        h(
            "p.lead",
            f"Of all answers given with 80{NARROW}% confidence, 80{NARROW}% should be right: then "
            "a point is on the line. Above it the model is less sure than it may be, below it more "
            f"sure than it should be. {_learned(folder, said)}",
        ),
        h("div.grid", figures),
    )


def _learned(folder: Folder, said: dict[str, Any]) -> str:
    split, many = words(said.get("split")), number(said.get("n"))
    if not split or not math.isfinite(many):
        return ""
    same = " – the same samples as here, so this flatters it" if split == _judged_on(folder) else ""
    return (
        f"The temperature, by which logits are divided, is the one with the least loss on "
        f"{short(many)} samples of the {split} split{same}. It travels with the model, and changes "
        "no answer."
    )


def _judged_on(folder: Folder) -> str:
    return words(folder.judged.get("split"))


def _figure(name: str, said: dict[str, Any]) -> Element:
    scores = mapping(said.get("scores"))
    known = {"ECE": "ece", "Brier": "brier", "loss": "loss"}
    found = [(word, key, measurement(scores.get(key))) for word, key in known.items()]
    parts = [h("div", h("dt", w), h("dd", bare(k, m, digits(k, m)))) for w, k, m in found if m]
    caption = h("figcaption", h("strong", name))
    return h("figure", caption, _diagram(_bins(said)), h("dl.facts.small", parts))


def _diagram(bins: list[Bin]) -> Element:
    frame = framed(UNIT, UNIT, height=290)
    inside: list[Child] = [_line(frame)]
    most = max(b.accuracy.n for b in bins)
    for one in bins:
        inside.append(_point(frame, one, most))
    title = "; ".join(_said(one) for one in bins)
    diagram = plane(title, frame, inside, across="confidence", down="share right")
    return h("div", diagram, _counts(frame, bins, most))


def _line(frame: Frame) -> Element:
    (a, b), (c, d) = (
        _places(frame, np.array([0.0, 1.0]), np.array([0.0, 1.0]))[i] for i in range(2)
    )
    return h("line.ideal", {"x1": a, "y1": b, "x2": c, "y2": d})


def _point(frame: Frame, one: Bin, most: int) -> Element:
    low, high = (one.accuracy.low or 0.0), (one.accuracy.high or one.accuracy.value)
    xs = np.array([one.confidence] * 3)
    (x, y), (_, y1), (_, y2) = _places(frame, xs, np.array([one.accuracy.value, low, high]))
    radius = 2.5 + 4.5 * math.sqrt(one.accuracy.n / most)
    whisker = h(
        f"line.whisker.{'few' if one.accuracy.n < FEW else 'many'}",
        {"x1": x, "x2": x, "y1": y1, "y2": y2},
    )
    return h("g.bin", h("title", _said(one)), whisker, h("circle", {"cx": x, "cy": y, "r": radius}))


def _counts(frame: Frame, bins: list[Bin], most: int) -> Element:
    """How many samples each bin holds, on the same horizontal axis; a root, so that few show."""
    inside: list[Child] = []
    for one in bins:
        (left, _), (right, _) = _places(frame, np.array([one.low, one.high]), np.zeros(2))
        height = max(1.0, (COUNTS - 16) * math.sqrt(one.accuracy.n / most))
        place = {"x": left + 0.5, "y": COUNTS - height, "width": right - left - 1, "height": height}
        middle = {"x": (left + right) / 2, "y": COUNTS - height - 3, "text-anchor": "middle"}
        inside += [h("rect.bar", place), h("text.count", middle, short(one.accuracy.n))]
    shape = {"viewBox": f"0 0 {frame.width:g} {COUNTS:g}", "role": "img"}
    name = h("text.axis", {"x": frame.left + 4, "y": 10}, "samples")
    return h("svg.counts", shape, h("title", "Samples by confidence"), name, inside)


def _places(frame: Frame, x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(frame.across(x).tolist(), frame.down(y).tolist(), strict=True))


def _said(one: Bin) -> str:
    of = one.accuracy
    return f"{one.confidence:.1%} sure: {of.value:.1%} of {of.n:,} right"


def _bins(said: dict[str, Any]) -> list[Bin]:
    found: list[Bin] = []
    for row in mappings(said.get("bins")):
        low, high, sure = (number(row.get(name)) for name in ("low", "high", "confidence"))
        accuracy = measurement(row.get("accuracy"))
        if accuracy and accuracy.n and all(0 <= x <= 1 for x in (low, high, sure)):
            found.append(Bin(low, high, sure, accuracy))
    return found
