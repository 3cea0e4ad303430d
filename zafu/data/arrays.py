"""Arrays of a prepared folder: one `.npy` file an array, mapped into memory when it is read.

```
signature.json    what a model must know
prepare.json      samples in, samples out, and why some were dropped
transform/        what was fitted on the training split and travels with the model
train/ validation/ test/    NAME.npy
```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from zafu.artifact import write_json
from zafu.batch import Batch, Portion
from zafu.data.contract import SPLITS
from zafu.errors import Damaged, DataError

if TYPE_CHECKING:
    from zafu.signature import Signature


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write each array as NAME.npy into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def new_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A stored array of zeros, mapped for writing: it may be larger than memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def read_array(path: Path) -> np.ndarray:
    """A stored array, mapped and read-only; raises Damaged if it cannot be read safely."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"{path}: expected an array of numbers: {error}") from None


def split_folder(folder: Path, split: str) -> Path:
    """Where a split's arrays lie; raises DataError for a name that is no split's."""
    if split not in SPLITS:
        raise DataError(f"expected one of the splits {', '.join(SPLITS)}, found {split!r}")
    return folder / split


def describe(folder: Path, signature: Signature, report: Mapping[str, object]) -> None:
    """Write `signature.json` and `prepare.json` into `folder`."""
    write_json(folder / "signature.json", signature.dump())
    write_json(folder / "prepare.json", report)


def report(
    came: int, dropped: Mapping[str, int], dealt: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """What `prepare.json` says: samples in, dropped by reason, out, and in each split."""
    sizes = {split: len(ids) for split, ids in dealt.items()}
    return {"in": came, "dropped": dict(dropped), "out": sum(sizes.values()), "splits": sizes}


@final
class Rows:
    """A split whose samples are the rows of some arrays."""

    portions: tuple[Portion, ...] = ()

    def __init__(self, inputs: tuple[np.ndarray, ...], targets: np.ndarray) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._targets)

    def units(self, ids: np.ndarray) -> int:
        """Number of these rows."""
        return len(ids)

    def count(self, ids: np.ndarray) -> int:
        """Targets of these rows."""
        return len(ids) * self._targets[:1].size

    def batch(self, ids: np.ndarray) -> Batch:
        """The rows at these positions, `(batch,)` int64; nothing is left to finish."""
        return self.raw(ids)

    def finish(self, batch: Batch) -> Batch:
        """The batch as it is."""
        return batch

    def raw(self, ids: np.ndarray) -> Batch:
        """The rows at these positions, `(batch,)` int64."""
        import torch

        inputs = tuple(torch.from_numpy(x.take(ids, 0)) for x in self._inputs)
        return Batch(inputs, torch.from_numpy(self._targets.take(ids, 0)), ids)
