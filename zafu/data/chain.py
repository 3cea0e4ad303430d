"""A chain of features: each is fitted on the training rows that the ones before it leave.

`transform/features/INDEX-KIND/NAME.npy` holds what each learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zafu.data import arrays
from zafu.data.files import refuse
from zafu.errors import Damaged, DataError
from zafu.spec import did_you_mean, show

if TYPE_CHECKING:
    import polars as pl

    from zafu.features.contract import Feature, State

FOLDER = "features"


def fit(
    features: Sequence[Feature], rows: pl.DataFrame, target: pl.Series, *, seed: int, folder: Path
) -> pl.DataFrame:
    """The training rows after all features, whose states are written below `folder`.

    Raises DataError that names the feature and the columns that it lacks.
    """
    for index, feature in enumerate(features):
        where = f"data.features.{index}"
        refuse(absent(feature, rows.columns, where))
        try:
            state = feature.fit(rows, target, seed=seed)
            rows = feature.apply(state, rows)
        except DataError as error:
            raise DataError(f"{where} ({feature.kind}): {error}") from None
        arrays.write_arrays(_place(folder, index, feature), state)
    if target.name in rows.columns:
        text = f"expected features that make no column {target.name!r}, which is the target's name"
        raise DataError(f"data.features: {text}")
    return rows


def apply(features: Sequence[Feature], rows: pl.DataFrame, *, folder: Path) -> pl.DataFrame:
    """Any rows after all features, by the states below `folder`.

    Raises DataError that names the feature whose columns do not suit, Damaged if a state is not
    there.
    """
    for index, feature in enumerate(features):
        try:
            rows = feature.apply(_state(_place(folder, index, feature)), rows)
        except DataError as error:
            raise DataError(f"data.features.{index} ({feature.kind}): {error}") from None
    return rows


def absent(feature: Feature, names: Sequence[str], where: str) -> list[str]:
    """A fault for each column that a feature needs and that is not among `names`."""
    return [
        f"{where} ({feature.kind}): expected a column, found {show(name)}; "
        + (did_you_mean(name, names) or f"the columns are {', '.join(names)}")
        for name in feature.needed()
        if name not in names
    ]


def _place(folder: Path, index: int, feature: Feature) -> Path:
    return folder / FOLDER / f"{index}-{feature.kind}"


def _state(folder: Path) -> State:
    if not folder.is_dir():
        raise Damaged(f"{folder}: expected what a feature learned, found nothing")
    return {file.stem: arrays.read_array(file) for file in sorted(folder.glob("*.npy"))}
