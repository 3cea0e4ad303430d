"""Training: the loop, and around it what must be measured, kept and decided between its steps.

An interrupted evaluation is remembered as pending and done first when the run goes on; so the
decisions that follow from it (the best weights, an early end) do not depend on interruptions.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import nn

from zafu import artifact, checkpoint, costs, loop, saving
from zafu.checkpoint import State
from zafu.data.contract import Split
from zafu.errors import Diverged, Interrupted, Refused
from zafu.fit import Fit
from zafu.judge import answers, unless_stopped, verdict
from zafu.loading.contract import Choice, Loader
from zafu.loop import Objective, Step
from zafu.measure import Measurement
from zafu.nets.depth import Recomputing
from zafu.optim.contract import Optimizer
from zafu.optim.runtime.parameters import parameter_groups
from zafu.optim.runtime.update import Update
from zafu.parallel import counting, digest, together
from zafu.parallel.digest import Replicas
from zafu.parallel.pace import Slow, paced
from zafu.parallel.schedules import bubble
from zafu.parallel.spread import ALONE, Spread
from zafu.parallel.world import World
from zafu.run import Run
from zafu.saving import Save, Saving
from zafu.signals import Stop
from zafu.signature import Signature
from zafu.track.contract import Log
from zafu.track.metrics import Metrics
from zafu.units import Bytes

POINTS = 500  # logged lines of a run, about
EVALUATIONS = 10  # during training, where the recipe does not say
SECONDS_BETWEEN_SAVES = 60.0
STEPS_BETWEEN_COMPARISONS = 50  # of what several ranks hold; before a save in any case


class Note(NamedTuple):
    """A sentence for the user."""

    text: str


class Judged(NamedTuple):
    """A split was judged."""

    split: str
    step: int
    scores: dict[str, Measurement]


@dataclass
class Session:
    """One process's work on a run: all that training needs, in one place."""

    run: Run
    objective: Objective
    update: Update
    state: State
    metrics: Metrics
    stop: Stop
    validation: Split
    logs: list[Log] = field(default_factory=list[Log])
    waiting: list[Step] = field(default_factory=list[Step])  # not yet logged
    choices: list[Choice] = field(default_factory=list[Choice])  # of a loader, not yet said
    chosen: Loader | None = None  # the one that reads, where fit.loader left that open
    notes: list[Note] = field(default_factory=list[Note])  # not yet said
    saving: Saving = field(default_factory=Saving)
    saved: dict[str, Any] | None = None  # the state that the newest save is of
    lent: bool = False  # whether there was no memory for a copy, which then was said
    saved_at: float = field(default_factory=perf_counter)
    compared: int | None = None  # the step after which copies were last found equal
    comparing: float = 0.0  # seconds that this took in this process
    training: float = 0.0  # seconds that its steps took
    slow: set[int] = field(default_factory=set[int])  # ranks that were behind when last compared

    @property
    def step(self) -> int:
        """Updates done so far."""
        return self.state.progress.step

    @property
    def first(self) -> bool:
        """Whether this is the rank that keeps the run's records."""
        return self.objective.spread.world.rank == 0

    @property
    def stopping(self) -> bool:
        """Whether any rank was asked to stop, the same on all."""
        return self.objective.spread.any(bool(self.stop))

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.state.progress.share(self.budget[1], self.run.recipe.fit.seconds) >= 1

    @property
    def reader(self) -> Loader:
        """Who reads what is judged."""
        return (self.chosen or self.run.recipe.fit.loader).nearby()

    @cached_property
    def replicas(self) -> Replicas:
        """What of the weights and their update other ranks hold as well."""
        return Replicas(self.objective.spread, self.update)

    @cached_property
    def budget(self) -> tuple[int, int | None]:
        """As `loop.budget`, which may read through the whole split, asked for once."""
        return loop.budget(self.objective.split, self.run.recipe.fit)


