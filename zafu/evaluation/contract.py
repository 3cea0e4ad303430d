"""How a model is judged, and the contract of the baselines that stand beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from zafu.measure import Measurement
from zafu.spec import Family, Spec

if TYPE_CHECKING:
    from zafu.data.contract import Split
    from zafu.task import Task

Documents = Callable[[str], Iterator[bytes]]  # from a split's name to its raw texts


class Baseline(Family):
    """A simple answer to the same question, measured on the same held-out samples."""

    kind: str
    tasks: ClassVar[frozenset[str]]  # the kinds of task for which it has an answer
    gives: ClassVar[frozenset[str]]  # the kinds of inputs that it can read
    default: ClassVar[bool] = False  # whether it is measured when a recipe names none

    @abstractmethod
    def measure(
        self,
        task: Task,
        splits: dict[str, Split],
        documents: Documents | None,
    ) -> dict[str, Measurement]:
        """Fit on the training split and judge on `test`; `documents` reads a split's raw text."""


class Evaluate(Spec):
    """How a model is judged."""

    metric: str | None = None
    """The metric that chooses the best weights and heads the report; None: the task's own."""
    metrics: tuple[str, ...] = ()
    """Further metrics of held-out samples, by their names in sklearn.metrics (a function or a
    scorer: roc_auc_score, matthews_corrcoef) or in torchmetrics (torchmetrics:CohenKappa)."""
    slices: tuple[str, ...] = ()
    """Columns of a table, used or ignored, by whose values the held-out rows are judged apart;
    numbers by quarters of the rows."""
    batch: int = Field(default=64, ge=1)
    """Samples in one forward pass, >= 1."""
    during: int = Field(default=512, ge=1)
    """Most validation samples for one evaluation during training; the last one takes all."""
    baselines: tuple[Baseline, ...] | None = None
    """What to compare with; None: the ones that suit the task."""
    prompts: tuple[str, ...] = ("def ", "import ", "class ")
    """Openings that a language model continues, for the report."""
