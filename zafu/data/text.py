"""Text: documents become tokens, read in windows, to predict each next token.

Documents are cleaned and deduplicated, then dealt to splits whole. The windows of held-out text
predict every byte exactly once, as bits per byte need (Gao et al., 2020, arXiv:2101.00027), with
the end of each document as a token that stands for no byte. What is done and in which order:

    read and clean, in pieces -> duplicates -> splits -> leaks -> tokenizer -> tokens -> windows
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.artifact import read_json
from zafu.batch import Batch
from zafu.clean.contract import TextCleaning
from zafu.data import arrays, corpus, text_deal, text_store
from zafu.data.contract import SPLITS, Data, Labelled
from zafu.data.corpus import TextSource
from zafu.data.documents import form_of
from zafu.data.duplicates import Duplicates
from zafu.data.files import find, refuse
from zafu.data.ledger import Ledger, report
from zafu.data.text_pieces import Clean, Tokenize, clean, tokenize
from zafu.data.windows import Windows
from zafu.errors import DataError, Fault
from zafu.signature import Signature, Tokens
from zafu.tokenizers.bpe import BPE
from zafu.tokenizers.contract import Tokenizer
from zafu.tokenizers.encoder import load
from zafu.work import Work


@final
class Text(Data):
    """Documents for language models."""

    kind: Literal["text"] = "text"
    gives: ClassVar[str] = "tokens"
    tasks: ClassVar[frozenset[str]] = frozenset({"language-modeling"})
    files: tuple[str, ...] = ()
    """Globs of one source: text, jsonl, Parquet, Arrow, also .gz, .zst, .tar, .zip; `stdlib:`."""
    delimiter: str = ""
    """Text between the documents of a file of `files`; empty: each file is one document."""
    mixture: tuple[TextSource, ...] = ()
    """Several sources in place of `files`, perhaps with weights."""
    unreadable: Literal["stop", "drop"] = "stop"
    """Whether a document that cannot be read ends the preparation, or is put aside and counted."""
    clean: tuple[TextCleaning, ...] = ()
    """Steps that mend or remove documents, in this order."""
    keep: tuple[str, ...] = ()
    """Ids of documents that no step may remove, as removed.jsonl names them."""
    duplicates: Duplicates = Duplicates()
    """Which repetitions are removed."""
    tokenizer: Tokenizer = BPE()
    """How text becomes tokens; fitted on the training documents."""
    context: int = Field(default=256, ge=1)
    """Tokens of a window, 1 or more."""
    packing: Literal["stream", "best-fit"] = "stream"
    """Whether windows cut documents wherever they end, or hold whole ones and padding."""

    def check(self) -> Iterable[Fault]:
        """One way to name the sources; no stratification without classes."""
        if bool(self.files) == bool(self.mixture):
            found = "both" if self.files else "neither"
            yield Fault("files", "either files or mixture", found, hint='files: ["stdlib:*.py"]')
        if self.delimiter and self.mixture:
            yield Fault("delimiter", "nothing beside mixture", hint="say it in each source")
        if self.split.stratify:
            yield Fault("split.stratify", "false for text, which has no classes", "true")
        weights = [source.weight is not None for source in self.mixture]
        if any(weights) and not all(weights):
            index = weights.index(False)
            yield Fault(f"mixture.{index}.weight", "a weight for each source or for none", "none")

    def foreseen(self, task: str) -> Signature | None:
        """The whole signature: preparation gives this one or fails."""
        try:
            return self._signature()
        except DataError:
            return None  # `sources` says why

    def named(self) -> tuple[TextSource, ...]:
        """The sources, also where `files` names one."""
        return self.mixture or (TextSource(files=self.files, delimiter=self.delimiter),)

    def sources(self) -> Sequence[Path]:
        """The text files, and those that tokenizer and cleaning steps read."""
        self.tokenizer.foreseen()
        found = [path for source in self.named() for _, path in find(source.files)]
        steps = [path for step in self.clean for path in step.sources()]
        return [*found, *self.tokenizer.sources(), *steps]

    def samples_foreseen(self, files: Sequence[Path]) -> int | None:
        """As many documents as files, where each file is one."""
        if self.delimiter or self.mixture:
            return None
        names = [name for name, _ in find(self.files)]
        return len(names) if all(form_of(name) == "plain" for name in names) else None

    def prepare(self, folder: Path, *, task: str, seed: int, work: Work) -> None:
        """Write tokens and raw text of each split; raises DataError that names file and place."""
        sources = self.named()
        pieces = corpus.pieces(sources, column=self.split.column)
        near, keep = self.duplicates.near, frozenset(self.keep)
        stop = self.unreadable == "stop"
        jobs = [Clean(piece, self.clean, near, keep, stop) for piece in pieces]
        texts = work.map("clean", clean, jobs)
        refuse(fault for done in texts for fault in read_json(done / "faults.json"))
        ledger = Ledger()
        for done in texts:
            ledger.add(done)
        known = text_store.Known.gathered(texts)
        splits, facts = text_deal.deal_documents(self, texts, known, ledger, seed=seed)
        transform = folder / "transform"
        transform.mkdir()
        training = text_store.chosen(texts, splits == SPLITS.index("train"))
        self.tokenizer.train(training, transform, context=self.context)
        of_pieces = [splits[known.of_piece(place)] for place in range(len(texts))]
        tokens = work.map(
            "tokenize",
            tokenize,
            [Tokenize(*job, transform) for job in zip(texts, of_pieces, strict=True)],
        )
        groups = [
            [done for done, piece in zip(tokens, pieces, strict=True) if piece.source == index]
            for index in range(len(sources))
        ]
        facts["tokens"] = text_store.write(
            folder,
            groups,
            encoder=load(transform),
            context=self.context,
            packed=self.packing,
            weights=[source.weight for source in sources if source.weight is not None],
        )
        signature = self._signature()
        ledger.write_removed(folder)
        arrays.describe(folder, signature, report(ledger, splits=text_deal.sizes(splits), **facts))

    def open(self, folder: Path, split: str) -> Windows:
        """The windows of a split."""
        return Windows.open(arrays.split_folder(folder, split), self.context)

    def encode(self, transform: Path, file: Path) -> tuple[Batch, list[str]]:
        """All windows of a file's documents, named by the bytes that their targets stand for."""
        windows, names = self._windows(transform, file)
        return windows.batch(np.arange(len(windows))), names

    def labelled(self, transform: Path, file: Path) -> Labelled:
        """All windows of a file's documents: each token is the target of those before it."""
        return Labelled(*self._windows(transform, file))

    def _windows(self, transform: Path, file: Path) -> tuple[Windows, list[str]]:
        """The windows of a file's documents, and a name for each."""
        source = self.named()[0].model_copy(update={"files": (str(file),)})
        batches = [b for piece in corpus.pieces([source]) for b in corpus.read(piece)]
        refuse(fault for batch in batches for fault in batch.faults)
        encoder = load(transform)
        parts = [np.array([encoder.end], np.int64)]
        for batch in batches:
            texts = batch.rows["text"]
            for ids in encoder.encode(texts.filter(texts != "").to_list()):
                parts += [ids.astype(np.int64), parts[0]]
        tokens = np.concatenate(parts)
        if len(tokens) == 1:
            raise DataError(f"{file}: expected text, found none")
        windows = text_store.windows(tokens, encoder.byte_lengths(), self.context)
        ends = windows.bytes_of().cumsum().tolist()
        spans = zip([0, *ends], ends, strict=False)
        return windows, [f"{file.name} bytes {start}-{end}" for start, end in spans]

    def interface(self, transform: Path) -> dict[str, Any]:
        """Text by a tokenizer that is in the folder; a document begins with its end token."""
        file, end = "fitted/tokenizer.json", load(transform).end
        return {"kind": "text", "tokenizer": file, "begin_with": end, "ends_with": end}

    def documents(self, folder: Path) -> Callable[[str], Iterator[bytes]]:
        """A function from a split's name to its raw documents, in order."""
        return partial(text_store.documents, folder)

    def vocabulary(self, transform: Path) -> Sequence[str]:
        """The text of each token."""
        encoder = load(transform)
        return [encoder.decode([token]) for token in range(encoder.size)]

    def _signature(self) -> Signature:
        vocab, end = self.tokenizer.foreseen()
        return Signature(inputs=Tokens(vocab=vocab, context=self.context, end=end), outputs=vocab)
