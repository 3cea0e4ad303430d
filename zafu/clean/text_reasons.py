"""From what each rule says of each document to one reason for each document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zafu.clean.contract import Cleaned

if TYPE_CHECKING:
    import polars as pl


def kept(texts: pl.Series) -> Cleaned:
    """These texts, and no reason why any of them should go."""
    import polars as pl

    return Cleaned(texts, pl.repeat(None, len(texts), dtype=pl.String, eager=True).alias("reason"))


def judged(texts: pl.Series, rules: Sequence[tuple[str, np.ndarray]]) -> Cleaned:
    """The texts with the first rule that each breaks.

    A rule is its name and, `(n,)` bool, which texts break it.
    """
    import polars as pl

    broken = np.full(len(texts), len(rules), np.uint32)
    for index in reversed(range(len(rules))):
        broken[rules[index][1]] = index
    names = pl.Series("reason", [*(name for name, _ in rules), None], dtype=pl.String)
    return Cleaned(texts, names.gather(pl.Series(broken)))


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part / whole as float64, and 0 where there is nothing."""
    return part / np.maximum(whole, 1)
