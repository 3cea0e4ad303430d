"""The contract of an edit: what compression has changed in the form of a model.

The recipe of a compressed model lists its edits in their order, so that the module is built again
without the method that found them; the weights are read into it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zafu.errors import Fault
from zafu.spec import Family

if TYPE_CHECKING:
    from torch import nn


class Edit(Family):
    """A change of a module's form; of its values it says nothing."""

    kind: str

    @abstractmethod
    def apply(self, root: nn.Module) -> None:
        """Give a module this form, in place; KeyError or AttributeError for a layer it has not."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return self.kind

    @property
    def trains(self) -> bool:
        """Whether the changed layers can learn."""
        return True


def positive(path: str, numbers: Iterable[int]) -> Iterable[Fault]:
    """A fault where a size is not at least 1."""
    if any(number < 1 for number in numbers):
        yield Fault(path, "sizes of 1 at least", str(list(numbers)))
