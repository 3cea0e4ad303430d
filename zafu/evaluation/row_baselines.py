"""Baselines for rows and pictures: the most common answer, and gradient-boosted trees."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.evaluation.contract import Baseline, Documents
from zafu.measure import Measurement

if TYPE_CHECKING:
    from zafu.data.contract import Split
    from zafu.task import Task

TINY = 1e-7  # least probability, so that a loss stays finite


class RowBaseline(Baseline):
    """A baseline that reads whole splits as arrays."""

    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    gives: ClassVar[frozenset[str]] = frozenset({"columns", "pixels"})

    @abstractmethod
    def predict(
        self, task: Task, train: tuple[np.ndarray, np.ndarray, np.ndarray], test: np.ndarray
    ) -> np.ndarray:
        """Class probabilities `(rows, classes)` or numbers `(rows, outputs)` for the test rows.

        `train` is inputs `(rows, features)`, which features are categories `(features,)`, and
        targets.
        """

    def measure(
        self,
        task: Task,
        splits: dict[str, Split],
        documents: Documents | None,
    ) -> dict[str, Measurement]:
        """The task's metrics of this baseline on the test split."""
        inputs, categorical, targets = _arrays(splits["train"])
        test_inputs, _, test_targets = _arrays(splits["test"])
        predicted = self.predict(task, (inputs, categorical, targets), test_inputs)
        if task.kind == "classification":
            true = test_targets.astype(np.int64)
            nats = -np.log(np.maximum(predicted[np.arange(len(true)), true], TINY))
            said = np.stack([nats, predicted.argmax(1), true], 1)
            answers = np.concatenate([said, predicted], 1)
        else:
            answers = np.concatenate([predicted, test_targets], 1)
        return task.judge(answers.astype(np.float64), units=len(answers))


@final
class Constant(RowBaseline):
    """The same answer for every row: how common each class is, or the mean."""

    kind: Literal["constant"] = "constant"
    default: ClassVar[bool] = True

    def predict(
        self, task: Task, train: tuple[np.ndarray, np.ndarray, np.ndarray], test: np.ndarray
    ) -> np.ndarray:
        """The class shares or the mean of the training split, for each row."""
        targets = train[2]
        if task.kind == "classification":
            shares = np.bincount(targets.astype(np.int64)) / len(targets)
            return np.repeat(shares[None], len(test), 0)
        return np.repeat(targets.mean(0, keepdims=True), len(test), 0)


@final
class GradientBoosting(RowBaseline):
    """scikit-learn's histogram gradient boosting (Ke et al., 2017), with its default settings."""

    kind: Literal["gradient-boosting"] = "gradient-boosting"
    iterations: int = Field(default=100, ge=1)
    """Trees (per class), >= 1."""
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn", "sklearn"),)

    def predict(
        self, task: Task, train: tuple[np.ndarray, np.ndarray, np.ndarray], test: np.ndarray
    ) -> np.ndarray:
        """Fit on the training rows with a fixed seed and predict the test rows."""
        from sklearn import ensemble

        inputs, categorical, targets = train
        # a category with more values than the method has bins is read as a number
        categorical = categorical & (inputs.max(0) < 255)
        if task.kind == "classification":
            trees = ensemble.HistGradientBoostingClassifier(
                max_iter=self.iterations, random_state=0, categorical_features=categorical
            )
            found = np.asarray(trees.fit(inputs, targets).predict_proba(test))
            whole = np.zeros((len(test), int(targets.max()) + 1))
            whole[:, np.asarray(trees.classes_, np.int64)] = found
            return whole
        columns = [
            ensemble.HistGradientBoostingRegressor(
                max_iter=self.iterations, random_state=0, categorical_features=categorical
            )
            .fit(inputs, column)
            .predict(test)
            for column in targets.T
        ]
        return np.stack(columns, 1)


def _arrays(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (rows, features), which features are categories, targets."""
    batch = split.batch(np.arange(len(split)))
    parts = [x.flatten(1).numpy() for x in batch.inputs]
    whole = [not x.is_floating_point() for x in batch.inputs]
    marks = [np.full(p.shape[1], w) for p, w in zip(parts, whole, strict=True)]
    return np.concatenate(parts, 1), np.concatenate(marks), batch.targets.numpy()
