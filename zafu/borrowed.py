"""Borrowed: metrics of scikit-learn and torchmetrics under their own names.

`roc_auc_score`, any function of `sklearn.metrics` that takes true classes or numbers and what was
predicted of them; `roc_auc_ovr`, any of its scorers (more of which is always better);
`torchmetrics:CohenKappa`, any class of torchmetrics. Which of these suits a task is found by trying
it on a few samples, before any work. A function of several classes averages over them alike
(`macro`, and one against the rest).
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from numbers import Real
from typing import Any, NamedTuple, TypeVar

import numpy as np

from zafu.errors import DataError, Fault
from zafu.measure import Measurement, percentiles
from zafu.spec import did_you_mean

T = TypeVar("T")
PREFIX = "torchmetrics:"
LESS = ("_loss", "_error", "_deviance")  # how scikit-learn's names end where less is better
PAIRS = ({"y_true", "y_pred"}, {"labels_true", "labels_pred"}, {"y1", "y2"})
SURE = ({"y_true", "y_score"}, {"y_true", "y_proba"})  # functions that want probabilities
SURE_BY_NAME = frozenset({"log_loss", "d2_log_loss_score", "brier_score_loss"})  # before 1.8
FEW = 200  # draws of a bootstrap, each of which takes a library milliseconds
Call = Callable[..., float]  # of (true, predicted, probabilities), or of (true, predicted)


class Unsuited(ValueError):
    """Why a metric cannot be had: what was expected, and a hint."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected, self.hint = expected, hint


class Found(NamedTuple):
    """A metric of a library, ready to be called."""

    call: Call
    higher: bool  # whether more is better


class Borrowed(NamedTuple):
    """A metric of a library on some answers."""

    name: str
    call: Call
    columns: Sequence[np.ndarray]
    draws: int = FEW

    def score(self) -> float:
        """The value; raises DataError where it is not defined for these answers."""
        try:
            value = quietly(self.call, *self.columns)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from None
        if not math.isfinite(value):
            raise DataError(f"{self.name}: is not defined for these {len(self.columns[0])} answers")
        return value

    def measured(self) -> Measurement:
        """The value with its percentile interval."""
        self.score()
        return percentiles(self.columns, self.statistic, draws=self.draws)

    @property
    def statistic(self) -> Callable[..., np.ndarray]:
        """The values of columns `(draws, samples, ...)`, nan where there is none: `(draws,)`."""

        def each(*drawn: np.ndarray) -> np.ndarray:
            return np.array([_or_nan(self.call, *row) for row in zip(*drawn, strict=True)])

        return each


def faults(name: str, task: str, outputs: int | None) -> list[Fault]:
    """Why a recipe cannot have this metric: none, or one without a path.

    `outputs` are the classes or numbers of an answer, where they are known.
    """
    package, extra = ("torchmetrics",) * 2 if name.startswith(PREFIX) else ("sklearn",) * 2
    if task == "language-modeling":
        return [Fault("", "a metric of language models, as libraries judge samples", name)]
    if find_spec(package) is None:
        hint = f"pip install 'zafu[{extra}]'"
        return [Fault("", f"the package {package} for {name}", "not installed", hint=hint)]
    try:
        _somehow(name, task, outputs)
    except Unsuited as error:
        return [Fault("", error.expected, name, hint=error.hint)]
    return []


def higher_is_better(name: str, task: str) -> bool:
    """Whether more of it is better; raises Unsuited."""
    return _somehow(name, task, None).higher


def _somehow(name: str, task: str, outputs: int | None) -> Found:
    """The metric for so many outputs; None: for as many as it takes."""
    few = (3, 2) if task == "classification" else (1,)
    first, *others = (outputs,) if outputs else few
    try:
        return find(name, task, first)
    except Unsuited:
        if not others:
            raise
        return find(name, task, others[0])


def find(name: str, task: str, outputs: int) -> Found:
    """The metric of this name, which was tried on a few samples of the task; raises Unsuited."""
    found = _of_torchmetrics(name, task, outputs) if name.startswith(PREFIX) else None
    found = found or _of_sklearn(name, task, outputs)
    try:
        value: Any = quietly(found.call, *_few(task, outputs))
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError) as error:
        first = " ".join(str(error).split())[:120]
        raise Unsuited(f"a metric for {task} with {outputs} outputs ({first})") from None
    if not isinstance(value, Real) or not math.isfinite(value):
        raise Unsuited(f"a metric that gives one number for {task} with {outputs} outputs")
    return found


def metric(name: str, task: str, columns: Sequence[np.ndarray]) -> Borrowed:
    """A metric of the columns true, predicted and, for classes, probabilities `(samples, k)`."""
    outputs = columns[-1].shape[1] if columns[-1].ndim > 1 else 1
    return Borrowed(name, find(name, task, outputs).call, columns)


