"""Fusion: several finished models become one, in a folder like that of a run.

It is built beside its name and renamed when it is whole, so that a fusion that was killed is not
there. It is judged on the test split beside its members, and the difference to the best of them is
tested on the same samples; the best is the one that the validation split had chosen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from zafu import answer, artifact, statistics
from zafu.artifact import read_json, write_json, write_text
from zafu.errors import Refused
from zafu.evaluation import calibration
from zafu.evaluation.calibration import Calibration
from zafu.fuse import ways
from zafu.fuse.answers import go_on, read
from zafu.fuse.diversity import diversity, rights
from zafu.fuse.members import Member, prepared_by
from zafu.fuse.members import read as read_members
from zafu.fuse.out_of_fold import OutOfFold
from zafu.fuse.out_of_fold import read as read_folds
from zafu.fuse.ways import Joined, Table, Way
from zafu.judge import judged_answers, judging, scored, unless_stopped
from zafu.latency import Cost, costs
from zafu.layout import Layout
from zafu.pipeline import whole
from zafu.recipe import Recipe
from zafu.report import page as report
from zafu.report.folder import read as read_folder
from zafu.signals import Stop, stoppable
from zafu.spec import digest_of
from zafu.statistics import Effect

NAME = "fusion.json"
LOCK = ".fuse.lock"  # one at a time beside each other: passes are timed
FUSED = "fused"  # its row in a table
DRAWS = 2000  # of a paired bootstrap


class Fused(NamedTuple):
    """A fused model's folder, and what was measured of it."""

    folder: Path
    found: dict[str, Any]
    new: bool  # False where it had been finished before


class Asked(NamedTuple):
    """What is to be made."""

    members: list[Member]
    way: Way
    outside: OutOfFold | None

    @property
    def digest(self) -> str:
        """Of all that decides it."""
        more = [self.outside.digest] if self.outside else []
        return digest_of([self.way, *(member.digest for member in self.members), *more])[:8]


class Judged(NamedTuple):
    """What a model, or the fused one, says of a split."""

    name: str
    answers: np.ndarray
    evaluation: dict[str, Any]


def fuse(
    paths: Sequence[Path],
    way: Way,
    *,
    out_of_fold: Sequence[Path] = (),
    runs: Path | None = None,
    out: Path | None = None,
) -> Fused:
    """Make one model of finished runs or checkpoints; of one run alone, of its checkpoints.

    A stack learns from the cross-validations `out_of_fold`, one of each member's recipe in any
    order; without them from the validation split. The folder is `out`, or is named by all of these
    under `runs` (where the first run lies).
    Raises Refused with every reason why these cannot be fused, Interrupted after a signal.
    """
    if out_of_fold and way != "stack":
        raise Refused(f"--out-of-fold: expected --how stack, found --how {way}")
    members = read_members(paths)
    with stoppable() as stop:
        asked = Asked(members, way, read_folds(members, out_of_fold, stop) if out_of_fold else None)
        near = runs or members[0].run.folder.parent
        folder = out or near / f"{_name(members)}-fused-{asked.digest}"
        if folder.exists():
            return _there(folder, asked.digest)
        with artifact.taking_turns(folder.with_name(LOCK)):
            if folder.exists():  # another process was faster
                return _there(folder, asked.digest)
            found = _made(folder, asked, stop)
    return Fused(folder, found, new=True)


def _made(folder: Path, asked: Asked, stop: Stop) -> dict[str, Any]:
    members, way = asked.members, asked.way
    recipe = members[0].recipe
    data = prepared_by(members[0], stop)
    validation = recipe.data.open(data, "validation")
    table = Table(members, validation, [], stop, asked.outside)
    if len(validation):
        values = [ways.score(table, member.module) for member in members]
        table = replace(table, values=values)
    joined = ways.join(table, way)
    update = {"model": joined.model, "layout": Layout()}
    fused = recipe.model_copy(update=update)
    split = judging(recipe, data)
    fitted = None
    if table.values and recipe.task.kind == "classification":
        fitted = calibration.fit(ways.answered(table, joined.module), "validation")
    each = [*((m.name, m.module, None) for m in members), (FUSED, joined.module, fitted)]
    judged = [_judged(row[0], recipe, *row[1:], data=data, stop=stop) for row in each]
    found = _found(table, way, joined, judged, data, split)
    evaluation = {**judged[-1].evaluation, "baselines": _baselines(members[0], split)}

    def write(part: Path) -> None:
        whole(part, fused, joined.module, data, fitted=fitted, members=parents(members))
        write_json(part / "evaluation.json", evaluation)
        write_json(part / NAME, found)
        write_json(part / "samples.json", answer.shown(fused, joined.module, data, split))
        go_on(stop)
        shown = replace(read_folder(part), name=folder.name)
        write_text(part / report.NAME, report.page(shown))

    of = parents(members)
    artifact.publish(folder, write, kind="fusion", how=way, fusion=asked.digest, members=of)
    return found


