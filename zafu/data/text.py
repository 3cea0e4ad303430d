"""Text: documents become one stream of tokens, read in windows, to predict each next token.

Documents are dealt to splits whole and by content; exact copies are dropped first. The windows of
held-out text predict every byte exactly once, as bits per byte need (Gao et al., 2020,
arXiv:2101.00027), with the end of each document as a token that stands for no byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.artifact import write_json
from zafu.batch import Batch
from zafu.data import arrays, tokenizer
from zafu.data.contract import SPLITS, Data
from zafu.data.deal import deal
from zafu.data.files import find, refuse
from zafu.data.windows import Windows
from zafu.errors import DataError
from zafu.hashing import fingerprints
from zafu.signature import Signature, Tokens
from zafu.work import Work


@final
class Text(Data):
    """Files of UTF-8 text for language models."""

    kind: Literal["text"] = "text"
    gives: ClassVar[str] = "tokens"
    tasks: ClassVar[frozenset[str]] = frozenset({"language-modeling"})
    files: tuple[str, ...] = Field(default=("stdlib:*.py",), min_length=1)
    """Globs of text files; after `stdlib:` below Python's own standard library."""
    delimiter: str = ""
    """Text between the documents of a file; empty: each file is one document."""
    vocab: int = Field(default=2048, ge=tokenizer.SMALLEST, le=65536)
    """Tokens of the vocabulary, 257 (bytes alone) to 65536."""
    context: int = Field(default=256, ge=1)
    """Tokens of a window, 1 or more."""

    def foreseen(self, task: str) -> Signature:
        """The whole signature: preparation gives this one or fails."""
        return Signature(inputs=Tokens(vocab=self.vocab, context=self.context), outputs=self.vocab)

    def sources(self) -> Sequence[Path]:
        """The text files."""
        return [path for _, path in find(self.files)]

    def samples_foreseen(self, files: Sequence[Path]) -> int | None:
        """As many documents as files, unless a delimiter cuts these."""
        return None if self.delimiter else len(files)

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write tokens and raw text of each split; raises DataError that names file and byte."""
        came, dropped, kept = self._documents()
        raw = [document.encode() for document in kept]
        dealt = deal(fingerprints(raw), self.split, seed=seed, what="documents")
        bpe = tokenizer.train([kept[i] for i in dealt["train"]], self.vocab)
        transform = folder / "transform"
        transform.mkdir()
        write_json(transform / "tokenizer_config.json", tokenizer.hub_config(self.context))
        (transform / "tokenizer.json").write_text(bpe.to_str(pretty=True), encoding="utf-8")
        lengths = tokenizer.byte_lengths(bpe)
        for split in SPLITS:
            ids = dealt[split]
            tokens = tokenizer.stream(bpe, (kept[i] for i in ids))
            if split == "train":
                tokens = _whole_windows(tokens, self.context)
            arrays.write_arrays(folder / split, _windowed(tokens, lengths, self.context))
            arrays.write_arrays(folder / split, _raw([raw[i] for i in ids]))
        arrays.describe(folder, self.foreseen(task), arrays.report(came, dropped, dealt))

    def open(self, folder: Path, split: str) -> Windows:
        """The windows of a split."""
        stored = arrays.split_folder(folder, split)
        tokens, sizes = (arrays.read_array(stored / f"{n}.npy") for n in ("tokens", "sizes"))
        return Windows(tokens, sizes, self.context)

    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """All windows of a text file, named by the bytes that their targets stand for."""
        bpe = tokenizer.load(transform)
        tokens = tokenizer.stream(bpe, [t for t in _split(_decoded(file), self.delimiter) if t])
        stored = _windowed(tokens, tokenizer.byte_lengths(bpe), self.context)
        windows = Windows(stored["tokens"], stored["sizes"], self.context)
        if not len(windows):
            raise DataError(f"{file}: expected text, found none")
        ends = stored["sizes"][:, 0].cumsum().tolist()
        spans = zip([0, *ends], ends, strict=False)
        names = [f"{file.name} bytes {start}-{end}" for start, end in spans]
        return windows.batch(np.arange(len(windows))), names

    def documents(self, folder: Path) -> Callable[[str], Iterator[bytes]]:
        """A function from a split's name to its raw documents, in order."""
        return partial(_documents_of, folder)

    def _documents(self) -> tuple[int, dict[str, int], list[str]]:
        """How many documents there are, how many were dropped and why, and those kept."""
        found, faults = [], []
        for _, path in find(self.files):
            try:
                found.extend(_split(_decoded(path), self.delimiter))
            except DataError as error:
                faults.append(str(error))
        refuse(faults)
        full = [document for document in found if document]
        kept = list(dict.fromkeys(full))
        dropped = {"empty": len(found) - len(full), "duplicate": len(full) - len(kept)}
        return len(found), dropped, kept


def _whole_windows(tokens: np.ndarray, context: int) -> np.ndarray:
    """The tokens without those after the last whole window: training leaves them out."""
    count = (len(tokens) - 1) // context
    if not count:
        raise DataError(
            f"the training split has {len(tokens)} tokens, expected at least {context + 1}: "
            "add text or lower data.context"
        )
    return tokens[: count * context + 1]


def _windowed(tokens: np.ndarray, lengths: np.ndarray, context: int) -> dict[str, np.ndarray]:
    """Windows in which every token but the first END is a target that counts exactly once.

    Before a text that is shorter than a window stand more ENDs.
    """
    targets = tokens[1:]
    starts = np.arange(0, len(targets), context)
    sizes = np.zeros((len(starts), 2), np.int64)
    if len(starts):
        sizes[:, 0] = np.add.reduceat(lengths[targets], starts)
        sizes[:, 1] = np.minimum(context, len(targets) - starts)
    padding = np.full(max(0, context - len(targets)), tokenizer.END_ID, np.uint16)
    return {"tokens": np.concatenate([padding, tokens]), "sizes": sizes}


def _documents_of(folder: Path, split: str) -> Iterator[bytes]:
    stored = arrays.split_folder(folder, split)
    text = arrays.read_array(stored / "text.npy")
    start = 0
    for end in arrays.read_array(stored / "ends.npy").tolist():
        yield text[start:end].tobytes()
        start = end


def _raw(raw: list[bytes]) -> dict[str, np.ndarray]:
    ends = np.cumsum([len(document) for document in raw], dtype=np.int64)
    return {"text": np.frombuffer(b"".join(raw), np.uint8), "ends": ends}


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        found = content[error.start : error.end].hex(" ")
        raise DataError(
            f"{path}: expected UTF-8, found {found} at byte {error.start} ({error.reason})"
        ) from None


def _split(text: str, delimiter: str) -> Iterable[str]:
    return text.split(delimiter) if delimiter else (text,)
