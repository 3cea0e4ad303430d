"""PCA: numeric columns as a few that vary most and independently of each other.

Pearson, 1901; Hotelling, 1933. By the exact covariance, a block of rows at a time, as
scikit-learn's PCA with svd_solver="covariance_eigh". A missing number counts as the mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.features import frames, moments
from zafu.features.contract import Feature, State

if TYPE_CHECKING:
    import polars as pl

_ROWS = 16384  # looked at together: bounds memory


@final
class PCA(Feature):
    """Principal components `prefix.0`, `prefix.1` and so on in place of the columns."""

    kind: Literal["pca"] = "pca"
    columns: tuple[str, ...] = ()
    """Numeric columns; none: all of them."""
    components: int | None = Field(default=None, ge=1)
    """Number of components, 1 or more; or set variance."""
    variance: float | None = Field(default=None, gt=0, lt=1)
    """Share of the variance that the components must hold, above 0 and below 1."""
    scale: Literal["z-score", "none"] = "z-score"
    """Whether columns count alike, or each by its own variance in its own unit."""
    prefix: str = Field(default="pca", min_length=1)
    """Beginning of the names of the components."""
    keep: bool = False
    """Whether the columns stay beside the components."""

    def check(self) -> Iterable[Fault]:
        """The number of components is said in one way."""
        if (self.components is None) == (self.variance is None):
            found = "neither" if self.components is None else "both"
            yield Fault("components", "either components or variance", found)

    def needed(self) -> Iterable[str]:
        """The named columns."""
        return self.columns

    def fit(self, rows: pl.DataFrame, target: pl.Series, *, seed: int) -> State:
        """Mean, scale and directions of the columns."""
        names = frames.choose(rows, self.columns, "numbers")
        self._fits(rows, names)
        fills = frames.means(rows, names)
        values = frames.filled(rows, names, fills)
        found = moments.total(_blocks(values))
        deviation = np.sqrt(np.diag(found.scatter) / found.size)
        rounding = 10 * np.finfo(np.float64).eps * np.abs(values).max(1, initial=0.0)
        constant = deviation <= rounding
        scale = np.where((self.scale == "none") | constant, 1.0, deviation)
        if constant.all():
            frames.refuse(["expected columns that vary in training, found none"])
        variances, directions = moments.components(found, scale)
        count = self.components or moments.enough(variances, self.variance or 0)
        frames.foresee(rows, self._gone(names), frames.numbered(self.prefix, count))
        return {
            "columns": frames.texts(names),
            "fills": fills,
            "mean": found.mean,
            "scale": scale,
            "directions": directions[:count],
            "shares": variances[:count] / variances.sum(),
        }

    def apply(self, state: State, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the components; a row's are the same whatever rows are beside it."""
        names, directions = frames.strings(state, "columns"), state["directions"]
        values = frames.filled(rows, names, state["fills"])
        out = np.empty((len(directions), rows.height))
        for start, block in zip(range(0, rows.height, _ROWS), _blocks(values), strict=False):
            scaled = (block - state["mean"]) / state["scale"]
            # einsum, not BLAS, which adds in an order that depends on the number of rows
            out[:, start : start + _ROWS] = np.einsum("nd,kd->kn", scaled, directions)
        made = dict(zip(frames.numbered(self.prefix, len(directions)), out, strict=True))
        return frames.beside(rows, self._gone(names), made)

    def _fits(self, rows: pl.DataFrame, names: tuple[str, ...]) -> None:
        if rows.height < 2:
            frames.refuse([f"expected 2 training rows or more, found {rows.height}"])
        if (self.components or 1) > min(len(names), rows.height):
            frames.refuse(
                [
                    f"expected at most {min(len(names), rows.height)} components of {len(names)} "
                    f"columns in {rows.height:,} rows, found {self.components} (components)"
                ]
            )

    def _gone(self, names: Iterable[str]) -> tuple[str, ...]:
        return () if self.keep else tuple(names)


def _blocks(values: np.ndarray) -> Iterable[np.ndarray]:
    """The rows `(n, d)` of columns `(d, m)`, some at a time."""
    for start in range(0, values.shape[1], _ROWS):
        yield np.ascontiguousarray(values[:, start : start + _ROWS].T)
