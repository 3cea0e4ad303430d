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
    fixes: ClassVar[bool] = False  # whether weights can't change any more behind it

    def after(self, before: Sequence[Compression]) -> Iterable[Fault]:
        """Faults of a chain in which this follows those links."""
        return unmerged(before, self.kind)


class Reshaping(Compression):
    """A link that changes the form of a model, or its numbers, at once."""

    @property
    def looked_at(self) -> int:
        """How many samples of the training split it is given."""
        return 0

    @abstractmethod
    def apply(self, work: Work) -> Iterable[Edit]:
        """Change the model in place; the edits with which its form is had again.

        Raises Refused, naming the layer, where it cannot be done.
        """


class Calibrated(Reshaping):
    """A link that looks at samples."""

    samples: int = Field(default=128, ge=1)
    """Samples of the training split that it looks at, >= 1."""

    @property
    def looked_at(self) -> int:
        """As many as it asks for."""
        return self.samples


def fixed(before: Sequence[Compression], does: str) -> Iterable[Fault]:
    """A fault where a link needs weights that can change, and one before it has fixed them."""
    for link in before:
        if link.fixes:
            yield Fault("", f"{does} before {link.kind}, which fixes the weights", "it behind")


def unmerged(before: Sequence[Compression], does: str) -> Iterable[Fault]:
    """A fault where a link reads matrices to which adapters have not yet been added."""
    kinds = [link.kind for link in before if link.kind in ("lora", "merge")]
    if kinds[-1:] == ["lora"]:
        yield Fault("", f"merge before {does}, which would lose the adapters", "lora")


def roundable(before: Sequence[Compression], does: str) -> Iterable[Fault]:
    """Faults where a link makes integers of matrices: they are not whole, or narrow already."""
    yield from unmerged(before, does)
    for link in before:
        if link.kind in ("bf16", "fp16"):
            yield Fault("", f"weights of 32 bits before {does}", link.kind)


def whole(before: Sequence[Compression], does: str) -> Iterable[Fault]:
    """Faults where a link changes matrices: they are fixed, or not whole."""
    yield from fixed(before, does)
    yield from unmerged(before, does)
