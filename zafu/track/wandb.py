"""Weights & Biases: measurements in a hosted project (pip install 'zafu[wandb]').

docs.wandb.ai. Their client hands values to a process of its own, which retries while the network
is away; a resumed run has the same id, and steps that it already knows are dropped there.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Refused
from zafu.track.contract import Log, Tracker, gone, remember, remembered


@final
class WeightsAndBiases(Tracker):
    """A run in a project of Weights & Biases, with the recipe as its config."""

    kind: Literal["wandb"] = "wandb"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("wandb", "wandb"),)
    project: str = Field(default="zafu", min_length=1)
    """Project that the run appears in; made if absent."""
    entity: str | None = None
    """User or team that owns the project; None: the account's default."""
    mode: Literal["online", "offline"] = "online"
    """Where values go: offline writes to wandb/ in the run folder, for `wandb sync`."""

    def open(self, folder: Path, *, name: str, recipe: Mapping[str, Any], step: int) -> Log:
        """A log into the run of this folder, which is continued if it was opened before."""
        self.ready()
        wandb: Any = import_module("wandb")

        note = folder / "wandb.json"
        identity = remembered(note) or remember(note, secrets.token_hex(8))
        try:
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                mode=self.mode,
                dir=str(folder),
                id=identity,
                name=name,
                config=dict(recipe),
                resume="allow",
                settings=wandb.Settings(console="off"),
            )
        except (wandb.Error, OSError) as error:
            hint = "run `wandb login`, or choose mode: offline"
            raise Refused(f"fit.trackers: wandb refused the run: {error}; {hint}") from error
        return _Run(run, wandb.Error)


class _Run:
    """Sends values until the client gives up."""

    def __init__(self, run: Any, refusal: type[Exception]) -> None:
        self.run, self.refusal = run, refusal
        self.failed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the values; one warning if the client has stopped working."""
        if self.failed:
            return
        try:
            self.run.log(dict(values), step=step)
        except (self.refusal, OSError) as error:
            self.failed = True
            gone("wandb", error)

    def close(self) -> None:
        """Wait until the client has handed everything over."""
        try:
            self.run.finish()
        except (self.refusal, OSError) as error:
            gone("wandb", error)