def parents(members: Sequence[Member]) -> list[dict[str, str]]:
    """Where a fused model comes from: names, digests and recipes of its members."""
    return [
        {"name": m.name, "sha256": m.digest, "recipe": m.recipe.identity(), "data": m.data}
        for m in members
    ]


def _judged(
    name: str,
    recipe: Recipe,
    module: nn.Module,
    fitted: Calibration | None,
    *,
    data: Path,
    stop: Stop,
) -> Judged:
    split = judging(recipe, data)
    loader = recipe.fit.loader.nearby()
    found = unless_stopped(judged_answers(recipe, module, data, split, loader=loader), stop)
    go_on(stop)
    found = found or []
    return Judged(name, np.concatenate(found), scored(recipe, data, split, found, fitted))


def _found(
    table: Table, way: Way, joined: Joined, judged: list[Judged], data: Path, split: str
) -> dict[str, Any]:
    """All that was measured, as plain data."""
    *rivals, own = judged
    recipe, members = table.recipe, table.members
    modules = {member.name: member.module for member in members} | {FUSED: joined.module}
    batch = next(read(recipe.data.open(data, split), 32))
    *spent, of_fused = costs(modules, batch.inputs, table.stop)
    best, chosen = _best(table, rivals)
    effect = compared(recipe, own.answers, rivals[best].answers)
    notes = [*joined.notes, f"the best member is that of the {chosen} split"]
    if chosen == split:
        notes.append("it was chosen on the samples that judge: its value there is optimistic")
    rows = [
        _row(member, joined.weights[i], rivals[i], spent[i], table.values[i : i + 1])
        for i, member in enumerate(members)
    ]
    return {
        "how": way,
        "means": ways.WAYS[way],
        "split": split,
        "metric": recipe.metric,
        "higher_is_better": recipe.higher_is_better,
        "members": rows,
        "fused": {"scores": own.evaluation["scores"], "cost": of_fused.dump()},
        "best": members[best].name,
        "effect": effect.dump(),
        "verdict": statistics.verdict(
            effect.p, effect.size.value, higher_is_better=recipe.higher_is_better
        ),
        "diversity": diversity(recipe.task, [rival.answers for rival in rivals]),
        "out_of_fold": len(table.outside.targets) if table.outside else None,
        "notes": notes,
        "time": time.time(),
    }


def compared(recipe: Recipe, own: np.ndarray, other: np.ndarray) -> Effect:
    """The metric of answers less that of others, to the same samples, by a paired test."""
    task, metric = recipe.task, recipe.metric
    if task.kind == "classification" and metric == "accuracy":
        return statistics.mcnemar(*rights([own, other]))
    units = len(own)  # what it stands for is the same for both

    def value(rows: np.ndarray) -> float:
        return task.score(metric, rows, units=units)

    return statistics.paired_bootstrap(own, other, value, draws=DRAWS)


def _best(table: Table, rivals: list[Judged]) -> tuple[int, str]:
    """The member that would have been taken otherwise, and the split that says so."""
    if table.values:
        return table.order[0], "validation"
    higher = table.recipe.higher_is_better
    values = [rival.evaluation["scores"][table.recipe.metric]["value"] for rival in rivals]
    return int(np.argmax(values) if higher else np.argmin(values)), rivals[0].evaluation["split"]


def _row(
    member: Member, weight: float, judged: Judged, cost: Cost, validation: list[float]
) -> dict[str, Any]:
    return {
        "name": member.name,
        "kind": member.recipe.model.kind,
        "weight": weight,
        "validation": validation[0] if validation else None,
        "scores": judged.evaluation["scores"],
        "cost": cost.dump(),
    }


def _baselines(member: Member, split: str) -> dict[str, Any]:
    """Those of a member's run, which were judged on the same samples."""
    file = member.run.folder / "evaluation.json"
    found = read_json(file) if file.is_file() else {}
    return found.get("baselines", {}) if found.get("split") == split else {}


def _there(folder: Path, digest: str) -> Fused:
    """What a finished fusion says; raises Refused if the folder is something else."""
    if not (folder / NAME).is_file() or artifact.card(folder).get("fusion") != digest:
        text = "holds something else than a fusion of these members in this way"
        raise Refused(f"{folder}: {text}; choose another --out")
    return Fused(folder, read_json(folder / NAME), new=False)


def _name(members: Sequence[Member]) -> str:
    """The name of the first member's recipe, as its run's folder has it."""
    return members[0].run.stem.removesuffix("-fused")
