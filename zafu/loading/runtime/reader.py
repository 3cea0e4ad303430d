"""Reader: a process that reads batches, as the process that wants them sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from zafu import errors
from zafu.batch import Batch
from zafu.loading.contract import Remote, Request
from zafu.loading.runtime.slot import Slot, anonymous

_OURS = (errors.ZafuError, errors.NonFinite, errors.DiskFull, errors.Damaged, errors.DataError)
_PYTHONS = (IndexError, KeyError, ValueError, TypeError, OSError, FileNotFoundError, MemoryError)
KNOWN: dict[str, type[Exception]] = {c.__name__: c for c in (*_OURS, *_PYTHONS, RuntimeError)}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",  # a context on the GPU would take its memory
}


@dataclass
class Promised:
    """A batch that the reader works on."""

    reader: Reader
    request: Request
    slot: Slot

    def result(self) -> Batch:
        """Wait for it; promises are kept in the order in which they were given."""
        return self.reader.answered(self)


@final
class Reader:
    """A fresh interpreter, and the slots in which it hands batches over.

    It is in a process group of its own, as the terminal's Ctrl-C is not for it to answer, and ends
    when its input does: with `end`, or with the process that started it.
    """

    def __init__(self, remote: Remote, slots: int) -> None:
        self._slots = [Slot(anonymous()) for _ in range(slots)]
        self._free = deque(self._slots)
        asked, asks = os.pipe()
        source, sink = os.pipe()
        handles = [sink, *(slot.handle for slot in self._slots)]
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", remote.module, *map(str, handles)],
            stdin=asked,
            stdout=2,  # what a plugin prints is no answer
            pass_fds=handles,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
            process_group=0,
        )
        os.close(asked)
        os.close(sink)
        self._asks, self._answers = os.fdopen(asks, "wb"), os.fdopen(source, "rb")
        self._tell(remote.told)

    def submit(self, request: Request) -> Promised:
        """Ask for a batch."""
        slot = self._free.popleft()
        wanted = slot.put([request.ids, request.epochs])
        self._tell({"slot": self._slots.index(slot), "wanted": wanted})
        return Promised(self, request, slot)

    def answered(self, promised: Promised) -> Batch:
        """The batch in its slot, which is free again when nobody holds a tensor of it.

        If no other slot is free, the batch is a copy: whoever keeps batches does not stop reading.
        """
        whole, arrays = promised.slot.get(self._answer()["arrays"])
        if self._free:
            weakref.finalize(whole, self._free.append, promised.slot).atexit = False
        else:
            arrays = [array.copy() for array in arrays]
            self._free.append(promised.slot)
        *inputs, targets = map(torch.from_numpy, arrays)
        return Batch(tuple(inputs), targets, promised.request.ids)

    def end(self) -> None:
        """End the process, whatever it is at; batches that were handed out stay what they are."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._asks.close()
        self._answers.close()
        for slot in self._slots:
            slot.close()

    def _tell(self, plain: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # it has ended: what it left unanswered will say so
            self._asks.write(json.dumps(plain).encode() + b"\n")
            self._asks.flush()

    def _answer(self) -> dict[str, Any]:
        if not (line := self._answers.readline()):
            code = self._process.wait()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            hint = "is memory short? fit.loader=threads needs less"
            raise errors.ZafuError(f"a process that reads data has ended with {how}; {hint}")
        answer = json.loads(line)
        if "error" in answer:
            raise _raised(**answer)
        return answer


def _raised(error: str, message: str, trace: str) -> Exception:
    """What was raised in the reader, or a RuntimeError that names it if it is of no known kind."""
    known = KNOWN.get(error)
    found = known(message) if known else RuntimeError(f"{error}: {message}")
    found.add_note(trace)
    return found
