"""Wording: tokens become text as soon as they are whole characters, up to a stop sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from zafu.tokenizers.contract import Encoder

BROKEN = "\N{REPLACEMENT CHARACTER}"


@final
class Wording:
    """The text of one answer, piece by piece."""

    def __init__(self, encoder: Encoder, stops: Sequence[str]) -> None:
        self._encoder, self._stops = encoder, [stop for stop in stops if stop]
        self._tokens: list[int] = []
        self._from = self._upto = 0  # tokens before the last given piece, and behind it
        self._held = ""  # text that may be the beginning of a stop sequence
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that this token completes; nothing more once a stop sequence came."""
        self._tokens.append(token)
        before = self._encoder.decode(self._tokens[self._from : self._upto])
        text = self._encoder.decode(self._tokens[self._from :])
        if text.endswith(BROKEN) or len(text) <= len(before):
            return ""
        self._from, self._upto = self._upto, len(self._tokens)
        return self._released(text[len(before) :])

    def rest(self) -> str:
        """What was held back, once nothing more comes."""
        if self.stopped:
            return ""
        before = self._encoder.decode(self._tokens[self._from : self._upto])
        text = self._encoder.decode(self._tokens[self._from :])
        shown = self._released(text[len(before) :])
        held, self._held = self._held, ""
        return shown + held

    def _released(self, more: str) -> str:
        """What may be shown: all up to a stop sequence, less what may yet become one."""
        text = self._held + more
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Letters at the end of a text with which a stop sequence begins."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(stop[:n])), 0)
