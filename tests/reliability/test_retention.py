"""R18: whatever is saved, pinned, torn or damaged, enough whole checkpoints are left."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import nn

from zafu import checkpoint
from zafu.artifact import verify
from zafu.checkpoint import State
from zafu.errors import Damaged
from zafu.loop import Progress
from zafu.optim.adamw import AdamW
from zafu.optim.runtime.update import Update
from zafu.optim.schedules import Constant


def _trained() -> tuple[nn.Module, Update]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
    return model, Update(model, optimizer=AdamW(), schedule=Constant(), seed=0)


def _whole(folder: Path) -> bool:
    try:
        verify(folder)
    except Damaged:
        return False
    return True


class Retention(RuleBasedStateMachine):
    """What a training does with its checkpoints, and what a crash or a disk may do to them."""

    @initialize(keep=st.integers(1, 3))
    def begin(self, keep: int) -> None:
        """An empty folder."""
        self.folder = Path(tempfile.mkdtemp())
        self.model, self.update = _trained()
        self.keep = keep
        self.step = 0
        self.pinned: int | None = None
        self.promised: list[int] = []  # the steps that must be there, and whole
        self.harmed: set[int] = set()

    def _path(self, step: int) -> Path:
        return self.folder / checkpoint.name_of(step)

    def _publish(self) -> None:
        state = State(progress=Progress(step=self.step), best_step=self.pinned)
        checkpoint.save(self.folder, self.model, self.update, state)
        self.harmed.discard(self.step)
        self.promised = sorted({*self.promised, self.step})

    def _prune(self) -> None:
        pinned = {self._path(self.pinned)} if self.pinned is not None else set[Path]()
        removed = checkpoint.prune(self.folder, keep=self.keep, pinned=pinned)
        gone = {int(path.name[-9:]) for path in removed}
        assert self.pinned not in gone
        self.promised = [s for s in self.promised[-self.keep :] if s not in self.harmed] + [
            s for s in self.promised[: -self.keep] if s == self.pinned
        ]
        self.promised.sort()

    @rule(steps=st.integers(1, 5), best=st.booleans())
    def save(self, steps: int, best: bool) -> None:
        """Train on, save, prune."""
        self.step += steps
        if best:
            self.pinned = self.step
        self._publish()
        self._prune()

    @precondition(lambda self: self.step)
    @rule()
    def save_the_same_step_again(self) -> None:
        """As after an evaluation that was pending."""
        self._publish()
        self._prune()

    @rule(steps=st.integers(1, 5))
    def killed_before_the_pruning(self, steps: int) -> None:
        """There are more than are needed."""
        self.step += steps
        self._publish()

    @rule(content=st.binary(max_size=20))
    def killed_while_writing(self, content: bytes) -> None:
        """A folder without a card is left; the run goes on from the newest whole one."""
        part = self._path(self.step + 1).with_name(checkpoint.name_of(self.step + 1) + ".part")
        part.mkdir(exist_ok=True)
        (part / "model.safetensors").write_bytes(content)

    @precondition(lambda self: self.step and self._path(self.step).exists())
    @rule(written=st.booleans())
    def killed_between_the_renames(self, written: bool) -> None:
        """The same step is replaced: the old one was moved aside, the new one has no name yet."""
        path = self._path(self.step)
        old, part = (path.with_name(path.name + end) for end in (".old.part", ".part"))
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)
        if written:
            shutil.copytree(path, part)
        path.rename(old)
        self._resume()

    @precondition(lambda self: self.step and len(self.promised) > 1)
    @rule(offset=st.integers(0, 1000), bit=st.integers(0, 7))
    def a_bit_of_the_newest_flips(self, offset: int, bit: int) -> None:
        """Noticed when the run goes on, which then stands at an older one."""
        newest = checkpoint.complete(self.folder)[-1]
        file = newest / "optimizer.safetensors"
        data = bytearray(file.read_bytes())
        data[offset % len(data)] ^= 1 << bit
        file.write_bytes(data)
        self.harmed.add(int(newest.name[-9:]))
        self._resume()

    @rule()
    def resume(self) -> None:
        """A new process goes on."""
        self._resume()

    def _resume(self) -> None:
        checkpoint.sweep(self.folder)
        model, update = _trained()
        found = checkpoint.resume(self.folder, model, update, needs_best=False, note=lambda _: None)
        self.promised = [step for step in self.promised if step not in self.harmed]
        self.harmed.clear()
        newest = self.promised[-1] if self.promised else None
        if newest is None:
            assert found is None
            self.step, self.pinned = 0, None
        else:
            assert found
            assert found[1] == self._path(newest)
            assert found[0].progress.step == newest
            self.step = newest
            if self.pinned is not None and self.pinned not in self.promised:
                self.pinned = None

    @invariant()
    def what_was_promised_is_whole(self) -> None:
        """The newest `keep` that were saved, and the pinned one."""
        if not hasattr(self, "folder"):
            return
        assert all(_whole(self._path(step)) for step in self.promised)
        if self.pinned is not None:
            assert _whole(self._path(self.pinned))
        for path in checkpoint.complete(self.folder):
            assert not path.name.endswith(".part")

    def teardown(self) -> None:
        """Remove the folder."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestRetention = Retention.TestCase
TestRetention.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
