"""Cross-validations that stand for members: which is whose, or every reason why it is not.

A member's is one of the same recipe; how samples are dealt, the seed and who computes are free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zafu import artifact, parts
from zafu.data import pool
from zafu.errors import Damaged, Refused
from zafu.fuse.members import Member
from zafu.fuse.soup import flat
from zafu.parts import Kept, OutOfFold, Result
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.spec import digest_of, show

FREE = ("data.split.", "layout.", "seed.", "fit.loader.")  # what need not be as the member has it


@dataclass(frozen=True, eq=False)
class Folds:
    """A finished cross-validation; of several repeats the first is read."""

    folder: Path
    recipe: Recipe
    result: Result
    kept: list[Kept]

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    @property
    def digest(self) -> str:
        """Of what was read."""
        places = (self.folder / "parts" / one.part.name for one in self.kept)
        return digest_of([artifact.card(place)["sha256"] for place in places])

    @cached_property
    def said(self) -> OutOfFold:
        """An answer to every sample."""
        return parts.joined(self.kept, self.recipe.task.kind)


def read(folder: Path) -> Folds:
    """Raises Refused or Damaged with what keeps its answers from being used."""
    run = Run.open(folder)
    if not parts.there(folder):
        text = "expected a cross-validation, found a run; zafu crossval makes one"
        raise Refused(f"{folder}: {text}")
    state = run.status().get("state", "unfinished")
    if state != "finished":
        text = f"expected a finished cross-validation, found one that is {state}"
        raise Refused(f"{folder}: {text}; the same zafu crossval goes on")
    result = Result.parse(artifact.read_json(folder / "folds.json"))
    if any(part.settings is not None for part in result.parts):
        text = "expected a cross-validation of the recipe itself, found a search inside each fold"
        raise Refused(f"{folder}: {text}")
    first = [part for part in result.parts if not part.repeat]
    kept = [one for part in first if (one := parts.read(folder, (0, part.fold)))]
    if len(kept) < len(first):
        lost = len(first) - len(kept)
        raise Damaged(f"{folder}: expected {len(first)} folds, found {lost} damaged or gone")
    return Folds(folder, run.recipe, result, kept)


def matched(members: Sequence[Member], found: Sequence[Folds]) -> tuple[list[Folds], list[str]]:
    """Each member's, of the same seed where there is one; and what is wrong.

    A member without one is held against what differs least.
    """
    pairs = [(m, f, differences(m.recipe, f.recipe)) for m in members for f in found]
    pairs.sort(key=lambda pair: pair[0].recipe.seed != pair[1].recipe.seed)
    taken = dict[str, Folds]()
    for member, folds, unlike in pairs:
        if not unlike and member.name not in taken and folds not in taken.values():
            taken[member.name] = folds
    left = [folds for folds in found if folds not in taken.values()]
    faults = list[str]()
    for member in members:
        if member.name not in taken:
            near = [(f.name, unlike) for m, f, unlike in pairs if m is member]
            faults.append(_missing(member, near))
    if not faults:
        faults += [f"{folds.folder}: expected a member of its recipe, found none" for folds in left]
    return [taken[member.name] for member in members if member.name in taken], faults


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """What of another recipe is not as here, apart from what is free."""
    mine, theirs = flat(recipe.dump()), flat(other.dump())
    return [
        f"{path}: expected {show(mine.get(path))}, found {show(theirs.get(path))}"
        for path in dict.fromkeys([*mine, *theirs])
        if mine.get(path) != theirs.get(path) and not f"{path}.".startswith(FREE)
    ]


def foreign(folds: Folds, member: Member, data: Path) -> Iterator[str]:
    """Why its samples are not those of `data`, on which the member was trained."""
    labels = {one.part.labels for one in folds.kept if not one.part.diverged}
    if folds.recipe.task.kind == "classification" and labels - {member.signature.labels}:
        yield f"{folds.folder}: expected the classes of {member.name}, found others"
    name, near = folds.kept[0].part.data, [folds.folder.parent, member.run.folder.parent]
    there = [place for runs in near if (place := runs / "data" / name).is_dir()]
    if not there:
        text = f"expected what says which samples it has, {near[0] / 'data' / name}"
        yield f"{folds.folder}: {text}, found nothing; make it again"
        return
    mine, theirs = pool.names(data), pool.names(there[0])
    own, other = pool.known(data).classes, pool.known(there[0]).classes
    if mine != theirs:
        unknown = len(set(theirs) - set(mine))
        text = f"expected the {len(mine):,} samples of {member.name}, found {len(theirs):,}"
        yield f"{folds.folder}: {text}, {unknown:,} of them unknown"
    elif own is not None and other is not None and not np.array_equal(own, other):
        yield f"{folds.folder}: expected the classes of each sample of {member.name}, found others"
    if len(folds.said.ids) and folds.said.ids.max() >= len(mine):
        text = f"expected samples from 0 to {len(mine) - 1}, found {folds.said.ids.max()}"
        yield f"{folds.folder}: {text}"


def uneven(found: Sequence[Folds]) -> Iterator[str]:
    """What does not answer to the samples of the first, or has other targets."""
    for one in found[1:]:
        first = found[0].said
        if not np.array_equal(one.said.ids, first.ids):
            many = len(np.setxor1d(one.said.ids, first.ids))
            text = f"expected answers to the samples of {found[0].name}"
            yield f"{one.folder}: {text}, found others: {many:,} are in one of them alone"
        elif not np.array_equal(one.said.targets, first.targets):
            yield f"{one.folder}: expected the targets of {found[0].name}, found others"


def _missing(member: Member, near: Sequence[tuple[str, list[str]]]) -> str:
    text = f"{member.name}: expected a cross-validation of its recipe, found none"
    if not near:
        return f"{text}; zafu crossval makes one"
    name, unlike = min(near, key=lambda pair: len(pair[1]))
    if not unlike:
        return f"{text}; {name} is taken by another: each has its own, by the seed of its recipe"
    return "\n    ".join([f"{text}; {name} differs:", *unlike])
