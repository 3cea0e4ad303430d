"""Speaking: texts are written together, and join and leave between two tokens.

Yu et al., 2022, "Orca: a distributed serving system for transformer-based generative models"
(OSDI): a batch is made anew for each step, so that no text waits for the end of another one. One
prompt is read between two steps, which bounds how long it holds the others up.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, NamedTuple, final

import torch

from zafu.nets.sampling import Choice, choose
from zafu.serve.guard import log
from zafu.serve.metrics import Metrics
from zafu.serve.refusal import full
from zafu.serve.voices import Voices

SHORT = 0.02  # seconds
Reason = Literal["stop", "length"]


class Said(NamedTuple):
    """What a text is told: a token, its end, or that the model failed."""

    token: int | None = None
    reason: Reason | None = None
    failed: bool = False


@dataclass(eq=False)
class Text:
    """A text that is written."""

    prompt: Sequence[int]
    most: int  # tokens, at least 1
    choice: Choice
    generator: torch.Generator
    heard: asyncio.Queue[Said] = field(default_factory=asyncio.Queue)
    until: float = math.inf  # when it ends, by the clock of perf_counter
    given_up: bool = False  # nobody listens any more
    count: int = 0  # tokens that were written
    last: int = 0
    begun: float = field(default_factory=perf_counter)


@dataclass
class Told:
    """What one turn had to say."""

    said: list[tuple[Text, Said]] = field(default_factory=list)
    size: int = 0  # texts of the step
    seconds: float = 0.0  # of the step


@final
class Speaking:
    """Writes texts; used from one event loop.

    `thread` computes the turns; without one they are computed on the event loop itself, which is
    faster where they are short: Python's lock then need not go back and forth.
    """

    def __init__(
        self,
        voices: Voices,
        end: int,
        metrics: Metrics,
        *,
        waiting: int,
        thread: Executor | None = None,
    ) -> None:
        self.voices, self._end, self._metrics = voices, end, metrics
        self._most_waiting, self._thread = waiting, thread
        self._waiting: deque[Text] = deque()
        self._active: dict[int, Text] = {}
        self._some = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._ending = False

    def admit(self) -> None:
        """Raises Rejected where too many texts wait for a slot."""
        if len(self._waiting) >= self._most_waiting:
            self._metrics.add("refused_total")
            raise full()

    def begin(self, text: Text) -> None:
        """Have a text written: `heard` is told each token, and last the reason of its end."""
        self.admit()
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run())
        self._waiting.append(text)
        self._metrics.add("prompt_tokens_total", len(text.prompt))
        self._some.set()

    def give_up(self, text: Text) -> None:
        """Nobody listens any more: its slot, or its place before one, is free."""
        text.given_up = True
        with suppress(ValueError):  # it waits no more
            self._waiting.remove(text)

    def finish(self) -> None:
        """Texts end now, as if they had reached their length."""
        self._ending = True

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            if self._thread:
                told = await loop.run_in_executor(self._thread, self._turn)
            else:
                told = self._turn()
                await asyncio.sleep(0)
            self._tell(told)
            if not self._active and not self._waiting:
                self._some.clear()

    def _turn(self) -> Told:
        """Read one prompt, if there is one and a slot, and write one token of each text."""
        told = Told()
        try:
            with torch.inference_mode():
                self._end_some(told)
                self._read(told)
                if self._active:
                    self._step(told)
        except BaseException as error:  # noqa: BLE001  (the texts are told; the server lives)
            log(error)
            told.said += [(text, Said(failed=True)) for text in self._active.values()]
            self._active.clear()
        return told

    def _end_some(self, told: Told) -> None:
        now = perf_counter()
        for slot, text in list(self._active.items()):
            if text.given_up or self._ending or now > text.until:
                del self._active[slot]
                told.said.append((text, Said(reason="length")))

    def _read(self, told: Told) -> None:
        free = next((s for s in range(self.voices.slots) if s not in self._active), None)
        if free is None or not self._waiting:
            return
        text = self._waiting.popleft()
        if not text.given_up:
            self._active[free] = text
            self._choose(free, text, self.voices.read(free, text.prompt), told)

    def _step(self, told: Told) -> None:
        begun, active = perf_counter(), dict(self._active)
        logits = self.voices.step(list(active), [text.last for text in active.values()])
        for (slot, text), row in zip(active.items(), logits, strict=True):
            self._choose(slot, text, row, told)
        told.size, told.seconds = len(active), perf_counter() - begun

    def _choose(self, slot: int, text: Text, logits: torch.Tensor, told: Told) -> None:
        """Choose a text's next token; it leaves its slot where that is the last one."""
        token = int(choose(logits, text.choice, text.generator))
        if token == self._end:
            del self._active[slot]
            told.said.append((text, Said(reason="stop")))
            return
        text.last = token
        text.count += 1
        told.said.append((text, Said(token)))
        if text.count >= text.most or len(text.prompt) + text.count >= self.voices.context:
            del self._active[slot]
            told.said.append((text, Said(reason="length")))

    def _tell(self, told: Told) -> None:
        """Pass on what was said."""
        for text, said in told.said:
            text.heard.put_nowait(said)
            if said.token is not None:
                self._metrics.add("tokens_total")
                if text.count == 1:
                    self._metrics.see("first_token_seconds", perf_counter() - text.begun)
        if told.size:
            self._metrics.see("batch_samples", told.size)
            self._metrics.see("pass_seconds", told.seconds)
        self._metrics.put("waiting", len(self._waiting))


def short(voices: Voices) -> bool:
    """Whether a step of all slots is over so soon that the event loop may wait for it."""
    slots = list(range(voices.slots))
    with torch.inference_mode():
        for slot in slots:
            voices.read(slot, [0])
        voices.step(slots, [0] * len(slots))  # the first one fills caches
        begun = perf_counter()
        voices.step(slots, [0] * len(slots))
    return perf_counter() - begun < SHORT
