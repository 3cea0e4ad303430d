"""Figures of a study: values against what was spent, and against each setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zafu.report.chart import BOTTOM, Frame, framed, plane
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, number, words
from zafu.report.scale import Axis, axis, linear
from zafu.report.words import short

SPREAD = 4.0  # how far the worst values may stretch an axis, in distances of the better half
LETTERS = 12


@dataclass(frozen=True)
class Dot:
    """A trial in a picture."""

    number: int
    settings: dict[str, Any]
    value: float  # in the unit that is shown; NaN where it diverged or was refused
    spent: float  # epochs of all trials up to its end
    until: float

    @property
    def said(self) -> str:
        """What a pointer on it says."""
        value = "no value" if np.isnan(self.value) else short(self.value)
        part = "" if self.until == 1 else f", {self.until:.0%} of the budget"
        return f"trial {self.number}: {value}{part}; {setting_words(self.settings)}"


def dots(trials: object, *, factor: float, epoch: float) -> list[Dot]:
    """The trials of a study, with so many samples in an epoch."""
    found: list[Dot] = []
    spent = 0.0
    for trial in mappings(trials):
        spent += max(number(trial.get("samples")), 0) / epoch
        value = number(trial.get("value")) * factor
        index, until = int(number(trial.get("number"))), number(trial.get("until"))
        found.append(Dot(index, mapping(trial.get("settings")), value, spent, until))
    return found


def spending(found: Sequence[Dot], metric: str, *, higher: bool, confirmed: float) -> Element:
    """Each trial's value, and the best so far, against the epochs spent until then."""
    y = value_axis([dot.value for dot in found] + [confirmed], higher=higher)
    x = linear(np.array([0.0, found[-1].spent]))
    frame = framed(Axis(0.0, found[-1].spent, inside(x, found[-1].spent)), y, width=820, height=280)
    inside_: list[Child] = []
    if np.isfinite(confirmed):
        level = float(frame.down(np.array(confirmed)))
        ends = frame.across(np.array([0.0, found[-1].spent])).tolist()
        line = {"x1": ends[0], "x2": ends[1], "y1": level, "y2": level}
        inside_.append(h("line.ideal", line, h("title", "its mean over fresh seeds")))
    inside_ += [_dot(frame, dot, dot.spent, dot.until < 1) for dot in found]
    inside_.append(h("path.line", {"d": _stairs(frame, found, higher=higher)}))
    said = f"{metric} of trials against the epochs spent"
    return plane(said, frame, inside_, across="epochs spent", down=metric)


def by_setting(
    one: dict[str, Any], found: Sequence[Dot], metric: str, *, higher: bool, winner: object
) -> Element | None:
    """The value of each trial against one of its settings."""
    path = words(one.get("path"))
    shown = [dot for dot in found if path in dot.settings]
    if not shown:
        return None
    y = value_axis([dot.value for dot in shown], higher=higher)
    choices = one.get("values")
    if isinstance(choices, list):
        labels = [show(value) for value in choices]
        x = Axis(-0.5, len(labels) - 0.5, ())
        places = [labels.index(show(dot.settings[path])) + _apart(dot) for dot in shown]
    else:
        ends = np.array([number(one.get("low")), number(one.get("high"))])
        x, labels = axis(ends, count=4) if one.get("log") is True else linear(ends, 4), []
        places = [number(dot.settings[path]) for dot in shown]
    frame = framed(x, y, width=400, height=230)
    inside_: list[Child] = [
        _dot(frame, dot, place, dot.until < 1, strong=dot.until == 1 and dot.settings == winner)
        for dot, place in sorted(
            zip(shown, places, strict=True), key=lambda p: p[0].settings == winner
        )
    ]
    named = _named(frame, labels) if labels else None
    drawn = plane(f"{metric} against {path}", frame, [*inside_, named], across="", down=metric)
    return h("figure", h("figcaption", h("strong.path", path)), drawn)


def value_axis(values: Sequence[float], *, higher: bool) -> Axis:
    """An axis of values on which the better half shows, however bad the worst ones are."""
    finite = np.array([value for value in values if np.isfinite(value)] or [0.0, 1.0])
    sign = 1 if higher else -1
    best, middle = float((sign * finite).max()), float(np.median(sign * finite))
    cut = sign * finite >= best - SPREAD * max(best - middle, 1e-12)
    shown = finite[cut]
    if np.ptp(shown) < 1e-3 * abs(best):  # all alike: one hundredth to either side
        shown = np.array([0.99, 1.01]) * shown[0]
    return linear(shown, 4)


def inside(on: Axis, last: float) -> tuple[float, ...]:
    """The ticks up to the last value."""
    return tuple(tick for tick in on.ticks if tick <= last)


def setting_words(settings: dict[str, Any]) -> str:
    """Settings in a line."""
    return ", ".join(f"{path} = {show(value)}" for path, value in settings.items())


def show(value: object) -> str:
    """A setting's value as a person would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(inner)}" for key, inner in value.items())
    return words(value) or str(value)


def _apart(dot: Dot) -> float:
    """A small step aside, so that trials of one choice do not cover each other."""
    return ((dot.number * 0.618) % 1 - 0.5) * 0.5


def _dot(frame: Frame, dot: Dot, place: float, part: bool, *, strong: bool = False) -> Element:
    a = float(frame.across(np.array(place)))
    base = frame.height - BOTTOM
    said = h("title", dot.said)
    low, high = frame.y.low, frame.y.high
    if not low <= dot.value <= high:  # NaN too: a mark where it would have been
        kind = "line.bad" if np.isnan(dot.value) else "line.out"
        return h(kind, {"x1": a, "x2": a, "y1": base - 7, "y2": base}, said)
    b = float(frame.down(np.array(dot.value)))
    kind = "circle.chosen" if strong else "circle.part" if part else "circle.sample"
    return h(kind, {"cx": a, "cy": b, "r": 4.4 if strong else 2.8}, said)


def _stairs(frame: Frame, found: Sequence[Dot], *, higher: bool) -> str:
    """The best value of the trials that went furthest so far, as steps."""
    best, path, furthest = np.nan, "", 0.0
    for dot in found:
        if np.isnan(dot.value) or dot.until < furthest:
            continue
        better = dot.value > best if higher else dot.value < best
        if dot.until == furthest and not np.isnan(best) and not better:
            continue
        a = float(frame.across(np.array(dot.spent)))
        b = float(frame.down(np.array(np.clip(dot.value, frame.y.low, frame.y.high))))
        path += f"H{a:.1f}V{b:.1f}" if path else f"M{a:.1f} {b:.1f}"
        best, furthest = dot.value, dot.until
    end = float(frame.across(np.array(found[-1].spent)))
    return f"{path}H{end:.1f}" if path else ""


def _named(frame: Frame, labels: Sequence[str]) -> Element:
    """The names of choices below the axis, in place of their numbers."""
    found: list[Child] = []
    for place, label in enumerate(labels):
        at = {"x": float(frame.across(np.array(float(place)))), "y": frame.height - BOTTOM + 16}
        text = label if len(label) <= LETTERS else label[: LETTERS - 1] + "…"
        found.append(h("text", {**at, "text-anchor": "middle"}, text))
    return h("g", found)
