"""A subject: one sample, and one number of a model's answer to it, which is to be explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from zafu.errors import Refused

AT_ONCE = 256  # samples that a model is asked at a time

Inputs = tuple[Tensor, ...]


class Features(Protocol):
    """What a sample consists of: patches of a picture, columns of a row, tokens of a text."""

    @property
    def many(self) -> int:
        """How many there are that can be taken away."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of their values: `(height, width)`, `(columns,)` or `(tokens,)`."""
        ...

    def mixed(
        self, inputs: Inputs, others: Inputs, kept: Tensor
    ) -> Iterator[tuple[Tensor, Inputs]]:
        """Samples in which only what is `kept` `(n, many)` is there, the rest is of the others.

        In groups that a model can be asked together, each with its places in `kept`. Inputs and
        others are `(1, ...)` or `(n, ...)`.
        """
        ...

    def folded(self, floats: Tensor, vectors: dict[str, Tensor]) -> Tensor:
        """A product for each number of the inputs, added up to values, `(n, *shape)`."""
        ...

    def parts(self, values: Tensor) -> Tensor:
        """Values `shape` of what can be taken away, `(many,)`."""
        ...


@dataclass(frozen=True)
class Subject:
    """What is explained: of the answer to `inputs` the number `output`."""

    answers: Callable[..., Tensor]  # inputs (n, ...) -> logits (n, ..., outputs)
    module: nn.Module | None  # None: answers come from another runtime
    features: Features
    inputs: Inputs  # (1, ...)
    baseline: Inputs  # (1, ...): what stands for nothing
    background: Inputs  # (m, ...): samples of the training split; (0, ...) where there are none
    output: int
    classes: bool  # whether the answer is a choice among outputs
    factor: float = 1.0  # from the model's number to the unit of the data
    offset: float = 0.0

    @property
    def network(self) -> nn.Module:
        """The module; raises Refused where there is none."""
        if self.module is None:
            raise Refused("expected a model in torch, as another runtime gives answers alone")
        return self.module

    def by(self, module: nn.Module) -> Subject:
        """The same question to another module."""
        return replace(self, answers=module, module=module)

    def said(self, *inputs: Tensor) -> Tensor:
        """Logits `(n, outputs)`; of text, those of the next token."""
        found = self.answers(*inputs).float()
        return found[:, -1] if found.dim() == 3 else found

    def score(self, said: Tensor) -> Tensor:
        """The number that is explained, `(n,)`: a logit, or a number in the unit of the data."""
        return said[:, self.output] * self.factor + self.offset

    def chance(self, said: Tensor) -> Tensor:
        """The probability of the output, `(n,)`, or the predicted number."""
        return said.softmax(-1)[:, self.output] if self.classes else self.score(said)

    def asked(self, *inputs: Tensor) -> Tensor:
        """Logits `(n, outputs)` of many samples, without gradients."""
        with torch.no_grad():
            pieces = zip(*(x.split(AT_ONCE) for x in inputs), strict=True)
            return torch.cat([self.said(*piece) for piece in pieces])

    def without(self, kept: Tensor, others: Inputs | None = None) -> Tensor:
        """Logits `(n, outputs)` where only what is kept `(n, many)` is left of the sample."""
        mixed = list(self.features.mixed(self.inputs, others or self.baseline, kept))
        said = torch.cat([self.asked(*inputs) for _, inputs in mixed])
        return said[torch.cat([places for places, _ in mixed]).argsort()]
