"""Signals: the first one asks for a clean end, the second one ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass
class Stop:
    """Whether somebody asked this process to stop, and by which signal."""

    signal: str = ""

    def __bool__(self) -> bool:
        return bool(self.signal)


@contextmanager
def stoppable() -> Generator[Stop]:
    """Inside, SIGINT, SIGTERM and SIGUSR1 set the value; a second one ends the process at once.

    The process then exits with 128 plus the signal's number. Outside the main thread, where
    Python allows no handlers, the value stays unset.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, _: FrameType | None) -> None:
        if stop:
            os._exit(128 + number)
        stop.signal = signal.Signals(number).name

    before = {number: signal.signal(number, handle) for number in HANDLED}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
