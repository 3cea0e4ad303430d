import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch.nn import functional

from zafu.batch import Batch
from zafu.task import Classification, LanguageModeling, Regression, Task


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.integers(5, 60), st.integers(0, 10_000))
def test_classification_agrees_with_scikit_learn(classes: int, n: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=random)
    targets = torch.randint(classes, (n,), generator=random)
    task = Classification()

    found = task.judge(task.answer(logits, targets).numpy(), units=n)

    true, predicted = targets.numpy(), logits.argmax(1).numpy()
    shares = logits.double().softmax(1).numpy()
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(true, predicted))
    f1 = metrics.f1_score(true, predicted, average="macro")
    assert found["f1_macro"].value == pytest.approx(f1)
    balanced = np.mean([(predicted == true)[true == c].mean() for c in np.unique(true)])
    assert found["balanced_accuracy"].value == pytest.approx(balanced)
    loss = metrics.log_loss(true, shares, labels=range(classes))
    assert found["loss"].value == pytest.approx(loss, rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 60), st.integers(1, 3), st.integers(0, 10_000))
def test_regression_agrees_with_scikit_learn(n: int, outputs: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    predicted = torch.randn(n, outputs, generator=random)
    true = torch.randn(n, outputs, generator=random)
    task = Regression()

    found = task.judge(task.answer(predicted, true).numpy(), units=n)

    p, t = predicted.numpy(), true.numpy()
    assert found["rmse"].value == pytest.approx(
        math.sqrt(metrics.mean_squared_error(t, p)), rel=1e-5
    )
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(t, p), rel=1e-5)
    if outputs == 1:
        assert found["r2"].value == pytest.approx(metrics.r2_score(t, p), rel=1e-4)


def test_bits_per_byte_is_the_cost_of_the_text_and_passes_over_absent_targets() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 8, 16, generator=random)
    targets = torch.randint(16, (4, 8), generator=random)
    targets[3, :5] = -100
    task = LanguageModeling()

    found = task.judge(task.answer(logits, targets).numpy(), units=90)

    kept = targets >= 0
    nats = functional.cross_entropy(logits[kept], targets[kept], reduction="sum").item()
    assert found["bits_per_byte"].value == pytest.approx(nats / math.log(2) / 90, rel=1e-6)
    assert found["loss"].value == pytest.approx(nats / 27, rel=1e-6)
    assert found["loss"].n == 27
    assert found["perplexity"].value == pytest.approx(math.exp(nats / 27), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothing_is_torchs_and_a_loss_is_a_sum(smoothing: float) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(10, 5, generator=random)
    targets = torch.randint(5, (10,), generator=random)

    found = Classification(label_smoothing=smoothing).losses(logits, targets).sum()

    expected = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)


def test_smoothing_does_not_change_how_a_model_is_judged() -> None:
    logits, targets = torch.eye(3), torch.arange(3)

    plain = Classification().answer(logits, targets)
    smooth = Classification(label_smoothing=0.3).answer(logits, targets)

    torch.testing.assert_close(plain, smooth)


@pytest.mark.parametrize("kind", Task.kinds().values())
def test_each_task_judges_by_a_metric_that_it_has(kind: type[Task]) -> None:
    task = kind(kind=kind.tag())
    logits = torch.randn(6, 4, 5) if task.kind == "language-modeling" else torch.randn(6, 5)
    targets = torch.randn(6, 5) if task.kind == "regression" else logits.argmax(-1)

    found = task.judge(np.asarray(task.answer(logits, targets)), units=6)

    assert set(found) == set(task.metrics) - {"top_5"}  # among five classes it is always 1
    assert task.metric in found


@pytest.mark.parametrize("kind", Task.kinds().values())
def test_a_score_is_the_value_of_the_same_measurement(kind: type[Task]) -> None:
    task = kind(kind=kind.tag())
    random = torch.Generator().manual_seed(0)
    logits = torch.randn((40, 4, 9) if kind is LanguageModeling else (40, 9), generator=random)
    targets = torch.randn(40, 9) if kind is Regression else logits.flip(0).argmax(-1)
    answers = task.answer(logits, targets).numpy()

    found = task.judge(answers, units=40)

    assert set(found) == set(task.metrics)
    for name, measured in found.items():
        assert task.score(name, answers, units=40) == measured.value


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.integers(1, 20), st.floats(0, 0.5), st.integers(0, 10_000))
def test_a_mixed_target_costs_what_its_classes_cost_in_their_shares(
    classes: int, n: int, smoothing: float, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=random)
    first, second = (torch.randint(classes, (n,), generator=random) for _ in range(2))
    share = torch.rand(n, generator=random)
    one_hot = [functional.one_hot(x, classes) for x in (first, second)]
    mixed = one_hot[0] * share[:, None] + one_hot[1] * (1 - share)[:, None]
    task = Classification(label_smoothing=smoothing)

    found = task.losses(logits, mixed)

    expected = task.losses(logits, first) * share + task.losses(logits, second) * (1 - share)
    assert torch.allclose(found, expected, atol=1e-5)
    batch = Batch((logits,), mixed, np.arange(n))
    assert torch.allclose(task.loss(torch.nn.Identity(), batch), expected.sum(), atol=1e-4)
