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

from zafu import loop
from zafu.errors import Interrupted
from zafu.judge import answers, glance, unless_stopped
from zafu.loop import Step
from zafu.parallel import counting
from zafu.parallel.pace import paced
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

SECONDS_BETWEEN_SAVES = 60.0
STEPS_BETWEEN_COMPARISONS = 50  # of what several ranks hold; before a save in any case


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
    scores = glance(task, session.validation, found, recipe.metric)
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
    sign = 1 if recipe.higher_is_better else -1
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
    if not len(session.validation):
        return False
    spec, progress, total = session.run.recipe.fit, session.state.progress, session.budget[1]
    if total:
        before = (progress.samples - step.samples) / total
    else:
        before = (progress.seconds - step.spent) / (spec.seconds or math.inf)
    return loop.due(spec, step.number, before, progress.share(total, spec.seconds))


def save_due(session: Session) -> bool:
    """Whether a checkpoint is written after this step; weights do not depend on it."""
    every = session.run.recipe.fit.save_every
    if session.step in session.ends:
        return True
    if every:
        return session.step % every == 0
    spread = session.objective.spread
    return spread.any(session.first and perf_counter() - session.saved_at > SECONDS_BETWEEN_SAVES)
