"""Windows: a split of tokens, read by position to predict each next token."""

from __future__ import annotations

from typing import final

import numpy as np

from zafu.batch import Batch, Portion


@final
class Windows:
    """A stream of tokens in windows of `context` inputs, with the token after each as target.

    The last window may overlap the one before it: targets that were predicted there are -100,
    which losses pass over. `sizes` `(windows, 2)` are the bytes and targets that count in each.
    """

    portions: tuple[Portion, ...] = ()

    def __init__(self, tokens: np.ndarray, sizes: np.ndarray, context: int) -> None:
        self._sizes, self._context = sizes, context
        self._last = len(tokens) - 1 - context  # where the last window begins
        self._seen = context - int(sizes[-1, 1]) if len(sizes) else 0
        self._tokens = np.ascontiguousarray(tokens)
        # each window as one item of bytes: gathered with half the effort of its tokens
        item, step = f"V{tokens.itemsize * (context + 1)}", tokens.itemsize * context
        whole = max(0, (len(tokens) - 1) // context)  # windows before one that overlaps
        self._windows = np.ndarray((whole,), item, self._tokens, 0, (step,))

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._sizes)

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

        tokens = self._gathered(ids)  # (batch, context + 1)
        inputs = torch.from_numpy(tokens[:, :-1].astype(np.int64))  # (batch, context)
        targets = torch.from_numpy(tokens[:, 1:].astype(np.int64))
        if self._seen and (last := np.flatnonzero(ids == len(self) - 1)).size:
            targets[last, : self._seen] = -100
        return Batch((inputs,), targets, ids)

    def _gathered(self, ids: np.ndarray) -> np.ndarray:
        """The tokens of windows, `(batch, context + 1)`; raises IndexError for one not there."""
        last = len(self) - 1
        overlapping = last == len(self._windows) and (ids >= last).any()
        if overlapping and (ids > last).any():
            raise IndexError(f"expected windows 0 to {last}, found {ids}")
        found = self._windows[np.minimum(ids, last - 1) if overlapping else ids]
        tokens = found.view(self._tokens.dtype).reshape(len(ids), self._context + 1)
        if overlapping:
            tokens[ids == last] = self._tokens[self._last :]
        return tokens
