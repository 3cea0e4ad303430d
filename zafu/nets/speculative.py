"""Speculative decoding: a small model writes ahead, a large one reads what it wrote at once.

Leviathan et al., 2023 (arXiv:2211.17192); Chen et al., 2023 (arXiv:2302.01318). A token of the
draft stays with probability min(1, p / q), where p is how likely the large model holds it and q the
draft; in place of the first that does not stay one is drawn from what p has more than q. So what is
written is distributed as the large model alone would, with any draft, and the likeliest tokens are
the very same. p and q are those after the limits of `Choice`, which both models share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from zafu.nets.decoder import Decoder
from zafu.nets.decoding import Decoding, Slot
from zafu.nets.sampling import Choice, shares, window_start

AHEAD = 4  # tokens that the draft writes before they are read


@final
@dataclass
class Drafted:
    """A decoder with a draft of its text, and how many drafted tokens stayed."""

    module: Decoder
    draft: Decoder
    ahead: int = AHEAD
    drafted: int = field(default=0, init=False)
    stayed: int = field(default=0, init=False)

    def sample(
        self,
        prompt: Tensor,
        *,
        length: int,
        choice: Choice,
        generator: torch.Generator | None = None,
    ) -> Iterator[int]:
        """`length` tokens that continue the prompt `(time,)`, as `zafu.nets.sampling.sample`."""
        own, draft = (Follower(Slot(Decoding(net), 0)) for net in (self.module, self.draft))
        text = [int(token) for token in prompt]
        until = len(text) + length
        while len(text) < until:
            begun = window_start(len(text), own.context)
            room = min(own.context - (len(text) - begun), until - len(text) - 1)
            many = min(self.ahead, room, max(1, draft.context // 2))
            at = window_start(len(text) + many - 1, draft.context)
            ahead, likely = list[int](), list[Tensor]()
            for _ in range(many):
                likely.append(shares(draft.behind(text + ahead, at, 1)[0], choice))
                ahead.append(_drawn(likely[-1], generator))
            held = shares(own.behind(text + ahead, begun, len(ahead) + 1), choice)
            stays = _stays(held, likely, ahead, generator)
            self.drafted, self.stayed = self.drafted + len(ahead), self.stayed + stays
            last = held[stays]
            if stays < len(ahead):
                last = (last - likely[stays]).clamp(min=0)
            new = [*ahead[:stays], _drawn(last, generator)]
            text += new
            for follower in (own, draft):
                follower.back(len(text) - 1)
            yield from new


class Follower:
    """A slot that reads of a text what it has not read."""

    def __init__(self, slot: Slot) -> None:
        self._slot, self._start = slot, 0
        self.context = slot.context

    def behind(self, text: list[int], start: int, many: int) -> Tensor:
        """Logits `(many, vocab)` behind the last tokens of a text, seen from `start` on."""
        if start != self._start:
            self._slot.forget()
            self._start = start
        new = torch.tensor(text[start + self._slot.length :])
        return self._slot.each(new)[-many:]

    def back(self, length: int) -> None:
        """In place: what was read behind the first tokens of the text."""
        self._slot.forget(min(self._slot.length, max(0, length - self._start)))


def _stays(
    held: Tensor, likely: list[Tensor], ahead: list[int], generator: torch.Generator | None
) -> int:
    """How many of the drafted tokens stay."""
    for index, (of_draft, token) in enumerate(zip(likely, ahead, strict=True)):
        drawn = torch.rand((), generator=generator, device=held.device)
        if drawn * of_draft[token] >= held[index, token]:
            return index
    return len(ahead)


def _drawn(likely: Tensor, generator: torch.Generator | None) -> int:
    return int(torch.multinomial(likely, 1, generator=generator))
