"""What is done to each piece of a text: read and cleaned, then, once all is known, tokenized.

Both are pure functions of their job, so that they may be done anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from zafu.artifact import write_json
from zafu.clean.contract import TextCleaning
from zafu.data import arrays, corpus
from zafu.data.contract import SPLITS
from zafu.data.duplicates import NearDuplicates
from zafu.data.ledger import Ledger, Removed
from zafu.hashing import fingerprints
from zafu.tokenizers.contract import Encoder
from zafu.tokenizers.encoder import FILE, load

if TYPE_CHECKING:
    import polars as pl

NOWHERE = len(SPLITS)  # the split of a document that was removed
_EXAMPLES = 2  # changed documents of a piece that are shown


@dataclass(frozen=True)
class Clean:
    """A piece to read, and the steps that clean it."""

    piece: corpus.Piece
    steps: tuple[TextCleaning, ...]
    near: NearDuplicates | None
    keep: frozenset[str]  # ids that no step may remove
    stop: bool  # whether what cannot be read is a fault, and not merely removed


def clean(job: Clean, folder: Path) -> None:
    """Write the documents that stay, what tells duplicates, the ledger and the faults."""
    ledger, faults = Ledger(), list[str]()
    prints, sketches, lengths = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for index, batch in enumerate(corpus.read(job.piece)):
        if job.stop:
            faults += batch.faults
        ledger.came("read", len(batch.rows) + len(batch.removed))
        ledger.removed("read", batch.removed)
        frame = batch.rows
        for step in job.steps:
            frame = _stepped(step, frame, ledger, job.keep)
        frame = _filled(frame, ledger)
        frame.write_ipc(folder / f"texts-{index:05}.arrow", compression="lz4")
        prints.append(fingerprints(text.encode() for text in frame["text"]))
        lengths.append(frame["text"].str.len_bytes().to_numpy())
        if job.near:
            sketches.append(job.near.sketch(frame["text"]))
    arrays.write_arrays(folder, {"prints": np.concatenate([np.empty(0, np.uint64), *prints])})
    arrays.write_arrays(folder, {"lengths": np.concatenate([np.empty(0, np.uint32), *lengths])})
    if sketches:
        arrays.write_arrays(folder, {"sketches": np.concatenate(sketches)})
    ledger.save(folder)
    write_json(folder / "faults.json", faults)


def cleaned(folder: Path, columns: Sequence[str] = ("id", "text", "key")) -> Iterator[pl.DataFrame]:
    """The documents of a cleaned piece, in order, a frame at a time."""
    import polars as pl

    for path in sorted(folder.glob("texts-*.arrow")):
        yield pl.read_ipc(path, columns=list(columns))


@dataclass(frozen=True)
class Tokenize:
    """A cleaned piece, the split of each of its documents, and the tokenizer's folder."""

    texts: Path
    splits: np.ndarray  # (documents,) uint8: the place in SPLITS, or NOWHERE
    transform: Path


def tokenize(job: Tokenize, folder: Path) -> None:
    """Write tokens and text of each split; after each document stands an END."""
    encoder = _encoder(job.transform, (job.transform / FILE).stat().st_mtime_ns)
    end = [encoder.end]
    tokens, lengths, raw = ([[] for _ in SPLITS] for _ in range(3))
    begin = 0
    for frame in cleaned(job.texts, ("text",)):
        splits = job.splits[begin : begin + len(frame)]
        begin += len(frame)
        for place in range(len(SPLITS)):
            texts = frame["text"].filter(splits == place).to_list()
            found = encoder.encode(texts)
            for text, ids in zip(texts, found, strict=True):
                tokens[place] += [ids, np.array(end, ids.dtype)]
                lengths[place].append(len(ids) + 1)
                raw[place].append(text.encode())
    dtype = encoder.encode([""])[0].dtype
    for place, split in enumerate(SPLITS):
        written = {
            "tokens": np.concatenate([np.empty(0, dtype), *tokens[place]]),
            "lengths": np.array(lengths[place], np.int64),
            "text": np.frombuffer(b"".join(raw[place]), np.uint8),
            "bytes": np.array([len(document) for document in raw[place]], np.int64),
        }
        arrays.write_arrays(folder / split, written)


@lru_cache(maxsize=1)
def _encoder(transform: Path, written: int) -> Encoder:
    """The encoder of a folder, which many pieces share, as it was written then."""
    return load(transform)


def _stepped(
    step: TextCleaning, frame: pl.DataFrame, ledger: Ledger, keep: frozenset[str]
) -> pl.DataFrame:
    """The documents that stay after a step, as it left them."""
    begun = perf_counter()
    texts, reasons = step.clean(frame["text"])
    spared = frame["id"].is_in(list(keep)) if keep else None
    gone = reasons.is_not_null() if spared is None else reasons.is_not_null() & ~spared
    changed = (texts != frame["text"]) & ~gone
    ledger.came(step.kind, len(frame), seconds=perf_counter() - begun)
    if many := int(changed.sum()):
        places = changed.arg_true()[:_EXAMPLES].to_list()
        shown = [_around(frame["id"][i], frame["text"][i], texts[i]) for i in places]
        ledger.changed(step.kind, many, shown)
    out = frame.filter(gone)
    rows = zip(out["id"], reasons.filter(gone), out["text"], strict=True)
    ledger.removed(step.kind, (Removed(*row) for row in rows))
    return frame.with_columns(texts.alias("text")).filter(~gone)


def _filled(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """The documents in which cleaning left anything."""
    import polars as pl

    empty = frame["text"].str.len_bytes() == 0
    if empty.any():
        ledger.removed("read", (Removed(name, "empty") for name in frame.filter(empty)["id"]))
    return frame.filter(~empty).with_columns(pl.col("text"))


def _around(name: str, before: str, after: str) -> tuple[str, str, str]:
    """An id, and both texts from shortly before the place where they begin to differ."""
    place = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    begin = max(0, place - 60)
    return name, before[begin:], after[begin:]
