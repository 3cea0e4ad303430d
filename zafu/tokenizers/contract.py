"""The contract of tokenizers: trained on the training documents alone, stored as tokenizer.json."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from zafu.spec import Family

END = "<|endoftext|>"  # stands before and after each document


class Encoder(Protocol):
    """Text to tokens and back."""

    @property
    def size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def end(self) -> int:
        """The id of the token that stands before and after each document."""
        ...

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text, uint16 or uint32, without END; text that spells END is text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell; a cut character becomes U+FFFD."""
        ...

    def byte_lengths(self) -> np.ndarray:
        """Bytes of text that each token stands for, `(size,)` int64; END stands for none."""
        ...


class Tokenizer(Family):
    """How text becomes tokens."""

    kind: str

    @abstractmethod
    def foreseen(self) -> int:
        """The number of tokens, END among them, known before any text is read."""

    @abstractmethod
    def train(self, texts: Sequence[str], transform: Path, *, context: int) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into `transform`, which exists.

        Raises DataError if the texts hold too little for the vocabulary.
        """
