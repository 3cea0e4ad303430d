"""Leaks: what training knows of the samples that are to judge it, counted after the dealing.

Kapoor & Narayanan, 2023, "Leakage and the reproducibility crisis in machine-learning-based
science" (arXiv:2207.07048): duplicates, samples that are not independent, and time that runs back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zafu.data.chance import texts
from zafu.data.contract import SPLITS
from zafu.data.files import refuse
from zafu.data.instants import instants

if TYPE_CHECKING:
    from zafu.data.contract import Leaks, Shares

SHOWN = 5  # pairs of ids
_SAYS = {
    "exact": ("stand in training too", "remove copies by data.duplicates, deal by content"),
    "near": (
        "nearly stand in training",
        "data.duplicates.near={} to remove them, or data.split.by=content to keep them together",
    ),
    "groups": ("have their group in training", "data.split.by=group"),
    "time": ("are older than the newest of training", "data.split.by=time"),
}  # what the counted samples do, and what helps


def find(
    prints: np.ndarray,
    dealt: Mapping[str, np.ndarray],
    shares: Shares,
    *,
    ids: Sequence[str],
    keys: np.ndarray | None = None,
    near: np.ndarray | None = None,
) -> dict[str, dict[str, Any]]:
    """For each held-out split what leaks: `exact`, `near`, `groups` and `time`, as far as looked.

    Each is a count, the share of the split, and up to five pairs of ids: held out, in training.
    `prints` `(n,)` and `ids` are of all samples, `dealt` their positions; `keys` `(n,)` are the
    values of `shares.column`; `near` are near pairs `(k, 2)`, which stand for exact copies of both
    samples too. What is exact is not counted as near again.
    """
    label = np.unique(prints, return_inverse=True)[1]
    looked = {"exact": _first_in(label, dealt["train"])}
    if near is not None:
        looked["near"] = _near_in(label, dealt["train"], near)
        looked["near"][looked["exact"] >= 0] = -1
    if keys is not None and shares.by == "group":
        looked["groups"] = _first_in(np.unique(texts(keys), return_inverse=True)[1], dealt["train"])
    if keys is not None and shares.by == "time":
        looked["time"] = _newer_in(instants(keys, "samples"), dealt["train"])
    return {
        split: {name: _told(known, dealt[split], ids) for name, known in looked.items()}
        for split in SPLITS[1:]
    }


def refuse_leaks(found: Mapping[str, Mapping[str, Any]], limits: Leaks) -> None:
    """Raises DataError that lists every leak above its limit, with examples and what helps."""
    refuse(_faults(found, limits))


def _faults(found: Mapping[str, Mapping[str, Any]], limits: Leaks) -> Iterable[str]:
    most = {
        "exact": limits.exact,
        "near": limits.near,
        "groups": limits.groups,
        "time": limits.time,
    }
    for split, leaks in found.items():
        for name, leak in leaks.items():
            limit = most[name]
            if limit is None or leak["share"] <= limit:
                continue
            does, help_ = _SAYS[name]
            pairs = "; ".join(f"{held} and {known}" for held, known in leak["examples"])
            yield (
                f"data.leaks.{name}: expected at most {limit:.3g} of the {split} split that "
                f"{does}, found {leak['share']:.3g} ({leak['count']:,} samples, such as {pairs}): "
                f"{help_}, or raise data.leaks.{name}"
            )


def _first_in(label: np.ndarray, train: np.ndarray) -> np.ndarray:
    """For each sample the first training sample with its label, `(n,)`; -1 if there is none."""
    first = np.full(int(label.max(initial=-1)) + 1, len(label))
    np.minimum.at(first, label[train], train)
    return np.where(first < len(label), first, -1)[label]


def _near_in(label: np.ndarray, train: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """For each sample the first training sample that is near to it, `(n,)`; -1 if none is."""
    n = len(label)
    known = _first_in(label, train)  # the training sample that stands for each one's copies
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[known[both[:, 1]] >= 0]
    first = np.full(int(label.max(initial=-1)) + 1, n)
    np.minimum.at(first, label[both[:, 0]], known[both[:, 1]])
    return np.where(first < n, first, -1)[label]


def _newer_in(when: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The newest training sample for each older one, `(n,)`; -1 for those at its time or after."""
    newest = train[np.argmax(when[train])]
    return np.where(when < when[newest], newest, -1)


def _told(known: np.ndarray, held: np.ndarray, ids: Sequence[str]) -> dict[str, Any]:
    leaking = held[known[held] >= 0]
    some = leaking[:SHOWN]
    pairs = zip(some.tolist(), known[some].tolist(), strict=True)
    examples = [[ids[i], ids[j]] for i, j in pairs]
    share = len(leaking) / len(held) if len(held) else 0.0
    return {"count": len(leaking), "share": share, "examples": examples}
