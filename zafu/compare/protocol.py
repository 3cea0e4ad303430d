"""The protocol of a comparison: tune each arm alike, then judge the winners on fresh seeds.

1. Each arm gets the same number of trials over its own space, the same budget and schedule.
2. What is best on the validation split is trained anew on fresh seeds, the same for all arms:
   the same initial weights where the model is the same, the same order, the same split.
3. Seeds are added until every arm is told apart from the first, or no more may be spent.
4. The test split judges, at the end of the schedule. It is looked at by nothing else.

After Schmidt et al., 2021 (arXiv:2007.01547), Choi et al., 2019 (arXiv:1910.05446), and Dahl et
al., 2023 (arXiv:2306.07179). What is shown holds for this split of this data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from zafu import run
from zafu.artifact import only_writer, read_json, write_json, write_text
from zafu.compare import claims, goal, kept, pace, result, tuning
from zafu.compare.arms import LR, Arm
from zafu.compare.claims import Claimed, Statement
from zafu.compare.decide import Plan, Shown, escalated, shown, undecided
from zafu.compare.kept import Record
from zafu.compare.result import Answer, Row
from zafu.compare.tuning import Tuned
from zafu.errors import Damaged, Interrupted
from zafu.source import to_yaml
from zafu.spec import digest_of
from zafu.trial import Trial

POINTS = 40  # of a learning curve
SPLITS = ("train", "validation", "test")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """What is to be compared, and how carefully."""

    name: str
    arms: tuple[Arm, ...]
    trials: int = 20  # for each arm
    plan: Plan = field(default_factory=Plan)
    target: float | None = None  # of the metric, for the time to it; None: by the best arm
    budget: float | None = None  # seconds after which no further seeds are added
    recipe: str = ""  # its name, where that of the comparison says more
    says: str = ""  # the claim, if one is made
    statements: tuple[Statement, ...] = ()  # of the claim, which then decides on further seeds

    @property
    def metric(self) -> str:
        """By which arms are judged."""
        return self.arms[0].recipe.metric

    @property
    def higher(self) -> bool:
        """Whether more of it is better."""
        return self.arms[0].recipe.task.higher_is_better(self.metric)

    def identity(self) -> str:
        """Digest of all that decides the answer, save how long it may take."""
        arms = [
            [arm.name, arm.recipe.identity(), arm.space.dump() if arm.space else None]
            for arm in self.arms
        ]
        asked = [repr(one) for one in self.statements]
        return digest_of([arms, self.trials, self.plan.dump(), self.target, asked])

    def folder(self, runs: Path) -> Path:
        """Where it lies."""
        return runs / f"{self.name}-compare-{self.identity()[:8]}"


@dataclass
class Work:
    """One process's work on a comparison."""

    comparison: Comparison
    folder: Path
    data: dict[str, Path]  # of each arm
    say: Say
    stopped: Callable[[], str]
    began: float = field(default_factory=perf_counter)
    before: float = 0.0  # seconds of earlier processes
    engines: list[str] = field(default_factory=list[str])  # what was said of who computes

    @property
    def seconds(self) -> float:
        """All that was spent on it, here and before."""
        return self.before + perf_counter() - self.began

    def done(self, what: str, trials: Mapping[str, Trial]) -> dict[str, Record]:
        """The records of these trials; those that are not known yet are made now."""
        return kept.done(
            self.folder / "trials",
            trials,
            say=lambda done, of: self.say(f"{what}: {done} of {of} trainings"),
            log=self._log,
            stopped=self.stopped,
        )

    def note(self, state: str, **facts: Any) -> None:
        """Say how it stands."""
        write_json(self.folder / "status.json", {"state": state, "seconds": self.seconds, **facts})

    def _log(self, text: str) -> None:
        if text not in self.engines:
            self.engines.append(text)
            self.say(text)


def compare(
    comparison: Comparison,
    runs: Path,
    *,
    say: Say = lambda _: None,
    stopped: Callable[[], str] = lambda: "",
) -> tuple[Path, Answer]:
    """The folder of a comparison and what it found; goes on where it was stopped.

    Raises Interrupted after a signal, with every finished training kept, Busy if another process
    is at it.
    """
    folder = comparison.folder(runs)
    data: dict[str, Path] = {}
    for arm in comparison.arms:
        say(f"prepares the data of {arm.name}")
        data[arm.name] = run.prepared(arm.recipe, runs, say=say, stopped=stopped)
    with only_writer(folder):
        work = Work(comparison, folder, data, say, stopped, before=_before(folder))
        write_text(folder / "recipe.yaml", to_yaml(comparison.arms[0].recipe.dump()))
        work.note("running")
        try:
            answer = _answer(work)
        except Interrupted as error:
            work.note("interrupted")
            text = "what was trained is kept, the same command goes on"
            raise Interrupted(f"{str(error).partition(':')[0]}: {text}") from None
        write_json(folder / "comparison.json", answer.dump())
        work.note("finished", seeds=answer.seeds)
    return folder, answer


