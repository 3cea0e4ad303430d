"""Checks of maps: a right map passes, a map of chance, and one of the picture alone, do not."""

from typing import ClassVar, Literal, final

import torch
from explained import DIGITS, subject
from torch import Tensor, nn

from zafu.explain.contract import PIXELS, Attribution, Values
from zafu.explain.runtime.checks import checked, gains, shuffled
from zafu.explain.runtime.subject import Subject


class Corner(nn.Module):
    """Answers by one quarter of a picture: where ink in it is, weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 8, 8))
        self.weight.data[:, 2:6, 2:6] = torch.linspace(1, 2, 16).view(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).flatten(1).sum(1) - 4
        return torch.stack([-score, score], 1)


@final
class Right(Attribution):
    """The weights times the picture."""

    kind: Literal["test-right"] = "test-right"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = ""

    def of(self, subject: Subject) -> Values:
        return Values((subject.network.weight * subject.inputs[0][0, 0])[0].detach())


@final
class Chance(Attribution):
    """Noise."""

    kind: Literal["test-chance"] = "test-chance"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = ""

    def of(self, subject: Subject) -> Values:
        seed = int(subject.inputs[0].sum() * 1000)
        return Values(torch.randn(8, 8, generator=torch.Generator().manual_seed(seed)))


@final
class Ink(Attribution):
    """The picture itself, whatever the model."""

    kind: Literal["test-ink"] = "test-ink"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = ""

    def of(self, subject: Subject) -> Values:
        return Values(subject.inputs[0][0, 0])


def failures(method: Attribution) -> list[str]:
    some = [subject(Corner(), DIGITS[i : i + 1], output=1) for i in range(12)]
    return checked(method, some, [method.of(one) for one in some]).failures(0.01)


def test_a_right_map_passes() -> None:
    assert failures(Right()) == []


def test_a_map_of_chance_fails() -> None:
    assert any("does not matter more than chance" in text for text in failures(Chance()))


def test_a_map_of_the_picture_alone_fails() -> None:
    assert any("random weights" in text for text in failures(Ink()))


def test_a_sum_that_lacks_more_than_it_may_fails() -> None:
    one = subject(Corner(), DIGITS[:1], output=1)

    found = checked(Right(), [one], [Right().of(one)._replace(missing=0.02)])

    assert "it lacks 2.0% of what it should add up to" in found.failures(0.01)
    assert not any("lacks" in text for text in found.failures(0.03))


def test_one_sample_shows_nothing() -> None:
    one = subject(Corner(), DIGITS[:1], output=1)

    found = checked(Right(), [one], [Right().of(one)])

    assert not found.tried
    assert found.failures(0.01) == []


def test_weights_in_random_order_are_the_same_weights() -> None:
    module = Corner()

    other = shuffled(module, 1)

    assert not torch.equal(other.weight, module.weight)
    assert torch.equal(other.weight.flatten().sort()[0], module.weight.flatten().sort()[0])
    assert torch.equal(module.weight, Corner().weight)


def test_the_best_order_gains_on_both_ways() -> None:
    one = subject(Corner(), DIGITS[:1], output=1)

    removed, put = gains(one, Right().of(one), signed=True)

    assert removed > 0.1
    assert put > 0.1
