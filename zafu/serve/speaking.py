"""Speaking: texts are written together, and join and leave between two tokens.

Yu et al., 2022, "Orca: a distributed serving system for transformer-based generative models"
(OSDI): a batch is made anew for each step, so that no text waits for the end of another one. One
prompt is read between two steps, which bounds how long it holds the others up.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, NamedTuple, final

import torch

from zafu.nets.sampling import Choice, choose
from zafu.serve.guard import log
from zafu.serve.metrics import Metrics
from zafu.serve.refusal import Rejected
from zafu.serve.voices import Voices

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
    given_up: bool = False  # set by whoever listens
    count: int = 0  # tokens that were written
    last: int = 0
    begun: float = field(default_factory=perf_counter)


@final
class Speaking:
    """A thread that writes texts; asked from one event loop."""

    def __init__(self, voices: Voices, end: int, metrics: Metrics, *, waiting: int) -> None:
        self.voices, self._end, self._metrics = voices, end, metrics
        self._most_waiting = waiting
        self._waiting: deque[Text] = deque()
        self._active: dict[int, Text] = {}
        self._wake = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False

    def admit(self) -> None:
        """Raises Rejected where too many texts wait for a slot."""
        if len(self._waiting) >= self._most_waiting:
            self._metrics.add("refused_total")
            raise Rejected(503, "the server is full: come again", retry_after=1)

    def begin(self, text: Text) -> None:
        """Have a text written: `heard` is told each token, and last the reason of its end."""
        self.admit()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._run, name="model", daemon=True).start()
        with self._wake:
            self._waiting.append(text)
            self._wake.notify()
        self._metrics.put("waiting", len(self._waiting))

    def finish(self) -> None:
        """Texts end now, as if they had reached their length."""
        self._ending = True

    @property
    def busy(self) -> int:
        """Texts that are written or wait."""
        return len(self._active) + len(self._waiting)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._active:
                    self._wake.wait()
            try:
                with torch.inference_mode():
                    self._turn()
            except BaseException as error:  # noqa: BLE001  (the texts are told; the thread lives)
                log(error)
                self._tell([(text, Said(failed=True)) for text in self._active.values()])
                self._active.clear()

    def _turn(self) -> None:
        """Read one prompt, if there is one and a slot, and write one token of each text."""
        for slot in [s for s, text in self._active.items() if text.given_up or self._ending]:
            self._tell([(self._active.pop(slot), Said(reason="length"))])
        self._read()
        if not self._active:
            return
        begun, active = perf_counter(), dict(self._active)
        logits = self.voices.step(list(active), [text.last for text in active.values()])
        took, told = perf_counter() - begun, list[tuple[Text, Said]]()
        for (slot, text), row in zip(active.items(), logits, strict=True):
            told += self._chosen(slot, text, row)
        self._tell(told, len(active), took)

    def _read(self) -> None:
        free = next((s for s in range(self.voices.slots) if s not in self._active), None)
        with self._wake:
            if free is None or not self._waiting:
                return
            text = self._waiting.popleft()
        if text.given_up:
            return
        self._active[free] = text
        self._tell(self._chosen(free, text, self.voices.read(free, text.prompt)))

    def _chosen(self, slot: int, text: Text, logits: torch.Tensor) -> list[tuple[Text, Said]]:
        """Choose a text's next token; it leaves its slot where that is the last one."""
        token = int(choose(logits, text.choice, text.generator))
        if token == self._end:
            del self._active[slot]
            return [(text, Said(reason="stop"))]
        text.last = token
        text.count += 1
        full = text.count >= text.most or len(text.prompt) + text.count >= self.voices.context
        if not full:
            return [(text, Said(token))]
        del self._active[slot]
        return [(text, Said(token)), (text, Said(reason="length"))]

    def _tell(self, told: list[tuple[Text, Said]], size: int = 0, took: float = 0.0) -> None:
        assert self._loop is not None  # noqa: S101  (a text came from it)
        self._loop.call_soon_threadsafe(self._heard, told, size, took)

    def _heard(self, told: list[tuple[Text, Said]], size: int, took: float) -> None:
        """On the event loop: pass on what was said."""
        for text, said in told:
            text.heard.put_nowait(said)
            if said.token is not None:
                self._metrics.add("tokens_total")
                if text.count == 1:
                    self._metrics.see("first_token_seconds", perf_counter() - text.begun)
        if size:
            self._metrics.see("batch_samples", size)
            self._metrics.see("pass_seconds", took)
        self._metrics.put("waiting", len(self._waiting))