def _answer(work: Work) -> Answer:
    of = work.comparison
    tuned = tune(work)
    paces = pace.paces(
        work.folder / "pace.json",
        {name: final(one, work.data[name], 0) for name, one in tuned.items()},
        stopped=work.stopped,
    )
    n, looked = escalated(
        of.plan,
        lambda n: _looked(of, finals(work, tuned, n)),
        open_=lambda look: claims.open_(look.claim) if look.claim else undecided(look.shown),
        may=lambda: may_go_on(work),
    )
    records, target = looked.records, of.target
    if target is None:
        target = goal.target_of(records, higher=of.higher)
    rows = tuple(_row(work, arm, tuned[arm.name], looked, paces, target) for arm in of.arms)
    return Answer(
        name=of.name,
        recipe=of.recipe or of.name,
        metric=of.metric,
        higher_is_better=of.higher,
        seeds=n,
        looks=len(of.plan.looks),
        target=target,
        rows=rows,
        seconds=work.seconds,
        claim=looked.claim,
        notes=tuple(work.engines),
    )


class Look(NamedTuple):
    """What so many seeds say."""

    records: dict[str, list[Record]]
    shown: dict[str, Shown]
    claim: Claimed | None


def _looked(of: Comparison, records: dict[str, list[Record]]) -> Look:
    values = {name: kept.column(own, "test") for name, own in records.items()}
    found = shown(of.plan, values, higher=of.higher)
    claim = None
    if of.statements:
        claim = claims.answered(
            of.name, of.says, of.statements, records, higher=of.higher, plan=of.plan
        )
    return Look(records, found, claim)


def _row(
    work: Work,
    arm: Arm,
    tuned: Tuned,
    look: Look,
    paces: Mapping[str, list[float]],
    target: float | None,
) -> Row:
    of, records = work.comparison, look.records[arm.name]
    seconds = pace.pace(paces[arm.name])
    reached, to_target = result.to_target(records, target, seconds.value / 1e3, higher=of.higher)
    values = {split: tuple(record.values.get(split) for record in records) for split in SPLITS}
    return Row(
        name=arm.name,
        trials=len(tuned.tried),
        settings=tuned.settings,
        edges=tuple(tuned.edges),
        final=result.over([v for v in values["test"] if v is not None]),
        gap=result.gap(records, higher=of.higher),
        shown=look.shown.get(arm.name),
        reached=reached,
        to_target=to_target,
        lr_width=tuning.lr_width(arm, tuned, higher=of.higher),
        update=seconds,
        ratio=pace.ratio(paces[arm.name], paces[of.arms[0].name]),
        spent=result.spent([*tuned.records, *records]),
        diverged=result.diverged(records),
        values=values,
        curve=result.curve_of(records),
        tried=tuple((s[LR], v) for s, v in tuned.tried if LR in s),
    )


def _before(folder: Path) -> float:
    """Seconds that earlier processes spent."""
    try:
        found = read_json(folder / "status.json")
    except Damaged:
        return 0.0
    seconds = found.get("seconds") if isinstance(found, dict) else None
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


def _numbers(key: str) -> tuple[int, int]:
    number, _, seed = key.partition("/")
    return int(number), int(seed)


def tune(work: Work) -> dict[str, Tuned]:
    """What tuning finds for each arm; the trials of all arms are asked for together."""
    of = work.comparison
    first = {arm.name: tuning.first(arm, work.data[arm.name], of.trials) for arm in of.arms}
    found = _nested(work, "tuning", first)
    second = {
        arm.name: {
            f"{number}/{seed}": trial
            for (number, seed), trial in tuning.second(
                arm, work.data[arm.name], list(found[arm.name].values()), higher=of.higher
            ).items()
        }
        for arm in of.arms
    }
    again = _nested(work, "the best again", second)
    return {
        arm.name: tuning.chosen(
            arm,
            list(found[arm.name].values()),
            {_numbers(key): record for key, record in again[arm.name].items()},
            higher=of.higher,
        )
        for arm in of.arms
    }


def finals(work: Work, tuned: Mapping[str, Tuned], n: int) -> dict[str, list[Record]]:
    """The records of each arm's winner on the first n fresh seeds."""
    wanted = {
        name: {str(i): final(one, work.data[name], i) for i in range(n)}
        for name, one in tuned.items()
    }
    found = _nested(work, f"{n} seeds", wanted)
    return {name: list(own.values()) for name, own in found.items()}


def final(tuned: Tuned, data: Path, seed: int) -> Trial:
    """The training of a winner on the fresh seed of this number."""
    return Trial(tuning.seeded(tuned.recipe, 1 + seed), data, judged=SPLITS, points=POINTS)


def may_go_on(work: Work) -> bool:
    """Whether the budget allows for another look, which takes about as long as the first."""
    return work.comparison.budget is None or work.seconds < work.comparison.budget


def _nested(
    work: Work, what: str, trials: Mapping[str, Mapping[str, Trial]]
) -> dict[str, dict[str, Record]]:
    """Trials by arm and key, asked for together."""
    flat = {f"{arm}\n{key}": trial for arm, own in trials.items() for key, trial in own.items()}
    found = work.done(what, flat)
    return {arm: {key: found[f"{arm}\n{key}"] for key in own} for arm, own in trials.items()}
