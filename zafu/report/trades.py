"""What a threshold trades for two or a few classes, and how numbers were missed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zafu.report.chart import Frame, framed, plane
from zafu.report.element import Child, Element, h
from zafu.report.folder import Folder, mapping, mappings, number, words
from zafu.report.scale import Axis, linear
from zafu.report.words import NARROW, figure, short

UNIT = Axis(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
BINS = 41  # of the differences; odd, so that 0 is in the middle of one


class Curve(NamedTuple):
    """A class that is sought, and what its thresholds trade."""

    label: str
    roc_auc: float
    average_precision: float
    roc: np.ndarray  # (2, points)
    precision_recall: np.ndarray  # (2, points)


def thresholds(folder: Folder) -> Element | None:
    """ROC and precision against recall; of several classes the worst one is drawn strong."""
    found = [c for c in map(_curve, mappings(folder.judged.get("curves"))) if c]
    if not found:
        return None
    worst = min(found, key=lambda curve: curve.average_precision)
    several = len(found) > 1
    lead = (
        f"Each class against the rest, {worst.label!r} drawn strong: it has the least area under "
        "precision and recall."
        if several
        else f"{worst.label!r} is what is sought."
    )
    roc, precision = (
        f"area {figure(area, 4)}{f' for {worst.label}' if several else ''}"
        for area in (worst.roc_auc, worst.average_precision)
    )
    others = [c for c in found if c is not worst]
    ideal = h("line.ideal", _ends(framed(UNIT, UNIT)))
    first = [ideal, *_paths([(c, c.roc) for c in [*others, worst]], worst)]
    second = _paths([(c, c.precision_recall) for c in [*others, worst]], worst)
    return h(
        "section",
        h("h2", "What a threshold trades"),
        h("p.lead", lead),
        h(
            "div.grid",
            _figure("ROC", roc, first, ("false positives", "true positives")),
            _figure("Precision and recall", precision, second, ("recall", "precision")),
        ),
    )


def numbers(folder: Folder) -> Element | None:
    """Predicted against true numbers, and how far off they are."""
    said = mapping(folder.judged.get("numbers"))
    true, predicted = _column(said.get("true")), _column(said.get("predicted"))
    if len(true) != len(predicted) or len(true) < 2:
        return None
    name, samples = words(said.get("name")) or "target", number(said.get("samples"))
    some = f"{len(true):,} of {short(samples)} samples" if samples > len(true) else "all samples"
    missed = predicted - true
    half = float(np.quantile(np.abs(missed), 0.5))
    most = float(np.quantile(np.abs(missed), 0.95))
    return h(
        "section",
        h("h2", "How numbers are missed"),
        h(
            "p.lead",
            f"In the unit of {name}, {some}. Half of the answers are within {short(half)} of the "
            f"truth, 95{NARROW}% within {short(most)}.",
        ),
        h(
            "div.grid",
            _framed("Predicted and true", "the line is the truth", _scatter(true, predicted, name)),
            _framed("Predicted less true", "above 0 is too much", _missed(true, missed, name)),
        ),
    )


def _figure(name: str, aside: str, inside: list[Element], axes: tuple[str, str]) -> Element:
    across, down = axes
    drawn = plane(f"{name}: {aside}", framed(UNIT, UNIT), inside, across=across, down=down)
    return _framed(name, aside, drawn)


def _framed(name: str, aside: str, drawn: Element) -> Element:
    return h("figure", h("figcaption", h("strong", name), h("span", aside)), drawn)


def _paths(curves: list[tuple[Curve, np.ndarray]], strong: Curve) -> list[Element]:
    frame = framed(UNIT, UNIT)
    found: list[Element] = []
    for curve, (x, y) in curves:
        places = zip(frame.across(x).tolist(), frame.down(y).tolist(), strict=True)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        said = f"{curve.label}: ROC {curve.roc_auc:.4f}, precision {curve.average_precision:.4f}"
        kind = "line" if curve is strong else "raw"
        found.append(h("g", h("title", said), h(f"path.{kind}", {"d": path})))
    return found


def _ends(frame: Frame, low: float = 0.0, high: float = 1.0) -> dict[str, float]:
    (a, c), (b, d) = (f(np.array([low, high])).tolist() for f in (frame.across, frame.down))
    return {"x1": a, "y1": b, "x2": c, "y2": d}


def _scatter(true: np.ndarray, predicted: np.ndarray, name: str) -> Element:
    both = linear(np.concatenate([true, predicted]))
    frame = framed(both, both, height=320)
    line = h("line.ideal", _ends(frame, both.low, both.high))
    inside = [line, *_dots(frame, true, predicted)]
    title = f"Predicted against true {name}"
    return plane(title, frame, inside, across=f"true {name}", down="predicted")


def _missed(true: np.ndarray, missed: np.ndarray, name: str) -> Element:
    frame = framed(linear(true), linear(missed), height=320)
    ends = _ends(frame, frame.x.low, frame.x.high)
    level = float(frame.down(np.array(0.0)))
    line = h("line.ideal", {**ends, "y1": level, "y2": level})
    title = f"Predicted less true {name}, against the true one"
    inside = [line, *_dots(frame, true, missed), _middle(frame, true, missed)]
    return plane(title, frame, inside, across=f"true {name}", down="too much")


def _middle(frame: Frame, true: np.ndarray, missed: np.ndarray) -> Element:
    """The median of what was missed, over tenths of the samples."""
    order = np.argsort(true, kind="stable")
    tenths = [part for part in np.array_split(order, 10) if len(part)]
    x = np.array([np.median(true[part]) for part in tenths])
    y = np.array([np.median(missed[part]) for part in tenths])
    places = zip(frame.across(x).tolist(), frame.down(y).tolist(), strict=True)
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    return h("g", h("title", "the median of each tenth"), h("path.line", {"d": path}))


def _dots(frame: Frame, x: np.ndarray, y: np.ndarray) -> list[Child]:
    places = zip(frame.across(x).tolist(), frame.down(y).tolist(), strict=True)
    return [h("circle.sample", {"cx": a, "cy": b, "r": 1.6}) for a, b in places]


def _curve(said: dict[str, Any]) -> Curve | None:
    roc, both = _pair(said.get("roc")), _pair(said.get("precision_recall"))
    area, mean = (number(said.get(name)) for name in ("roc_auc", "average_precision"))
    if roc is None or both is None or not all(0 <= x <= 1.000001 for x in (area, mean)):
        return None
    return Curve(words(said.get("label")), area, mean, roc, both)


def _pair(value: object) -> np.ndarray | None:
    """Two rows of the same length of numbers from 0 to 1, or None."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    x, y = _column(value[0]), _column(value[1])
    sound = len(x) == len(y) > 0 and min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) <= 1
    return np.stack([x, y]) if sound else None


def _column(value: object) -> np.ndarray:
    """The numbers of a list, all of them finite, or none."""
    found = [number(x) for x in value] if isinstance(value, list) else []
    return np.array(found) if found and bool(np.isfinite(found).all()) else np.zeros(0)
