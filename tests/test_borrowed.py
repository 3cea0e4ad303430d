import math

import numpy as np
import pytest
import torch
import torchmetrics
from sklearn import metrics
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from zafu import borrowed
from zafu.task import Classification, Regression

TASK = Classification()


@pytest.fixture(scope="module", params=[10, 2])
def said(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The answers of a logistic regression to half of the digits, their truth and shares."""
    inputs, classes = load_digits(return_X_y=True)
    targets = classes if request.param == 10 else classes % 2
    model = LogisticRegression(C=1e-4, max_iter=500).fit(inputs[:900], targets[:900])
    shares = torch.from_numpy(model.predict_proba(inputs[900:]))
    true = torch.from_numpy(targets[900:])
    answers = TASK.answer(shares.log(), true).numpy()
    return answers, targets[900:], shares.numpy()


def test_metrics_of_our_own_are_those_of_scikit_learn_on_the_digits(
    said: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    answers, true, shares = said
    classes = np.arange(shares.shape[1])
    predicted = shares.argmax(1)

    found = {name: TASK.score(name, answers, units=len(true)) for name in TASK.metrics}

    one_hot = np.eye(len(classes))[true]
    expected = {
        "accuracy": metrics.accuracy_score(true, predicted),
        "f1_macro": metrics.f1_score(true, predicted, average="macro"),
        "loss": metrics.log_loss(true, shares),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, predicted),
        "brier": np.square(shares - one_hot).sum(1).mean(),
        "ece": torchmetrics.functional.calibration_error(
            torch.from_numpy(shares),
            torch.from_numpy(true),
            task="multiclass",
            n_bins=15,
            num_classes=len(classes),
        ).item(),
    }
    if len(classes) > 5:
        expected["top_5"] = metrics.top_k_accuracy_score(true, shares, k=5)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_metrics_of_scikit_learn_are_called_as_their_documentation_says(
    said: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    answers, true, shares = said
    predicted, several = shares.argmax(1), shares.shape[1] > 2
    scores = shares if several else shares[:, 1]
    average = {"average": "macro"} if several else {}
    expected = {
        "roc_auc_score": metrics.roc_auc_score(true, scores, multi_class="ovr"),
        "roc_auc_ovr": metrics.roc_auc_score(true, scores, multi_class="ovr"),
        "average_precision_score": metrics.average_precision_score(true, scores),
        "matthews_corrcoef": metrics.matthews_corrcoef(true, predicted),
        "cohen_kappa_score": metrics.cohen_kappa_score(true, predicted),
        "precision_score": metrics.precision_score(true, predicted, **average),
        "f1_weighted": metrics.f1_score(true, predicted, average="weighted"),
        "log_loss": metrics.log_loss(true, shares),
        "neg_log_loss": -metrics.log_loss(true, shares),
        "zero_one_loss": metrics.zero_one_loss(true, predicted),
    }

    found = {name: TASK.score(name, answers, units=len(true)) for name in expected}

    assert found == pytest.approx(expected, abs=1e-6)


def test_metrics_of_torchmetrics_are_called_as_their_documentation_says(
    said: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    answers, true, shares = said
    several = shares.shape[1] > 2
    kind = {"task": "multiclass", "num_classes": 10} if several else {"task": "binary"}
    scores, truth = torch.from_numpy(shares if several else shares[:, 1]), torch.from_numpy(true)

    for name in ("CohenKappa", "AUROC", "MatthewsCorrCoef", "CalibrationError", "F1Score"):
        found = TASK.score(f"torchmetrics:{name}", answers, units=len(true))

        made = vars(torchmetrics)[name](**kind)
        expected: Tensor = made(scores, truth)
        assert found == pytest.approx(expected.item(), abs=1e-6), name


def test_numbers_are_judged_as_by_scikit_learn_and_torchmetrics() -> None:
    inputs, targets = load_digits(return_X_y=True)
    predicted = Ridge().fit(inputs[:900], targets[:900]).predict(inputs[900:])
    true = targets[900:].astype(float)
    answers = np.stack([predicted, true], 1)

    def score(name: str) -> float:
        return Regression().score(name, answers, units=len(true))

    assert score("r2") == pytest.approx(metrics.r2_score(true, predicted))
    assert score("rmse") == pytest.approx(metrics.root_mean_squared_error(true, predicted))
    assert score("mae") == pytest.approx(metrics.mean_absolute_error(true, predicted))
    median = metrics.median_absolute_error(true, predicted)
    assert score("median_absolute_error") == pytest.approx(median)
    assert score("max_error") == pytest.approx(metrics.max_error(true, predicted))
    spearman = torchmetrics.functional.spearman_corrcoef(
        torch.from_numpy(predicted), torch.from_numpy(true)
    ).item()
    assert score("torchmetrics:SpearmanCorrCoef") == pytest.approx(spearman)


def test_a_borrowed_metric_has_an_interval_that_holds_its_value(
    said: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    answers, true, _ = said

    found = TASK.judge(answers[:120], units=120, also=["roc_auc_score"])["roc_auc_score"]

    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert "draws defined" not in found.how or len(set(true[:120])) > 2


@pytest.mark.parametrize(
    ("name", "task", "outputs", "says"),
    [
        ("roc_auc_scor", "classification", 10, "did you mean roc_auc_score"),
        ("torchmetrics:CohenKapa", "classification", 10, "did you mean CohenKappa?"),
        ("mean_absolute_error", "classification", 10, "is of numbers"),
        ("neg_mean_squared_log_error", "classification", 10, "is of numbers"),
        ("log_loss", "regression", 1, "is of classes"),
        ("accuracy_score", "regression", 1, "continuous is not supported"),
        ("roc_auc", "classification", 10, "multi_class must be in"),
        ("confusion_matrix", "classification", 3, "gives one number"),
        ("torchmetrics:BLEUScore", "classification", 3, "a metric for classification"),
        ("torchmetrics:ConfusionMatrix", "classification", 3, "more is better"),
        ("roc_auc_score", "language-modeling", 65, "language models"),
    ],
)
def test_what_does_not_suit_is_said_before_any_work(
    name: str, task: str, outputs: int, says: str
) -> None:
    found = borrowed.faults(name, task, outputs)

    assert len(found) == 1
    assert says in str(found[0])


@pytest.mark.parametrize("name", ["roc_auc_score", "roc_auc_ovr", "f1_micro", "log_loss"])
def test_what_suits_has_no_fault_however_many_classes_there_are(name: str) -> None:
    assert [borrowed.faults(name, "classification", many) for many in (None, 2, 10)] == [[]] * 3


def test_less_is_better_where_the_name_says_so() -> None:
    def better(name: str, task: str = "classification") -> bool:
        return borrowed.higher_is_better(name, task)

    assert (better("log_loss"), better("neg_log_loss"), better("roc_auc_score")) == (0, 1, 1)
    assert (better("max_error", "regression"), better("r2_score", "regression")) == (0, 1)
    assert better("torchmetrics:CalibrationError") is False


def test_a_metric_that_is_not_defined_for_these_answers_is_an_error_that_names_it() -> None:
    answers = Classification().answer(torch.eye(3)[:1].repeat(4, 1), torch.zeros(4).long())

    with pytest.raises(borrowed.DataError, match="roc_auc_score"):
        Classification().row("roc_auc_score", answers.numpy(), units=4).measured()

    assert math.isfinite(Classification().score("accuracy", answers.numpy(), units=4))
