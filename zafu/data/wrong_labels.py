"""Wrong labels, planted in the training split to see what bears them.

Which samples get another class is a function of their id and a seed of its own, so it is the same
for every split, order and weights. Symmetric label noise: Angluin & Laird, 1988.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zafu.artifact import read_json, write_json
from zafu.data import arrays, pool
from zafu.data.contract import WrongLabels
from zafu.hashing import fingerprints, key, mix


def plant(folder: Path, wish: WrongLabels) -> None:
    """In place: give a share of the training samples of a prepared folder one of the other classes.

    Samples that were made up keep theirs. `prepare.json` says how many were changed.
    """
    targets = np.array(arrays.read_array(folder / "train" / "targets.npy"))
    classes = read_json(folder / "signature.json")["outputs"]
    names = pool.named(folder, "train")
    chosen = planted(names, wish) & (np.array(names) != "")
    drawn = mix(_prints(names) ^ key(wish.seed, 1))
    move = 1 + (drawn % np.uint64(max(1, classes - 1))).astype(np.int64)
    moved = np.where(chosen, (targets + move) % classes, targets)
    arrays.write_arrays(folder / "train", {"targets": moved.astype(targets.dtype)})
    told = read_json(folder / "prepare.json")
    write_json(folder / "prepare.json", told | {"wrong_labels": int(chosen.sum())})


def planted(names: list[str], wish: WrongLabels) -> np.ndarray:
    """Whether each of the samples with these ids is one whose label is wrong, `(samples,)`."""
    return mix(_prints(names) ^ key(wish.seed)) / 2.0**64 < wish.share


def _prints(names: list[str]) -> np.ndarray:
    return fingerprints(name.encode() for name in names)
