"""Tasks: what right means. Predict the next token, name the class, say the number.

A loss is a sum over targets, which the data counts, so that the way in which a batch is cut into
micro-batches does not change a step. Label smoothing: Szegedy et al., 2015 (arXiv:1512.00567).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu import borrowed, metrics
from zafu.batch import Batch
from zafu.measure import Measurement
from zafu.metrics import Metric, Sampled, Share
from zafu.spec import Family

if TYPE_CHECKING:
    from torch import Tensor, nn

LN2 = math.log(2)
TOP = 5  # likeliest classes among which `top_5` looks


class Task(Family):
    """What is to be predicted, how wrong an answer is, and how answers are judged."""

    kind: str
    metrics: ClassVar[dict[str, bool]]  # name -> whether more is better; the first is the main one

    @property
    def metric(self) -> str:
        """The metric that chooses between models, unless a recipe names another."""
        return next(iter(self.metrics))

    @property
    def smoothing(self) -> float | None:
        """Of labels, where losses are cross-entropies of logits; None for other losses."""
        return None

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses of all targets, a scalar that can be differentiated."""
        return self.losses(model(*batch.inputs), batch.targets).sum()

    @abstractmethod
    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each target in its own shape; smoothing applies."""

    @abstractmethod
    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What judging needs of each sample, `(batch, k)`: kept for a whole split."""

    def confusion(self, answers: np.ndarray, classes: int) -> np.ndarray | None:
        """How often each class (row) was called each class (column); None without classes."""
        return None

    @abstractmethod
    def row(self, metric: str, answers: np.ndarray, *, units: int) -> Metric:
        """A metric of a split's answers `(samples, k)`; `units` is their `Split.units`.

        One of `metrics`, or for classes and numbers one that `borrowed` finds.
        """

    def suited(self, answers: np.ndarray) -> Iterable[str]:
        """The metrics that say something of these answers."""
        return self.metrics

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a metric is better, one of a library included."""
        own = self.metrics.get(metric)
        return borrowed.higher_is_better(metric, self.kind) if own is None else own

    def judge(
        self, answers: np.ndarray, *, units: int, also: Iterable[str] = ()
    ) -> dict[str, Measurement]:
        """All metrics that suit a split's answers, and those of libraries, with their intervals."""
        names = dict.fromkeys([*self.suited(answers), *also])
        return {name: self.row(name, answers, units=units).measured() for name in names}

    def score(self, metric: str, answers: np.ndarray, *, units: int) -> float:
        """One metric of a split's answers, without its interval."""
        return self.row(metric, answers, units=units).score()


