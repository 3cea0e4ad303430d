"""The contract of a tracker: a copy of the measurements, for eyes that are not on this machine.

`metrics.jsonl` in the run folder is the record; what a tracker sends elsewhere is a view of it.
Hence what failure means here. Before the first step a tracker that cannot work is refused, since
nothing is lost yet. After it a tracker never ends a training: when its own channel fails (no room
for events, a server that went away) it says so once, and is silent until the run is resumed. Only
the errors that its channel is known to raise are caught; a bug of ours still stops the run.

A resumed run continues the same remote run, whose id is kept in the run folder. Steps that were
made between the last checkpoint and the end of the earlier process are sent again; as resuming is
exact, they bring the same losses.
"""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from zafu.artifact import read_json, write_json
from zafu.errors import Damaged
from zafu.extras import require
from zafu.spec import Family

logger = logging.getLogger("zafu.track")


class Log(Protocol):
    """Takes the measurements of one run, until it is closed."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note values by name at a step; steps do not decrease. Its channel never raises."""
        ...

    def close(self) -> None:
        """What was logged is handed over; nothing is logged afterwards."""
        ...


class Tracker(Family):
    """Where measurements are copied to while they are made."""

    kind: str

    def ready(self) -> None:
        """Raise MissingExtra if a package is absent, Refused if a setting of this machine is.

        It costs no import and no connection, and is called before work starts.
        """
        require(self.needs)

    @abstractmethod
    def open(self, folder: Path, *, name: str, recipe: Mapping[str, Any], step: int) -> Log:
        """A log of the run in `folder`, whose first `step` steps were made before (0: a new run).

        Raises MissingExtra if the package is absent, Refused if the service turns us away.
        """


def remembered(file: Path) -> str | None:
    """The id by which a service knows this run, if it was ever opened; raises Damaged."""
    if not file.exists():
        return None
    found = read_json(file)
    if isinstance(found, dict) and isinstance(found.get("id"), str):
        return found["id"]
    raise Damaged(f'{file}: expected {{"id": "..."}}, found {json.dumps(found)[:60]}; delete it')


def remember(file: Path, identity: str) -> str:
    """The same id, which a resumed run will find in `file`."""
    write_json(file, {"id": identity})
    return identity


def gone(tracker: str, error: BaseException) -> None:
    """Say once that a tracker fell silent, and that nothing of the run is lost."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    logger.warning("%s: %s; training goes on, metrics.jsonl has everything", tracker, text)
