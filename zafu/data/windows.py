"""Windows: a split of tokens, read by position to predict each next token."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from zafu.artifact import read_json
from zafu.batch import Batch, Portion
from zafu.data import arrays

PORTIONS = "portions.json"  # of the training split, where sources have weights


@final
class Windows:
    """Windows of `context` inputs with the token after each as target, out of one row of tokens.

    Window i begins at `starts[i]`. `sizes` `(windows, 3)` are the bytes and the targets that count
    in each, and the first target that counts; the others, which were predicted in another window or
    are padding, are -100, which losses pass over.
    """

    portions: tuple[Portion, ...] = ()

    def __init__(
        self, tokens: np.ndarray, starts: np.ndarray, sizes: np.ndarray, *, context: int
    ) -> None:
        self._starts, self._sizes, self._context = starts, sizes, context
        self._whole = bool((sizes[:, 1] == context).all())
        self._tokens = np.ascontiguousarray(tokens)
        # each window as one item of bytes: gathered with half the effort of its tokens
        size, item = tokens.itemsize, f"V{tokens.itemsize * (context + 1)}"
        self._regular = bool((starts == np.arange(len(starts)) * context).all())
        shape = (len(starts) if self._regular else max(0, len(tokens) - context),)
        step = size * context if self._regular else size  # else a window at every token
        self._windows = np.ndarray(shape, item, self._tokens, 0, (step,))

    @classmethod
    def open(cls, stored: Path, context: int) -> Windows:
        """The windows that lie in a split's folder."""
        names = ("tokens", "starts", "sizes")
        tokens, starts, sizes = (arrays.read_array(stored / f"{name}.npy") for name in names)
        windows = cls(tokens, starts, sizes, context=context)
        if (stored / PORTIONS).is_file():
            windows.portions = tuple(Portion(**row) for row in read_json(stored / PORTIONS))
        return windows

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._sizes)

    def bytes_of(self) -> np.ndarray:
        """Bytes of text that the targets of each window stand for, `(windows,)` int64."""
        return self._sizes[:, 0]

    def units(self, ids: np.ndarray) -> int:
        """Bytes of text that the targets of these windows stand for."""
        return int(self._sizes[ids, 0].sum())

    def count(self, ids: np.ndarray) -> int:
        """Tokens to predict in these windows."""
        return int(self._sizes[ids, 1].sum())

    def batch(self, ids: np.ndarray) -> Batch:
        """The windows at these positions; nothing is left to finish."""
        return self.raw(ids)

    def finish(self, batch: Batch) -> Batch:
        """The batch as it is."""
        return batch

    def raw(self, ids: np.ndarray) -> Batch:
        """The windows at these positions: inputs and targets `(batch, context)` int64."""
        import torch

        found = self._windows[ids if self._regular else self._starts[ids]]
        # the same bytes seen twice, the second time a token later: widened in one go
        size, shape = self._tokens.itemsize, (2, len(ids), self._context)
        twice = np.ndarray(shape, self._tokens.dtype, found, 0, (size, found.itemsize, size))
        wide = twice.astype(np.int64, order="C")
        inputs, targets = torch.from_numpy(wide[0]), torch.from_numpy(wide[1])  # (batch, context)
        if not self._whole:
            _, count, first = self._sizes[ids].T[:, :, None]
            place = np.arange(self._context)
            targets[torch.from_numpy((place < first) | (place >= first + count))] = -100
        return Batch((inputs,), targets, ids)
