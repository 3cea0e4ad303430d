"""Training rows whose class is probably wrong: see `labels.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import RowCleaning, RowsCleaned, Suspect
from zafu.clean.labels import suspects
from zafu.clean.rows_matrix import matrix
from zafu.errors import DataError

if TYPE_CHECKING:
    import polars as pl


@final
class SuspectedLabels(RowCleaning):
    """Training rows that a model which did not see them puts into another class."""

    kind: Literal["suspected-labels"] = "suspected-labels"
    scope: ClassVar[Literal["all", "train"]] = "train"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn", "sklearn"),)
    action: Literal["report", "remove"] = "report"
    """Whether they are listed in prepare.json for a person to look at, or go."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts of the training rows, each judged by a model of the others; 2 to 20."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """Raises DataError if the target is a number."""
        import polars as pl

        if rows[target].dtype.is_numeric():
            text = f"{self.kind}: expected a target of classes, found numbers in {target!r}"
            raise DataError(text)
        names = rows[target].unique().sort().to_list()
        index = {name: i for i, name in enumerate(names)}
        labels = np.array([index[name] for name in rows[target]], np.int64)
        features = matrix(rows, target)
        reasons: list[str | None] = [None] * rows.height
        if not features.shape[1] or len(names) < 2:
            return RowsCleaned(pl.Series("reasons", reasons, pl.String), {})
        found = suspects(features, labels, folds=self.folds, seed=seed)
        listed = tuple(
            Suspect(place, names[labels[place]], names[other], round(chance, 4))
            for place, other, chance in zip(
                found.positions.tolist(), found.suggested, found.probability.tolist(), strict=True
            )
        )
        if self.action == "remove":
            for suspect in listed:
                reasons[suspect.row] = f"labelled {suspect.given}, probably {suspect.suggested}"
        return RowsCleaned(pl.Series("reasons", reasons, pl.String), {}, listed)
