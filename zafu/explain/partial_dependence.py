"""Partial dependence: the mean answer as a function of one column, and the lines of single rows.

Friedman, 2001; the lines, individual conditional expectations: Goldstein et al., 2013
(arXiv:1309.6392). All other columns stay as held-out rows have them, so where columns depend on
each other the model is asked about rows that may not exist; lines that cross are interactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.explain.contract import COLUMNS, Overview

if TYPE_CHECKING:
    from torch import Tensor

    from zafu.explain.runtime.scene import Scene
    from zafu.explain.runtime.table import Described

PLACES, VALUES = 24, 16  # on a curve of a number; of a category, the commonest
LINES, BINS = 16, 24  # of single rows; of the column's distribution


@final
class PartialDependence(Overview):
    """The mean answer as each column changes and nothing else."""

    kind: Literal["partial-dependence"] = "partial-dependence"
    takes: ClassVar[frozenset[str]] = COLUMNS
    rows: int = Field(default=200, ge=2)
    """Most held-out rows over which the mean is taken, >= 2."""
    columns: int = Field(default=8, ge=1)
    """Of how many columns, those along which the answer moves most, >= 1."""

    def over(self, scene: Scene) -> dict[str, Any]:
        """What is answered, and for each column the curve with its interval."""
        from zafu.explain.runtime import held

        samples = held.batch(scene, self.rows)
        subject = scene.subject(tuple(x[:1] for x in samples.inputs), 0)
        if scene.classes:
            common = int(subject.asked(*samples.inputs).argmax(1).mode()[0])
            subject = scene.subject(subject.inputs, common)

        def answer(numbers: Tensor, categories: Tensor) -> np.ndarray:
            return subject.chance(subject.asked(numbers, categories)).cpu().double().numpy()

        found: list[dict[str, Any]] = []
        for one in scene.columns:
            places = _places(one, samples.inputs)
            lines = np.stack(
                [answer(*_set(one, samples.inputs, place)) for place in places], 1
            )  # (rows, places)
            found.append(_curve(one, samples.inputs, places, lines))
        found.sort(key=lambda curve: -float(np.ptp(curve["mean"])))
        what = scene.label(subject.output)
        return {"output": what, "rows": len(samples.ids), "columns": found[: self.columns]}


def _places(one: Described, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """Encoded values at which the answer is asked for: quantiles, or the commonest categories."""
    if one.column.category is not None:
        values, counts = np.unique(inputs[1][:, one.column.category].cpu(), return_counts=True)
        return np.sort(values[np.argsort(-counts, kind="stable")[:VALUES]])
    known = _known(one, inputs)
    ends = np.quantile(known, [0.01, 0.99])
    return np.unique(np.linspace(*ends, PLACES))


def _known(one: Described, inputs: tuple[Tensor, ...]) -> np.ndarray:
    """Encoded numbers of the rows that have one."""
    place, *gap = one.column.numbers
    values = inputs[0][:, place].cpu().double().numpy()
    there = values[inputs[0][:, gap[0]].cpu().numpy() < 0.5] if gap else values
    return there if len(there) else values


def _set(one: Described, inputs: tuple[Tensor, ...], value: float) -> tuple[Tensor, Tensor]:
    """All rows with this value in the column."""
    numbers, categories = inputs[0].clone(), inputs[1].clone()
    if one.column.category is not None:
        categories[:, one.column.category] = int(value)
        return numbers, categories
    place, *gap = one.column.numbers
    numbers[:, place] = float(value)
    for slot in gap:
        numbers[:, slot] = 0
    return numbers, categories


def _curve(
    one: Described, inputs: tuple[Tensor, ...], places: np.ndarray, lines: np.ndarray
) -> dict[str, Any]:
    mean = lines.mean(0)
    # of the curve's form: by how much rows differ on the whole says nothing of it
    centered = lines - lines.mean(1, keepdims=True)
    half = 1.96 * centered.std(0, ddof=1) / len(lines) ** 0.5
    some = np.linspace(0, len(lines) - 1, min(LINES, len(lines))).astype(int)
    found: dict[str, Any] = {
        "name": one.column.name,
        "mean": mean.tolist(),
        "low": (mean - half).tolist(),
        "high": (mean + half).tolist(),
        "lines": lines[some].tolist(),
    }
    if one.column.category is not None:
        own = inputs[1][:, one.column.category].cpu().numpy()
        shares = [float((own == place).mean()) for place in places]
        labels = [one.values[int(p)] if int(p) < len(one.values) else str(p) for p in places]
        return {**found, "labels": labels, "shares": shares}
    values = one.numbers(_known(one, inputs))
    counts, edges = np.histogram(values, BINS, range=tuple(one.numbers(places[[0, -1]])))
    shares = (counts / max(len(values), 1)).tolist()
    return {
        **found,
        "places": one.numbers(places).tolist(),
        "shares": shares,
        "edges": edges.tolist(),
    }
