"""Columns that give the answer away: one that alone predicts the target nearly perfectly.

Kaufman, Rosset & Perlich, 2012, "Leakage in data mining": a feature that is too good is most often
made from the target or after it. Told by a small tree on that column alone (for categories: the
mean or the commonest class of each), scored on rows that it did not see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import RowCleaning, RowsCleaned
from zafu.clean.labels import folds_of
from zafu.hashing import key, mix

if TYPE_CHECKING:
    import polars as pl

_FOLDS = 3
_LEAVES = 64  # enough to follow a curve to R2 .999, too few to learn rows by heart


@final
class LeakingColumns(RowCleaning):
    """Columns that tell the target by themselves."""

    kind: Literal["leaking-columns"] = "leaking-columns"
    scope: ClassVar[Literal["all", "train"]] = "train"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn", "sklearn"),)
    score: float = Field(default=0.98, gt=0, le=1)
    """Score from which a column goes, 0 (chance) to 1: balanced accuracy above chance, or R2."""
    rows: int = Field(default=20_000, ge=100)
    """Training rows that are looked at, at most; chosen by hash."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """Each column by itself; a missing value counts as a value."""
        import polars as pl

        none = pl.repeat(None, rows.height, dtype=pl.String, eager=True)
        chance = mix(np.arange(rows.height, dtype=np.uint64) ^ key(seed))
        seen = rows[np.sort(np.argsort(chance, kind="stable")[: self.rows])]
        answer = seen[target]
        if answer.dtype.is_numeric():
            truth, classes = answer.to_numpy(), 0
            fold = folds_of(np.zeros(len(truth), np.int64), folds=_FOLDS, seed=seed)
        else:
            truth, classes = places(answer), answer.n_unique()
            fold = folds_of(truth, folds=_FOLDS, seed=seed)
        gone: dict[str, str] = {}
        for column in seen.drop(target):
            found = score(column, truth, classes, fold)
            if found >= self.score:
                gone[column.name] = f"tells the target by itself: score {found:.3f}"
        return RowsCleaned(none, gone)


def score(column: pl.Series, truth: np.ndarray, classes: int, fold: np.ndarray) -> float:
    """How well a column alone tells `truth` `(n,)` of rows in other folds, at best 1.

    Balanced accuracy scaled so that chance is 0 where there are classes, else R2.
    """
    numbers = column.dtype.is_numeric()
    answer = np.empty(len(truth))
    values = _numbers(column) if numbers else places(column)
    predict = _by_tree if numbers else _by_value
    for out in range(_FOLDS):
        held = fold == out
        answer[held] = predict(values[~held], truth[~held], values[held], classes)
    if classes:
        right = np.bincount(truth, answer == truth, classes) / np.bincount(truth, minlength=classes)
        return float((right.mean() - 1 / classes) / (1 - 1 / classes)) if classes > 1 else 0.0
    spread = float(np.square(truth - truth.mean()).sum())
    return 1 - float(np.square(truth - answer).sum()) / spread if spread else 0.0


def places(column: pl.Series) -> np.ndarray:
    """The place of each value among the sorted different ones, missing first, `(n,)` int64."""
    return column.rank("dense").fill_null(0).to_numpy().astype(np.int64) - (
        0 if column.null_count() else 1
    )


def _numbers(column: pl.Series) -> np.ndarray:
    """The numbers, with those that are missing below all others."""
    least = column.min()
    below = least - 1.0 - abs(least) if isinstance(least, float) else 0.0
    return column.fill_null(below).to_numpy()


def _by_tree(known: np.ndarray, truth: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    leaves = max(_LEAVES, 4 * classes)
    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    tree = kind(max_leaf_nodes=leaves, min_samples_leaf=2, random_state=0)
    return tree.fit(known[:, None], truth).predict(asked[:, None])


def _by_value(known: np.ndarray, truth: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """The commonest class or the mean of each value; what is common overall for a new one."""
    size = int(max(known.max(initial=0), asked.max(initial=0))) + 1
    count = np.bincount(known, minlength=size)
    if classes:
        cells = np.bincount(known * classes + truth, minlength=size * classes)
        best = cells.reshape(size, classes).argmax(1)
        return np.where(count > 0, best, np.bincount(truth).argmax())[asked]
    means = np.bincount(known, truth, size) / np.maximum(count, 1)
    return np.where(count > 0, means, truth.mean())[asked]
