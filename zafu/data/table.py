"""Tables: CSV, TSV, Parquet or JSON lines, to classify rows or to predict a number.

Rows are dealt by a hash of the columns that are used, so equal rows share a split; everything
that is fitted is fitted on the training rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.artifact import read_json, write_json
from zafu.data import arrays, columns, frame
from zafu.data.contract import SPLITS, Data
from zafu.data.deal import deal
from zafu.data.files import find, refuse
from zafu.errors import Fault
from zafu.signature import Signature
from zafu.spec import show

if TYPE_CHECKING:
    import polars as pl

    from zafu.batch import Batch
    from zafu.work import Work


@final
class Table(Data):
    """Rows of numbers and categories from files with the same columns."""

    kind: Literal["table"] = "table"
    gives: ClassVar[str] = "columns"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    files: tuple[str, ...] = Field(min_length=1)
    """Globs of .csv, .tsv, .parquet, .jsonl or .ndjson files with the same columns; `package:`."""
    target: str
    """The column to predict; rows without it are left out."""
    numeric: tuple[str, ...] = ()
    """Columns that are numbers; those not named here are told by their values."""
    categorical: tuple[str, ...] = ()
    """Columns that are categories even if their values are numbers."""
    ignore: tuple[str, ...] = ()
    """Columns that are not used."""
    missing: tuple[str, ...] = ("",)
    """Texts that mean that there is no value."""
    min_count: int = Field(default=2, ge=1)
    """Training rows in which a category must occur to be told from unknown, 1 or more."""
    normalize: columns.Normalize = "z-score"
    """Scale of the numeric columns: z-score, min-max (0 to 1) or none."""

    def check(self) -> Iterable[Fault]:
        """Each column has one part to play."""
        parts = {"numeric": self.numeric, "categorical": self.categorical, "ignore": self.ignore}
        seen = {self.target: "target"}
        for field, names in parts.items():
            for name in names:
                if name in seen:
                    yield Fault(field, f"columns that {seen[name]} does not name", show(name))
                seen[name] = field

    def sources(self) -> Sequence[Path]:
        """The files of the table."""
        return [path for _, path in find(self.files)]

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write the encoded rows of each split; raises DataError with the faults of all columns."""
        rows = self._typed(frame.read(self.sources(), self.missing), task)
        kept = rows.filter(rows[self.target].is_not_null())
        dealt = deal(frame.row_prints(kept), self.split, seed=seed, what="rows")
        fitted = self._fitted(kept[dealt["train"]], kept[self.target])
        (folder / "transform").mkdir()
        write_json(folder / "transform" / "columns.json", fitted.dump())
        for split in SPLITS:
            encoded = columns.encode(fitted, kept[dealt[split]])
            arrays.write_arrays(folder / split, encoded._asdict())
        labels = fitted.target.labels
        signature = Signature(
            inputs=fitted.inputs(), outputs=len(labels) or 1, labels=labels or (self.target,)
        )
        dropped = {"no target": rows.height - kept.height}
        arrays.describe(folder, signature, arrays.report(rows.height, dropped, dealt))

    def open(self, folder: Path, split: str) -> arrays.Rows:
        """The rows of a split."""
        stored = arrays.split_folder(folder, split)
        numbers, categories, targets = (
            arrays.read_array(stored / f"{name}.npy") for name in columns.Encoded._fields
        )
        return arrays.Rows((numbers, categories), targets)

    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """The rows of a file, named by their number; the target may be absent or unknown."""
        fitted = load(transform)
        table = frame.read([file], self.missing)
        numbers = [number.name for number in fitted.numbers]
        texts = [category.name for category in fitted.categories]
        faults = frame.absent([*numbers, *texts], table, str(file))
        if fitted.target.name in table.rows.columns:
            (texts if fitted.target.labels else numbers).append(fitted.target.name)
        rows = _converted(table, numbers, texts, faults)
        encoded = columns.encode(fitted, rows)
        split = arrays.Rows((encoded.numbers, encoded.categories), encoded.targets)
        names = [f"{file.name} row {number + 1}" for number in range(rows.height)]
        return split.batch(np.arange(rows.height)), names

    def in_units(self, transform: Path, values: np.ndarray) -> np.ndarray:
        """Standardized targets or predictions in the unit of the target column."""
        target = load(transform).target
        return values * target.scale + target.mean

    def _typed(self, table: frame.Frame, task: str) -> pl.DataFrame:
        """The used columns as float64 or text; raises DataError with all their faults."""
        faults: list[str] = []
        named = {"target": (self.target,), "numeric": self.numeric}
        named |= {"categorical": self.categorical, "ignore": self.ignore}
        for field, names in named.items():
            faults += frame.absent(names, table, f"data.{field}")
        numbers, texts = list(self.numeric), list(self.categorical)
        told = {self.target, *self.numeric, *self.categorical, *self.ignore}
        for name in table.rows.columns:
            if name not in told:
                number, found = frame.is_number(table, name)
                faults += found
                if not found:
                    (numbers if number else texts).append(name)
        if not numbers and not texts and not faults:
            faults.append(f"expected columns beside the target {self.target!r}, found none")
        (texts if task == "classification" else numbers).append(self.target)
        faults += _faults_of_target(table, self.target)
        return _converted(table, numbers, texts, faults)

    def _fitted(self, train: pl.DataFrame, targets: pl.Series) -> columns.Fitted:
        """What the training rows teach; `targets` are those of all rows."""
        faults: list[str] = []
        numbers: list[columns.Number] = []
        categories: list[columns.Category] = []
        for column in train.drop(self.target):
            if not column.dtype.is_numeric():
                categories.append(columns.fit_category(column, self.min_count))
                if not categories[-1].values:
                    faults.append(
                        f"column {column.name!r}: expected a value in at least {self.min_count} "
                        "training rows (data.min_count), found none: name it in data.ignore"
                    )
            elif column.null_count() == len(column):
                faults.append(f"column {column.name!r}: expected values in training, found none")
            else:
                numbers.append(columns.fit_number(column, self.normalize))
        target, found = columns.fit_target(train[self.target], targets)
        refuse([*faults, *found])
        return columns.Fitted(numbers=tuple(numbers), categories=tuple(categories), target=target)


def load(transform: Path) -> columns.Fitted:
    """What was fitted, from a prepared folder's `transform`."""
    return columns.Fitted.parse(read_json(transform / "columns.json"))


def _converted(
    table: frame.Frame, numbers: Sequence[str], texts: Sequence[str], faults: Iterable[str]
) -> pl.DataFrame:
    """The named columns in the order of the file; raises DataError with these and their faults."""
    import polars as pl

    listed = list(faults)
    converted: dict[str, pl.Series] = {}
    for name in table.rows.columns:
        if name in numbers or name in texts:
            convert = frame.as_numbers if name in numbers else frame.as_text
            converted[name], found = convert(table, name)
            listed += found
    refuse(listed)
    return pl.DataFrame(converted)


def _faults_of_target(table: frame.Frame, name: str) -> list[str]:
    if name not in table.rows.columns:
        return []
    different = table.rows[name].drop_nulls().n_unique()
    if different > 1:
        return []
    return [f"column {name!r}: expected a target with different values, found {different}"]
