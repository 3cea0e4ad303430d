"""The pool: all samples that were dealt, in the order of the source, and where each of them went.

```
pool/names.arrow                 the id of each sample, as removed.jsonl and data.keep name them
pool/classes.npy groups.npy      a number for its class or group, where it has one
train/ids.npy validation/ test/  the place in the pool of each sample of a split; -1: made up
```
The pool is the same for all folds of a recipe, so answers of several are joined by these places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zafu.data import arrays
from zafu.data.folds import codes
from zafu.data.splitters import Known

_FOLDER = "pool"


def write(
    folder: Path,
    dealt: Mapping[str, np.ndarray],
    names: Sequence[str],
    *,
    classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    made: int = 0,
) -> None:
    """Write what is known of the pool; `made` training samples stand after those of the pool."""
    import polars as pl

    more = np.full(made, -1, np.int64)
    for split, places in dealt.items():
        ids = np.concatenate([places, more]) if split == "train" and made else places
        arrays.write_arrays(folder / split, {"ids": ids.astype(np.int64)})
    known = {"classes": classes, "groups": groups}
    found = {name: codes(values) for name, values in known.items() if values is not None}
    arrays.write_arrays(folder / _FOLDER, found)
    table = pl.DataFrame({"id": pl.Series(names, dtype=pl.String)})
    table.write_ipc(folder / _FOLDER / "names.arrow", compression="zstd")


def ids(folder: Path, split: str) -> np.ndarray | None:
    """The place in the pool of each sample of a split, `(samples,)` int64; None for windows."""
    path = arrays.split_folder(folder, split) / "ids.npy"
    return arrays.read_array(path) if path.is_file() else None


def names(folder: Path) -> list[str]:
    """The id of each sample of the pool."""
    import polars as pl

    return pl.read_ipc(folder / _FOLDER / "names.arrow")["id"].to_list()


def named(folder: Path, split: str) -> list[str]:
    """The id of each sample of a split, "" for one that was made up; empty for windows."""
    places = ids(folder, split)
    if places is None:
        return []
    found = names(folder)
    return [found[place] if place >= 0 else "" for place in places.tolist()]


def known(folder: Path) -> Known:
    """What a splitter is told of the pool."""
    paths = {name: folder / _FOLDER / f"{name}.npy" for name in ("classes", "groups")}
    found = {n: arrays.read_array(path) for n, path in paths.items() if path.is_file()}
    return Known(len(names(folder)), found.get("classes"), found.get("groups"))
