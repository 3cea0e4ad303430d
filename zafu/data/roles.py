"""Roles of a table's columns: which are numbers and which are text, and the rows that fit them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from zafu.data import chain, frame
from zafu.data.files import refuse
from zafu.data.instants import instants
from zafu.data.sift import Kept, Sieve
from zafu.spec import show

if TYPE_CHECKING:
    import polars as pl

    from zafu.clean.contract import RowCleaning
    from zafu.data.contract import Shares
    from zafu.features.contract import Feature


class Wishes(Protocol):
    """What a recipe says of it."""

    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def numeric(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def categorical(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def ignore(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unreadable(self) -> Literal["stop", "drop"]: ...  # noqa: D102
    @property
    def clean(self) -> tuple[RowCleaning, ...]: ...  # noqa: D102
    @property
    def features(self) -> tuple[Feature, ...]: ...  # noqa: D102
    @property
    def split(self) -> Shares: ...  # noqa: D102


class Roles(NamedTuple):
    """The used columns."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]


def told(table: frame.Frame, wishes: Wishes, task: str) -> tuple[Roles, list[str]]:
    """What each used column holds, the target's too, and the faults of all columns."""
    faults = _faults_of_names(table, wishes)
    numbers, texts = list(wishes.numeric), list(wishes.categorical)
    needed = {name for feature in wishes.features for name in feature.needed()}
    known = {wishes.target, *numbers, *texts, *wishes.ignore}
    if wishes.split.column and wishes.split.column not in needed:
        known.add(wishes.split.column)
    for name in table.rows.columns:
        if name in known:
            continue
        column = table.rows[name]
        empty = bool(wishes.clean) and column.null_count() == len(column)  # a step may remove it
        if empty or (column.dtype.is_temporal() and name in needed):
            texts.append(name)
            continue
        number, found = frame.is_number(table, name)
        if number and wishes.unreadable == "drop":
            found = []
        faults += found
        if not found:
            (numbers if number else texts).append(name)
    if not numbers and not texts and not faults:
        faults.append(f"expected columns beside the target {wishes.target!r}, found none")
    (texts if task == "classification" else numbers).append(wishes.target)
    faults += _faults_of_target(table, wishes.target)
    return Roles(tuple(numbers), tuple(texts)), faults


def readable(table: frame.Frame, wishes: Wishes, task: str, sieve: Sieve) -> Kept:
    """The rows that can be read and have a target; raises DataError with the faults of all columns.

    What `wishes.unreadable` drops goes through the sieve, and so do rows without a target.
    """
    roles, faults = told(table, wishes, task)
    ids = table.ids()
    faults += _unknown(sieve.keep, ids)
    split = wishes.split.column if wishes.split.column in table.rows.columns else None
    left = table
    if wishes.unreadable == "drop":
        refuse(faults)
        why = _lacking(frame.unreadable(table, roles.numbers), table, split)
        _refuse_kept(ids, why, sieve.keep)
        used = table.rows.select(
            n for n in table.rows.columns if n in {*roles.numbers, *roles.texts}
        )
        stays = sieve.staying("unreadable", used, ids=ids, why=why)
        left, ids = table._replace(rows=table.rows[stays]), ids[stays]
    elif split and (places := table.rows[split].is_null().arg_true().to_list()):
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        faults.append(
            f"{table.place(places[0])}, column {split!r}: expected a value to split by, found none"
            f"{more}: fill it, or set data.unreadable=drop"
        )
    rows = converted(left, roles, faults)
    keys = left.rows[split].to_numpy() if split else None
    if keys is not None and wishes.split.by == "time":
        keys = instants(keys, "rows")
    kept = Kept(rows, ids, keys)
    why = _none(rows[wishes.target].is_null(), "no target")
    _refuse_kept(ids, why, sieve.keep)
    return kept.at(sieve.staying("no target", rows, ids=ids, why=why))


def converted(table: frame.Frame, roles: Roles, faults: Iterable[str] = ()) -> pl.DataFrame:
    """The used columns in the order of the file; raises DataError with these and their faults."""
    import polars as pl

    listed = list(faults)
    found: dict[str, pl.Series] = {}
    for name in table.rows.columns:
        if name in roles.numbers or name in roles.texts:
            convert = frame.as_numbers if name in roles.numbers else frame.as_text
            found[name], wrong = convert(table, name)
            listed += wrong
    refuse(listed)
    return pl.DataFrame(found)


def _faults_of_names(table: frame.Frame, wishes: Wishes) -> list[str]:
    """A fault for each name that the recipe gives and that is no column."""
    named: dict[str, Sequence[str]] = {
        "target": (wishes.target,),
        "numeric": wishes.numeric,
        "categorical": wishes.categorical,
        "ignore": wishes.ignore,
        "split.column": () if wishes.split.column is None else (wishes.split.column,),
    }
    faults: list[str] = []
    for field, names in named.items():
        faults += frame.absent(names, table, f"data.{field}")
    if wishes.features:  # later ones may need what earlier ones make
        gone = {*wishes.ignore, wishes.target}
        there = [name for name in table.rows.columns if name not in gone]
        faults += chain.absent(wishes.features[0], there, "data.features.0")
    return faults


def _faults_of_target(table: frame.Frame, name: str) -> list[str]:
    if name not in table.rows.columns:
        return []
    different = table.rows[name].drop_nulls().n_unique()
    if different > 1:
        return []
    return [f"column {name!r}: expected a target with different values, found {different}"]


def _unknown(keep: Iterable[str], ids: pl.Series) -> list[str]:
    """A fault for each id that is to be kept and that no row has."""
    import polars as pl

    listed = pl.Series(sorted(keep), dtype=pl.String)
    absent = listed.filter(~listed.is_in(ids.to_list())) if len(listed) else listed
    first = ids[0] if len(ids) else ""
    return [
        f"data.keep: expected the id of a row, such as {first}, found {show(n)}" for n in absent
    ]


def _refuse_kept(ids: pl.Series, why: pl.Series, keep: Iterable[str]) -> None:
    """Raises DataError if a row is to be kept that nothing can be learned from."""
    bad = ids.is_in(list(keep)) & why.is_not_null()
    listed = zip(ids.filter(bad), why.filter(bad), strict=True)
    refuse(
        f"data.keep: expected rows that can be read, found {id_}: {reason}"
        for id_, reason in listed
    )


def _lacking(why: pl.Series, table: frame.Frame, split: str | None) -> pl.Series:
    """The reasons, and another for rows without a value to split by."""
    import polars as pl

    if split is None:
        return why
    none = _none(table.rows[split].is_null(), f"column {split!r}: no value to split by")
    return pl.select(pl.coalesce(why, none)).to_series()


def _none(missing: pl.Series, reason: str) -> pl.Series:
    import polars as pl

    said = pl.when(missing).then(pl.lit(reason)).otherwise(None)
    return pl.select(said.cast(pl.String).alias("reasons")).to_series()
