"""Rows and columns in which too much is missing.

A row of which little is known teaches the values that stand for what is missing; a column that is
mostly empty costs a weight and an indicator for little. Both are told without looking at values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.clean.contract import RowCleaning, RowsCleaned

if TYPE_CHECKING:
    import polars as pl


@final
class Missing(RowCleaning):
    """Columns and then rows of which more than a share is missing."""

    kind: Literal["missing"] = "missing"
    scope: ClassVar[Literal["all", "train"]] = "all"
    rows: float = Field(default=0.5, ge=0, le=1)
    """Share of a row's columns that may be missing, 0 to 1; the target is not counted."""
    columns: float = Field(default=0.9, ge=0, le=1)
    """Share of a column's rows that may be missing, 0 to 1; 1 keeps even an empty one."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """Columns first, so that a row is not blamed for what is missing everywhere."""
        import polars as pl

        inputs = rows.drop(target)
        gone = {
            name: f"more than {self.columns:.0%} missing"
            for name, missing in zip(inputs.columns, inputs.null_count().row(0), strict=True)
            if missing > self.columns * rows.height
        }
        left = inputs.drop(list(gone))
        lacking = left.select(pl.sum_horizontal(pl.all().is_null()).alias("lacking"))
        if not left.width:
            return RowsCleaned(pl.repeat(None, rows.height, dtype=pl.String, eager=True), gone)
        many = lacking["lacking"] > self.rows * left.width
        reason = pl.when(many).then(pl.lit(f"more than {self.rows:.0%} of the columns missing"))
        return RowsCleaned(pl.select(reason.alias("reasons"))["reasons"], gone)
