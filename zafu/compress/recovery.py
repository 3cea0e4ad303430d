"""Links that train: the model as it is, further; alone, or with a teacher.

They are ordinary recipes that start from the weights of the link before: the same loop, layouts,
checkpoints and exactness as any training.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Compression, fixed
from zafu.distil import Lesson
from zafu.errors import Fault

UNITS = ("epochs", "steps", "samples", "tokens")
_BUDGET = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(UNITS)})")


class Recovery(Compression):
    """A link that trains."""

    positional: ClassVar[tuple[str, ...]] = ("budget",)
    budget: str = "1epochs"
    """How long: a number and epochs, steps, samples or tokens."""
    lr: float = Field(default=0.3, gt=0)
    """Factor on the learning rate of the recipe, > 0."""

    def check(self) -> Iterable[Fault]:
        """The budget can be read."""
        if not _BUDGET.fullmatch(self.budget):
            expected = f"a number and one of {', '.join(UNITS)}, such as 2epochs"
            yield Fault("budget", expected, self.budget)

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """There must be weights that can learn."""
        return fixed(tuple(before), self.kind)

    @abstractmethod
    def changes(self, fit: dict[str, Any], start: str, first: str) -> dict[str, Any]:
        """What of `fit` is changed: to go on from the model folder `start`; `first` is the model
        with which the chain began.
        """

    def trained(self, fit: dict[str, Any], start: str) -> dict[str, Any]:
        """Another budget, a learning rate that is a part of the recipe's, and where to start."""
        budget = dict[str, Any]()
        if found := _BUDGET.fullmatch(self.budget):
            number, unit = found[1], found[2]
            budget |= dict.fromkeys((*UNITS, "seconds"))
            budget[unit] = float(number) if unit == "epochs" else int(float(number))
        optimizer, lr = dict(fit["optimizer"]), fit["optimizer"]["lr"]
        if isinstance(lr, dict):
            optimizer["lr"] = lr | {"start": lr["start"] * self.lr}
        else:
            optimizer["lr"] = lr * self.lr
        own = {"start": start, "optimizer": optimizer, "early_stopping": None, "sparsity": None}
        return fit | budget | own


@final
class Tune(Recovery):
    """Train what is left, on the targets."""

    kind: Literal["tune"] = "tune"

    def changes(self, fit: dict[str, Any], start: str, first: str) -> dict[str, Any]:
        """Budget, learning rate, start."""
        return self.trained(fit, start) | {"distil": None}


@final
class DistilFrom(Recovery, Lesson):
    """Train what is left on the answers of a teacher: the model before, unless another is named."""

    kind: Literal["distil"] = "distil"
    teacher: str | None = None
    """A finished run; None: the model with which the chain began."""

    def changes(self, fit: dict[str, Any], start: str, first: str) -> dict[str, Any]:
        """Budget, learning rate, start and teacher."""
        lesson = self.model_dump(mode="json", include=set(Lesson.model_fields))
        teacher = {"teacher": self.teacher or first}
        return self.trained(fit, start) | {"distil": lesson | teacher}
