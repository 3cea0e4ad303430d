"""Columns: rows of a table with noise, or with entries of other rows.

Noise on inputs: Sietsma & Dow, 1991 ("Creating artificial neural networks that generalize"); its
equivalence to a penalty: Bishop, 1995 ("Training with noise"). Entries exchanged for those of the
same column: the corruption of Yoon et al., 2020 (VIME), and Bahri et al., 2021
(arXiv:2106.15147), where all entries of a sample come from one other row, drawn by its key.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import COLUMNS, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class ColumnNoise(Augmentation):
    """Gaussian noise on quantities; categories and columns of 0 and 1 stay."""

    kind: Literal["column-noise"] = "column-noise"
    std: float = Field(default=0.1, gt=0, le=10)
    """Standard deviation, 0 < s <= 10, in the unit of the prepared column: under z-score its own
    standard deviation."""
    takes: ClassVar[frozenset[str]] = COLUMNS
    differentiable: ClassVar[tuple[str, ...]] = ("std",)

    def step(self) -> Step:
        """A function of rows."""
        from zafu.augment.runtime import columns
        from zafu.augment.runtime.step import Whole

        return Whole(columns.column_noise, draws=0, magnitudes={"std": self.std})


@final
class ColumnSwap(Augmentation):
    """Entries give way to those of another row in the same columns; the target stays."""

    kind: Literal["column-swap"] = "column-swap"
    share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the entries that are exchanged, 0 < s < 1."""
    takes: ClassVar[frozenset[str]] = COLUMNS

    def step(self) -> Step:
        """A function of rows and partners."""
        from zafu.augment.runtime import columns
        from zafu.augment.runtime.step import Whole

        return Whole(partial(columns.column_swap, share=self.share), draws=1)
