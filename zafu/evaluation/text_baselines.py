"""Baselines for language models: what compresses the same held-out text without a network."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import DataError
from zafu.evaluation.contract import Baseline, Documents
from zafu.measure import Measurement, bootstrap

if TYPE_CHECKING:
    from zafu.data.contract import Split
    from zafu.task import Task

END = b"\0"  # ends a document; its cost counts, as a model's end-of-document token does
BLOCK = 1024  # bytes; the unit that is drawn for an interval


@final
class Gzip(Baseline):
    """gzip -9 of the held-out text itself (Deutsch, RFC 1952)."""

    kind: Literal["gzip"] = "gzip"
    tasks: ClassVar[frozenset[str]] = frozenset({"language-modeling"})
    gives: ClassVar[frozenset[str]] = frozenset({"tokens"})
    default: ClassVar[bool] = True

    def measure(
        self,
        task: Task,
        splits: dict[str, Split],
        documents: Documents | None,
    ) -> dict[str, Measurement]:
        """Bits per byte of the compressed test documents, one after the other."""
        texts = list(_reader(documents)("test"))
        size = sum(map(len, texts))
        packed = len(gzip.compress(b"".join(texts), 9, mtime=0))
        bits = 8 * packed / size
        how = "gzip -9 of the whole text at once"
        return {"bits_per_byte": Measurement.exact(bits, n=size, unit="bits/byte", how=how)}


@final
class NGram(Baseline):
    """Bytes predicted from the ones before, all orders interpolated (Witten & Bell, 1991)."""

    kind: Literal["n-gram"] = "n-gram"
    order: int = Field(default=5, ge=1, le=7)
    """Longest sequence that is counted, in bytes, 1 to 7."""
    tasks: ClassVar[frozenset[str]] = frozenset({"language-modeling"})
    gives: ClassVar[frozenset[str]] = frozenset({"tokens"})
    default: ClassVar[bool] = True

    def measure(
        self,
        task: Task,
        splits: dict[str, Split],
        documents: Documents | None,
    ) -> dict[str, Measurement]:
        """Bits per byte of the test documents under counts of the training documents."""
        read = _reader(documents)
        train, test = _joined(read("train")), _joined(read("test"))
        bits = -np.log2(probabilities(train, test, self.order))
        # the cost of the ends is spread over the bytes of text
        text = (test != END[0]).astype(np.float64)
        starts = np.arange(0, len(bits), BLOCK)
        blocks = np.add.reduceat(bits, starts), np.add.reduceat(text, starts)

        def per_byte(bits: np.ndarray, text: np.ndarray) -> float:
            return float(bits.sum() / text.sum())

        found = bootstrap(blocks, per_byte, unit="bits/byte", n=int(text.sum()))
        return {"bits_per_byte": found}


def probabilities(train: np.ndarray, test: np.ndarray, order: int) -> np.ndarray:
    """The probability of each byte of `test` given those before it; both are `(n,)` uint8.

    P_k(b | c) = (count(cb) + kinds(c) P_{k-1}(b | c')) / (count(c) + kinds(c)), where kinds(c) is
    the number of different bytes that followed the context c, c' is c without its first byte, and
    P_0 = 1/256.
    """
    p = np.full(len(test), 1 / 256)
    for length in range(1, order + 1):
        grams, counts = np.unique(_grams(train, length), return_counts=True)
        contexts, first = np.unique(grams >> 8, return_index=True)
        totals = np.add.reduceat(counts, first)
        kinds = np.diff(np.append(first, len(grams)))
        asked = _grams(test, length)
        count = _looked_up(grams, counts, asked)
        total = _looked_up(contexts, totals, asked >> 8)
        kind = _looked_up(contexts, kinds, asked >> 8)
        p = np.where(total > 0, (count + kind * p) / np.maximum(total + kind, 1), p)
    return p


def _grams(text: np.ndarray, length: int) -> np.ndarray:
    """For each byte the number that it makes with the `length - 1` before it; (n,) int64."""
    padded = np.concatenate([np.zeros(length - 1, np.uint8), text])
    grams = np.zeros(len(text), np.int64)
    for offset in range(length):
        grams = (grams << 8) | padded[offset : offset + len(text)]
    return grams


def _looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)


def _reader(documents: Documents | None) -> Documents:
    if documents is None:
        raise DataError("evaluate.baselines: expected data with raw documents, found none")
    return documents


def _joined(documents: Iterator[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(text + END for text in documents), np.uint8)
