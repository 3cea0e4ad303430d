"""Mutual information: keep the columns that say most about the target, each by itself.

Kraskov et al., 2004 (arXiv:cond-mat/0305641) and Ross, 2014 (doi:10.1371/journal.pone.0087357), by
nearest neighbours, as scikit-learn's mutual_info_classif and mutual_info_regression. Categories are
discrete; one that names almost every row says much about the training rows and nothing about new
ones, so rare values count as one. A missing number counts as the mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import MissingExtra
from zafu.features import frames
from zafu.features.contract import Feature, State

if TYPE_CHECKING:
    import polars as pl


@final
class MutualInformation(Feature):
    """The most telling columns stay, the others go."""

    kind: Literal["mutual-information"] = "mutual-information"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn", "sklearn"),)
    columns: tuple[str, ...] = ()
    """Columns to choose among, others staying; none: all of them."""
    most: int = Field(default=20, ge=1)
    """Columns that stay of these, 1 or more; equal ones in their order."""
    neighbors: int = Field(default=3, ge=1, le=100)
    """Neighbours of a row by which densities are told, 1 to 100."""
    min_count: int = Field(default=2, ge=1)
    """Training rows in which a category must occur to be told from other rare ones, 1 or more."""
    sample: int = Field(default=20_000, ge=100)
    """Training rows that are looked at, drawn by the seed if there are more, 100 or more."""

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """The columns that go, and the information of all of them, in nats."""
        frames.refuse(frames.absent(rows, self.columns))
        names = self.columns or tuple(rows.columns)
        if rows.height > self.sample:
            drawn = np.random.default_rng(seed).choice(rows.height, self.sample, replace=False)
            drawn.sort()
            rows, target = rows[drawn], target[drawn]
        if rows.height <= self.neighbors:
            frames.refuse(
                [f"expected more than {self.neighbors} rows (neighbors), found {rows.height}"]
            )
        scores = self._scores(rows.select(names), target, seed)
        best = np.argsort(-scores, kind="stable")[: self.most]
        gone = [name for i, name in enumerate(names) if i not in best]
        return {"columns": frames.texts(names), "nats": scores, "gone": frames.texts(gone)}

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without the columns that say least."""
        return rows.drop(frames.strings(state, "gone"))

    def _scores(self, rows: pl.DataFrame, target: pl.Series, seed: int) -> np.ndarray:
        if find_spec("sklearn") is None:
            raise MissingExtra("scikit-learn", "sklearn")
        from sklearn import feature_selection

        discrete = np.array([not column.dtype.is_numeric() for column in rows])
        values = np.stack([self._values(column) for column in rows], 1)
        if target.dtype.is_numeric():
            score, wanted = feature_selection.mutual_info_regression, target.to_numpy()
        else:
            score = feature_selection.mutual_info_classif
            wanted = frames.index(target, frames.common(target, 1))
        mask: Any = discrete  # which the stubs do not know of
        found = score(
            values,
            wanted,
            discrete_features=mask,
            n_neighbors=self.neighbors,
            random_state=seed % 2**32,
        )
        return np.asarray(found, np.float64)

    def _values(self, column: pl.Series) -> np.ndarray:
        """Numbers, or places of categories: 0 for a rare one, -1 for a missing one."""
        if column.dtype.is_numeric():
            one, name = column.to_frame(), [column.name]
            return frames.filled(one, name, frames.means(one, name))[0]
        place = frames.index(column, frames.common(column, self.min_count)) + 1
        return np.where(column.is_null().to_numpy(), -1, place).astype(np.float64)
