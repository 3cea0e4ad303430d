"""Columns that have the same value in each row: they cannot tell one row from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.clean.contract import RowCleaning, RowsCleaned

if TYPE_CHECKING:
    import polars as pl


@final
class ConstantColumns(RowCleaning):
    """Columns in which one value stands in nearly all training rows."""

    kind: Literal["constant-columns"] = "constant-columns"
    scope: ClassVar[Literal["all", "train"]] = "train"
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows with one value, or none, from which a column goes; above 0, to 1."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """Missing is a value like any other."""
        import polars as pl

        gone: dict[str, str] = {}
        for column in rows.drop(target):
            most = column.alias("value").value_counts()["count"].max()
            if isinstance(most, int) and most >= self.share * rows.height:
                part = "all" if most == rows.height else f"{most / rows.height:.1%} of"
                gone[column.name] = f"one value in {part} training rows"
        return RowsCleaned(pl.repeat(None, rows.height, dtype=pl.String, eager=True), gone)
