"""The columns of encoded rows in the words and units of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zafu.data import table
from zafu.data.normalize import Scaler
from zafu.explain.runtime.features import Column
from zafu.explain.runtime.subject import Inputs
from zafu.recipe import Recipe
from zafu.signature import Columns


class Described(NamedTuple):
    """A column, and what its encoded values mean."""

    column: Column
    scaler: Scaler | None = None
    values: tuple[str, ...] = ()  # of a category: the first is for all that is not known

    def numbers(self, encoded: np.ndarray) -> np.ndarray:
        """Encoded numbers in the unit of the data."""
        return self.scaler.invert(encoded) if self.scaler else encoded

    def said(self, row: Inputs) -> str:
        """What a row `(1, ...)` has in this column, in words."""
        if self.column.category is not None:
            at = int(row[1][0, self.column.category])
            return self.values[at] if at < len(self.values) else str(at)
        place, *gap = self.column.numbers
        if gap and float(row[0][0, gap[0]]) > 0.5:
            return "missing"
        return self.written(float(self.numbers(np.array(float(row[0][0, place])))))

    def written(self, value: float) -> str:
        """A number of this column with digits that its spread bears."""
        spread = abs(float(np.ptp(self.numbers(np.array([0.0, 1.0])))))
        places = max(0, 2 - math.floor(math.log10(spread))) if spread > 0 else 3
        return f"{round(value, places) + 0.0:.6g}"


def described(recipe: Recipe, inputs: Columns, fitted: Path) -> list[Described]:
    """All columns as a model sees them: after features, if some were made."""
    if recipe.data.kind == "table":
        return _of_table(fitted)
    numbers = [Described(Column(f"feature {at}", (at,))) for at in range(inputs.numbers)]
    kinds = [
        Described(Column(f"category {at}", (), at), None, tuple(map(str, range(size))))
        for at, size in enumerate(inputs.categories)
    ]
    return numbers + kinds


def _of_table(fitted: Path) -> list[Described]:
    known = table.load(fitted)
    gap, found = len(known.numbers), list[Described]()
    for at, number in enumerate(known.numbers):
        places = (at, gap) if number.indicator else (at,)
        gap += number.indicator
        found.append(Described(Column(number.name, places), number.scaler))
    for at, category in enumerate(known.categories):
        values = ("unknown", *category.values)
        found.append(Described(Column(category.name, (), at), None, values))
    return found


def by_name(columns: Sequence[Described]) -> list[Column]:
    """Where rows have them."""
    return [one.column for one in columns]
