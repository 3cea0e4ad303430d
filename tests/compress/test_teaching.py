"""What a student learns from a teacher: the distances, against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from digits import TASK, batches, trained
from torch import Tensor
from torch.nn import functional

from zafu.batch import Batch
from zafu.distil import Distil
from zafu.models.mlp import MLP
from zafu.task import LanguageModeling, Regression
from zafu.teaching import Taught, divergence, likeness

RANDOM = torch.Generator().manual_seed(0)
OWN, WANTED = (torch.randn(5, 7, generator=RANDOM) * 3 for _ in range(2))


def kl(of: Tensor, to: Tensor) -> Tensor:
    """Of probabilities, by torch."""
    return functional.kl_div(to.log(), of, reduction="none").sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergences_are_those_of_torch_times_the_temperature_squared(temperature: float) -> None:
    own, other = ((x / temperature).softmax(-1) for x in (OWN, WANTED))
    middle = (own + other) / 2
    expected = {
        "forward": kl(other, own),
        "reverse": kl(own, other),
        "jensen": (kl(own, middle) + kl(other, middle)) / 2,
    }

    for name, value in expected.items():
        spec = Distil(teacher="", temperature=temperature, divergence=name)  # pyright: ignore
        found = divergence(OWN, WANTED, spec)
        torch.testing.assert_close(found, value * temperature**2, rtol=1e-5, atol=1e-5)


def test_without_a_share_it_is_the_task_and_with_all_of_it_a_twin_loses_nothing() -> None:
    student, (batch, *_) = trained(MLP(width=16)), batches()

    alone = Taught(TASK, Distil(teacher="", share=0), trained()).loss(student, batch)
    twin = Taught(TASK, Distil(teacher="", share=1), trained(MLP(width=16))).loss(student, batch)

    torch.testing.assert_close(alone, TASK.loss(student, batch))
    assert abs(float(twin.detach())) < 1e-4  # the sum over 64 samples


class Table(torch.nn.Embedding):
    """Logits of each token by itself."""


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_has_no_target_counts_nothing(share: float) -> None:
    torch.manual_seed(0)
    student, teacher = Table(9, 9), Table(9, 9)
    taught = Taught(LanguageModeling(), Distil(teacher="", share=share), teacher)
    tokens, targets = torch.arange(8).view(2, 4), torch.arange(1, 9).view(2, 4)
    short = Batch((tokens[:, :2],), targets[:, :2], np.arange(2))
    padded = targets.clone()
    padded[:, 2:] = -100

    loss = taught.loss(student, Batch((tokens,), padded, np.arange(2)))

    torch.testing.assert_close(loss, taught.loss(student, short))


def test_of_numbers_it_is_the_squared_distance() -> None:
    torch.manual_seed(0)
    student, teacher = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    x, y = torch.randn(6, 3), torch.randn(6, 1)
    taught = Taught(Regression(), Distil(teacher="", share=1), teacher)

    loss = taught.loss(student, Batch((x,), y, np.arange(6)))

    torch.testing.assert_close(loss, (student(x) - teacher(x)).square().sum())


def test_streams_of_other_widths_that_say_the_same_are_alike() -> None:
    stream = torch.randn(2, 5, 8, generator=RANDOM)
    wider = torch.cat([stream, stream], -1) * 3

    assert float(likeness(stream, wider).max()) < 1e-12
    assert float(likeness(stream, stream.flip(1)).min()) > 1e-2
