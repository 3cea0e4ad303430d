"""The life of a run, in order: prepare, build, train, judge, ship, report.

`events` is a generator of what happens, so that whoever reads it draws, logs or stops. All that
must survive a crash is written by it; nothing depends on who listens.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from torch import nn

from zafu import answer, artifact, checkpoint, loop, reading, tensors, training
from zafu.artifact import MODEL, model_folder
from zafu.build import build, device_of, load_model, stored
from zafu.checkpoint import State
from zafu.errors import DiskFull, Interrupted, LostRank, RecipeError, Refused
from zafu.evaluation import calibration
from zafu.evaluation.calibration import Calibration
from zafu.evaluation.findings import absent
from zafu.judge import (
    chosen_baselines,
    gathered,
    judged_answers,
    judging,
    measured,
    scored,
    unless_stopped,
    verdict,
)
from zafu.layout import Layout
from zafu.loop import Objective, Step
from zafu.measure import Measurement
from zafu.parallel.world import joined
from zafu.recipe import Recipe
from zafu.report.page import write as write_report
from zafu.run import Run, environment, foresee, prepared
from zafu.saving import Saving
from zafu.session import Judged, Note, Session, best_checkpoint, patience_of
from zafu.signals import Stop, stoppable
from zafu.signature import Signature
from zafu.source import parse_yaml, to_yaml
from zafu.teaching import objective as objective_of
from zafu.track.metrics import Metrics

SAVE_PATIENCE = timedelta(hours=1)  # of a rank that has written for the slowest to have


class Began(NamedTuple):
    """Training starts or goes on."""

    run: Run
    parameters: int
    samples: int  # in the training split
    total: int | None  # samples of the budget; None where it is in seconds
    done: int  # samples already seen
    device: str


class Finished(NamedTuple):
    """The run has come to its end."""

    run: Run
    evaluation: dict[str, Any]
    report: Path


Event = Note | Began | Step | Judged | Finished


def train(
    recipe: Recipe | Path | str,
    *overrides: str,
    runs: Path | str = "runs",
    out: Path | str | None = None,
) -> Run:
    """Carry a recipe, or the one in a file, to its end without a word; returns the finished run.

    `overrides` are `path=value` as on the command line. The same call again goes on where it was
    stopped. Raises what `events` raises.
    """
    if isinstance(recipe, Recipe):
        name, found = "run", recipe
        for assignment in overrides:
            path, _, value = assignment.partition("=")
            found = found.at(path, parse_yaml(value).data)
    else:
        name, found = Path(recipe).stem, Recipe.load(Path(recipe), overrides)
    run = Run(Path(out), found) if out else Run.named(found, name, Path(runs))
    for _ in events(run):
        pass
    return run


def events(run: Run) -> Iterator[Event]:
    """Carry a run to its end, going on from its newest whole checkpoint.

    Raises Interrupted after a signal, with the current step saved; NonFinite, DiskFull, Busy and
    RecipeError as their docstrings say. The status file tells the truth about each.
    """
    run.refuse_other()
    if run.finished:
        yield Note(f"{run.folder} is finished; look at {run.folder / 'report.html'}")
        return
    if faults := foresee(run.recipe, run.folder):
        raise RecipeError(faults)
    for tracker in run.recipe.fit.trackers:
        tracker.ready()
    rank = refuse_other_world(run.recipe.layout)
    with ExitStack() as stack:
        stop = stack.enter_context(stoppable())
        if rank > 0:
            yield from follow(run, stop, stack)
            return
        stack.enter_context(artifact.only_writer(run.folder))
        changed = run.begin()
        try:
            run.say("running")
            if changed:
                text = "its bytes may not be those of an undisturbed run"
                yield Note(
                    f"the environment of this run has changed ({'; '.join(changed)}): {text}"
                )
            data = yield from prepare(run, stop)
            with ExitStack() as together:
                session = yield from opened(run, data, stop, together)
                yield from training.steps(session)
                if alone := session.objective.spread.world.alone:
                    yield from finish(session, data)
            if not alone:  # from here on one process is enough
                yield from finish(reopened(run, data, stop, stack), data)
        except BaseException as error:
            note_end(run, error)
            raise


def follow(run: Run, stop: Stop, stack: ExitStack) -> Iterator[Event]:
    """Train beside the first rank, which keeps the records and does what comes after training."""
    data = prepared(run.recipe, run.folder.parent, stopped=lambda: stop.signal, trusted=True)
    session = yield from opened(run, data, stop, stack)
    yield from training.steps(session)


def prepare(run: Run, stop: Stop) -> Iterator[Event]:
    """Yields what happens; returns the folder of the prepared data."""
    begun = perf_counter()
    data = prepared(run.recipe, run.folder.parent, stopped=lambda: stop.signal)
    artifact.write_json(run.folder / "prepare.json", artifact.read_json(data / "prepare.json"))
    yield Note(f"data {data.name} is ready after {perf_counter() - begun:.1f} s")
    return data


def opened(run: Run, data: Path, stop: Stop, stack: ExitStack) -> Iterator[Event]:
    """Build the model and put the newest whole checkpoint into it; returns a Session."""
    recipe = run.recipe
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    refuse_misfit(recipe, run.folder, signature, data)
    if stop:
        raise Interrupted(f"{stop.signal}: nothing was trained yet; run the same command again")
    device = device_of(recipe.fit)
    world = stack.enter_context(joined(recipe.layout, device, logs=run.folder / "ranks"))
    if world.watch and world.rank == 0:
        world.watch.ended = lambda text: note_end(run, LostRank(text))
    task = objective_of(recipe, data, device)
    model, update, spread = build(recipe, signature, world, task)
    first = world.rank == 0
    if first:
        checkpoint.sweep(run.checkpoints)
    world.wait()
    record = "metrics.jsonl" if first else f"ranks/{world.rank}.jsonl"
    metrics = stack.enter_context(Metrics(run.folder / record))
    notes: list[str] = []
    found = checkpoint.resume(
        run.checkpoints,
        model,
        update,
        spread,
        needs_best=patience_of(run),
        note=notes.append,
    )
    state = found[0] if found else State(progress=loop.begin(recipe.fit), data=data.name)
    if found:
        notes.append(f"goes on from {found[1].name}")
    yield from map(Note, notes)
    metrics.cut(state.progress.step)
    split = recipe.data.open(data, "train")
    device = next(model.parameters()).device
    read = reading.training(recipe, run.folder / "recipe.yaml", data, device=device)
    objective = Objective(model, task, split, recipe.fit, recipe.seed, read, spread)
    validation = recipe.data.open(data, "validation")
    session = Session(run, objective, update, state, metrics, stop, validation)
    session.saving = Saving(world.beside(SAVE_PATIENCE))
    session.saved = asdict(state) if found else None
    for tracker in recipe.fit.trackers if first else ():
        log = tracker.open(run.folder, name=run.name, recipe=recipe.dump(), step=session.step)
        stack.callback(log.close)
        session.logs.append(log)
    _, total = loop.budget(split, recipe.fit)
    count = sum(p.numel() for p in model.parameters())
    yield Began(run, count, len(split), total, state.progress.samples, str(device))
    return session


def reopened(run: Run, data: Path, stop: Stop, stack: ExitStack) -> Session:
    """The trained model whole in this process alone, as the newest checkpoint shows it."""
    recipe = run.recipe
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    model, update, spread = build(run.recipe, signature)
    newest = checkpoint.complete(run.checkpoints)[-1]
    state = checkpoint.load_shown(newest, model, update)
    split, validation = (recipe.data.open(data, name) for name in ("train", "validation"))
    objective = Objective(model, recipe.task, split, recipe.fit, recipe.seed, None, spread)
    metrics = stack.enter_context(Metrics(run.folder / "metrics.jsonl"))
    return Session(run, objective, update, state, metrics, stop, validation)


def refuse_other_world(layout: Layout) -> int:
    """This process's rank; raises Refused unless the launcher started as many as the layout has."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if layout.world == started:
        return int(os.environ.get("RANK", "0"))
    expected = f"the layout has {layout.world} processes, the launcher started {started}"
    others = layout.world // layout.data
    hint = f"; set layout.data={started // others}" if started % others == 0 else ""
    raise Refused(f"layout: {expected}{hint}")


