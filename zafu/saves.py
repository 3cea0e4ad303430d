"""Saves: checkpoints of a session, written while it trains on, and what becomes of their errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from time import perf_counter

from zafu import checkpoint, saving
from zafu.parallel import together
from zafu.saving import Save
from zafu.session import Note, Session, compare, log, pinned
from zafu.units import Bytes


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
    kept = pinned(session)
    world = session.saving.world

    def tidy() -> None:
        if session.first:
            checkpoint.prune(run.checkpoints, keep=run.recipe.fit.keep, pinned=kept)
            run.say("running", step=state.progress.step, seconds=state.progress.seconds)

    def write() -> None:  # what fails in one process is heard by all
        together.agreed(world, session.metrics.sync)
        checkpoint.publish(run.checkpoints, moment, world, **facts)
        together.agreed(world, tidy)

    session.saved, session.saved_at = asdict(state), perf_counter()
    return session.saving.begin(
        state.progress.step, write, stood=session.saved_at - begun, waited=waited
    )
