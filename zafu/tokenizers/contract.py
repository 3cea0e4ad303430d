"""The contract of tokenizers: trained on the training documents alone, stored as tokenizer.json."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zafu.spec import Family

if TYPE_CHECKING:
    import numpy as np

END = "<|endoftext|>"  # stands before and after each document
SMALLEST = 257  # every byte, and END


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
        """The tokens of each text, `dtype_of(size)`, without END; text that spells END is text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell; a cut character becomes U+FFFD."""
        ...

    def byte_lengths(self) -> np.ndarray:
        """Bytes of text that each token stands for, `(size,)` int64; none for special ones."""
        ...


class Tokenizer(Family):
    """How text becomes tokens."""

    kind: str

    @abstractmethod
    def foreseen(self) -> tuple[int, int]:
        """The number of tokens, END among them, and END's id, known before any text is read.

        Raises DataError where a file that says it cannot be read.
        """

    def sources(self) -> Iterable[Path]:
        """Files that decide what the tokenizer does."""
        return ()

    @abstractmethod
    def train(self, texts: Iterator[str], transform: Path, *, context: int) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into `transform`, which exists.

        Raises DataError if the texts hold too little for the vocabulary.
        """
