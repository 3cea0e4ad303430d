"""Sifting a table: cleaning steps say what should go, and the ledger hears of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zafu.data.ledger import Ledger, Removed

if TYPE_CHECKING:
    import polars as pl

    from zafu.clean.contract import RowCleaning


class Kept(NamedTuple):
    """Rows that are left, and what belongs to each."""

    rows: pl.DataFrame  # the used columns, float64 or String
    ids: pl.Series  # (n,) String
    keys: np.ndarray | None  # (n,): what the split reads

    def at(self, places: np.ndarray) -> Kept:
        """The rows at these positions `(m,)` int64, in this order."""
        keys = None if self.keys is None else self.keys[places]
        return Kept(self.rows[places], self.ids[places], keys)

    def without(self, names: Iterable[str]) -> Kept:
        """The rows without some columns."""
        return self._replace(rows=self.rows.drop(list(names)))


@dataclass
class Sieve:
    """Takes rows out for reasons, but not those that the recipe keeps."""

    keep: frozenset[str]  # ids
    ledger: Ledger = field(default_factory=Ledger)
    columns: list[dict[str, str]] = field(
        default_factory=list[dict[str, str]]
    )  # that went, and why
    suspects: list[dict[str, object]] = field(default_factory=list[dict[str, object]])

    def staying(
        self, step: str, rows: pl.DataFrame, *, ids: pl.Series, why: pl.Series
    ) -> np.ndarray:
        """Positions of the rows that stay; the others go to the ledger, their content as JSON."""
        began = time.perf_counter()
        goes = why.is_not_null() & ~ids.is_in(list(self.keep))
        gone = rows.filter(goes).iter_rows(named=True)
        told = zip(ids.filter(goes), why.filter(goes), map(_json, gone), strict=True)
        self.ledger.removed(step, (Removed(*item) for item in told))
        self.ledger.came(step, rows.height, seconds=time.perf_counter() - began)
        return (~goes).arg_true().to_numpy()

    def first_of_each(self, kept: Kept) -> Kept:
        """All rows but those that are equal to an earlier one."""
        import polars as pl

        place = pl.int_range(kept.rows.height, eager=True)
        plain = [column.alias(str(i)) for i, column in enumerate(kept.rows)]
        numbered = pl.DataFrame([*plain, place.alias("row")])
        whole = [column.name for column in plain]
        first = numbered.select(pl.col("row").min().over(whole)).to_series()
        again = (first != place) & ~kept.ids.is_in(list(self.keep))
        gone = map(_json, kept.rows.filter(again).iter_rows(named=True))
        told = zip(kept.ids.filter(again), gone, kept.ids[first.filter(again)], strict=True)
        removed = (Removed(id_, "exact duplicate", row, twin) for id_, row, twin in told)
        self.ledger.removed("duplicates", removed)
        self.ledger.came("duplicates", kept.rows.height)
        return kept.at((~again).arg_true().to_numpy())

    def through(
        self, steps: Iterable[RowCleaning], kept: Kept, *, target: str, seed: int
    ) -> tuple[Kept, np.ndarray]:
        """The rows and columns that stay after all steps, and the rows' former positions."""
        places = np.arange(kept.rows.height)
        for step in steps:
            began = time.perf_counter()
            found = step.clean(kept.rows, target, seed=seed)
            for suspect in found.suspects:
                told: dict[str, object] = {"id": kept.ids[suspect.row], **suspect._asdict()}
                del told["row"]  # a position that means nothing later
                self.suspects.append(told)
            for name, why in found.columns.items():
                self.columns.append({"name": name, "step": step.kind, "reason": why})
            stays = self.staying(step.kind, kept.rows, ids=kept.ids, why=found.reasons)
            self.ledger.came(step.kind, 0, seconds=time.perf_counter() - began)
            kept, places = kept.at(stays).without(found.columns), places[stays]
        return kept, places


def _json(row: dict[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str)
