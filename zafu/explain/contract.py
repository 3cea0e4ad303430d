"""The contract of explanations: why a finished model says what it says.

Three forms: values of what one sample consists of (`Attribution`), something else about one sample
(`Aside`), and something about the model as a whole (`Overview`). What they find is plain data. An
attribution is no proof of itself; `zafu.explain.runtime.checks` tries each.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from zafu.spec import Family

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zafu.explain.runtime.scene import Scene
    from zafu.explain.runtime.subject import Subject

PIXELS, COLUMNS, TOKENS = (frozenset({name}) for name in ("pixels", "columns", "tokens"))
ANY = PIXELS | COLUMNS | TOKENS


class Values(NamedTuple):
    """What each pixel `(height, width)`, column or token adds to an answer."""

    values: Tensor
    spread: Tensor | None = None  # half the width of its 95 % interval, where it was drawn
    missing: float | None = None  # what the sum lacks of its promise, as a share of that
    how: str = ""  # what a reader should know of this one, such as the number of steps


class Explanation(Family):
    """A way to look into a model."""

    kind: str
    takes: ClassVar[frozenset[str]]  # kinds of input: pixels, columns, tokens
    gradients: ClassVar[bool] = False  # whether it needs those of the inputs
    weights: ClassVar[bool] = False  # whether it needs a model in torch, beyond its answers

    def refuses(self, module: nn.Module) -> str:
        """Why this model cannot be looked into so; "" where it can."""
        return ""


class Attribution(Explanation):
    """Values for the pixels, columns or tokens of one sample."""

    signed: ClassVar[bool] = True  # whether a value below 0 speaks against the answer
    adds_up: ClassVar[bool] = False  # whether values add up to the answer less that to nothing
    beware: ClassVar[str]  # what it does not say, in a sentence for the page

    @abstractmethod
    def of(self, subject: Subject) -> Values:
        """The values, in the shape of `subject.features`."""


class Aside(Explanation):
    """Something else about one sample."""

    @abstractmethod
    def about(self, subject: Subject) -> dict[str, Any]:
        """What is found, as plain data."""


class Overview(Explanation):
    """Something about the model as a whole, on held-out samples."""

    @abstractmethod
    def over(self, scene: Scene) -> dict[str, Any]:
        """What is found, as plain data."""
