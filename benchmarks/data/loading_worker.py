"""What a process of zafu's `processes` loader runs in this benchmark: it opens the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zafu.data.arrays import Rows, read_array
from zafu.loading.contract import Read
from zafu.reading import plain


def rows(folder: Path) -> Rows:
    """The 10,000 rows of 784 numbers with a class each."""
    return Rows((read_array(folder / "x.npy"),), np.asarray(read_array(folder / "y.npy")))


def _again(told: dict[str, Any]) -> Read:
    return plain(rows(Path(told["folder"]))).source.read


if __name__ == "__main__":
    from zafu.loading.runtime.serve import serve

    serve(_again)
