"""R8: what a process says by its exit code, and what the run says of itself, agree."""

from __future__ import annotations

from pathlib import Path

import trial
from forks import Child

from zafu.artifact import verify

STATES = {0: "finished", 75: "interrupted", 1: "failed"}


def honest(child: Child, out: Path) -> bool:
    """Whether exit code and status agree, and nothing unfinished or damaged lies about."""
    for checkpoint in trial.checkpoints(out):
        verify(checkpoint)
    assert not trial.unfinished(out)
    assert child.code in STATES, child.said()
    status = trial.status(out)
    assert status["state"] == STATES[child.code], child.said()
    if child.code == 75:
        assert status["step"] == trial.saved(out)
    return True
