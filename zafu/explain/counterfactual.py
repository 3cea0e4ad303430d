"""What if: the smallest change of few columns by which the answer is another one.

Wachter et al., 2017 (arXiv:1711.00399), with the distance in spreads of a column (a category counts
1) and a change of few columns before a small one of many, as people can act on (Mothilal et al.,
2020, arXiv:1905.07697). Values are such as training rows have. It says what the model would
answer, not what would happen: nothing is known of what causes what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, final

import numpy as np
from pydantic import Field

from zafu.explain.contract import COLUMNS, Aside

if TYPE_CHECKING:
    from torch import Tensor

    from zafu.explain.runtime.subject import Subject

PLACES = 24  # values of a number that are tried, at equal shares of the training rows
BEST = 24  # changes of fewer columns to which another one is added
HALVINGS = 8  # by which a number comes as near to its old value as it can


class _Change(NamedTuple):
    """New values by column, and how far that is."""

    values: dict[int, float]
    distance: float


@final
class Counterfactual(Aside):
    """The nearest rows, of those with the fewest changes, to which the answer is another."""

    kind: Literal["counterfactual"] = "counterfactual"
    takes: ClassVar[frozenset[str]] = COLUMNS
    move: float | None = Field(default=None, gt=0)
    """By how much a number is to move, up or down, in its unit, > 0; null: half its spread."""
    columns: int = Field(default=3, ge=1)
    """Most columns that change, >= 1."""
    shown: int = Field(default=3, ge=1)
    """How many ways, each of other columns, >= 1."""

    def about(self, subject: Subject) -> dict[str, Any]:
        """Changes by place of the column in encoded values, the nearest first; with the answer."""
        search = Search(subject, self.move if self.move is not None else abs(subject.factor) / 2)
        return {"move": search.move, "ways": search.ways(self.columns)[: self.shown]}


class Search:
    """The values that are tried, and the rows that were found."""

    def __init__(self, subject: Subject, move: float) -> None:
        from zafu.explain.runtime.features import Columns

        features = subject.features
        self.subject, self.move = subject, move
        self.columns = features.columns if isinstance(features, Columns) else ()
        self.seen = [self._seen(at) for at in range(len(self.columns))]
        self.spreads = [
            1.0 if column.category is not None else max(float(np.std(values)), 1e-6)
            for column, values in zip(self.columns, self.seen, strict=True)
        ]

    def ways(self, most: int) -> list[dict[str, Any]]:
        """Sets of changes, as few columns as can be, the nearest first, none inside another."""
        beam = [_Change({}, 0.0)]
        for _ in range(most):
            tried = [more for one in beam for more in self._further(one)]
            if not tried:
                return []
            good, near = self._asked(tried)
            order = sorted(np.flatnonzero(good), key=lambda at: (tried[at].distance, near[at]))
            if order:
                return self._told([tried[at] for at in order])
            beam = [tried[at] for at in np.argsort(-near, kind="stable")[:BEST].tolist()]
        return []

    def _seen(self, at: int) -> np.ndarray:
        """Values of the training rows in a column: all categories, or numbers at equal shares."""
        column = self.columns[at]
        if column.category is not None:
            known = np.unique(self.subject.background[1][:, column.category].cpu().numpy())
            return known[known > 0]
        values = self.subject.background[0][:, column.numbers[0]].cpu().double().numpy()
        if not len(values):
            return np.zeros(0)
        return np.unique(np.quantile(values, np.linspace(0, 1, PLACES)))

    def _own(self, at: int) -> float:
        column = self.columns[at]
        place = column.numbers[0] if column.category is None else column.category
        return float(self.subject.inputs[0 if column.category is None else 1][0, place])

    def _distance(self, at: int, value: float) -> float:
        if self.columns[at].category is not None:
            return 1.0
        return abs(value - self._own(at)) / self.spreads[at]

    def _further(self, one: _Change) -> list[_Change]:
        """One more column changed, to each of the values that it may have."""
        return [
            _Change({**one.values, at: value}, one.distance + self._distance(at, value))
            for at in range(len(self.columns))
            if at not in one.values and not self._missing(at)
            for value in self.seen[at].tolist()
            if value != self._own(at)
        ]

    def _missing(self, at: int) -> bool:
        gap = self.columns[at].numbers[1:]
        return any(float(self.subject.inputs[0][0, slot]) > 0.5 for slot in gap)

    def _rows(self, changes: list[_Change]) -> tuple[Tensor, Tensor]:
        numbers, categories = (x.repeat(len(changes), 1) for x in self.subject.inputs)
        for row, change in enumerate(changes):
            for at, value in change.values.items():
                column = self.columns[at]
                if column.category is not None:
                    categories[row, column.category] = int(value)
                else:
                    numbers[row, column.numbers[0]] = value
        return numbers, categories

    def _asked(self, changes: list[_Change]) -> tuple[np.ndarray, np.ndarray]:
        """Whether each changes the answer, and how near it comes to that."""
        said = self.subject.asked(*self._rows(changes)).cpu()
        if self.subject.classes:
            rest = said.clone()
            rest[:, self.subject.output] = -float("inf")
            margin = (rest.amax(1) - said[:, self.subject.output]).double().numpy()
            return margin > 0, margin
        own = self.subject.score(self.subject.asked(*self.subject.inputs)).cpu()
        moved = (self.subject.score(said) - own).abs().double().numpy()
        return moved >= self.move, moved

    def _told(self, found: list[_Change]) -> list[dict[str, Any]]:
        """The first change of each set of columns, its numbers as near as they can be."""
        nearest: dict[tuple[int, ...], _Change] = {}
        for one in found:
            nearest.setdefault(tuple(sorted(one.values)), one)
        some = [self._nearer(one) for one in list(nearest.values())[:BEST]]
        some.sort(key=lambda change: change.distance)
        return [self._plain(one) for one in some]

    def _nearer(self, one: _Change) -> _Change:
        """Its numbers moved back towards their old values as long as the answer stays changed."""
        values = dict(one.values)
        for at in one.values:
            if self.columns[at].category is not None:
                continue
            back, held = self._own(at), values[at]
            for _ in range(HALVINGS):
                middle = (back + held) / 2
                good, _ = self._asked([_Change({**values, at: middle}, 0.0)])
                back, held = (back, middle) if good[0] else (middle, held)
            values[at] = held
        return _Change(values, sum(self._distance(at, value) for at, value in values.items()))

    def _plain(self, one: _Change) -> dict[str, Any]:
        said = self.subject.asked(*self._rows([one])).cpu()
        output = int(said[0].argmax()) if self.subject.classes else self.subject.output
        answer = said.softmax(1)[0, output] if self.subject.classes else self.subject.score(said)[0]
        changes = [{"column": at, "from": self._own(at), "to": v} for at, v in one.values.items()]
        return {
            "changes": changes,
            "distance": one.distance,
            "output": output,
            "answer": float(answer),
        }
