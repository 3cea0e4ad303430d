"""The contract of compression: a trained model in, a smaller one out, and the list of its edits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from zafu.edits.contract import Edit
from zafu.errors import Fault
from zafu.spec import Family

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zafu.batch import Batch


class Work(NamedTuple):
    """What a method works on."""

    model: nn.Module  # in evaluation mode; it is changed in place
    batches: Sequence[Batch]  # samples of the training split to learn from, the same each time
    loss: Callable[[nn.Module, Batch], Tensor]  # the sum of the losses of a batch
    seed: int
    note: Callable[[str], None]  # hears what a user should know


class Compression(Family):
    """A link of a chain that makes a model smaller or faster."""

    kind: str
    short: ClassVar[tuple[str, ...]] = ()  # the settings that values after `kind:` are for
    looks: ClassVar[bool] = True  # whether it looks at samples
    fixes: ClassVar[bool] = False  # whether weights can't change any more behind it
    samples: int = Field(default=128, ge=1)
    """Samples of the training split that it looks at, >= 1."""

    @abstractmethod
    def apply(self, work: Work) -> Iterable[Edit]:
        """Change the model in place; the edits with which its form is had again.

        Raises Refused, naming the layer, where it cannot be done.
        """

    def after(self, before: Sequence[Compression]) -> Iterable[Fault]:
        """Faults of a chain in which this follows those links."""
        return ()


def fixed(before: Sequence[Compression], does: str) -> Iterable[Fault]:
    """A fault where a link needs weights that can change, and one before it has fixed them."""
    for link in before:
        if link.fixes:
            yield Fault("", f"{does} before {link.kind}, which fixes the weights", "it behind")
