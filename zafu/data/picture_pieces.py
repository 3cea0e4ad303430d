"""One part of the pictures: each is read, judged, brought to size and written, with what is known.

```
pixels.bin or images.bin    the pictures that stay, as they will be stored
histograms.npy              (pictures, channels, 256) uint32: how often each value stands in each
thumbnails.npy              (pictures, channels, 16, 16) uint8, where labels are looked at
facts.arrow                 a row for each: id, label, value, prints, sizes
faults.json                 what cannot be read: always refused, or as `data.unreadable` says
ledger.json removed.jsonl   what was taken out, and why
```
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

import numpy as np

from zafu.clean.contract import PictureCleaning
from zafu.data import arrays, decode, encoded, pixels
from zafu.data.ledger import Ledger, Removed
from zafu.data.perceptual import phash
from zafu.data.picture_sources import Item, Part
from zafu.data.pictures import Store
from zafu.errors import DataError
from zafu.hashing import fingerprint

if TYPE_CHECKING:
    import polars as pl
    from PIL.Image import Image

READ, LABEL = "unreadable", "label"  # the steps before those of the recipe
SMALL = 16  # pixels of a side that show what is plainly in the wrong class
_SIDE = 128  # pixels of the shorter side that are enough to tell how a picture looks


class Look(NamedTuple):
    """What else is to be known of pictures."""

    near: bool = False  # a perceptual hash, to find those that are nearly equal
    small: bool = False  # a small version, to find those of another class


NOTHING_MORE = Look()


@final
@dataclass(frozen=True)
class Piece:
    """A part, and what is to be done with its pictures."""

    part: Part
    form: decode.Form
    store: Store
    clean: tuple[PictureCleaning, ...] = ()
    keep: frozenset[str] = frozenset()
    """Ids that no step may take out."""
    look: Look = NOTHING_MORE


class Looked(NamedTuple):
    """A picture that can be read."""

    item: Item
    content: bytes
    seen: decode.Seen
    shown: np.ndarray  # (channels, height, width) uint8

    def small(self) -> np.ndarray:
        """The picture in little, `(channels, 16, 16)` uint8."""
        form = decode.Form(len(self.shown), SMALL, SMALL)
        return np.array(decode.pixels(decode.fitted(self.seen.image, form)))

    def facts(self, *, near: bool) -> dict[str, Any]:
        """What the driver must know of it, with a perceptual hash or 0."""
        return {
            "id": self.item.id,
            "label": self.item.label,
            "value": self.item.value,
            "print": fingerprint(self.content),  # equal files
            "same": fingerprint(self.shown.tobytes()),  # equal once they are brought to size
            "look": _look_of(self.seen.image) if near else 0,
            "width": self.seen.image.width,
            "height": self.seen.image.height,
        }


def look(piece: Piece, folder: Path) -> None:
    """Fill a folder with what becomes of a part's pictures."""
    ledger = Ledger()
    facts: list[dict[str, Any]] = []
    counts: list[np.ndarray] = []
    thumbnails: list[np.ndarray] = []
    faults: dict[str, list[str]] = {"unreadable": [], "always": []}
    for step in (READ, LABEL, *(step.kind for step in piece.clean)):
        ledger.came(step, 0)
    with _writer(piece, folder) as write, decode.told_plainly():
        try:
            for item in piece.part.items():
                found = _looked(item, piece.form)
                ledger.came(READ, 1)
                if isinstance(found, str):
                    faults["unreadable"].append(f"{item.where}: {found}")
                    ledger.removed(READ, [Removed(item.id, "unreadable", found)])
                elif _stays(found, piece, ledger):
                    write.add(found)
                    facts.append(found.facts(near=piece.look.near))
                    counts.append(pixels.histogram(found.shown[None]).astype(np.uint32))
                    if piece.look.small:
                        thumbnails.append(found.small())
        except DataError as error:  # the rest of the file is lost
            faults["always"].append(str(error))
    shape = (-1, piece.form.channels, pixels.LEVELS)
    histograms = np.array(counts, np.uint32).reshape(shape)
    arrays.write_arrays(folder, {"histograms": histograms})
    if piece.look.small:
        small = np.array(thumbnails, np.uint8).reshape(-1, piece.form.channels, SMALL, SMALL)
        arrays.write_arrays(folder, {"thumbnails": small})
    _frame(facts).write_ipc(folder / "facts.arrow", compression="uncompressed")
    (folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")
    ledger.save(folder)


def facts_of(folder: Path) -> pl.DataFrame:
    """The facts of a piece, a row for each picture that stays."""
    import polars as pl

    return pl.read_ipc(folder / "facts.arrow")


def _looked(item: Item, form: decode.Form) -> Looked | str:
    def read() -> Looked:
        content = item.read()
        seen = decode.see(content, form)
        shown = np.ascontiguousarray(decode.pixels(decode.fitted(seen.image, form)))
        return Looked(item, content, seen, shown)

    return decode.attempt(read)


def _stays(found: Looked, piece: Piece, ledger: Ledger) -> bool:
    """Whether every step lets a picture stay; the first that does not is noted."""
    name = found.item.id
    ledger.came(LABEL, 1)
    if found.item.label is None:
        ledger.removed(LABEL, [Removed(name, "no class")])
        return False
    if not piece.clean:
        return True
    whole = np.atleast_3d(np.asarray(found.seen.image))  # (height, width, channels)
    for step in piece.clean:
        ledger.came(step.kind, 1)
        reason = step.clean(whole, len(found.content))
        if reason and name not in piece.keep:
            ledger.removed(step.kind, [Removed(name, reason)])
            return False
    return True


def _look_of(image: Image) -> int:
    """The perceptual hash of a whole picture, of which blocks of pixels are averaged first."""
    factor = max(1, min(image.size) // _SIDE)
    return int(phash(np.asarray(image.reduce(factor))[None])[0])


def _frame(facts: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    known = {"id": pl.String, "label": pl.String, "print": pl.UInt64, "same": pl.UInt64}
    known |= {"look": pl.UInt64, "width": pl.Int32, "height": pl.Int32}
    value = pl.Series("value", [row["value"] for row in facts])
    rows = pl.DataFrame(
        [{name: row[name] for name in known} for row in facts], schema=known, orient="row"
    )
    return rows.with_columns(value)


class _Writer(Protocol):
    def add(self, found: Looked) -> None: ...


@final
class _Pixels:
    def __init__(self, folder: Path) -> None:
        self.file = (folder / "pixels.bin").open("wb")

    def add(self, found: Looked) -> None:
        self.file.write(found.shown.data)


@final
class _Files:
    def __init__(self, writer: encoded.Writer) -> None:
        self._writer = writer

    def add(self, found: Looked) -> None:
        self._writer.add(found.content, plain=found.seen.plain)


@contextmanager
def _writer(piece: Piece, folder: Path) -> Generator[_Writer]:
    if piece.store == "encoded":
        with encoded.Writer(folder) as writer:
            yield _Files(writer)
        return
    writer = _Pixels(folder)
    with writer.file:
        yield writer
