"""TensorBoard: event files in `tb/` of the run folder, for `tensorboard --logdir runs`.

Events are framed and written here, each in one call to the kernel. The usual writers hand them to
a thread through a bounded queue, and should it die of a full disk, training would wait for ever;
or they wait for the disk at every flush.
On a resumed run a purge mark hides what an earlier process logged beyond the resumed step.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal, final

import yaml

from zafu.track.contract import Log, Tracker, gone

FOLDER = "tb"


@final
class TensorBoard(Tracker):
    """Scalars and the recipe as TensorBoard events, on the local disk."""

    kind: Literal["tensorboard"] = "tensorboard"

    def open(self, folder: Path, *, name: str, recipe: Mapping[str, Any], step: int) -> Log:
        """A log into a new event file; the names of files never collide within a folder."""
        target = folder / FOLDER
        target.mkdir(parents=True, exist_ok=True)
        file = target / f"events.out.tfevents.{time.time_ns():019}"  # read in order of their names
        events = _Events(file.open("wb", buffering=0))
        events.begin(recipe, step)
        return events


class _Events:
    """Writes one event a call, until writing fails."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.failed = False
        self.event: Any = import_module("tensorboardX.proto.event_pb2")  # generated code
        self.summary: Any = import_module("tensorboardX.proto.summary_pb2")

    def begin(self, recipe: Mapping[str, Any], step: int) -> None:
        """Hide what earlier files hold beyond `step`; a new run's recipe is shown as text."""
        from tensorboardX.summary import text

        self.write(self.event.Event(wall_time=time.time(), file_version="brain.Event:2"))
        start, first = self.event.SessionLog(status=1), step + 1 if step else 0  # 1: START
        self.write(self.event.Event(wall_time=time.time(), step=first, session_log=start))
        if not step:
            lines = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True).splitlines()
            code = "\n".join(f"    {line}" for line in lines)  # verbatim in Markdown
            self.write(self.event.Event(wall_time=time.time(), summary=text("recipe", code)))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one event that holds all values; one warning if the disk refuses."""
        value = self.summary.Summary.Value
        scalars = [value(tag=name, simple_value=x) for name, x in values.items()]
        summary = self.summary.Summary(value=scalars)
        self.write(self.event.Event(wall_time=time.time(), step=step, summary=summary))

    def write(self, event: Any) -> None:
        """Append one event, unless writing has failed before."""
        if self.failed:
            return
        data: bytes = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        record = length + _check(length) + data + _check(data)  # TensorFlow's framing
        try:
            if self.file.write(record) < len(record):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            self.failed = True
            gone("tensorboard", error)

    def close(self) -> None:
        """Close the event file."""
        self.file.close()


def _check(data: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    return struct.pack("<I", masked_crc32c(data))
