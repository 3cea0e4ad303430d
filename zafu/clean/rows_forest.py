"""Outliers by an isolation forest: rows that few random cuts part from all others.

Liu, Ting & Zhou, 2008, "Isolation forest". It sees combinations of columns that are ordinary each
by itself. scikit-learn's, on one thread, from a seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import RowCleaning, RowsCleaned
from zafu.clean.rows_matrix import matrix

if TYPE_CHECKING:
    import polars as pl


@final
class OutliersForest(RowCleaning):
    """Training rows that random trees isolate in few cuts."""

    kind: Literal["outliers-forest"] = "outliers-forest"
    scope: ClassVar[Literal["all", "train"]] = "train"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn", "sklearn"),)
    score: float = Field(default=0.6, gt=0, lt=1)
    """Anomaly score from which a row goes, 0 to 1; 0.5 is ordinary, the paper takes 0.6."""
    trees: int = Field(default=100, ge=1, le=10_000)
    """Random trees, 1 to 10000."""
    sample: int = Field(default=256, ge=2)
    """Rows that each tree is grown on, 2 or more."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """Numbers and frequent categories are looked at; of the target nothing."""
        import polars as pl

        scores = self.scores(matrix(rows, target), seed=seed)
        why = f"isolation score of {self.score:g} or more"
        reasons = [why if far else None for far in (scores >= self.score).tolist()]
        return RowsCleaned(pl.Series("reasons", reasons, pl.String), {})

    def scores(self, features: np.ndarray, *, seed: int) -> np.ndarray:
        """The anomaly score of each row of `features` `(n, d)`, `(n,)` float64 in 0 to 1."""
        from sklearn.ensemble import IsolationForest

        if not features.size:
            return np.zeros(len(features))
        sample = min(self.sample, len(features))
        forest = IsolationForest(n_estimators=self.trees, random_state=seed, n_jobs=1)
        forest.set_params(max_samples=sample)
        return -forest.fit(features).score_samples(features)
