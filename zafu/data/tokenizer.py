"""A byte-level tokenizer by byte-pair encoding, trained on the training split alone.

Sennrich, Haddow & Birch, 2016 (arXiv:1508.07909); over bytes: Radford et al., 2019 (GPT-2), so
that any text can be written. Our pattern cuts text into words without looking ahead, which regular
expression engines match faster than GPT-4's and which compresses code no worse. `tokenizers` does
the work; the same texts give the same file, with any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zafu.errors import Damaged, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|endoftext|>"  # stands before and after each document
END_ID = 0
SMALLEST = 257  # every byte, and END
_PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with the space or sign before it
        r"\p{N}{1,2}",  # numbers by two digits
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # signs, to the end of the line
        r"[\r\n]+[ \t]*",  # line ends with the indentation that follows
        r"[ \t]+",
        r"\s",
    ]
)
_CHUNK = 8 << 20  # characters tokenized at once: bounds memory


def train(texts: Sequence[str], vocab: int) -> Tokenizer:
    """A tokenizer with exactly `vocab` tokens; END has id 0.

    Raises DataError if the texts hold too few pairs of tokens that occur twice.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PATTERN), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    if (size := tokenizer.get_vocab_size()) < vocab:
        raise DataError(
            f"data.vocab: the training text gives only {size} tokens, expected {vocab}: "
            f"set data.vocab to at most {size} or add text"
        )
    return _plain(tokenizer)


def load(transform: Path) -> Tokenizer:
    """The tokenizer of a prepared folder's `transform`; raises Damaged if it cannot be read."""
    from tokenizers import Tokenizer

    path = transform / "tokenizer.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Damaged(f"{path}: expected a tokenizer: {error}") from None
    try:
        return _plain(Tokenizer.from_str(text))
    except Exception as error:  # noqa: BLE001  (the library raises nothing narrower)
        raise Damaged(f"{path}: expected a tokenizer: {error}") from None


def stream(tokenizer: Tokenizer, texts: Iterable[str]) -> np.ndarray:
    """END, then each text's tokens and END; `(tokens,)` uint16.

    So every token of a text, and its end, has another token before it that can predict it.
    """
    parts = [np.array([END_ID], np.uint16)]
    for chunk in _chunks(texts):
        for encoding in tokenizer.encode_batch_fast(chunk, add_special_tokens=False):
            parts.append(np.array([*encoding.ids, END_ID], np.uint16))
    return np.concatenate(parts)


def byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of text each token stands for, `(vocab,)` int64; END stands for none."""
    lengths = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for token, index in tokenizer.get_vocab().items():
        lengths[index] = 0 if index == END_ID else len(token)  # a character of a token is a byte
    return lengths


def hub_config(context: int) -> dict[str, object]:
    """The `tokenizer_config.json` with which `transformers` loads `tokenizer.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """In place: text that happens to spell END is text, not the end of a document."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
