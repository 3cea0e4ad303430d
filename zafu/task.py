"""Tasks: what right means. Predict the next token, name the class, say the number.

A loss is a sum over targets, which the data counts, so that the way in which a batch is cut into
micro-batches does not change a step. Label smoothing: Szegedy et al., 2015 (arXiv:1512.00567).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.batch import Batch
from zafu.measure import Measurement, bootstrap, share
from zafu.spec import Family

if TYPE_CHECKING:
    from torch import Tensor, nn

LN2 = math.log(2)


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
    def judge(self, answers: np.ndarray, *, units: int) -> dict[str, Measurement]:
        """All metrics of a split's answers `(samples, k)`; `units` is their `Split.units`."""

    def score(self, metric: str, answers: np.ndarray, *, units: int) -> float:
        """One metric of a split's answers, without its interval."""
        return self.judge(answers, units=units)[metric].value


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

    def judge(self, answers: np.ndarray, *, units: int) -> dict[str, Measurement]:
        """Bits per byte of the text, nats per token, perplexity and next-token accuracy."""
        nats, right, tokens = answers.T
        bytes_per_token = units / tokens.sum()

        def loss(nats: np.ndarray, tokens: np.ndarray) -> float:
            return float(nats.sum() / tokens.sum())

        def bits(nats: np.ndarray, tokens: np.ndarray) -> float:
            return loss(nats, tokens) / LN2 / bytes_per_token

        n = int(tokens.sum())
        pairs = (nats, tokens)
        return {
            "bits_per_byte": bootstrap(pairs, bits, unit="bits/byte", n=units),
            "loss": bootstrap(pairs, loss, unit="nats/token", n=n),
            "perplexity": bootstrap(pairs, lambda *c: math.exp(min(loss(*c), 700)), n=n),
            "accuracy": bootstrap((right, tokens), loss, n=n),
        }


@final
class Classification(Task):
    """Name the class of a sample."""

    kind: Literal["classification"] = "classification"
    ranges: ClassVar[dict[str, str]] = {"label_smoothing": "0:0.3"}
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target's probability spread over all classes, 0 <= s < 1."""
    metrics: ClassVar[dict[str, bool]] = {"accuracy": True, "f1_macro": True, "loss": False}

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
        """Per sample: nats, predicted class, true class; `(batch, 3)`."""
        import torch

        nats = _cross_entropy(logits.float(), targets, 0.0).double()
        return torch.stack([nats, logits.argmax(-1), targets], 1)

    def confusion(self, answers: np.ndarray, classes: int) -> np.ndarray:
        """Counts `(classes, classes)`: true classes are rows."""
        _, predicted, true = answers.T.astype(np.int64)
        return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, -1)

    def judge(self, answers: np.ndarray, *, units: int) -> dict[str, Measurement]:
        """Accuracy, F1 averaged over the classes that occur, and the loss in nats."""
        nats, predicted, true = answers.T
        return {
            "accuracy": share(int((predicted == true).sum()), len(true)),
            "f1_macro": bootstrap((predicted, true), _f1_macro),
            "loss": bootstrap((nats,), lambda x: float(x.mean()), unit="nats"),
        }


@final
class Regression(Task):
    """Say a number, or several."""

    kind: Literal["regression"] = "regression"
    metrics: ClassVar[dict[str, bool]] = {"r2": True, "rmse": False, "mae": False, "loss": False}

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Squared error of the standardized targets, the mean of a row's: `(batch,)`."""
        return (logits - targets).square().mean(1)

    def answer(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Per sample: predictions, then targets; `(batch, 2 * outputs)`, standardized."""
        import torch

        return torch.cat([logits, targets], 1).double()

    def judge(self, answers: np.ndarray, *, units: int) -> dict[str, Measurement]:
        """R², errors in standard deviations of the target on the training split, and the loss."""
        predicted, true = np.split(answers, 2, axis=1)
        pairs, unit = (predicted, true), "standard deviations"
        return {
            "r2": bootstrap(pairs, _r2),
            "rmse": bootstrap(pairs, lambda p, t: math.sqrt(np.square(p - t).mean()), unit=unit),
            "mae": bootstrap(pairs, lambda p, t: float(np.abs(p - t).mean()), unit=unit),
            "loss": bootstrap(pairs, lambda p, t: float(np.square(p - t).mean())),
        }


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


def _f1_macro(predicted: np.ndarray, true: np.ndarray) -> float:
    classes = np.union1d(predicted, true)
    hits = np.array([((predicted == c) & (true == c)).sum() for c in classes])
    either = np.array([(predicted == c).sum() + (true == c).sum() for c in classes])
    return float((2 * hits / either).mean())


def _r2(predicted: np.ndarray, true: np.ndarray) -> float:
    missed, spread = np.square(true - predicted).sum(), np.square(true - true.mean(0)).sum()
    if not spread:  # nothing to explain: as scikit-learn says
        return 0.0 if missed else 1.0
    return float(1 - missed / spread)
