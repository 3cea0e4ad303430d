"""Serving: what a process does that reads batches for another one."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch

from zafu.loading.contract import Read, Request
from zafu.loading.runtime.slot import Slot
from zafu.signals import HANDLED


def serve(build: Callable[[dict[str, Any]], Read]) -> None:
    """Read what is asked for on standard input until that ends; the first line is for `build`.

    The process's arguments are the handles of where answers go and of the slots. Signals that ask
    to stop are for the process that asks for batches; an error is told to it, and is the last word.
    """
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    answers, *slots = map(int, sys.argv[1:])
    with os.fdopen(answers, "wb") as sink:

        def say(plain: dict[str, Any]) -> None:
            sink.write(json.dumps(plain).encode() + b"\n")
            sink.flush()

        try:
            _answer(build, [Slot(handle) for handle in slots], say)
        except BrokenPipeError:  # who asked has gone
            return
        except BaseException as error:
            trace = traceback.format_exc()
            say({"error": type(error).__name__, "message": str(error), "trace": trace})
            raise SystemExit(1) from error


def _answer(
    build: Callable[[dict[str, Any]], Read],
    slots: list[Slot],
    say: Callable[[dict[str, Any]], None],
) -> None:
    if not (told := sys.stdin.readline()):
        return
    read = build(json.loads(told))
    for line in sys.stdin:
        asked = json.loads(line)
        slot = slots[asked["slot"]]
        _, wanted = slot.get(asked["wanted"])
        batch = read(Request(*(array.copy() for array in wanted)))
        tensors = (*batch.inputs, batch.targets)
        say({"arrays": slot.put([tensor.numpy() for tensor in tensors])})
