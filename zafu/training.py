"""Training: the loop, and around it what must be measured, kept and decided between its steps.

An interrupted evaluation is remembered as pending and done first when the run goes on; so the
decisions that follow from it (the best weights, an early end) do not depend on interruptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import nn

from zafu import loop
from zafu.errors import Interrupted, Refused
from zafu.fit import Fit
from zafu.judge import answers, unless_stopped, verdict
from zafu.loop import Step
from zafu.nets.depth import Recomputing
from zafu.optim.contract import Optimizer
from zafu.optim.runtime.parameters import parameter_groups
from zafu.optim.runtime.update import Update
from zafu.parallel import counting
from zafu.parallel.pace import paced
from zafu.parallel.spread import ALONE, Spread
from zafu.parallel.world import World
from zafu.run import Run
from zafu.saves import end_save, save, save_here, saved, whole
from zafu.session import (
    Judged,
    Note,
    Session,
    compare,
    cost,
    log,
    log_interval,
    pace,
    settled,
    uneven,
)
from zafu.signals import Stop
from zafu.signature import Signature

EVALUATIONS = 10  # during training, where the recipe does not say
SECONDS_BETWEEN_SAVES = 60.0
STEPS_BETWEEN_COMPARISONS = 50  # of what several ranks hold; before a save in any case


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
