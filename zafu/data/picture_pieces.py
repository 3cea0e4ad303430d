"""One part of the pictures: each is read, judged, brought to size and written, with what is known.

```
pixels.bin or images.bin    the pictures that stay, as they will be stored
histograms.bin              (pictures, channels, 256) uint32: how often each value stands in each
thumbnails.bin              (pictures, channels, 16, 16) uint8, where labels are looked at
facts.arrow                 a row for each: id, label, value, prints, sizes
faults.json                 what cannot be read: always refused, or as `data.unreadable` says
ledger.json removed.jsonl   what was taken out, and why
```
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, final

import numpy as np

from zafu.clean.contract import PictureCleaning
from zafu.data import decode, encoded, pixels
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
_ROWS = 4096  # facts that are packed together
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
    """Fill a folder with what becomes of a part's pictures, of which few are in memory at once."""
    ledger = Ledger()
    faults: dict[str, list[str]] = {"unreadable": [], "always": []}
    for step in (READ, LABEL, *(step.kind for step in piece.clean)):
        ledger.came(step, 0)
    with ExitStack() as stack:
        writers = _writers(piece, folder, stack)
        stack.enter_context(decode.told_plainly())
        try:
            for item in piece.part.items():
                found = _looked(item, piece.form)
                ledger.came(READ, 1)
                if isinstance(found, str):
                    faults["unreadable"].append(f"{item.where}: {found}")
                    ledger.removed(READ, [Removed(item.id, "unreadable", found)])
                elif _stays(found, piece, ledger):
                    for write in writers:
                        write(found)
        except DataError as error:  # the rest of the file is lost
            faults["always"].append(str(error))
    (folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")
    ledger.save(folder)


def histograms_of(folder: Path, channels: int) -> np.ndarray:
    """How often each value stands in each picture of a piece, `(n, channels, 256)` uint32."""
    return _mapped(folder / "histograms.bin", np.uint32).reshape(-1, channels, pixels.LEVELS)


def thumbnails_of(folder: Path, channels: int) -> np.ndarray:
    """The pictures of a piece in little, `(n, channels, 16, 16)` uint8."""
    return _mapped(folder / "thumbnails.bin", np.uint8).reshape(-1, channels, SMALL, SMALL)


def pixels_of(folder: Path, form: decode.Form) -> np.ndarray:
    """The pictures of a piece that stores them decoded, `(n, channels, height, width)` uint8."""
    return _mapped(folder / "pixels.bin", np.uint8).reshape(-1, *form.shape)


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


@final
class _Facts:
    """Rows that are written when they are all there, and kept in little until then."""

    def __init__(self, file: Path, *, near: bool) -> None:
        self._file, self._near = file, near
        self._rows: list[dict[str, Any]] = []
        self._frames: list[pl.DataFrame] = []

    def __call__(self, found: Looked) -> None:
        self._rows.append(found.facts(near=self._near))
        if len(self._rows) >= _ROWS:
            self._pack()

    def close(self) -> None:
        import polars as pl

        self._pack()
        together = pl.concat(self._frames, how="vertical_relaxed")
        together.write_ipc(self._file, compression="uncompressed")

    def _pack(self) -> None:
        import polars as pl

        known = {"id": pl.String, "label": pl.String, "print": pl.UInt64, "same": pl.UInt64}
        known |= {"look": pl.UInt64, "width": pl.Int32, "height": pl.Int32}
        rows = [{name: row[name] for name in known} for row in self._rows]
        value = pl.Series("value", [row["value"] for row in self._rows])
        frame = pl.DataFrame(rows, schema=known, orient="row").with_columns(value)
        self._frames.append(frame)
        self._rows = []


def _writers(piece: Piece, folder: Path, stack: ExitStack) -> list[Callable[[Looked], object]]:
    """What is called with each picture that stays; `stack` closes their files."""

    def opened(name: str) -> BinaryIO:
        return stack.enter_context((folder / name).open("wb"))

    facts = _Facts(folder / "facts.arrow", near=piece.look.near)
    stack.callback(facts.close)
    counts = opened("histograms.bin")
    writers: list[Callable[[Looked], object]] = [
        facts,
        lambda found: counts.write(pixels.histogram(found.shown[None]).astype(np.uint32).data),
    ]
    if piece.look.small:
        little = opened("thumbnails.bin")
        writers.append(lambda found: little.write(found.small().data))
    if piece.store == "encoded":
        files = stack.enter_context(encoded.Writer(folder))
        writers.append(lambda found: files.add(found.content, plain=found.seen.plain))
    else:
        shown = opened("pixels.bin")
        writers.append(lambda found: shown.write(found.shown.data))
    return writers


def _mapped(file: Path, dtype: type[np.generic]) -> np.ndarray:
    """What is in a file, mapped and read-only; no numbers of an empty one."""
    return np.memmap(file, dtype, "r") if file.stat().st_size else np.empty(0, dtype)
