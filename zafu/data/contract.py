"""The contract of data: it is prepared once into a folder of arrays, then read by position.

A prepared folder holds `signature.json`, `transform/` (all that was fitted on the training split
and must travel with the model: tokenizer, statistics, names) and the arrays of each split.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import Field

from zafu.errors import Fault
from zafu.signature import Signature
from zafu.spec import Family, Spec

if TYPE_CHECKING:
    import numpy as np

    from zafu.batch import Batch

SPLITS = ("train", "validation", "test")


class Shares(Spec):
    """How samples (documents or rows) are dealt out, before anything is fitted."""

    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the samples that choose (early stopping, tuning), 0 to 1."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of the samples that judge at the end, 0 to 1."""

    def check(self) -> Iterable[Fault]:
        """Something must be left to train on."""
        if self.validation + self.test >= 1:
            yield Fault("", "validation + test < 1", f"{self.validation + self.test:g}")


class Split(Protocol):
    """Samples that are read by position."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def units(self, ids: np.ndarray) -> int:
        """Bytes of text that the targets of these samples spell, else the number of samples."""
        ...

    def count(self, ids: np.ndarray) -> int:
        """Targets in the samples at these positions: tokens to predict, else rows."""
        ...

    def batch(self, ids: np.ndarray) -> Batch:
        """The samples at these positions, `(batch,)` int64, as tensors on the CPU."""
        ...


class Data(Family):
    """Where samples come from and how they become tensors."""

    kind: str
    gives: ClassVar[str]  # the kind of its inputs: tokens, pixels or columns
    tasks: ClassVar[frozenset[str]]  # the kinds of task that it can serve
    split: Shares = Shares()
    """Shares of the validation and the test split."""

    def foreseen(self, task: str) -> Signature | None:
        """The signature, as far as it is known without reading the data."""
        return None

    def sources(self) -> Sequence[Path]:
        """The files that a digest of the data covers; raises DataError if there are none."""
        return ()

    def samples_foreseen(self, files: Sequence[Path]) -> int | None:
        """Samples (documents, rows, pictures) in these files, if known without reading them."""
        return None

    @abstractmethod
    def prepare(self, folder: Path, *, task: str, seed: int) -> None:
        """Split, fit and write everything under `folder`, which exists and is empty.

        Raises DataError that names file, row and column where the data is not as described.
        """

    @abstractmethod
    def open(self, folder: Path, split: str) -> Split:
        """A split of a prepared folder."""

    @abstractmethod
    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """New samples from a file by what was fitted, with a name for each.

        Absent targets are -100 for classes and tokens, nan for numbers.
        """

    def documents(self, folder: Path) -> Callable[[str], Iterator[bytes]] | None:
        """A function from a split's name to its raw documents, for text; None for other data."""
        return None

    def in_units(self, transform: Path, values: np.ndarray) -> np.ndarray:
        """Predicted or true numbers `(n, outputs)` in the units of the data."""
        return values
