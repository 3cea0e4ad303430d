"""Tune: search over a recipe, with a ledger of what was spent and an honest word at the end.

```
runs/NAME-tune-DIGEST/
  study.db        the ledger (or in any SQL database: --storage)
  states/         where trials stopped, while others may go on from there
  study.json      all that was found
  best.yaml       the winner's recipe: zafu train runs/…/best.yaml
  schedule.json   of a search that changes settings on the way, with winner/model beside it
  report.html
```
A search says what to try next, as a function of what is known; so the same command goes on after
any end, and several processes may work on the same study. The best few are confirmed with fresh
seeds on the same split; the test split is looked at once, for the winner.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from zafu import tensors
from zafu.artifact import read_json, taking_turns, write_json, write_text
from zafu.errors import Interrupted, RecipeError, Refused
from zafu.pipeline import ship
from zafu.run import Run
from zafu.search.contract import Ask, Told
from zafu.searching import confirm as confirming
from zafu.searching import kept, sharded_trials, trials_on_ray
from zafu.searching.found import Result, result
from zafu.searching.trials import Bench, Compute, Over, by_engine, named
from zafu.searching.tuning import Tuning, refused
from zafu.session import Note
from zafu.signals import Stop, stoppable
from zafu.signature import Signature
from zafu.source import to_yaml
from zafu.space import applied
from zafu.study import Row, Study, Wanted, spent

CLAIM, FIRST = 32, 8  # trials that a process takes at a time: at most, and before any was timed
LONG = 60.0  # seconds for which it takes trials, so that a process that comes later finds some
PAUSE = 0.3  # seconds between two looks at what other processes do


class Began(NamedTuple):
    """The search starts or goes on."""

    tuning: Tuning
    done: int  # trials that are over already


class Tried(NamedTuple):
    """A trial is over."""

    row: Row
    best: float | None  # value so far


class Finished(NamedTuple):
    """The study has come to its end."""

    tuning: Tuning
    result: Result
    report: Path


Event = Note | Began | Tried | Finished


def events(tuning: Tuning) -> Iterator[Event]:
    """Carry a study to its end, going on where it stopped.

    Raises RecipeError before anything is spent; Interrupted after a signal, with all trials that
    are over kept.
    """
    if faults := refused(tuning):
        raise RecipeError(faults)
    tuning.folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "recipe": tuning.recipe.dump(),
        "space": tuning.space.dump(),
        "search": tuning.search.dump(),
        "seed": tuning.seed,
    }
    url = tuning.storage or f"sqlite:///{(tuning.folder / 'study.db').resolve()}"
    study = Study.open(url, tuning.digest[:32], facts)
    ray = trials_on_ray.joined(tuning.recipe) if tuning.engine == "ray" else nullcontext()
    with stoppable() as stop, study.beating(), ray:
        yield from Driver(tuning, study, stop).steps()


@dataclass
class Driver:
    """One process's work on a study."""

    tuning: Tuning
    study: Study
    stop: Stop
    notes: list[str] = field(default_factory=list[str])

    def steps(self) -> Iterator[Event]:
        """Search, confirm, and say what was found."""
        tuning = self.tuning
        rows = self.study.rows("search")
        yield Began(tuning, sum(row.over for row in rows))
        self.train_samples = self._train_samples()
        yield from self._said()
        yield from self._stage("search", self._asked, ("validation",))
        rows = self.study.rows("search")
        origins = self._origins(rows)
        if not origins:
            reasons = [row.done.reason for row in rows if row.done.reason][:1]
            raise Refused(f"{tuning.folder}: no trial came to a value ({'; '.join(reasons)})")
        if tuning.confirm:
            yield from self._stage("confirm", self._confirms(rows, origins), self._judged())
        done = self.study.rows("confirm") if tuning.confirm else []
        yield self._finished(rows, done, origins)

    @cached_property
    def bench(self) -> Bench:
        """Where trials are made."""
        return Bench(
            self.tuning.held,
            self.tuning.runs,
            self.tuning.folder / "states",
            keeps=self.tuning.search.goes_on,
            folds=self.tuning.folds,
            stopped=lambda: self.stop.signal,
            say=self.notes.append,
            run=trials_on_ray.ran if self.tuning.engine == "ray" else sharded_trials.ran,
        )

    @cached_property
    def compute(self) -> Compute:
        """Who trains."""
        return by_engine(self.tuning.engine, self.notes.append, lambda: self.stop.signal)

    def _stage(
        self, stage: str, more: Callable[[list[Row]], list[Wanted]], judged: tuple[str, ...]
    ) -> Iterator[Event]:
        """Do trials, and add more when they are over, until there are no more."""
        alone = stage == "search" and self.tuning.search.asynchronous
        while True:
            self._unless_stopped()
            rows = self.study.rows(stage)
            open_ = [row for row in rows if not row.over]
            waiting = [row for row in open_ if row.state == "waiting"]
            paid = stage != "search" or not self._is_spent(rows)
            if paid and not waiting and (alone or not open_):
                if wanted := more(rows):
                    self.study.add(stage, len(rows), wanted)
                    self._keep(stage, wanted)
                    continue
                if not open_:
                    return
            share = self._share(rows, len(waiting)) if paid and waiting else 0
            if mine := self.study.claim(waiting[:share]):
                yield from self._done(mine, rows, judged)
            elif not paid and len(waiting) == len(open_):
                return
            else:
                self.study.reclaim()
                time.sleep(PAUSE)

    def _done(
        self, mine: Sequence[Row], rows: Sequence[Row], judged: tuple[str, ...]
    ) -> Iterator[Event]:
        values = [row.done.value for row in rows if row.done.value is not None]
        last = {row.number for row in mine if row.wanted.until == 1.0}
        try:
            with closing(self._over(mine, judged)) as overs:
                for over in overs:
                    yield from self._said()
                    if not self.study.finish(over.row, over.done):
                        yield Note(f"trial {over.row.number} was done by another process meanwhile")
                        continue
                    if over.done.value is not None and over.row.number in last:
                        values.append(over.done.value)
                    best = (max if self.tuning.higher else min)(values, default=None)
                    self._shipped(over)
                    row = over.row._replace(state=over.done.state, done=over.done)
                    yield Tried(row, best)
        except Interrupted:
            self._unless_stopped()
            raise

    def _shipped(self, over: Over) -> None:
        """Keep the weights at the end of a schedule, which no settings alone would give again."""
        wanted = over.row.wanted
        if self.tuning.search.schedules and over.row.stage == "search" and wanted.until == 1.0:
            self.weights.mkdir(exist_ok=True)
            for outcome in over.outcomes[:1]:
                part = self.weights / f".{over.row.number}.part"
                tensors.write(part, outcome.weights)
                part.replace(self.weights / f"{over.row.number}.safetensors")

    @property
    def weights(self) -> Path:
        """Where the weights at the end of schedules are."""
        return self.tuning.folder / "weights"

    def _over(self, mine: Sequence[Row], judged: tuple[str, ...]) -> Generator[Over]:
        yield from self.bench.over(mine, self.compute, judged)

    def _asked(self, rows: list[Row]) -> list[Wanted]:
        """What the search wants next."""
        tuning = self.tuning
        told = [
            Told(
                row.number,
                Ask(w.settings, w.until, w.of, w.wants == "gradient"),
                row.done.value,
                row.done.gradient,
                not row.over,
            )
            for row in rows
            for w in (row.wanted,)
        ]
        asks = tuning.search.next(tuning.space, told, higher=tuning.higher, seed=tuning.seed)
        return [
            Wanted(a.settings, None, a.until, a.of, wants="gradient" if a.gradient else "")
            for a in asks
        ]

    def _confirms(self, rows: list[Row], origins: list[int]) -> Callable[[list[Row]], list[Wanted]]:
        many = self.tuning.confirm.seeds if self.tuning.confirm else 0
        seeds = [(self.tuning.recipe.seed + 1 + n) % 2**32 for n in range(many)]
        return lambda done: confirming.wanted(rows, origins, done, seeds=seeds)

    def _origins(self, rows: list[Row]) -> list[int]:
        """Numbers of the trials that are to be confirmed, the best first."""
        found = confirming.ranked(rows, higher=self.tuning.higher)
        if not self.tuning.confirm:
            return found[:1]
        top, seeds = self.tuning.confirm
        tried = len({repr(row.wanted.settings) for row in rows if row.over})
        top = min(top, max(1, tried // confirming.SHARE))
        if self.tuning.budget.seconds:
            affordable = self.tuning.budget.seconds / 2 / max(_full(rows) * seeds, 1e-9)
            top = max(1, min(top, int(affordable)))
        return found[:top]

    def _is_spent(self, rows: list[Row]) -> bool:
        """Whether the budget has no room for more trials, with what confirming will take."""
        budget, cost = self.tuning.budget, spent(rows)
        if budget.epochs and cost["samples"] >= budget.epochs * self.train_samples:
            return True
        if budget.seconds is None:
            return False
        top, seeds = self.tuning.confirm or (0, 0)
        tried = sum(row.over for row in rows)
        later = min(top, max(1, tried // confirming.SHARE)) * seeds * _full(rows)
        return cost["wall"] >= budget.seconds - min(later, budget.seconds / 2)

    def _share(self, rows: list[Row], waiting: int) -> int:
        """How many trials to claim at once: others may come, and the budget pays for so many."""
        budget, cost = self.tuning.budget, spent(rows)
        if self.tuning.search.asynchronous:
            return 1
        if not cost["trials"]:
            return math.ceil(min(waiting, FIRST) / self.study.crew())
        each = max(cost["wall"] / cost["trials"], 1e-9)
        cores = len(os.sched_getaffinity(0))
        most = [CLAIM, max(LONG / each, cores), max(waiting / self.study.crew(), 1)]
        if budget.seconds is not None:
            most.append((budget.seconds - cost["wall"]) / each / 2)
        if budget.epochs is not None:
            left = budget.epochs * self.train_samples - cost["samples"]
            most.append(left / max(cost["samples"] / cost["trials"], 1e-9))
        return max(1, math.ceil(min(most)))

    def _train_samples(self) -> int:
        recipe = self.bench.recipe
        if self.tuning.folds:
            path = "data.split.validation"
            recipe = recipe.at(path, {"fold": 0, "of": self.tuning.folds})
        return len(recipe.data.open(self.bench.data(recipe), "train"))

    def _judged(self) -> tuple[str, ...]:
        """The splits that confirming judges."""
        recipe = self.bench.recipe
        if self.tuning.folds or not recipe.data.split.test:
            return ("validation",)
        return ("validation", "test")

    def _keep(self, stage: str, wanted: Sequence[Wanted]) -> None:
        """Remove states that nothing will go on from."""
        if self.tuning.search.asynchronous and stage == "search":
            return
        folds = range(max(self.tuning.folds, 1))
        names = [named(stage, w.of, f) for w in wanted if w.of is not None for f in folds]
        kept.keep(self.bench.states, names)

    def _finished(self, rows: list[Row], done: list[Row], origins: list[int]) -> Finished:
        tuning = self.tuning
        found = result(
            (tuning.held, tuning.space),
            rows,
            done,
            origins,
            higher=tuning.higher,
            samples=self.train_samples,
        )
        with taking_turns(tuning.folder / ".lock"):  # another process may be here as well
            if tuning.search.schedules:
                self._ship(found)
            for folder in (self.bench.states, self.weights):
                shutil.rmtree(folder, ignore_errors=True)
            return written(tuning, found)

    def _ship(self, found: Result) -> None:
        """Publish the weights to which the winner's schedule has led as a finished model."""
        file = self.weights / f"{found.winner.origin}.safetensors"
        plan = found.winner.schedule
        if not file.is_file():  # all of it was done before
            return
        recipe = applied(self.tuning.held, plan[-1][1])
        run, data = Run(self.tuning.folder / "winner", recipe), self.bench.data(recipe)
        run.begin()
        signature = Signature.parse(read_json(data / "signature.json"))
        model = recipe.model.build(signature)
        tensors.into_module(model, tensors.read(file), file)
        ship(run, model, data, step=0)

    def _said(self) -> Iterator[Note]:
        said, self.notes[:] = list(self.notes), []
        yield from map(Note, dict.fromkeys(said))

    def _unless_stopped(self) -> None:
        if self.stop:
            text = "all trials that are over are kept; the same command goes on"
            raise Interrupted(f"{self.stop.signal}: {self.tuning.folder}: {text}")


def written(tuning: Tuning, found: Result) -> Finished:
    """Write down what was found."""
    from zafu.report.study import page

    folder = tuning.folder
    facts = {
        "name": folder.name,
        "recipe": tuning.recipe.dump(),
        "search": tuning.search.dump(),
        "space": tuning.space.dump(),
        "seed": tuning.seed,
        "metric": tuning.recipe.metric,
        "higher_is_better": tuning.higher,
        **found.dump(),
    }
    write_json(folder / "study.json", facts)
    if tuning.search.schedules:
        plan = [{"until": until, "settings": found} for until, found in found.winner.schedule]
        write_json(folder / "schedule.json", plan)
    else:
        best = applied(tuning.held, found.winner.schedule[0][1])
        write_text(folder / "best.yaml", to_yaml(best.dump()))
    report = folder / "report.html"
    write_text(report, page(facts))
    return Finished(tuning, found, report)


def _full(rows: Sequence[Row]) -> float:
    """Seconds that the whole budget of one training takes, by the trials so far; 0: unknown."""
    begun = {row.number: row.wanted.until for row in rows}
    over = [row for row in rows if row.over and row.done.wall]
    shares = [
        row.wanted.until - (begun[row.wanted.of] if row.wanted.of is not None else 0.0)
        for row in over
    ]
    return sum(row.done.wall for row in over) / sum(shares) if over else 0.0
