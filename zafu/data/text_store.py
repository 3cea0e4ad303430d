"""The store of a text: what is known of all documents, their splits, and the arrays of each split.

```
train/ validation/ test/
  tokens.npy            the tokens of all windows
  starts.npy sizes.npy  where each window begins; its bytes, targets and first target
  text.npy ends.npy     the documents as they were tokenized, and where each ends
train/portions.json     windows and weight of each source, where sources have weights
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zafu.artifact import write_json
from zafu.data import arrays, packing
from zafu.data.contract import SPLITS
from zafu.data.text_pieces import cleaned
from zafu.data.windows import PORTIONS, Windows
from zafu.errors import DataError
from zafu.tokenizers.contract import Encoder

if TYPE_CHECKING:
    import polars as pl

QUANTILES = np.linspace(0, 1, 11)


class Known(NamedTuple):
    """What is known of every document that cleaning left, in order, beside its text."""

    prints: np.ndarray  # (documents,) uint64
    lengths: np.ndarray  # (documents,) bytes
    sketches: np.ndarray | None  # (documents, hashes)
    ends: np.ndarray  # (pieces,) documents up to the end of each piece

    @classmethod
    def gathered(cls, pieces: Sequence[Path]) -> Known:
        """What cleaned pieces tell."""
        prints = [arrays.read_array(piece / "prints.npy") for piece in pieces]
        lengths = [arrays.read_array(piece / "lengths.npy") for piece in pieces]
        sketches = [arrays.read_array(p) for x in pieces if (p := x / "sketches.npy").is_file()]
        ends = np.cumsum([len(found) for found in prints])
        together = np.concatenate(sketches) if sketches else None
        return cls(np.concatenate(prints), np.concatenate(lengths), together, ends)

    def of_piece(self, place: int) -> slice:
        """Which documents a piece holds."""
        return slice(int(self.ends[place - 1]) if place else 0, int(self.ends[place]))


def column(pieces: Sequence[Path], name: str) -> pl.Series:
    """A column of all documents, `(documents,)` String: id or key."""
    import polars as pl

    found = [frame[name] for piece in pieces for frame in cleaned(piece, [name])]
    return pl.concat(found) if found else pl.Series(name, [], pl.String)


def chosen(pieces: Sequence[Path], wanted: np.ndarray) -> Iterator[str]:
    """The texts of the documents where `wanted` `(documents,)` is true, in order."""
    begin = 0
    for piece in pieces:
        for frame in cleaned(piece, ["text"]):
            yield from frame["text"].filter(wanted[begin : begin + len(frame)])
            begin += len(frame)


def write(
    folder: Path,
    groups: Sequence[Sequence[Path]],
    *,
    encoder: Encoder,
    context: int,
    packed: str,
    weights: Sequence[float],
) -> dict[str, Any]:
    """Write the arrays of each split from tokenized pieces; what a report says of the tokens.

    Each group of pieces with its weight becomes a portion of the training split.
    """
    said: dict[str, Any] = {}
    lengths = encoder.byte_lengths()
    for split in SPLITS:
        together = [piece / split for group in groups for piece in group]
        own = [[piece / split for piece in group] for group in groups]
        portions = own if weights and split == "train" else [together]
        with TemporaryDirectory(dir=folder) as scratch:
            rows = [
                _row(Path(scratch) / f"{i}.npy", p, encoder.end) for i, p in enumerate(portions)
            ]
            laid = [
                _laid(row, found, context=context, packed=packed)
                for row, found in zip(rows, portions, strict=True)
            ]
            if split == "train" and packed == "stream":
                laid = [_whole(x, context) for x in laid]
            _write_windows(folder / split, laid, lengths, context)
        _write_raw(folder / split, together)
        if split == "train" and weights:
            counts = [len(x.placed.starts) for x in laid]
            said_of = [{"samples": n, "weight": w} for n, w in zip(counts, weights, strict=True)]
            write_json(folder / split / PORTIONS, said_of)
        said[split] = _said(together, laid, lengths, context)
    return said


def windows(tokens: np.ndarray, lengths: np.ndarray, context: int) -> Windows:
    """The windows of a row of tokens that begins with END, in memory."""
    tokens, placed, _ = _padded(tokens, context)
    sizes = packing.sizes(tokens, placed, lengths, context)
    return Windows(tokens, placed.starts, sizes, context=context)


def documents(folder: Path, split: str) -> Iterator[bytes]:
    """The documents of a split, as they were tokenized, in order."""
    stored = arrays.split_folder(folder, split)
    text = arrays.read_array(stored / "text.npy")
    start = 0
    for end in arrays.read_array(stored / "ends.npy").tolist():
        yield text[start:end].tobytes()
        start = end


class Laid(NamedTuple):
    """A row of tokens and the windows in it."""

    tokens: np.ndarray
    placed: packing.Placed
    cut: int  # documents that do not stand whole in a window


def _row(path: Path, pieces: Sequence[Path], end: int) -> np.ndarray:
    """END, then the documents of these pieces, each with its END; mapped, so of any length."""
    found = [arrays.read_array(piece / "tokens.npy") for piece in pieces]
    size = 1 + sum(map(len, found))
    row = arrays.new_array(path, (size,), found[0].dtype.type)
    row[0], at = end, 1
    for part in found:
        row[at : at + len(part)] = part
        at += len(part)
    return row


def _laid(row: np.ndarray, pieces: Sequence[Path], *, context: int, packed: str) -> Laid:
    """A row cut into windows, or packed anew beside it."""
    targets = np.concatenate([arrays.read_array(piece / "lengths.npy") for piece in pieces])
    if packed == "stream":
        at = np.cumsum(targets)  # the place of each END, counted in targets
        cut = int(((at - 1) // context != (at - targets) // context).sum())
        return _padded(row, context)._replace(cut=cut)
    if not len(targets):
        return _padded(row, context)
    parts = packing.best_fit(targets, context)
    path = Path(str(row.filename)).with_suffix(".packed.npy")  # pyright: ignore[reportAttributeAccessIssue]
    tokens = arrays.new_array(path, (len(parts) * (context + 1),), row.dtype.type)
    ends = np.cumsum(targets)
    filled = packing.rows(parts, row[1:], ends, context=context, end=int(row[0]))
    for at, one in zip(range(0, len(tokens), context + 1), filled, strict=True):
        tokens[at : at + context + 1] = one
    return Laid(tokens, packing.placed_rows(parts, context), packing.cut_documents(parts))


def _padded(row: np.ndarray, context: int) -> Laid:
    """A stream in windows; before one that is shorter than a window stand more ENDs."""
    targets = len(row) - 1
    short = max(0, context - targets)
    padded = np.concatenate([np.full(short, row[0], row.dtype), row]) if short else row
    placed = packing.stream(len(padded) if targets else 1, context)
    if short:
        placed = packing.Placed(placed.starts, placed.targets - short, placed.first + short)
    return Laid(padded, placed, 0)


def _whole(laid: Laid, context: int) -> Laid:
    """The whole windows of a training stream: what follows the last one is left out."""
    count = int((laid.placed.targets == context).sum())
    if not count:
        raise DataError(
            f"the training split has {len(laid.tokens)} tokens, expected at least {context + 1} "
            "from each source: add text or lower data.context"
        )
    placed = packing.Placed(*(x[:count] for x in laid.placed))
    return Laid(laid.tokens[: count * context + 1], placed, laid.cut)


def _write_windows(stored: Path, laid: Sequence[Laid], lengths: np.ndarray, context: int) -> None:
    """Write the windows of several rows, one after the other."""
    begins = np.cumsum([0, *(len(x.tokens) for x in laid)])
    tokens = arrays.new_array(stored / "tokens.npy", (int(begins[-1]),), laid[0].tokens.dtype.type)
    for begin, x in zip(begins, laid, strict=False):
        tokens[begin : begin + len(x.tokens)] = x.tokens
    starts = [x.placed.starts + begin for begin, x in zip(begins, laid, strict=False)]
    sizes = [packing.sizes(x.tokens, x.placed, lengths, context) for x in laid]
    found = {"starts": np.concatenate(starts), "sizes": np.concatenate(sizes)}
    arrays.write_arrays(stored, found)


def _write_raw(stored: Path, pieces: Sequence[Path]) -> None:
    """Write the documents as they were tokenized, and where each ends."""
    found = [arrays.read_array(piece / "text.npy") for piece in pieces]
    text = arrays.new_array(stored / "text.npy", (sum(map(len, found)),), np.uint8)
    at = 0
    for part in found:
        text[at : at + len(part)] = part
        at += len(part)
    lengths = [arrays.read_array(piece / "bytes.npy") for piece in pieces]
    arrays.write_arrays(stored, {"ends": np.cumsum(np.concatenate(lengths))})


def _said(
    pieces: Sequence[Path], laid: Sequence[Laid], lengths: np.ndarray, context: int
) -> dict[str, Any]:
    """Tokens, bytes a token (fertility) and how windows are filled, of a split."""
    counts = np.concatenate([arrays.read_array(piece / "lengths.npy") for piece in pieces])
    size = sum(int(arrays.read_array(piece / "bytes.npy").sum()) for piece in pieces)
    spelled = sum(int(lengths[arrays.read_array(piece / "tokens.npy")].sum()) for piece in pieces)
    if spelled != size:
        raise DataError(
            f"data.tokenizer: expected tokens that spell the text byte by byte, found {spelled} "
            f"bytes for {size}: use another tokenizer"
        )
    tokens = int(counts.sum()) - len(counts)  # without ENDs
    slots = sum(len(x.placed.starts) for x in laid) * context
    filled = sum(int(x.placed.targets.sum()) for x in laid)
    quantiles = np.quantile(counts - 1, QUANTILES).round().tolist() if len(counts) else []
    return {
        "documents": len(counts),
        "bytes": size,
        "tokens": tokens,
        "bytes_per_token": size / tokens if tokens else None,
        "tokens_per_document": quantiles,
        "padding": 1 - filled / slots if slots else 0.0,
        "cut": sum(x.cut for x in laid),
    }