def finish(session: Session, data: Path) -> Iterator[Event]:
    """Ship the weights, judge them on the test split beside the baselines, write the report."""
    run, model = session.run, session.objective.model
    if best := best_checkpoint(session):
        artifact.verify(best)
        checkpoint.load_shown(best, model, session.update)
        yield Note(f"the best weights are those of {best.name}")
    step = session.state.best_step if best else session.step
    with session.update.evaluating():
        fitted = calibrated(session, data)
        recipe, smaller = stored(run.recipe, model)
        ship(Run(run.folder, recipe), smaller, data, step=step or session.step, fitted=fitted)
        split = judging(run.recipe, data)
        found = judged_answers(run.recipe, model, data, split, loader=session.reader)
        told = unless_stopped(found, session.stop)
        go_on(session.stop)
        evaluation = scored(run.recipe, data, split, told or [], fitted)
        yield Judged(split, step or session.step, _scores(evaluation["scores"]))
        model.eval()
        shown = answer.shown(run.recipe, model, data, split)
        artifact.write_json(run.folder / "samples.json", shown)
    for baseline in chosen_baselines(run.recipe):
        go_on(session.stop)
        evaluation["baselines"][baseline.kind] = measured(run.recipe, baseline, data, split)
    artifact.write_json(run.folder / "evaluation.json", evaluation)
    progress = session.state.progress
    run.say("finished", step=progress.step, of=progress.step, seconds=progress.seconds)
    yield Finished(run, evaluation, write_report(run.folder))


