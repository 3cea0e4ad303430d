"""Replay: compute a logged step of a run again, from a checkpoint, and compare it bit for bit.

A step is a function of the state before it (see `zafu.loop`), and metrics.jsonl keeps floats with
all their bits; so a number that does not come out again was computed otherwise: by other code, on
another machine, or by one that made an error. Nothing is written into the run.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from zafu import artifact, checkpoint, loop, reading
from zafu.build import build, device_of
from zafu.checkpoint import State
from zafu.errors import Refused
from zafu.loop import Objective, Step
from zafu.parallel.world import World
from zafu.run import DECIDES_BYTES, Run, environment, prepared
from zafu.session import means
from zafu.signature import Signature
from zafu.teaching import objective as objective_of
from zafu.track import metrics

COMPARED = ("loss", "grad_norm")
SHOWN = 12  # lines of steps that could be replayed


class Plan(NamedTuple):
    """What is to be computed again."""

    row: dict[str, Any]  # of metrics.jsonl, in which the step lies
    source: Path | None  # the checkpoint to begin from; None: fresh weights

    @property
    def first(self) -> int:
        """The first step of the row, which has the means of all of its steps."""
        return self.row["step"] - self.row["steps"] + 1


def planned(run: Run, step: int, *, from_start: bool = False) -> Plan:
    """How to replay a step; raises Refused, with the steps that can be, where there is no way."""
    if run.recipe.fit.seconds:
        text = "the learning rate of a budget in seconds depends on the clock"
        raise Refused(f"{run.folder}: no step of this run can be replayed: {text}")
    rows = [row for row in metrics.read(run.folder / "metrics.jsonl") if "grad_norm" in row]
    saved = {checkpoint.step_of(path): path for path in checkpoint.complete(run.checkpoints)}
    row = next((r for r in rows if r["step"] - r["steps"] < step <= r["step"]), None)
    if row is not None and from_start:
        return Plan(row, None)
    if row is not None:
        before = [number for number in saved if number <= row["step"] - row["steps"]]
        if before:
            return Plan(row, saved[max(before)])
    last = rows[-1]["step"] if rows else 0
    spans = [
        f"  {number + 1} to {last}, from {path.name}"
        for number, path in saved.items()
        if number < last
    ]
    found = f"step {step}; {last} are logged" if row is None else f"step {step}"
    options = "\n".join(spans[:SHOWN]) or "  none, as no checkpoint lies before a logged step"
    start = "\n--from-start computes any logged step, from the seed" if rows else ""
    text = f"expected a logged step after a checkpoint that was kept, found {found}"
    raise Refused(f"{run.folder}: {text}. Such are:\n{options}{start}")


def replayed(run: Run, plan: Plan, world: World, data: Path) -> dict[str, float]:
    """The values of the planned row, computed again by this world; the same on all ranks."""
    recipe = run.recipe
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    task = objective_of(run.recipe, data, world.device)
    model, update, spread = build(run.recipe, signature, world, task)
    state = State(progress=loop.begin(recipe.fit), data=data.name)
    if plan.source:
        artifact.verify(plan.source)
        state = checkpoint.load(plan.source, model, update, spread)
    if state.data != data.name:
        raise Refused(f"{run.folder}: was trained on data {state.data}, found {data.name}")
    split, device = recipe.data.open(data, "train"), next(model.parameters()).device
    read = reading.training(recipe, run.folder / "recipe.yaml", data, device=device)
    objective = Objective(model, task, split, recipe.fit, recipe.seed, read, spread)
    done: list[Step] = []
    with closing(loop.fit(objective, update, state.progress)) as fitting:
        for step in fitting:
            if step.number >= plan.first:
                done.append(step)
            if step.number == plan.row["step"]:
                return means(done)
    raise Refused(f"{run.folder}: the recipe ends before step {plan.row['step']}")


def here(run: Run, plan: Plan) -> dict[str, float]:
    """As `replayed`, as the process of the run's layout that the environment describes."""
    from zafu.parallel.world import joined

    data = prepared(run.recipe, run.folder.parent)
    with ExitStack() as stack:
        device = device_of(run.recipe.fit)
        world = stack.enter_context(joined(run.recipe.layout, device))
        return replayed(run, plan, world, data)


def changed(run: Run) -> list[str]:
    """What of the environment is not as in the run and may decide the bits."""
    file = run.folder / "environment.json"
    if not file.is_file():
        return []
    before, now = artifact.read_json(file), environment(run.recipe.fit.threads)
    decide = ((key, before.get(key), now[key]) for key in DECIDES_BYTES)
    return [f"{key} was {old}, is {new}" for key, old, new in decide if old != new]
