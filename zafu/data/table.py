"""Tables: files or a database's answer, to classify rows or to predict a number.

Rows are read, cleaned, dealt to splits by a hash of the columns that are used (so equal rows share
a split), and encoded; everything that is fitted is fitted on the training rows:

    read -> what cannot be read -> clean all -> splits -> clean training -> leaks -> features
    -> scales -> more rows of rare classes
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.artifact import read_json, write_json
from zafu.clean.contract import RowCleaning
from zafu.data import (
    arrays,
    chain,
    columns,
    frame,
    intake,
    leaks,
    pool,
    profile,
    raw_rows,
    roles,
    table_sources,
)
from zafu.data.contract import SPLITS, Data, Labelled
from zafu.data.deal import deal
from zafu.data.files import refuse
from zafu.data.ledger import report
from zafu.data.left_out import left_out
from zafu.data.normalize import Normalize
from zafu.data.sift import Kept, Sieve
from zafu.data.smote import Smote
from zafu.data.sql import Query
from zafu.errors import DataError, Fault
from zafu.features.contract import Feature
from zafu.signature import Signature
from zafu.spec import show

if TYPE_CHECKING:
    import polars as pl

    from zafu.batch import Batch
    from zafu.work import Work


@final
class Table(Data):
    """Rows of numbers and categories from files with the same columns, or from a database."""

    kind: Literal["table"] = "table"
    gives: ClassVar[str] = "columns"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    files: tuple[str, ...] = ()
    """Globs of CSV, TSV, JSON lines (these also .gz, .zst), Parquet, Arrow; or `sklearn:iris`."""
    query: Query | None = None
    """What to ask which database, in place of files."""
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
    unreadable: Literal["stop", "drop"] = "stop"
    """Whether a row whose number cannot be read ends the preparation, or is put aside."""
    duplicates: Literal["keep", "remove"] = "keep"
    """Whether rows that are equal in all used columns stay, or only the first of them does."""
    clean: tuple[RowCleaning, ...] = ()
    """Steps that say which rows and columns should go, in this order."""
    keep: tuple[str, ...] = ()
    """Ids of rows that no step may remove, as removed.jsonl names them."""
    without: tuple[str, ...] = ()
    """Ids of rows that are left out of training, such as those that `zafu audit` suspects."""
    features: tuple[Feature, ...] = ()
    """What is made of the columns, one after the other; fitted on the training rows."""
    min_count: int = Field(default=2, ge=1)
    """Training rows in which a category must occur to be told from unknown, 1 or more."""
    normalize: Normalize | columns.Scales = "z-score"
    """Scale of the numeric columns, or `default` and `columns` with a scale for each of some."""
    smote: Smote | None = None
    """Rows made up for the rarer classes of the training split; null: none."""

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """What the named sources take."""
        return table_sources.needs(self.files) + (self.query.needs if self.query else ())

    def check(self) -> Iterable[Fault]:
        """One source; each column has one part to play."""
        if bool(self.files) == (self.query is not None):
            yield Fault("files", "either files or query", "both" if self.files else "neither")
        yield from table_sources.check(self.files)
        parts = {"numeric": self.numeric, "categorical": self.categorical, "ignore": self.ignore}
        seen = {self.target: "target"}
        for field, names in parts.items():
            for name in names:
                if name in seen:
                    yield Fault(field, f"columns that {seen[name]} does not name", show(name))
                seen[name] = field
        if self.split.column == self.target:
            yield Fault("split.column", "a column beside the target", show(self.target))
        if self.leaks.near is not None:
            found = f"{self.leaks.near:g}"
            yield Fault("leaks.near", "null, as near rows are not sought in a table", found)

    def sources(self) -> Sequence[Path]:
        """The files of the table, or of an SQLite database."""
        return self.query.sources() if self.query else table_sources.paths(self.files)

    def fingerprint(self) -> str:
        """A digest of the rows of a database whose files are not ours to see; else ""."""
        return self.query.fingerprint() if self.query else ""

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write the encoded rows of each split; raises DataError with the faults of all columns."""
        self._refuse_numbers(task)
        table = table_sources.read(self.files, self.query, self.missing)
        sieve = Sieve(frozenset(self.keep))
        kept = roles.readable(table, self, task, sieve)
        before = profile.of_columns(kept.rows)
        kept, dealt, leaking = self._dealt(kept, sieve, seed)
        transform = folder / "transform"
        transform.mkdir()
        train, fitted = self._fitted(kept.rows, dealt["train"], seed=seed, transform=transform)
        write_json(transform / "columns.json", fitted.dump())
        facts: dict[str, Any] = {"leaks": leaking}
        facts["columns"] = {"before": before, "after": profile.of_columns(train)}
        if sieve.columns:
            facts["removed_columns"] = sieve.columns
        if sieve.suspects:
            facts["suspects"] = sieve.suspects
        encoded = columns.encode(fitted, train)
        real = len(encoded.targets)
        if self.smote:
            encoded, facts["added"] = columns.enlarged(fitted, encoded, self.smote, seed=seed)
        arrays.write_arrays(folder / "train", encoded._asdict())
        self._write_pool(folder, kept, dealt, made=len(encoded.targets) - real)
        for split in SPLITS[1:]:
            raw = kept.rows[dealt[split]]
            rows = self._featured(raw, fitted, transform) if raw.height else train[:0]
            arrays.write_arrays(folder / split, columns.encode(fitted, rows)._asdict())
            raw_rows.write(folder / split, table, kept.ids[dealt[split]])
        labels = fitted.target.labels
        signature = Signature(
            inputs=fitted.inputs(), outputs=len(labels) or 1, labels=labels or (self.target,)
        )
        sizes = {split: len(places) for split, places in dealt.items()}
        sieve.ledger.write_removed(folder)
        arrays.describe(folder, signature, report(sieve.ledger, splits=sizes, **facts))

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
        split, names = self._encoded(fitted, transform, frame.read([file], self.missing), file)
        return split.batch(np.arange(len(split))), names

    def intake(self, transform: Path) -> intake.Intake:
        """Rows as mappings of columns; those that the recipe passes over may be there too."""
        import polars as pl

        fitted = load(transform)
        columns_asked = intake.asked(fitted)
        schema = {c.name: pl.Float64 if c.number else pl.String for c in columns_asked}
        others = (self.split.column,) if self.split.column else ()
        unused, missing = frozenset((self.target, *self.ignore, *others)), frozenset(self.missing)

        def read(given: Mapping[str, object]) -> dict[str, float | str | None]:
            return intake.row(given, columns_asked, unused=unused, missing=missing)

        def batch(rows: Sequence[Mapping[str, float | str | None]]) -> Batch:
            made = self._featured(pl.DataFrame(rows, schema), fitted, transform)
            encoded = columns.encode(fitted, made)
            split = arrays.Rows((encoded.numbers, encoded.categories), encoded.targets)
            return split.batch(np.arange(len(rows)))

        return intake.Intake("rows", read, batch, columns_asked)

    def labelled(self, transform: Path, file: Path) -> Labelled:
        """The rows of a file, each with its target."""
        fitted = load(transform)
        table = frame.read([file], self.missing)
        target = fitted.target
        refuse(frame.absent([target.name], table, f"{file}: target"))
        split, names = self._encoded(fitted, transform, table, file)
        refuse(columns.faults_of_targets(target, table))
        return Labelled(split, names, raw_rows.columns(table.rows))

    def raw_columns(self, folder: Path, split: str) -> Mapping[str, np.ndarray]:
        """All columns of the held-out rows, those that are not used too."""
        return raw_rows.read(arrays.split_folder(folder, split))

    def interface(self, transform: Path) -> dict[str, Any]:
        """A row, column by column; what features make of it is not told."""
        told = {} if self.features else columns.interface(load(transform))
        return {**told, "missing": self.missing} if told else told

    def _encoded(
        self, fitted: columns.Fitted, transform: Path, table: frame.Frame, file: Path
    ) -> tuple[arrays.Rows, list[str]]:
        """The rows of a table that was read, and a name for each."""
        numbers = [read.name for read in fitted.reads if read.number]
        texts = [read.name for read in fitted.reads if not read.number]
        faults = frame.absent([*numbers, *texts], table, str(file))
        target = fitted.target.name
        if target in table.rows.columns:
            (texts if fitted.target.labels else numbers).append(target)
        rows = roles.converted(table, roles.Roles(tuple(numbers), tuple(texts)), faults)
        made = self._featured(rows, fitted, transform)
        encoded = columns.encode(fitted, made)
        names = [f"{file.name} row {number + 1}" for number in range(rows.height)]
        return arrays.Rows((encoded.numbers, encoded.categories), encoded.targets), names

    def in_units(self, transform: Path, values: np.ndarray) -> np.ndarray:
        """Standardized targets or predictions in the unit of the target column."""
        target = load(transform).target
        return values * target.scale + target.mean

    def _refuse_numbers(self, task: str) -> None:
        """Raises DataError where a number is to be predicted by what is made for classes."""
        asks = {"data.smote": self.smote is not None, "data.split.stratify": self.split.stratify}
        named = [name for name, asked in asks.items() if asked and task != "classification"]
        refuse(f"{name}: expected the task classification, found {task}" for name in named)

    def _dealt(
        self, kept: Kept, sieve: Sieve, seed: int
    ) -> tuple[Kept, dict[str, np.ndarray], dict[str, Any]]:
        """The clean rows, their positions in each split, and what leaks between these."""
        if self.duplicates == "remove":
            kept = sieve.first_of_each(kept)
        everywhere = (step for step in self.clean if step.scope == "all")
        kept, _ = sieve.through(everywhere, kept, target=self.target, seed=seed)
        prints = frame.row_prints(kept.rows)
        classes = _classes(kept.rows[self.target])
        dealt = deal(prints, self.split, seed=seed, what="rows", keys=kept.keys, classes=classes)
        training = (step for step in self.clean if step.scope == "train")
        ids = kept.ids.to_list()
        dealt["train"] = left_out(dealt["train"], ids, self.without, sieve.ledger)
        train, places = sieve.through(
            training, kept.at(dealt["train"]), target=self.target, seed=seed
        )
        dealt["train"] = dealt["train"][places]
        gone = [name for name in kept.rows.columns if name not in train.rows.columns]
        if not len(places) or train.rows.width < 2:
            found = f"{len(places)} rows and {train.rows.width - 1} columns"
            raise DataError(
                f"data.clean: expected training rows and columns to be left, found {found}"
            )
        leaking = leaks.find(prints, dealt, self.split, ids=ids, keys=kept.keys)
        leaks.refuse_leaks(leaking, self.leaks)
        return kept.without(gone), dealt, leaking

    def _write_pool(
        self, folder: Path, kept: Kept, dealt: dict[str, np.ndarray], *, made: int
    ) -> None:
        """Write where each clean row went; `made` are those of SMOTE."""
        groups = kept.keys if self.split.by == "group" else None
        classes = _classes(kept.rows[self.target])
        names = kept.ids.to_list()
        pool.write(folder, dealt, names, classes=classes, groups=groups, made=made)

    def _fitted(
        self, rows: pl.DataFrame, places: np.ndarray, *, seed: int, transform: Path
    ) -> tuple[pl.DataFrame, columns.Fitted]:
        """The training rows after all features, and what they teach."""
        raw = rows[places].drop(self.target)
        target = rows[places][self.target]
        reads = tuple(columns.Read(name=c.name, number=c.dtype.is_numeric()) for c in raw)
        train = chain.fit(self.features, raw, target, seed=seed, folder=transform)
        numbers, categories, faults = columns.fit(train, self.normalize, self.min_count)
        known, found = columns.fit_target(target, rows[self.target])
        refuse([*faults, *found])
        whole = columns.Fitted(reads=reads, numbers=numbers, categories=categories, target=known)
        return train.with_columns(target), whole

    def _featured(
        self, rows: pl.DataFrame, fitted: columns.Fitted, transform: Path
    ) -> pl.DataFrame:
        """Rows after all features, with the target if they have one."""
        target = [rows[name] for name in rows.columns if name == fitted.target.name]
        raw = rows.select(read.name for read in fitted.reads)
        return chain.apply(self.features, raw, folder=transform).with_columns(*target)


def _classes(target: pl.Series) -> np.ndarray | None:
    """The class of each row; none where a number is to be predicted."""
    return None if target.dtype.is_numeric() else target.to_numpy()


def load(transform: Path) -> columns.Fitted:
    """What was fitted, from a prepared folder's `transform`."""
    return columns.Fitted.parse(read_json(transform / "columns.json"))
