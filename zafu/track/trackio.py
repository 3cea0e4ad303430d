"""Trackio: measurements in a local dashboard or a Space of the Hub (pip install 'zafu[trackio]').

huggingface.co/docs/trackio. Values are kept in a local database and sent by a thread of theirs;
its client reports its own failures as warnings and does not raise while values are logged.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Refused
from zafu.track.contract import Log, Tracker, remember, remembered


@final
class Trackio(Tracker):
    """A run in a project of Trackio, with the recipe as its config."""

    kind: Literal["trackio"] = "trackio"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("trackio", "trackio"),)
    project: str = Field(default="zafu", min_length=1)
    """Project that the run appears in; made if absent."""
    space: str | None = None
    """Space of the Hub that shows the project, as "owner/name"; None: this machine only."""

    def open(self, folder: Path, *, name: str, recipe: Mapping[str, Any], step: int) -> Log:
        """A log into the run of this folder, which is continued if it was opened before."""
        self.ready()
        trackio: Any = import_module("trackio")

        note = folder / "trackio.json"  # a run is known by its name, which must hence be unique
        identity = remembered(note) or remember(note, f"{name}-{secrets.token_hex(3)}")
        try:
            run = trackio.init(
                project=self.project,
                name=identity,
                space_id=self.space,
                config=dict(recipe),
                resume="allow",
                embed=False,
            )
        except (ValueError, OSError) as error:  # bad names and settings; disk, network, login
            raise Refused(f"fit.trackers: trackio refused the run: {error}") from error
        return _Run(run)


class _Run:
    """Queues values for trackio's thread."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the values."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait, at most half a minute, until the values are stored."""
        self.run.finish()
