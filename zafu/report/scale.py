"""Scales: from numbers to places on paper, round ticks, and long series made short.

Ticks are at 1, 2 or 5 times a power of ten (Heckbert, 1990). Long series keep the first, last,
lowest and highest point of each column of the picture, so that no spike is lost (M4: Jugel et
al., 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TINY = 1e-100  # below it a number is as good as 0, and quotients would overflow
LOG_FROM = 30.0  # ratio of the largest to the smallest value from which a log axis reads better


@dataclass(frozen=True)
class Axis:
    """A range of numbers, linear or logarithmic, with its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, values: np.ndarray) -> np.ndarray:
        """Share of the way from low to high; NaN where a value has no place."""
        if self.log:
            safe = np.where(values > 0, values, np.nan)
            return np.log(safe / self.low) / math.log(self.high / self.low)
        return (values - self.low) / (self.high - self.low)


def axis(values: np.ndarray, *, count: int = 5) -> Axis:
    """An axis that holds all finite values and ends at ticks: log where they span decades."""
    low, high = _span(values)
    return (
        _logarithmic(low, high) if low > TINY and high / low > LOG_FROM else linear(values, count)
    )


def linear(values: np.ndarray, count: int = 5) -> Axis:
    """A linear axis that holds all finite values and ends at ticks."""
    low, high = _span(values)
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, TINY):
        pad = size / 2 if size > TINY else 1.0
        low, high = low - pad, high + pad
    ticks = _ticks(low, high, count)
    return Axis(ticks[0], ticks[-1], ticks)


def from_zero(values: np.ndarray) -> Axis:
    """A linear axis that holds all finite values and 0."""
    found = linear(np.append(values, 0.0))
    inside = tuple(t for t in found.ticks if t >= 0 or np.nanmin(values, initial=0.0) < 0)
    return Axis(inside[0], inside[-1], inside)


def steps(last: float, count: int = 5) -> Axis:
    """The axis of training steps, from 0 to exactly the last one."""
    last = max(last, 1.0)
    ticks = tuple(t for t in _ticks(0.0, last, count) if t <= last and t.is_integer())
    return Axis(0.0, last, ticks)


def tick(value: float, on: Axis) -> str:
    """A tick's label: as short as tells it from its neighbours; thousands as k, M, G."""
    largest = max(map(abs, on.ticks), default=1.0) or 1.0
    gaps = [b - a for a, b in pairwise(on.ticks)]
    gap = abs(value) if on.log else min(gaps, default=largest)
    if value == 0:
        return "0"
    for factor, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest < 1e12 and abs(value) >= factor and largest >= 5 * factor:
            return f"{value / factor:.{_places(gap / factor)}f}{sign}".replace("-", "−")
    if largest >= 1e12 or (abs(value) < 1e-3 and largest < 2e-2) or (on.log and abs(value) < 1e-4):
        mantissa, power = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}".replace("-", "−")
    return f"{value:.{_places(min(gap, abs(value)))}f}".replace("-", "−")


def thin(x: np.ndarray, y: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The points that show at this many columns: first, last, lowest and highest of each."""
    if len(x) <= 4 * columns:
        return x, y
    edges = np.linspace(0, len(x), columns + 1).astype(int)
    kept: set[int] = set()
    for start, end in pairwise(edges):
        part = y[start:end]
        kept |= {int(start), int(end) - 1}
        if np.isfinite(part).any():
            kept |= {int(start + np.nanargmin(part)), int(start + np.nanargmax(part))}
    order = np.array(sorted(kept))
    return x[order], y[order]


def smooth(y: np.ndarray, share: float = 0.02) -> np.ndarray:
    """An exponential mean to both sides, over about this share of the points each.

    To one side alone it would lag behind a falling curve. NaN stays NaN and counts for nothing.
    """
    keep = 1 - 1 / max(1.0, share * len(y))
    return (_trailing(y, keep) + _trailing(y[::-1], keep)[::-1]) / 2


def _trailing(y: np.ndarray, keep: float) -> np.ndarray:
    out, total, weight = np.full(len(y), np.nan), 0.0, 0.0
    for index, value in enumerate(y.tolist()):
        if math.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
            out[index] = total / weight
    return out


def _span(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def _ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    step = next(m * power for m in (1, 2, 5, 10, 20) if (high - low) / (m * power) <= count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last - first > 2 * count:  # too far from 0 for steps of this size to be told apart
        return (low, high)
    return tuple(round(n * step, 12 - math.floor(math.log10(step))) for n in range(first, last + 1))


def _logarithmic(low: float, high: float) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 5))
    if last - first > 2:
        ticks = [10.0**n for n in range(first, last + every, every)]
    else:
        ticks = [m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 5)]
    above = next((t for t in ticks if t >= high), ticks[-1])
    below = next((t for t in reversed(ticks) if t <= low), ticks[0])
    inside = tuple(t for t in ticks if below <= t <= above)
    return Axis(min(low, below), max(high, above), inside, log=True)


def _places(step: float) -> int:
    return min(max(0, -math.floor(math.log10(step) + 1e-9)), 9) if step > 0 else 0
