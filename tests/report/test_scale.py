"""Scales and colours: ticks are round and hold the data, long lines keep spikes, ink is read."""

import re
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zafu.report.folder import LARGEST
from zafu.report.scale import Axis, axis, from_zero, linear, smooth, steps, thin, tick

VALUES = arrays(float, st.integers(1, 30), elements=st.floats(-LARGEST, LARGEST, width=64))
PAIRS = [("ink", "paper"), ("soft", "paper"), ("ink", "card"), ("soft", "card"), ("own", "paper")]
PAIRS += [("point", "paper"), ("bad", "paper"), ("ink", "warm"), ("ink", "red"), ("word", "card")]
PAIRS += [("key", "card"), ("figure", "card"), ("own", "card")]


@pytest.mark.parametrize("make", [axis, linear, from_zero])
@given(values=VALUES)
@example(values=np.array([5e-324, 1e-300, 1.0]))
@example(values=np.array([0.0, 5e-324]))
@example(values=np.array([LARGEST, -LARGEST]))
@settings(deadline=None, max_examples=200)
def test_an_axis_holds_its_values_and_has_ticks_in_order(
    make: Callable[[np.ndarray], Axis], values: np.ndarray
) -> None:
    found = make(values)

    places = found.place(values)
    assert np.all((places >= -1e-9) & (places <= 1 + 1e-9))
    assert list(found.ticks) == sorted(set(found.ticks))
    assert 2 <= len(found.ticks) <= 16
    assert found.low < found.high
    assert all(len(tick(t, found)) <= 12 for t in found.ticks)
    assert make is not from_zero or found.low <= 0 <= found.high


@given(last=st.floats(0, 1e15))
@settings(deadline=None)
def test_the_axis_of_steps_has_whole_ticks_up_to_the_last_step(last: float) -> None:
    found = steps(last)

    assert all(t.is_integer() and t <= max(last, 1) for t in found.ticks)
    assert found.ticks[0] == 0
    assert len(found.ticks) >= 2


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([1.9, 7.6], ["0", "2", "4", "6", "8"]),
        ([0.1, 9.0], ["0.1", "0.2", "0.5", "1", "2", "5", "10"]),
        ([1e-6, 1.0], ["1e−6", "0.0001", "0.01", "1"]),
        ([-3.0, 3.0], ["−4", "−2", "0", "2", "4"]),
        ([0.0, 60_000.0], ["0", "20k", "40k", "60k"]),
        ([0.0, 0.0031], ["0", "0.001", "0.002", "0.003", "0.004"]),
        ([5.0, 5.0], ["2", "3", "4", "5", "6", "7", "8"]),
    ],
)
def test_ticks_are_written_as_a_person_would(values: list[float], labels: list[str]) -> None:
    found = axis(np.array(values))

    assert [tick(t, found) for t in found.ticks] == labels


@given(
    y=arrays(float, st.integers(1, 4000), elements=st.floats(-1e6, 1e6) | st.just(float("nan"))),
    columns=st.integers(1, 50),
)
@settings(deadline=None, max_examples=50)
def test_a_thinned_line_keeps_its_ends_and_extremes(y: np.ndarray, columns: int) -> None:
    x = np.arange(len(y), dtype=float)

    few_x, few_y = thin(x, y, columns)

    assert len(few_x) <= 4 * columns or len(few_x) == len(x)
    assert few_x[0] == x[0]
    assert few_x[-1] == x[-1]
    assert np.array_equal(few_y, y[few_x.astype(int)], equal_nan=True)
    if np.isfinite(y).any():
        assert np.nanmax(few_y) == np.nanmax(y)
        assert np.nanmin(few_y) == np.nanmin(y)


@given(slope=st.floats(-10, 10), start=st.floats(-10, 10), size=st.integers(1, 300))
@settings(deadline=None, max_examples=50)
def test_a_smoothed_line_does_not_lag(slope: float, start: float, size: int) -> None:
    y = start + slope * np.arange(size)

    middle = size // 2
    off = smooth(y)[middle] - y[middle]

    assert abs(off) <= abs(slope) + 1e-6  # half a step, as the middle of an even size is none


def test_smoothing_leaves_gaps_and_constants_as_they_are() -> None:
    y = np.array([2.0, np.nan, 2.0, 2.0, np.inf])

    found = smooth(y, share=0.5)

    np.testing.assert_allclose(found, [2.0, np.nan, 2.0, 2.0, np.nan], rtol=1e-12)


def test_what_has_no_place_on_a_log_axis_is_left_out() -> None:
    found = Axis(0.1, 10.0, (0.1, 1.0, 10.0), log=True)

    places = found.place(np.array([0.1, 1.0, 10.0, 0.0, -1.0]))

    np.testing.assert_allclose(places, [0.0, 0.5, 1.0, np.nan, np.nan], atol=1e-12)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("ink", "paper"), PAIRS)
def test_text_has_the_contrast_of_wcag_aa(ink: str, paper: str, dark: bool) -> None:
    colors = palette(dark)

    lighter, darker = sorted((luminance(colors[ink]), luminance(colors[paper])), reverse=True)

    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_counts_can_be_read_on_every_heat(dark: bool) -> None:
    colors = palette(dark)
    heat = float(re.findall(r"--heat: ([\d.]+)", style())[dark])
    cell = mixed(colors["line"], colors["paper"], 0.45)

    for share in np.linspace(0, 1, 21):
        back = luminance(mixed(colors["own"], cell, share * heat))
        lighter, darker = sorted((luminance(colors["ink"]), back), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def style() -> str:
    """The style sheet of the report."""
    return files("zafu.report").joinpath("style.css").read_text()


def palette(dark: bool) -> dict[str, tuple[float, ...]]:
    """The colours by name, each as three shares of 1."""
    blocks = re.findall(r":root \{(.*?)\}", style(), re.DOTALL)
    found = re.findall(r"--(\w+): #([0-9a-f]{6});", blocks[1 if dark else 0])
    return {name: tuple(int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)) for name, c in found}


def mixed(top: tuple[float, ...], under: tuple[float, ...], share: float) -> tuple[float, ...]:
    """A colour laid over another one, with this opacity."""
    return tuple(share * a + (1 - share) * b for a, b in zip(top, under, strict=True))


def luminance(color: tuple[float, ...]) -> float:
    """Relative luminance by WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