def quietly(call: Callable[..., T], *columns: np.ndarray) -> T:
    """What a library says, without its warnings: of a draw that lacks a class there are many."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*columns)


def _or_nan(call: Call, *columns: np.ndarray) -> float:
    try:
        return float(quietly(call, *columns))
    except ValueError:
        return math.nan


def _few(task: str, outputs: int) -> list[np.ndarray]:
    """A few answers: each class, right and wrong; or numbers of both signs."""
    random = np.random.default_rng(0)
    if task == "regression":
        shape = (12, outputs)
        return [random.normal(size=shape), random.normal(size=shape)]
    true = np.tile(np.arange(outputs), 4)
    shares = random.dirichlet(np.ones(outputs), len(true)) + np.eye(outputs)[true] / 2
    shares /= shares.sum(1, keepdims=True)
    return [true, shares.argmax(1), shares]


def _of_sklearn(name: str, task: str, outputs: int) -> Found:
    from sklearn import metrics

    if name in metrics.__all__ and inspect.isfunction(vars(metrics)[name]):
        call = _called(vars(metrics)[name], name, task, outputs)
        return Found(call, not name.endswith(LESS))
    if name in metrics.get_scorer_names():
        return Found(_scored(name, task, outputs), higher=True)
    functions = [n for n in metrics.__all__ if inspect.isfunction(vars(metrics)[n])]
    known = [*functions, *metrics.get_scorer_names()]
    hint = did_you_mean(name, known) or "torchmetrics:Name for one of torchmetrics"
    raise Unsuited("a metric of this task, of sklearn.metrics or of torchmetrics", hint)


def _called(function: Callable[..., Any], name: str, task: str, outputs: int) -> Call:
    """A function of sklearn.metrics on our columns, by the names of its parameters."""
    parameters = inspect.signature(function).parameters
    first = set(list(parameters)[:2])
    sure = name in SURE_BY_NAME or first in SURE
    if not sure and first not in PAIRS:
        raise Unsuited(f"a metric of true and predicted values, as {name} is not")
    if task == "regression":
        if sure or first != PAIRS[0]:
            raise Unsuited(f"a metric of numbers, as {name} is of classes")
        return function
    if not sure and first == PAIRS[0] and _takes_numbers(function):
        raise Unsuited(f"a metric of classes, as {name} is of numbers")
    options: dict[str, Any] = {}
    if "labels" in parameters and outputs > 2:
        options["labels"] = np.arange(outputs)
    if "multi_class" in parameters and outputs > 2:
        options["multi_class"] = "ovr"
    elif "average" in parameters and outputs > 2:
        options["average"] = "macro"
    if not sure:
        return lambda true, predicted, _: function(true, predicted, **options)
    if outputs == 2:
        return lambda true, _, shares: function(true, shares[:, 1], **options)
    return lambda true, _, shares: function(true, shares, **options)


def _takes_numbers(function: Callable[..., Any]) -> bool:
    try:
        quietly(function, *(column[:, 0] for column in _few("regression", 1)))
    except (ValueError, TypeError):
        return _of_positive(function.__name__)
    return True


def _of_positive(name: str) -> bool:
    return "squared_log" in name or name.endswith("_deviance")


def _scored(name: str, task: str, outputs: int) -> Call:
    """A scorer on our columns: it asks an estimator that says what was said."""
    from sklearn import base, metrics

    scorer = metrics.get_scorer(name)

    class Classes(base.ClassifierMixin, base.BaseEstimator):
        classes_ = np.arange(outputs)

        def predict(self, said: np.ndarray) -> np.ndarray:
            return said[:, -1].astype(np.int64)

        def predict_proba(self, said: np.ndarray) -> np.ndarray:
            return said[:, :-1]

    class Numbers(base.RegressorMixin, base.BaseEstimator):
        fitted_ = True

        def predict(self, said: np.ndarray) -> np.ndarray:
            return said

    numbers = Numbers()
    if task == "regression":
        return lambda true, predicted: scorer(numbers, predicted, true)
    if _of_positive(name):
        raise Unsuited(f"a metric of classes, as {name} is of numbers")
    try:
        quietly(lambda true, predicted: scorer(numbers, predicted, true), *_few("regression", 1))
    except (ValueError, TypeError, AttributeError):
        classes = Classes()
        return lambda true, predicted, shares: scorer(classes, np.c_[shares, predicted], true)
    raise Unsuited(f"a metric of classes, as {name} is of numbers")


def _of_torchmetrics(name: str, task: str, outputs: int) -> Found:
    import torch
    import torchmetrics

    short = name.removeprefix(PREFIX)
    if short not in torchmetrics.__all__ or not inspect.isclass(vars(torchmetrics)[short]):
        hint = did_you_mean(short, torchmetrics.__all__)
        raise Unsuited("a class of torchmetrics", hint)
    options: dict[str, Any] = {}
    if task == "classification":
        binary = {"task": "binary"}
        options = binary if outputs == 2 else {"task": "multiclass", "num_classes": outputs}
    elif outputs > 1:
        options = {"num_outputs": outputs}
    try:
        made = quietly(lambda: vars(torchmetrics)[short](**options))
    except (ValueError, TypeError, ImportError) as error:
        raise Unsuited(f"a metric for {task} ({' '.join(str(error).split())[:120]})") from None
    if made.higher_is_better is None:
        raise Unsuited(f"a metric that says whether more is better, as {short} does not")

    def call(true: np.ndarray, predicted: np.ndarray, *shares: np.ndarray) -> float:
        said = shares[0] if shares else predicted
        if task == "classification" and outputs == 2:
            said = said[:, 1]
        made.reset()
        made.update(*(torch.from_numpy(np.ascontiguousarray(x).squeeze()) for x in (said, true)))
        return made.compute().item()

    return Found(call, bool(made.higher_is_better))
