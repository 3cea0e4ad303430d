"""The contract of data: it is prepared once into a folder of arrays, then read by position.

A prepared folder holds `signature.json`, `transform/` (all that was fitted on the training split
and must travel with the model: tokenizer, statistics, names) and the arrays of each split.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import Discriminator, Field, Tag

from zafu.data.fold import Fold
from zafu.errors import Fault, Refused
from zafu.signature import Signature
from zafu.spec import Family, Spec

if TYPE_CHECKING:
    import numpy as np

    from zafu.batch import Batch, Portion
    from zafu.data.intake import Intake
    from zafu.work import Work

SPLITS = ("train", "validation", "test")
Share = Annotated[float, Field(ge=0, lt=1)]
Held = Annotated[
    Annotated[Share, Tag("a share")] | Annotated[Fold, Tag("a fold")],
    Discriminator(lambda given: "a fold" if isinstance(given, (Mapping, Fold)) else "a share"),
]  # told apart by form, so that the faults are those of what was meant


class Shares(Spec):
    """How samples (documents, rows or pictures) are dealt out, before anything is fitted."""

    validation: Held = 0.1
    """Share of the samples that choose (early stopping, tuning), 0 to 1; or a fold of what the test
    leaves: {fold: 0, of: 4}. Beside a fold as test, a share of what that leaves."""
    test: Held = 0.1
    """Share of the samples that judge at the end, 0 to 1; or a fold of all: {fold: 0, of: 5}."""
    by: Literal["content", "random", "group", "time", "given"] = "content"
    """What keeps samples together: content deals equal ones to one split; group those with the
    same value in `column`; time puts the newest by `column` into the test; given reads the split's
    name from `column` (a validation split that nothing names is taken from training); random deals
    each by itself."""
    column: str | None = None
    """The column that group, time and given read."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Seed of the dealing and of what is fitted, 0 to 2^32 - 1; null: the recipe's. So weights and
    order can be drawn anew on the same split."""
    stratify: bool = False
    """Whether each class has the same share in every split (content, random and group)."""

    def check(self) -> Iterable[Fault]:
        """Something must be left to train on; a column exactly where one is read."""
        shares = [held for held in (self.validation, self.test) if not isinstance(held, Fold)]
        if sum(shares) >= 1:
            yield Fault("", "validation + test < 1", f"{sum(shares):g}")
        reads = self.by in ("group", "time", "given")
        if reads and self.column is None:
            yield Fault("column", f"the column to split by {self.by}", "nothing")
        if not reads and self.column is not None:
            yield Fault("column", f"nothing, as {self.by} reads no column", self.column)
        if self.stratify and self.by in ("time", "given"):
            yield Fault("stratify", f"false for a split by {self.by}", "true")
        for name, held in (("validation", self.validation), ("test", self.test)):
            if isinstance(held, Fold):
                yield from self._faults_of_fold(name, held)

    def _faults_of_fold(self, name: str, fold: Fold) -> Iterable[Fault]:
        """What a fold says that the way of dealing does not bear out."""
        one = self.by in ("time", "given") and not fold.dealt_elsewhere
        if one and fold.repeat:
            expected = f"0, as there is one partition by {self.by}"
            yield Fault(f"{name}.repeat", expected, str(fold.repeat))
        if fold.gap and self.by != "time":
            yield Fault(f"{name}.gap", f"0, as a split by {self.by} has no order", str(fold.gap))
        if fold.dealt_elsewhere and self.stratify:
            yield Fault("stratify", "false, as a splitter deals", "true")
        if fold.dealt_elsewhere and self.by == "given":
            yield Fault("by", "another way than given, as a splitter deals", "given")
        if self.by == "given" and name == "validation" and not isinstance(self.test, Fold):
            expected = "a share, as the column names splits; or test as a fold too"
            yield Fault("validation", expected, f"fold {fold.fold} of {fold.of}")


class Leaks(Spec):
    """How much of the held-out samples training may know; more than that fails the preparation."""

    exact: float | None = Field(default=0.0, ge=0, le=1)
    """Most of a held-out split that may stand in training too, 0 to 1; null: it is only shown."""
    near: float | None = Field(default=None, ge=0, le=1)
    """Most of a held-out split that may nearly stand in training; null: it is only shown."""
    groups: float | None = Field(default=0.0, ge=0, le=1)
    """Most of a held-out split whose group is in training too, where the split is by group."""
    time: float | None = Field(default=0.0, ge=0, le=1)
    """Most of a held-out split that is older than the newest training sample, by time."""


class WrongLabels(Spec):
    """Labels made wrong on purpose, in training alone, to see what bears them."""

    share: float = Field(default=0.2, gt=0, le=1)
    """Share of the training samples that get another class, 0 < s <= 1."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of which samples these are, and of their classes, 0 to 2^32 - 1."""