def calibrated(session: Session, data: Path) -> Calibration | None:
    """That of the model as it is, learned on the validation split; None where there is none."""
    run, name = session.run, "validation"
    if run.recipe.task.kind != "classification" or not len(run.recipe.data.open(data, name)):
        return None
    model = session.objective.model
    found = judged_answers(run.recipe, model, data, name, loader=session.reader)
    told = unless_stopped(found, session.stop)
    go_on(session.stop)
    return calibration.fit(gathered(told or []), name)


def ship(
    run: Run,
    model: nn.Module,
    data: Path,
    *,
    fitted: Calibration | None = None,
    **facts: Any,
) -> Path:
    """Publish the model folder: weights, recipe, signature, and what was fitted with them.

    `facts` go into its card.
    """
    recipe = run.recipe
    weights = tensors.of_module(model)

    def write(part: Path) -> None:
        shutil.copytree(data / "transform", part, dirs_exist_ok=True)
        shutil.copyfile(data / "signature.json", part / "signature.json")
        artifact.write_text(part / "recipe.yaml", to_yaml(recipe.dump()))
        signature = Signature.parse(artifact.read_json(data / "signature.json"))
        if fitted:
            artifact.write_json(part / calibration.FILE, fitted._asdict())
        if config := recipe.model.hub_config(signature):
            artifact.write_json(part / "config.json", config)
        tensors.write(part / MODEL, weights)

    return artifact.publish(
        run.model,
        write,
        kind="model",
        parameters=tensors.count(model),
        bytes=tensors.size(weights),
        recipe=recipe.identity(),
        data=data.name,
        environment=artifact.read_json(run.folder / "environment.json"),
        **facts,
    )


def whole(
    part: Path,
    recipe: Recipe,
    model: nn.Module,
    data: Path,
    *,
    fitted: Calibration | None = None,
    **facts: Any,
) -> Run:
    """What a finished run has, of a model that was not trained here, in a folder that is begun."""
    run = Run(part, recipe)
    artifact.write_text(part / "recipe.yaml", to_yaml(recipe.dump()))
    artifact.write_json(part / "environment.json", environment(recipe.fit.threads))
    shutil.copyfile(data / "prepare.json", part / "prepare.json")
    ship(run, model, data, fitted=fitted, **facts)
    run.say("finished")
    return run


def evaluate(folder: Path, split: str = "test") -> dict[str, Measurement]:
    """All metrics of a finished run's model on a split; the data is prepared again if need be."""
    run = Run.open(folder)
    module, recipe, _ = load_model(model_folder(folder))
    module.to(device_of(recipe.fit))
    data = prepared(run.recipe, folder.parent)
    loader = recipe.fit.loader.nearby()
    found = list(judged_answers(recipe, module, data, split, loader=loader))
    also = (*recipe.evaluate.metrics, recipe.metric)
    return verdict(recipe.task, recipe.data.open(data, split), found, also=also)


def go_on(stop: Stop) -> None:
    """Raise Interrupted if somebody asked to stop; what is left is done when the run goes on."""
    if stop:
        text = f"{stop.signal}: training is complete and saved, judging is not"
        raise Interrupted(f"{text}; run the same command again")


def refuse_misfit(recipe: Recipe, folder: Path, signature: Signature, data: Path) -> None:
    """Raise RecipeError where the prepared data shows what could not be foreseen without it."""
    columns = recipe.data.raw_columns(data, "test") if recipe.evaluate.slices else ()
    faults = [
        *recipe.model.fits(signature),
        *foresee(recipe, folder, signature),
        *absent(recipe.evaluate, columns),
    ]
    if faults:
        raise RecipeError(faults)


def note_end(run: Run, error: BaseException) -> None:
    """Let the status say how a run ended before its end, if the disk takes that."""
    left = isinstance(error, GeneratorExit)  # whoever read the events has gone
    if left and run.finished:
        return
    gone = left or isinstance(error, (Interrupted, KeyboardInterrupt))
    message = str(error) or type(error).__name__
    with suppress(OSError, DiskFull):  # the error itself matters more
        run.say("interrupted" if gone else "failed", message=message, **how_far(run))


def how_far(run: Run) -> dict[str, Any]:
    """The last saved step, for a status."""
    saved = checkpoint.complete(run.checkpoints)
    return {"step": checkpoint.step_of(saved[-1])} if saved else {"step": 0}


def _scores(plain: dict[str, Any]) -> dict[str, Measurement]:
    return {name: Measurement.parse(score) for name, score in plain.items()}
