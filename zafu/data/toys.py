"""Toy tables: the small real ones in scikit-learn's package, in the units in which they were taken.

`sklearn:breast_cancer`, `sklearn:wine`, `sklearn:iris` and `sklearn:digits` have classes,
`sklearn:diabetes` a number in their column `target`.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zafu.errors import DataError, MissingExtra

if TYPE_CHECKING:
    import polars as pl

PREFIX = "sklearn:"
PACKAGE = ("sklearn", "sklearn")  # with its extra
TOYS = {
    "breast_cancer": ("breast_cancer.csv",),
    "diabetes": ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
    "digits": ("digits.csv.gz",),
    "iris": ("iris.csv",),
    "wine": ("wine_data.csv",),
}


def files(name: str) -> list[Path]:
    """The files that hold a toy table; none where scikit-learn is not installed."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "datasets" / "data"
    found = [folder / file for file in TOYS[name]]
    if lacking := [str(file) for file in found if not file.is_file()]:
        raise DataError(f"{', '.join(lacking)}: expected a file of scikit-learn, found none")
    return found


def rows(name: str) -> pl.DataFrame:
    """The features by name, and `target`; raises MissingExtra without scikit-learn."""
    import polars as pl

    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtra("scikit-learn", "sklearn")
    datasets: Any = importlib.import_module("sklearn.datasets")
    match name:
        case "breast_cancer":
            found = datasets.load_breast_cancer()
        case "diabetes":
            found = datasets.load_diabetes(scaled=False)
        case "digits":
            found = datasets.load_digits()
        case "iris":
            found = datasets.load_iris()
        case _:
            found = datasets.load_wine()
    table = pl.DataFrame(found.data, schema=[str(name) for name in found.feature_names])
    if name == "diabetes":
        return table.with_columns(target=pl.Series(found.target))
    labels = [str(found.target_names[place]) for place in found.target]
    return table.with_columns(target=pl.Series(labels))