@final
class LanguageModeling(Task):
    """Predict each token from those before it."""

    kind: Literal["language-modeling"] = "language-modeling"
    ranges: ClassVar[dict[str, str]] = {"label_smoothing": "0:0.3"}
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target's probability spread over the vocabulary, 0 <= s < 1."""
    metrics: ClassVar[dict[str, bool]] = {
        "bits_per_byte": False,
        "loss": False,
        "perplexity": False,
        "accuracy": True,
    }

    @property
    def smoothing(self) -> float:
        """That of this recipe."""
        return self.label_smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses of all targets, by one operation."""
        return _summed_cross_entropy(model(*batch.inputs), batch.targets, self.label_smoothing)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats, `(batch, time)`; 0 where the target is -100, that is absent."""
        return _cross_entropy(logits, targets, self.label_smoothing)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Per window: nats, tokens predicted right, tokens; `(batch, 3)`."""
        import torch

        nats = _cross_entropy(logits.float(), targets, 0.0).double().sum(1)
        right = (logits.argmax(-1) == targets).sum(1)
        return torch.stack([nats, right, (targets >= 0).sum(1)], 1)

    def row(self, metric: str, answers: np.ndarray, *, units: int) -> Metric:
        """Bits per byte of the text, nats per token, perplexity or next-token accuracy."""
        nats, right, tokens = answers.T
        n = int(tokens.sum())
        match metric:
            case "bits_per_byte":
                bits = nats / LN2 * (n / units)  # a draw keeps the bytes that a token stands for
                return Sampled((bits, tokens), metrics.ratio, "bits/byte", units)
            case "loss":
                return Sampled((nats, tokens), metrics.ratio, "nats/token", n)
            case "perplexity":
                return Sampled((nats, tokens), metrics.perplexity, n=n)
            case "accuracy":
                return Sampled((right, tokens), metrics.ratio, n=n)
            case _:
                raise KeyError(metric)


@final
class Classification(Task):
    """Name the class of a sample."""

    kind: Literal["classification"] = "classification"
    ranges: ClassVar[dict[str, str]] = {"label_smoothing": "0:0.3"}
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target's probability spread over all classes, 0 <= s < 1."""
    metrics: ClassVar[dict[str, bool]] = {
        "accuracy": True,
        "f1_macro": True,
        "loss": False,
        "balanced_accuracy": True,
        "brier": False,
        "ece": False,
        "top_5": True,
    }

    @property
    def smoothing(self) -> float:
        """That of this recipe."""
        return self.label_smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses of all targets, by one operation."""
        return _summed_cross_entropy(model(*batch.inputs), batch.targets, self.label_smoothing)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats, `(batch,)`; targets are classes or their probabilities."""
        return _cross_entropy(logits, targets, self.label_smoothing)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Per sample: nats, predicted class, true class, then the probability of each class.

        `(batch, 3 + classes)` in float32, in which class numbers below 16 million are exact.
        """
        import torch

        logits = logits.float()
        nats = _cross_entropy(logits, targets, 0.0)
        said = torch.stack([nats, logits.argmax(-1).float(), targets.float()], 1)
        return torch.cat([said, logits.softmax(-1)], 1)

    @staticmethod
    def probabilities(answers: np.ndarray) -> np.ndarray:
        """The probability of each class, `(samples, classes)` float64; a row adds up to 1."""
        found = answers[:, 3:].astype(np.float64)
        return found / found.sum(1, keepdims=True)

    @staticmethod
    def classes(answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The predicted and the true class of each sample, `(samples,)` int64 each."""
        predicted, true = answers[:, 1:3].T.astype(np.int64)
        return predicted, true

    def confusion(self, answers: np.ndarray, classes: int) -> np.ndarray:
        """Counts `(classes, classes)`: true classes are rows."""
        predicted, true = self.classes(answers)
        return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, -1)

    def suited(self, answers: np.ndarray) -> Iterable[str]:
        """All of them; of at most five classes the true one is always among five."""
        few = answers.shape[1] - 3 <= TOP
        return [name for name in self.metrics if not (few and name == "top_5")]

    def row(self, metric: str, answers: np.ndarray, *, units: int) -> Metric:
        """Shares of right answers, F1 over the classes that occur, and what probabilities cost."""
        predicted, true = self.classes(answers)
        match metric:
            case "accuracy":
                return Share(predicted == true)
            case "balanced_accuracy":
                return Sampled((predicted, true), metrics.balanced_accuracy)
            case "f1_macro":
                return Sampled((predicted, true), metrics.f1_macro)
            case "top_5":
                return Share(metrics.among(answers[:, 3:], true, TOP))
            case "loss":
                return Sampled((answers[:, 0].astype(np.float64),), metrics.mean, "nats")
            case "brier":
                return Sampled((metrics.brier(self.probabilities(answers), true),), metrics.mean)
            case "ece":
                sure = answers[:, 3:].max(1).astype(np.float64)
                return Sampled((sure, predicted == true), metrics.ece)
            case _:
                columns = (true, predicted, self.probabilities(answers))
                return borrowed.metric(metric, self.kind, columns)


@final
class Regression(Task):
    """Say a number, or several."""

    kind: Literal["regression"] = "regression"
    metrics: ClassVar[dict[str, bool]] = {
        "r2": True,
        "rmse": False,
        "mae": False,
        "loss": False,
        "median_absolute_error": False,
    }

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Squared error of the standardized targets, the mean of a row's: `(batch,)`."""
        return (logits - targets).square().mean(1)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Per sample: predictions, then targets; `(batch, 2 * outputs)`, standardized."""
        import torch

        return torch.cat([logits, targets], 1).double()

    def row(self, metric: str, answers: np.ndarray, *, units: int) -> Metric:
        """R², errors in standard deviations of the target on the training split, and the loss."""
        predicted, true = np.split(answers, 2, axis=1)
        missed = predicted - true
        unit = "standard deviations"
        match metric:
            case "r2":
                return Sampled((predicted, true), metrics.r2)
            case "rmse":
                return Sampled((np.square(missed),), metrics.root_mean, unit)
            case "mae":
                return Sampled((np.abs(missed).mean(1),), metrics.mean, unit)
            case "median_absolute_error":
                return Sampled((np.abs(missed),), metrics.middle, unit)
            case "loss":
                return Sampled((np.square(missed).mean(1),), metrics.mean)
            case _:
                return borrowed.metric(metric, self.kind, (true, predicted))


def _summed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """The sum of `_cross_entropy`: 40 microseconds faster for a small batch, with its backward."""
    from torch.nn import functional

    return functional.cross_entropy(
        logits.flatten(0, -2), _flat(targets), reduction="sum", label_smoothing=smoothing
    )


def _cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    from torch.nn import functional

    flat = functional.cross_entropy(
        logits.flatten(0, -2), _flat(targets), reduction="none", label_smoothing=smoothing
    )
    return flat.view(logits.shape[:-1])


def _flat(targets: Tensor) -> Tensor:
    """Classes in one dimension; class probabilities, as augmentation that mixes gives, as rows."""
    return targets.flatten(0, -2) if targets.is_floating_point() else targets.flatten()
