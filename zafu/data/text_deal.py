"""Which documents of a text stay, and in which split: duplicates, splits, leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zafu.data import leaks
from zafu.data.contract import SPLITS, Leaks, Shares
from zafu.data.deal import deal
from zafu.data.duplicates import Duplicates, Found, clusters
from zafu.data.ledger import Ledger, Removed
from zafu.data.text_pieces import NOWHERE
from zafu.data.text_store import Known, chosen, column

if TYPE_CHECKING:
    import polars as pl

STEP = "duplicates"


class Wishes(Protocol):
    """What a recipe says of it."""

    @property
    def duplicates(self) -> Duplicates: ...  # noqa: D102
    @property
    def split(self) -> Shares: ...  # noqa: D102
    @property
    def leaks(self) -> Leaks: ...  # noqa: D102
    @property
    def keep(self) -> tuple[str, ...]: ...  # noqa: D102


def deal_documents(
    wishes: Wishes, texts: Sequence[Path], known: Known, ledger: Ledger, *, seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of each document, `(documents,)` uint8, NOWHERE if it goes; and what leaks."""
    ids = column(texts, "id")
    found = _found(wishes.duplicates, known)
    gone = _gone(wishes, found, ids)
    if wishes.duplicates.exact or wishes.duplicates.near:
        ledger.came(STEP, len(gone))
        ledger.removed(STEP, _removed(texts, found, gone, ids))
    stays = np.flatnonzero(~gone)
    among = found.among(stays)
    keys = column(texts, "key")[stays].to_numpy() if wishes.split.column else None
    prints = known.prints[stays]
    together = among.groups if wishes.split.by in ("content", "group") else None
    dealt = deal(prints, wishes.split, seed=seed, what="documents", keys=keys, clusters=together)
    names = ids[stays].to_list()
    leaking = leaks.find(prints, dealt, wishes.split, ids=names, keys=keys, near=among.pairs)
    leaks.refuse_leaks(leaking, wishes.leaks)
    splits = np.full(len(gone), NOWHERE, np.uint8)
    for place, split in enumerate(SPLITS):
        splits[stays[dealt[split]]] = place
    return splits, {"leaks": leaking}


def sizes(splits: np.ndarray) -> dict[str, int]:
    """How many documents each split has."""
    return {split: int((splits == place).sum()) for place, split in enumerate(SPLITS)}


def _found(wishes: Duplicates, known: Known) -> Found:
    near, sketches = wishes.near, known.sketches
    if near is None or sketches is None:
        return clusters(known.prints)
    return clusters(known.prints, lambda some: near.pairs(sketches[some]))


def _gone(wishes: Wishes, found: Found, ids: pl.Series) -> np.ndarray:
    """Which documents go: repetitions, unless the recipe keeps them."""
    gone = found.twins >= 0
    if not wishes.duplicates.exact and wishes.duplicates.near is None:
        gone[:] = False
    return gone & ~ids.is_in(list(wishes.keep)).to_numpy() if wishes.keep else gone


def _removed(
    texts: Sequence[Path], found: Found, gone: np.ndarray, ids: pl.Series
) -> Iterator[Removed]:
    """The documents that go, each with the one that it repeats."""
    places = np.flatnonzero(gone).tolist()
    for place, text in zip(places, chosen(texts, gone), strict=True):
        twin = ids[int(found.twins[place])]
        if found.exact[place]:
            yield Removed(ids[place], "exact duplicate", twin=twin)
        else:
            yield Removed(ids[place], "near duplicate", text, twin)
