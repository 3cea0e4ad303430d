"""Continuing a text: one token after another, drawn from a model's next-token distribution.

Top-k: Fan et al., 2018 (arXiv:1805.04833). Top-p (nucleus): Holtzman et al., 2019
(arXiv:1904.09751). When the window is full, its older half is dropped, so that what is kept of it
is made again only every half window; a model that keeps nothing sees the very same windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor

from zafu.nets.decoder import Decoder
from zafu.nets.decoding import Decoding, Slot


class Windowed(Protocol):
    """A model of token ids that takes at most `context` of them at once."""

    @property
    def context(self) -> int:
        """Most tokens in a window."""
        ...

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits `(batch, time, vocab)` for tokens `(batch, time)`."""
        ...


@runtime_checkable
class Reader(Protocol):
    """A model that keeps what it has read of one text."""

    @property
    def context(self) -> int:
        """Most tokens that it can have read."""
        ...

    def read(self, tokens: Tensor) -> Tensor:
        """Logits `(vocab,)` of the token behind these `(time,)`, which follow those of before."""
        ...

    def forget(self) -> None:
        """What follows begins anew."""
        ...


@final
class Anew:
    """A model that keeps nothing: it computes its window again for each token."""

    def __init__(self, module: Windowed) -> None:
        self._module, self._seen = module, list[Tensor]()

    @property
    def context(self) -> int:
        """Of the model."""
        return self._module.context

    @torch.no_grad()
    def read(self, tokens: Tensor) -> Tensor:
        """As `Reader` says."""
        self._seen.append(tokens)
        return self._module(torch.cat(self._seen)[None])[0, -1]

    def forget(self) -> None:
        """As `Reader` says."""
        self._seen.clear()


def reader(model: Windowed | Reader) -> Reader:
    """The model, with what it needs to write one text."""
    if isinstance(model, Reader):
        return model
    return Slot(Decoding(model), 0) if isinstance(model, Decoder) else Anew(model)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a token is chosen; the limits apply in the order in which they stand here."""

    temperature: float = 1.0  # >= 0; divides the logits, 0 takes the most likely token
    top_k: int | None = None  # >= 1: only so many of the likeliest tokens
    top_p: float = 1.0  # 0 < p <= 1: only the likeliest tokens that together reach this share

    def __post_init__(self) -> None:
        """Raise ValueError for a limit outside its range."""
        if not self.temperature >= 0:
            raise ValueError(f"temperature: expected a number >= 0, found {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: expected a number >= 1, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: expected 0 < top_p <= 1, found {self.top_p}")


def sample(
    model: Windowed | Reader,
    prompt: Tensor,
    *,
    length: int,
    choice: Choice = Choice(),
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """`length` token ids that continue the prompt `(time,)`, at least one token long.

    A `Decoder` writes with the weights that it has now, without dropout (`zafu.nets.decoding`);
    call `eval()` of any other module first.
    """
    if prompt.dim() != 1 or not len(prompt):
        raise ValueError(f"prompt: expected at least one token, found shape {list(prompt.shape)}")
    own, tokens, start, read = reader(model), prompt, 0, 0
    own.forget()
    for _ in range(length):
        moved = window_start(len(tokens), own.context)
        if moved != start:
            own.forget()
            start = read = moved
        chosen = choose(own.read(tokens[read:]), choice, generator)
        read = len(tokens)
        tokens = torch.cat([tokens, chosen])
        yield int(chosen)


@torch.no_grad()
def written(module: Windowed, prompts: Tensor, drawn: Tensor) -> Tensor:
    """The tokens `(batch, length)` that continue prompts `(batch, time)`, within one context.

    Each is drawn from the whole distribution, by a number of its own in `drawn` `(batch, length)`,
    from 0 to 1: so a text is a function of weights, prompt and numbers.
    """
    tokens = prompts
    cache = module.new_cache() if isinstance(module, Decoder) else None
    for number in drawn.unbind(1):
        seen = cache[0].length if cache else 0
        given = tokens[:, seen:]
        logits = module(given, cache) if isinstance(module, Decoder) else module(given)
        shares = logits[:, -1].double().softmax(-1).cumsum(-1)
        below = (shares <= number[:, None]).sum(-1, keepdim=True)
        tokens = torch.cat([tokens, below.clamp(max=shares.shape[-1] - 1)], 1)
    return tokens[:, prompts.shape[1] :]


def window_start(tokens: int, context: int) -> int:
    """Where the window begins that ends with the last token: it moves by half a context."""
    half = max(1, context // 2)
    return max(0, -(-(tokens - context) // half) * half)


@torch.no_grad()
def choose(logits: Tensor, choice: Choice, generator: torch.Generator | None = None) -> Tensor:
    """One token id `(1,)` for the logits `(vocab,)`."""
    if choice.temperature == 0:
        return logits.argmax(-1, keepdim=True)
    ids, found = _likeliest(logits, choice)
    return ids[torch.multinomial(found, 1, generator=generator)]


@torch.no_grad()
def shares(logits: Tensor, choice: Choice) -> Tensor:
    """With which probability each token is chosen, `(..., vocab)`, for logits `(..., vocab)`."""
    if choice.temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0)
    ids, found = _likeliest(logits, choice)
    whole = torch.zeros_like(logits, dtype=found.dtype).scatter(-1, ids, found)
    return whole / whole.sum(-1, keepdim=True)


def _likeliest(logits: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
    """Token ids, the likeliest first, and their shares; 0 past the limits."""
    top_k = min(choice.top_k or logits.shape[-1], logits.shape[-1])
    values, ids = (logits.float() / choice.temperature).topk(top_k)
    found = values.softmax(-1)
    past = found.cumsum(-1) - found >= choice.top_p  # never the likeliest
    return ids, found.masked_fill(past, 0)
