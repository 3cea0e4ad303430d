"""Voices: language models that write several texts at once, each text in a slot of its own.

A decoder keeps what it has read (`zafu.nets.decoding`); a model of another runtime may have a
cache for one text; any other computes its window anew for each token, all texts in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from zafu.deploy.bundle import Bundle
from zafu.export.contract import Answers, Speaker
from zafu.nets.decoder import Decoder
from zafu.nets.decoding import Decoding
from zafu.signature import Tokens


class Voices(Protocol):
    """A model with slots; used from one thread."""

    @property
    def slots(self) -> int:
        """Texts that are written at once, at most."""
        ...

    @property
    def context(self) -> int:
        """Tokens of a text, at most."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its logits are."""
        ...

    def read(self, slot: int, tokens: Sequence[int]) -> Tensor:
        """Logits `(vocab,)` of the token behind these, with which the slot begins anew."""
        ...

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits `(slots, vocab)` once one token more is in each slot."""
        ...


def of(bundle: Bundle, slots: int) -> Voices:
    """The voices of a finished language model."""
    inputs = bundle.signature.inputs
    assert isinstance(inputs, Tokens)  # noqa: S101  (the caller looked at the task)
    if isinstance(bundle.module, Decoder):
        return Cached(bundle.module, slots)
    if bundle.speaker:
        return Spoken(bundle.speaker, inputs.context)
    return Recomputed(bundle.answers, inputs.context, slots)


@final
class Cached:
    """A decoder that keeps what each slot has read."""

    def __init__(self, module: Decoder, slots: int) -> None:
        self._decoding = Decoding(module, slots)
        self.device = next(module.parameters()).device
        self.slots, self.context = slots, module.context

    def read(self, slot: int, tokens: Sequence[int]) -> Tensor:
        """Logits `(vocab,)` of the token behind these, with which the slot begins anew."""
        self._decoding.forget(slot)
        return self._decoding.read(slot, torch.tensor(tokens, device=self.device))

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits `(slots, vocab)` once one token more is in each slot."""
        return self._decoding.step(list(slots), torch.tensor(tokens, device=self.device))


@final
class Spoken:
    """A model of another runtime with room for one text."""

    slots, device = 1, torch.device("cpu")

    def __init__(self, speaker: Speaker, context: int) -> None:
        self._speaker, self.context = speaker, min(context, speaker.context)

    def read(self, slot: int, tokens: Sequence[int]) -> Tensor:
        """Logits `(vocab,)` of the token behind these, with which the slot begins anew."""
        self._speaker.forget()
        return torch.from_numpy(self._speaker.read(np.array(tokens, np.int64)))

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits `(1, vocab)` once one token more is there."""
        return torch.from_numpy(self._speaker.read(np.array(tokens, np.int64)))[None]


@final
class Recomputed:
    """A model without a cache: each window is computed anew, all in one batch.

    Windows are filled up on the right, where a causal model does not look.
    """

    device = torch.device("cpu")

    def __init__(self, answers: Answers, context: int, slots: int) -> None:
        self._answers, self.context, self.slots = answers, context, slots
        self._texts: dict[int, list[int]] = {}

    def read(self, slot: int, tokens: Sequence[int]) -> Tensor:
        """Logits `(vocab,)` of the token behind these, with which the slot begins anew."""
        self._texts[slot] = list(tokens)
        return self._next([slot])[0]

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Logits `(slots, vocab)` once one token more is in each slot."""
        for slot, token in zip(slots, tokens, strict=True):
            self._texts[slot].append(token)
        return self._next(slots)

    def _next(self, slots: Sequence[int]) -> Tensor:
        texts = [self._texts[slot] for slot in slots]
        windows = np.zeros((len(texts), max(map(len, texts))), np.int64)
        for window, text in zip(windows, texts, strict=True):
            window[: len(text)] = text
        logits = self._answers(windows)
        last = logits[np.arange(len(texts)), [len(text) - 1 for text in texts]]
        return torch.from_numpy(np.array(last, np.float32))
