"""The contract of exports: a finished model in, files for another runtime out, and that runtime.

Nothing is published before the files were opened in their own runtime and answered held-out
samples as the model does (`zafu.deploy.gate`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.models.compressed import Compressed
from zafu.spec import Family

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zafu.models.contract import Model
    from zafu.recipe import Recipe
    from zafu.signature import Signature

FITTED = "fitted"  # in a published folder: tokenizer, statistics, recipe, signature
Answers = Callable[..., np.ndarray]
"""Arrays `(batch, ...)` in the order in which the model takes them -> logits, float32."""


class Source(NamedTuple):
    """What is exported."""

    module: nn.Module  # on the CPU, in evaluation mode
    recipe: Recipe
    signature: Signature
    fitted: Path  # the folder of all that was fitted with it: tokenizer, statistics, temperature
    inputs: tuple[Tensor, ...]  # held-out samples (samples, ...), at least 2
    say: Callable[[str], None]  # hears what a user should know
    seen: tuple[Tensor, ...] = ()  # training samples (samples, ...), by which ranges are calibrated


NAMES = {"tokens": ("tokens",), "pixels": ("pixels",), "columns": ("numbers", "categories")}


def names_of(source: Source) -> tuple[str, ...]:
    """The names of the inputs, in the order in which the model takes them."""
    return NAMES[source.signature.inputs.kind][: len(source.inputs)]


def read(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Without those behind the first that have no columns: no graph reads them."""
    return (*inputs[:1], *(x for x in inputs[1:] if x.shape[-1]))


class Speaker(Protocol):
    """A language model in some runtime that keeps what it has read."""

    @property
    def context(self) -> int:
        """Most tokens that it can have read."""
        ...

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """Logits `(vocab,)` of the token behind these `(time,)`, which follow those of before."""
        ...

    def forget(self) -> None:
        """What follows begins anew."""
        ...


class Export(Family):
    """A form in which another runtime takes a finished model."""

    kind: str
    at_once: ClassVar[int | None] = None  # samples in one call of the runtime; None: any number
    integers: ClassVar[str] = "int64"  # as which type it reads tokens and categories

    last: ClassVar[bool] = False
    """Whether all that it says of tokens is how likely each is behind the last one: logarithms,
    `(batch, 1, vocab)`."""
    tolerance: float = Field(default=1e-4, gt=0)
    """Largest difference of a logit, as a share of the largest, that passes where numbers keep 32
    bits, > 0."""
    within: float = Field(default=0.01, ge=0)
    """Share of its value by which the metric may be worse, where numbers are rounded, >= 0."""

    of: ClassVar[frozenset[str] | None] = None
    """The kinds of models that have such a form, compressed or not; None: all."""

    def suits(self, model: Model) -> Iterable[Fault]:
        """Why no such model has this form here, before it is trained."""
        base = model.base if isinstance(model, Compressed) else model
        if self.of is not None and base.kind not in self.of:
            yield Fault(self.kind, f"a model of kind {' or '.join(sorted(self.of))}", base.kind)

    def refuses(self, source: Source) -> Iterable[Fault]:
        """Why this model has no such form, before any work."""
        return self.suits(source.recipe.model)

    def rounds(self, source: Source) -> bool:
        """Whether numbers have fewer than 32 bits, so that the metric is what is held to."""
        held = (*source.module.parameters(), *source.module.buffers())
        return any(x.element_size() < 4 and x.numel() > 1 for x in held)

    def inputs(self, source: Source) -> tuple[str, ...]:
        """The names of what the runtime reads, in the order in which the model takes them."""
        return names_of(source)

    @abstractmethod
    def write(self, source: Source, part: Path) -> None:
        """Fill a folder with what the runtime reads. Raises Refused, naming the layer."""

    @abstractmethod
    def open(self, folder: Path, *, threads: int) -> Answers:
        """What is in a written folder, in its own runtime."""

    def speaker(self, folder: Path, *, threads: int) -> Speaker | None:
        """The same as one that writes text, where the folder holds a model with a cache."""
        return None

    def front(self, source: Source) -> Iterable[str]:
        """Lines that the folder's README begins with, where its readers want some."""
        return ()

    def usage(self, source: Source) -> Iterable[str]:
        """Lines of its README: how a program without zafu opens the folder."""
        return ()