def build(
    run: Run, signature: Signature, world: World | None = None
) -> tuple[nn.Module, Update, Spread]:
    """The recipe's model with fresh weights on its device, what updates it, and who helps.

    All weights are drawn on each rank, from the same seed, before a rank keeps its own.
    """
    recipe, spec = run.recipe, run.recipe.fit
    if spec.threads:
        torch.set_num_threads(spec.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = recipe.model.build(signature)
    if spec.recompute:
        if not isinstance(model, Recomputing):
            raise Refused(f"fit.recompute: {recipe.model.kind} cannot recompute its activations")
        model.recompute = True
    model.to(device_of(spec))
    groups = parameter_groups(model, spec.optimizer)  # what does not move requires no gradient
    names, spread = model, ALONE
    if world is not None and not world.alone:
        from zafu.parallel.ranks import Ranks

        with torch.device("meta"):
            names = recipe.model.build(signature)
        whole, narrow = looked_at_whole(spec.optimizer, groups), spec.precision == "fp16"
        spread = Ranks(model, world, recipe.task, whole, narrow=narrow)
        model = spread.model
    if spec.compile:
        spread.compile(model)
    update = Update(
        names,
        optimizer=spec.optimizer,
        schedule=spec.schedule,
        penalties=spec.penalties,
        clip=spec.clip,
        noise=spec.noise,
        average=spec.average,
        seed=recipe.seed,
        held=spread.held,
    )
    return model, update, spread


def looked_at_whole(optimizer: Optimizer, groups: list[dict[str, Any]]) -> set[str]:
    """The parameters that an optimizer can't move in parts."""
    return {
        name
        for group in groups
        for name, _ in group["params"]
        if optimizer.looks_at_whole(hidden=name in group["hidden"])
    }


def device_of(spec: Fit) -> torch.device:
    """The device that a recipe asks for; raises Refused if it is not there."""
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise Refused("fit.device: expected a CUDA device, found none; use fit.device=cpu")
    found = "cuda" if spec.device != "cpu" and torch.cuda.is_available() else "cpu"
    return torch.device(found)


def steps(session: Session) -> Iterator[Step | Judged | Note]:
    """Train to the end of the budget or of patience; a checkpoint of the end is there afterwards.

    Raises Interrupted after a signal, when the current step is saved.
    """
    state = session.state
    with whole(session):
        if state.pending:
            yield from evaluate(session)
        if session.stopping:  # nothing was done since the last save, or a pending evaluation
            end_save(session)
            raise Interrupted(f"{session.stop.signal}: run the same command again to go on")
        if not state.stopped:
            yield from _steps(session)
            save_here(session)
            if session.replicas.any and session.training:
                share = session.comparing / session.training
                text = "what several ranks hold was the same throughout; to compare took"
                yield Note(f"{text} {share:.2%}")


def _steps(session: Session) -> Iterator[Step | Judged | Note]:
    state, every = session.state, log_interval(session)
    said = partial(cost, session)
    fitting = loop.fit(session.objective, session.update, state.progress, session.choices.append)
    with closing(fitting):  # whoever reads ahead ends however this ends
        counted = counting.counted(fitting, session.objective.spread, session.update, said)
        world, keeps = session.objective.spread.world, partial(pace, session)
        for step in paced(counted, world, keeps, uneven(session)):
            session.waiting.append(step)
            session.training += step.seconds
            if step.number % every == 0:
                log(session)
            yield step
            saved(session)
            yield from settled(session)
            if step.number % STEPS_BETWEEN_COMPARISONS == 0:
                compare(session)
            if evaluation_due(session, step):
                state.pending = True
                yield from evaluate(session)
            if session.stopping:
                save_here(session)
                raise Interrupted(
                    f"{session.stop.signal}: step {step.number} is saved; "
                    "run the same command again to go on"
                )
            if save_due(session):
                save(session)
            if state.stopped:
                break


def compare(session: Session) -> None:
    """Raise Diverged, on all ranks, where copies of the same numbers have different bits."""
    if session.objective.spread.world.alone or session.compared == session.step:
        return
    begun = perf_counter()
    found = session.replicas.different()
    session.comparing += perf_counter() - begun
    if not found:
        session.compared = session.step
        return
    saved = checkpoint.complete(session.run.checkpoints)
    since = (
        "" if session.compared is None else f"; they were the same after step {session.compared}"
    )
    whence = saved[-1].name if saved else "the start, as there is no checkpoint"
    raise Diverged(
        f"step {session.step}: {digest.told(found)}{since}. Memory or a processor may be at fault. "
        f"Nothing of this was saved: the same command goes on from {whence}"
    )


def settled(session: Session) -> Iterator[Note]:
    """Record and say how data is read from here on, where that was to be found out; other notes."""
    yield from session.notes
    session.notes.clear()
    for choice in session.choices:
        session.chosen = choice.loader
        seconds = {f"seconds_{name}": value for name, value in choice.seconds.items()}
        row = {"step": session.step, "loader": choice.loader.dump(), "of_a_batch": seconds}
        session.metrics.append(row)
        yield Note(choice.why)
    session.choices.clear()


def cost(session: Session, step: Step, ranks: list[dict[str, Any]]) -> None:
    """Write down what a step cost each rank of the layout, beside what theory says, and say it."""
    if not session.first:
        return
    run, layout = session.run, session.run.recipe.layout
    data = run.folder.parent / "data" / session.state.data
    signature = Signature.parse(artifact.read_json(data / "signature.json"))
    foreseen = costs.of_ranks(run.recipe, signature, samples=step.samples)
    for rank, theory in zip(ranks, foreseen, strict=True):
        rank["theory"] = theory.dump()
    found = {
        "step": step.number,
        "layout": layout.dump(),
        "device": session.objective.spread.world.device.type,
        "idle": bubble(layout),
        "ranks": ranks,
    }
    artifact.write_json(run.folder / costs.NAME, found)
    session.notes += map(Note, costs.said(found))


def pace(session: Session, step: Step, slow: list[Slow]) -> None:
    """Record which ranks take longer than the others; say what has changed about that."""
    before, session.slow = session.slow, {there.rank for there in slow}
    if not session.first:
        return
    if slow:
        rows = [there._asdict() for there in slow]
        session.metrics.append({"step": step.number, "slow": rows})
    new = [str(there) for there in slow if there.rank not in before]
    new += [f"rank {rank} keeps pace again" for rank in sorted(before - session.slow)]
    if new:
        session.notes.append(Note(f"step {step.number}: {'; '.join(new)}"))


def uneven(session: Session) -> float:
    """The largest share of a batch over the smallest; infinite where one has no sample."""
    (size, _), (_, of) = session.budget, session.objective.spread.dealt
    return -(-size // of) / (size // of) if size >= of else math.inf


def evaluate(session: Session) -> Iterator[Judged]:
    """Judge the weights that would be shipped, unless a signal comes first; note what is best."""
    state, recipe = session.state, session.run.recipe
    begun = perf_counter()
    settings = recipe.evaluate
    with session.update.evaluating():
        model, task = session.objective.model, recipe.task
        found = unless_stopped(
            answers(
                model,
                task,
                session.validation,
                batch=settings.batch,
                most=settings.during,
                loader=session.reader,
                spread=session.objective.spread,
            ),
            # ranks that wait for each other can't leave an evaluation one by one
            session.stop if session.objective.spread.world.alone else Stop(),
        )
    if found is None:
        return
    scores = verdict(task, session.validation, found)
    state.pending = False
    log(session)
    session.metrics.append(
        {
            "step": session.step,
            "split": "validation",
            "scores": {name: score.dump() for name, score in scores.items()},
            "weights": session.update.measurements(),
            "seconds": perf_counter() - begun,
        }
    )
    for sink in session.logs:
        values = {f"validation/{name}": score.value for name, score in scores.items()}
        sink.log(session.step, values)
    decide(session, scores[recipe.metric].value)
    yield Judged("validation", session.step, scores)


def decide(session: Session, value: float) -> None:
    """Note whether this is the best evaluation so far, and whether patience is at its end."""
    state, recipe = session.state, session.run.recipe
    patience = recipe.fit.early_stopping
    sign = 1 if recipe.task.metrics[recipe.metric] else -1
    margin = patience.min_delta if patience else 0.0
    if state.best_value is None or sign * (value - state.best_value) > margin:
        state.best_step, state.best_value, state.stale = session.step, value, 0
        if patience:
            save(session)
    else:
        state.stale += 1
    state.stopped = bool(patience and state.stale >= patience.patience)


def save(session: Session) -> None:
    """Take a copy of this moment, which becomes a checkpoint while training goes on.

    Nothing is done if this very state is saved already. Training waits for the disk after its last
    step, for a small state, and where there is no memory for a copy. Raises what the save before
    has raised.
    """
    if asdict(session.state) == session.saved:
        return
    if session.over:
        save_here(session)
        return
    begun = perf_counter()
    end_save(session)
    waited = perf_counter() - begun
    compare(session)
    moment, any_rank = _moment(session), session.objective.spread.any
    count, boxes = len(moment.weights), [*moment.weights, *moment.others]
    size = sum(box.tensor.nbytes for box in boxes)
    short = any_rank(not session.saving.fits(boxes))  # else ranks would not wait alike
    if short and not session.lent:
        text = f"no memory for a copy of the state ({Bytes(size)}): training waits for each save"
        session.notes.append(Note(text))
        session.lent = True
    if short or not any_rank(size > saving.SMALL):
        save_here(session)
        return
    copies = session.saving.copied(boxes)
    moment = moment._replace(weights=copies[:count], others=copies[count:])
    _begin_save(session, moment, begun, waited)


def save_here(session: Session) -> None:
    """A checkpoint of this step is whole afterwards; training waits for it.

    Raises what went wrong with it or with the save before.
    """
    begun = perf_counter()
    end_save(session)
    if asdict(session.state) == session.saved:
        return
    waited = perf_counter() - begun
    compare(session)
    save = _begin_save(session, _moment(session), begun, waited)
    save.behind.exception()
    save.seconds = perf_counter() - begun
    end_save(session)


def saved(session: Session) -> None:
    """After a step: raise what a save has raised, on all ranks alike; record one that is whole."""
    if session.saving.under_way and not session.objective.spread.any(not session.saving.written):
        end_save(session)


def end_save(session: Session) -> None:
    """Wait for the save under way, and record it; raises what it has raised."""
    if error := _ended(session):
        raise error


@contextmanager
def whole(session: Session) -> Generator[None]:
    """However the inside ends, what was to be saved is on the disk, or it is said why not."""
    try:
        yield
    except BaseException as error:
        step = session.saving.under_way and session.saving.under_way.step
        if failure := _ended(session):
            if isinstance(error, GeneratorExit):  # nobody would hear a note
                raise failure from None
            error.add_note(f"besides, step {step} could not be saved: {failure}")
        raise
    end_save(session)


def _ended(session: Session) -> BaseException | None:
    """Wait for the save under way; what it has raised. One that is whole is recorded."""
    save = session.saving.under_way
    if error := session.saving.end():
        return error
    if save:
        waits = {"seconds_waited": save.waited, "seconds_behind": save.behind.result()}
        session.metrics.append({"step": save.step, "saved": True, "seconds": save.seconds, **waits})
    return None


def _moment(session: Session) -> checkpoint.Moment:
    model, spread = session.objective.model, session.objective.spread
    return checkpoint.moment(model, session.update, session.state, spread)


def _begin_save(session: Session, moment: checkpoint.Moment, begun: float, waited: float) -> Save:
    """Let a thread publish a moment, then remove the checkpoints that are not needed any more."""
    log(session)
    run, state = session.run, moment.state
    facts = {"recipe": run.recipe.identity(), "data": state.data}
    pinned = {run.checkpoints / checkpoint.name_of(state.best_step)} if patience_of(run) else ()

    world = session.saving.world

    def tidy() -> None:
        if session.first:
            checkpoint.prune(run.checkpoints, keep=run.recipe.fit.keep, pinned=pinned)
            run.say("running", step=state.progress.step, seconds=state.progress.seconds)

    def write() -> None:  # what fails in one process is heard by all
        together.agreed(world, session.metrics.sync)
        checkpoint.publish(run.checkpoints, moment, world, **facts)
        together.agreed(world, tidy)

    session.saved, session.saved_at = asdict(state), perf_counter()
    return session.saving.begin(
        state.progress.step, write, stood=session.saved_at - begun, waited=waited
    )


def log(session: Session) -> None:
    """Write one line for the steps since the last: means of what varies, sums of what adds up."""
    if not session.waiting:
        return
    rows, session.waiting = session.waiting, []
    targets = sum(r.targets for r in rows)
    seconds = sum(r.seconds for r in rows)
    samples = sum(r.samples for r in rows)
    values = means(rows)
    row = {
        "step": rows[-1].number,
        "steps": len(rows),
        **values,
        "samples": samples,
        "targets": targets,
        "skipped": sum(not r.applied for r in rows),
        "seconds": seconds,
        "seconds_data": sum(r.seconds_data for r in rows),
        "seconds_update": sum(r.seconds_update for r in rows),
    }
    session.metrics.append(row)
    for sink in session.logs:
        sink.log(rows[-1].number, {**values, "samples_per_second": samples / seconds})


def means(rows: list[Step]) -> dict[str, float]:
    """What is logged of some steps in a row, apart from sums."""
    return {
        "loss": sum(r.loss * r.targets for r in rows) / sum(r.targets for r in rows),
        "grad_norm": sum(r.grad_norm for r in rows) / len(rows),
        "lr": rows[-1].lr,
    }


def log_interval(session: Session) -> int:
    """Steps between logged lines, so that a run has about POINTS of them."""
    size, total = session.budget
    return 1 if total is None else max(1, math.ceil(total / size / POINTS))


def evaluation_due(session: Session, step: Step) -> bool:
    """Whether the validation split is judged after this step: a function of the step alone."""
    spec, progress = session.run.recipe.fit, session.state.progress
    if not len(session.validation):
        return False
    if spec.evaluate_every:
        return step.number % spec.evaluate_every == 0
    _, total = session.budget
    after = progress.share(total, spec.seconds)
    if total:
        before = (progress.samples - step.samples) / total
    else:
        before = (progress.seconds - step.spent) / (spec.seconds or math.inf)
    return math.floor(after * EVALUATIONS) > math.floor(before * EVALUATIONS)


def save_due(session: Session) -> bool:
    """Whether a checkpoint is written after this step; weights do not depend on it."""
    every = session.run.recipe.fit.save_every
    if every:
        return session.step % every == 0
    spread = session.objective.spread
    return spread.any(session.first and perf_counter() - session.saved_at > SECONDS_BETWEEN_SAVES)


def patience_of(run: Run) -> bool:
    """Whether the best checkpoint of this run is needed at its end."""
    return run.recipe.fit.early_stopping is not None


def best_checkpoint(session: Session) -> Path | None:
    """The checkpoint whose weights are shipped, where that is not simply the last."""
    if not patience_of(session.run) or session.state.best_step is None:
        return None
    return session.run.checkpoints / checkpoint.name_of(session.state.best_step)
