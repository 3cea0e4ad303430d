"""Byte-pair encoding over bytes, trained on the training documents alone.

Sennrich, Haddow & Birch, 2016 (arXiv:1508.07909); over bytes: Radford et al., 2019 (GPT-2), so
that any text can be written. Our pattern cuts text into words without looking ahead, which regular
expression engines match faster than GPT-4's and which compresses code no worse. `tokenizers` does
the work; the same texts give the same file, with any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, final

from pydantic import Field

from zafu.errors import DataError
from zafu.tokenizers.contract import END, SMALLEST, Tokenizer
from zafu.tokenizers.encoder import pre_tokenizer, save
from zafu.tokenizers.sample import bounded


@final
class BPE(Tokenizer):
    """The pairs that occur most often become tokens."""

    kind: Literal["bpe"] = "bpe"
    vocab: int = Field(default=2048, ge=SMALLEST, le=1 << 20)
    """Tokens of the vocabulary, 257 (bytes alone) to 1,048,576."""
    sample: int = Field(default=1 << 28, ge=1)
    """Most bytes of training text that it learns from, taken evenly from all of it, >= 1."""

    def foreseen(self) -> tuple[int, int]:
        """The whole vocabulary: training gives it or fails. END comes first."""
        return self.vocab, 0

    def train(self, texts: Iterator[str], transform: Path, *, context: int) -> None:
        """Write a tokenizer of exactly `vocab` tokens; END has id 0."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizer()
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab,
            min_frequency=2,
            special_tokens=[END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(bounded(texts, self.sample), trainer)
        require(tokenizer.get_vocab_size(), self.vocab)
        save(tokenizer, transform, context=context)


def require(size: int, wanted: int) -> None:
    """Raise DataError if training found fewer tokens than were wanted."""
    if size < wanted:
        raise DataError(
            f"data.tokenizer.vocab: the training text gives only {size} tokens, expected {wanted}: "
            f"set data.tokenizer.vocab to at most {size} or add text"
        )
