"""The contracts of cleaning: a step looks at items, mends some, and says why others should go.

No step removes anything by itself: it gives reasons, and whoever runs it counts, keeps the removed
aside, and spares what `data.keep` names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from zafu.spec import Family

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class Cleaned(NamedTuple):
    """Texts after a step, in the order in which they came."""

    texts: pl.Series  # (n,) String
    reasons: pl.Series  # (n,) String: why a text should go, one of a few reasons; null if it stays


class TextCleaning(Family):
    """A step on the texts of documents, each by itself: a pure function of the text."""

    kind: str

    def sources(self) -> Iterable[Path]:
        """Files that decide what the step does, beside its settings."""
        return ()

    @abstractmethod
    def clean(self, texts: pl.Series) -> Cleaned:
        """The texts `(n,)` mended, and for each that should go the reason."""


class Suspect(NamedTuple):
    """A row whose class is doubtful."""

    row: int  # position among the rows that the step was given
    given: str  # the class as it stands
    suggested: str
    probability: float  # of the suggested class, by a model that did not see the row


class RowsCleaned(NamedTuple):
    """What a step found in a table."""

    reasons: pl.Series  # (n,) String: why a row should go; null if it stays
    columns: dict[str, str]  # columns that should go, each with the reason
    suspects: tuple[Suspect, ...] = ()  # to be listed, whether they go or stay


class RowCleaning(Family):
    """A step on a whole table, its columns float64 or text with nulls."""

    kind: str
    scope: ClassVar[Literal["all", "train"]]
    """all: before the split, for what needs no fitting; train: fitted on and applied to training
    rows alone (columns go from all), so that what judges a model is never made easier."""

    @abstractmethod
    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """What should go and why; `rows` has `target` among its columns."""


class PictureCleaning(Family):
    """A step on pictures as they are in their files, each by itself."""

    kind: str

    @abstractmethod
    def clean(self, picture: np.ndarray, file_bytes: int) -> str | None:
        """Why this decoded picture `(height, width, channels)` uint8 should go; None if it stays.

        `file_bytes` is its encoded size.
        """
