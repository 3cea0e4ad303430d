"""Continuing a text: one token after another, drawn from a model's next-token distribution.

Top-k: Fan et al., 2018 (arXiv:1805.04833). Top-p (nucleus): Holtzman et al., 2019
(arXiv:1904.09751). When the window is full, its older half is dropped, so that a cache is filled
again only every half window; a model without a cache sees the very same windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from zafu.nets.decoder import Decoder, Past


class Windowed(Protocol):
    """A model of token ids that takes at most `context` of them at once."""

    @property
    def context(self) -> int:
        """Most tokens in a window."""
        ...

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits `(batch, time, vocab)` for tokens `(batch, time)`."""
        ...


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
    module: Windowed,
    prompt: Tensor,
    *,
    length: int,
    choice: Choice = Choice(),
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """`length` token ids that continue the prompt `(time,)`, at least one token long.

    Call `module.eval()` first: dropout is left as it stands. A `Decoder` keeps keys and values
    between tokens; any other module computes its window anew for each.
    """
    if prompt.dim() != 1 or not len(prompt):
        raise ValueError(f"prompt: expected at least one token, found shape {list(prompt.shape)}")
    tokens, start = prompt, 0
    cache: list[Past] | None = None
    for _ in range(length):
        moved = window_start(len(tokens), module.context)
        if isinstance(module, Decoder) and (cache is None or moved != start):
            cache = module.new_cache()
        start = moved
        chosen = choose(_last(module, tokens[start:], cache), choice, generator)
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
    top_k = min(choice.top_k or len(logits), len(logits))
    values, ids = (logits.float() / choice.temperature).topk(top_k)  # likeliest first
    shares = values.softmax(-1)
    shares[shares.cumsum(-1) - shares >= choice.top_p] = 0  # the likeliest always stays
    return ids[torch.multinomial(shares, 1, generator=generator)]


@torch.no_grad()
def _last(module: Windowed, window: Tensor, cache: list[Past] | None) -> Tensor:
    """Logits `(vocab,)` of the token after the window; only what the cache lacks is computed."""
    if cache is None or not isinstance(module, Decoder):
        return module(window[None])[0, -1]
    return module(window[None, cache[0].length :], cache)[0, -1]
