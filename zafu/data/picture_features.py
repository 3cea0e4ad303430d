"""Features of pictures as the columns of a table: fitted on training pictures, then z-scored.

```
transform/features.json          names of what was fitted; mean and deviation of each number
transform/features/I-NAME.npy    what feature I was fitted to
train/ validation/ test/         numbers.npy, categories.npy (none), targets.npy
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from zafu.artifact import read_json, write_json
from zafu.batch import Batch
from zafu.data import arrays
from zafu.data.contract import SPLITS
from zafu.data.files import refuse
from zafu.features.contract import PictureFeature, State
from zafu.signature import Columns, Signature
from zafu.spec import Spec

_AT_ONCE = 256  # pictures whose features are made at once: bounds memory


class Fitted(Spec):
    """What was fitted beside the features' own arrays: `transform/features.json`."""

    arrays: tuple[tuple[str, ...], ...]
    """For each feature the names of its arrays."""
    mean: tuple[float, ...]
    """Mean of each number on the training pictures."""
    std: tuple[float, ...]
    """Its standard deviation, 1 where it is constant."""


@final
class _Maker:
    """Features with what they were fitted to."""

    def __init__(self, features: Sequence[PictureFeature], states: Sequence[State]) -> None:
        self._pairs = list(zip(features, states, strict=True))

    def raw(self, pictures: np.ndarray) -> np.ndarray:
        """All numbers `(n, k)` float32 of pictures `(n, channels, height, width)` uint8."""
        rows = [
            np.concatenate(
                [f.apply(state, pictures[i : i + _AT_ONCE]) for f, state in self._pairs], axis=1
            )
            for i in range(0, max(1, len(pictures)), _AT_ONCE)
        ]
        return np.concatenate(rows).astype(np.float32)


def write(
    features: Sequence[PictureFeature],
    stage: Path,
    folder: Path,
    *,
    labels: tuple[str, ...],
    seed: int,
) -> Signature:
    """Fit on `stage/train/pixels.npy` and write the numbers of each split into `folder`.

    Raises DataError where a feature gives what is no number.
    """
    shown = {split: arrays.read_array(stage / split / "pixels.npy") for split in SPLITS}
    states = [feature.fit(shown["train"], seed=seed) for feature in features]
    make = _Maker(features, states)
    numbers = {split: make.raw(pictures) for split, pictures in shown.items()}
    refuse(
        f"data.features: expected numbers, found {np.count_nonzero(~np.isfinite(found))} that are "
        f"infinite or nan in the {split} split"
        for split, found in numbers.items()
        if not np.isfinite(found).all()
    )
    train = numbers["train"].astype(np.float64)
    std = train.std(0)
    fitted = Fitted(
        arrays=tuple(tuple(sorted(state)) for state in states),
        mean=tuple(train.mean(0).tolist()),
        std=tuple(np.where(std > 0, std, 1.0).tolist()),
    )
    _save(folder / "transform", fitted, states)
    for split in SPLITS:
        scaled = _scaled(fitted, numbers[split])
        none = np.empty((len(scaled), 0), np.int64)
        arrays.write_arrays(folder / split, {"numbers": scaled, "categories": none})
    inputs = Columns(numbers=train.shape[1])
    return Signature(inputs=inputs, outputs=len(labels), labels=labels)


def open_split(folder: Path, split: str) -> arrays.Rows:
    """The features of a split."""
    stored = arrays.split_folder(folder, split)
    numbers, categories, targets = (
        arrays.read_array(stored / f"{name}.npy") for name in ("numbers", "categories", "targets")
    )
    return arrays.Rows((numbers, categories), targets)


def unlabelled(features: Sequence[PictureFeature], transform: Path, shown: np.ndarray) -> Batch:
    """The features of new pictures `(n, channels, height, width)` uint8; classes are -100."""
    absent = np.full(len(shown), -100, np.int64)
    return rows(features, transform, shown, absent).batch(np.arange(len(shown)))


def rows(
    features: Sequence[PictureFeature], transform: Path, shown: np.ndarray, targets: np.ndarray
) -> arrays.Rows:
    """The features of new pictures `(n, channels, height, width)` uint8, with their classes."""
    fitted = Fitted.parse(read_json(transform / "features.json"))
    states = [
        {name: arrays.read_array(_place(transform, index, name)) for name in names}
        for index, names in enumerate(fitted.arrays)
    ]
    numbers = _scaled(fitted, _Maker(features, states).raw(shown))
    none = np.empty((len(numbers), 0), np.int64)
    return arrays.Rows((numbers, none), targets)


def _save(transform: Path, fitted: Fitted, states: Sequence[State]) -> None:
    write_json(transform / "features.json", fitted.dump())
    (transform / "features").mkdir()
    for index, state in enumerate(states):
        for name, array in state.items():
            np.save(_place(transform, index, name), array, allow_pickle=False)


def _place(transform: Path, index: int, name: str) -> Path:
    return transform / "features" / f"{index}-{name}.npy"


def _scaled(fitted: Fitted, numbers: np.ndarray) -> np.ndarray:
    mean, std = np.array(fitted.mean), np.array(fitted.std)
    return ((numbers - mean) / std).astype(np.float32)