class Split(Protocol):
    """Samples that are read by position."""

    @property
    def portions(self) -> tuple[Portion, ...]:
        """Consecutive parts that training mixes by their weights; none: each sample counts alike.

        Their samples add up to those of the split.
        """
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def units(self, ids: np.ndarray) -> int:
        """Bytes of text that the targets of these samples spell, else the number of samples."""
        ...

    def count(self, ids: np.ndarray) -> int:
        """Targets in the samples at these positions: tokens to predict, else rows."""
        ...

    def raw(self, ids: np.ndarray) -> Batch:
        """The samples at these positions, `(batch,)` int64, on the CPU, as augmentation wants them.

        Pictures are `(batch, channels, height, width)` uint8; all else is as `batch` has it.
        """
        ...

    def finish(self, batch: Batch) -> Batch:
        """A raw batch, perhaps augmented and then float32, on any device, as a model wants it."""
        ...

    def batch(self, ids: np.ndarray) -> Batch:
        """The samples at these positions as a model wants them: `finish(raw(ids))`."""
        ...


class Labelled(NamedTuple):
    """Samples of a file of one's own, whose targets are known."""

    split: Split
    names: Sequence[str]  # of each sample
    columns: Mapping[str, np.ndarray] = {}


class Data(Family):
    """Where samples come from and how they become tensors."""

    kind: str
    gives: ClassVar[str]  # the kind of its inputs: tokens, pixels or columns
    tasks: ClassVar[frozenset[str]]  # the kinds of task that it can serve
    white: ClassVar[float] = 255.0  # the largest value of a stored pixel, where it gives pixels
    split: Shares = Shares()
    """How samples are dealt to training, validation and test."""
    leaks: Leaks = Leaks()
    """What training may know of held-out samples."""
    wrong_labels: WrongLabels | None = None
    """Wrong labels to plant in training, where there are classes; null: none."""

    def foreseen(self, task: str) -> Signature | None:
        """The signature, as far as it is known without reading the data."""
        return None

    def sources(self) -> Sequence[Path]:
        """The files that a digest of the data covers; raises DataError if there are none."""
        return ()

    def fingerprint(self) -> str:
        """A digest of samples that no file of `sources` holds, such as a database's; else ""."""
        return ""

    def samples_foreseen(self, files: Sequence[Path]) -> int | None:
        """Samples (documents, rows, pictures) in these files, if known without reading them."""
        return None

    @abstractmethod
    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Clean, split, fit and write everything under `folder`, which exists and is empty.

        What is long is done in pieces of `work`. Raises DataError that names file, row and column
        where the data is not as described, Interrupted after a signal.
        """

    @abstractmethod
    def open(self, folder: Path, split: str) -> Split:
        """A split of a prepared folder."""

    @abstractmethod
    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """New samples from a file by what was fitted, with a name for each.

        Absent targets are -100 for classes and tokens, nan for numbers.
        """

    def intake(self, transform: Path) -> Intake:
        """How samples that come one at a time are read by what was fitted."""
        raise Refused(f"data of kind {self.kind}: its samples are no rows and no pictures")

    def labelled(self, transform: Path, file: Path) -> Labelled:
        """New samples with their targets, by what was fitted; nothing is fitted again.

        Raises DataError that names file, row and column where a target is absent or unknown.
        """
        raise Refused(f"data of kind {self.kind}: reads no targets from a file")

    def raw_columns(self, folder: Path, split: str) -> Mapping[str, np.ndarray]:
        """Values of a held-out split as they were read, `(samples,)` by column, where it has any.

        Float64 with nan, or texts with None, for what is missing.
        """
        return {}

    def documents(self, folder: Path) -> Callable[[str], Iterator[bytes]] | None:
        """A function from a split's name to its raw documents, for text; None for other data."""
        return None

    def vocabulary(self, transform: Path) -> Sequence[str]:
        """The text of each token, where it gives tokens of text."""
        return ()

    def interface(self, transform: Path) -> dict[str, Any]:
        """How a program without zafu makes a model's inputs of raw samples, as plain data.

        Empty where that cannot be said in a few numbers and names.
        """
        return {}

    def in_units(self, transform: Path, values: np.ndarray) -> np.ndarray:
        """Predicted or true numbers `(n, outputs)` in the units of the data."""
        return values
