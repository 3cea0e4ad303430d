"""The splits of pictures: what the pieces wrote is dealt out and copied, a block at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zafu.data import arrays, decode, encoded, picture_pieces, pixels
from zafu.data.duplicates import Found, clusters
from zafu.data.files import refuse
from zafu.data.ledger import REMOVED, Ledger, Removed
from zafu.data.pictures import Store
from zafu.spec import did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from zafu.data.perceptual import NearPictures, PictureDuplicates

DUPLICATES = "duplicates"  # the step after those of the recipe
_BLOCK = 1 << 24  # bytes copied at once
_COUNTED = 4096  # histograms added at once
_SHARES = tuple(i / 10 for i in range(11))  # the quantiles that a report shows


class Gathered(NamedTuple):
    """What all pieces found."""

    folders: tuple[Path, ...]
    starts: np.ndarray  # (pieces + 1,) int64: the place of each piece's first picture
    places: np.ndarray  # (n,) int64, ascending: of the pictures that are left, among all of them
    facts: pl.DataFrame  # of the pictures that are left


def gather(folders: Sequence[Path], ledger: Ledger, *, drop: bool) -> Gathered:
    """The facts of all pieces in order; their ledgers are added to `ledger`.

    Raises DataError with every fault, those of single pictures unless these are to be dropped.
    """
    import polars as pl

    told = [json.loads((folder / "faults.json").read_text(encoding="utf-8")) for folder in folders]
    kinds = ("always",) if drop else ("always", "unreadable")
    refuse(fault for found in told for kind in kinds for fault in found[kind])
    facts = [picture_pieces.facts_of(folder) for folder in folders]
    for folder in folders:
        ledger.add(folder)
    starts = np.cumsum([0, *(found.height for found in facts)], dtype=np.int64)
    together = pl.concat(facts, how="vertical_relaxed")
    return Gathered(tuple(folders), starts, np.arange(together.height), together)


def faults_of_keep(keep: Sequence[str], ids: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """A fault for each id to keep that no picture has, or one that cannot be kept."""
    known = set(ids)
    lost = {name: "" for name in keep if name not in known}
    if not lost:
        return []
    for folder in folders:
        for line in (folder / REMOVED).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["id"] in lost:
                lost[entry["id"]] = f"; it was removed as {entry['reason']}, which stands"
    return [
        f"data.keep: expected ids of readable pictures, found {name!r}"
        f"{why or '; ' + (did_you_mean(name, known) or 'ids are those of removed.jsonl')}"
        for name, why in lost.items()
    ]


def repeated(facts: pl.DataFrame, near: NearPictures | None) -> Found:
    """What repeats what: pictures equal once they are brought to size, and near ones if wanted."""
    same, looks = (facts[name].to_numpy() for name in ("same", "look"))
    return clusters(same, (lambda places: near.pairs(looks[places])) if near else None)


def without(
    gathered: Gathered,
    found: Found,
    duplicates: PictureDuplicates,
    keep: Sequence[str],
    ledger: Ledger,
) -> tuple[Gathered, Found]:
    """The pictures that are not to go as duplicates, and what repeats what among them."""
    facts = gathered.facts
    going = found.twins >= 0
    if not duplicates.exact and duplicates.near is None:
        going &= ~found.exact
    going &= ~facts["id"].is_in(list(keep)).to_numpy()
    ledger.came(DUPLICATES, facts.height)
    ids, labels = facts["id"], facts["label"]
    for place in np.flatnonzero(going).tolist():
        twin = int(found.twins[place])
        reason = "copy" if found.exact[place] else "near copy"
        if labels[place] != labels[twin]:
            reason += " of another class"
        ledger.removed(DUPLICATES, [Removed(ids[place], reason, twin=ids[twin])])
    kept = np.flatnonzero(~going)
    left = gathered._replace(facts=facts[kept], places=gathered.places[kept])
    return left, found.among(kept)


def write(gathered: Gathered, rows: np.ndarray, out: Path, form: decode.Form, store: Store) -> None:
    """Copy the pictures at these positions, ascending, into a split's folder."""
    if store == "encoded":
        with encoded.Writer(out) as writer:
            for folder, own in _by_piece(gathered, rows):
                stored = encoded.Encoded(folder, form)
                for row in own.tolist():
                    content, plain = stored.content(row)
                    writer.add(content, plain=plain)
        return
    target = arrays.new_array(out / "pixels.npy", (len(rows), *form.shape), np.uint8)
    at, block = 0, max(1, _BLOCK // int(np.prod(form.shape)))
    for folder, own in _by_piece(gathered, rows):
        stored = picture_pieces.pixels_of(folder, form)
        for start in range(0, len(own), block):
            some = own[start : start + block]
            target[at : at + len(some)] = stored[some]
            at += len(some)


def histogram(gathered: Gathered, rows: np.ndarray, channels: int) -> np.ndarray:
    """How often each value stands in the pictures at these positions, `(channels, 256)` int64."""
    counts = np.zeros((channels, pixels.LEVELS), np.int64)
    for folder, own in _by_piece(gathered, rows):
        found = picture_pieces.histograms_of(folder, channels)
        for start in range(0, len(own), _COUNTED):
            counts += found[own[start : start + _COUNTED]].sum(0, dtype=np.int64)
    return counts


def sizes(facts: pl.DataFrame) -> dict[str, list[float]]:
    """Eleven quantiles, from the least to the greatest, of the pictures' widths and heights."""
    found = {name: np.quantile(facts[name].to_numpy(), _SHARES) for name in ("width", "height")}
    return {name: quantiles.tolist() for name, quantiles in found.items()}


def classes(
    dealt: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How many pictures of each class are in each split."""
    counts = {
        split: np.bincount(targets[ids], minlength=len(labels)).tolist()
        for split, ids in dealt.items()
    }
    return {
        label: {split: found[index] for split, found in counts.items()}
        for index, label in enumerate(labels)
    }


def thumbnails(gathered: Gathered, rows: np.ndarray, channels: int) -> np.ndarray:
    """Small versions of the pictures at these positions, `(n, channels, 16, 16)` uint8."""
    found = (
        picture_pieces.thumbnails_of(folder, channels)[own]
        for folder, own in _by_piece(gathered, rows)
    )
    return np.concatenate(list(found))


def channels(counts: np.ndarray, fitted: pixels.Fitted) -> dict[str, Any]:
    """Mean and standard deviation of the training pictures' channels, before and after."""
    mean, std = pixels.after(counts, fitted)
    before = {"mean": list(fitted.mean), "std": list(pixels.statistics(counts)[1])}
    return {"before": before, "after": {"mean": mean, "std": std}}


def _by_piece(gathered: Gathered, rows: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
    """The pieces that hold some of these rows, ascending, with the places in each."""
    places = gathered.places[rows]
    cuts = np.searchsorted(places, gathered.starts)
    for index, folder in enumerate(gathered.folders):
        own = places[cuts[index] : cuts[index + 1]]
        if len(own):
            yield folder, own - gathered.starts[index]
