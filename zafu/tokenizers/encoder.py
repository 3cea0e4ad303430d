"""Encoders: a stored tokenizer.json at work, byte for byte.

Tokens spell text byte by byte (Radford et al., 2019), so every text can be written and read back.
A byte-pair vocabulary over our pattern is encoded by tiktoken, about eight times as fast as by
`tokenizers`, with the same tokens; any other by `tokenizers`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from zafu.artifact import read_json, write_json
from zafu.errors import Damaged
from zafu.tokenizers.contract import END, Encoder

if TYPE_CHECKING:
    from tiktoken import Encoding
    from tokenizers import Tokenizer

PATTERN = "|".join(  # without look-ahead: regular expression engines then need no backtracking
    [
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with the space or sign before it
        r"\p{N}{1,2}",  # numbers by two digits
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # signs, to the end of the line
        r"[\r\n]+[ \t]*",  # line ends with the indentation that follows
        r"[ \t]+",
        r"\s",
    ]
)
FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"


def load(transform: Path) -> Encoder:
    """The encoder of a prepared or model folder; raises Damaged if it cannot be read."""
    path = transform / FILE
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        end = str(read_json(transform / CONFIG)["eos_token"])
        if _is_ours(plain):
            return Fast(plain["model"]["vocab"], end)
        return General(_library(json.dumps(plain)), end)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{path}: expected a tokenizer: {error}") from None


def save(tokenizer: Tokenizer, transform: Path, *, context: int, end: str = END) -> None:
    """Write the two files with which `load` here and `transformers` elsewhere read a tokenizer."""
    plain = json.loads(tokenizer.to_str())
    if _is_ours(plain):
        plain["model"]["merges"] = _all_merges(plain["model"]["vocab"])
    text = json.dumps(plain, ensure_ascii=False, indent=1)
    (transform / FILE).write_text(text, encoding="utf-8")
    configure(transform, context=context, end=end)


def configure(transform: Path, *, context: int, end: str) -> None:
    """Write `tokenizer_config.json`."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    write_json(transform / CONFIG, config)


def dtype_of(size: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds every token of a vocabulary."""
    return np.uint16 if size <= 1 << 16 else np.uint32


@final
class Fast:
    """Byte pairs over our pattern, by tiktoken: of all pairs that spell a token, the first merges.

    The merges in the file are all the pairs that spell one, so `tokenizers` does the same.
    """

    def __init__(self, vocab: dict[str, int], end: str) -> None:
        import tiktoken

        byte = byte_of_character()
        self._spelled = {
            index: bytes(byte[c] for c in token) for token, index in vocab.items() if token != end
        }
        self.size, self.end = len(vocab), vocab[end]
        self._encoding: Encoding = tiktoken.Encoding(
            "zafu",
            pat_str=PATTERN,
            mergeable_ranks={spelled: index for index, spelled in self._spelled.items()},
            special_tokens={end: self.end},
        )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text."""
        dtype = dtype_of(self.size)
        return [np.array(self._encoding.encode_ordinary(text), dtype) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell."""
        return b"".join(self._spelled.get(i, b"") for i in tokens).decode(errors="replace")

    def byte_lengths(self) -> np.ndarray:
        """Bytes of text that each token stands for."""
        lengths = np.zeros(self.size, np.int64)
        for index, spelled in self._spelled.items():
            lengths[index] = len(spelled)
        return lengths


@final
class General:
    """Any byte-level tokenizer, by `tokenizers`."""

    def __init__(self, tokenizer: Tokenizer, end: str) -> None:
        self._tokenizer = tokenizer
        self.size = max(tokenizer.get_vocab().values()) + 1  # ids may leave gaps
        index = tokenizer.token_to_id(end)
        if index is None:
            raise ValueError(f"the token {end!r} is not in the vocabulary")
        self.end = index

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype_of(self.size)) for encoding in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    def byte_lengths(self) -> np.ndarray:
        """Bytes of text that each token stands for: a character of a token is a byte."""
        special = self._tokenizer.get_added_tokens_decoder()
        lengths = np.zeros(self.size, np.int64)
        for token, index in self._tokenizer.get_vocab().items():
            lengths[index] = 0 if index in special else len(token)
        return lengths


@lru_cache(maxsize=1)
def byte_of_character() -> dict[str, int]:
    """Which byte each character of a byte-level token stands for, as GPT-2 drew it up.

    Bytes that print stand for themselves; the others follow from U+0100 on.
    """
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in printed)
    return {chr(byte): byte for byte in printed} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


def byte_level() -> Any:
    """A step of `tokenizers` that writes bytes as characters and cuts nothing."""
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def pre_tokenizer() -> Any:
    """The step of `tokenizers` that cuts text by our pattern into words of bytes."""
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    return pre_tokenizers.Sequence([split, byte_level()])


def _library(text: str) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001  (the library raises nothing narrower)
        raise ValueError(str(error)) from None
    tokenizer.encode_special_tokens = True  # text that happens to spell END is text
    return tokenizer


def _is_ours(plain: dict[str, Any]) -> bool:
    """Whether this is a byte-pair vocabulary over our pattern, which tiktoken encodes alike."""
    steps = (plain["pre_tokenizer"] or {}).get("pretokenizers", [])
    cut = [step.get("pattern", {}).get("Regex") for step in steps if step["type"] == "Split"]
    return plain["model"]["type"] == "BPE" and cut == [PATTERN] and plain["normalizer"] is None


def _all_merges(vocab: dict[str, int]) -> list[list[str]]:
    """Every pair of tokens that spells a token, in the order of what they spell."""
    merges: list[list[str]] = []
    for token in sorted(vocab, key=vocab.__getitem__):
        pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = [pair for pair in pairs if pair[0] in vocab and pair[1] in vocab]
        merges += [list(p) for p in sorted(known, key=lambda p: (vocab[p[0]], vocab[p[1]]))]
    return merges
